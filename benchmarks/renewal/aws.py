"""AWS as far as renewing needs it, in memory: DynamoDB, KMS, Secrets Manager, SQS.

The emulator of the local world looks through a whole table for each query of an index and takes
some milliseconds for a write, which is too slow for a hundred thousand accounts. This one does
little and that exactly: conditional writes are atomic, queries of an index cost what they find,
and each call is put down with the units that DynamoDB would charge. What it does not know it
refuses aloud. tests/scale holds it against moto.
"""

from __future__ import annotations

import bisect
import io
import json
import marshal
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from benchmarks.renewal.expressions import (
    Item,
    Value,
    comparable,
    condition,
    key_condition,
    update,
)
from benchmarks.renewal.units import (
    index_write_units,
    item_size,
    projected,
    read_units,
    write_units,
)

PAGE_BYTES = 1024 * 1024
_KMS_OVERHEAD = b"\x01\x02\x03\x00" + bytes(148)
"""A wrapped key of KMS is some 150 bytes longer than the key."""


class Refused(Exception):
    """An error that AWS answers; ``item`` is what a failed condition found."""

    def __init__(self, code: str, item: Item | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.item = item


@dataclass(slots=True)
class Tally:
    """What has been asked, and what DynamoDB would charge for it."""

    calls: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    items_read: int = 0
    read_units: float = 0
    write_units: int = 0
    index_write_units: int = 0
    messages: int = 0
    events: int = 0

    @property
    def dynamodb_calls(self) -> int:
        """Requests to DynamoDB, of whatever kind."""
        return sum(n for name, n in self.calls.items() if name.startswith("dynamodb."))

    def add(self, other: Tally) -> None:
        """Take in what another process has counted."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(frozen=True, slots=True)
class Index:
    """A global secondary index: its keys and whether it holds whole items."""

    keys: tuple[str, str]
    projection: str


@dataclass(frozen=True, slots=True)
class Schema:
    """One table as the template describes it."""

    keys: tuple[str, ...]
    indexes: Mapping[str, Index]

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> Schema:
        """Read the properties of an ``AWS::DynamoDB::Table``."""

        def names(key_schema: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
            return tuple(key["AttributeName"] for key in key_schema)

        return cls(
            names(properties["KeySchema"]),
            {
                index["IndexName"]: Index(
                    (names(index["KeySchema"])[0], names(index["KeySchema"])[1]),
                    index["Projection"]["ProjectionType"],
                )
                for index in properties.get("GlobalSecondaryIndexes", ())
            },
        )


Key = tuple[str, ...]
Change = tuple[str, Item | None, Item]
"""A table, and an item before and after."""
Place = tuple[Any, Key]


class _Table:
    """Items by key, and the order of each index. Items are kept packed: there may be many."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._items: dict[Key, bytes] = {}
        self._keys: list[tuple[str | None, tuple[str, ...]]] = [
            (name, index.keys) for name, index in schema.indexes.items()
        ]
        if len(schema.keys) == 2:
            self._keys.append((None, schema.keys))
        self._orders: dict[str | None, dict[Any, list[Place]]] = {
            name: {} for name in (None, *schema.indexes)
        }

    def __len__(self) -> int:
        return len(self._items)

    def key_of(self, item: Item) -> Key:
        return tuple(item[name]["S"] for name in self.schema.keys)

    def get(self, key: Key) -> Item | None:
        packed = self._items.get(key)
        if packed is None:
            return None
        item: Item = marshal.loads(packed)  # noqa: S302 - packed by `put` below
        return item

    def put(self, old: Item | None, new: Item) -> None:
        key = self.key_of(new)
        self._items[key] = marshal.dumps(new)
        for name, keys in self._keys:
            if old is not None and all(old.get(key) == new.get(key) for key in keys):
                continue  # its place in this order stays
            before = None if old is None else self._place(old, keys, key)
            after = self._place(new, keys, key)
            order = self._orders[name]
            if before is not None:
                entries = order[before[0]]
                del entries[bisect.bisect_left(entries, before[1])]
            if after is not None:
                bisect.insort(order.setdefault(after[0], []), after[1])

    def all(self) -> Iterator[Item]:
        for packed in self._items.values():
            yield marshal.loads(packed)  # noqa: S302 - packed by `put` above

    def entries(self, index: str | None, hash_value: Any) -> list[Place]:
        return self._orders[index].get(hash_value, [])

    @staticmethod
    def _place(item: Item, keys: tuple[str, ...], key: Key) -> tuple[Any, Place] | None:
        if any(name not in item for name in keys):
            return None
        return comparable(item[keys[0]]), (comparable(item[keys[1]]), key)


class Aws:
    """The services behind their API operations, named as in ``dynamodb.UpdateItem``."""

    def __init__(self, tables: Mapping[str, Schema], secrets_by_id: Mapping[str, str]) -> None:
        self.tally = Tally()
        self.weighs = True
        """Whether units are counted: weighing items takes most of the time."""
        self.tables = {name: _Table(schema) for name, schema in tables.items()}
        self.sent: list[str] = []
        self.changes: list[Change] | None = None
        """What was written, table by table, where somebody wants to know."""
        self.run: Callable[[str, Any], Any] | None = None
        """Runs the function that `lambda.Invoke` names."""
        self._secrets = dict(secrets_by_id)
        self._lock = threading.RLock()  # a function that is invoked calls too
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "dynamodb.GetItem": self._get_item,
            "dynamodb.PutItem": self._put_item,
            "dynamodb.UpdateItem": self._update_item,
            "dynamodb.Query": self._query,
            "dynamodb.BatchGetItem": self._batch_get_item,
            "events.PutEvents": self._put_events,
            "kms.Encrypt": self._encrypt,
            "kms.Decrypt": self._decrypt,
            "kms.GenerateDataKey": self._generate_data_key,
            "lambda.Invoke": self._invoke,
            "secretsmanager.GetSecretValue": self._secret,
            "sqs.SendMessage": self._send,
            "sqs.SendMessageBatch": self._send_batch,
            "sqs.GetQueueAttributes": self._queue_attributes,
        }

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call.

        Raises:
            Refused: an answer of AWS that is an error.
            NotImplementedError: something that nobody has asked for yet.
        """
        wanted = dict(arguments)
        with self._lock:
            self.tally.calls[operation] += 1
            if operation not in self._operations:
                raise NotImplementedError(operation)
            answer = self._operations[operation](wanted)
            if wanted:
                raise NotImplementedError(f"{operation} with {', '.join(wanted)}")
            return answer

    def copy_partitions(self, table: str, number: int, new_key: Callable[[], str]) -> None:
        """Put copies of the table's partitions beside them, each under a key of its own.

        For those who only have to be there: writing each through the product takes too long.
        """
        into = self.tables[table]
        partitions: dict[str, list[Item]] = {}
        for item in into.all():
            partitions.setdefault(item["pk"]["S"], []).append(item)
        originals = [p for p in partitions.values() if any("st" in item for item in p)]
        for count in range(number):
            key: Value = {"S": new_key()}
            for item in originals[count % len(originals)]:
                into.put(None, item | {"pk": key})

    def operations(self, service: str) -> list[str]:
        """What one service can do here."""
        return [name for name in self._operations if name.startswith(f"{service}.")]

    # -- DynamoDB -------------------------------------------------------------------------------
    # Each takes what it understands out of the arguments; `call` refuses what is left.

    def _get_item(self, arguments: dict[str, Any]) -> dict[str, Any]:
        table = self.tables[arguments.pop("TableName")]
        item = table.get(table.key_of(arguments.pop("Key")))
        self._count_read(item, consistent=arguments.pop("ConsistentRead", False))
        return {} if item is None else {"Item": item}

    def _batch_get_item(self, arguments: dict[str, Any]) -> dict[str, Any]:
        responses: dict[str, list[Item]] = {}
        for name, wanted in arguments.pop("RequestItems").items():
            table = self.tables[name]
            consistent = wanted.get("ConsistentRead", False)
            attributes = wanted.get("ProjectionExpression", "")
            if not 1 <= len(wanted["Keys"]) <= 100:
                raise Refused("ValidationException")
            found = responses.setdefault(name, [])
            for key in wanted["Keys"]:
                item = table.get(table.key_of(key))
                self._count_read(item, consistent=consistent)
                if item is not None:
                    found.append(_selected(item, attributes))
        return {"Responses": responses, "UnprocessedKeys": {}}

    def _query(self, arguments: dict[str, Any]) -> dict[str, Any]:
        table = self.tables[arguments.pop("TableName")]
        index = arguments.pop("IndexName", None)
        values = arguments.pop("ExpressionAttributeValues")
        wanted = key_condition(arguments.pop("KeyConditionExpression"), _names(arguments))
        attributes = arguments.pop("ProjectionExpression", "")
        counts = arguments.pop("Select", None) == "COUNT"  # else the projection says what
        where = arguments.pop("FilterExpression", None)
        keeps = None if where is None else condition(where)
        limit = arguments.pop("Limit", None)
        consistent = arguments.pop("ConsistentRead", False)
        after = arguments.pop("ExclusiveStartKey", None)
        is_forward = arguments.pop("ScanIndexForward", True)
        if not is_forward and (limit is not None or after is not None):
            raise NotImplementedError("pages from the end")
        if consistent and index is not None:
            raise Refused("ValidationException")
        keys = table.schema.keys if index is None else table.schema.indexes[index].keys
        if wanted.hash_key != keys[0] or wanted.range_key not in (None, keys[1]):
            raise Refused("ValidationException")
        entries = table.entries(index, comparable(values[wanted.hash_value]))
        place, end = _bounds(entries, wanted.operator, [values[n] for n in wanted.operands])
        if after is not None:
            start = (comparable(after[keys[1]]), table.key_of(after))
            place = max(place, bisect.bisect_right(entries, start))
        items: list[Item] = []
        read = size = 0
        last = None
        for _, key in entries[place:end]:
            item = table.get(key)
            projection = "ALL" if index is None else table.schema.indexes[index].projection
            entry = projected(item, (keys[0], keys[1]), projection)
            if entry is None:
                raise RuntimeError("the index names an item that is not in it")
            if keeps is None or keeps(entry, values):
                items.append(_selected(entry, attributes))
            read += 1
            size += item_size(entry)
            if read == limit or size >= PAGE_BYTES:
                last = {name: entry[name] for name in dict.fromkeys((*table.schema.keys, *keys))}
                break
        self.tally.pages += 1
        self.tally.items_read += read
        self.tally.read_units += read_units(size, consistent=consistent)
        if not is_forward:
            items.reverse()
        answer: dict[str, Any] = {"Count": len(items)} | ({} if counts else {"Items": items})
        return answer | ({} if last is None else {"LastEvaluatedKey": last})

    def _put_item(self, arguments: dict[str, Any]) -> dict[str, Any]:
        table = self.tables[arguments.pop("TableName")]
        new = arguments.pop("Item")
        old = table.get(table.key_of(new))
        self._check(old, arguments, {})
        self._write(table, old, new)
        return {}

    def _update_item(self, arguments: dict[str, Any]) -> dict[str, Any]:
        table = self.tables[arguments.pop("TableName")]
        key = arguments.pop("Key")
        names = _names(arguments)
        change = update(arguments.pop("UpdateExpression"), names)
        values = arguments.pop("ExpressionAttributeValues", {})
        returns = arguments.pop("ReturnValues", "NONE")
        old = table.get(table.key_of(key))
        self._check(old, arguments, values, names)
        new = change.apply(old or dict(key), values)
        self._write(table, old, new)
        if returns == "NONE":
            return {}
        if returns == "ALL_NEW":
            return {"Attributes": new}
        if returns in ("UPDATED_OLD", "UPDATED_NEW"):
            shown = (old or {}) if returns == "UPDATED_OLD" else new
            changed = {n for n in {*new, *(old or {})} if (old or {}).get(n) != new.get(n)}
            return {"Attributes": {n: value for n, value in shown.items() if n in changed}}
        raise NotImplementedError(f"ReturnValues={returns}")

    def _check(
        self,
        old: Item | None,
        arguments: dict[str, Any],
        values: Mapping[str, Value],
        names: tuple[tuple[str, str], ...] = (),
    ) -> None:
        wanted = arguments.pop("ConditionExpression", None)
        returned = arguments.pop("ReturnValuesOnConditionCheckFailure", "NONE") == "ALL_OLD"
        if wanted is None or condition(wanted, names)(old or {}, values):
            return
        if self.weighs:
            self.tally.write_units += write_units(old, None)
        raise Refused("ConditionalCheckFailedException", old if returned else None)

    def _write(self, table: _Table, old: Item | None, new: Item) -> None:
        table.put(old, new)
        if self.changes is not None:
            (name,) = (name for name, known in self.tables.items() if known is table)
            self.changes.append((name, old, new))
        if not self.weighs:
            return
        self.tally.write_units += write_units(old, new)
        for index in table.schema.indexes.values():
            before = projected(old, index.keys, index.projection)
            after = projected(new, index.keys, index.projection)
            self.tally.index_write_units += index_write_units(before, after, index.keys)

    def _count_read(self, item: Item | None, *, consistent: bool) -> None:
        self.tally.items_read += item is not None
        if not self.weighs:
            return
        size = 0 if item is None else item_size(item)
        self.tally.read_units += read_units(size, consistent=consistent)

    # -- the others -----------------------------------------------------------------------------

    def _encrypt(self, arguments: dict[str, Any]) -> dict[str, Any]:
        key = arguments.pop("KeyId")
        wrapped = _wrap(arguments.pop("Plaintext"), arguments.pop("EncryptionContext", {}))
        return {"CiphertextBlob": wrapped, "KeyId": key}

    def _decrypt(self, arguments: dict[str, Any]) -> dict[str, Any]:
        key = arguments.pop("KeyId", "")
        blob = arguments.pop("CiphertextBlob")
        context = arguments.pop("EncryptionContext", {})
        packed, _, plain = blob.removeprefix(_KMS_OVERHEAD).partition(b"\n")
        if json.loads(packed) != context:
            raise Refused("InvalidCiphertextException")
        return {"Plaintext": plain, "KeyId": key}

    def _generate_data_key(self, arguments: dict[str, Any]) -> dict[str, Any]:
        key = arguments.pop("KeyId")
        arguments.pop("KeySpec")
        plain = secrets.token_bytes(32)
        wrapped = _wrap(plain, arguments.pop("EncryptionContext", {}))
        return {"CiphertextBlob": wrapped, "Plaintext": plain, "KeyId": key}

    def _secret(self, arguments: dict[str, Any]) -> dict[str, Any]:
        name = arguments.pop("SecretId")
        return {"ARN": name, "Name": name, "SecretString": self._secrets[name]}

    def _send(self, arguments: dict[str, Any]) -> dict[str, Any]:
        arguments.pop("QueueUrl")
        self.sent.append(arguments.pop("MessageBody"))
        self.tally.messages += 1
        return {"MessageId": str(len(self.sent))}

    def _put_events(self, arguments: dict[str, Any]) -> dict[str, Any]:
        entries = arguments.pop("Entries")
        self.tally.events += len(entries)
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "event"} for _ in entries]}

    def _invoke(self, arguments: dict[str, Any]) -> dict[str, Any]:
        arguments.pop("InvocationType")
        job = json.loads(arguments.pop("Payload"))
        if self.run is None:
            raise NotImplementedError("nobody runs functions here")
        answer = self.run(arguments.pop("FunctionName"), job)
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(answer).encode())}

    def _queue_attributes(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Nothing waits: whoever counts takes the messages at once."""
        del arguments["QueueUrl"]
        return {"Attributes": dict.fromkeys(arguments.pop("AttributeNames"), "0")}

    def _send_batch(self, arguments: dict[str, Any]) -> dict[str, Any]:
        arguments.pop("QueueUrl")
        entries = arguments.pop("Entries")
        if not 1 <= len(entries) <= 10:
            raise Refused("AWS.SimpleQueueService.TooManyEntriesInBatchRequest")
        self.sent += [entry["MessageBody"] for entry in entries]
        self.tally.messages += len(entries)
        done = [{"Id": entry["Id"], "MessageId": entry["Id"]} for entry in entries]
        return {"Successful": done, "Failed": []}


def _names(arguments: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(arguments.pop("ExpressionAttributeNames", {}).items()))


def _selected(item: Item, attributes: str) -> Item:
    if not attributes:
        return item
    wanted = {name.strip() for name in attributes.split(",")}
    return {name: value for name, value in item.items() if name in wanted}


def _bounds(entries: list[Place], word: str, operands: Sequence[Value]) -> tuple[int, int]:
    """Where the entries that a key condition wants begin and end."""
    if not word:
        return 0, len(entries)
    low = comparable(operands[0])

    def left(value: Any) -> int:
        return bisect.bisect_left(entries, value, key=lambda entry: entry[0])

    def right(value: Any) -> int:
        return bisect.bisect_right(entries, value, key=lambda entry: entry[0])

    if word == "begins_with":
        return left(low), left(low + b"\xff")
    begins = {"=": left, ">": right, ">=": left, "BETWEEN": left}
    ends = {"=": right, "<": left, "<=": right, "BETWEEN": right}
    high = comparable(operands[-1])
    return (
        begins[word](low) if word in begins else 0,
        ends[word](high) if word in ends else len(entries),
    )


def _wrap(plain: Any, context: Mapping[str, str]) -> bytes:
    data = plain.encode() if isinstance(plain, str) else bytes(plain)
    return _KMS_OVERHEAD + json.dumps(dict(context)).encode() + b"\n" + data
