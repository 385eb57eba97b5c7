"""How the time of one invocation is spent: what may start, and how long a write is repeated."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.clock import NOON, Clock
from tiktok_linking.deadlines import (
    CONNECT_TIMEOUT,
    ONE_WRITE,
    RESCUE_BUDGET,
    SAVE_BUDGET,
    SHORTEST_READ,
    has_time_for,
    has_time_to_spend,
    persist,
    read_timeout,
)
from tiktok_linking.errors import StoreUnavailable

SPANS = st.integers(min_value=0, max_value=900_000).map(lambda ms: timedelta(milliseconds=ms))


@given(SPANS)
def test_whoever_may_spend_has_time_to_hear_and_to_save(left: timedelta) -> None:
    deadline = NOON + left

    if has_time_to_spend(NOON, deadline):
        longest = CONNECT_TIMEOUT + read_timeout(NOON, deadline)
        assert NOON + longest + SAVE_BUDGET <= deadline


@given(SPANS)
def test_an_answer_is_never_waited_for_shorter_than_is_useful(left: timedelta) -> None:
    assert read_timeout(NOON, NOON + left) >= SHORTEST_READ


def test_what_is_no_link_waits_only_while_saving_stays_possible() -> None:
    six = timedelta(seconds=6)

    assert has_time_for(six, NOON, NOON + timedelta(seconds=11))
    assert not has_time_for(six, NOON, NOON + timedelta(seconds=10.9))


def persisted(clock: Clock, *, seconds: float, failures: int, takes: float = 0.0) -> int:
    """How often a write is tried that fails so often and takes so long; the last try's number."""
    tries = 0

    def write() -> int:
        nonlocal tries
        tries += 1
        clock.advance(seconds=takes)
        if tries <= failures:
            raise StoreUnavailable("down")
        return tries

    deadline = clock.now + timedelta(seconds=seconds)
    return persist(write, deadline=deadline, now=clock, pause=clock.pause, chance=lambda: 1.0)


def test_a_write_that_works_is_tried_once(clock: Clock) -> None:
    assert persisted(clock, seconds=5, failures=0) == 1
    assert clock.paused_seconds == []


def test_a_write_is_repeated_with_growing_pauses(clock: Clock) -> None:
    assert persisted(clock, seconds=60, failures=6) == 7
    assert clock.paused_seconds == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


@given(st.floats(min_value=0, max_value=60), st.sampled_from([0.0, 0.3, 2.0]))
def test_when_a_write_is_given_up_the_rescue_queue_still_has_time(
    seconds: float, takes: float
) -> None:
    clock = Clock()
    deadline = clock.now + timedelta(seconds=seconds)

    with pytest.raises(StoreUnavailable):
        persisted(clock, seconds=seconds, failures=10_000, takes=takes)

    if seconds >= SAVE_BUDGET.total_seconds():
        assert clock.now + RESCUE_BUDGET <= deadline


def test_the_save_budget_holds_a_try_and_a_message() -> None:
    assert ONE_WRITE + RESCUE_BUDGET <= SAVE_BUDGET
