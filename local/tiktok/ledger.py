"""Codes, grants and tokens: what TikTok remembers, and the rules by which it gives and takes.

One lock guards all of it, so that whatever arrives at once, a code or a refresh token has exactly
one winner.
"""

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from local.tiktok.people import Person
from local.tiktok.portal import App, Platform
from local.tiktok.settings import Settings

# Two hours for the app's own token [client].
CLIENT_TOKEN_SECONDS = 7_200


class OAuthRefused(Exception):
    """TikTok's answer to an OAuth request is an error.

    The codes are those of [errors]; the descriptions are as seen on TikTok's pages or in the field.
    Nobody should branch on a description.
    """

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error = error
        self.description = description


@dataclass(slots=True)
class Grant:
    """What a person allowed an app, from one authorization until it ends."""

    client_key: str
    open_id: str
    person: Person
    scopes: frozenset[str]
    granted_at: datetime
    deadline: datetime
    is_alive: bool = True
    refreshes: int = 0
    access_tokens: "list[AccessToken]" = field(default_factory=list)


@dataclass(slots=True)
class AccessToken:
    value: str
    grant: Grant
    expires_at: datetime
    is_revoked: bool = False

    def is_alive(self, now: datetime) -> bool:
        return self.grant.is_alive and not self.is_revoked and now < self.expires_at


@dataclass(slots=True)
class RefreshToken:
    value: str
    grant: Grant
    spent_at: datetime | None = None
    # What the spending gave: the only answer that a replay within the grace period can repeat.
    successor: "TokenPair | None" = None

    def is_alive(self, now: datetime) -> bool:
        """True if this is the grant's token to use next; one in its grace period is not."""
        return self.grant.is_alive and self.spent_at is None and now < self.grant.deadline


@dataclass(frozen=True, slots=True)
class TokenPair:
    access: AccessToken
    refresh: RefreshToken


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What the token endpoint tells about a pair."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    open_id: str
    scopes: frozenset[str]


@dataclass(slots=True)
class _Code:
    app: App
    person: Person
    scopes: frozenset[str]
    redirect_uri: str
    code_challenge: str | None
    expires_at: datetime
    is_used: bool = False


class Ledger:
    """TikTok's memory of who allowed what to whom."""

    def __init__(self, *, now: Callable[[], datetime], settings: Callable[[], Settings]) -> None:
        self._now = now
        self._settings = settings
        self._lock = threading.Lock()
        self._codes: dict[str, _Code] = {}
        # By client key and open_id, oldest first.
        self._grants: dict[tuple[str, str], list[Grant]] = {}
        self._access: dict[str, AccessToken] = {}
        self._refresh: dict[str, RefreshToken] = {}

    # What a browser brings about

    def issue_code(
        self,
        app: App,
        person: Person,
        scopes: Iterable[str],
        *,
        redirect_uri: str,
        code_challenge: str | None,
    ) -> str:
        """Remember a consent under a code to be exchanged once.

        Codes seen in the field end in `*1!4608.va`, and their `*` and `!` have broken clients that
        encoded them twice [field].
        """
        code = f"{secrets.token_urlsafe(48)}*1!{_four_digits()}.va"
        with self._lock:
            life = timedelta(seconds=self._settings().code_seconds)
            self._codes[code] = _Code(
                app, person, frozenset(scopes), redirect_uri, code_challenge, self._now() + life
            )
        return code

    def has_granted(self, app: App, person: Person, scopes: Iterable[str]) -> bool:
        """True if a living grant covers all of the scopes, so that nobody needs to be asked."""
        with self._lock:
            return any(
                grant.scopes.issuperset(scopes)
                for grant in self._living(app.client_key, person.open_id(app.client_key))
            )

    # What an app's server brings about

    def exchange(
        self, app: App, *, code: str, redirect_uri: str, code_verifier: str | None
    ) -> TokenAnswer:
        """Trade a code for the first pair of a new grant.

        A refused exchange leaves the code as it was [assumed].
        """
        with self._lock:
            now = self._now()
            known = self._codes.get(code)
            if (
                known is None
                or known.is_used
                or known.app.client_key != app.client_key
                or now >= known.expires_at
            ):
                # One text for all of these, also for a code that was encoded twice [field].
                raise OAuthRefused("invalid_grant", "Authorization code is expired.")
            if redirect_uri != known.redirect_uri:
                # `invalid_request`, as in the page's own example [tokens-old].
                raise OAuthRefused(
                    "invalid_request",
                    "Redirect_uri is not matched with the uri when requesting code.",
                )
            # The web flavour seems to ignore PKCE altogether [field].
            if app.platform is Platform.DESKTOP and not _proves(
                code_verifier, known.code_challenge
            ):
                raise OAuthRefused("invalid_request", "Code verifier or code challenge is invalid.")
            known.is_used = True

            open_id = known.person.open_id(app.client_key)
            if self._settings().second_authorization == "replaces":
                self._end(app.client_key, open_id)
            grant = Grant(
                app.client_key,
                open_id,
                known.person,
                known.scopes,
                granted_at=now,
                deadline=now + timedelta(seconds=self._settings().refresh_seconds),
            )
            self._grants.setdefault((app.client_key, open_id), []).append(grant)
            pair = TokenPair(self._new_access(grant, now), self._new_refresh(grant))
            return self._answer(pair, now)

    def refresh(self, app: App, *, refresh_token: str) -> TokenAnswer:
        """Trade a refresh token for the next pair: the sent one stops working at once [refresh]."""
        with self._lock:
            now = self._now()
            token = self._refresh.get(refresh_token)
            if (
                token is None
                or token.grant.client_key != app.client_key
                or not token.grant.is_alive
                or now >= token.grant.deadline
            ):
                raise _refresh_token_is_dead()
            if token.spent_at is not None:
                return self._replay(token, now)
            return self._spend(token, now)

    def revoke(self, app: App, *, access_token: str) -> Grant:
        """Disconnect the app from the user: not the one token, all of the grant [revoke]."""
        with self._lock:
            token = self._access.get(access_token)
            if (
                token is None
                or token.grant.client_key != app.client_key
                or not token.is_alive(self._now())
            ):
                # No page says what a dead token is answered with [assumed].
                raise OAuthRefused("invalid_grant", "Access token is invalid or expired.")
            self._end(app.client_key, token.grant.open_id)
            return token.grant

    def grant_of(self, access_token: str) -> Grant | None:
        """The grant that a living access token speaks for."""
        with self._lock:
            token = self._access.get(access_token)
            if token is None or not token.is_alive(self._now()):
                return None
            return token.grant

    # What a user, TikTok or a test brings about

    def end(self, client_key: str, open_id: str) -> int:
        """End the grants of a user with an app; answers how many there were."""
        with self._lock:
            return self._end(client_key, open_id)

    def narrow(self, client_key: str, open_id: str, scopes: Iterable[str]) -> int:
        """Leave living grants only these of their scopes; answers how many grants there were."""
        with self._lock:
            living = self._living(client_key, open_id)
            for grant in living:
                grant.scopes = grant.scopes.intersection(scopes)
            return len(living)

    def grants(self) -> list[dict[str, object]]:
        with self._lock:
            return [
                {
                    "open_id": grant.open_id,
                    "scopes": sorted(grant.scopes),
                    "alive": grant.is_alive,
                }
                for of_one_user in self._grants.values()
                for grant in of_one_user
            ]

    def tokens(self) -> list[dict[str, object]]:
        """Every token ever issued, by its hash, so that an oracle can compare without secrets."""
        with self._lock:
            now = self._now()
            issued: list[tuple[str, AccessToken | RefreshToken]] = [
                *(("access", token) for token in self._access.values()),
                *(("refresh", token) for token in self._refresh.values()),
            ]
            return [
                {
                    "kind": kind,
                    "sha256": hashlib.sha256(token.value.encode()).hexdigest(),
                    "alive": token.is_alive(now),
                }
                for kind, token in issued
            ]

    def clear(self) -> None:
        with self._lock:
            self._codes.clear()
            self._grants.clear()
            self._access.clear()
            self._refresh.clear()

    # With the lock held

    def _spend(self, token: RefreshToken, now: datetime) -> TokenAnswer:
        settings, grant = self._settings(), token.grant
        if settings.deadline == "sliding":
            grant.deadline = now + timedelta(seconds=settings.refresh_seconds)
        if settings.old_access_token == "dies":  # noqa: S105 - a setting, not a password
            for old in grant.access_tokens:
                old.is_revoked = True
        grant.refreshes += 1
        rotates = (
            settings.rotate == "always"
            or (settings.rotate == "sometimes" and grant.refreshes % 2 == 0)
        ) and not settings.omit_refresh_token
        if not rotates:
            return self._answer(TokenPair(self._new_access(grant, now), token), now)
        token.spent_at = now
        token.successor = TokenPair(self._new_access(grant, now), self._new_refresh(grant))
        return self._answer(token.successor, now)

    def _replay(self, token: RefreshToken, now: datetime) -> TokenAnswer:
        settings = self._settings()
        if settings.rotation == "family":
            token.grant.is_alive = False
            raise _refresh_token_is_dead()
        if (
            settings.rotation != "grace"
            or token.spent_at is None
            or token.successor is None
            or now >= token.spent_at + timedelta(seconds=settings.grace_seconds)
            or token.successor.refresh.spent_at is not None
        ):
            raise _refresh_token_is_dead()
        if settings.grace_answer == "new":
            token.successor.refresh.spent_at = now
            token.successor = TokenPair(
                self._new_access(token.grant, now), self._new_refresh(token.grant)
            )
        return self._answer(token.successor, now)

    def _living(self, client_key: str, open_id: str) -> list[Grant]:
        return [grant for grant in self._grants.get((client_key, open_id), []) if grant.is_alive]

    def _end(self, client_key: str, open_id: str) -> int:
        living = self._living(client_key, open_id)
        for grant in living:
            grant.is_alive = False
        return len(living)

    def _new_access(self, grant: Grant, now: datetime) -> AccessToken:
        life = timedelta(seconds=self._settings().access_seconds)
        token = AccessToken(self._token_value("act."), grant, now + life)
        self._access[token.value] = token
        grant.access_tokens = [*(t for t in grant.access_tokens if t.is_alive(now)), token]
        return token

    def _new_refresh(self, grant: Grant) -> RefreshToken:
        token = RefreshToken(self._token_value("rft."), grant)
        self._refresh[token.value] = token
        return token

    def _token_value(self, prefix: str) -> str:
        return token_value(prefix, self._settings().token_characters)

    def _answer(self, pair: TokenPair, now: datetime) -> TokenAnswer:
        # Both lifetimes are what remains of them [tokens].
        return TokenAnswer(
            access_token=pair.access.value,
            expires_in=_seconds_left(pair.access.expires_at, now),
            refresh_token=pair.refresh.value,
            refresh_expires_in=_seconds_left(pair.refresh.grant.deadline, now),
            open_id=pair.access.grant.open_id,
            scopes=pair.access.grant.scopes,
        )


def token_value(prefix: str, characters: int) -> str:
    """A token as they look in the field: a prefix, and `*` and `!` among the characters [field]."""
    ending = f"*1!{_four_digits()}.va"
    length = characters - len(prefix) - len(ending)
    return f"{prefix}{secrets.token_urlsafe(length)[:length]}{ending}"


def challenge_for(code_verifier: str) -> str:
    """TikTok's PKCE challenge: SHA-256 in lowercase hex, not RFC 7636's base64url [desktop]."""
    return hashlib.sha256(code_verifier.encode()).hexdigest()


def _proves(code_verifier: str | None, code_challenge: str | None) -> bool:
    if not code_verifier or not code_challenge:
        return False
    return secrets.compare_digest(challenge_for(code_verifier), code_challenge)


def _refresh_token_is_dead() -> OAuthRefused:
    return OAuthRefused("invalid_grant", "Refresh token is invalid or expired.")


def _seconds_left(until: datetime, now: datetime) -> int:
    return max(0, int((until - now).total_seconds()))


def _four_digits() -> int:
    return 1_000 + secrets.randbelow(9_000)
