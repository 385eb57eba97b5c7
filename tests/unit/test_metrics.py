"""Metrics: what is counted, in CloudWatch's embedded format, and never for one account."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.fakes import samples
from tests.fakes.clock import NOON
from tiktok_linking import metrics
from tiktok_linking.circuit import Circuit, Trouble
from tiktok_linking.ports import Outcome, RenewalReport, Saved
from tiktok_linking.runs import Planned

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "TikTokLink/test")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "refresh")


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    def read() -> list[Json]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return read


def definition(record: Json) -> Json:
    (found,) = record["_aws"]["CloudWatchMetrics"]
    return dict(found)


def test_renewals_are_counted_by_outcome(printed: Any) -> None:
    renewed = RenewalReport(Outcome.RENEWED, replaced_after=timedelta(hours=2))
    busy = RenewalReport(Outcome.IN_PROGRESS, retry_after=3)

    metrics.renewals([renewed, renewed, busy], quarantined=1)

    records = printed()
    by_outcome = {r["outcome"]: r["Renewals"] for r in records if "outcome" in r}
    assert by_outcome == {"renewed": [2.0], "refresh_in_progress": [1.0]}
    assert {definition(record)["Namespace"] for record in records} == {"TikTokLink/test"}
    assert records[0]["service"] == "refresh"
    last = records[-1]
    assert last["LeaseContention"] == [1.0]
    assert last["GrantsQuarantined"] == [1.0]
    assert last["RotationsPerAccountPerDay"] == [12.0, 12.0]


def test_a_loss_is_counted_apart_from_a_link_that_its_owner_ended(printed: Any) -> None:
    lost = RenewalReport(Outcome.RELINK_REQUIRED, is_lost=True)
    ended = RenewalReport(Outcome.RELINK_REQUIRED)

    metrics.renewals([lost, ended])

    assert printed()[-1]["GrantsLost"] == [1.0]


def test_a_batch_without_a_renewal_has_no_pace(printed: Any) -> None:
    metrics.renewals([RenewalReport(Outcome.FRESH)])

    assert "RotationsPerAccountPerDay" not in printed()[-1]


def test_two_renewals_in_one_moment_have_a_pace(printed: Any) -> None:
    metrics.renewals([RenewalReport(Outcome.RENEWED, replaced_after=timedelta(0))])

    assert printed()[-1]["RotationsPerAccountPerDay"] == [86_400.0]


def plan(**facts: Any) -> Planned:
    usual: Json = {
        "sent": 7,
        "pages": 8,
        "oldest": NOON - timedelta(minutes=9),
        "stopped_at": {},
        "circuits": {},
        "is_paused": False,
    }
    return Planned(**usual | facts)


def test_a_plan_tells_how_far_behind_the_schedule_is(printed: Any) -> None:
    circuits = {
        "default": Circuit("default", trouble=Trouble.UNAVAILABLE),
        "sandbox": Circuit("sandbox"),
    }

    metrics.planned(plan(circuits=circuits), rescue_waiting=2, now=NOON)

    (record,) = printed()
    assert record["RenewalsPlanned"] == [7.0]
    assert record["OldestOverdueSeconds"] == [540.0]
    assert record["CircuitsOpen"] == [1.0]
    assert record["RescueDepth"] == [2.0]


def test_a_plan_with_nothing_due_is_not_behind(printed: Any) -> None:
    metrics.planned(plan(oldest=None), rescue_waiting=None, now=NOON)

    (record,) = printed()
    assert record["OldestOverdueSeconds"] == [0.0]
    assert "RescueDepth" not in record


def test_rescues_are_counted(printed: Any) -> None:
    metrics.rescued([Saved.STORED, Saved.NEWER], failed=1)

    (record,) = printed()
    assert (record["PairsRescued"], record["PairsNotRescued"]) == ([2.0], [1.0])


def test_no_metric_has_a_dimension_for_an_account(printed: Any) -> None:
    metrics.renewals([RenewalReport(outcome) for outcome in Outcome])
    metrics.planned(plan(), rescue_waiting=0, now=NOON)
    metrics.rescued([Saved.STORED], failed=0)
    metrics.denied()

    records = printed()
    dimensions = {name for r in records for names in definition(r)["Dimensions"] for name in names}
    assert dimensions == {"service", "outcome"}
    assert samples.GRANT_ID not in json.dumps(records)
