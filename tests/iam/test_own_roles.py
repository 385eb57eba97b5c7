"""Each function manages with its own role, and with no power less.

What MiniStack cannot evaluate is taken out of the policies first; local/deploy.py lists it, and
tests/template holds those parts on the template itself. `make test` takes one power from each
function, `make test-iam` each power from each.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws import ACCOUNT_ID, REGION
from local.deploy import Template, with_local_changes
from local.testing import WorldHandle
from tests.faults.people import Stage, grant_of
from tests.iam.flows import FLOWS, denials
from tests.iam.powers import NEEDED
from tests.iam.roles import DeployedRoles
from tests.template.policies import Power, listed, resource_name
from tiktok_linking.adapters.records import CIPHERTEXT


@pytest.fixture(scope="session")
def deployed(guarded: WorldHandle) -> DeployedRoles:
    return DeployedRoles(guarded)


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_works_with_the_rights_of_each_functions_own_role(stage: Stage, name: str) -> None:
    before = len(denials(stage.world.logs()))
    course = FLOWS[name](stage)

    for _ in course:
        pass

    assert denials(stage.world.logs())[before:] == []


# The first power of each function, in `make test`.
_SAMPLE = {power.role: power for power in reversed(NEEDED)}


@pytest.mark.parametrize(
    "power",
    [
        pytest.param(power, marks=() if power in _SAMPLE.values() else pytest.mark.iam)
        for power in NEEDED
    ],
    ids=str,
)
def test_without_one_power_its_flow_is_denied(
    stage: Stage, deployed: DeployedRoles, power: Power
) -> None:
    course = FLOWS[NEEDED[power]](stage)
    next(course)
    before = len(denials(stage.world.logs()))

    with deployed.without(power):
        stage.world.arm_fault(power.role, cold=True)  # a warm one remembers keys and secrets
        with pytest.raises(AssertionError):
            for _ in course:
                pass

    denied = denials(stage.world.logs())[before:]
    assert denied
    assert {record["function"] for record in denied} == {power.role}
    assert all(_is_for(record, power) for record in denied), denied
    # What waits for the power is done now that it is back: the next case finds nothing of this one.
    stage.world.pause_deliveries()
    stage.settle()


def _is_for(record: dict[str, Any], power: Power) -> bool:
    """Whether this tells of the call that the power is for."""
    service, _, action = power.action.partition(":")
    call = f"{service}.{'Invoke' if action == 'InvokeFunction' else action}"
    return record.get("call") in (call, f"{call}Batch") or power.action in record["message"]


def test_whoever_shows_accounts_is_denied_ciphertext(stage: Stage, deployed: DeployedRoles) -> None:
    """By the condition on attributes, which MiniStack evaluates for queries alone."""
    grant = grant_of(stage.link(stage.person()))
    dynamodb = deployed.aws_of("accounts").client("dynamodb")

    def read(attributes: str) -> set[str]:
        items = dynamodb.query(
            TableName=deployed.physical_id("AccountsTable"),
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": grant}},
            ProjectionExpression=attributes,
            Select="SPECIFIC_ATTRIBUTES",
        )["Items"]
        return {name for item in items for name in item}

    assert read("st, fp") == {"st", "fp"}
    for ciphertext in CIPHERTEXT:
        with pytest.raises(ClientError, match="AccessDenied"):
            read(f"st, {ciphertext}")


@pytest.mark.iam
def test_what_is_enforced_is_what_the_template_says(
    plain: Template, deployed: DeployedRoles
) -> None:
    """MiniStack has every statement, with its conditions; none is dropped on the way."""
    local = with_local_changes(plain, auth=True)
    roles = {n: r for n, r in local["Resources"].items() if r["Type"] == "AWS::IAM::Role"}
    assert roles

    for name, role in roles.items():
        wanted = Counter(
            _written(policy["PolicyName"], statement, [resource_name(r) for r in resources])
            for policy in role["Properties"]["Policies"]
            for statement in _there_by_default(policy["PolicyDocument"]["Statement"])
            for resources in [_there_by_default(statement["Resource"])]
        )
        found = Counter(
            _written(policy, statement, [deployed.name_of(arn) for arn in resources])
            for policy, document in deployed.policies(name).items()
            for statement in listed(document["Statement"])
            for resources in [listed(statement["Resource"])]
        )
        assert found == wanted, name


def _there_by_default(parts: Any) -> list[Any]:
    """What is left where the parameters are not given: else-branches of nothing are nothing."""
    nothing = {"Ref": "AWS::NoValue"}
    return [p for p in listed(parts) if "Fn::If" not in p or p["Fn::If"][2] != nothing]


def _written(policy: str, statement: dict[str, Any], resources: list[str]) -> str:
    """A statement with its resources by the template's names and its pseudo-parameters filled."""
    text = json.dumps(
        {**statement, "Resource": sorted(resources), "Policy": policy}, sort_keys=True
    )
    filled = text.replace("${AWS::Region}", REGION).replace("${AWS::URLSuffix}", "amazonaws.com")
    filled = filled.replace("${AWS::AccountId}", ACCOUNT_ID)
    return json.dumps(_without_sub(json.loads(filled)), sort_keys=True)


def _without_sub(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"Fn::Sub"}:
            return value["Fn::Sub"]
        return {key: _without_sub(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_sub(inner) for inner in value]
    return value
