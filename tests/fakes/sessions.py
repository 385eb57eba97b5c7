"""The sessions table in memory. The contract suite in tests/adapters holds it to the real one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from tests.fakes.happenings import Happenings
from tiktok_linking.callers import Caller
from tiktok_linking.errors import (
    IdempotencyConflict,
    LinkSessionCancelled,
    LinkSessionExpired,
    LinkSessionUsed,
    NotFound,
    RateLimited,
    StateMismatch,
)
from tiktok_linking.ports import Idempotency
from tiktok_linking.sessions import (
    MOST_ATTEMPTS,
    Attempt,
    AttemptNotUsable,
    LinkSession,
    NotClaimable,
    ParkedCode,
    SessionReason,
    SessionStatus,
    State,
    session_key,
)


class SessionsInMemory:
    """Implements the port Sessions."""

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self._sessions: dict[str, LinkSession] = {}
        self._requests: dict[str, tuple[str, str]] = {}
        self._busy_until: dict[str, datetime] = {}
        self._released_by: dict[str, str] = {}
        self._taken: set[str] = set()

    def session(self, session_id: str) -> LinkSession:
        """Look without being counted."""
        return self._sessions[session_key(session_id)]

    def create(self, session: LinkSession, *, idempotency: Idempotency | None) -> LinkSession:
        """See ports.Sessions."""
        with self._happenings.call("sessions.create"):
            if idempotency is not None:
                before = self._requests.get(idempotency.key)
                if before is not None and before[0] != idempotency.body_hash:
                    raise IdempotencyConflict
                if before is not None:
                    return self._sessions[before[1]]
                self._requests[idempotency.key] = (idempotency.body_hash, session_key(session.id))
            return self._sessions.setdefault(session_key(session.id), session)

    def read(self, session_id: str) -> LinkSession | None:
        """See ports.Sessions."""
        with self._happenings.call("sessions.read"):
            return self._sessions.get(session_key(session_id))

    def start(
        self, session_id: str, nonce: str, attempt_key: str, attempt: Attempt, *, now: datetime
    ) -> LinkSession:
        """See ports.Sessions."""
        with self._happenings.call("sessions.start"):
            session = self._sessions.get(session_key(session_id))
            if session is None:
                raise NotFound
            if session.page_nonce != nonce:
                raise StateMismatch
            if session.status is SessionStatus.COMPLETED:
                raise LinkSessionUsed
            if session.reason is SessionReason.CANCELLED_BY_TEAM:
                raise LinkSessionCancelled
            if session.expires_at <= now:
                raise LinkSessionExpired
            if len(session.attempts) >= MOST_ATTEMPTS:
                raise RateLimited(retry_after=60)
            self._released_by.pop(session_key(session_id), None)
            return self._put(
                replace(
                    session,
                    status=SessionStatus.STARTED,
                    reason=None,
                    parked=None,
                    attempts={**session.attempts, attempt_key: attempt},
                )
            )

    def consume(
        self, state: State, cookie_hash: str | None, *, now: datetime
    ) -> tuple[LinkSession, Attempt]:
        """See ports.Sessions."""
        with self._happenings.call("sessions.consume"):
            session = self._sessions.get(state.session_key)
            attempt = None if session is None else session.attempts.get(state.attempt_key)
            if session is None or attempt is None:
                raise StateMismatch
            is_over = _is_over(session)
            same_browser = cookie_hash == attempt.cookie_hash
            expired = attempt.expires_at <= now
            is_busy = self._busy_until.get(state.session_key, now) > now
            if is_busy or is_over or attempt.used_at is not None or expired or not same_browser:
                raise AttemptNotUsable(
                    session,
                    was_used=attempt.used_at is not None
                    or session.status is SessionStatus.COMPLETED,
                    expired=expired,
                    same_browser=same_browser,
                )
            used = replace(attempt, used_at=now)
            attempts = {**session.attempts, state.attempt_key: used}
            self._busy_until[state.session_key] = now + timedelta(seconds=30)
            return self._put(replace(session, attempts=attempts)), used

    def remember_browser(self, state: State, cookie_hash: str, *, now: datetime) -> None:
        """See ports.Sessions."""
        with self._happenings.call("sessions.remember_browser"):
            session = self._sessions[state.session_key]
            attempt = session.attempts.get(state.attempt_key)
            if attempt is None or attempt.used_at is not None:
                return
            seen = replace(attempt, used_at=now, result_cookie_hash=cookie_hash)
            attempts = {**session.attempts, state.attempt_key: seen}
            if not _is_over(session):
                session = replace(
                    session,
                    status=SessionStatus.FAILED,
                    reason=SessionReason.BROWSER_MISMATCH,
                )
                self._put(replace(session, attempts=attempts))

    def park(
        self, state: State, parked: ParkedCode, *, cookie_hash: str | None, now: datetime
    ) -> bool:
        """See ports.Sessions."""
        with self._happenings.call("sessions.park"):
            session = self._sessions[state.session_key]
            attempt = session.attempts.get(state.attempt_key)
            if attempt is None or _is_over(session):
                return False
            if cookie_hash is not None:
                is_busy = self._busy_until.get(state.session_key, now) > now
                if attempt.used_at is not None or attempt.expires_at <= now or is_busy:
                    return False
                attempt = replace(attempt, used_at=now, result_cookie_hash=cookie_hash)
            self._busy_until.pop(state.session_key, None)
            self._taken.discard(state.session_key)
            self._released_by[state.session_key] = parked.completion_hash
            self._put(
                replace(
                    session,
                    status=SessionStatus.AWAITING_COMPLETION,
                    reason=None,
                    parked=parked,
                    attempts={**session.attempts, state.attempt_key: attempt},
                )
            )
            return True

    def claim(
        self, session_id: str, completion_hash: str, *, caller: Caller, now: datetime
    ) -> tuple[LinkSession, Attempt, ParkedCode]:
        """See ports.Sessions."""
        with self._happenings.call("sessions.claim"):
            key = session_key(session_id)
            session = self._sessions.get(key)
            if session is None:
                raise NotFound
            caller.must_reach(session.tenant_id, session.app_registration)
            is_its_code = self._released_by.get(key) == completion_hash
            parked = session.parked
            is_waiting = session.status is SessionStatus.AWAITING_COMPLETION
            is_free = key not in self._taken and self._busy_until.get(key, now) <= now
            if not is_its_code or parked is None or not is_waiting or not is_free:
                raise NotClaimable(session, is_its_code=is_its_code)
            if parked.until <= now:
                raise NotClaimable(session, is_its_code=is_its_code)
            self._taken.add(key)
            self._busy_until[key] = now + timedelta(seconds=30)
            return session, session.attempts[parked.attempt_key], parked

    def finish(
        self,
        session_key: str,
        status: SessionStatus,
        *,
        now: datetime,
        reason: SessionReason | None = None,
        account_id: str | None = None,
        granted: tuple[str, ...] = (),
        missing: tuple[str, ...] = (),
        display_name: str | None = None,
        answer: str | None = None,
        switch_account: bool = False,
    ) -> None:
        """See ports.Sessions."""
        with self._happenings.call("sessions.finish"):
            session = self._sessions.get(session_key)
            if session is None or session.status is SessionStatus.COMPLETED:
                return
            was_withdrawn = session.reason is SessionReason.CANCELLED_BY_TEAM
            if was_withdrawn and status is not SessionStatus.COMPLETED:
                return
            self._busy_until.pop(session_key, None)
            self._put(
                replace(
                    session,
                    status=status,
                    reason=reason,
                    account_id=account_id,
                    granted_scopes=granted,
                    missing_scopes=missing,
                    display_name=display_name,
                    parked=None,
                    answer=answer,
                    switch_account=session.switch_account or switch_account,
                )
            )

    def cancel(self, session_id: str, *, caller: Caller, now: datetime) -> LinkSession:
        """See ports.Sessions."""
        with self._happenings.call("sessions.cancel"):
            session = self._sessions.get(session_key(session_id))
            if session is None:
                raise NotFound
            caller.must_reach(session.tenant_id, session.app_registration)
            if session.status is SessionStatus.COMPLETED:
                raise LinkSessionUsed
            if self._busy_until.get(session_key(session_id), now) > now:
                raise LinkSessionUsed(retry_after=30)
            return self._put(
                replace(
                    session,
                    status=SessionStatus.CANCELLED,
                    reason=SessionReason.CANCELLED_BY_TEAM,
                    parked=None,
                )
            )

    def _put(self, session: LinkSession) -> LinkSession:
        self._sessions[session_key(session.id)] = session
        return session


def _is_over(session: LinkSession) -> bool:
    return (
        session.status is SessionStatus.COMPLETED
        or session.reason is SessionReason.CANCELLED_BY_TEAM
    )
