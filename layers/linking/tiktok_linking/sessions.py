"""Link sessions: one attempt by one end user to link a TikTok account.

A session is made by the team's backend and used in a browser. Each press of "Continue with TikTok"
starts an *attempt* with a state of its own, bound to that browser by a cookie of its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from tiktok_linking.accounts import Secret

ATTEMPT_LIFETIME = timedelta(minutes=10)
MOST_ATTEMPTS = 10
"""Attempts one session can start: bounds cookies in the browser and bytes in the item."""

PARKED_FOR = timedelta(minutes=5)
"""For so long a parked code waits for the team's own login to decide."""

FINISHED = "finished"
"""Stands where a session id would, on the page for browsers that have no part in a session."""

COOKIE_PREFIX = "__Host-ttl_"
MOST_COOKIES = 10
"""Attempts of one browser, over all sessions: API Gateway takes 10 KB of headers, then no more."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_COOKIE_NAME = re.compile(COOKIE_PREFIX + "[0-9a-f]{8}")


class SessionStatus(StrEnum):
    """Where an attempt to link stands."""

    PENDING = "pending"
    STARTED = "started"
    AWAITING_COMPLETION = "awaiting_completion"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    EXPIRED = "expired"


class Completion(StrEnum):
    """What decides that a link is made."""

    BROWSER = "browser"
    """The browser that started comes back with its cookie."""
    APP = "app"
    """The team's own login: its backend completes with the person who is signed in there."""


class SessionReason(StrEnum):
    """Why a session was cancelled or failed."""

    USER_CANCELLED = "user_cancelled"
    CANCELLED_BY_TEAM = "cancelled_by_team"
    PROVIDER_REFUSED = "provider_refused"
    APP_MISCONFIGURED = "app_misconfigured"
    SCOPE_NOT_GRANTED = "scope_not_granted"
    ACCOUNT_MISMATCH = "account_mismatch"
    USER_MISMATCH = "user_mismatch"
    BROWSER_MISMATCH = "browser_mismatch"
    EXCHANGE_FAILED = "exchange_failed"
    PROVIDER_UNAVAILABLE = "provider_unavailable"


ACTION_BY = {
    SessionReason.USER_CANCELLED: "end_user",
    SessionReason.CANCELLED_BY_TEAM: "nobody",
    SessionReason.PROVIDER_REFUSED: "end_user",
    SessionReason.APP_MISCONFIGURED: "developer",
    SessionReason.SCOPE_NOT_GRANTED: "end_user",
    SessionReason.ACCOUNT_MISMATCH: "end_user",
    SessionReason.USER_MISMATCH: "end_user",
    SessionReason.BROWSER_MISMATCH: "end_user",
    SessionReason.EXCHANGE_FAILED: "end_user",
    SessionReason.PROVIDER_UNAVAILABLE: "end_user",
}


ANOTHER_CHOICE_HELPS = frozenset(
    {
        SessionReason.PROVIDER_REFUSED,
        SessionReason.SCOPE_NOT_GRANTED,
        SessionReason.ACCOUNT_MISMATCH,
    }
)
"""After these, TikTok must ask again: it would skip its page, and choose the same as before."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One press of the button: what the answer from TikTok must match."""

    cookie_hash: str
    redirect_uri: str
    expires_at: datetime
    code_verifier: str | None = field(default=None, repr=False)
    used_at: datetime | None = None
    result_cookie_hash: str | None = None


@dataclass(frozen=True, slots=True)
class ParkedCode:
    """A code that waits, sealed. ``completion_hash`` names the one-time code that releases it."""

    sealed: bytes = field(repr=False)
    completion_hash: str
    attempt_key: str
    until: datetime


@dataclass(frozen=True, slots=True)
class LinkSession:
    """One attempt to link, as stored. ``id`` opens the connect page and is a bearer secret."""

    id: str = field(repr=False)
    status: SessionStatus
    app_registration: str
    end_user_id: str
    scopes_required: tuple[str, ...]
    scopes_optional: tuple[str, ...]
    expires_at: datetime
    created_at: datetime
    page_nonce: str = field(repr=False)
    end_user_label: str | None = None
    tenant_id: str | None = None
    return_url: str | None = None
    completion: Completion = Completion.BROWSER
    locale: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    switch_account: bool = False
    """Whether TikTok shows its page even to somebody who consented before."""
    relink_account_id: str | None = None
    reason: SessionReason | None = None
    account_id: str | None = None
    missing_scopes: tuple[str, ...] = ()
    granted_scopes: tuple[str, ...] = ()
    display_name: str | None = None
    attempts: Mapping[str, Attempt] = field(default_factory=dict)
    parked: ParkedCode | None = None
    answer: str | None = field(default=None, repr=False)
    """What the completion answered, for a repeat of it."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """Everything TikTok is asked for, required first."""
        return self.scopes_required + self.scopes_optional

    def status_at(self, now: datetime) -> SessionStatus:
        """The status by the clock.

        The expiry limits starting: an attempt begun in time may finish within its own lifetime,
        and a parked code waits for as long as it may.
        """
        if self.status is SessionStatus.AWAITING_COMPLETION:
            is_late = self.parked is None or self.parked.until <= now
            return SessionStatus.EXPIRED if is_late else self.status
        open_statuses = (SessionStatus.PENDING, SessionStatus.STARTED)
        if self.status not in open_statuses or self.expires_at > now:
            return self.status
        if any(a.expires_at > now for a in self.attempts.values()):
            return self.status
        return SessionStatus.EXPIRED

    def can_start(self, now: datetime) -> bool:
        """Whether the button may be pressed: also again after a cancel or a failure."""
        return (
            self.expires_at > now
            and self.status is not SessionStatus.COMPLETED
            and self.reason is not SessionReason.CANCELLED_BY_TEAM
            and len(self.attempts) < MOST_ATTEMPTS
        )

    def attempt_of(self, cookies: Mapping[str, str]) -> Attempt | None:
        """The latest attempt that this browser started, judged by its cookies."""
        hashes = _cookie_hashes(cookies)
        own = [a for a in self.attempts.values() if _is_among(a.cookie_hash, hashes)]
        return max(own, key=lambda attempt: attempt.expires_at, default=None)

    def was_ended_by(self, cookies: Mapping[str, str]) -> bool:
        """Whether the attempt that came back last was started in this browser.

        It alone sees how the session ended: somebody else who knows the address could have
        started, and cancelled, an attempt of their own before.
        """
        used = [(a.used_at, a.cookie_hash) for a in self.attempts.values() if a.used_at]
        return bool(used) and _is_among(max(used)[1], _cookie_hashes(cookies))

    def completion_code_of(self, cookies: Mapping[str, str]) -> Secret | None:
        """The code that releases what is parked, if this browser is the one that came back."""
        if self.parked is None or self.status is not SessionStatus.AWAITING_COMPLETION:
            return None
        for name, value in cookies.items():
            if name.startswith(COOKIE_PREFIX):
                code = completion_code(Secret(value), session_key(self.id))
                if secrets.compare_digest(secret_hash(code.reveal()), self.parked.completion_hash):
                    return code
        return None

    def was_brought_back_by(self, cookies: Mapping[str, str]) -> bool:
        """Whether TikTok handed an attempt of another browser to this one."""
        hashes = _cookie_hashes(cookies)
        return any(
            _is_among(attempt.result_cookie_hash, hashes) for attempt in self.attempts.values()
        )


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """``POST /v1/link-sessions``, checked for form."""

    end_user_id: str
    end_user_label: str | None
    tenant_id: str | None
    app_registration: str | None
    scopes_required: tuple[str, ...] | None
    scopes_optional: tuple[str, ...] | None
    return_url: str | None
    completion: Completion | None
    expires_in: timedelta
    locale: str | None
    metadata: dict[str, str]
    switch_account: bool


class AttemptNotUsable(Exception):
    """The state is known and the attempt cannot be used: used, expired, or another browser."""

    def __init__(
        self, session: LinkSession, *, was_used: bool, expired: bool, same_browser: bool
    ) -> None:
        super().__init__("attempt not usable")
        self.session = session
        self.was_used = was_used
        self.expired = expired
        self.same_browser = same_browser


class NotClaimable(Exception):
    """The session is known and nothing of it can be completed now with this code.

    ``is_its_code`` says whether the code once was the right one for what the session holds.
    """

    def __init__(self, session: LinkSession, *, is_its_code: bool) -> None:
        super().__init__("not claimable")
        self.session = session
        self.is_its_code = is_its_code


def _cookie_hashes(cookies: Mapping[str, str]) -> list[str]:
    return [secret_hash(v) for name, v in cookies.items() if name.startswith(COOKIE_PREFIX)]


def _is_among(stored: str | None, hashes: list[str]) -> bool:
    return stored is not None and any(secrets.compare_digest(stored, one) for one in hashes)


@dataclass(frozen=True, slots=True)
class State:
    """The OAuth ``state``: which session, and 256 random bits that name the attempt.

    The session is named by the hash of its id, so that the bearer id itself never travels to
    TikTok or through browser history in a query.
    """

    session_key: str
    secret: Secret

    @classmethod
    def new(cls, session_id: str) -> State:
        """Make the state of a fresh attempt."""
        return cls(session_key(session_id), Secret(secrets.token_urlsafe(32)))

    @classmethod
    def parse(cls, value: str) -> State | None:
        """Read a state that came back; None when it cannot be ours, before any look-up."""
        key, dot, secret = value.partition(".")
        if not dot or len(key) != 22 or len(secret) != 43:
            return None
        if not (_TOKEN.fullmatch(key) and _TOKEN.fullmatch(secret)):
            return None
        return cls(key, Secret(secret))

    def encode(self) -> str:
        """The value for the authorize URL."""
        return f"{self.session_key}.{self.secret.reveal()}"

    @property
    def attempt_key(self) -> str:
        """Where the attempt is kept: a hash, so that a dump of the table finishes nothing."""
        return secret_hash(self.secret.reveal())[:22]

    @property
    def cookie_name(self) -> str:
        """A name per attempt, so that two tabs do not overwrite each other's cookie."""
        return COOKIE_PREFIX + hashlib.sha256(self.attempt_key.encode()).hexdigest()[:8]


def new_session_id() -> str:
    """``ls_`` and 256 random bits."""
    return "ls_" + secrets.token_urlsafe(32)


def is_cookie_name(value: str) -> bool:
    """Whether this is the name of an attempt's cookie, and not only begins like one."""
    return bool(_COOKIE_NAME.fullmatch(value))


def is_page_nonce(value: str) -> bool:
    """Whether this can be the nonce of a page, before any look-up."""
    return len(value) == 22 and bool(_TOKEN.fullmatch(value))


def is_session_id(value: str) -> bool:
    """Whether this can be a session id, before any look-up."""
    return len(value) == 46 and value.startswith("ls_") and bool(_TOKEN.fullmatch(value[3:]))


def session_key(session_id: str) -> str:
    """The table key of a session: 128 bits of SHA-256 of its id."""
    return _b64(hashlib.sha256(session_id.encode()).digest()[:16])


def completion_code(cookie: Secret, session_key: str) -> Secret:
    """What the returning browser brings to the team, from the cookie that it alone has.

    Derived, so that a callback that comes twice brings the same one, and nobody stores it.
    """
    key = cookie.reveal().encode("utf-8", "surrogatepass")
    return Secret(
        _b64(hmac.new(key, f"completion|{session_key}".encode(), hashlib.sha256).digest())
    )


def is_completion_code(value: str) -> bool:
    """Whether this can be a completion code, before any look-up."""
    return len(value) == 43 and bool(_TOKEN.fullmatch(value))


def secret_hash(value: str) -> str:
    """What is stored in place of a cookie or state: SHA-256, base64url."""
    return _b64(hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest())


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
