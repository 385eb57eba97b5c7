"""What the stack answers, as values. Fields that a later stack adds are in ``raw``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Json = Mapping[str, Any]


def _instant(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True, slots=True)
class LinkSession:
    """One attempt to link. ``url`` is a bearer secret: give it to the user's browser, log it never.

    ``status``: pending, started, awaiting_completion, completed, cancelled, failed or expired.
    """

    id: str
    status: str
    expires_at: datetime
    url: str | None = field(default=None, repr=False)
    account_id: str | None = None
    reason: str | None = None
    action_by: str | None = None
    missing_scopes: tuple[str, ...] = ()
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, told: Json) -> LinkSession:
        """Read an answer."""
        return cls(
            id=told["id"],
            status=told["status"],
            expires_at=datetime.fromisoformat(told["expires_at"]),
            url=told.get("url"),
            account_id=told.get("account_id"),
            reason=told.get("reason"),
            action_by=told.get("action_by"),
            missing_scopes=tuple(told.get("missing_scopes", ())),
            raw=told,
        )


@dataclass(frozen=True, slots=True)
class Account:
    """One end user's link to a TikTok account.

    ``status``: active, relink_required, revoked or unlinked.
    """

    id: str
    status: str
    action_by: str
    end_user_id: str
    tenant_id: str | None
    open_id: str
    display_name: str | None
    avatar_url: str | None
    granted_scopes: tuple[str, ...]
    missing_scopes: tuple[str, ...]
    linked_at: datetime | None
    relink_by: datetime | None
    days_until_relink: int | None
    failing_since: datetime | None
    reason: str | None
    metadata: Json
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, told: Json) -> Account:
        """Read an answer."""
        profile = told.get("profile") or {}
        return cls(
            id=told["id"],
            status=told["status"],
            action_by=told["action_by"],
            end_user_id=told["end_user_id"],
            tenant_id=told.get("tenant_id"),
            open_id=told["open_id"],
            display_name=profile.get("display_name"),
            avatar_url=profile.get("avatar_url"),
            granted_scopes=tuple(told["scopes"]["granted"]),
            missing_scopes=tuple(told["scopes"]["missing"]),
            linked_at=_instant(told.get("linked_at")),
            relink_by=_instant(told.get("relink_by")),
            days_until_relink=told.get("days_until_relink"),
            failing_since=_instant(told["refresh"].get("failing_since")),
            reason=told.get("reason"),
            metadata=told.get("metadata") or {},
            raw=told,
        )


@dataclass(frozen=True, slots=True)
class Token:
    """An access token for one call to TikTok. Do not keep it: asking again costs one read.

    ``warning``: why it may soon be the last one, or None.
    """

    access_token: str = field(repr=False)
    expires_at: datetime
    scopes: tuple[str, ...]
    missing_scopes: tuple[str, ...]
    open_id: str
    account_id: str
    refreshed: bool
    warning: str | None

    @classmethod
    def from_json(cls, told: Json) -> Token:
        """Read an answer."""
        return cls(
            access_token=told["access_token"],
            expires_at=datetime.fromisoformat(told["expires_at"]),
            scopes=tuple(told["scopes"]),
            missing_scopes=tuple(told.get("missing_scopes", ())),
            open_id=told["open_id"],
            account_id=told["account_id"],
            refreshed=told["refreshed"],
            warning=told.get("warning"),
        )


@dataclass(frozen=True, slots=True)
class Unlinked:
    """The end of a link on our side, and what became of it at TikTok."""

    revoked_at_tiktok: Literal["pending", "not_needed"] | bool
    reason: str | None = None

    @classmethod
    def from_json(cls, told: Json) -> Unlinked:
        """Read an answer."""
        return cls(told["revoked_at_tiktok"], told.get("reason"))
