"""DynamoDB streams as event sources: what Lambda's pollers do between a table and a function.

Records are read shard by shard and in order, those that the mapping's filter lets through go to the
function in batches, and a batch that failed comes again, from the first failed record on.
https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
"""

import base64
import threading
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.aws import REGION, LocalAws
from local.deploy import StreamSource
from local.functions import FunctionPool, InvocationResult, TooManyInvocations
from local.pollers import Poller

_LOOKS_EVERY_SECONDS = 0.2
_TRIES_EVERY_SECONDS = 0.5
_MOST_PER_READ = 1000


class StreamPoller(Poller):
    """Feeds one function from one table's stream, in a thread of its own."""

    def __init__(self, source: StreamSource, pool: FunctionPool, aws: LocalAws) -> None:
        super().__init__(pool, source.stream_arn)
        self._source = source
        self._streams = aws.client("dynamodbstreams")
        self._lock = threading.Lock()
        self._iterators: dict[str, str | None] = {}
        self._read: list[dict[str, Any]] = []

    @property
    def source_name(self) -> str:
        return self._source.stream_arn.split("/")[1] + "/stream"

    def backlog(self) -> int:
        """Records that were not delivered yet."""
        with self._lock:
            self._fetch()
            return len(self._read)

    def _poll(self) -> None:
        while not self._stopping.is_set():
            if not self._delivering.wait(1):
                continue
            try:
                wait = self._deliver()
            except (ClientError, BotoCoreError):
                wait = _TRIES_EVERY_SECONDS  # the services stop or start
            if wait:
                self._stopping.wait(wait)

    def _deliver(self) -> float:
        """One batch; answers how long to wait for the next look."""
        with self._lock:
            self._fetch()
            batch = self._read[: self._source.batch_size]
        if not batch:
            return _LOOKS_EVERY_SECONDS
        try:
            result = self._pool.invoke({"Records": batch})
        except TooManyInvocations:
            return _TRIES_EVERY_SECONDS
        done = _done(batch, result)
        with self._lock:
            del self._read[:done]
        return 0 if done == len(batch) else _TRIES_EVERY_SECONDS

    def _fetch(self) -> None:
        """Read what is new in every shard; what the filter leaves out is skipped."""
        if not self._iterators:
            self._begin()
        for shard_id, iterator in self._iterators.items():
            while iterator is not None:
                page = self._streams.get_records(ShardIterator=iterator, Limit=_MOST_PER_READ)
                iterator = self._iterators[shard_id] = page.get("NextShardIterator")
                records = page["Records"]
                self._read += [self._event(r) for r in records if self._is_wanted(r)]
                if not records:
                    break

    def _begin(self) -> None:
        """Find the shards, once: MiniStack's do not split."""
        described = self._streams.describe_stream(StreamArn=self._source.stream_arn)
        for shard in described["StreamDescription"]["Shards"]:
            self._iterators[shard["ShardId"]] = self._streams.get_shard_iterator(
                StreamArn=self._source.stream_arn,
                ShardId=shard["ShardId"],
                ShardIteratorType="TRIM_HORIZON",
            )["ShardIterator"]

    def _is_wanted(self, record: dict[str, Any]) -> bool:
        needed = self._source.needs_attribute
        return needed is None or needed in record["dynamodb"].get("NewImage", {})

    def _event(self, record: dict[str, Any]) -> dict[str, Any]:
        """A record as Lambda hands it to a function."""
        change = dict(record["dynamodb"])
        moment = change.get("ApproximateCreationDateTime")
        if moment is not None:
            change["ApproximateCreationDateTime"] = moment.timestamp()
        return {
            "eventID": record["eventID"],
            "eventName": record["eventName"],
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": REGION,
            "eventSourceARN": self._source.stream_arn,
            "dynamodb": _with_base64(change),
        }


def _done(batch: list[dict[str, Any]], result: InvocationResult) -> int:
    """How many records of a batch are done: all before the first that failed."""
    if result.error is not None:
        return 0
    answer = result.value()
    failures = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if not failures:
        return len(batch)
    numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
    failed = [f.get("itemIdentifier") for f in failures]
    if not set(failed) <= set(numbers):
        return 0
    return min(numbers.index(number) for number in failed)


def _with_base64(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: _with_base64(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_base64(inner) for inner in value]
    return value
