"""When the schedule looks at a grant: early enough, never too early, never after the deadline."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.fakes.clock import NOON
from tiktok_linking.accounts import RefreshMode
from tiktok_linking.schedule import (
    SLOT,
    USED_MARK_EVERY,
    RenewalPolicy,
    at_once,
    is_at_once,
    renewal_floor,
    slot_of,
)

IDS = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=24, max_size=24)
LIVES = st.integers(min_value=60, max_value=400 * 86_400).map(lambda s: timedelta(seconds=s))
MOMENTS = st.integers(min_value=0, max_value=10**9).map(lambda s: NOON + timedelta(seconds=s))
POLICY = RenewalPolicy()


def due(
    *,
    grant_id: str = "g" * 24,
    mode: RefreshMode = RefreshMode.AUTO,
    last_used_at: datetime | None = None,
    issued_at: datetime = NOON,
    lives: timedelta = timedelta(hours=24),
    relink_by: datetime | None = None,
    now: datetime = NOON,
    policy: RenewalPolicy = POLICY,
) -> datetime | None:
    return policy.next_due(
        grant_id,
        mode=mode,
        last_used_at=last_used_at,
        issued_at=issued_at,
        expires_at=issued_at + lives,
        relink_by=relink_by,
        now=now,
    )


@given(IDS, LIVES, MOMENTS)
def test_a_warm_grant_is_due_strictly_inside_its_tokens_life(
    grant_id: str, lives: timedelta, issued_at: datetime
) -> None:
    """Window = lifetime is the bug that rotated every token every hour."""
    found = due(
        grant_id=grant_id, mode=RefreshMode.ALWAYS, issued_at=issued_at, lives=lives, now=issued_at
    )

    assert found is not None
    assert issued_at < found < issued_at + lives
    # A fresh token is left alone for most of its life, and there is time for a few more tries.
    assert issued_at + lives * 0.6 <= found <= issued_at + lives * 0.86


@given(IDS, LIVES, MOMENTS, st.sampled_from(RefreshMode), st.booleans())
def test_nothing_is_due_once_only_the_owner_can_help(
    grant_id: str, lives: timedelta, relink_by: datetime, mode: RefreshMode, used: bool
) -> None:
    found = due(
        grant_id=grant_id,
        mode=mode,
        lives=lives,
        relink_by=relink_by,
        last_used_at=NOON if used else None,
    )

    assert found is None or found < relink_by


@given(IDS, MOMENTS)
def test_an_unused_grant_is_looked_at_about_once_a_week(grant_id: str, issued_at: datetime) -> None:
    found = due(grant_id=grant_id, issued_at=issued_at, now=issued_at)

    assert found is not None
    assert timedelta(days=6, hours=7) <= found - issued_at <= timedelta(days=7)


def test_grants_linked_in_one_moment_come_due_at_different_times() -> None:
    moments = {due(grant_id=f"{n:024d}", mode=RefreshMode.ALWAYS) for n in range(200)}

    assert len(moments) == 200


def test_the_same_grant_and_pair_give_the_same_moment_to_whoever_asks() -> None:
    later = NOON + timedelta(hours=3)

    assert due(mode=RefreshMode.ALWAYS) == due(mode=RefreshMode.ALWAYS, now=later)


def test_on_demand_is_never_due() -> None:
    assert due(mode=RefreshMode.ON_DEMAND, last_used_at=NOON) is None


def test_always_is_kept_warm_without_being_used() -> None:
    found = due(mode=RefreshMode.ALWAYS)

    assert found is not None
    assert found < NOON + timedelta(hours=24)


@pytest.mark.parametrize(
    ("used_before", "is_warm"),
    [
        (timedelta(0), True),
        (timedelta(hours=24), True),
        # The mark moves at most once in six hours, so the last vend may be that much later.
        (timedelta(hours=24) + USED_MARK_EVERY - timedelta(seconds=1), True),
        (timedelta(hours=24) + USED_MARK_EVERY, False),
        (timedelta(days=30), False),
    ],
)
def test_what_was_used_in_the_last_day_stays_warm(used_before: timedelta, is_warm: bool) -> None:
    assert POLICY.is_warm(RefreshMode.AUTO, NOON - used_before, NOON) is is_warm


def test_what_was_never_used_is_cold() -> None:
    assert not POLICY.is_warm(RefreshMode.AUTO, None, NOON)


def test_the_policy_is_the_deployers() -> None:
    policy = RenewalPolicy(warm_for=timedelta(hours=1), health_check=timedelta(days=2))

    found = due(policy=policy)

    assert found is not None
    assert found <= NOON + timedelta(days=2)
    assert not policy.is_warm(RefreshMode.AUTO, NOON - timedelta(hours=7), NOON)


@given(IDS, LIVES, MOMENTS, st.booleans(), st.booleans())
def test_a_pair_stored_without_reading_its_grant_is_never_looked_at_too_late(
    grant_id: str, lives: timedelta, issued_at: datetime, used: bool, is_new: bool
) -> None:
    """The callback knows no mode: a slot that comes too early is moved, one too late is a loss."""
    first = POLICY.first_due(
        grant_id,
        issued_at=issued_at,
        expires_at=issued_at + lives,
        relink_by=None,
        is_new=is_new,
    )

    unused = due(grant_id=grant_id, issued_at=issued_at, lives=lives, now=issued_at)
    always = due(
        grant_id=grant_id,
        mode=RefreshMode.ALWAYS,
        issued_at=issued_at,
        lives=lives,
        now=issued_at,
    )
    assert first == (unused if is_new else always)


@given(MOMENTS)
def test_a_slot_rounds_down_and_is_steady(moment: datetime) -> None:
    slot = slot_of(moment)

    assert timedelta(0) <= moment - slot < SLOT
    assert slot_of(slot) == slot


@given(LIVES)
def test_the_floor_is_ten_minutes_or_half_a_short_life(lives: timedelta) -> None:
    floor = renewal_floor(NOON, NOON + lives)

    assert floor == min(timedelta(minutes=10), lives / 2)


@given(IDS, LIVES, st.integers(min_value=0, max_value=400))
def test_a_renewed_warm_grant_is_not_due_again_at_once(
    grant_id: str, lives: timedelta, minutes: int
) -> None:
    now = NOON + timedelta(minutes=minutes)
    assume(lives > timedelta(minutes=10))

    found = due(grant_id=grant_id, mode=RefreshMode.ALWAYS, issued_at=now, lives=lives, now=now)

    assert found is not None
    assert slot_of(found) > now


@given(MOMENTS)
def test_at_once_is_before_now_and_beside_every_slot(moment: datetime) -> None:
    due_at = at_once(moment)

    assert timedelta(0) < moment - due_at <= SLOT + timedelta(milliseconds=1)
    assert is_at_once(due_at)
    assert not is_at_once(slot_of(moment))
    assert not is_at_once(None)
