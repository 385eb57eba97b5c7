"""events/*.json: the shapes that AWS really sends, each run by the function that it is named after.

Nothing is linked here, so most answers say that there is nothing: the flows link. What is shown is
that handler, variables, tables and event fit together as the template puts them.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.deploy import routes_of
from local.sam_env import Stack, made_up_stack, variables_of
from tests.template.conftest import ROOT
from tiktok_linking import bootstrap

EVENTS = sorted((ROOT / "events").glob("*.json"))
REGION = "us-east-1"
# What each event leads to where nothing is linked: an HTTP status, or the whole answer.
ANSWERS: dict[str, int | dict[str, Any]] = {
    "accounts-change": 404,
    "accounts-list": 200,
    "accounts-show": 404,
    "authorize-connect-page": 404,
    "authorize-start": 303,  # to the connect page, whose proof a file cannot hold
    "authorize-status": 404,
    "callback-cancelled": 400,
    "callback-code": 400,
    "refresh-one": {"outcome": "ended", "retry_after": None},
    "refresh-queue": {"batchItemFailures": []},
    "refresh-scheduled": {"planned": 0},
    "rescue-authorised": {"batchItemFailures": []},
    "rescue-renewed": {"batchItemFailures": []},
    "sessions-cancel": 404,
    "sessions-create": 201,
    "sessions-relink": 404,
    "sessions-show": 404,
    "tokens-vend": 404,
    "unlink-account": 404,
}


class Context:
    """Lambda's context object, as far as handlers look at it."""

    aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    function_name = "function"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:function"

    def get_remaining_time_in_millis(self) -> int:
        return 28_000


@pytest.fixture
def stack(template: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The template's tables, queues, key and secret in moto; `bootstrap` without a memory."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    _forget()
    with mock_aws():
        made_up = made_up_stack(template, base_url="https://link.example.com")
        parameters = dict(made_up.parameters)
        parameters["ReturnOrigins"] = "https://app.example.com"
        yield Stack(parameters, dict(made_up.physical_ids) | _create(template))
    _forget()


def _create(template: dict[str, Any]) -> dict[str, str]:
    physical_ids: dict[str, str] = {}
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::DynamoDB::Table":
            wanted = ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "BillingMode")
            boto3.client("dynamodb").create_table(
                TableName=name, **{key: properties[key] for key in wanted if key in properties}
            )
        elif resource["Type"] == "AWS::SQS::Queue":
            physical_ids[name] = boto3.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        elif resource["Type"] == "AWS::KMS::Key":
            physical_ids[name] = boto3.client("kms").create_key()["KeyMetadata"]["KeyId"]
        elif resource["Type"] == "AWS::SecretsManager::Secret":
            secret = json.dumps({"default": {"current": "a client secret"}})
            made = boto3.client("secretsmanager").create_secret(Name=name, SecretString=secret)
            physical_ids[name] = made["ARN"]
    return physical_ids


def _forget() -> None:
    for value in vars(bootstrap).values():
        if isinstance(value, functools._lru_cache_wrapper):
            value.cache_clear()


def test_every_event_is_expected_to_lead_somewhere() -> None:
    assert {file.stem for file in EVENTS} == set(ANSWERS)


def test_every_route_and_every_other_trigger_has_an_event(plain: dict[str, Any]) -> None:
    events = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in EVENTS}
    routes = {(e["routeKey"], n.split("-")[0]) for n, e in events.items() if "routeKey" in e}

    assert routes == {
        (route.key, route.function.removesuffix("Function").lower()) for route in routes_of(plain)
    }
    assert {"refresh-scheduled", "refresh-queue", "refresh-one", "rescue-renewed"} <= events.keys()


@pytest.mark.parametrize("file", EVENTS, ids=lambda file: file.stem)
def test_an_http_event_is_whole(file: Path, plain: dict[str, Any]) -> None:
    """Payload format 2.0: docs.aws.amazon.com, "Create AWS Lambda proxy integrations"."""
    event = json.loads(file.read_text(encoding="utf-8"))
    if "routeKey" not in event:
        assert event.keys() <= {"Records", "job", "grant", "min_ttl_seconds", "rejected"}
        return
    context = event["requestContext"]
    needs_iam = {route.key: route.needs_iam for route in routes_of(plain)}

    assert event["version"] == "2.0"
    assert context["routeKey"] == event["routeKey"]
    assert event["routeKey"].split(" ")[0] == context["http"]["method"]
    assert event["rawPath"] == context["http"]["path"]
    assert all(name == name.lower() for name in event["headers"])
    assert "cookie" not in event["headers"]
    assert ("authorizer" in context) is needs_iam[event["routeKey"]]
    assert bool(event["rawQueryString"]) is ("queryStringParameters" in event)
    assert event["stageVariables"].keys() == {"public_base_url"}


@pytest.mark.parametrize("file", EVENTS, ids=lambda file: file.stem)
def test_the_function_answers_the_event(
    template: dict[str, Any],
    functions: dict[str, Any],
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    file: Path,
) -> None:
    name = file.stem.split("-")[0]
    variables = variables_of(template, stack)[f"{name.capitalize()}Function"]
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the journal lies
    module, _, handler = functions[name]["Handler"].rpartition(".")
    code = importlib.import_module(f"functions.{name}.{module}")

    answer = getattr(code, handler)(json.loads(file.read_text(encoding="utf-8")), Context())

    expected = ANSWERS[file.stem]
    assert (answer["statusCode"] if isinstance(expected, int) else answer) == expected


def test_a_backend_route_without_the_authorizers_word_is_refused(
    template: dict[str, Any], stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sam local` checks no signature, and a template can be wrong: the code fails closed."""
    for file in EVENTS:
        event = json.loads(file.read_text(encoding="utf-8"))
        if "authorizer" not in event.get("requestContext", {}):
            continue
        name = file.stem.split("-")[0]
        for key, value in variables_of(template, stack)[f"{name.capitalize()}Function"].items():
            monkeypatch.setenv(key, value)
        _forget()
        del event["requestContext"]["authorizer"]

        answer = importlib.import_module(f"functions.{name}.app").lambda_handler(event, Context())

        assert answer["statusCode"] in (401, 403), file.stem
