"""From template.yaml to what MiniStack gets, and to the routes of the gateway."""

import copy
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


def test_with_auth_exactly_the_known_conditions_go(plain: Template) -> None:
    def conditions(template: Template) -> set[str]:
        return {
            key
            for statement in statements(template)
            for tests in statement.get("Condition", {}).values()
            for key in tests
        }

    gone = conditions(plain) - conditions(with_local_changes(plain, auth=True))

    assert gone == {"kms:EncryptionContext:service", "kms:EncryptionContext:purpose"}


def test_the_given_template_is_not_changed(plain: Template) -> None:
    before = copy.deepcopy(plain)
    with_local_changes(plain, auth=True)

    assert plain == before
