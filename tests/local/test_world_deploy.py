"""From template.yaml to what MiniStack gets, and to the routes of the gateway."""

import copy
import json
from collections import Counter
from typing import Any

import pytest

from local.configuration import ROOT
from local.deploy import (
    Template,
    code_directories,
    function_name,
    read_template,
    routes_of,
    translated,
    with_local_changes,
)
from tests.local.conftest import STACK
from tests.template.policies import granted, listed, resource_name

PARAMETERS = {"AppName": "Acme", "AppRegistrations": "default=aw1"}


@pytest.fixture(scope="module")
def plain() -> Template:
    return translated(read_template(ROOT / "template.yaml"), PARAMETERS)


def of_type(template: Template, kind: str) -> list[dict[str, Any]]:
    return [r["Properties"] for r in template["Resources"].values() if r["Type"] == kind]


def statements(template: Template) -> list[dict[str, Any]]:
    return [
        statement
        for role in of_type(template, "AWS::IAM::Role")
        for policy in role.get("Policies", [])
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def test_short_forms_are_read_as_the_long_ones() -> None:
    probe = read_template(ROOT / STACK)["Resources"]["ProbeFunction"]["Properties"]
    key = read_template(ROOT / STACK)["Resources"]["Key"]["Properties"]

    assert probe["Environment"]["Variables"]["TABLE"] == {"Ref": "Table"}
    assert probe["Environment"]["Variables"]["KEY_ARN"] == {"Fn::GetAtt": ["Key", "Arn"]}
    assert key["KeyPolicy"]["Version"] == "2012-10-17"


def test_functions_have_their_names_and_their_code() -> None:
    template = read_template(ROOT / "template.yaml")
    directories = code_directories(template, ROOT)

    assert directories
    for logical_id, (own, *layers) in directories.items():
        assert own == ROOT / "functions" / function_name(logical_id)
        assert (own / "app.py").is_file()
        assert layers == [ROOT / "layers" / "linking"]


def test_routes_carry_the_authorizer_of_the_template(plain: Template) -> None:
    routes = routes_of(plain)

    assert {route.key for route in routes if not route.needs_iam} == {
        "GET /connect/{id}",
        "GET /connect/{id}/status",
        "GET /connect.js",
        "GET /authorize",
        "GET /callback",
        "POST /webhooks/tiktok",
        "GET /{file}",
    }
    assert all(route.path.startswith("/v1/") for route in routes if route.needs_iam)


def test_what_would_run_twice_is_switched_off(plain: Template) -> None:
    local = with_local_changes(plain, auth=False)

    assert {m["Enabled"] for m in of_type(local, "AWS::Lambda::EventSourceMapping")} == {False}
    assert {s["State"] for s in of_type(local, "AWS::Scheduler::Schedule")} == {"DISABLED"}
    for function in of_type(local, "AWS::Lambda::Function"):
        assert "Layers" not in function
        assert set(function["Code"]) == {"ZipFile"}


def test_without_auth_policies_stay_as_they_are(plain: Template) -> None:
    def without_refs(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in statement.items() if k != "Resource"} for statement in found]

    local = with_local_changes(plain, auth=False)

    assert without_refs(statements(local)) == without_refs(statements(plain))


# What MiniStack cannot evaluate, once more: the condition keys that go, by the action they go for,
# and the rights that come. local/deploy.py has the reasons.
GONE = {
    "kms:Decrypt": {"kms:EncryptionContext:service", "kms:EncryptionContext:purpose"},
    "kms:GenerateDataKey": {"kms:EncryptionContext:service", "kms:EncryptionContext:purpose"},
    "dynamodb:BatchGetItem": {"dynamodb:Select"},
}
COME = {"sqs:SendMessage": "sqs:SendMessageBatch"}
ROOT_MAY_ASSUME = {
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
    "Action": "sts:AssumeRole",
}


def test_with_auth_policies_differ_by_the_known_list_and_nothing_else(plain: Template) -> None:
    """Statement by statement, one power at a time, each with its whole condition."""
    local = with_local_changes(plain, auth=True)
    unchanged = set()

    for name, role in plain["Resources"].items():
        if role["Type"] != "AWS::IAM::Role":
            continue
        wanted = Counter(
            power
            for policy, statement in policies(role)
            for said in single_powers(policy, statement)
            for power in as_ministack_knows_it(said)
        )
        deployed = local["Resources"][name]
        found = Counter(
            json.dumps(said | {"Sid": said["Sid"].rstrip("0123456789")}, sort_keys=True)
            for policy, statement in policies(deployed)
            for said in single_powers(policy, statement)
        )
        assert found == wanted, name
        assert without_policies(deployed) == without_policies(role)
        trusted = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        also = deployed["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert also == [*trusted, ROOT_MAY_ASSUME]
        if policies(deployed) == policies(role):
            unchanged.add(name)
    # What the list does not speak of is not touched, and the list is not an empty one.
    assert {"AuthorizeFunctionRole", "RescueFunctionRole"} <= unchanged
    assert not {"CallbackFunctionRole", "SessionsFunctionRole", "RefreshFunctionRole"} & unchanged


def policies(role: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (policy["PolicyName"], granted(statement))
        for policy in role["Properties"]["Policies"]
        for statement in listed(policy["PolicyDocument"]["Statement"])
    ]


def single_powers(policy: str, statement: dict[str, Any]) -> list[dict[str, Any]]:
    """A statement as several of one action on one resource, with all that it says beside."""
    return [
        {"Sid": "", "Condition": {}}
        | statement
        | {"Policy": policy, "Action": action, "Resource": resource_name(resource)}
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]


def as_ministack_knows_it(said: dict[str, Any]) -> list[str]:
    gone = GONE.get(said["Action"], set())
    conditions = {
        operator: {key: value for key, value in tests.items() if key not in gone}
        for operator, tests in said["Condition"].items()
    }
    kept = said | {
        "Condition": {operator: tests for operator, tests in conditions.items() if tests}
    }
    twins = [COME[said["Action"]]] if said["Action"] in COME else []
    return [
        json.dumps(kept | {"Action": action}, sort_keys=True) for action in (said["Action"], *twins)
    ]


def without_policies(role: dict[str, Any]) -> dict[str, Any]:
    left_out = ("Policies", "AssumeRolePolicyDocument")
    properties = {k: v for k, v in role["Properties"].items() if k not in left_out}
    return role | {"Properties": properties}


def test_with_auth_policies_of_other_things_stay_but_for_the_queues_demand_for_tls(
    plain: Template,
) -> None:
    local = with_local_changes(plain, auth=True)["Resources"]
    kinds = ("AWS::IAM::ManagedPolicy", "AWS::KMS::Key", "AWS::Lambda::Permission")

    for name, resource in plain["Resources"].items():
        if resource["Type"] in kinds:
            assert local[name] == resource, name
    gone = plain["Resources"].keys() - local.keys()
    assert gone == {
        name
        for name, resource in plain["Resources"].items()
        if name == "QueuesNeedTls"
        or resource["Type"] in ("AWS::Lambda::LayerVersion", "AWS::Events::Archive")
        or (resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"])
    }


def test_the_given_template_is_not_changed(plain: Template) -> None:
    before = copy.deepcopy(plain)
    with_local_changes(plain, auth=True)

    assert plain == before
