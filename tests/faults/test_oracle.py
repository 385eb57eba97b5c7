"""The oracle itself: one that never fails is worth nothing, so it is shown links that are lost."""

from __future__ import annotations

import pytest

from tests.faults.cases import Case, Fault, Hit, Place, places, singles, warm, were_hit
from tests.faults.oracle import (
    LOST,
    NOT_REACHED,
    Finding,
    Vended,
    Verdict,
    judge_link,
    judge_requests,
    judge_unlink,
    worst,
)
from tests.faults.report import page, summary
from tests.faults.sweep import in_order

ALIVE = Vended(200, alive=True)
RENEWED = Vended(200, alive=True, refreshed=True)
DEAD = Vended(200, alive=False, refreshed=True)
LOST_ROTATION = Vended(409, code="relink_required", reason="rotation_lost")
REJECTED = Vended(409, code="relink_required", reason="refresh_token_rejected")
WAITING = Vended(503, code="refresh_outcome_unknown")


@pytest.mark.parametrize(
    ("vended", "renewed", "answer_lost", "outcome"),
    [
        (ALIVE, RENEWED, False, "ok"),
        (ALIVE, RENEWED, True, "ok"),
        (DEAD, RENEWED, False, "silent loss"),
        (DEAD, LOST_ROTATION, True, "silent loss"),  # told too late: a dead token was handed out
        (ALIVE, DEAD, False, "silent loss"),
        (ALIVE, ALIVE, False, "silent loss"),  # the stored refresh token was never put to use
        (WAITING, WAITING, False, "silent loss"),
        (WAITING, WAITING, True, "silent loss"),  # lost or not, somebody must be told
        (ALIVE, WAITING, False, "silent loss"),
        (LOST_ROTATION, LOST_ROTATION, True, "relink"),
        (LOST_ROTATION, LOST_ROTATION, False, "false relink"),
        (ALIVE, LOST_ROTATION, False, "false relink"),
        (REJECTED, REJECTED, True, "wrong reason"),
        (REJECTED, REJECTED, False, "false relink"),
    ],
)
def test_a_link_is_judged_by_what_is_vended_before_and_after_its_tokens_life(
    vended: Vended, renewed: Vended, answer_lost: bool, outcome: str
) -> None:
    assert judge_link(vended, renewed, answer_lost=answer_lost).outcome == outcome


def test_another_reason_is_right_only_where_a_scenario_says_so() -> None:
    reasons = LOST | {"refresh_token_rejected"}

    found = judge_link(REJECTED, REJECTED, answer_lost=True, reasons=reasons)

    assert found.outcome == "relink"


@pytest.mark.parametrize(
    ("status", "gone", "said", "outcome"),
    [
        ("unlinked", True, True, "ok"),
        ("unlinked", True, "not_needed", "ok"),
        ("unlinked", False, True, "not ended"),
        ("unlinked", True, "pending", "not ended"),
        ("unlinked", True, False, "not ended"),
        ("active", True, True, "not ended"),
    ],
)
def test_an_unlink_has_ended_when_account_tiktok_and_answer_agree(
    status: str, gone: bool, said: object, outcome: str
) -> None:
    assert judge_unlink(status=status, gone_at_tiktok=gone, said=said).outcome == outcome


@pytest.mark.parametrize(("made", "outcome"), [(4, "ok"), (5, "extra request"), (3, "silent loss")])
def test_tiktok_is_asked_once_for_each_rotation(made: int, outcome: str) -> None:
    assert judge_requests(made, 4).outcome == outcome


def test_of_several_links_the_lost_one_counts() -> None:
    found = worst([Finding("ok"), Finding("silent loss"), Finding("relink"), Finding("again")])

    assert found.outcome == "silent loss"


@pytest.mark.parametrize(
    ("hit", "lost"),
    [
        (Hit("kill_after", "tiktok.token", 0), True),
        (Hit("lose_reply", "tiktok.token", 0), True),
        (Hit("500_after", "tiktok.token", 0), True),
        (Hit("kill_before", "tiktok.token", 0), False),
        (Hit("refuse", "tiktok.token", 0), False),
        (Hit("kill_after", "dynamodb.UpdateItem", 0), False),
        (Hit("kill_before", "dynamodb.UpdateItem", 1), True),  # another thread's answer dies too
        (Hit("refuse", "dynamodb.UpdateItem", 1), False),
    ],
)
def test_an_answer_is_lost_where_tiktok_acted_and_nobody_could_keep_it(
    hit: Hit, lost: bool
) -> None:
    assert hit.lost_an_answer is lost


def test_a_case_counts_only_when_all_of_its_faults_acted() -> None:
    save = Fault("refuse", Place("dynamodb.UpdateItem", 2))
    case = Case("pair", Fault("refuse", Place("tiktok.token")), save, after=1)
    token = Hit("refuse", "tiktok.token", 0)

    assert not were_hit(case, [token])
    assert were_hit(case, [token, Hit("refuse", "dynamodb.UpdateItem", 0)])


def test_a_place_is_the_same_call_in_a_cold_and_in_a_warm_process() -> None:
    cold = [
        "dynamodb.GetItem",
        "secretsmanager.GetSecretValue",
        "dynamodb.GetItem",
        "kms.Decrypt",
        "dynamodb.UpdateItem",
        "tiktok.token",
        "dynamodb.UpdateItem",
    ]

    assert set(places(warm(cold))) < set(places(cold))
    assert [str(place) for place in places(warm(cold))] == [
        "dynamodb.GetItem",
        "dynamodb.UpdateItem",
        "tiktok.token",
        "dynamodb.UpdateItem #2",
    ]
    assert len(list(singles("s", cold, cold=True))) == 7 * len(cold)


def a_verdict(outcome: str, scenario: str = "tokens", detail: str = "") -> Verdict:
    return Verdict(Case(scenario, Fault("refuse", Place("kms.Decrypt"))), outcome, detail)


def test_the_report_sums_up_what_counts_and_names_each_wrong_end() -> None:
    verdicts = [
        a_verdict("ok"),
        a_verdict("relink"),
        a_verdict("false relink"),
        a_verdict("silent loss", detail="the vended token is dead at TikTok"),
        a_verdict(NOT_REACHED),
        a_verdict("relink", "refresh, environment gone"),
    ]

    text = page({"strict": verdicts}, seconds=60, worlds=2)

    assert summary(verdicts) == (
        "4 faults injected, 1 links lost without TikTok's own answer being lost, 1 false relinks"
    )
    assert "| strict | 4 | 1 | 0 | 1 | 2 |" in text
    assert "| tokens | refuse | 4 | 1 | 0 | 1 | 2 |" in text
    assert "* strict: tokens: refuse at kms.Decrypt: silent loss, the vended token is dead" in text
    assert [v.is_right for v in verdicts] == [True, True, False, False, True, True]


def test_shares_of_several_worlds_are_put_in_the_order_of_the_scenarios() -> None:
    from tests.faults.scenarios import Unlinking, Vending

    shares = [a_verdict("ok", "unlink"), a_verdict("ok", "tokens"), a_verdict("ok", "unlink")]

    names = [v.case.scenario for v in in_order([Vending, Unlinking], shares)]

    assert names == ["tokens", "unlink", "unlink"]
