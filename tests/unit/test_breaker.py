"""The breaker: a TikTok that is down is not asked once for each account."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.fakes import samples
from tests.unit.stage import Stage
from tiktok_linking.accounts import Status
from tiktok_linking.circuit import FIRST_PAUSE, LONGEST_PAUSE, Circuit, Trouble, pause_after
from tiktok_linking.errors import (
    Misconfigured,
    NoAnswer,
    ProviderError,
    Refused,
    StoreUnavailable,
    Unavailable,
)
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.ports import Due, Outcome, RenewalReport
from tiktok_linking.renewal import Ask, Renewal

NEEDED = Ask(min_ttl=timedelta(minutes=5))
DOWN = Unavailable("server_error", may_have_acted=True)
REGISTRATION = samples.REGISTRATION


@pytest.fixture
def stage(stage: Stage) -> Stage:
    """Ten linked accounts whose access tokens have expired."""
    for number in range(10):
        stage.link(answer=samples.answer(open_id=f"open-{number}", issued_at=stage.clock.now))
    stage.clock.advance(days=1)
    return stage


@pytest.fixture
def grants(stage: Stage) -> list[str]:
    """Their ids."""
    return [due.grant_id for shard in range(8) for due in _all(stage, shard)]


def _all(stage: Stage, shard: int) -> list[Due]:
    return stage.accounts.due_grants(shard, now=stage.clock.now + timedelta(days=30))


def renew(stage: Stage, worker: Renewal, grant: str) -> RenewalReport:
    return worker.renew(grant, NEEDED, deadline=stage.deadline())


def answer_for(stage: Stage, grant: str) -> Callable[[], TokenAnswer]:
    open_id = stage.grant(grant).open_id
    return lambda: samples.answer(open_id=open_id, issued_at=stage.clock.now)


def fail(stage: Stage, worker: Renewal, grants: list[str], error: ProviderError = DOWN) -> None:
    """Five renewals in a row that TikTok does not serve."""
    for grant in grants[:5]:
        stage.tiktok.answers.append(error)
        renew(stage, worker, grant)


def circuit(stage: Stage) -> Circuit:
    return stage.accounts.circuits.get(REGISTRATION, Circuit(REGISTRATION))


def test_five_failures_in_a_row_stop_everybody(stage: Stage, grants: list[str]) -> None:
    fail(stage, stage.renewal(), grants)

    report = renew(stage, stage.renewal(), grants[6])

    assert report.outcome is Outcome.PROVIDER_UNAVAILABLE
    assert report.retry_after is not None
    assert report.retry_after <= FIRST_PAUSE.total_seconds() + 1
    assert len(stage.tiktok.sent) == 5
    assert circuit(stage).trouble is Trouble.UNAVAILABLE


def test_four_failures_stop_nobody(stage: Stage, grants: list[str]) -> None:
    fail(stage, stage.renewal(), grants[:4])

    assert circuit(stage).trouble is None


def test_a_success_in_between_begins_the_count_anew(stage: Stage, grants: list[str]) -> None:
    worker = stage.renewal()
    fail(stage, worker, grants[:4])
    stage.tiktok.answers.append(answer_for(stage, grants[9]))
    renew(stage, worker, grants[9])

    fail(stage, worker, grants[4:8])

    assert circuit(stage).trouble is None


def test_a_definite_no_to_one_account_shows_that_tiktok_is_up(
    stage: Stage, grants: list[str]
) -> None:
    worker = stage.renewal()
    fail(stage, worker, grants[:4])
    stage.tiktok.answers.append(Refused("invalid_grant"))
    renew(stage, worker, grants[9])

    fail(stage, worker, grants[4:8])

    assert circuit(stage).trouble is None


def test_an_open_circuit_changes_no_account(stage: Stage, grants: list[str]) -> None:
    fail(stage, stage.renewal(), grants)
    before = stage.grant(grants[6])
    stage.happenings.forget()

    renew(stage, stage.renewal(), grants[6])

    assert stage.grant(grants[6]) == before
    assert "tiktok.refresh" not in stage.calls
    assert "grants.take_lease" not in stage.calls


def test_a_closed_circuit_costs_no_call(stage: Stage, grants: list[str]) -> None:
    stage.tiktok.answers.append(answer_for(stage, grants[0]))

    renew(stage, stage.renewal(), grants[0])

    assert not [call for call in stage.calls if call.startswith("circuits.")]
    assert stage.calls.count("grants.read_batch") == 1


def test_after_the_pause_one_renewal_asks_and_closes(stage: Stage, grants: list[str]) -> None:
    fail(stage, stage.renewal(), grants)
    stage.clock.advance(minutes=1)
    stage.tiktok.answers.append(answer_for(stage, grants[6]))

    assert renew(stage, stage.renewal(), grants[6]).outcome is Outcome.RENEWED
    assert circuit(stage) == Circuit(REGISTRATION)
    stage.tiktok.answers.append(answer_for(stage, grants[7]))
    assert renew(stage, stage.renewal(), grants[7]).outcome is Outcome.RENEWED


def test_while_one_asks_the_others_wait(stage: Stage, grants: list[str]) -> None:
    fail(stage, stage.renewal(), grants)
    stage.clock.advance(minutes=1)
    reports = []

    def meanwhile() -> None:
        reports.append(renew(stage, stage.renewal(), grants[7]))

    stage.happenings.before("tiktok.refresh", meanwhile)
    stage.tiktok.answers.append(answer_for(stage, grants[6]))

    assert renew(stage, stage.renewal(), grants[6]).outcome is Outcome.RENEWED
    assert [report.outcome for report in reports] == [Outcome.PROVIDER_UNAVAILABLE]
    assert len(stage.tiktok.sent) == 6


def test_a_probe_that_fails_opens_for_longer(stage: Stage, grants: list[str]) -> None:
    stage.luck = 1.0
    fail(stage, stage.renewal(), grants)
    stage.clock.advance(minutes=1)
    stage.tiktok.answers.append(DOWN)

    renew(stage, stage.renewal(), grants[6])

    opened = circuit(stage)
    assert opened.strikes == 2
    assert opened.pauses_until == stage.clock.now + 2 * FIRST_PAUSE
    assert opened.since == stage.clock.now - timedelta(minutes=1)


def test_a_probe_that_died_is_forgotten(stage: Stage, grants: list[str]) -> None:
    fail(stage, stage.renewal(), grants)
    stage.clock.advance(minutes=1)
    stage.schedule.take_probe(
        REGISTRATION,
        owner="dead",
        until=stage.clock.now + timedelta(seconds=35),
        now=stage.clock.now,
    )
    waits = renew(stage, stage.renewal(), grants[6])
    stage.clock.advance(seconds=35)
    stage.tiktok.answers.append(answer_for(stage, grants[6]))

    assert waits == RenewalReport(Outcome.PROVIDER_UNAVAILABLE, retry_after=36)
    assert renew(stage, stage.renewal(), grants[6]).outcome is Outcome.RENEWED


def test_a_probe_that_cannot_be_taken_sends_nothing(stage: Stage, grants: list[str]) -> None:
    fail(stage, stage.renewal(), grants)
    stage.clock.advance(minutes=1)
    stage.happenings.before("circuits.take_probe", StoreUnavailable("down"))

    with pytest.raises(StoreUnavailable):
        renew(stage, stage.renewal(), grants[6])

    assert len(stage.tiktok.sent) == 5


@pytest.mark.parametrize("call", ["circuits.open", "circuits.close"])
def test_a_breaker_that_cannot_write_costs_no_renewal(
    stage: Stage, grants: list[str], call: str
) -> None:
    stage.happenings.before(call, StoreUnavailable("down"))
    fail(stage, stage.renewal(), grants)
    stage.clock.advance(minutes=1)
    stage.tiktok.answers.append(answer_for(stage, grants[6]))

    assert renew(stage, stage.renewal(), grants[6]).outcome is Outcome.RENEWED


def test_the_breaker_comes_after_the_save(stage: Stage, grants: list[str]) -> None:
    fail(stage, stage.renewal(), grants)
    stage.clock.advance(minutes=1)
    stage.happenings.forget()
    stage.tiktok.answers.append(answer_for(stage, grants[6]))

    renew(stage, stage.renewal(), grants[6])

    calls = stage.calls
    assert calls.index("circuits.take_probe") < calls.index("grants.take_lease")
    assert calls.index("circuits.close") > calls.index("grants.save_renewed")


def test_a_refused_registration_stops_the_schedule_at_once_and_is_said_once(
    stage: Stage, grants: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    stage.clock.advance(days=7)
    stage.tiktok.answers.append(Misconfigured("invalid_client"))
    for grant in grants:
        report = stage.renewal().renew(grant, Ask(scheduled=True), deadline=stage.deadline())
        assert report.outcome is Outcome.MISCONFIGURED

    assert len(stage.tiktok.sent) == 1
    said = [record.message for record in caplog.records]
    assert said.count("app registration refused") == 1
    assert {stage.grant(grant).status for grant in grants} == {Status.ACTIVE}
    assert {stage.grant(grant).failing_since for grant in grants} == {None}


def test_a_mended_registration_serves_the_next_request_at_once(
    stage: Stage, grants: list[str]
) -> None:
    """Nobody who mended a secret should have to wait for a pause that the schedule takes."""
    stage.tiktok.answers.append(Misconfigured("invalid_client"))
    renew(stage, stage.renewal(), grants[0])
    stage.credentials.secrets = ("mended",)
    stage.tiktok.answers.append(answer_for(stage, grants[0]))

    assert renew(stage, stage.renewal(), grants[0]).outcome is Outcome.RENEWED
    assert circuit(stage).trouble is None


def test_requests_for_a_refused_registration_are_said_once(
    stage: Stage, grants: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    stage.tiktok.answers.extend([Misconfigured("invalid_client")] * 5)
    for grant in grants[:5]:
        renew(stage, stage.renewal(), grant)

    said = [record.message for record in caplog.records]
    assert said.count("app registration refused") == 1


def test_one_silent_renewal_counts_once_however_often_it_was_sent(
    stage: Stage, grants: list[str]
) -> None:
    stage.tiktok.answers.extend([NoAnswer()] * 3)

    renew(stage, stage.renewal(), grants[0])

    assert len(stage.tiktok.sent) == 3
    assert circuit(stage).trouble is None


@pytest.mark.parametrize(
    ("strikes", "chance", "seconds"),
    [(0, 0.0, 15), (0, 1.0, 30), (1, 1.0, 60), (3, 0.5, 180), (4, 1.0, 300), (99, 1.0, 300)],
)
def test_pauses_double_with_jitter_up_to_five_minutes(
    strikes: int, chance: float, seconds: float
) -> None:
    pause = pause_after(strikes, chance=chance, retry_after=None)

    assert pause == timedelta(seconds=seconds) <= LONGEST_PAUSE


def test_a_pause_is_at_least_what_tiktok_asked_for() -> None:
    assert pause_after(0, chance=0.0, retry_after=900) == timedelta(seconds=900)
