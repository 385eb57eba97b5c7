"""Linking: from a browser's return to a stored pair.

``requesting`` makes a session, ``authorizing`` sends a browser to TikTok, ``finish`` takes it back.
In ``finish`` every check comes before anything leaves the process, the exchange comes last, and a
pair that TikTok issued is saved before anything else is asked of the world.

Where the team's own login decides (completion mode ``app``, and every browser that comes back
without its cookie), ``finish`` exchanges nothing: it parks the code, sealed, and the browser takes
a one-time completion code to the team, whose backend comes with it to ``complete``.
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

from tiktok_linking.accounts import Account, Grant, RefreshMode, Secret, account_id, grant_id
from tiktok_linking.callers import Caller
from tiktok_linking.deadlines import (
    PROFILE_TIME,
    REVOKE_TIME,
    has_time_for,
    has_time_to_spend,
    persist,
    read_timeout,
)
from tiktok_linking.errors import (
    AccountMismatch,
    ClientCredentialsInvalid,
    LinkingError,
    LinkSessionCancelled,
    LinkSessionExpired,
    LinkSessionUsed,
    Misconfigured,
    NoAnswer,
    ProviderError,
    ProviderUnavailable,
    Refused,
    ScopeNotGranted,
    SealBroken,
    StateMismatch,
    StoreUnavailable,
    UserMismatch,
)
from tiktok_linking.oauth import (
    CallbackError,
    ClientCredentials,
    TokenAnswer,
    read_callback_error,
)
from tiktok_linking.ports import (
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
    ANOTHER_CHOICE_HELPS,
    PARKED_FOR,
    Attempt,
    AttemptNotUsable,
    Completion,
    LinkSession,
    NotClaimable,
    ParkedCode,
    SessionReason,
    SessionStatus,
    State,
    completion_code,
    secret_hash,
    session_key,
)

logger = logging.getLogger("tiktok_linking.linking")

T = TypeVar("T")

Render = Callable[[Account, Grant], str]
"""Writes the answer to a completion, which is kept so that a repeat gets the same."""

COMPLETING_TAKES = 5
"""Seconds after which it is worth asking how a completion ended that another call began."""


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
    completion_code: Secret | None = None
    """Goes to the ``return_url`` and nowhere else."""


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
            return self._not_usable(refusal, answer, Secret(cookie) if cookie else None)
        if session.app_registration not in self.client_keys:
            return self._fail(session, SessionReason.APP_MISCONFIGURED, deadline)
        if answer.error is not None or answer.code is None:
            return self._refused_at_tiktok(session, answer, deadline)
        if session.completion is Completion.APP and cookie is not None:
            return self._park(session, answer.state, answer.code, Secret(cookie), deadline)
        return self._exchange(session, attempt, answer.code, deadline, None)

    def _park(
        self,
        session: LinkSession,
        state: State,
        code: Secret,
        cookie: Secret,
        deadline: datetime,
    ) -> Arrival:
        """Keep the code until the team says who is there; nothing is sent to TikTok."""
        try:
            parked, release = self._parked(code, state, cookie)
            kept = self._persist(
                lambda: self.sessions.park(state, parked, cookie_hash=None, now=self.now()),
                deadline,
            )
        except StoreUnavailable:
            return self._fail(session, SessionReason.PROVIDER_UNAVAILABLE, deadline)
        if not kept:
            return Arrival(session, Landing.PAGE)  # withdrawn by the team in this moment
        waiting = replace(
            session, status=SessionStatus.AWAITING_COMPLETION, reason=None, parked=parked
        )
        return Arrival(waiting, Landing.RETURN, completion_code=release)

    def _parked(self, code: Secret, state: State, cookie: Secret) -> tuple[ParkedCode, Secret]:
        now = self.now()
        self.sealing.prepare("parked_code", now=now)
        release = completion_code(cookie, state.session_key)
        parked = ParkedCode(
            sealed=self.sealing.seal_code(code, state, now=now),
            completion_hash=secret_hash(release.reveal()),
            attempt_key=state.attempt_key,
            until=now + PARKED_FOR,
        )
        return parked, release

    def _not_usable(
        self, refusal: AttemptNotUsable, answer: Answer, cookie: Secret | None
    ) -> Arrival:
        """Used, expired or in another browser: no request leaves the process."""
        session, state = refusal.session, answer.state
        if cookie is not None:
            release = session.completion_code_of({state.cookie_name: cookie.reveal()})
            if release is not None and refusal.same_browser:
                return Arrival(session, Landing.RETURN, completion_code=release)
            if release is not None:
                # The browser without the attempt's cookie, once more: its own page has the button.
                return Arrival(session, Landing.PAGE)
        if refusal.same_browser:
            # A double delivery gives the first result, whatever it was.
            done = session.status in (SessionStatus.COMPLETED, SessionStatus.CANCELLED)
            return Arrival(session, Landing.RETURN if done else Landing.PAGE)
        if refusal.was_used:
            logger.warning("callback of a used attempt", extra={"event": "state_replay"})
            return Arrival(session, Landing.NEUTRAL)
        if refusal.expired:
            return Arrival(session, Landing.NEUTRAL)
        # TikTok's app may hand back to another browser. Never exchange there: whoever starts a
        # session could otherwise have somebody else finish it for him.
        logger.warning("callback without its cookie", extra={"event": "browser_mismatch"})
        own = Secret(secrets.token_urlsafe(32))
        own_hash = secret_hash(own.reveal())
        is_known = session.app_registration in self.client_keys
        if answer.code is not None and session.return_url is not None and is_known:
            # The team's own login may still decide, in whichever browser it knows its user.
            parked, _ = self._parked(answer.code, state, own)
            if not self.sessions.park(state, parked, cookie_hash=own_hash, now=self.now()):
                return Arrival(session, Landing.NEUTRAL)
        else:
            self.sessions.remember_browser(state, own_hash, now=self.now())
        return Arrival(session, Landing.PAGE, state.cookie_name, own)

    def complete(
        self,
        session_id: str,
        code: Secret,
        end_user_id: str,
        *,
        caller: Caller,
        render: Render,
        deadline: datetime,
    ) -> str:
        """Make the link for which a browser came back, now that the team says who is there.

        The completion code works once. A repeat by the same user gives the first result.

        Raises:
            NotFound, StateMismatch: no such session of this caller's, or not its completion code.
            UserMismatch: somebody else is signed in; what was parked is gone.
            LinkSessionExpired, LinkSessionCancelled, LinkSessionUsed: too late, or being completed
                right now (``retry_after``).
            AccountMismatch, ScopeNotGranted, ClientCredentialsInvalid, ProviderUnavailable: as the
                session's reason says.
        """
        try:
            session, attempt, parked = self.sessions.claim(
                session_id, secret_hash(code.reveal()), caller=caller, now=self.now()
            )
        except NotClaimable as refusal:
            return self._completed_before(refusal, end_user_id)
        if not _is_same_user(session, end_user_id):
            logger.warning("completed by another user", extra={"event": "user_mismatch"})
            self._fail(session, SessionReason.USER_MISMATCH, deadline)
            raise UserMismatch
        if session.app_registration not in self.client_keys:
            raise _error_of(self._fail(session, SessionReason.APP_MISCONFIGURED, deadline).session)
        try:
            tiktoks_code = self.sealing.open_code(
                parked.sealed,
                session_key=session_key(session.id),
                attempt_key=parked.attempt_key,
            )
        except (SealBroken, StoreUnavailable):
            reason = SessionReason.PROVIDER_UNAVAILABLE
            raise _error_of(self._fail(session, reason, deadline).session) from None
        ended = self._exchange(session, attempt, tiktoks_code, deadline, render).session
        if ended.status is SessionStatus.COMPLETED and ended.answer is not None:
            return ended.answer
        raise _error_of(ended)

    def _completed_before(self, refusal: NotClaimable, end_user_id: str) -> str:
        """The first result for a repeat; for anything else a word that gives nothing away."""
        session = refusal.session
        if session.reason is SessionReason.CANCELLED_BY_TEAM:
            raise LinkSessionCancelled
        if not refusal.is_its_code:
            if session.status is SessionStatus.COMPLETED:
                raise LinkSessionUsed
            raise StateMismatch("completion_code is not the one that this session waits for")
        if not _is_same_user(session, end_user_id):
            logger.warning("completed by another user", extra={"event": "user_mismatch"})
            raise UserMismatch
        if session.answer is not None:
            return session.answer
        if session.status is SessionStatus.COMPLETED:
            raise LinkSessionUsed(account_id=session.account_id)  # by rescue, which answers nobody
        if session.status_at(self.now()) is SessionStatus.EXPIRED:
            raise LinkSessionExpired
        raise _error_of(session)

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
        self,
        session: LinkSession,
        attempt: Attempt,
        code: Secret,
        deadline: datetime,
        render: Render | None,
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
        return self._keep(session, answer, clients.current, deadline, render)

    def _keep(
        self,
        session: LinkSession,
        answer: TokenAnswer,
        client: ClientCredentials,
        deadline: datetime,
        render: Render | None,
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
        arrival = self._save(
            session, authorised, account, answer, client, refusal, deadline, render
        )
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
        render: Render | None,
    ) -> Arrival:
        """Write the pair, then what hangs on it; where the table is away, hand all to rescue."""
        granted = answer.scopes or ()
        missing = tuple(s for s in session.scopes if s not in granted)
        try:
            is_new = session.relink_account_id is None
            shows = render is not None
            saved, grant = self._persist(
                lambda: self._save_pair(authorised, is_new, shows), deadline
            )
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
            said = None
            if render is None or grant is None:
                self._persist(lambda: self.authorisations.save_account(account), deadline)
            else:
                row = self._persist(
                    lambda: self.authorisations.save_account_and_show(account), deadline
                )
                said = render(replace(row, profile=row.profile or account.profile), grant)
            return self._complete(session, account, granted, missing, deadline, said)
        except StoreUnavailable:
            # The sealed pair, its account and the session's result land when the table is back.
            self.rescue.put_authorised(authorised)
            logger.error("linking handed to rescue", extra={"grant": account.grant_id})
            return Arrival(session, Landing.PAGE)

    def _save_pair(
        self, authorised: AuthorisedPair, is_new: bool, shows: bool
    ) -> tuple[Saved, Grant | None]:
        pair = authorised.pair
        due_at = self.policy.first_due(
            authorised.grant_id,
            issued_at=pair.issued_at,
            expires_at=pair.expires_at,
            relink_by=pair.relink_by,
            is_new=is_new,
        )
        only_existing = authorised.account is None
        write = self.authorisations
        if shows:
            return write.save_and_show(authorised, due_at=due_at, only_existing=only_existing)
        saved = write.save_authorised(authorised, due_at=due_at, only_existing=only_existing)
        return saved, None

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
        answer: str | None,
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
                answer=answer,
            ),
            deadline,
        )
        done = replace(
            session,
            status=SessionStatus.COMPLETED,
            reason=None,
            account_id=account.id,
            parked=None,
            answer=answer,
        )
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
                switch_account=reason in ANOTHER_CHOICE_HELPS,
            ),
            deadline,
        )
        landing = Landing.RETURN if status is SessionStatus.CANCELLED else Landing.PAGE
        ended = replace(session, status=status, reason=reason, missing_scopes=missing, parked=None)
        return Arrival(ended, landing)

    def _persist(self, write: Callable[[], T], deadline: datetime) -> T:
        return persist(write, deadline=deadline, now=self.now, pause=self.pause, chance=self.chance)


def _is_same_user(session: LinkSession, end_user_id: str) -> bool:
    return secrets.compare_digest(session.end_user_id.encode(), end_user_id.encode())


def _error_of(session: LinkSession) -> LinkingError:
    """How a session ended, for the backend that wanted to complete it."""
    match session.reason:
        case SessionReason.USER_MISMATCH:
            return UserMismatch()
        case SessionReason.ACCOUNT_MISMATCH:
            return AccountMismatch()
        case SessionReason.SCOPE_NOT_GRANTED:
            return ScopeNotGranted(missing_scopes=list(session.missing_scopes))
        case SessionReason.APP_MISCONFIGURED:
            return ClientCredentialsInvalid()
        case SessionReason.PROVIDER_UNAVAILABLE:
            return ProviderUnavailable()
        case None:
            # Being completed by another call, or handed to rescue, which finishes it.
            return LinkSessionUsed(retry_after=COMPLETING_TAKES)
        case reason:
            return LinkSessionUsed(reason=reason.value)


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
