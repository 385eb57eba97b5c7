"""A thin skin over the DynamoDB client: plain values in, plain values out, two errors.

The low-level client is used because the resource layer costs a cold start more than it gives.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NotConnected

from tiktok_linking.errors import StoreUnavailable

Item = dict[str, Any]
"""Attribute name → str, int, bytes, bool or a map of these."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
MOST_BATCH_ROUNDS = 5
_TTL = "#ttl"
"""DynamoDB's language has a word of its own like it."""
_PASSING = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionInProgressException",
    }
)


class ConditionFailed(Exception):
    """The condition of a write did not hold; ``old`` is the item as it is, {} if there is none.

    A write whose reply was lost is repeated by the SDK and then fails its own condition: callers
    look for their write id in ``old`` before they believe that somebody else came first.
    """

    def __init__(self, old: Item) -> None:
        super().__init__("condition failed")
        self.old = old


@dataclass(slots=True)
class Update:
    """The parts of one UpdateItem. A None in ``sets`` removes the attribute."""

    sets: Mapping[str, Any] = field(default_factory=dict)
    removes: Iterable[str] = ()
    adds: Mapping[str, int] = field(default_factory=dict)
    first: Mapping[str, Any] = field(default_factory=dict)
    """Set only where the attribute does not exist yet."""
    copies: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    """Name → the attribute whose old value it takes, and what it takes where that has none."""

    def expression(self) -> tuple[str, Item]:
        """Render the update expression and its values."""
        values: Item = {}
        parts = []
        sets = []
        for number, (name, value) in enumerate(self.sets.items()):
            if value is not None:
                values[f":set{number}"] = value
                sets.append(f"{_spelled(name)} = :set{number}")
        for name, value in self.first.items():
            values[f":first_{name}"] = value
            sets.append(f"{_spelled(name)} = if_not_exists({_spelled(name)}, :first_{name})")
        for name, (source, otherwise) in self.copies.items():
            values[f":copy_{name}"] = otherwise
            sets.append(f"{_spelled(name)} = if_not_exists({_spelled(source)}, :copy_{name})")
        removes = [*self.removes, *(n for n, v in self.sets.items() if v is None)]
        removes = [_spelled(name) for name in removes]
        if sets:
            parts.append("SET " + ", ".join(sets))
        if removes:
            parts.append("REMOVE " + ", ".join(removes))
        if self.adds:
            values |= {f":add_{name}": value for name, value in self.adds.items()}
            parts.append("ADD " + ", ".join(f"{name} :add_{name}" for name in self.adds))
        return " ".join(parts), values


class Table:
    """One table. Every method is one request; ``StoreUnavailable`` is safe to retry."""

    def __init__(
        self,
        client: Any,
        name: str,
        *,
        tries: int = 1,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """``tries`` above 1 repeats a call that failed for a passing reason, as the SDK would.

        Here and not in the client, so that patient and urgent calls share one pool: a worker needs
        one connection, and each new one costs more than all that is done over it.
        """
        self._client = client
        self._tries = tries
        self._pause = pause
        self.name = name

    def get(self, key: Mapping[str, str]) -> Item | None:
        """Read one item consistently."""
        answer = self._call("get_item", Key=encode(key), ConsistentRead=True)
        return decode(answer["Item"]) if "Item" in answer else None

    def put_new(self, item: Item) -> None:
        """Put an item that must not exist. Raises ConditionFailed with the one that does."""
        self._call(
            "put_item",
            Item=encode(item),
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )

    def put(self, item: Item) -> None:
        """Put an item, whatever is there."""
        self._call("put_item", Item=encode(item))

    def update(
        self,
        key: Mapping[str, str],
        update: Update,
        *,
        condition: str | None = None,
        values: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
        returns_new: bool = False,
        returns_old: bool = False,
        returns_updated: bool = False,
    ) -> Item:
        """Update one item. Raises ConditionFailed with the item as it is.

        ``returns_old`` and ``returns_updated`` give what this write named, as it was or as it is,
        which is all that a function without the right to read may learn.
        """
        expression, written = update.expression()
        extra: dict[str, Any] = {"UpdateExpression": expression}
        if condition is not None:
            extra["ConditionExpression"] = condition
            extra["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if written or values:
            extra["ExpressionAttributeValues"] = encode(written | dict(values or {}))
        names = dict(names or {}) | ({_TTL: "ttl"} if _TTL in expression else {})
        if names:
            extra["ExpressionAttributeNames"] = names
        if returns_new:
            extra["ReturnValues"] = "ALL_NEW"
        elif returns_old:
            extra["ReturnValues"] = "UPDATED_OLD"
        elif returns_updated:
            extra["ReturnValues"] = "UPDATED_NEW"
        answer = self._call("update_item", Key=encode(key), **extra)
        return decode(answer.get("Attributes", {}))

    def query(
        self,
        condition: str,
        values: Mapping[str, Any],
        *,
        index: str | None = None,
        attributes: Sequence[str] | None = None,
        limit: int | None = None,
        start: Any = None,
        newest_first: bool = False,
    ) -> tuple[list[Item], Any]:
        """One page in key order, or its reverse, and where the next begins (None on the last).

        The table itself is read consistently; an index cannot be.
        """
        extra: dict[str, Any] = {}
        if index is not None:
            extra["IndexName"] = index
        else:
            extra["ConsistentRead"] = True
        if attributes is not None:
            extra["ProjectionExpression"] = ", ".join(attributes)
            extra["Select"] = "SPECIFIC_ATTRIBUTES"
        if limit is not None:
            extra["Limit"] = limit
        if newest_first:
            extra["ScanIndexForward"] = False
        if start is not None:
            extra["ExclusiveStartKey"] = start
        answer = self._call(
            "query",
            KeyConditionExpression=condition,
            ExpressionAttributeValues=encode(values),
            **extra,
        )
        return [decode(item) for item in answer["Items"]], answer.get("LastEvaluatedKey")

    def count(
        self,
        condition: str,
        values: Mapping[str, Any],
        *,
        index: str,
        where: str,
        start: Any = None,
    ) -> tuple[int, Any]:
        """Count one page of an index without fetching it, and where the next begins."""
        extra = {} if start is None else {"ExclusiveStartKey": start}
        answer = self._call(
            "query",
            IndexName=index,
            Select="COUNT",
            KeyConditionExpression=condition,
            FilterExpression=where,
            ExpressionAttributeValues=encode(values),
            **extra,
        )
        return int(answer["Count"]), answer.get("LastEvaluatedKey")

    def query_all(self, condition: str, values: Mapping[str, Any], **extra: Any) -> list[Item]:
        """Every page of a query that is small by nature, such as one grant's partition."""
        items, start = self.query(condition, values, **extra)
        while start is not None:
            more, start = self.query(condition, values, start=start, **extra)
            items += more
        return items

    def batch_get(
        self, keys: Sequence[Mapping[str, str]], *, attributes: Sequence[str] | None = None
    ) -> list[Item]:
        """Read up to 100 items consistently, asking again for what DynamoDB left out."""
        wanted: dict[str, Any] = {"Keys": [encode(key) for key in keys], "ConsistentRead": True}
        if attributes is not None:
            wanted["ProjectionExpression"] = ", ".join(attributes)
        items: list[Item] = []
        for _ in range(MOST_BATCH_ROUNDS):
            answer = self._call("batch_get_item", table=False, RequestItems={self.name: wanted})
            items += [decode(item) for item in answer["Responses"].get(self.name, [])]
            left = answer.get("UnprocessedKeys") or {}
            if self.name not in left:
                return items
            wanted = left[self.name]
        raise StoreUnavailable("batch read is being throttled")

    def _call(self, operation: str, *, table: bool = True, **arguments: Any) -> Any:
        if table:
            arguments["TableName"] = self.name
        failed = ""
        for attempt in range(self._tries):
            if attempt:
                self._pause(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - spreads repeats
            try:
                return getattr(self._client, operation)(**arguments)
            except ClientError as error:
                failed = error.response["Error"]["Code"]
                if failed == "ConditionalCheckFailedException":
                    old: Any = error.response.get("Item", {})
                    raise ConditionFailed(decode(old)) from None
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                if status < 500 and failed not in _PASSING:
                    break
            except BotoCoreError as error:
                failed = type(error).__name__
                if not isinstance(error, HTTPClientError | NotConnected):
                    break
        # The cause is kept out of the message: it can quote the request.
        raise StoreUnavailable(failed) from None


def _spelled(name: str) -> str:
    return _TTL if name == "ttl" else name


def encode(item: Mapping[str, Any]) -> dict[str, Any]:
    """Render plain values in DynamoDB's JSON; attributes that are None are left out."""
    return {name: _encode(value) for name, value in item.items() if value is not None}


def _encode(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, datetime):
        return {"N": str(to_ms(value))}
    if isinstance(value, bytes):
        return {"B": value}
    if isinstance(value, Mapping):
        return {"M": encode(value)}
    raise TypeError(f"no DynamoDB type for {type(value).__name__}")


def decode(item: Mapping[str, Any]) -> Item:
    """Read DynamoDB's JSON as plain values; times stay milliseconds until a record names them."""
    return {name: _decode(value) for name, value in item.items()}


def _decode(value: Mapping[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    if kind == "N":
        return int(inner)
    if kind == "M":
        return decode(inner)
    return inner


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return (moment - _EPOCH) // _MILLISECOND


def to_ttl(moment: datetime) -> int:
    """Seconds since 1970, by which DynamoDB deletes an item some time after."""
    return int(moment.timestamp())


def from_ms(value: int | None) -> datetime | None:
    """The moment of so many milliseconds, or None."""
    return None if value is None else _EPOCH + timedelta(milliseconds=value)


def at_ms(value: int) -> datetime:
    """The moment of so many milliseconds."""
    return _EPOCH + timedelta(milliseconds=value)
