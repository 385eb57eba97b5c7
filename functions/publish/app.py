"""DynamoDB streams: what changed in the tables, sent as events and noted in the timelines."""

from __future__ import annotations

from typing import Any

from tiktok_linking import bootstrap
from tiktok_linking.errors import RecordBroken, StoreUnavailable
from tiktok_linking.observability import logger

log = logger()


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Publish change after change; from the first that fails on, the stream brings them again.

    Changes of one item come in order, so nothing overtakes what failed. An item that cannot be
    read would stop all behind it: it is left out, and an error tells of it.
    """
    log.set_correlation_id(context.aws_request_id)
    for record in event["Records"]:
        try:
            bootstrap.publish(record)
        except StoreUnavailable as error:
            log.warning("not published", extra={"why": str(error)})
            number = record["dynamodb"]["SequenceNumber"]
            return {"batchItemFailures": [{"itemIdentifier": number}]}
        except RecordBroken as error:
            log.error("change not understood", extra={"why": str(error)})
    return {"batchItemFailures": []}
