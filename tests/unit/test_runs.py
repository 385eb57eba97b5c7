"""Runs of the schedule: what a plan sends, and what a batch of it comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.fakes import samples
from tests.unit.stage import Stage
from tiktok_linking.accounts import Account, Status
from tiktok_linking.circuit import Circuit, Trouble
from tiktok_linking.errors import Misconfigured, StoreUnavailable, Unavailable
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.ports import Due, Outcome
from tiktok_linking.runs import MOST_WAITING, QUARANTINE_AFTER, work

GRANT = samples.GRANT_ID
REGISTRATION = samples.REGISTRATION


@pytest.fixture
def stage(stage: Stage) -> Stage:
    """One linked account whose access token ends in a minute."""
    stage.link()
    stage.clock.advance(hours=23, minutes=59)
    return stage


def many(stage: Stage, count: int) -> list[Account]:
    """More linked accounts, due one after the other since before now."""
    linked = []
    for number in range(count):
        account = stage.link(
            answer=samples.answer(open_id=f"open-{number}", issued_at=stage.clock.now)
        )
        linked.append(account)
    stage.clock.advance(days=7)
    stage.happenings.forget()
    return linked


def test_a_plan_sends_every_due_grant_once_and_no_other(stage: Stage) -> None:
    linked = many(stage, 25)
    stage.link(answer=samples.answer(open_id="fresh", issued_at=stage.clock.now))

    sent = stage.plan().sent

    expected = sorted([GRANT, *(account.grant_id for account in linked)])
    assert sent == 26
    assert sorted(stage.renewals.grant_ids) == expected
    assert max(len(batch) for batch in stage.renewals.batches) <= 10


def test_a_plan_with_nothing_due_sends_nothing(stage: Stage) -> None:
    assert stage.plan().sent == 0
    assert stage.renewals.batches == []


def test_a_plan_stops_in_time_and_leaves_the_rest_due(stage: Stage) -> None:
    many(stage, 25)

    sent = stage.plan(until=stage.clock.now).sent

    assert sent == 0
    assert "schedule.due" not in stage.calls


def test_a_plan_reads_a_bounded_number_of_pages(stage: Stage) -> None:
    many(stage, 25)

    stage.plan(most_pages=1)

    assert stage.calls.count("schedule.due") <= 8


def open_circuit(stage: Stage, trouble: Trouble = Trouble.UNAVAILABLE, *, minutes: int) -> None:
    stage.accounts.circuits[REGISTRATION] = Circuit(
        REGISTRATION,
        trouble=trouble,
        since=stage.clock.now,
        pauses_until=stage.clock.now + timedelta(minutes=minutes),
        strikes=1,
    )


def test_a_plan_goes_on_where_the_last_one_stopped(stage: Stage) -> None:
    """Grants that stay due, whatever for, never keep a bounded run from those behind them."""
    linked = [GRANT, *(account.grant_id for account in many(stage, 40))]
    stage.renewals.backlog = MOST_WAITING - 15
    first = stage.plan()
    sent = set(stage.renewals.grant_ids)

    while len(sent) < len(linked):
        before = len(sent)
        stage.plan()
        sent = set(stage.renewals.grant_ids)
        assert len(sent) > before

    assert 8 <= first.sent <= 16
    assert first.stopped_at
    assert sent == set(linked)


def test_a_plan_that_came_to_the_end_begins_anew(stage: Stage) -> None:
    many(stage, 25)
    stage.renewals.backlog = MOST_WAITING - 5
    stage.plan()
    stage.renewals.backlog = 0
    stage.plan()

    assert stage.schedule.stopped_at == {}
    assert stage.plan().sent == 26


def test_a_plan_writes_nothing_when_its_place_did_not_move(stage: Stage) -> None:
    stage.plan()

    assert "schedule.keep_plan" not in stage.calls


def test_a_plan_tells_the_oldest_slot_even_from_the_middle(stage: Stage) -> None:
    linked = [GRANT, *(account.grant_id for account in many(stage, 25))]
    oldest = min(slot for grant in linked if (slot := stage.grant(grant).due_at))
    stage.renewals.backlog = MOST_WAITING - 20
    stage.plan()

    assert stage.plan().oldest == oldest


def test_workers_that_are_behind_are_sent_no_more(stage: Stage) -> None:
    many(stage, 25)
    stage.renewals.backlog = MOST_WAITING

    assert stage.plan().sent == 0


def test_a_paused_registration_is_planned_nothing(stage: Stage) -> None:
    many(stage, 25)
    open_circuit(stage, minutes=5)

    planned = stage.plan()

    assert (planned.sent, planned.is_paused) == (0, True)


def test_after_the_pause_one_delivery_finds_out(stage: Stage) -> None:
    many(stage, 25)
    open_circuit(stage, minutes=5)
    stage.clock.advance(minutes=6)

    planned = stage.plan()

    assert 0 < planned.sent <= 10
    assert planned.is_paused
    assert stage.schedule.stopped_at == {}


def test_a_pause_of_one_registration_is_not_anothers(stage: Stage) -> None:
    many(stage, 5)
    open_circuit(stage, minutes=5)

    planned = stage.plan(registrations=(REGISTRATION, "sandbox"))

    assert (planned.sent, planned.is_paused) == (6, False)


def test_a_place_is_never_lost_to_a_pause(stage: Stage) -> None:
    many(stage, 25)
    stage.renewals.backlog = MOST_WAITING - 5
    stopped_at = dict(stage.plan().stopped_at)
    stage.renewals.backlog = 0
    open_circuit(stage, minutes=0)

    stage.plan()

    assert stage.schedule.stopped_at == stopped_at
    assert all(isinstance(place, Due) for place in stopped_at.values())


# -- a batch ------------------------------------------------------------------------------------


def batch(stage: Stage) -> list[str]:
    """Three due grants; the scripted TikTok answers for whoever asks."""
    linked = [account.grant_id for account in many(stage, 3)]

    def answer_for(number: int) -> Callable[[], TokenAnswer]:
        def answer() -> TokenAnswer:
            return samples.answer(open_id=f"open-{number}", issued_at=stage.clock.now)

        return answer

    answers = {stage.refresh_token(grant): answer_for(n) for n, grant in enumerate(linked)}

    def whose() -> TokenAnswer:
        return answers[stage.tiktok.sent[-1]]()

    stage.tiktok.answers.extend([whose] * 9)
    return linked


def test_a_batch_is_read_at_once_and_each_grant_renewed(stage: Stage) -> None:
    linked = batch(stage)

    worked = work(stage.renewal(), linked, deadline=stage.deadline())

    assert worked.outcomes == dict.fromkeys(linked, Outcome.RENEWED)
    assert worked.failed == ()
    assert stage.calls.count("grants.read_batch") == 1


def test_one_grants_broken_seal_is_not_anothers(stage: Stage) -> None:
    linked = batch(stage)
    stage.accounts.change(linked[1], pair=replace(stage.pair(linked[1]), refresh=b"broken"))

    worked = work(stage.renewal(), linked, deadline=stage.deadline())

    assert worked.failed == (linked[1],)
    assert set(worked.outcomes) == {linked[0], linked[2]}
    assert set(worked.outcomes.values()) == {Outcome.RENEWED}


def test_one_grants_failed_write_is_delivered_again_and_nothing_else(stage: Stage) -> None:
    linked = batch(stage)
    stage.happenings.before("grants.take_lease", StoreUnavailable("down"))

    worked = work(stage.renewal(), linked, deadline=stage.deadline())

    assert len(worked.failed) == 1
    assert len(worked.outcomes) == 2


def test_one_grants_defect_is_not_anothers(stage: Stage) -> None:
    """An account that breaks our code every time must not hold up the others of its batch."""
    linked = batch(stage)
    stage.happenings.before("sealing.open_refresh", KeyError("a defect of ours"))

    worked = work(stage.renewal(), linked, deadline=stage.deadline())

    assert len(worked.failed) == 1
    assert sorted(worked.outcomes.values()) == [Outcome.RENEWED] * 2


def test_a_refused_registration_flags_nobody_in_the_batch(stage: Stage) -> None:
    linked = batch(stage)
    stage.tiktok.answers.clear()
    stage.tiktok.answers.extend([Misconfigured("invalid_client")] * 9)

    worked = work(stage.renewal(), linked, deadline=stage.deadline())

    assert set(worked.outcomes.values()) == {Outcome.MISCONFIGURED}
    assert worked.failed == ()
    assert {stage.grant(grant).status for grant in linked} == {Status.ACTIVE}


def test_one_refusal_of_a_registration_is_enough_for_its_batch(stage: Stage) -> None:
    linked = batch(stage)
    stage.tiktok.answers.clear()
    stage.tiktok.answers.append(Misconfigured("unauthorized_client"))

    work(stage.renewal(), linked, deadline=stage.deadline())

    assert len(stage.tiktok.sent) == 1


def test_grants_that_are_gone_or_not_due_are_done(stage: Stage) -> None:
    worked = work(stage.renewal(), [GRANT, "x" * 24], deadline=stage.deadline())

    assert worked.outcomes == {GRANT: Outcome.FRESH}
    assert worked.failed == ()


def test_an_empty_batch_is_done(stage: Stage) -> None:
    worked = work(stage.renewal(), [], deadline=stage.deadline())

    assert (worked.outcomes, worked.failed) == ({}, ())


def test_a_poison_grant_is_tried_again_and_then_left_alone(stage: Stage) -> None:
    linked = batch(stage)
    stage.accounts.change(linked[1], pair=replace(stage.pair(linked[1]), refresh=b"broken"))

    for delivery in range(1, QUARANTINE_AFTER + 1):
        worked = work(
            stage.renewal(),
            [linked[1]],
            deadline=stage.deadline(),
            deliveries={linked[1]: delivery},
        )
        is_last = delivery == QUARANTINE_AFTER
        assert worked.failed == (() if is_last else (linked[1],))
        assert worked.quarantined == ((linked[1],) if is_last else ())

    grant = stage.grant(linked[1])
    assert (grant.due_at, grant.status, grant.last_error) == (None, Status.ACTIVE, "quarantined")


def test_a_record_that_cannot_be_read_harms_no_other(stage: Stage) -> None:
    linked = batch(stage)
    stage.accounts.unreadable.add(linked[0])

    worked = work(stage.renewal(), linked, deadline=stage.deadline(), deliveries={linked[0]: 1})

    assert worked.failed == (linked[0],)
    assert set(worked.outcomes.values()) == {Outcome.RENEWED}


def test_a_record_that_stays_unreadable_is_quarantined(stage: Stage) -> None:
    linked = batch(stage)
    stage.accounts.unreadable.add(linked[0])
    deliveries = {linked[0]: QUARANTINE_AFTER}

    worked = work(stage.renewal(), linked, deadline=stage.deadline(), deliveries=deliveries)

    assert (worked.failed, worked.quarantined) == ((), (linked[0],))


def test_a_store_that_is_away_quarantines_nobody(stage: Stage) -> None:
    linked = batch(stage)
    stage.happenings.before("grants.take_lease", *[StoreUnavailable("down")] * 3)

    worked = work(
        stage.renewal(), linked, deadline=stage.deadline(), deliveries=dict.fromkeys(linked, 9)
    )

    assert sorted(worked.failed) == sorted(linked)
    assert worked.quarantined == ()


def test_a_quarantine_that_cannot_be_written_is_delivered_again(stage: Stage) -> None:
    linked = batch(stage)
    stage.accounts.unreadable.add(linked[0])
    stage.happenings.before("grants.quarantine", StoreUnavailable("down"))

    worked = work(stage.renewal(), linked, deadline=stage.deadline(), deliveries={linked[0]: 9})

    assert worked.failed == (linked[0],)


def test_one_malformed_request_does_not_stop_the_others(stage: Stage) -> None:
    """invalid_request can be one account's own: it takes two in a row to blame the registration."""
    linked = batch(stage)
    answers = list(stage.tiktok.answers)
    stage.tiktok.answers.clear()
    stage.tiktok.answers.extend([Misconfigured("invalid_request"), *answers])

    worked = work(stage.renewal(), linked, deadline=stage.deadline())

    assert sorted(worked.outcomes.values()) == [
        Outcome.MISCONFIGURED,
        Outcome.RENEWED,
        Outcome.RENEWED,
    ]


def test_requests_that_all_look_malformed_stop_the_run(stage: Stage) -> None:
    linked = [account.grant_id for account in many(stage, 9)]
    stage.tiktok.answers.extend([Misconfigured("invalid_request")] * 9)
    work(stage.renewal(), linked, deadline=stage.deadline())
    sent = len(stage.tiktok.sent)

    worked = work(stage.renewal(), linked, deadline=stage.deadline())

    assert len(stage.tiktok.sent) == sent
    assert set(worked.outcomes.values()) == {Outcome.MISCONFIGURED}


def test_a_tiktok_that_is_down_is_left_alone_by_every_worker(stage: Stage) -> None:
    linked = [account.grant_id for account in many(stage, 20)]
    stage.tiktok.answers.extend([Unavailable("server_error", may_have_acted=True)] * 20)
    work(stage.renewal(), linked[:10], deadline=stage.deadline())
    sent = len(stage.tiktok.sent)

    worked = work(stage.renewal(), linked[10:], deadline=stage.deadline())  # another worker

    assert len(stage.tiktok.sent) == sent <= 10
    assert set(worked.outcomes.values()) == {Outcome.PROVIDER_UNAVAILABLE}
    assert all(stage.grant(grant).last_error is None for grant in linked[10:])
