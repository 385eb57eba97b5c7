"""A right that a role lacks is said in the log: callers only see a store that does not answer."""

from __future__ import annotations

import json
import logging
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from tests.fakes.sdk import answered
from tiktok_linking.adapters.denials import tell_denials


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "TikTokLink/test")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "tokens")


TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/accounts"


def client(service: str, status: int, code: str) -> Any:
    """A real client whose every request gets this answer without leaving the process."""
    session = botocore.session.get_session()
    session.set_credentials("test", "test")
    tell_denials(session)
    made = session.create_client(service, region_name="us-east-1")
    body = f'{{"__type": "{code}", "message": "not authorized on {TABLE}"}}'
    answered(made, status, body.encode())
    return made


@pytest.mark.parametrize(
    ("service", "call", "arguments", "code"),
    [
        ("dynamodb", "describe_table", {"TableName": "accounts"}, "AccessDeniedException"),
        ("kms", "describe_key", {"KeyId": "a key"}, "AccessDeniedException"),
        ("secretsmanager", "get_secret_value", {"SecretId": "s"}, "AccessDeniedException"),
        ("sqs", "send_message", {"QueueUrl": "https://q", "MessageBody": "b"}, "AccessDenied"),
        ("lambda", "invoke", {"FunctionName": "f"}, "AccessDeniedException"),
    ],
)
def test_a_call_that_aws_denies_is_told_by_its_name(
    service: str,
    call: str,
    arguments: dict[str, str],
    code: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ClientError):
        getattr(client(service, 400, code), call)(**arguments)

    (record,) = [r for r in caplog.records if r.name == "tiktok_linking.denials"]
    operation = "".join(word.capitalize() for word in call.split("_"))
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "access denied")
    assert record.__dict__["call"] == f"{service}.{operation}"
    assert record.__dict__["code"] == code
    assert TABLE not in str(record.__dict__)


def test_a_denial_is_counted_for_the_stack_and_not_for_its_function(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ClientError):
        client("kms", 400, "AccessDeniedException").describe_key(KeyId="a key")

    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert (record["AccessDenied"], record["service"]) == ([1.0], "stack")


@pytest.mark.parametrize("code", ["ThrottlingException", "ResourceNotFoundException"])
def test_other_errors_are_for_the_caller(
    code: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ClientError):
        client("kms", 400, code).describe_key(KeyId="a key")

    assert caplog.records == []
    assert capsys.readouterr().out == ""


def test_an_answer_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    client("kms", 200, "AccessDeniedException").describe_key(KeyId="a key")

    assert caplog.records == []
