"""Link sessions as values: what their status says, whom they know, and states that are ours."""

from __future__ import annotations

import string
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import samples
from tests.fakes.clock import NOON
from tiktok_linking.sessions import (
    ACTION_BY,
    COOKIE_PREFIX,
    Attempt,
    LinkSession,
    SessionReason,
    SessionStatus,
    State,
    is_session_id,
    new_session_id,
    secret_hash,
    session_key,
)

HALF_HOUR = timedelta(minutes=30)


def attempt(cookie: str = "cookie", *, ends: datetime = NOON + timedelta(minutes=10)) -> Attempt:
    return Attempt(
        cookie_hash=secret_hash(cookie), redirect_uri="https://l/callback", expires_at=ends
    )


def started(**attempts: Attempt) -> LinkSession:
    return replace(samples.link_session(), status=SessionStatus.STARTED, attempts=attempts)


# -- status -------------------------------------------------------------------------------------


def test_a_session_expires_by_the_clock_alone() -> None:
    session = samples.link_session(lives=HALF_HOUR)

    assert session.status_at(NOON + timedelta(minutes=29, seconds=59)) is SessionStatus.PENDING
    assert session.status_at(NOON + HALF_HOUR) is SessionStatus.EXPIRED


def test_an_attempt_under_way_keeps_its_session_open() -> None:
    session = started(a=attempt(ends=NOON + timedelta(minutes=35)))

    assert session.status_at(NOON + timedelta(minutes=34)) is SessionStatus.STARTED
    assert session.status_at(NOON + timedelta(minutes=35)) is SessionStatus.EXPIRED
    assert not session.can_start(NOON + timedelta(minutes=31))


@pytest.mark.parametrize(
    "status", [SessionStatus.COMPLETED, SessionStatus.CANCELLED, SessionStatus.FAILED]
)
def test_an_ended_session_never_becomes_expired(status: SessionStatus) -> None:
    session = replace(samples.link_session(), status=status)

    assert session.status_at(NOON + timedelta(days=1)) is status


@pytest.mark.parametrize(
    ("status", "reason", "may_start"),
    [
        (SessionStatus.PENDING, None, True),
        (SessionStatus.STARTED, None, True),
        (SessionStatus.CANCELLED, SessionReason.USER_CANCELLED, True),
        (SessionStatus.FAILED, SessionReason.SCOPE_NOT_GRANTED, True),
        (SessionStatus.CANCELLED, SessionReason.CANCELLED_BY_TEAM, False),
        (SessionStatus.COMPLETED, None, False),
    ],
)
def test_the_button_works_until_the_session_is_over(
    status: SessionStatus, reason: SessionReason | None, may_start: bool
) -> None:
    session = replace(samples.link_session(), status=status, reason=reason)

    assert session.can_start(NOON) is may_start


def test_the_eleventh_attempt_cannot_start() -> None:
    session = started(**{f"a{n}": attempt() for n in range(10)})

    assert not session.can_start(NOON)


def test_every_reason_says_who_must_act() -> None:
    assert set(ACTION_BY) == set(SessionReason)
    assert set(ACTION_BY.values()) <= {"end_user", "developer", "operator", "nobody"}


# -- browsers -----------------------------------------------------------------------------------


def test_a_browser_is_known_by_its_cookie() -> None:
    session = started(a=attempt("one"), b=attempt("two"))

    assert session.attempt_of({f"{COOKIE_PREFIX}12345678": "two"}) == session.attempts["b"]


def test_a_browser_that_came_back_is_known_by_its_result_cookie() -> None:
    seen = replace(attempt("one"), result_cookie_hash=secret_hash("late"))
    session = started(a=seen)

    cookies = {f"{COOKIE_PREFIX}12345678": "late"}
    assert session.was_brought_back_by(cookies)
    assert session.attempt_of(cookies) is None


@pytest.mark.parametrize(
    "cookies",
    [
        {},
        {"session": "one"},
        {f"{COOKIE_PREFIX}12345678": ""},
        {f"{COOKIE_PREFIX}12345678": "One"},
        {f"{COOKIE_PREFIX}12345678": secret_hash("one")},
        {f"{COOKIE_PREFIX}12345678": "é\ud800"},
    ],
)
def test_any_other_browser_is_unknown(cookies: dict[str, str]) -> None:
    session = started(a=attempt("one"))
    assert session.attempt_of(cookies) is None
    assert not session.was_brought_back_by(cookies)


# -- states and ids -----------------------------------------------------------------------------


def test_a_state_survives_its_way_through_tiktok() -> None:
    state = State.new(new_session_id())

    parsed = State.parse(state.encode())

    assert parsed is not None
    assert parsed.encode() == state.encode()
    assert (parsed.attempt_key, parsed.cookie_name) == (state.attempt_key, state.cookie_name)


def test_a_state_is_short_random_and_safe_in_a_url() -> None:
    session_id = new_session_id()
    states = [State.new(session_id).encode() for _ in range(100)]

    assert len(set(states)) == 100
    assert all(len(state) <= 128 for state in states)
    assert set("".join(states)) <= set(string.ascii_letters + string.digits + "-_.")


@given(st.text(max_size=120))
def test_what_is_no_state_of_ours_is_known_without_a_look_up(value: str) -> None:
    state = State.parse(value)

    assert state is None or state.encode() == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "a" * 22,
        "a" * 22 + "." + "b" * 42,
        "a" * 22 + "." + "b" * 44,
        "a" * 21 + "." + "b" * 43,
        "a" * 22 + "." + "b" * 42 + "\n",
        "a" * 22 + "." + "b" * 42 + "é",
        "a" * 22 + "." + "b" * 42 + "=",
        "a" * 22 + ".." + "b" * 42,
    ],
)
def test_a_malformed_state_is_none_of_ours(value: str) -> None:
    assert State.parse(value) is None


def test_cookies_of_two_attempts_have_names_of_their_own() -> None:
    session_id = new_session_id()
    names = {State.new(session_id).cookie_name for _ in range(50)}

    assert len(names) == 50
    assert all(name.startswith("__Host-ttl_") and len(name) == 19 for name in names)


def test_a_cookies_name_does_not_tell_the_states_secret() -> None:
    state = State.new(new_session_id())

    assert state.cookie_name.removeprefix(COOKIE_PREFIX) not in state.encode()
    assert state.secret.reveal() not in repr(state)


def test_session_ids_are_long_random_and_no_uuids() -> None:
    ids = [new_session_id() for _ in range(10_000)]

    assert len(set(ids)) == 10_000
    assert len({made[3:5] for made in ids}) > 1_000, "no shared prefix behind ls_"
    assert all(is_session_id(made) for made in ids)


@pytest.mark.parametrize(
    "value",
    ["", "ls_", "ls_" + "a" * 42, "ls_" + "a" * 44, "xx_" + "a" * 43, "ls_" + "a" * 42 + "\n"],
)
def test_what_is_no_session_id_is_known_without_a_look_up(value: str) -> None:
    assert not is_session_id(value)


def test_the_table_key_does_not_open_the_page() -> None:
    session_id = new_session_id()

    assert session_key(session_id) not in session_id
    assert len(session_key(session_id)) == 22
