"""TikTok's webhooks without a socket: whose signature is on a body, and what the body says.

Sources, read 2026-11: developers.tiktok.com/doc/webhooks-verification (the header
``TikTok-Signature: t=…,s=…``, HMAC-SHA256 by the client secret over ``t.body``),
/doc/webhooks-events and /doc/webhooks-overview (at least once, for up to 72 hours). The signature
is checked on the raw bytes: the same object written anew is another body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tiktok_linking.accounts import RevokedReason, Secret

AUTHORIZATION_REMOVED = "authorization.removed"
TOLERANCE = timedelta(seconds=300)
"""How far the time of a signature may lie from ours, both ways."""
RETRIED_FOR = timedelta(hours=73)
"""A removal is taken so late: TikTok retries for 72 hours, maybe without signing anew."""
MOST_HEADER_CHARACTERS = 512

_TIMESTAMP = re.compile(r"[0-9]{1,11}")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_NAME = re.compile(r"[a-z0-9_.]{1,64}")

REASONS = (
    RevokedReason.REMOVED_AT_TIKTOK,
    RevokedReason.REVOKED_BY_USER,
    RevokedReason.TIKTOK_ACCOUNT_DELETED,
    RevokedReason.TIKTOK_AGE_CHANGED,
    RevokedReason.TIKTOK_ACCOUNT_BANNED,
    RevokedReason.REVOKED_BY_DEVELOPER,
)
"""TikTok's numbers 0 to 5, in order."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The header, read: when it was signed, by the sender's clock, and the digest."""

    signed_at: datetime
    timestamp: str
    digest: str = field(repr=False)

    def is_by(self, client_secret: Secret, body: bytes) -> bool:
        """Whether this secret signed these very bytes."""
        signed = self.timestamp.encode() + b"." + body
        made = hmac.new(client_secret.reveal().encode(), signed, hashlib.sha256).hexdigest()
        return hmac.compare_digest(made, self.digest)

    def is_within(self, span: timedelta, now: datetime) -> bool:
        """Whether it was signed at most so long ago, or ahead of our clock."""
        return abs(now - self.signed_at) <= span


def read_signature(header: str) -> Signature | None:
    """Read ``TikTok-Signature``; None for anything unclear, before any secret is fetched.

    Fields come in any order and unknown ones are ignored. A field given twice, as in two headers
    that were joined, is refused: sender and receiver could read it differently.
    """
    if len(header) > MOST_HEADER_CHARACTERS:
        return None
    found: dict[str, str] = {}
    for part in header.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name in found:
            return None
        found[name] = value
    timestamp, digest = found.get("t", ""), found.get("s", "")
    if not _TIMESTAMP.fullmatch(timestamp) or not _DIGEST.fullmatch(digest):
        return None
    signed_at = _instant(int(timestamp))
    return None if signed_at is None else Signature(signed_at, timestamp, digest.lower())


@dataclass(frozen=True, slots=True)
class Event:
    """What every event says of itself. ``name`` is a known form of word, or ``unreadable``."""

    client_key: str
    name: str
    body: dict[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Removal:
    """``authorization.removed``: whose, when by TikTok's clock, and why."""

    open_id: str
    removed_at: datetime
    reason: RevokedReason


def read_event(body: bytes) -> Event | None:
    """Read a body whose signature was right; None where it is no event at all."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    client_key, name = data.get("client_key"), data.get("event")
    if not isinstance(client_key, str) or not isinstance(name, str):
        return None
    return Event(client_key, name if _NAME.fullmatch(name) else "unreadable", data)


def read_removal(event: Event) -> Removal | None:
    """Read who removed the app and when; None where the event does not say.

    ``content`` is JSON in a string. A reason that cannot be read does not keep a removal from
    being one.
    """
    open_id, created = event.body.get("user_openid"), event.body.get("create_time")
    if not isinstance(open_id, str) or not 0 < len(open_id) <= 4096 or not _is_text(open_id):
        return None
    if isinstance(created, bool) or not isinstance(created, int):
        return None
    removed_at = _instant(created)
    return None if removed_at is None else Removal(open_id, removed_at, _reason(event.body))


def _reason(body: dict[str, object]) -> RevokedReason:
    content = body.get("content")
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except (ValueError, RecursionError):
            content = None
    number = content.get("reason") if isinstance(content, dict) else None
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(REASONS):
        return RevokedReason.REMOVED_AT_TIKTOK
    return REASONS[number]


def _instant(seconds: int) -> datetime | None:
    """The moment of so many seconds since 1970, if a calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _is_text(value: str) -> bool:
    """JSON may carry halves of surrogate pairs, which nothing can be named by."""
    return not any("\ud800" <= character <= "\udfff" for character in value)
