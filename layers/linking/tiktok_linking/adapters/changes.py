"""DynamoDB stream records: what an item was and is, read as the change that it means.

Shape: docs.aws.amazon.com/lambda/latest/dg/with-ddb.html (read 2026-11-22). Binary values come as
base64 text there, which matters to nobody here: nothing of them is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiktok_linking.adapters.dynamodb import Item, decode
from tiktok_linking.adapters.records import (
    Mark,
    read_account,
    read_circuit,
    read_grant,
    read_mark,
)
from tiktok_linking.adapters.session_table import read_session
from tiktok_linking.errors import RecordBroken
from tiktok_linking.publishing import (
    AccountChange,
    Change,
    GrantChange,
    ProviderChange,
    SessionChange,
)


def read_change(record: Mapping[str, Any]) -> Change | None:
    """Read a stream record; None where the item carries no mark, or is gone.

    Raises:
        RecordBroken: the item is not one of ours.
    """
    try:
        images = record["dynamodb"]
        if "ev" not in images.get("NewImage", {}):
            return None
        after = decode(images["NewImage"])
        before = decode(images["OldImage"]) if "OldImage" in images else None
        return _change(read_mark(after["ev"]), before, after)
    except (KeyError, ValueError, TypeError) as error:
        raise RecordBroken(type(error).__name__) from error


def _change(mark: Mark, before: Item | None, after: Item) -> Change:
    name, at = mark.name, mark.at
    kind = after.get("sk", "session")
    if kind == "grant":
        was = read_grant(before) if before else None
        return GrantChange(name, at, was, read_grant(after), mark.row)
    if kind.startswith("acct#"):
        return AccountChange(
            name, at, read_account(before) if before else None, read_account(after)
        )
    if kind == "circuit":
        return ProviderChange(
            name, at, read_circuit(before) if before else None, read_circuit(after)
        )
    return SessionChange(name, at, read_session(after))
