"""What each function is given: code, variables, time, logs. No linter holds these to the code."""

from __future__ import annotations

import ast
import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from local.sam_env import made_up_stack, variables_of
from tests.template.conftest import ROOT
from tiktok_linking import settings
from tiktok_linking.settings import Settings

FUNCTIONS = (
    "authorize",
    "callback",
    "sessions",
    "accounts",
    "tokens",
    "unlink",
    "webhook",
    "refresh",
    "rescue",
    "publish",
    "remind",
)
OF_EVERY_FUNCTION = {
    "APP_NAME",
    "LOG_LEVEL",
    "POWERTOOLS_METRICS_NAMESPACE",
    "POWERTOOLS_SERVICE_NAME",
}
# What a function reads where it is there. Everything else a function has, it needs.
MAY_BE_EMPTY = {
    "authorize": {"PUBLIC_BASE_URL", "ACCENT_COLOR", "APP_LOGO"},
    "callback": {"PUBLIC_BASE_URL", "ACCENT_COLOR"},
    "sessions": {"PUBLIC_BASE_URL", "SCOPES_OPTIONAL", "RETURN_ORIGINS", "COMPLETION"},
    "tokens": {"EVENT_BUS"},  # with AuditEvents=on
    "publish": {  # with ReminderLinks=on
        "REMINDER_LINKS",
        "SESSIONS_TABLE",
        "SESSION_DAYS",
        "APP_REGISTRATIONS",
        "SCOPES_REQUIRED",
        "SCOPES_OPTIONAL",
        "PUBLIC_BASE_URL",
    },
    "webhook": {"VERIFICATION_FILES"},
}
# HTTP API gives up after 30 s, which cannot be raised.
API_SECONDS = 30


def test_the_stack_has_these_functions_and_no_other(functions: dict[str, Any]) -> None:
    assert set(functions) == set(FUNCTIONS)
    assert {folder.name for folder in (ROOT / "functions").iterdir() if folder.is_dir()} == set(
        FUNCTIONS
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_handler_that_the_template_names_exists(functions: dict[str, Any], name: str) -> None:
    properties = functions[name]
    module, _, handler = properties["Handler"].rpartition(".")

    assert (ROOT / properties["CodeUri"]) == ROOT / "functions" / name
    code = importlib.import_module(f"functions.{name}.{module}")
    assert callable(getattr(code, handler))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gets_exactly_the_variables_that_its_code_reads(
    functions: dict[str, Any], name: str
) -> None:
    given = set(functions[name]["Environment"]["Variables"])

    assert given == OF_EVERY_FUNCTION | set(settings.NEEDS[name]) | MAY_BE_EMPTY.get(name, set())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_settings_accept_what_the_template_gives(template: dict[str, Any], name: str) -> None:
    stack = made_up_stack(template, base_url="https://link.example.com")
    given = variables_of(template, stack)[f"{name.capitalize()}Function"]

    assert Settings.from_env(given).function == name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_variable_holds_a_secret(functions: dict[str, Any], name: str) -> None:
    """Names and addresses of secrets are fine; a dynamic reference would put the value in."""
    for variable, value in functions[name]["Environment"]["Variables"].items():
        assert "{{resolve:" not in str(value), variable
        assert not variable.endswith(("_SECRET", "_TOKEN", "_PASSWORD", "_KEY")), variable


def test_nothing_of_the_template_holds_or_resolves_a_secret(plain: dict[str, Any]) -> None:
    """Neither a value nor a dynamic reference, which would end up where it is used."""
    text = json.dumps(plain)

    assert "{{resolve:" not in text
    assert not re.search(r"SecretString|GenerateSecretString|\bNoEcho\b|client_secret", text)
    parameters = plain["Parameters"]
    assert not [name for name in parameters if re.search("secret|token|password", name, re.I)]


def test_only_the_arn_of_the_secret_reaches_a_function(plain: dict[str, Any]) -> None:
    for resource in plain["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            variables = resource["Properties"]["Environment"]["Variables"]
            refers = {n for n, value in variables.items() if "AppSecret" in json.dumps(value)}
            assert refers <= {"APP_SECRET_ARN"}
            assert variables.get("APP_SECRET_ARN", {"Ref": "AppSecret"}) == {"Ref": "AppSecret"}


def test_nothing_is_traced_and_no_event_or_answer_is_logged(plain: dict[str, Any]) -> None:
    """S91: Powertools and X-Ray would write down events, answers and errors as they are."""
    text = json.dumps(plain)
    code = "".join(
        file.read_text(encoding="utf-8")
        for folder in ("layers/linking/tiktok_linking", "functions")
        for file in (ROOT / folder).rglob("*.py")
    )

    assert "TracingConfig" not in text
    assert "XRay" not in text
    assert "POWERTOOLS_LOGGER_LOG_EVENT" not in text
    assert "POWERTOOLS_DEV" not in text
    assert "POWERTOOLS_TRACE" not in text
    for name in ("log_event", "inject_lambda_context", "Tracer", "aws_xray", "capture_"):
        assert name not in code, name


def test_only_the_package_reads_the_environment() -> None:
    """A variable that settings.py does not know would be one that no test holds to the template."""
    package = ROOT / "layers" / "linking" / "tiktok_linking"
    readers = {
        str(file.relative_to(ROOT))
        for file in [*package.rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
        if _reads_environment(file)
    }

    assert readers == {"layers/linking/tiktok_linking/bootstrap.py"}


def _reads_environment(file: Path) -> bool:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        for node in ast.walk(tree)
    )


def test_functions_behind_the_api_end_before_it_gives_up(functions: dict[str, Any]) -> None:
    for name, properties in functions.items():
        if any(event["Type"] == "HttpApi" for event in properties.get("Events", {}).values()):
            assert properties["Timeout"] < API_SECONDS, name


def test_timeouts_are_those_of_the_design(functions: dict[str, Any]) -> None:
    slow = {"callback": 28, "tokens": 28, "unlink": 28, "refresh": 30, "rescue": 5}
    slow |= {"publish": 30, "remind": 300}

    assert {name: p["Timeout"] for name, p in functions.items()} == {
        name: slow.get(name, 10) for name in FUNCTIONS
    }


def test_every_function_runs_the_same_python_with_the_layer(functions: dict[str, Any]) -> None:
    for properties in functions.values():
        assert properties["Runtime"] == "python3.13"
        assert properties["Architectures"] == [{"Ref": "Architecture"}]
        assert properties["Layers"] == [{"Ref": "LinkingLayer"}]


def test_the_layer_is_built_for_the_architecture_of_the_functions(template: dict[str, Any]) -> None:
    layer = template["Resources"]["LinkingLayer"]

    assert layer["Metadata"] == {
        "BuildMethod": "python3.13",
        "BuildArchitecture": {"Ref": "Architecture"},
    }
    assert layer["Properties"]["CompatibleArchitectures"] == [{"Ref": "Architecture"}]


def test_a_change_of_the_layer_reaches_the_functions(
    template: dict[str, Any], functions: dict[str, Any]
) -> None:
    """An alias alone would go on serving the old layer."""
    aliased = [p for p in functions.values() if "AutoPublishAlias" in p]
    layer = template["Resources"]["LinkingLayer"]["Properties"]

    assert not aliased or (
        all(p.get("AutoPublishAliasAllProperties") is True for p in aliased)
        and layer.get("PublishLambdaVersion") is True
    )


def test_every_function_logs_into_a_group_of_its_own(functions: dict[str, Any]) -> None:
    groups = [properties["LoggingConfig"]["LogGroup"]["Ref"] for properties in functions.values()]

    assert groups == [f"{name.capitalize()}Logs" for name in functions]
    assert all(p["LoggingConfig"]["LogFormat"] == "JSON" for p in functions.values())


def test_every_log_group_forgets(plain: dict[str, Any]) -> None:
    groups = [r for r in plain["Resources"].values() if r["Type"] == "AWS::Logs::LogGroup"]

    assert len(groups) == len(FUNCTIONS) + 1  # and the API's access log
    for group in groups:
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_concurrency_is_reserved_only_by_parameter(
    template: dict[str, Any], functions: dict[str, Any]
) -> None:
    """Young AWS accounts have none to reserve: the first deploy would fail."""
    reserving = {
        n: p["ReservedConcurrentExecutions"]
        for n, p in functions.items()
        if "ReservedConcurrentExecutions" in p
    }

    assert set(reserving) == {"authorize", "callback", "webhook", "refresh"}
    for value in reserving.values():
        condition, wanted, otherwise = value["Fn::If"]
        assert otherwise == {"Ref": "AWS::NoValue"}
        assert template["Parameters"][wanted["Ref"]]["Default"] == 0
        assert template["Conditions"][condition] == {
            "Fn::Not": [{"Fn::Equals": [{"Ref": wanted["Ref"]}, 0]}]
        }
