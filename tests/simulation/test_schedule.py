"""The schedule over the whole life of a link: who is renewed when, how often, and who never is.

200 days with 2-hour tokens and a deadline after 180 days, and 400 days with 24-hour tokens and one
after 365: TikTok's newest figures and its older ones; each with a deadline that is fixed and with
one that every refresh moves. ``artifacts/rotations.md`` has the rotations that were counted.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.cost.files import read
from tests.fakes import samples
from tests.fakes.rotating_tiktok import Rules
from tests.simulation.months import LATEST_DELIVERY, NO_SCHEDULE_FOR, Months, Renewed, Resident, Use
from tiktok_linking.accounts import RefreshMode, Status
from tiktok_linking.directory import account
from tiktok_linking.schedule import RenewalPolicy, renewal_floor, slot_of

AUTO, ALWAYS, ON_DEMAND = RefreshMode.AUTO, RefreshMode.ALWAYS, RefreshMode.ON_DEMAND
WEEK = RenewalPolicy().health_check
LATENESS = NO_SCHEDULE_FOR + LATEST_DELIVERY + timedelta(minutes=30)
"""By how much the disturbances of ``Months`` can put a renewal off."""

LATE = timedelta(days=40)
Kind = tuple[RefreshMode, Use]

ALL_DAY: list[Kind] = [(AUTO, Use.ALL_DAY), (ON_DEMAND, Use.ALL_DAY)]
POPULATION: list[Kind] = [
    *ALL_DAY,
    (AUTO, Use.OFFICE_HOURS),
    (AUTO, Use.WEEKLY),
    (AUTO, Use.NEVER),
    (ALWAYS, Use.NEVER),
    (ON_DEMAND, Use.OFFICE_HOURS),
    (ON_DEMAND, Use.WEEKLY),
    (ON_DEMAND, Use.NEVER),
]

# Least and most rotations per account and day: with 2-hour tokens, and with 24-hour ones.
BOUNDS: dict[Kind, tuple[tuple[float, float], tuple[float, float]]] = {
    # Warm without an end: one renewal in 65 % to 85 % of a token's life.
    (AUTO, Use.ALL_DAY): ((14.0, 17.0), (1.2, 1.45)),
    (ALWAYS, Use.NEVER): ((14.0, 17.0), (1.2, 1.45)),
    # Cold from Saturday's night to Monday's first use.
    (AUTO, Use.OFFICE_HOURS): ((11.0, 14.0), (1.0, 1.3)),
    # Warm for WarmForHours and the six hours by which the mark may be late, then a health check.
    (AUTO, Use.WEEKLY): ((2.2, 3.2), (0.25, 0.35)),
    (AUTO, Use.NEVER): ((1 / 7.2, 1 / 6.3), (1 / 7.2, 1 / 6.3)),
    # One renewal when a token is asked for and too little of its life is left.
    (ON_DEMAND, Use.ALL_DAY): ((8.0, 12.0), (0.9, 1.05)),
    (ON_DEMAND, Use.OFFICE_HOURS): ((2.0, 4.0), (0.6, 0.8)),
    (ON_DEMAND, Use.WEEKLY): ((0.12, 0.16), (0.12, 0.16)),
    (ON_DEMAND, Use.NEVER): ((0.0, 0.0), (0.0, 0.0)),
}


@dataclass(frozen=True)
class Case:
    """One TikTok, and for how long it is watched."""

    access_hours: int
    refresh_days: int
    is_sliding: bool

    def __str__(self) -> str:
        deadline = "sliding" if self.is_sliding else "fixed"
        return f"{self.access_hours} h, {self.refresh_days} days {deadline}"

    @property
    def rules(self) -> Rules:
        return Rules(
            access_for=timedelta(hours=self.access_hours),
            refresh_for=timedelta(days=self.refresh_days),
            is_sliding=self.is_sliding,
        )

    @property
    def watched_for(self) -> timedelta:
        return timedelta(days=200 if self.refresh_days == 180 else 400)


CASES = [Case(2, 180, False), Case(2, 180, True), Case(24, 365, False), Case(24, 365, True)]
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def bounds(case: Case, kind: Kind) -> tuple[float, float]:
    return BOUNDS[kind][0 if case.access_hours == 2 else 1]


@functools.cache
def months(case: Case) -> Months:
    """The whole life of a population; lived once for all tests."""
    lived = Months(case.rules)
    early, late = residents(case)
    for mode, use in early:
        lived.move_in(mode, use)
        lived.clock.advance(minutes=1)
    lived.live(case.watched_for - LATE)
    for mode, use in late:
        lived.move_in(mode, use)
    lived.live(LATE)
    return lived


def residents(case: Case) -> tuple[list[Kind], list[Kind]]:
    """Who is there from the first day, and who comes for the last weeks.

    Of those who are renewed all day, one from the first day is enough. A moving deadline shows on
    those who are seldom renewed.
    """
    often = [kind for kind in POPULATION if bounds(case, kind)[0] > 5]
    if case.is_sliding:
        return [kind for kind in POPULATION if kind not in (*often, *ALL_DAY)], []
    late = [kind for kind in often if kind not in ALL_DAY]
    return [kind for kind in POPULATION if kind not in late], late


def renewals(lived: Months, resident: Resident) -> list[Renewed]:
    return lived.record.renewals[resident.open_id]


def deadline(lived: Months, resident: Resident) -> datetime:
    """TikTok's own date."""
    latest = lived.tiktok.latest(resident.open_id)
    assert latest is not None
    return latest.deadline


def linked_for(lived: Months, resident: Resident) -> timedelta:
    """How long the account could be renewed."""
    return min(deadline(lived, resident), lived.clock.now) - resident.linked_at


def per_day(lived: Months, resident: Resident) -> float:
    count = len(renewals(lived, resident))
    return count / (linked_for(lived, resident) / timedelta(days=1))


def busiest_day(renewed: Iterable[Renewed]) -> int:
    return max(Counter(one.at.date() for one in renewed).values(), default=0)


@every_case
def test_every_token_handed_out_lives_as_long_as_was_asked(case: Case) -> None:
    lived = months(case)

    assert sum(lived.record.vends.values()) > 100
    assert lived.record.short_vends == []


@every_case
def test_nothing_is_renewed_twice_for_one_due_time(case: Case) -> None:
    """Runs of the schedule come twice, late and together; each pair is spent once all the same."""
    lived = months(case)
    life = case.rules.access_for

    assert all(sent.was_live for sent in lived.tiktok.sent)
    assert len({sent.token for sent in lived.tiktok.sent}) == len(lived.tiktok.sent)
    planned = [r for p in lived.residents for r in renewals(lived, p) if r.cause == "schedule"]
    assert planned
    assert all(renewed.age >= life * 0.65 for renewed in planned)


@every_case
def test_the_schedule_was_disturbed_in_every_way(case: Case) -> None:
    """Else the test above proves little."""
    assert {
        "silent",
        "skipped",
        "doubled",
        "late again",
        "delivered late",
        "delivered twice",
        "two workers at once",
    } <= set(months(case).record.runs)


@every_case
def test_rotations_per_account_and_day_stay_within_their_bounds(case: Case) -> None:
    lived = months(case)

    for resident in lived.residents:
        least, most = bounds(case, (resident.mode, resident.use))
        rate = per_day(lived, resident)
        assert least <= rate <= most, f"{resident.mode}, {resident.use}: {rate:.2f}"


@pytest.mark.parametrize("case", [case for case in CASES if not case.is_sliding], ids=str)
def test_the_cost_model_counts_with_these_rotations(case: Case) -> None:
    """benchmarks/cost/rotations.toml, by which `make cost` computes a month."""
    lived = months(case)
    written = read("rotations")[f"{case.access_hours} h"]

    for resident in lived.residents:
        days = linked_for(lived, resident) / timedelta(days=1)
        causes = Counter(renewed.cause for renewed in renewals(lived, resident))
        counted = {
            "scheduled": causes["schedule"] / days,
            "asked": causes["vend"] / days,
            "vends": lived.record.vends[resident.open_id] / days,
        }
        assert written[resident.mode][resident.use] == pytest.approx(counted, rel=0.03, abs=0.01), (
            resident.mode,
            resident.use,
        )


@every_case
def test_no_pair_is_spent_before_the_floor(case: Case) -> None:
    lived = months(case)
    life = case.rules.access_for
    floor = renewal_floor(lived.clock.now, lived.clock.now + life)

    ages = [renewed.age for p in lived.residents for renewed in renewals(lived, p)]
    assert floor == timedelta(minutes=10)
    assert min(ages) >= floor


@every_case
def test_nothing_is_sent_once_only_the_owner_can_help(case: Case) -> None:
    lived = months(case)

    for resident in lived.residents:
        until = deadline(lived, resident)
        assert all(renewed.at < until for renewed in renewals(lived, resident))


@every_case
def test_the_owner_is_asked_at_tiktoks_deadline_and_at_no_other_time(case: Case) -> None:
    lived = months(case)
    now = lived.clock.now

    for resident in lived.residents:
        until = deadline(lived, resident)
        shown = account(lived.stage.accounts, resident.account.id, caller=samples.BACKEND)
        is_over = until <= now
        assert is_over or shown.status(now) is Status.ACTIVE
        assert not is_over or shown.status(now) is Status.RELINK_REQUIRED
        assert not is_over or shown.grant.reason_at(now) == "refresh_token_expired"
        assert lived.record.relinks.get(resident.open_id, until) >= until


@every_case
def test_a_deadline_is_met_by_those_it_concerns(case: Case) -> None:
    """A moving one is outlived by all who are renewed, be it by a weekly health check."""
    lived = months(case)
    over = {
        (resident.mode, resident.use)
        for resident in lived.residents
        if deadline(lived, resident) <= lived.clock.now
    }

    early, _ = residents(case)
    assert over == ({(ON_DEMAND, Use.NEVER)} if case.is_sliding else set(early))


@every_case
def test_an_idle_account_has_its_health_check_every_week(case: Case) -> None:
    lived = months(case)
    [idle] = [p for p in lived.residents if (p.mode, p.use) == (AUTO, Use.NEVER)]
    checks = renewals(lived, idle)

    assert all(WEEK * 0.9 <= check.age <= WEEK + LATENESS for check in checks)
    until = min(deadline(lived, idle), lived.clock.now)
    assert until - checks[-1].at <= WEEK + LATENESS


def test_only_a_refused_token_is_renewed_sooner_than_the_floor() -> None:
    """And that at most once a minute."""
    lived = Months(CASES[0].rules)
    resident = lived.move_in(AUTO, Use.REJECTING)

    lived.live(timedelta(days=20))

    early = [r for r in renewals(lived, resident) if r.age < timedelta(minutes=10)]
    assert {renewed.cause for renewed in early} == {"rejected"}
    assert min(renewed.age for renewed in early) >= timedelta(minutes=1)
    assert lived.record.short_vends == []


@pytest.mark.parametrize(
    ("access_hours", "mode", "days", "most"),
    [
        (2, ALWAYS, 0.2, 0.30),  # 24 minutes to spread over: five slots
        (2, ALWAYS, 0.6, 0.15),  # drawn anew with each pair, so they drift apart
        (24, ALWAYS, 1.2, 0.06),
        (24, AUTO, 8.0, 0.04),
    ],
)
def test_accounts_linked_in_the_same_second_are_renewed_at_different_times(
    access_hours: int, mode: RefreshMode, days: float, most: float
) -> None:
    """The busiest five minutes hold a bounded share of a crowd's last renewals."""
    crowd = 200
    lived = Months(Rules(access_for=timedelta(hours=access_hours)), is_disturbed=False)
    for _ in range(crowd):
        lived.move_in(mode)

    lived.live(timedelta(days=days))

    last = [renewals(lived, resident)[-1].at for resident in lived.residents]
    assert max(Counter(map(slot_of, last)).values()) <= crowd * most


def test_the_rotations_are_written_down() -> None:
    """The numbers of the documentation, as a table."""
    columns = [f"{case}: a day (busiest)" for case in CASES]
    lines = [
        "| refresh_mode | used | " + " | ".join(columns) + " |",
        "|---|---|" + "---:|" * len(columns),
    ]
    for mode, use in POPULATION:
        cells = []
        for case in CASES:
            lived = months(case)
            rows = [p for p in lived.residents if (p.mode, p.use) == (mode, use)]
            cells += [
                f"{per_day(lived, p):.2f} ({busiest_day(renewals(lived, p))})" for p in rows
            ] or ["—"]
        lines.append(f"| {mode} | {use} | " + " | ".join(cells) + " |")
    for case in CASES:
        lived = months(case)
        looks = lived.record.planned / sum(
            1 for p in lived.residents for r in renewals(lived, p) if r.cause == "schedule"
        )
        lines.append(f"\n{case}: {looks:.2f} ids queued for each renewal by the schedule.")
    table = "\n".join(lines) + "\n"

    artifacts = Path(__file__).resolve().parents[2] / "artifacts"
    artifacts.mkdir(exist_ok=True)
    (artifacts / "rotations.md").write_text(table)
    print("\n" + table)

    assert table.count("\n| ") >= len(POPULATION)
