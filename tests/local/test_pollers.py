"""What pollers do with what they were waiting for when they were paused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from local.aws import LocalAws
from local.deploy import QueueSource
from local.functions import FunctionPool
from local.queues import QueuePoller

RECEIPT = {"ReceiptHandle": "a receipt"}


def test_a_message_that_came_over_a_pause_is_given_back() -> None:
    """However short the pause was: whoever paused may have changed what the role can do."""
    polls: list[int] = []
    given_back: list[str] = []
    invoked: list[Any] = []

    class Sqs:
        """Pauses its poller within the first long poll, and ends it with the second."""

        def receive_message(self, **_: Any) -> dict[str, Any]:
            polls.append(1)
            if len(polls) > 1:
                poller.stop()
                return {}
            poller.pause(True)
            poller.pause(False)
            return {"Messages": [dict.fromkeys(("MessageId", "Body", "MD5OfBody"), "m") | RECEIPT]}

        def change_message_visibility(self, **asked: Any) -> None:
            assert asked["VisibilityTimeout"] == 0
            given_back.append(asked["ReceiptHandle"])

    aws = cast(LocalAws, SimpleNamespace(client=lambda _: Sqs()))
    pool = cast(FunctionPool, SimpleNamespace(invoke=invoked.append))
    source = SimpleNamespace(
        queue_url="http://queue",
        queue_arn="arn:aws:sqs:us-east-1:0:queue",
        maximum_concurrency=2,
        batch_size=1,
        batching_window_seconds=0,
    )
    poller = QueuePoller(cast(QueueSource, source), pool, aws, aws)

    poller._poll()

    assert (given_back, invoked) == (["a receipt"], [])
