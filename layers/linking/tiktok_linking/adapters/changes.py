"""DynamoDB stream records: what an item was and is, read as the change that it means.

Shape: docs.aws.amazon.com/lambda/latest/dg/with-ddb.html (read 2026-11-22). Binary values come as
base64 text there, which matters to nobody here: nothing of them is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiktok_linking.adapters.dynamodb import decode
from tiktok_linking.adapters.records import read_account, read_grant, read_mark
from tiktok_linking.adapters.session_table import read_session
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
        KeyError, ValueError, TypeError: the item is not one of ours.
    """
    images = record["dynamodb"]
    if "ev" not in images.get("NewImage", {}):
        return None
    after = decode(images["NewImage"])
    before = decode(images["OldImage"]) if "OldImage" in images else None
    name, at = read_mark(after["ev"])
    kind = after.get("sk", "session")
    if kind == "grant":
        return GrantChange(name, at, read_grant(before) if before else None, read_grant(after))
    if kind.startswith("acct#"):
        return AccountChange(
            name, at, read_account(before) if before else None, read_account(after)
        )
    if kind == "circuit":
        return ProviderChange(name, at, after["pk"].removeprefix("circuit#"))
    return SessionChange(name, at, read_session(after))
