"""Reminders: who is told when, once, and what a run leaves to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import samples
from tests.fakes.clock import NOON
from tests.unit.stage import Stage
from tiktok_linking.accounts import Account, RelinkReason, Reminder, RevokedReason, Status
from tiktok_linking.ports import Look
from tiktok_linking.reminding import Reminded, Reminding
from tiktok_linking.schedule import EARLIEST_REMINDER, first_look, next_look, threshold_due

THRESHOLDS = (30, 14, 7, 1)
DEADLINE = NOON + timedelta(days=180)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def run(stage: Stage, *, until: datetime | None = None, most_pages: int = 10) -> Reminded:
    reminding = Reminding(stage.accounts, THRESHOLDS, stage.clock)
    return reminding.run(until=until or stage.deadline(), most_pages=most_pages)


def told(stage: Stage, account: Account) -> Reminder | None:
    return stage.accounts.account(account.id).reminded


def every_day(stage: Stage, account: Account, days: int) -> list[tuple[date, int]]:
    """Run once a day: on which days something new was told, and which threshold."""
    found: list[tuple[date, int]] = []
    for _ in range(days):
        before = told(stage, account)
        run(stage)
        after = told(stage, account)
        if after is not None and after != before:
            found.append((stage.clock.now.date(), after.threshold_days))
        stage.clock.advance(days=1)
    return found


# -- when -----------------------------------------------------------------------------------------


def test_an_owner_is_asked_for_30_14_7_and_1_days_ahead_and_then_not_again(stage: Stage) -> None:
    account = stage.link()

    assert every_day(stage, account, 200) == [
        (DEADLINE.date() - timedelta(days=days), days) for days in THRESHOLDS
    ]
    assert stage.grant().status is Status.RELINK_REQUIRED
    assert stage.grant().reason == RelinkReason.REFRESH_TOKEN_EXPIRED
    assert stage.accounts.looks == {}


@pytest.mark.parametrize(
    ("silent_until", "nearest"), [(31, None), (30, 30), (12, 14), (5, 7), (1, 1), (0, 1)]
)
def test_after_days_of_silence_the_nearest_threshold_alone_is_told(
    stage: Stage, silent_until: int, nearest: int | None
) -> None:
    account = stage.link()
    stage.clock.now = DEADLINE - timedelta(days=silent_until, hours=1)

    done = run(stage)

    told_now = told(stage, account)
    assert (told_now and told_now.threshold_days) == nearest
    assert done.told == (nearest is not None)


def test_however_often_a_run_comes_each_threshold_is_told_once(stage: Stage) -> None:
    stage.link()
    stage.clock.now = DEADLINE - timedelta(days=14)

    assert [run(stage).told for _ in range(5)] == [1, 0, 0, 0, 0]


def test_a_run_that_reads_an_index_that_is_behind_tells_nothing_twice(stage: Stage) -> None:
    account = stage.link()
    stage.clock.now = DEADLINE - timedelta(days=14)
    seen = Look(account.id, stage.accounts.looks[account.id])
    run(stage)

    late = stage.accounts.remind(
        account,
        Reminder(14, DEADLINE),
        seen,
        then=DEADLINE.date(),
        now=stage.clock.now,
    )

    assert not late


def test_a_look_that_begins_anew_does_not_repeat_what_was_told(stage: Stage) -> None:
    """The outbox begins the looks anew when it moves the date; the same date stays told."""
    account = stage.link()
    stage.clock.now = DEADLINE - timedelta(days=14)
    run(stage)
    stage.accounts.looks[account.id] = first_look(DEADLINE)

    assert run(stage).told == 0


def test_a_date_that_moves_is_told_anew(stage: Stage) -> None:
    account = stage.link()
    stage.clock.now = DEADLINE - timedelta(days=14)
    run(stage)
    earlier = DEADLINE - timedelta(days=3)
    stage.accounts.change(account.grant_id, relink_by=earlier)
    stage.accounts.copy_grant(account, stage.grant())

    assert run(stage).told == 1
    assert told(stage, account) == Reminder(14, earlier)


def test_a_relink_moves_the_reminders(stage: Stage) -> None:
    account = stage.link()
    stage.clock.now = DEADLINE - timedelta(days=10)
    run(stage)

    stage.link()

    later = stage.clock.now + timedelta(days=180)
    assert stage.accounts.looks[account.id] == (later - EARLIEST_REMINDER).date()
    assert every_day(stage, account, 200) == [
        (later.date() - timedelta(days=days), days) for days in THRESHOLDS
    ]


def test_a_deadline_that_slides_away_is_never_told(stage: Stage) -> None:
    account = stage.link()
    for _ in range(30):
        stage.clock.advance(days=10)
        stage.accounts.change(account.grant_id, relink_by=stage.clock.now + timedelta(days=180))
        stage.accounts.copy_grant(stage.accounts.account(account.id), stage.grant())
        assert run(stage).told == 0


def test_a_link_without_a_date_is_never_looked_at(stage: Stage) -> None:
    stage.link(answer=samples.answer(relink_in=None))

    assert stage.accounts.looks == {}


# -- who ------------------------------------------------------------------------------------------


def unlinked(stage: Stage, account: Account) -> None:
    stage.accounts.mark_unlinked(account, now=stage.clock.now)


def revoked(stage: Stage, account: Account) -> None:
    stage.accounts.mark_revoked(
        account.grant_id,
        RevokedReason.REVOKED_BY_USER,
        authorised_before=stage.clock.now,
        now=stage.clock.now,
    )


def flagged(stage: Stage, account: Account) -> None:
    stage.accounts.require_relink(stage.grant(), RelinkReason.ROTATION_LOST, now=stage.clock.now)


@pytest.mark.parametrize("end", [unlinked, revoked, flagged])
def test_nobody_is_reminded_of_what_has_ended(stage: Stage, end: object) -> None:
    account = stage.link()
    stage.clock.advance(days=100)
    assert callable(end)
    end(stage, account)

    assert every_day(stage, account, 100) == []
    assert stage.grant().reason != RelinkReason.REFRESH_TOKEN_EXPIRED
    assert stage.accounts.looks == {}


def test_an_account_whose_row_outlived_its_unlink_in_the_index_leaves_it(stage: Stage) -> None:
    account = stage.link()
    unlinked(stage, account)
    stage.accounts.looks[account.id] = stage.clock.now.date()

    assert run(stage).told == 0
    assert stage.accounts.looks == {}


def test_a_link_that_a_late_pair_mends_is_reminded_again(stage: Stage) -> None:
    account = stage.link()
    stage.clock.now = DEADLINE - timedelta(days=30)
    flagged(stage, account)
    run(stage)
    stage.accounts.change(account.grant_id, status=Status.ACTIVE)
    stage.clock.advance(days=16)

    assert run(stage).told == 1


def test_everybody_who_shares_a_grant_is_reminded(stage: Stage) -> None:
    accounts = [stage.link("u_1"), stage.link("u_2")]
    stage.clock.now = DEADLINE - timedelta(days=7)

    assert run(stage).told == 2
    assert {told(stage, account) for account in accounts} == {Reminder(7, DEADLINE)}


def test_a_passed_date_is_written_down_once_for_all_who_share_it(stage: Stage) -> None:
    for user in ("u_1", "u_2", "u_3"):
        stage.link(user)
    version = stage.grant().version
    stage.clock.now = DEADLINE + timedelta(minutes=1)

    runs = [run(stage), run(stage), run(stage)]

    assert sum(done.passed for done in runs) == 1
    assert stage.grant().version == version + 1
    assert stage.accounts.looks == {}


def test_a_date_is_not_past_before_its_hour(stage: Stage) -> None:
    stage.link()
    stage.clock.now = DEADLINE - timedelta(minutes=1)

    assert run(stage).passed == 0
    assert stage.grant().status is Status.ACTIVE


def test_a_relink_in_the_same_moment_wins_over_a_passed_date(stage: Stage) -> None:
    account = stage.link()
    stage.clock.now = DEADLINE + timedelta(minutes=1)
    before = stage.grant()
    stage.link()

    assert not stage.accounts.end_at_deadline(before, now=stage.clock.now)
    assert run(stage) == Reminded(told=0, passed=0, unreadable=0, unfinished_shards=0)
    assert stage.grant().status is Status.ACTIVE
    assert account.id in stage.accounts.looks


# -- bounds ---------------------------------------------------------------------------------------


def link_many(stage: Stage, count: int) -> Sequence[Account]:
    return [
        stage.link(f"u_{number}", answer=samples.answer(open_id=f"open-{number}"))
        for number in range(count)
    ]


def test_a_run_that_is_out_of_time_leaves_the_rest_to_the_next(stage: Stage) -> None:
    link_many(stage, 40)
    stage.clock.now = DEADLINE - timedelta(days=30)
    stage.clock.ticks_seconds = 0.5

    first = run(stage, until=stage.clock.now + timedelta(seconds=20))
    stage.clock.ticks_seconds = 0
    second = run(stage)

    assert 0 < first.told < 40
    assert first.unfinished_shards > 0
    assert (second.told, second.unfinished_shards) == (40 - first.told, 0)


def test_a_run_reads_no_more_pages_than_it_may(stage: Stage) -> None:
    linked = stage.link("u_0")
    stage.clock.now = DEADLINE - timedelta(days=30)
    shared = [stage.link(f"u_{number}") for number in range(1, 900)]
    stage.accounts.looks |= {a.id: stage.clock.now.date() for a in [linked, *shared]}
    stage.happenings.forget()

    done = run(stage, most_pages=1)

    assert stage.calls.count("reminders.to_look_at") == 8
    assert done.unfinished_shards == 8


def test_an_account_that_cannot_be_read_waits_a_day_and_holds_up_nobody(stage: Stage) -> None:
    broken, healthy = link_many(stage, 2)
    stage.accounts.unreadable.add(broken.grant_id)
    stage.clock.now = DEADLINE - timedelta(days=30)

    done = run(stage)

    assert (done.told, done.unreadable) == (1, 1)
    assert told(stage, healthy) == Reminder(30, DEADLINE)
    tomorrow = stage.clock.now.date() + timedelta(days=1)
    assert stage.accounts.looks[broken.id] == tomorrow
    stage.accounts.unreadable.clear()
    stage.clock.advance(days=1)
    assert run(stage).told == 1


def test_a_day_on_which_nothing_is_due_costs_one_look_at_each_shard(stage: Stage) -> None:
    link_many(stage, 20)

    run(stage)

    assert stage.calls == ["reminders.to_look_at"] * 8


def test_a_year_of_one_account_costs_six_writes(stage: Stage) -> None:
    """One look before the thresholds, one for each of them, and the last."""
    account = stage.link()
    every_day(stage, account, 360)

    writes = [call for call in stage.calls if call.split(".")[1] in ("remind", "look_again")]
    assert len(writes) == 6


# -- days -----------------------------------------------------------------------------------------

DAYS = st.integers(min_value=-5, max_value=120)
LISTS = st.lists(st.integers(min_value=1, max_value=90), min_size=1, max_size=10)
HOURS = st.integers(min_value=0, max_value=23)


@given(left=DAYS, thresholds=LISTS, hour=HOURS)
def test_looks_go_forward_until_the_date_itself(
    left: int, thresholds: list[int], hour: int
) -> None:
    deadline = DEADLINE.replace(hour=hour)
    today = deadline.date() - timedelta(days=left)

    then = next_look(deadline, today, thresholds)

    assert then == deadline.date() or (then > today and (deadline.date() - then).days in thresholds)
    assert first_look(deadline) <= min(then, deadline.date() - timedelta(days=max(thresholds)))


@given(left=DAYS, thresholds=LISTS)
def test_the_nearest_threshold_is_told(left: int, thresholds: list[int]) -> None:
    today = DEADLINE.date() - timedelta(days=left)

    due = threshold_due(DEADLINE, today, thresholds)

    assert (due is None) == (left > max(thresholds))
    if due is not None:
        assert due >= left
        assert not [t for t in thresholds if left <= t < due]


def test_a_reminder_covers_the_farther_ones_of_its_day_alone() -> None:
    reminder = Reminder(14, DEADLINE)

    assert reminder.covers(14, DEADLINE)
    assert reminder.covers(30, DEADLINE + timedelta(hours=1))
    assert not reminder.covers(7, DEADLINE)
    assert not reminder.covers(14, DEADLINE + timedelta(days=1))
    assert replace(reminder, threshold_days=1).covers(1, DEADLINE)
