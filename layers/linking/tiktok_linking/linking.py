"""Linking: from the team's request to a stored pair.

``create`` makes a session, ``start`` sends a browser to TikTok, ``finish`` takes it back. In
``finish`` every check comes before anything leaves the process, the exchange comes last, and a
pair that TikTok issued is saved before anything else is asked of the world.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from tiktok_linking.accounts import Account, RefreshMode, Secret, account_id, grant_id
from tiktok_linking.deadlines import (
    PROFILE_TIME,
    REVOKE_TIME,
    has_time_for,
    has_time_to_spend,
    persist,
    read_timeout,
)
from tiktok_linking.errors import Misconfigured, NoAnswer, ProviderError, Refused, StoreUnavailable
from tiktok_linking.oauth import (
    CallbackError,
    ClientCredentials,
    TokenAnswer,
    authorize_url,
    is_loopback,
    new_code_verifier,
    read_callback_error,
)
from tiktok_linking.ports import (
    AttemptNotUsable,
    Authorisations,
    AuthorisedPair,
    Credentials,
    Journal,
    NewAccount,
    RescueQueue,
    Saved,
    Sealing,
    Sessions,
    TikTok,
)
from tiktok_linking.registrations import ClientsToTry
from tiktok_linking.schedule import RenewalPolicy
from tiktok_linking.sessions import (
    ATTEMPT_LIFETIME,
    Attempt,
    LinkSession,
    SessionReason,
    SessionStatus,
    State,
    secret_hash,
    session_key,
)

logger = logging.getLogger("tiktok_linking.linking")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Departure:
    """Where to send the browser, and the cookie that binds it to this attempt."""

    url: str
    cookie_name: str
    cookie_value: Secret


def start(
    sessions: Sessions,
    *,
    session_id: str,
    nonce: str,
    authorize_base: str,
    client_keys: Mapping[str, str],
    redirect_uri: str,
    now: datetime,
) -> Departure:
    """Start an attempt: one conditional write, then TikTok's address.

    Nothing the browser sent reaches that address: scopes, key and redirect come from the session
    and the configuration.

    Raises:
        NotFound, LinkSessionExpired, LinkSessionUsed, LinkSessionCancelled, RateLimited.
    """
    state = State.new(session_id)
    cookie = Secret(secrets.token_urlsafe(32))
    verifier = new_code_verifier() if is_loopback(redirect_uri) else None
    attempt = Attempt(
        cookie_hash=secret_hash(cookie.reveal()),
        redirect_uri=redirect_uri,
        expires_at=now + ATTEMPT_LIFETIME,
        code_verifier=verifier,
    )
    session = sessions.start(session_id, nonce, state.attempt_key, attempt, now=now)
    url = authorize_url(
        authorize_base,
        client_key=client_keys[session.app_registration],
        scopes=session.scopes,
        redirect_uri=redirect_uri,
        state=state.encode(),
        code_verifier=verifier,
        always_ask=session.switch_account,
    )
    return Departure(url, state.cookie_name, cookie)


class Landing(StrEnum):
    """Where a browser that came back from TikTok goes next."""

    RETURN = "return"
    """To the session's ``return_url`` if there is one, else to the result page."""
    PAGE = "page"
    """To a page of ours that a person must read."""
    NEUTRAL = "neutral"
    """To a page that shows nothing: this browser has no business with the session."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a callback ended for the browser."""

    session: LinkSession
    landing: Landing
    cookie_name: str | None = None
    cookie_value: Secret | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """TikTok's callback, parsed: exactly one of ``code`` and ``error`` counts."""

    state: State
    code: Secret | None
    error: str | None
    error_type: str | None


@dataclass(frozen=True, slots=True)
class Linking:
    """The callback's use case with its ports."""

    sessions: Sessions
    authorisations: Authorisations
    tiktok: TikTok
    sealing: Sealing
    credentials: Credentials
    journal: Journal
    rescue: RescueQueue
    policy: RenewalPolicy
    client_keys: Mapping[str, str]
    now: Callable[[], datetime]
    pause: Callable[[float], None]
    chance: Callable[[], float]

    def finish(self, answer: Answer, cookies: Mapping[str, str], *, deadline: datetime) -> Arrival:
        """Take a browser back: state, expiry, cookie, registration, error, code, in that order.

        Raises:
            StateMismatch: the state is unknown; nothing can be said of any session.
            StoreUnavailable: before the attempt was used up; the person can reload.
        """
        cookie = cookies.get(answer.state.cookie_name)
        try:
            session, attempt = self.sessions.consume(
                answer.state, secret_hash(cookie) if cookie else None, now=self.now()
            )
        except AttemptNotUsable as refusal:
            return self._not_usable(refusal, answer.state)
        if session.app_registration not in self.client_keys:
            return self._fail(session, SessionReason.APP_MISCONFIGURED, deadline)
        if answer.error is not None or answer.code is None:
            return self._refused_at_tiktok(session, answer, deadline)
        return self._exchange(session, attempt, answer.code, deadline)

    def _not_usable(self, refusal: AttemptNotUsable, state: State) -> Arrival:
        """Used, expired or in another browser: no request leaves the process."""
        session = refusal.session
        if refusal.same_browser:
            # A double delivery gives the first result, whatever it was.
            done = session.status in (SessionStatus.COMPLETED, SessionStatus.CANCELLED)
            return Arrival(session, Landing.RETURN if done else Landing.PAGE)
        if refusal.was_used:
            return Arrival(session, Landing.NEUTRAL)
        if refusal.expired:
            return Arrival(session, Landing.NEUTRAL)
        # TikTok's app may hand back to another browser. Never exchange there: whoever starts a
        # session could otherwise have somebody else finish it for him.
        logger.warning("callback without its cookie", extra={"event": "browser_mismatch"})
        cookie = Secret(secrets.token_urlsafe(32))
        self.sessions.remember_browser(state, secret_hash(cookie.reveal()), now=self.now())
        return Arrival(session, Landing.PAGE, state.cookie_name, cookie)

    def _refused_at_tiktok(
        self, session: LinkSession, answer: Answer, deadline: datetime
    ) -> Arrival:
        kind = read_callback_error(answer.error or "", answer.error_type)
        if kind is CallbackError.CANCELLED:
            reason = SessionReason.USER_CANCELLED
            return self._end(session, SessionStatus.CANCELLED, reason, deadline)
        reason = {
            CallbackError.REFUSED: SessionReason.PROVIDER_REFUSED,
            CallbackError.MISCONFIGURED: SessionReason.APP_MISCONFIGURED,
            CallbackError.UNKNOWN: SessionReason.PROVIDER_UNAVAILABLE,
        }[kind]
        return self._fail(session, reason, deadline)

    def _exchange(
        self, session: LinkSession, attempt: Attempt, code: Secret, deadline: datetime
    ) -> Arrival:
        # All that can fail comes before the code is spent.
        try:
            if not self.credentials.candidates(session.app_registration):
                return self._fail(session, SessionReason.APP_MISCONFIGURED, deadline)
            clients = ClientsToTry(self.credentials, session.app_registration)
            self.sealing.prepare("access", "refresh", now=self.now())
        except StoreUnavailable:
            return self._fail(session, SessionReason.PROVIDER_UNAVAILABLE, deadline)
        may_repeat = True
        while True:
            if not has_time_to_spend(self.now(), deadline):
                return self._fail(session, SessionReason.PROVIDER_UNAVAILABLE, deadline)
            try:
                answer = self.tiktok.exchange(
                    clients.current,
                    code=code,
                    redirect_uri=attempt.redirect_uri,
                    code_verifier=attempt.code_verifier,
                    read_timeout=read_timeout(self.now(), deadline),
                )
                break
            except ProviderError as error:
                if error.error == "invalid_client" and clients.advance():
                    continue
                if isinstance(error, NoAnswer) and may_repeat:
                    # Most often a kept connection that had ended: TikTok never saw the code.
                    may_repeat = False
                    continue
                logger.warning(
                    "exchange failed", extra={"why": error.error, "log_id": error.log_id}
                )
                return self._fail(session, _exchange_reason(error), deadline)
        return self._keep(session, answer, clients.current, deadline)

    def _keep(
        self,
        session: LinkSession,
        answer: TokenAnswer,
        client: ClientCredentials,
        deadline: datetime,
    ) -> Arrival:
        """Save the pair whatever becomes of the session; only what hangs on it is refused."""
        if answer.scopes is None:
            # RFC 6749 5.1: left out means as requested.
            answer = replace(answer, scopes=tuple(sorted(session.scopes)))
        granted = answer.scopes or ()
        account = _account(session, answer)
        refusal: SessionReason | None = None
        if session.relink_account_id not in (None, account.id):
            refusal = SessionReason.ACCOUNT_MISMATCH
        elif not set(session.scopes_required) <= set(granted):
            refusal = SessionReason.SCOPE_NOT_GRANTED
        missing = tuple(s for s in session.scopes if s not in granted)
        authorised = AuthorisedPair(
            registration=session.app_registration,
            open_id=answer.open_id,
            authorised_at=answer.issued_at,
            write_id=secrets.token_bytes(8),
            pair=self.sealing.seal_pair(
                answer, registration=session.app_registration, now=self.now()
            ),
            account=None
            if refusal
            else NewAccount(account, session_key(session.id), granted, missing),
        )
        with contextlib.suppress(StoreUnavailable):
            self.journal.append(authorised)  # a help, not a gate: the table comes next in any case
        arrival = self._save(session, authorised, account, answer, client, refusal, deadline)
        self.journal.forget(authorised)
        return arrival

    def _save(
        self,
        session: LinkSession,
        authorised: AuthorisedPair,
        account: Account,
        answer: TokenAnswer,
        client: ClientCredentials,
        refusal: SessionReason | None,
        deadline: datetime,
    ) -> Arrival:
        """Write the pair, then what hangs on it; where the table is away, hand all to rescue."""
        granted = answer.scopes or ()
        missing = tuple(s for s in session.scopes if s not in granted)
        try:
            is_new = session.relink_account_id is None
            saved = self._persist(lambda: self._save_pair(authorised, is_new), deadline)
            if refusal is not None:
                if saved is Saved.ENDED:
                    self._give_back(client, answer, deadline)
                return self._fail(session, refusal, deadline, granted=granted, missing=missing)
            if saved is Saved.ENDED:
                # Unlinked since the person came back: that wins, and nobody may hold the pair.
                self._give_back(client, answer, deadline)
                return self._fail(session, SessionReason.EXCHANGE_FAILED, deadline)
            if has_time_for(PROFILE_TIME, self.now(), deadline):
                profile = self.tiktok.profile(answer.access_token, now=self.now())
                account = replace(account, profile=profile)
            self._persist(lambda: self.authorisations.save_account(account), deadline)
            return self._complete(session, account, granted, missing, deadline)
        except StoreUnavailable:
            # The sealed pair, its account and the session's result land when the table is back.
            self.rescue.put_authorised(authorised)
            logger.error("linking handed to rescue", extra={"grant": account.grant_id})
            return Arrival(session, Landing.PAGE)

    def _save_pair(self, authorised: AuthorisedPair, is_new: bool) -> Saved:
        pair = authorised.pair
        due_at = self.policy.first_due(
            authorised.grant_id,
            issued_at=pair.issued_at,
            expires_at=pair.expires_at,
            relink_by=pair.relink_by,
            is_new=is_new,
        )
        return self.authorisations.save_authorised(
            authorised, due_at=due_at, only_existing=authorised.account is None
        )

    def _give_back(
        self, client: ClientCredentials, answer: TokenAnswer, deadline: datetime
    ) -> None:
        """Revoke a pair that has no grant to be saved to."""
        if not has_time_for(REVOKE_TIME, self.now(), deadline):
            logger.warning("refused pair not revoked", extra={"why": "no time left"})
            return
        try:
            self.tiktok.revoke(client, answer.access_token)
        except ProviderError as error:
            logger.warning("refused pair not revoked", extra={"why": error.error})

    def _complete(
        self,
        session: LinkSession,
        account: Account,
        granted: tuple[str, ...],
        missing: tuple[str, ...],
        deadline: datetime,
    ) -> Arrival:
        name = account.profile.display_name if account.profile else None
        self._persist(
            lambda: self.sessions.finish(
                session_key(session.id),
                SessionStatus.COMPLETED,
                now=self.now(),
                account_id=account.id,
                granted=granted,
                missing=missing,
                display_name=name,
            ),
            deadline,
        )
        done = replace(session, status=SessionStatus.COMPLETED, reason=None, account_id=account.id)
        return Arrival(done, Landing.RETURN)

    def _fail(
        self,
        session: LinkSession,
        reason: SessionReason,
        deadline: datetime,
        *,
        granted: tuple[str, ...] = (),
        missing: tuple[str, ...] = (),
    ) -> Arrival:
        failed = SessionStatus.FAILED
        return self._end(session, failed, reason, deadline, granted=granted, missing=missing)

    def _end(
        self,
        session: LinkSession,
        status: SessionStatus,
        reason: SessionReason,
        deadline: datetime,
        *,
        granted: tuple[str, ...] = (),
        missing: tuple[str, ...] = (),
    ) -> Arrival:
        """Write an end without a link. The person may press the button again until expiry."""
        self._persist(
            lambda: self.sessions.finish(
                session_key(session.id),
                status,
                now=self.now(),
                reason=reason,
                granted=granted,
                missing=missing,
            ),
            deadline,
        )
        landing = Landing.RETURN if status is SessionStatus.CANCELLED else Landing.PAGE
        return Arrival(replace(session, status=status, reason=reason), landing)

    def _persist(self, write: Callable[[], T], deadline: datetime) -> T:
        return persist(write, deadline=deadline, now=self.now, pause=self.pause, chance=self.chance)


def _account(session: LinkSession, answer: TokenAnswer) -> Account:
    registration = session.app_registration
    return Account(
        id=account_id(registration, answer.open_id, session.tenant_id, session.end_user_id),
        grant_id=grant_id(registration, answer.open_id),
        registration=registration,
        open_id=answer.open_id,
        end_user_id=session.end_user_id,
        tenant_id=session.tenant_id,
        end_user_label=session.end_user_label,
        metadata=dict(session.metadata),
        profile=None,
        mode=RefreshMode.AUTO,
        wanted_scopes=session.scopes,
        linked_at=answer.issued_at,
        authorised_at=answer.issued_at,
        relink_by=answer.relink_by,
    )


def _exchange_reason(error: ProviderError) -> SessionReason:
    if isinstance(error, Misconfigured):
        return SessionReason.APP_MISCONFIGURED
    if isinstance(error, Refused):
        return SessionReason.EXCHANGE_FAILED
    return SessionReason.PROVIDER_UNAVAILABLE
