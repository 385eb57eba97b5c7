"""Events: what the team is told about sessions, accounts and TikTok's health.

The write that changes a state carries a mark, the event's name and its time, in the same item;
``publishing`` makes events of it afterwards, from the item before and after. Nothing here holds a
token, and the same change gives the same ``event_id`` however often it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

SOURCE = "tiktok-link"

FAILING_AFTER = 3
"""Failed renewals in a row before the team is told: one 502 is no news."""


class EventType(StrEnum):
    """The whole list; ``events/schemas`` has the form of each."""

    SESSION_COMPLETED = "link_session.completed"
    SESSION_CANCELLED = "link_session.cancelled"
    SESSION_FAILED = "link_session.failed"
    LINKED = "account.linked"
    RELINKED = "account.relinked"
    SCOPES_CHANGED = "account.scopes_changed"
    RELINK_DUE = "account.relink_due"
    REFRESH_FAILING = "account.refresh_failing"
    RECOVERED = "account.recovered"
    RELINK_REQUIRED = "account.relink_required"
    REVOKED = "account.revoked"
    UNLINKED = "account.unlinked"
    TOKEN_VENDED = "token.vended"  # noqa: S105 - an event's name
    PROVIDER_DOWN = "provider.down"
    PROVIDER_RECOVERED = "provider.recovered"


GRANT_CHANGED = "grant.changed"
"""The mark of a write after which something about a grant may be new: the images tell what."""
PROVIDER_CHANGED = "provider.changed"
"""The same of a circuit."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event on its way out. ``account_id`` names the timeline it belongs to, if any."""

    type: EventType
    event_id: str
    occurred_at: datetime
    detail: Mapping[str, object]
    account_id: str | None = None


def event_id(*parts: object) -> str:
    """Name an event by what it tells: of whom, what, and which change of it."""
    text = "\x1f".join(str(part) for part in parts)
    return "evt_" + hashlib.sha256(text.encode()).hexdigest()[:32]
