"""The whole stack in one process: handlers and variables from template.yaml, AWS from moto.

One function after the other: what a function keeps in memory is forgotten when another one runs,
as if each had a process of its own. TikTok is a loopback server that plays a script, and Lambda's
`Invoke` leads to the refresh function here.
"""

from __future__ import annotations

import base64
import functools
import importlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import pytest

from local.sam_env import Stack, made_up_stack, variables_of
from local.tiktok.webhooks import sign
from tests.fakes.aws import REGION, ROOT, aws, client, create_table, template
from tests.fakes.clock import Clock
from tests.fakes.loopback import Answer, Loopback, loopback
from tiktok_linking import bootstrap

BASE_URL = "https://link.example.com"
CLIENT_SECRET = "client-secret-of-the-default-app"

# The ids that events/*.json speak of.
SESSION_ID = "ls_ExampleSessionIdOf256RandomBits0123456789-_"
PAGE_NONCE = "ExamplePageNonce01234A"
STATE_SECRET = "ExampleStateSecretOf256RandomBits0123456789"
COOKIE = "ExampleCookieOf256RandomBits0123456789ABCDE"
OPEN_ID = "_000ExampleOpenIdOfOneTikTokAccount42"
ACCOUNT_ID = "acct_tdiygcjrrxulxguvvcaelktmuqofwmtkk22aiceswxfakw3t"
GRANT_ID = "tdiygcjrrxulxguvvcaelktm"

TABLES = ("AccountsTable", "SessionsTable")

logger = logging.getLogger("tests.functions")


@dataclass(frozen=True, slots=True)
class Context:
    """Lambda's context object, as far as handlers look at it."""

    milliseconds: int = 28_000
    aws_request_id: str = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    function_name: str = "function"
    memory_limit_in_mb: int = 1024
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:function"

    def get_remaining_time_in_millis(self) -> int:
        """How long the invocation may still run."""
        return self.milliseconds


class RunningStack:
    """Functions to invoke, and what they work on."""

    def __init__(
        self,
        variables: Mapping[str, Mapping[str, str]],
        physical_ids: Mapping[str, str],
        tiktok: Loopback,
        bus: Loopback,
        patch: pytest.MonkeyPatch,
    ) -> None:
        self._given = variables
        self._variables = self.variables()
        self._names = {name for own in variables.values() for name in own}
        self._patch = patch
        self._current = ""
        self.physical_ids = physical_ids
        self.clock = Clock()
        self.tiktok = tiktok
        self.bus = bus
        self.witness: Callable[[str, Any, object], None] | None = None
        """Told of each invocation: function, event, and its answer or what it raised."""

    def reset(self, folder: Path) -> None:
        """Begin anew: nobody is linked, nothing waits, no function remembers anything."""
        self.create_tables()
        for queue in ("RenewalQueue", "RevocationQueue", "RescueQueue"):
            self._empty(self.physical_ids[queue])
        self._patch.setattr("tempfile.tempdir", str(folder))  # where the journal lies
        self.clock = Clock()
        bootstrap.use_clock(self.clock)
        self.tiktok.script.clear()
        self.tiktok.received.clear()
        self.bus.received.clear()
        self._variables = self.variables()
        self._current = ""
        _forget()

    def deploy(self, **values: str) -> None:
        """Give every function that has such a variable another value, until the next ``reset``."""
        for own in self._variables.values():
            own.update({name: value for name, value in values.items() if name in own})
        self._current = ""
        _forget()

    def create_tables(self, *tables: str) -> None:
        """Empty tables, whether there were any or not; both, if none is named."""
        for table in tables or TABLES:
            with suppress(client("dynamodb").exceptions.ResourceNotFoundException):
                client("dynamodb").delete_table(TableName=table)
            create_table(table)

    def _empty(self, url: str) -> None:
        # Not PurgeQueue, which is allowed once a minute.
        while (
            found := client("sqs")
            .receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            .get("Messages")
        ):
            for message in found:
                client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def invoke(self, function: str, event: Any, *, milliseconds: int = 28_000) -> Any:
        """Run a function's handler with its own variables."""
        before = self._current
        self.become(function)
        try:
            handler = _handler(function)
            answer = json.loads(json.dumps(handler(event, Context(milliseconds))))
            self._tell(function, event, answer)
            return answer
        except Exception as error:
            self._tell(function, event, error)
            raise
        finally:
            if before:
                self.become(before)

    def _tell(self, function: str, event: Any, ending: object) -> None:
        if self.witness is not None:
            self.witness(function, event, ending)

    def restart(self) -> None:
        """Let the next invocation of whatever function begin in a process of its own."""
        _forget()

    def variables(self) -> dict[str, dict[str, str]]:
        """Each function's environment, as the template gives it."""
        return {name: dict(own) for name, own in self._given.items()}

    def become(self, function: str) -> None:
        """Have this function's variables, and no memory of another's."""
        if function == self._current:
            return
        _forget()
        own = self._variables[_logical_id(function)]
        for name in self._names - own.keys():
            self._patch.delenv(name, raising=False)
        for name, value in own.items():
            self._patch.setenv(name, value)
        self._current = function

    @contextmanager
    def given(self, function: str, **variables: str) -> Iterator[None]:
        """Let a function have other variables for a while, as another parameter would give it."""
        own = self._variables[_logical_id(function)]
        before = dict(own)
        self._variables = {**self._variables, _logical_id(function): {**own, **variables}}
        self._current = ""
        yield
        self._variables = {**self._variables, _logical_id(function): before}
        self._current = ""

    def items(self, *tables: str) -> dict[str, list[dict[str, Any]]]:
        """Everything in both tables or in those named, as DynamoDB's client gives it."""
        return {t: client("dynamodb").scan(TableName=t)["Items"] for t in tables or TABLES}

    def put_back(self, items: Mapping[str, list[dict[str, Any]]]) -> None:
        """Fill the tables with what ``items`` gave."""
        for table, rows in items.items():
            for row in rows:
                client("dynamodb").put_item(TableName=table, Item=row)

    def dump(self) -> str:
        """Everything at rest: both tables and all waiting messages."""
        queues = ("RenewalQueue", "RevocationQueue", "RescueQueue")
        return repr((self.items(), [self.messages(queue) for queue in queues]))

    def messages(self, queue: str) -> list[str]:
        """The bodies that wait in a queue; they stay there."""
        url = client("sqs").get_queue_url(QueueName=queue)["QueueUrl"]
        found = client("sqs").receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0
        )
        return [message["Body"] for message in found.get("Messages", [])]

    def sent(self) -> list[dict[str, Any]]:
        """The entries that were put on the bus, in order."""
        return [
            {**entry, "Detail": json.loads(entry["Detail"])}
            for request in self.bus.received
            for entry in json.loads(request.body)["Entries"]
        ]

    def pair(self, number: int = 1, **changes: Any) -> dict[str, Any]:
        """A token answer of TikTok's for the person of the events."""
        return {
            "access_token": f"act.event{number}!0001",
            "refresh_token": f"rft.event{number}*0001",
            "open_id": OPEN_ID,
            "expires_in": 86400,
            "refresh_expires_in": 15552000,
            "scope": "user.info.basic",
            "token_type": "Bearer",
        } | changes


@functools.cache
def event(name: str) -> Any:
    """events/<name>.json; copy it before you change it."""
    return json.loads((ROOT / "events" / f"{name}.json").read_text(encoding="utf-8"))


def changed(name: str, **changes: Any) -> Any:
    """An event with other top-level values; a dict is merged into the one that was there."""
    made = json.loads(json.dumps(event(name)))
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(made.get(key), dict):
            made[key] = made[key] | value
        else:
            made[key] = value
    return made


def with_body(name: str, body: object) -> Any:
    """An event with another JSON body, in base64 as API Gateway may send it."""
    encoded = base64.b64encode(json.dumps(body).encode()).decode()
    return changed(name, body=encoded, isBase64Encoded=True)


def signed(event: Mapping[str, Any], *, at: datetime, secret: str = CLIENT_SECRET) -> Any:
    """A webhook's event, signed as TikTok does; what goes over the wire is what is signed."""
    text = event["body"].encode()
    raw = base64.b64decode(text) if event["isBase64Encoded"] else text
    headers = event["headers"] | {"tiktok-signature": sign(secret, int(at.timestamp()), raw)}
    return {**event, "headers": headers}


def body_of(answer: Mapping[str, Any]) -> Any:
    """The JSON of an answer."""
    return json.loads(answer["body"])


def _logical_id(function: str) -> str:
    return f"{function.capitalize()}Function"


def _handler(function: str) -> Any:
    """The handler that the template names."""
    shared = template()["Globals"]["Function"]
    properties = shared | template()["Resources"][_logical_id(function)]["Properties"]
    module, _, name = properties["Handler"].rpartition(".")
    folder = properties["CodeUri"].strip("/").replace("/", ".")
    return getattr(importlib.import_module(f"{folder}.{module}"), name)


def _forget() -> None:
    for name, value in vars(bootstrap).items():
        # The boto3 session knows no function; loading it anew is what takes the time.
        if isinstance(value, functools._lru_cache_wrapper) and name != "_session":
            value.cache_clear()


def _create_resources() -> dict[str, str]:
    physical_ids: dict[str, str] = {}
    for name, resource in template()["Resources"].items():
        if resource["Type"] == "AWS::SQS::Queue":
            physical_ids[name] = client("sqs").create_queue(QueueName=name)["QueueUrl"]
        elif resource["Type"] == "AWS::KMS::Key":
            physical_ids[name] = client("kms").create_key()["KeyMetadata"]["KeyId"]
        elif resource["Type"] == "AWS::SecretsManager::Secret":
            secret = json.dumps({"default": {"current": CLIENT_SECRET}})
            made = client("secretsmanager").create_secret(Name=name, SecretString=secret)
            physical_ids[name] = made["ARN"]
    return physical_ids


def _take_events(bus: Loopback) -> None:
    """EventBridge's PutEvents: everything is taken. moto's needs a library more."""

    def put(stream: BufferedIOBase) -> None:
        entries = json.loads(bus.received[-1].body)["Entries"]
        taken = [{"EventId": str(number)} for number in range(len(entries))]
        Answer({"FailedEntryCount": 0, "Entries": taken})(stream)

    bus.otherwise = put


def _lead_to_refresh(lambda_api: Loopback, stack: RunningStack) -> None:
    """Lambda's Invoke: run the function and answer its result, or its error as Lambda does."""

    def invoke(stream: BufferedIOBase) -> None:
        request = lambda_api.received[-1]
        assert request.target == "/2015-03-31/functions/RefreshFunction/invocations"
        try:
            Answer(stack.invoke("refresh", json.loads(request.body)))(stream)
        except Exception as error:  # whatever a handler raises, Lambda answers so
            logger.info("refresh failed", exc_info=error)
            Answer({"errorMessage": "…"}, headers={"X-Amz-Function-Error": "Unhandled"})(stream)

    lambda_api.otherwise = invoke


@contextmanager
def running_stack(**wished: str) -> Iterator[RunningStack]:
    """The stack's resources and variables; ``reset`` comes before each use."""
    parameters = {
        "ReturnOrigins": "https://app.example.com",
        "ScopesOptional": "video.list",
        "LogLevel": "DEBUG",
        "VerificationFiles": "tiktokExample42.txt=tiktok-developers-site-verification=Example42",
    } | wished
    with (
        pytest.MonkeyPatch.context() as patch,
        loopback() as tiktok,
        loopback() as lambda_api,
        loopback() as bus,
        aws(),
    ):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("AWS_ENDPOINT_URL_LAMBDA", lambda_api.url)
        patch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.url)
        _take_events(bus)
        made_up = made_up_stack(template(), base_url=BASE_URL)
        physical_ids = dict(made_up.physical_ids) | _create_resources()
        resolved = Stack(dict(made_up.parameters) | parameters, physical_ids)
        variables = variables_of(template(), resolved)
        for own in variables.values():
            if "TIKTOK_API_BASE_URL" in own:
                own["TIKTOK_API_BASE_URL"] = tiktok.url
        stack = RunningStack(variables, physical_ids, tiktok, bus, patch)
        _lead_to_refresh(lambda_api, stack)
        yield stack
        _forget()
        bootstrap.use_clock(lambda: datetime.now(UTC))
