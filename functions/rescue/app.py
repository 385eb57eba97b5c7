"""SQS: sealed token pairs that could not be saved. The message stays until it has landed."""

from __future__ import annotations

from typing import Any

from tiktok_linking import bootstrap, metrics
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.observability import logger
from tiktok_linking.ports import Saved

log = logger()


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Land each parcel; what could not land is delivered again."""
    log.set_correlation_id(context.aws_request_id)
    landed: list[Saved] = []
    failed: list[str] = []
    for record in event["Records"]:
        try:
            saved = bootstrap.land_parcel(record["body"])
            landed.append(saved)
            log.info("pair rescued", extra={"saved": saved.value})
        except (StoreUnavailable, ValueError) as error:
            log.warning("pair not rescued", extra={"why": type(error).__name__})
            failed.append(record["messageId"])
    metrics.rescued(landed, failed=len(failed))
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}
