"""The refresh function, called as Lambda calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Context:
    """What handlers look at of Lambda's context: an invocation that has just begun."""

    milliseconds: int = 30_000
    aws_request_id: str = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    function_name: str = "tiktok-link-RefreshFunction"
    memory_limit_in_mb: int = 1024
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:refresh"

    def get_remaining_time_in_millis(self) -> int:
        """How long the invocation may still run."""
        return self.milliseconds


def handler() -> Callable[[Any, Any], dict[str, Any]]:
    """The handler of the refresh function. Imported late: it reads its variables."""
    from functions.refresh.app import lambda_handler

    return lambda_handler


def queue_event(grant_ids: list[str]) -> dict[str, Any]:
    """A batch as SQS delivers it."""
    return {
        "Records": [
            {
                "messageId": f"message-{grant_id}",
                "receiptHandle": "AQEB",
                "body": json.dumps({"grant": grant_id}),
                "attributes": {"ApproximateReceiveCount": "1"},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:RenewalQueue",
                "awsRegion": "us-east-1",
            }
            for grant_id in grant_ids
        ]
    }
