"""SQS event sources: what Lambda's pollers do between a queue and a function.

A batch is received, the function runs with it, and what succeeded is deleted. What failed stays
invisible for the queue's visibility timeout and comes again, until the queue's own redrive policy
moves it to the dead-letter queue. The pollers act with the rights of the function's own role.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

import threading
import time
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.aws import REGION, LocalAws
from local.deploy import QueueSource
from local.functions import FunctionPool, InvocationResult, TooManyInvocations
from local.pollers import Poller

_LONG_POLL_SECONDS = 2
_MOST_PER_RECEIVE = 10
_LARGEST_CONCURRENCY = 64


class QueuePoller(Poller):
    """Feeds one function from one queue, in a thread of its own."""

    def __init__(
        self, source: QueueSource, pool: FunctionPool, aws: LocalAws, role: LocalAws
    ) -> None:
        """``role`` is what the function's role may do; ``aws`` looks on, for the world itself."""
        super().__init__(pool, source.queue_url)
        self._source = source
        self._sqs = aws.client("sqs")
        self._as_role = role.client("sqs")
        self._denied = ""
        self._room = threading.BoundedSemaphore(source.maximum_concurrency or _LARGEST_CONCURRENCY)

    def backlog(self) -> int:
        """Messages that wait, are delayed, or are received and not yet deleted."""
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self._source.queue_url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesDelayed",
            ],
        )["Attributes"]
        return sum(int(value) for value in attributes.values())

    @property
    def source_name(self) -> str:
        return self._source.queue_arn.rsplit(":", 1)[1]

    def _poll(self) -> None:
        while not self._stopping.is_set():
            pauses = self._pauses
            if not self._delivering.wait(_LONG_POLL_SECONDS):
                continue
            # Room first: a message that nobody can take yet must not lose its visibility time.
            if not self._room.acquire(timeout=_LONG_POLL_SECONDS):
                continue
            try:
                messages = self._batch()
            except (ClientError, BotoCoreError) as error:
                self._note(error)
                self._room.release()
                self._stopping.wait(0.5)  # the services stop or start
                continue
            self._denied = ""
            if not messages:
                self._room.release()
                continue
            # Paused while this waited for room or for a message, if only for a while: what came may
            # have been received with what the role could do before.
            if self._pauses != pauses:
                self._give_back(messages)
                self._room.release()
                continue
            threading.Thread(target=self._work, args=(messages,), daemon=True).start()

    def _batch(self) -> list[dict[str, Any]]:
        """Up to one batch; a batching window, if any, starts with its first message."""
        messages = self._receive(self._source.batch_size, wait_seconds=_LONG_POLL_SECONDS)
        window_ends = time.monotonic() + self._source.batching_window_seconds
        while messages and len(messages) < self._source.batch_size:
            seconds_left = window_ends - time.monotonic()
            more = self._receive(
                self._source.batch_size - len(messages), wait_seconds=max(0, int(seconds_left))
            )
            messages += more
            if not more and seconds_left <= 1:
                break
        return messages

    def _receive(self, count: int, *, wait_seconds: int) -> list[dict[str, Any]]:
        answer = self._as_role.receive_message(
            QueueUrl=self._source.queue_url,
            MaxNumberOfMessages=min(count, _MOST_PER_RECEIVE),
            WaitTimeSeconds=wait_seconds,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _give_back(self, messages: Sequence[dict[str, Any]]) -> None:
        for message in messages:
            self._sqs.change_message_visibility(
                QueueUrl=self._source.queue_url,
                ReceiptHandle=message["ReceiptHandle"],
                VisibilityTimeout=0,
            )

    def _work(self, messages: list[dict[str, Any]]) -> None:
        try:
            event = {"Records": [_record(message, self._source.queue_arn) for message in messages]}
            try:
                result = self._pool.invoke(event)
            except TooManyInvocations:
                return  # throttled: the messages come again after their visibility timeout
            self._delete(succeeded(messages, result, self._source.reports_batch_item_failures))
        except (ClientError, BotoCoreError) as error:
            self._note(error)  # or the services stopped under us; what was not deleted comes again
        finally:
            self._room.release()

    def _delete(self, messages: Sequence[dict[str, Any]]) -> None:
        """One by one: to MiniStack a batch of them is a right of its own, to AWS it is not."""
        for message in messages:
            self._as_role.delete_message(
                QueueUrl=self._source.queue_url, ReceiptHandle=message["ReceiptHandle"]
            )

    def _note(self, error: Exception) -> None:
        """Say once in the function's log what its role lacks: AWS stops polling as silently."""
        said = str(error) if "AccessDenied" in str(error) else ""
        if said and said != self._denied:
            self._pool.note(f"Lambda's poller: {said}")
        self._denied = said


def succeeded(
    messages: Sequence[dict[str, Any]], result: InvocationResult, reports_failures: bool
) -> list[dict[str, Any]]:
    """Which messages of a batch are done, by the rules of partial batch responses.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
    """
    if result.error is not None:
        return []
    if not reports_failures:
        return list(messages)
    answer = result.value()
    if not answer:
        return list(messages)
    if not isinstance(answer, dict):
        return []
    failures = answer.get("batchItemFailures")
    if not failures:
        return list(messages)
    known = {message["MessageId"] for message in messages}
    try:
        failed = {failure["itemIdentifier"] for failure in failures}
    except (TypeError, KeyError):
        return []
    if not failed <= known:  # an unknown or empty identifier: complete failure
        return []
    return [message for message in messages if message["MessageId"] not in failed]


def _record(message: dict[str, Any], queue_arn: str) -> dict[str, Any]:
    """A message as Lambda hands it to a function."""
    record = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": {
            name: value
            for name, value in message.get("Attributes", {}).items()
            if name
            in (
                "ApproximateReceiveCount",
                "SentTimestamp",
                "SenderId",
                "ApproximateFirstReceiveTimestamp",
                "AWSTraceHeader",
            )
        },
        "messageAttributes": {
            name: {
                "stringValue": value.get("StringValue"),
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": value["DataType"],
            }
            for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": REGION,
    }
    if "MD5OfMessageAttributes" in message:
        record["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
    return record
