"""Schedule, daily: tells whose links will soon need their owners, and which are past their date."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tiktok_linking import bootstrap, metrics
from tiktok_linking.observability import logger

log = logger()

STOPS_BEFORE = timedelta(seconds=5)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Run once; what it does not reach in its time, the next run does."""
    log.set_correlation_id(context.aws_request_id)
    done = bootstrap.reminding().run(until=bootstrap.deadline_of(context) - STOPS_BEFORE)
    log.info(
        "reminders done",
        extra={
            "told": done.told,
            "passed": done.passed,
            "unreadable": done.unreadable,
            "unfinished_shards": done.unfinished_shards,
        },
    )
    metrics.reminded(done)
    return {"told": done.told, "passed": done.passed, "unfinished": done.unfinished_shards}
