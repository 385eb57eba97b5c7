"""A part of the crash sweep on every run; `make faults` is the whole of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from local.testing import running_world
from tests.faults.sweep import SINGLE, Case, Sweep


@pytest.fixture(scope="module")
def sweep() -> Iterator[Sweep]:
    """A strict TikTok: a forgiving one would let careless code pass."""
    with running_world(SCOPES_OPTIONAL="") as world:
        yield Sweep(world, "strict")


def one_fault_a_call(cases: Sequence[Case], shift: int) -> list[Case]:
    """Of each call's faults one, another for the next call, so that all kinds come up."""
    places = list(dict.fromkeys(case.place for case in cases))
    return [
        next(
            case
            for case in cases
            if case.place == place and case.kind == SINGLE[(number + shift) % len(SINGLE)]
        )
        for number, place in enumerate(places)
    ]


def wrong_ends(sweep: Sweep, cases: Sequence[Case]) -> list[str]:
    verdicts = [sweep.run(case) for case in cases]
    return [
        f"{v.case.scenario}, {v.case.kind} at {v.case.place}: {v.outcome} {v.detail}"
        for v in verdicts
        if not v.is_right
    ]


@pytest.mark.parametrize("shift", [0, 3])
def test_a_fault_in_a_renewal_loses_no_link(sweep: Sweep, shift: int) -> None:
    cases = list(sweep.renewal_cases(cold=True))

    assert wrong_ends(sweep, one_fault_a_call(cases, shift)) == []


def test_every_fault_at_tiktoks_answer_and_at_the_save_ends_right(sweep: Sweep) -> None:
    """The two calls between which a link can be lost, with every fault there is."""
    cases = list(sweep.renewal_cases(cold=False))
    last = [case for case in cases if case.place in [c.place for c in cases][-14:]]

    assert {case.place.split(" ")[1] for case in last} == {"tiktok.token", "dynamodb.UpdateItem"}
    assert wrong_ends(sweep, last) == []


def test_a_fault_while_linking_leaves_a_person_able_to_link(sweep: Sweep) -> None:
    cases = list(sweep.linking_cases())
    anew = [case for case in cases if case.scenario == "linking"]
    again = [case for case in cases if case.scenario == "linking again"]

    assert wrong_ends(sweep, one_fault_a_call(anew, 1) + one_fault_a_call(again, 4)) == []


def test_a_fault_in_an_unlink_ends_unlinked_and_revoked(sweep: Sweep) -> None:
    cases = [case for case in sweep.unlinking_cases() if case.scenario == "unlinking"]

    assert wrong_ends(sweep, one_fault_a_call(cases, 2)) == []


def test_an_outage_of_the_table_after_tiktoks_answer_is_rescued(sweep: Sweep) -> None:
    """The pair goes to the rescue queue sealed, and lands when the table is back."""
    cases = [
        case
        for case in sweep.outage_cases()
        if case.place.endswith("dynamodb.UpdateItem") and case.fault["kind"] == "refuse"
    ]

    assert wrong_ends(sweep, cases[-1:]) == []
    assert any("pair rescued" in str(record) for record in sweep.world.logs("rescue"))
