"""Plain values that tests start from; every argument changes one fact of the sample."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta

from tests.fakes.clock import NOON
from tiktok_linking.accounts import (
    Account,
    Profile,
    RefreshMode,
    Secret,
    account_id,
    grant_id,
)
from tiktok_linking.callers import Caller
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.sessions import Completion, LinkSession, SessionStatus, new_session_id

REGISTRATION = "default"
OPEN_ID = "afd97af1-b87b-48b9-ac98-410aghda5344"
SCOPES = ("user.info.basic", "video.list")
GRANT_ID = grant_id(REGISTRATION, OPEN_ID)
BACKEND = Caller("example-backend")
"""A caller whom nobody mapped to a tenant."""

_numbers = itertools.count(1)


def answer(
    *,
    open_id: str = OPEN_ID,
    access_token: str | None = None,
    refresh_token: str | None = None,
    scopes: tuple[str, ...] | None = SCOPES,
    issued_at: datetime = NOON,
    lives: timedelta = timedelta(hours=24),
    relink_in: timedelta | None = timedelta(days=180),
) -> TokenAnswer:
    """A token answer of TikTok's; its tokens are new each time."""
    number = next(_numbers)
    return TokenAnswer(
        access_token=Secret(access_token or f"act.sample{number}!0001"),
        refresh_token=Secret(refresh_token or f"rft.sample{number}*0001"),
        open_id=open_id,
        scopes=scopes,
        issued_at=issued_at,
        expires_at=issued_at + lives,
        relink_by=None if relink_in is None else issued_at + relink_in,
    )


def account(
    *,
    end_user_id: str = "u_42",
    tenant_id: str | None = None,
    registration: str = REGISTRATION,
    open_id: str = OPEN_ID,
    label: str | None = "ada@example.com",
    metadata: dict[str, str] | None = None,
    profile: Profile | None = None,
    wanted_scopes: tuple[str, ...] = SCOPES,
    at: datetime = NOON,
    relink_by: datetime | None = NOON + timedelta(days=180),
) -> Account:
    """An account row as the callback writes it."""
    return Account(
        id=account_id(registration, open_id, tenant_id, end_user_id),
        grant_id=grant_id(registration, open_id),
        registration=registration,
        open_id=open_id,
        end_user_id=end_user_id,
        tenant_id=tenant_id,
        end_user_label=label,
        metadata=metadata or {},
        profile=profile,
        mode=RefreshMode.AUTO,
        wanted_scopes=wanted_scopes,
        linked_at=at,
        authorised_at=at,
        relink_by=relink_by,
    )


def profile(name: str = "Mina Park") -> Profile:
    """The decoration of an account."""
    return Profile(
        display_name=name,
        avatar_url="https://p16.example.com/mina.jpg",
        union_id="union-of-mina",
        fetched_at=NOON,
    )


def link_session(
    *,
    session_id: str | None = None,
    end_user_id: str = "u_42",
    tenant_id: str | None = None,
    label: str | None = "ada@example.com",
    required: tuple[str, ...] = ("user.info.basic",),
    optional: tuple[str, ...] = ("video.list",),
    return_url: str | None = "https://app.example.com/settings?tab=links",
    relink_account_id: str | None = None,
    metadata: dict[str, str] | None = None,
    switch_account: bool = False,
    completion: Completion = Completion.BROWSER,
    at: datetime = NOON,
    lives: timedelta = timedelta(minutes=30),
) -> LinkSession:
    """A session as the team's backend makes it."""
    return LinkSession(
        id=session_id or new_session_id(),
        status=SessionStatus.PENDING,
        app_registration=REGISTRATION,
        end_user_id=end_user_id,
        tenant_id=tenant_id,
        end_user_label=label,
        scopes_required=required,
        scopes_optional=optional,
        return_url=return_url,
        created_at=at,
        expires_at=at + lives,
        page_nonce="ExamplePageNonce01234A",
        relink_account_id=relink_account_id,
        metadata=metadata or {},
        switch_account=switch_account,
        completion=completion,
    )
