"""No role has a power that nothing needs: the table of tests/iam holds every one of the template.

tests/iam shows that the table is true, by taking the powers away.
"""

from __future__ import annotations

from typing import Any

from tests.iam.flows import FLOWS
from tests.iam.powers import NEEDED, NOT_SHOWN
from tests.template.policies import powers, roles


def test_every_power_of_the_template_is_needed_by_a_flow_or_has_a_reason(
    plain: dict[str, Any],
) -> None:
    unheard_of = set(powers(plain)) - NEEDED.keys() - NOT_SHOWN.keys()

    assert sorted(map(str, unheard_of)) == []


def test_every_power_of_the_table_is_in_the_template(plain: dict[str, Any]) -> None:
    gone = (NEEDED.keys() | NOT_SHOWN.keys()) - set(powers(plain))

    assert sorted(map(str, gone)) == []
    assert not NEEDED.keys() & NOT_SHOWN.keys()


def test_every_flow_of_the_table_exists() -> None:
    assert set(NEEDED.values()) <= FLOWS.keys()


def test_what_cannot_be_shown_is_little_and_has_a_reason(plain: dict[str, Any]) -> None:
    """No function's own statement hides there, but for the key that DynamoDB asks for.

    What SAM makes for Lambda and the scheduler, and what Lambda does with the streams, does.
    """
    assert all(NOT_SHOWN.values())
    assert {power.role for power in NEEDED} == (
        roles(plain).keys() - {"refresh plan", "remind daily"}
    )
    shown = {(power.role, power.statement) for power in NEEDED}
    assert {p.statement for p in NOT_SHOWN if (p.role, p.statement) not in shown} == {
        "TablesKeyThroughDynamoDB",
        "RefreshFunctionEventInvokeConfigOnFailureSQSPolicy",
        "RefreshFunctionPlanLambdaPolicy",
        "RefreshFunctionPlanSQSPolicy",
        "ReadStreams",
        "TellWhereAStreamStopped",
        "SendAuditEvents",
        "MakeSessionsForReminders",
        "RemindFunctionEventInvokeConfigOnFailureSQSPolicy",
        "RemindFunctionDailyLambdaPolicy",
        "RemindFunctionDailySQSPolicy",
    }
