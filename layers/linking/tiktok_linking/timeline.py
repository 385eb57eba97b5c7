"""The timeline of an account: what happened to it, newest first, as far back as it is kept."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tiktok_linking.errors import InvalidRequest
from tiktok_linking.ports import PastEvents

_PLACE = re.compile(r"at#[0-9]{13}#evt_[0-9a-f]{32}")


def page(
    past: PastEvents, account_id: str, *, cursor: str | None, limit: int
) -> tuple[Sequence[Mapping[str, Any]], str | None]:
    """One page, and the cursor of the next. A cursor is a place in time: it fits any account.

    Raises:
        InvalidRequest: the cursor is not one of ours.
    """
    before = None if cursor is None else _open(cursor)
    found, following = past.events_of(account_id, before=before, limit=limit)
    if following is None:
        return found, None
    return found, base64.urlsafe_b64encode(following.encode()).rstrip(b"=").decode()


def _open(cursor: str) -> str:
    problem = InvalidRequest("cursor is not one that this timeline gave; start without a cursor")
    try:
        place = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        raise problem from None
    if not _PLACE.fullmatch(place):
        raise problem
    return place
