"""What DynamoDB charges, from item sizes, by its published rules (read 2026-11-22).

Sizes:  docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
Units:  docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
Indexes: docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html (Write capacity units)

A read unit is 4 KB read consistently, half of one otherwise; a write unit is 1 KB of the larger of
the item before and after. A condition that fails is charged as a write of the item that is there.
"""

from __future__ import annotations

import math
from typing import Any

from benchmarks.renewal.expressions import Item, Value

READ_BYTES = 4096
WRITE_BYTES = 1024


def item_size(item: Item) -> int:
    """Bytes of names and values."""
    total = 0
    for name, value in item.items():
        # Most are short texts: asked here, since weighing takes most of a count's time.
        text = value.get("S")
        if text is not None and text.isascii():
            total += len(name) + len(text)
        else:
            total += _bytes(name) + _value_size(value)
    return total


def _value_size(value: Value) -> int:
    if "S" in value:
        return _bytes(value["S"])
    if "N" in value:
        # Two digits a byte, zeroes at both ends left out, and one byte more.
        digits = value["N"].lstrip("-").replace(".", "").strip("0")
        return (len(digits) + 1) // 2 + 1
    if "B" in value:
        return len(value["B"])
    # Maps and lists: 3 bytes, and 1 for each element.
    if "M" in value:
        return 3 + len(value["M"]) + item_size(value["M"])
    if "L" in value:
        return 3 + len(value["L"]) + sum(_value_size(element) for element in value["L"])
    if "BOOL" in value or "NULL" in value:
        return 1
    raise ValueError(f"no size for type {next(iter(value))}")


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def read_units(size: int, *, consistent: bool) -> float:
    """Units of one read of so many bytes; what is not there costs the least."""
    return max(1, math.ceil(size / READ_BYTES)) * (1.0 if consistent else 0.5)


def write_units(before: Item | None, after: Item | None) -> int:
    """Units of one write of the table itself."""
    sizes = [item_size(item) for item in (before, after) if item is not None]
    return max(1, math.ceil(max(sizes, default=0) / WRITE_BYTES))


def index_write_units(before: Item | None, after: Item | None, keys: tuple[str, str]) -> int:
    """Units that one index pays for a write: its entry before and after, None where it has none.

    Nothing for an entry that stays the same, one write for one that appears, goes or changes, two
    for one whose key moves: the old is deleted and a new one put.
    """
    if before == after:
        return 0
    if before is None or after is None:
        return write_units(before, after)
    if any(before.get(key) != after.get(key) for key in keys):
        return write_units(before, None) + write_units(None, after)
    return write_units(before, after)


def projected(item: Item | None, keys: tuple[str, str], projection: Any) -> Item | None:
    """An item's entry in an index, or None if it has no place there."""
    if item is None or keys[0] not in item or keys[1] not in item:
        return None
    if projection == "ALL":
        return item
    return {name: item[name] for name in ("pk", "sk", *keys) if name in item}
