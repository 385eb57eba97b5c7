"""Every page that people see, each as a function that renders it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from tests.fakes import samples
from tests.fakes.clock import NOON
from tiktok_linking.accounts import Secret
from tiktok_linking.sessions import (
    COOKIE_PREFIX,
    PARKED_FOR,
    Attempt,
    LinkSession,
    ParkedCode,
    SessionReason,
    SessionStatus,
    completion_code,
    secret_hash,
    session_key,
)
from tiktok_linking.web.http import Response
from tiktok_linking.web.pages import Pages

COOKIES = {f"{COOKIE_PREFIX}12345678": "cookie"}
RETURN_URL = "https://app.example.com/settings?tab=links"

PAGES = Pages(app_name="Acme", request_id="request-1", now=NOON)


def session(
    status: SessionStatus = SessionStatus.PENDING,
    *,
    reason: SessionReason | None = None,
    used: bool = True,
    result_cookie: str | None = None,
    **changes: object,
) -> LinkSession:
    """A session in which this browser has pressed the button."""
    attempt = Attempt(
        cookie_hash=secret_hash("cookie" if result_cookie is None else "other"),
        redirect_uri="https://l/callback",
        expires_at=NOON + timedelta(minutes=10),
        used_at=NOON if used else None,
        result_cookie_hash=None if result_cookie is None else secret_hash(result_cookie),
    )
    base = samples.link_session(return_url=RETURN_URL)
    changed: dict[str, object] = {"status": status, "reason": reason, "attempts": {"a": attempt}}
    return replace(base, **(changed | changes))  # type: ignore[arg-type]


COMPLETED = session(
    SessionStatus.COMPLETED,
    display_name="Mina Park",
    account_id="acct_1",
    granted_scopes=("user.info.basic",),
)
EVERY_SCOPE = (
    "user.info.basic",
    "user.info.profile",
    "user.info.stats",
    "video.list",
    "video.publish",
    "video.upload",
)
FAILURES = [reason for reason in SessionReason if reason is not SessionReason.CANCELLED_BY_TEAM]

Render = Callable[[Pages], Response]


def of(made: LinkSession, *, own: bool = True) -> Render:
    """Render the page of a session, to its own browser or to another."""
    return lambda pages: pages.of_session(made, COOKIES if own else {})


def waiting(*, result_cookie: str | None = None, until: timedelta = PARKED_FOR) -> LinkSession:
    """A session whose code waits; this browser is the one that came back."""
    made = session(SessionStatus.AWAITING_COMPLETION, result_cookie=result_cookie)
    release = completion_code(Secret("cookie"), session_key(made.id))
    parked = ParkedCode(b"sealed", secret_hash(release.reveal()), "a", NOON + until)
    return replace(made, parked=parked)


EVERY_PAGE: dict[str, Render] = {
    "connect": of(session(), own=False),
    "connect, nameless": of(session(end_user_label=None), own=False),
    "connect, in a hurry": of(session(expires_at=NOON + timedelta(minutes=3)), own=False),
    "connect, inside another app": lambda pages: of(session(), own=False)(
        replace(pages, user_agent="Instagram 300.0")
    ),
    "success": of(COMPLETED),
    "success, nameless, to be closed": of(replace(COMPLETED, display_name=None, return_url=None)),
    "partial success": of(replace(COMPLETED, missing_scopes=("video.list",))),
    "partial success, nameless, to be closed": of(
        replace(COMPLETED, missing_scopes=EVERY_SCOPE, display_name=None, return_url=None)
    ),
    "already used": of(COMPLETED, own=False),
    "finishing": of(session(SessionStatus.STARTED)),
    "different browser": of(session(SessionStatus.STARTED, result_cookie="cookie")),
    "different browser, too late to start": of(
        session(SessionStatus.STARTED, result_cookie="cookie", expires_at=NOON)
    ),
    "to be completed": of(waiting()),
    "different browser, to be completed": of(waiting(result_cookie="cookie")),
    "not completed in time": of(waiting(until=timedelta(0))),
    "cancelled": of(session(SessionStatus.CANCELLED, reason=SessionReason.USER_CANCELLED)),
    "withdrawn": of(session(SessionStatus.CANCELLED, reason=SessionReason.CANCELLED_BY_TEAM)),
    **{reason.value: of(session(SessionStatus.FAILED, reason=reason)) for reason in FAILURES},
    "expired": lambda pages: pages.expired(session()),
    "expired, a day": lambda pages: pages.expired(
        session(created_at=NOON, expires_at=NOON + timedelta(days=1))
    ),
    "expired, a week": lambda pages: pages.expired(
        session(created_at=NOON, expires_at=NOON + timedelta(days=7))
    ),
    "expired, unknown": lambda pages: pages.expired(),
    "already used, unknown": lambda pages: pages.already_used(),
    "too many": lambda pages: pages.too_many(),
    "not found": lambda pages: pages.not_found(),
    "bad return": lambda pages: pages.bad_return(),
    "defect": lambda pages: pages.defect(),
}
