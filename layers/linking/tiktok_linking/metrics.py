"""What the stack counts: CloudWatch metrics in the embedded format, never one for each account.

Each record is one JSON line on standard output, which CloudWatch turns into metrics without a call
of ours. Names and dimensions are listed in docs/operations.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from tiktok_linking.ports import Outcome, RenewalReport, Saved
from tiktok_linking.reminding import Reminded
from tiktok_linking.runs import Planned

_A_DAY = timedelta(days=1)
_Values = Mapping[str, tuple[MetricUnit, Sequence[float]]]


def renewals(reports: Sequence[RenewalReport], *, quarantined: int = 0) -> None:
    """Count renewals by outcome, losers of a race, and how often accounts rotate.

    ``RotationsPerAccountPerDay`` has one value for each renewal: how many there would be in a day
    at the pace since the renewal before it. Its average is that of the accounts that are renewed.
    """
    outcomes = [report.outcome for report in reports]
    for outcome in sorted(set(outcomes)):
        _emit({"Renewals": (MetricUnit.Count, [outcomes.count(outcome)])}, outcome=outcome.value)
    paces = [
        _A_DAY / max(report.replaced_after, timedelta(seconds=1))
        for report in reports
        if report.replaced_after is not None
    ]
    _emit(
        {
            "LeaseContention": (MetricUnit.Count, [outcomes.count(Outcome.IN_PROGRESS)]),
            "GrantsQuarantined": (MetricUnit.Count, [quarantined]),
            "GrantsLost": (MetricUnit.Count, [sum(report.is_lost for report in reports)]),
            "RotationsPerAccountPerDay": (MetricUnit.NoUnit, paces),
        }
    )


def planned(plan: Planned, *, rescue_waiting: int | None, now: datetime) -> None:
    """Tell how far behind the schedule is, and what keeps it."""
    overdue = timedelta(0) if plan.oldest is None else now - plan.oldest
    values: dict[str, tuple[MetricUnit, Sequence[float]]] = {
        "RenewalsPlanned": (MetricUnit.Count, [plan.sent]),
        "OldestOverdueSeconds": (MetricUnit.Seconds, [max(0.0, overdue.total_seconds())]),
        "CircuitsOpen": (
            MetricUnit.Count,
            [sum(circuit.trouble is not None for circuit in plan.circuits.values())],
        ),
    }
    if rescue_waiting is not None:
        values["RescueDepth"] = (MetricUnit.Count, [rescue_waiting])
    _emit(values)


def reminded(run: Reminded) -> None:
    """Count what the team was told of deadlines, and whether a run came to its end."""
    _emit(
        {
            "RemindersTold": (MetricUnit.Count, [run.told]),
            "DeadlinesPassed": (MetricUnit.Count, [run.passed]),
            "ReminderShardsUnfinished": (MetricUnit.Count, [run.unfinished_shards]),
        }
    )


def rescued(saved: Sequence[Saved], *, failed: int) -> None:
    """Count pairs that came through the rescue queue."""
    _emit(
        {
            "PairsRescued": (MetricUnit.Count, [len(saved)]),
            "PairsNotRescued": (MetricUnit.Count, [failed]),
        }
    )


def denied() -> None:
    """Count a call that AWS denied, of whichever function: one alarm watches them all."""
    _emit({"AccessDenied": (MetricUnit.Count, [1])}, service="stack")


def _emit(values: _Values, **dimensions: str) -> None:
    """Print one record. The namespace comes from the environment, one for each stack."""
    metrics = EphemeralMetrics()
    for name, value in dimensions.items():
        metrics.add_dimension(name, value)
    for name, (unit, numbers) in values.items():
        for number in numbers:
            metrics.add_metric(name, unit, number)
    metrics.flush_metrics()
