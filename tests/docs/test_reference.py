"""What the documents list is what there is, name by name, in both directions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml

from local.configuration import PORTS
from local.deploy import Template, function_name, read_template
from tests.docs.reading import ROOT, Document, name_in
from tiktok_linking.accounts import RelinkReason, RevokedReason, Status
from tiktok_linking.answer_classes import TREATMENTS
from tiktok_linking.sessions import SessionReason, SessionStatus
from tiktok_linking.web.api import STATUS_BY_CODE

CONFIGURATION = Document.read("docs/configuration.md")
TROUBLESHOOTING = Document.read("docs/troubleshooting.md")
OPERATIONS = Document.read("docs/operations.md")
ARCHITECTURE = Document.read("docs/architecture.md")
README = Document.read("README.md")
CALLED_BY_TIKTOK = {"POST /webhooks/tiktok", "GET /{file}"}


@cache
def template() -> Template:
    return read_template(ROOT / "template.yaml")


def functions() -> dict[str, Any]:
    return {
        function_name(name): resource["Properties"]
        for name, resource in template()["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def names(document: Document) -> list[str]:
    return [name_in(row[0]) for row in document.rows()]


# ---- configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize("document", [README, CONFIGURATION], ids=["README", "configuration"])
def test_every_parameter_is_told_with_its_default(document: Document) -> None:
    told = {name_in(row[0]): row[1].strip("`") for row in document.section("Parameters").rows()}

    assert told == {
        name: {None: "none", "": "empty"}.get(
            parameter.get("Default"), str(parameter.get("Default"))
        )
        for name, parameter in template()["Parameters"].items()
    }


def test_every_output_is_told() -> None:
    assert names(CONFIGURATION.section("Outputs")) == list(template()["Outputs"])


def test_every_variable_of_the_functions_is_told_with_its_functions() -> None:
    shared = template()["Globals"]["Function"]["Environment"]["Variables"]
    has: dict[str, set[str]] = {}
    for function, properties in functions().items():
        for variable in shared | properties["Environment"]["Variables"]:
            has.setdefault(variable, set()).add(function)

    told = {
        name_in(row[0]): set(functions()) if row[1] == "all" else set(row[1].split(", "))
        for row in CONFIGURATION.section("Variables of the functions").rows()
    }

    assert told == has


def test_every_variable_of_the_local_world_is_told() -> None:
    source = (ROOT / "local" / "configuration.py").read_text(encoding="utf-8")
    read = {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", node.value)
    } - {"INFO"}  # a value of LOG_LEVEL
    table = Document(
        CONFIGURATION.path, CONFIGURATION.section("The local world").text.partition("### ")[0]
    )
    told = {name_in(row[0]): row[1].strip("`") for row in table.rows()}

    assert set(told) == read
    assert {told[variable] for variable, _ in PORTS.values()} == {
        str(port) for _, port in PORTS.values()
    }


def test_every_variable_of_make_is_told() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    settable = set(re.findall(r"^([A-Z]+) \?=", makefile, re.MULTILINE))

    assert settable <= set(names(CONFIGURATION.section("make")))


# ---- the contract ------------------------------------------------------------------------------


def test_the_readme_lists_every_route_and_who_may_call_it() -> None:
    routes = {}
    for properties in functions().values():
        for event in properties.get("Events", {}).values():
            if event["Type"] == "HttpApi":
                given = event["Properties"]
                is_public = given.get("Auth", {}).get("Authorizer") == "NONE"
                key = f"{given['Method']} {given['Path']}"
                by = "TikTok" if key in CALLED_BY_TIKTOK else "browser"
                routes[key] = by if is_public else "your backend"

    assert {name_in(row[0]): row[1] for row in README.section("Routes").rows()} == routes


def test_every_error_code_is_told_with_its_status() -> None:
    rows = TROUBLESHOOTING.section("Error codes").rows()

    assert {name_in(row[0]): int(row[1]) for row in rows} == STATUS_BY_CODE


def test_every_warning_is_told() -> None:
    openapi = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    warnings = openapi["components"]["schemas"]["Token"]["properties"]["warning"]["enum"]
    told = names(TROUBLESHOOTING.section("Warnings of a token"))

    assert set(told) == {warning for warning in warnings if warning is not None}


def test_every_status_and_reason_of_a_session_is_told() -> None:
    section = TROUBLESHOOTING.section("States of a link session")
    first = [name_in(row[0]) for row in section.rows()]

    assert set(first) == {*SessionStatus, *SessionReason}


def test_every_status_and_reason_of_an_account_is_told() -> None:
    assert set(names(TROUBLESHOOTING.section("States of an account"))) == set(Status)
    assert set(names(TROUBLESHOOTING.section("Reasons of an account"))) == {
        *RelinkReason,
        *RevokedReason,
    }


# ---- operation ---------------------------------------------------------------------------------


def _log_records() -> Iterator[tuple[str, str]]:
    """Every (message, level) that the functions can log."""
    for folder in ("layers/linking/tiktok_linking", "functions"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in ("debug", "info", "warning", "error", "exception")
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id in ("log", "logger")
                ):
                    message = node.args[0]
                    assert isinstance(message, ast.Constant), f"{file}:{node.lineno}"
                    yield str(message.value), node.func.attr


def test_every_log_record_is_told_with_its_level() -> None:
    told = {(name_in(row[0]), row[2]) for row in OPERATIONS.section("Logs").rows()}

    assert told == set(_log_records())


def test_every_metric_is_told() -> None:
    source = (ROOT / "layers/linking/tiktok_linking/metrics.py").read_text(encoding="utf-8")
    counted = set(re.findall(r'"([A-Z][A-Za-z]+)"', source))
    told = {
        name
        for row in OPERATIONS.section("Metrics").rows()
        for name in re.findall(r"`(\w+)`", row[0])
    }

    assert counted == told


def test_every_class_of_answer_is_told_with_its_treatment() -> None:
    told = {}
    for kind, _, account, intent, rests, stops in ARCHITECTURE.section("Classes of answer").rows():
        seconds = re.findall(r"(\d+) s", rests)
        told[name_in(kind)] = (
            account.startswith("flagged"),
            intent == "stays",
            [float(number) for number in seconds],
            int(stops) if stops else None,
            "out of the schedule" in account,
        )

    assert told == {
        kind.value: (
            treatment.flags_account,
            treatment.may_have_rotated,
            [treatment.backoff.first.total_seconds(), treatment.backoff.cap.total_seconds()]
            if treatment.backoff
            else [],
            treatment.opens_after,
            treatment.quarantines,
        )
        for kind, treatment in TREATMENTS.items()
    }


def test_every_queue_is_told() -> None:
    queues = {
        name
        for name, resource in template()["Resources"].items()
        if resource["Type"] == "AWS::SQS::Queue"
    }

    assert set(names(OPERATIONS.section("Queues"))) == queues


def test_a_deployer_is_told_of_every_service() -> None:
    called = {"apigatewayv2": "apigateway", "serverless": "lambda"}
    kinds = [
        resource["Type"].split("::")[1].lower() for resource in template()["Resources"].values()
    ]
    # SAM makes roles and the schedule, and keeps the code in a bucket.
    needed = {called.get(kind, kind) for kind in kinds} | {"iam", "scheduler", "s3"}

    assert needed - set(names(OPERATIONS.section("Rights for deploying"))) == set()


def test_what_stays_is_what_the_template_retains() -> None:
    retained = {
        name
        for name, resource in template()["Resources"].items()
        if resource.get("DeletionPolicy") == "Retain"
    }

    # docs/operations.md, "What stays": the accounts table and two keys.
    assert retained == {"AccountsTable", "SealingKey", "TablesKey"}
