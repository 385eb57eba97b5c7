"""Grants and linked accounts: what TikTok gave, and who it was given for.

A *grant* is what TikTok gave for one (app registration, open_id): the token pair, its scopes and
its dates. A *linked account* is one end user's link to a grant; several may share one grant.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NoReturn

from tiktok_linking.errors import ActionBy

LIST_SHARDS = 4
"""Partitions of one tenant's list: a write limit of its own for each."""


class Secret:
    """A string that must not be printed: repr and str are masked, json and pickle refuse it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Give the value to the one place that has to send or seal it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret does not leave the process")


class Status(StrEnum):
    """The life of a link. Expiring soon and failing refreshes are facts beside it, never here."""

    ACTIVE = "active"
    RELINK_REQUIRED = "relink_required"
    REVOKED = "revoked"
    UNLINKED = "unlinked"


class RelinkReason(StrEnum):
    """Why a link needs its owner again."""

    REFRESH_TOKEN_EXPIRED = "refresh_token_expired"  # noqa: S105 - a reason, no password
    REFRESH_TOKEN_REJECTED = "refresh_token_rejected"  # noqa: S105 - a reason, no password
    ROTATION_LOST = "rotation_lost"
    REVOKED_BY_USER = "revoked_by_user"
    SCOPES_WITHDRAWN = "scopes_withdrawn"


class RevokedReason(StrEnum):
    """Why TikTok ended a grant, in the order of its numbers."""

    REMOVED_AT_TIKTOK = "removed_at_tiktok"
    REVOKED_BY_USER = "revoked_by_user"
    TIKTOK_ACCOUNT_DELETED = "tiktok_account_deleted"
    TIKTOK_AGE_CHANGED = "tiktok_age_changed"
    TIKTOK_ACCOUNT_BANNED = "tiktok_account_banned"
    REVOKED_BY_DEVELOPER = "revoked_by_developer"


_NOBODY_CAN_LINK_AGAIN = frozenset(
    {
        RevokedReason.TIKTOK_ACCOUNT_DELETED,
        RevokedReason.TIKTOK_AGE_CHANGED,
        RevokedReason.TIKTOK_ACCOUNT_BANNED,
        RevokedReason.REVOKED_BY_DEVELOPER,  # the team's own will
    }
)


def action_on_revoked(reason: str | None) -> ActionBy:
    """Who can do something about a revoked grant."""
    return ActionBy.NOBODY if reason in _NOBODY_CAN_LINK_AGAIN else ActionBy.END_USER


class RefreshMode(StrEnum):
    """How eagerly the schedule keeps an access token alive."""

    AUTO = "auto"
    ALWAYS = "always"
    ON_DEMAND = "on_demand"


_EAGERNESS = (RefreshMode.ON_DEMAND, RefreshMode.AUTO, RefreshMode.ALWAYS)


ENDING_TAKES = timedelta(seconds=60)
"""An unlink is over by then, with its function: whatever is left, it does not do any more."""


class Ending(StrEnum):
    """What the end of a grant still asks for, should it be its last account that is unlinked."""

    REVOKE = "revoke"
    FORGET = "forget"
    """Delete the tokens without a word to TikTok: the team asked for no revocation."""


class Revocation(StrEnum):
    """What became of a grant at TikTok, when the last of its accounts was unlinked."""

    DONE = "true"
    NOT_DONE = "false"
    PENDING = "pending"
    NOT_NEEDED = "not_needed"

    @property
    def shown(self) -> bool | str:
        """As answers and events say it: yes, no, or one of the other words."""
        return {Revocation.DONE: True, Revocation.NOT_DONE: False}.get(self, self.value)


LINKED_AGAIN = "linked_again"
SHARED_GRANT = "shared_grant"
"""Why a grant was not revoked: an account of it is linked, since then or still."""


@dataclass(frozen=True, slots=True)
class SealedPair:
    """A token pair as it is stored: ciphertext and what must be known without opening it.

    ``fingerprint`` names the refresh token; ``pair_id`` is random, is bound into both ciphertexts
    and keeps a ciphertext that was moved to another row from opening.
    """

    pair_id: bytes
    access: bytes = field(repr=False)
    refresh: bytes = field(repr=False)
    fingerprint: bytes
    scopes: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    relink_by: datetime | None


@dataclass(frozen=True, slots=True)
class Grant:
    """One record of the accounts table. ``pair`` is None where the ciphertext was not read."""

    id: str
    registration: str
    open_id: str
    status: Status
    pair: SealedPair | None
    scopes: tuple[str, ...]
    expires_at: datetime | None
    issued_at: datetime | None
    relink_by: datetime | None
    authorised_at: datetime
    version: int
    rotations: int = 0
    reason: str | None = None
    mode: RefreshMode = RefreshMode.AUTO
    last_success_at: datetime | None = None
    last_used_at: datetime | None = None
    due_at: datetime | None = None
    lease_owner: str | None = None
    lease_until: datetime | None = None
    intent: bytes | None = None
    recovering_since: datetime | None = None
    failing_since: datetime | None = None
    failures: int = 0
    last_error: str | None = None
    last_log_id: str | None = None
    backoff_until: datetime | None = None
    write_id: bytes | None = None
    revocation: str | None = None
    """What became of the grant at TikTok; None while that is open, too."""
    revocation_reason: str | None = None
    earlier_revocation: tuple[str, str | None] | None = None
    """The same, with its reason, of the authorisation before this one, where we had ended that."""
    ended_at: datetime | None = None
    ending: Ending | None = None
    """What an unlink has begun and may not have finished."""
    look_at: datetime | None = None
    """When somebody else shall see whether it has."""

    @property
    def is_over(self) -> bool:
        """Whether the grant has ended and nothing is left to be asked or told about it."""
        return self.revocation is not None or self.status is Status.REVOKED

    @property
    def is_in_doubt(self) -> bool:
        """Whether a late pair landed here after the owner had been asked for.

        Where TikTok ends the whole grant when a spent token comes again, that pair is dead: nobody
        may rely on it before TikTok has taken its refresh token once.
        """
        return self.status is Status.ACTIVE and self.reason is not None

    def is_alive(self, now: datetime, margin: timedelta = timedelta(0)) -> bool:
        """Whether the stored access token is still good ``margin`` from now."""
        if self.expires_at is None or self.is_in_doubt:
            return False
        return self.expires_at > now + margin

    def is_past_deadline(self, now: datetime) -> bool:
        """Whether TikTok's date for authorising again has passed."""
        return self.relink_by is not None and self.relink_by <= now

    def is_leased(self, now: datetime) -> bool:
        """Whether a worker that can still be alive holds this grant."""
        return self.lease_until is not None and self.lease_until > now

    def status_at(self, now: datetime) -> Status:
        """The status by the clock: past ``relink_by`` an active grant needs its owner."""
        if self.status is Status.ACTIVE and self.is_past_deadline(now):
            return Status.RELINK_REQUIRED
        return self.status

    def reason_at(self, now: datetime) -> str | None:
        """Why the status is what it is, or None while it is active."""
        if self.status is Status.ACTIVE and self.is_past_deadline(now):
            return RelinkReason.REFRESH_TOKEN_EXPIRED
        return None if self.status is Status.ACTIVE else self.reason


@dataclass(frozen=True, slots=True)
class Profile:
    """Decoration from ``/v2/user/info/``; may be absent and is never a key."""

    display_name: str | None
    avatar_url: str | None
    union_id: str | None
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class Reminder:
    """What the team was told of a deadline: how near it was, by threshold."""

    threshold_days: int
    relink_by: datetime

    def covers(self, threshold_days: int, relink_by: datetime) -> bool:
        """Whether this threshold of this deadline, or a nearer one, has been told already."""
        return self.threshold_days <= threshold_days and same_day(self.relink_by, relink_by)


@dataclass(frozen=True, slots=True)
class Account:
    """One end user's link to a grant."""

    id: str
    grant_id: str
    registration: str
    open_id: str
    end_user_id: str
    tenant_id: str | None
    end_user_label: str | None
    metadata: dict[str, str]
    profile: Profile | None
    mode: RefreshMode
    wanted_scopes: tuple[str, ...]
    linked_at: datetime
    authorised_at: datetime
    relink_by: datetime | None = None
    """A copy of the grant's date, for the order of lists; answers show the grant's own."""
    unlinked_at: datetime | None = None
    is_told: bool = False
    """Whether the event of this unlink has been sent."""
    is_waiting: bool = False
    """Whether it waits for TikTok's answer."""
    is_ended: bool = False
    """A copy for counts: whether its grant is anything but active; answers show the grant's own."""
    reminded: Reminder | None = None
    """The last reminder of this account."""

    @property
    def is_personal(self) -> bool:
        """Whether the row holds more than whose link it was and when it ended."""
        return bool(self.end_user_label or self.metadata or self.profile)

    @property
    def relinked_at(self) -> datetime | None:
        """When the owner authorised again, or None after the first time."""
        return self.authorised_at if self.authorised_at > self.linked_at else None


@functools.lru_cache(maxsize=256)  # one link names its grant five times
def _digest(*parts: str) -> str:
    """Hash parts so that no two lists of parts collide: each is prefixed with its length."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode()
        hasher.update(len(data).to_bytes(4, "big") + data)
    return base64.b32encode(hasher.digest()[:15]).decode().lower()


def grant_id(registration: str, open_id: str) -> str:
    """Name the one grant of (app registration, open_id): 24 characters, 120 bits of SHA-256."""
    return _digest("grant", registration, open_id)


def account_id(registration: str, open_id: str, tenant_id: str | None, end_user_id: str) -> str:
    """Name the account of (registration, open_id, tenant, end user).

    The id starts with its grant's id, so that one request finds both, and it is the same whenever
    the same person links the same TikTok account again.
    """
    owner = _digest("account", "-" if tenant_id is None else "+" + tenant_id, end_user_id)
    return f"acct_{grant_id(registration, open_id)}{owner}"


def split_account_id(value: str) -> tuple[str, str] | None:
    """Give (grant id, owner part) of a well-formed account id, else None: costs no look-up."""
    body = value.removeprefix("acct_")
    if (
        len(value) != 53
        or len(body) != 48
        or not set(body) <= set("abcdefghijklmnopqrstuvwxyz234567")
    ):
        return None
    return body[:24], body[24:]


def owner_key(tenant_id: str | None, end_user_id: str) -> str:
    """The index key under which one end user's accounts are listed."""
    return _digest("owner", "-" if tenant_id is None else "+" + tenant_id, end_user_id)


def tenant_key(tenant_id: str | None) -> str:
    """The index key under which one tenant's accounts are listed (before its shard)."""
    return _digest("tenant", "-" if tenant_id is None else "+" + tenant_id)


def token_fingerprint(token: Secret, pair_id: bytes) -> bytes:
    """Name the refresh token of one stored pair without holding it: 16 bytes of SHA-256.

    Bound to the pair, so that it moves with each stored pair even where TikTok did not rotate.
    """
    return hashlib.sha256(pair_id + token.reveal().encode()).digest()[:16]


def instant(moment: datetime | None) -> str | None:
    """A moment as answers and events write it: UTC, ISO 8601, whole seconds."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def most_eager(accounts: Iterable[Account], otherwise: RefreshMode) -> RefreshMode:
    """The mode of a grant: the most eager wish of those who are linked to it."""
    wishes = [account.mode for account in accounts if account.unlinked_at is None]
    return max(wishes, key=_EAGERNESS.index, default=otherwise)


def same_day(one: datetime | None, other: datetime | None) -> bool:
    """Whether two deadlines are the same to lists, which know days."""
    return (one and one.date()) == (other and other.date())


def days_until(deadline: datetime | None, now: datetime) -> int | None:
    """Whole days left, never negative; None when TikTok never told a deadline."""
    if deadline is None:
        return None
    return max(0, (deadline - now) // timedelta(days=1))
