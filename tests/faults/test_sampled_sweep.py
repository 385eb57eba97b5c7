"""A part of the crash sweep on every run, of every family of cases; `make faults` is the whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.testing import running_world
from tests.faults.cases import SINGLE, Case, Fault, Place
from tests.faults.oracle import judge_link
from tests.faults.scenarios import (
    BatchWorker,
    EightAtOnce,
    Frozen,
    LastingOutage,
    LinkAgain,
    NewLink,
    Pairs,
    Planning,
    Relinked,
    Renewal,
    RescueOfLink,
    RescueOfRenewal,
    Scenario,
    TableReturns,
    Together,
    Unlinked,
    Unlinking,
    UnlinkingLate,
    Vending,
    Worker,
)
from tests.faults.sweep import WORLD, Sweep

LEASE = Place("dynamodb.UpdateItem")
TOKEN = Place("tiktok.token")
SAVE = Place("dynamodb.UpdateItem", 2)
ACCOUNT = Place("dynamodb.UpdateItem", 3)
QUERY = Place("dynamodb.Query")


@pytest.fixture(scope="module")
def sweep() -> Iterator[Sweep]:
    """A strict TikTok: a forgiving one would let careless code pass."""
    with running_world(**WORLD) as world:
        yield Sweep(world, "strict")


def wrong_ends(sweep: Sweep, kind: type[Scenario], *cases: Case) -> list[str]:
    """What ended wrongly, or never came to its call."""
    found = [v for group in sweep.run(sweep.scenario(kind), cases) for v in group]
    assert len(found) == len(cases)
    return [f"{v.case}: {v.outcome}, {v.detail}" for v in found if v.outcome not in ENDS]


ENDS = ("ok", "again", "relink")


def test_every_fault_at_tiktoks_answer_and_at_the_save_ends_right(sweep: Sweep) -> None:
    """The two calls between which a link can be lost, with every fault there is."""
    cases = [Case(Renewal.name, Fault(kind, place)) for place in (TOKEN, SAVE) for kind in SINGLE]

    assert wrong_ends(sweep, Renewal, *cases) == []


def test_only_a_lost_answer_of_tiktok_costs_a_link(sweep: Sweep) -> None:
    cases = [Case(Renewal.name, Fault("kill_after", place)) for place in (LEASE, TOKEN, SAVE)]

    found = [v for group in sweep.run(sweep.scenario(Renewal), cases) for v in group]

    assert [v.outcome for v in found] == ["ok", "relink", "ok"]


def test_faults_in_a_cold_start_and_outages_of_each_service_lose_nothing(sweep: Sweep) -> None:
    faults = [
        Fault("kill_before", Place("kms.Decrypt")),
        Fault("500_after", Place("secretsmanager.GetSecretValue")),
        Fault("hang", SAVE, onwards=True),
        Fault("throttle", Place("kms.Decrypt", 2), onwards=True),
    ]

    assert wrong_ends(sweep, Renewal, *(Case(Renewal.name, f, cold=True) for f in faults)) == []


@pytest.mark.parametrize("kind", [Worker, BatchWorker])
def test_a_worker_of_the_queue_loses_nothing(sweep: Sweep, kind: type[Worker]) -> None:
    faults = [Fault("kill_before", SAVE), Fault("lose_reply", SAVE), Fault("throttle", LEASE)]

    assert wrong_ends(sweep, kind, *(Case(kind.name, fault) for fault in faults)) == []


def test_what_a_plan_missed_the_next_one_finds(sweep: Sweep) -> None:
    send = Place("sqs.SendMessageBatch")
    faults = [Fault("kill_before", QUERY), Fault("refuse", send, onwards=True)]

    assert wrong_ends(sweep, Planning, *(Case(Planning.name, fault) for fault in faults)) == []


def test_a_vend_that_dies_harms_no_renewal(sweep: Sweep) -> None:
    invoke = Place("lambda.Invoke")
    faults = [Fault("kill_after", invoke), Fault("lose_reply", invoke), Fault("kill_before", QUERY)]

    assert wrong_ends(sweep, Vending, *(Case(Vending.name, fault) for fault in faults)) == []


def test_two_faults_are_no_worse_than_one(sweep: Sweep) -> None:
    crashed = Fault("kill_before", SAVE)
    repairs = [Fault("kill_after", LEASE), Fault("500_after", LEASE)]
    both = Case(Together.name, Fault("refuse", LEASE), Fault("throttle", SAVE))

    pairs = [Case(Pairs.name, crashed, repair, after=1) for repair in repairs]
    assert wrong_ends(sweep, Pairs, *pairs) == []
    assert wrong_ends(sweep, Together, both) == []


def test_a_rescued_pair_lands_however_often_and_clears_a_flag(sweep: Sweep) -> None:
    cases = [
        Case(RescueOfRenewal.name, Fault("kill_after", LEASE)),
        Case(RescueOfRenewal.name, note="redriven three times"),
        Case(RescueOfRenewal.name, note="flagged meanwhile"),
    ]

    assert wrong_ends(sweep, RescueOfRenewal, *cases) == []


def test_a_rescued_link_is_completed(sweep: Sweep) -> None:
    cases = [Case(RescueOfLink.name, Fault("kill_after", place)) for place in (LEASE, SAVE)]

    assert wrong_ends(sweep, RescueOfLink, *cases) == []


def test_a_fault_while_linking_leaves_a_person_able_to_link(sweep: Sweep) -> None:
    faults = [Fault("kill_after", TOKEN), Fault("lose_reply", SAVE), Fault("refuse", ACCOUNT)]

    assert wrong_ends(sweep, NewLink, *(Case(NewLink.name, f, cold=True) for f in faults)) == []


def test_linking_again_never_harms_a_healthy_account(sweep: Sweep) -> None:
    faults = [Fault("kill_before", LEASE), Fault("lose_reply", SAVE), Fault("kill_after", SAVE)]

    assert wrong_ends(sweep, LinkAgain, *(Case(LinkAgain.name, f, cold=True) for f in faults)) == []


@pytest.mark.parametrize("kind", [Unlinking, UnlinkingLate])
def test_a_fault_in_an_unlink_ends_unlinked_and_revoked(
    sweep: Sweep, kind: type[Unlinking]
) -> None:
    revoke = Place("tiktok.revoke")
    faults = [Fault("kill_after", revoke), Fault("500_before", revoke), Fault("kill_before", SAVE)]

    assert wrong_ends(sweep, kind, *(Case(kind.name, fault) for fault in faults)) == []


def test_a_stale_worker_a_relink_and_an_unlink_in_the_middle_end_right(sweep: Sweep) -> None:
    for kind in (Frozen, Relinked, Unlinked):
        case = Case(kind.name, Fault("hold", TOKEN, when="after"))
        assert wrong_ends(sweep, kind, case) == []


def test_a_pair_in_the_queue_lands_when_the_table_returns(sweep: Sweep) -> None:
    save = Fault("refuse", SAVE, onwards=True)
    case = Case(TableReturns.name, save, note="the queue delivers 10 s after the vend")

    assert wrong_ends(sweep, TableReturns, case) == []


def test_an_outage_that_outlasts_a_lease_loses_nothing(sweep: Sweep) -> None:
    case = Case(LastingOutage.name, note="dynamodb away (refuse)")

    assert wrong_ends(sweep, LastingOutage, case) == []


def test_eight_processes_ask_tiktok_once_for_each_grant(sweep: Sweep) -> None:
    cases = [Case(EightAtOnce.name, note="on demand"), Case(EightAtOnce.name, note="batches")]

    assert wrong_ends(sweep, EightAtOnce, *cases) == []


def test_the_oracle_sees_a_link_that_is_really_lost(sweep: Sweep) -> None:
    """TikTok ends the grant behind the stack's back, and the pair behind a token is spent."""
    removed, spent = (sweep.stage.healthy_account() for _ in range(2))
    open_id = sweep.stage.account(removed)["open_id"]
    tiktok = sweep.stage.world.tiktok
    delivery = tiktok("GET", "/settings")["webhook_delivery"]
    tiktok("POST", "/settings", {"webhook_delivery": "off"})  # in silence
    tiktok("POST", f"/users/{open_id}/remove", {"reason": 1})
    tiktok("POST", "/settings", {"webhook_delivery": delivery})
    lost = Fault("kill_after", TOKEN)
    renewal = sweep.scenario(Renewal)
    renewal.age()
    sweep.stage.world.arm_fault("refresh", **lost.as_json())
    sweep.stage.vend(spent)

    first = sweep.stage.vend_all([removed, spent])
    for _ in range(2):
        sweep.stage.world.advance(seconds=70)
        last = sweep.stage.vend_all([removed, spent])

    outcomes = [
        judge_link(vended, again, answer_lost=False).outcome
        for vended, again in ((first[0], last[0]), (last[1], last[1]))
    ]
    assert outcomes == ["false relink", "false relink"]
    assert judge_link(first[1], last[1], answer_lost=True).outcome == "relink"
