"""What the port Sessions promises: the fake and the table alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.fakes import samples
from tests.fakes.clock import NOON
from tests.fakes.sessions import SessionsInMemory
from tiktok_linking.adapters.session_table import SessionTable
from tiktok_linking.callers import Caller, Tenant
from tiktok_linking.errors import (
    IdempotencyConflict,
    LinkingError,
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
    new_session_id,
    secret_hash,
    session_key,
)

Sessions = SessionsInMemory | SessionTable
COOKIE = secret_hash("cookie")
LATER = NOON + timedelta(minutes=5)


def create(sessions: Sessions, session: LinkSession | None = None) -> LinkSession:
    return sessions.create(session or samples.link_session(), idempotency=None)


def read(sessions: Sessions, session: LinkSession) -> LinkSession:
    found = sessions.read(session.id)
    assert found is not None
    return found


def attempt(*, verifier: str | None = None, ends: timedelta = timedelta(minutes=10)) -> Attempt:
    return Attempt(
        cookie_hash=COOKIE,
        redirect_uri="https://link.example.com/callback",
        expires_at=NOON + ends,
        code_verifier=verifier,
    )


def start(
    sessions: Sessions, session: LinkSession, *, now: datetime = NOON, made: Attempt | None = None
) -> State:
    state = State.new(session.id)
    sessions.start(session.id, session.page_nonce, state.attempt_key, made or attempt(), now=now)
    return state


def finish(
    sessions: Sessions,
    session: LinkSession,
    status: SessionStatus,
    reason: SessionReason | None = None,
) -> None:
    sessions.finish(session_key(session.id), status, now=NOON, reason=reason)


def refusal(
    sessions: Sessions, state: State, cookie: str | None, now: datetime
) -> tuple[bool, ...]:
    with pytest.raises(AttemptNotUsable) as refused:
        sessions.consume(state, cookie, now=now)
    error = refused.value
    return error.was_used, error.expired, error.same_browser


# -- creating -----------------------------------------------------------------------------------


def test_a_session_is_read_as_it_was_written(sessions: Sessions) -> None:
    session = replace(
        samples.link_session(
            end_user_id="|#\x00é👩‍👩‍👧",
            tenant_id="t\n1",
            label="Ada ✓",
            metadata={"k": "", "é": "✓"},
            relink_account_id="acct_1",
            switch_account=True,
        ),
        locale="de-DE",
    )

    stored = create(sessions, session)

    assert stored == session
    assert read(sessions, session) == session


def test_a_bare_session_is_read_as_it_was_written(sessions: Sessions) -> None:
    session = samples.link_session(label=None, optional=(), return_url=None)

    create(sessions, session)

    assert read(sessions, session) == session


def test_an_unknown_session_is_none(sessions: Sessions) -> None:
    assert sessions.read(new_session_id()) is None


def test_the_same_key_and_body_give_the_same_session(sessions: Sessions) -> None:
    key = Idempotency("key-1", "body-1")
    first = sessions.create(samples.link_session(), idempotency=key)

    again = sessions.create(samples.link_session(), idempotency=key)

    assert again == first


def test_the_same_key_with_another_body_is_a_conflict(sessions: Sessions) -> None:
    sessions.create(samples.link_session(), idempotency=Idempotency("key-1", "body-1"))

    with pytest.raises(IdempotencyConflict):
        sessions.create(samples.link_session(), idempotency=Idempotency("key-1", "body-2"))


def test_another_key_makes_another_session(sessions: Sessions) -> None:
    first = sessions.create(samples.link_session(), idempotency=Idempotency("key-1", "body"))

    other = sessions.create(samples.link_session(), idempotency=Idempotency("key-2", "body"))

    assert other.id != first.id


def test_a_repeat_finds_the_session_as_it_is_by_now(sessions: Sessions) -> None:
    key = Idempotency("key-1", "body-1")
    first = sessions.create(samples.link_session(), idempotency=key)
    sessions.cancel(first.id, caller=samples.BACKEND, now=NOON)

    again = sessions.create(samples.link_session(), idempotency=key)

    assert again.reason is SessionReason.CANCELLED_BY_TEAM


# -- starting -----------------------------------------------------------------------------------


def test_a_start_adds_an_attempt(sessions: Sessions) -> None:
    session = create(sessions)

    state = start(sessions, session, made=attempt(verifier="v" * 43))

    after = read(sessions, session)
    assert after.status is SessionStatus.STARTED
    assert after.attempts == {state.attempt_key: attempt(verifier="v" * 43)}


def test_attempts_add_up_to_ten(sessions: Sessions) -> None:
    session = create(sessions)
    for _ in range(MOST_ATTEMPTS):
        start(sessions, session)

    with pytest.raises(RateLimited) as refused:
        start(sessions, session)

    assert refused.value.retry_after is not None
    assert len(read(sessions, session).attempts) == MOST_ATTEMPTS


def cancelled(sessions: Sessions, session: LinkSession) -> None:
    sessions.cancel(session.id, caller=samples.BACKEND, now=NOON)


def completed(sessions: Sessions, session: LinkSession) -> None:
    finish(sessions, session, SessionStatus.COMPLETED)


@pytest.mark.parametrize(
    ("ending", "error"), [(cancelled, LinkSessionCancelled), (completed, LinkSessionUsed)]
)
def test_an_ended_session_starts_nothing(
    sessions: Sessions,
    ending: Callable[[Sessions, LinkSession], None],
    error: type[LinkingError],
) -> None:
    session = create(sessions)
    ending(sessions, session)

    with pytest.raises(error):
        start(sessions, session)

    assert read(sessions, session).attempts == {}


def test_an_expired_session_starts_nothing(sessions: Sessions) -> None:
    session = create(sessions)
    start(sessions, session, now=session.expires_at - timedelta(seconds=1))

    with pytest.raises(LinkSessionExpired):
        start(sessions, session, now=session.expires_at)


def test_a_wrong_nonce_starts_nothing_and_tells_nothing(sessions: Sessions) -> None:
    session = create(sessions)
    cancelled(sessions, session)

    with pytest.raises(StateMismatch):
        start(sessions, replace(session, page_nonce="guessed"))


def test_an_unknown_session_starts_nothing(sessions: Sessions) -> None:
    with pytest.raises(NotFound):
        start(sessions, samples.link_session())


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (SessionStatus.CANCELLED, SessionReason.USER_CANCELLED),
        (SessionStatus.FAILED, SessionReason.SCOPE_NOT_GRANTED),
    ],
)
def test_after_a_failure_the_button_works_again(
    sessions: Sessions, status: SessionStatus, reason: SessionReason
) -> None:
    session = create(sessions)
    finish(sessions, session, status, reason)

    start(sessions, session)

    after = read(sessions, session)
    assert (after.status, after.reason) == (SessionStatus.STARTED, None)


# -- using an attempt ---------------------------------------------------------------------------


def test_an_attempt_is_used_once(sessions: Sessions) -> None:
    session = create(sessions)
    state = start(sessions, session)

    found, used = sessions.consume(state, COOKIE, now=LATER)

    assert found.id == session.id
    assert used.used_at == LATER
    assert used.redirect_uri == "https://link.example.com/callback"
    assert refusal(sessions, state, COOKIE, LATER) == (True, False, True)


def test_an_attempt_ends_by_the_clock(sessions: Sessions) -> None:
    session = create(sessions)
    state = start(sessions, session)

    assert refusal(sessions, state, COOKIE, NOON + timedelta(minutes=10)) == (False, True, True)
    assert read(sessions, session).attempts[state.attempt_key].used_at is None


@pytest.mark.parametrize("cookie", [None, "", "-", secret_hash("other"), "cookie"])
def test_an_attempt_is_bound_to_its_browser(sessions: Sessions, cookie: str | None) -> None:
    session = create(sessions)
    state = start(sessions, session)

    assert refusal(sessions, state, cookie, NOON) == (False, False, False)
    assert sessions.consume(state, COOKIE, now=NOON)


def test_an_attempt_of_another_session_is_unknown(sessions: Sessions) -> None:
    session, other = create(sessions), create(sessions)
    state = start(sessions, session)
    crossed = State(session_key(other.id), state.secret)

    with pytest.raises(StateMismatch):
        sessions.consume(crossed, COOKIE, now=NOON)


@pytest.mark.parametrize("known", [True, False])
def test_an_unknown_state_is_unknown(sessions: Sessions, known: bool) -> None:
    session = create(sessions) if known else samples.link_session()

    with pytest.raises(StateMismatch):
        sessions.consume(State.new(session.id), COOKIE, now=NOON)


def test_two_attempts_do_not_touch_each_other(sessions: Sessions) -> None:
    session = create(sessions)
    first, second = start(sessions, session), start(sessions, session)

    sessions.consume(second, COOKIE, now=NOON)
    finish(sessions, session, SessionStatus.FAILED, SessionReason.EXCHANGE_FAILED)

    found, _ = sessions.consume(first, COOKIE, now=NOON)
    assert len(found.attempts) == 2


def test_one_attempt_at_a_time_finishes(sessions: Sessions) -> None:
    """Two at once would make two accounts, and the session could name only one."""
    session = create(sessions)
    first, second = start(sessions, session), start(sessions, session)
    sessions.consume(first, COOKIE, now=NOON)

    with pytest.raises(AttemptNotUsable) as refused:
        sessions.consume(second, COOKIE, now=NOON)

    assert not refused.value.was_used
    later = NOON + timedelta(seconds=31)
    assert sessions.consume(second, COOKIE, now=later)[0].id == session.id


def test_the_team_cannot_withdraw_what_is_being_finished(sessions: Sessions) -> None:
    session = create(sessions)
    sessions.consume(start(sessions, session), COOKIE, now=NOON)

    with pytest.raises(LinkSessionUsed) as refused:
        sessions.cancel(session.id, caller=samples.BACKEND, now=NOON)

    assert refused.value.retry_after is not None
    withdrawn = sessions.cancel(
        session.id, caller=samples.BACKEND, now=NOON + timedelta(seconds=31)
    )
    assert withdrawn.reason is SessionReason.CANCELLED_BY_TEAM


def test_a_completed_session_uses_no_further_attempt(sessions: Sessions) -> None:
    session = create(sessions)
    state = start(sessions, session)
    completed(sessions, session)

    assert refusal(sessions, state, COOKIE, NOON) == (True, False, True)


def test_a_cancelled_session_uses_no_further_attempt(sessions: Sessions) -> None:
    session = create(sessions)
    state = start(sessions, session)
    cancelled(sessions, session)

    assert refusal(sessions, state, COOKIE, NOON) == (False, False, True)


def test_the_refusal_carries_the_session_as_it_is(sessions: Sessions) -> None:
    session = create(sessions)
    state = start(sessions, session)
    sessions.consume(state, COOKIE, now=NOON)
    sessions.finish(session_key(session.id), SessionStatus.COMPLETED, now=NOON, account_id="acct_1")

    with pytest.raises(AttemptNotUsable) as refused:
        sessions.consume(state, COOKIE, now=NOON)

    assert refused.value.session.account_id == "acct_1"


def test_a_browser_without_its_cookie_is_remembered_and_the_answer_used_up(
    sessions: Sessions,
) -> None:
    session = create(sessions)
    state = start(sessions, session)

    sessions.remember_browser(state, secret_hash("result"), now=LATER)

    seen = read(sessions, session).attempts[state.attempt_key]
    assert (seen.result_cookie_hash, seen.used_at) == (secret_hash("result"), LATER)
    assert refusal(sessions, state, COOKIE, LATER) == (True, False, True)


def test_only_the_first_such_browser_is_remembered(sessions: Sessions) -> None:
    session = create(sessions)
    state = start(sessions, session)
    sessions.remember_browser(state, secret_hash("first"), now=NOON)

    sessions.remember_browser(state, secret_hash("second"), now=LATER)

    seen = read(sessions, session).attempts[state.attempt_key]
    assert seen.result_cookie_hash == secret_hash("first")


def test_a_finished_attempt_remembers_nobody(sessions: Sessions) -> None:
    session = create(sessions)
    state = start(sessions, session)
    sessions.consume(state, COOKIE, now=NOON)

    sessions.remember_browser(state, secret_hash("late"), now=LATER)

    assert read(sessions, session).attempts[state.attempt_key].result_cookie_hash is None


# -- ending -------------------------------------------------------------------------------------


def test_a_result_is_written_whole(sessions: Sessions) -> None:
    session = create(sessions)

    sessions.finish(
        session_key(session.id),
        SessionStatus.COMPLETED,
        now=NOON,
        account_id="acct_1",
        granted=("user.info.basic",),
        missing=("video.list",),
        display_name="Mina ✓",
    )

    after = read(sessions, session)
    assert (after.status, after.reason, after.account_id) == (
        SessionStatus.COMPLETED,
        None,
        "acct_1",
    )
    assert (after.granted_scopes, after.missing_scopes) == (("user.info.basic",), ("video.list",))
    assert after.display_name == "Mina ✓"


@pytest.mark.parametrize("before", [False, True])
def test_a_result_may_say_that_tiktok_is_to_ask_from_now_on(
    sessions: Sessions, before: bool
) -> None:
    made = [samples.link_session(switch_account=before) for _ in range(2)]
    asking, silent = (create(sessions, one) for one in made)

    for session, asks in ((asking, True), (silent, False)):
        sessions.finish(
            session_key(session.id), SessionStatus.FAILED, now=NOON, switch_account=asks
        )

    assert read(sessions, asking).switch_account
    assert read(sessions, silent).switch_account is before
    start(sessions, asking)
    assert read(sessions, asking).switch_account
    finish(sessions, asking, SessionStatus.FAILED, SessionReason.EXCHANGE_FAILED)
    assert read(sessions, asking).switch_account


def test_a_completed_session_is_never_overwritten(sessions: Sessions) -> None:
    session = create(sessions)
    completed(sessions, session)

    finish(sessions, session, SessionStatus.FAILED, SessionReason.EXCHANGE_FAILED)

    assert read(sessions, session).status is SessionStatus.COMPLETED


def test_a_success_overwrites_an_earlier_failure(sessions: Sessions) -> None:
    session = create(sessions)
    finish(sessions, session, SessionStatus.FAILED, SessionReason.EXCHANGE_FAILED)

    completed(sessions, session)

    after = read(sessions, session)
    assert (after.status, after.reason) == (SessionStatus.COMPLETED, None)


def test_the_end_of_an_unknown_session_is_nothing(sessions: Sessions) -> None:
    session = samples.link_session()

    completed(sessions, session)

    assert sessions.read(session.id) is None


def test_the_team_cancels(sessions: Sessions) -> None:
    session = create(sessions)
    start(sessions, session)

    after = sessions.cancel(session.id, caller=samples.BACKEND, now=NOON)

    assert after == read(sessions, session)
    assert (after.status, after.reason) == (
        SessionStatus.CANCELLED,
        SessionReason.CANCELLED_BY_TEAM,
    )


def test_cancelling_can_be_repeated(sessions: Sessions) -> None:
    session = create(sessions)
    cancelled(sessions, session)

    assert (
        sessions.cancel(session.id, caller=samples.BACKEND, now=NOON).reason
        is SessionReason.CANCELLED_BY_TEAM
    )


def test_what_is_finished_or_unknown_is_not_cancelled(sessions: Sessions) -> None:
    session = create(sessions)
    completed(sessions, session)

    with pytest.raises(LinkSessionUsed):
        sessions.cancel(session.id, caller=samples.BACKEND, now=NOON)
    with pytest.raises(NotFound):
        sessions.cancel(new_session_id(), caller=samples.BACKEND, now=NOON)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (SessionStatus.FAILED, SessionReason.EXCHANGE_FAILED),
        (SessionStatus.CANCELLED, SessionReason.USER_CANCELLED),
    ],
)
def test_a_cancel_by_the_team_outlives_how_an_attempt_under_way_ends(
    sessions: Sessions, status: SessionStatus, reason: SessionReason
) -> None:
    """Else the failed attempt would open the withdrawn session again."""
    session = create(sessions)
    state = start(sessions, session)
    sessions.consume(state, COOKIE, now=NOON)
    sessions.cancel(session.id, caller=samples.BACKEND, now=NOON + timedelta(seconds=31))

    finish(sessions, session, status, reason)

    assert read(sessions, session).reason is SessionReason.CANCELLED_BY_TEAM
    with pytest.raises(LinkSessionCancelled):
        start(sessions, session)


def test_a_link_that_was_made_all_the_same_is_told(sessions: Sessions) -> None:
    session = create(sessions)
    cancelled(sessions, session)

    completed(sessions, session)

    assert read(sessions, session).status is SessionStatus.COMPLETED


# -- codes that wait ----------------------------------------------------------------------------

RELEASE = secret_hash("completion code")


def parked(state: State, *, release: str = RELEASE, until: datetime = LATER) -> ParkedCode:
    return ParkedCode(b"sealed code", release, state.attempt_key, until)


def park(
    sessions: Sessions,
    state: State,
    *,
    cookie_hash: str | None = None,
    now: datetime = NOON,
    release: str = RELEASE,
) -> bool:
    waiting = parked(state, release=release)
    return sessions.park(state, waiting, cookie_hash=cookie_hash, now=now)


def waiting_session(sessions: Sessions) -> tuple[LinkSession, State]:
    """One whose browser came back with its cookie."""
    session = create(sessions)
    state = start(sessions, session)
    sessions.consume(state, COOKIE, now=NOON)
    assert park(sessions, state)
    return session, state


def claim_fails(
    sessions: Sessions, session: LinkSession, release: str = RELEASE, now: datetime = NOON
) -> NotClaimable:
    with pytest.raises(NotClaimable) as refusal:
        sessions.claim(session.id, release, caller=samples.BACKEND, now=now)
    return refusal.value


def test_a_parked_code_waits_until_it_is_claimed(sessions: Sessions) -> None:
    session, state = waiting_session(sessions)
    assert read(sessions, session).status is SessionStatus.AWAITING_COMPLETION
    assert read(sessions, session).parked == parked(state)

    claimed, used, code = sessions.claim(session.id, RELEASE, caller=samples.BACKEND, now=NOON)

    assert claimed.id == session.id
    assert used.redirect_uri == "https://link.example.com/callback"
    assert code == parked(state)


def test_what_is_parked_is_claimed_once(sessions: Sessions) -> None:
    session, _ = waiting_session(sessions)
    sessions.claim(session.id, RELEASE, caller=samples.BACKEND, now=NOON)

    assert claim_fails(sessions, session).is_its_code
    # Also when whoever took it has died: the code may have been sent.
    assert claim_fails(sessions, session, now=NOON + timedelta(minutes=2)).is_its_code


def test_what_is_parked_waits_for_its_own_code(sessions: Sessions) -> None:
    session, state = waiting_session(sessions)

    assert not claim_fails(sessions, session, secret_hash("another code")).is_its_code
    assert sessions.claim(session.id, RELEASE, caller=samples.BACKEND, now=NOON)[2] == parked(state)


def test_what_is_parked_ends_by_the_clock(sessions: Sessions) -> None:
    session, _ = waiting_session(sessions)

    refusal = claim_fails(sessions, session, now=LATER)

    assert refusal.is_its_code
    assert refusal.session.status_at(LATER) is SessionStatus.EXPIRED


def test_nothing_of_an_unknown_session_is_claimed(sessions: Sessions) -> None:
    with pytest.raises(NotFound):
        sessions.claim(new_session_id(), RELEASE, caller=samples.BACKEND, now=NOON)


def test_a_session_without_a_parked_code_gives_none(sessions: Sessions) -> None:
    session = create(sessions)

    assert not claim_fails(sessions, session).is_its_code


def test_a_browser_without_its_cookie_parks_and_uses_the_attempt_up(sessions: Sessions) -> None:
    session = create(sessions)
    state = start(sessions, session)

    assert park(sessions, state, cookie_hash=secret_hash("own"))

    kept = read(sessions, session)
    assert kept.status is SessionStatus.AWAITING_COMPLETION
    assert kept.attempts[state.attempt_key].used_at == NOON
    assert kept.attempts[state.attempt_key].result_cookie_hash == secret_hash("own")
    with pytest.raises(AttemptNotUsable):
        sessions.consume(state, COOKIE, now=NOON)


def test_only_the_first_such_browser_parks(sessions: Sessions) -> None:
    session = create(sessions)
    state = start(sessions, session)
    park(sessions, state, cookie_hash=secret_hash("first"))

    assert not park(sessions, state, cookie_hash=secret_hash("second"), release="other")
    assert read(sessions, session).parked == parked(state)


def test_such_a_browser_parks_nothing_late_or_beside_another_attempt(sessions: Sessions) -> None:
    session = create(sessions)
    state, other = start(sessions, session), start(sessions, session)

    late = NOON + timedelta(minutes=10)
    assert not park(sessions, state, cookie_hash=secret_hash("own"), now=late)
    sessions.consume(other, COOKIE, now=NOON)
    assert not park(sessions, state, cookie_hash=secret_hash("own"))


def test_a_withdrawn_session_parks_nothing(sessions: Sessions) -> None:
    session = create(sessions)
    state = start(sessions, session)
    sessions.cancel(session.id, caller=samples.BACKEND, now=NOON)

    assert not park(sessions, state, cookie_hash=secret_hash("own"))


def test_withdrawing_throws_away_what_is_parked(sessions: Sessions) -> None:
    session, _ = waiting_session(sessions)

    sessions.cancel(session.id, caller=samples.BACKEND, now=NOON)

    assert read(sessions, session).parked is None
    assert claim_fails(sessions, session).session.reason is SessionReason.CANCELLED_BY_TEAM


def test_who_completes_cannot_be_withdrawn_from(sessions: Sessions) -> None:
    session, _ = waiting_session(sessions)
    sessions.claim(session.id, RELEASE, caller=samples.BACKEND, now=NOON)

    with pytest.raises(LinkSessionUsed):
        sessions.cancel(session.id, caller=samples.BACKEND, now=NOON)


def test_a_new_start_throws_away_what_is_parked(sessions: Sessions) -> None:
    session, _ = waiting_session(sessions)

    start(sessions, session)

    assert read(sessions, session).parked is None
    assert not claim_fails(sessions, session).is_its_code


@pytest.mark.parametrize("status", [SessionStatus.COMPLETED, SessionStatus.FAILED])
def test_a_result_throws_away_what_was_parked_and_knows_its_code(
    sessions: Sessions, status: SessionStatus
) -> None:
    session, _ = waiting_session(sessions)
    sessions.claim(session.id, RELEASE, caller=samples.BACKEND, now=NOON)

    sessions.finish(session_key(session.id), status, now=NOON, answer="said")

    refusal = claim_fails(sessions, session)
    assert refusal.is_its_code
    assert (refusal.session.parked, refusal.session.answer) == (None, "said")


# -- callers that are held to a tenant ----------------------------------------------------------

ACME = Tenant("acme")


@pytest.mark.parametrize(
    ("tenant_id", "held_to", "may"),
    [
        ("acme", ACME, True),
        ("acme", Tenant("acme", ("other", "default")), True),
        ("acme", Tenant("acme", ("other",)), False),
        ("umbrella", ACME, False),
        (None, ACME, False),
        ("acme ", ACME, False),
    ],
)
def test_only_its_own_tenants_caller_claims_and_cancels_a_session(
    sessions: Sessions, tenant_id: str | None, held_to: Tenant, may: bool
) -> None:
    session = create(sessions, samples.link_session(tenant_id=tenant_id))
    state = start(sessions, session)
    sessions.consume(state, COOKIE, now=NOON)
    assert park(sessions, state)
    before = read(sessions, session)
    caller = Caller("backend", held_to)

    if may:
        assert sessions.claim(session.id, RELEASE, caller=caller, now=NOON)[2] == parked(state)
        after = sessions.cancel(session.id, caller=caller, now=NOON + timedelta(seconds=31))
        assert after.status is SessionStatus.CANCELLED
        return
    for release in (RELEASE, "of nobody"):
        with pytest.raises(NotFound):
            sessions.claim(session.id, release, caller=caller, now=NOON)
    with pytest.raises(NotFound):
        sessions.cancel(session.id, caller=caller, now=NOON)
    assert read(sessions, session) == before


def test_another_tenants_session_is_not_found_whatever_became_of_it(sessions: Sessions) -> None:
    session = create(sessions, samples.link_session(tenant_id="umbrella"))
    finish(sessions, session, SessionStatus.COMPLETED)
    caller = Caller("backend", ACME)

    with pytest.raises(NotFound):
        sessions.cancel(session.id, caller=caller, now=NOON)
    with pytest.raises(NotFound):
        sessions.claim(session.id, RELEASE, caller=caller, now=NOON)
