"""AUTH=true: each function has its own role's permissions and no others."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.testing import WorldHandle, running_world
from tests.local.conftest import STACK


@pytest.fixture(scope="module")
def guarded() -> Iterator[WorldHandle]:
    with running_world(TEMPLATE_FILE=STACK, AUTH="true") as world:
        yield world


def ask(world: WorldHandle, what: str) -> dict[str, Any]:
    return world.invoke("ProbeFunction", {"do": what})


def test_what_the_role_allows_works(guarded: WorldHandle) -> None:
    # All of it: items, queue, bus, the secret, and the key although its condition is taken out.
    answer = ask(guarded, "write")

    assert answer["error"] is None, answer
    guarded.settle()
    assert [event["source"] for event in guarded.events()] == ["tiktok-link"]


def test_what_the_role_does_not_allow_is_denied(guarded: WorldHandle) -> None:
    answer = ask(guarded, "read")

    assert answer["error"].startswith("ClientError: ")
    assert "dynamodb:GetItem" in answer["error"]


def test_a_function_may_not_invoke_another_without_permission(guarded: WorldHandle) -> None:
    answer = ask(guarded, "call")

    assert "AccessDenied" in answer["error"]
    assert guarded.logs("work") == [] or all(
        record.get("message") != "called" for record in guarded.logs("work")
    )


def test_credentials_are_those_of_a_session_of_the_role(guarded: WorldHandle) -> None:
    env = json.loads(ask(guarded, "echo")["payload"]["body"])["env"]

    assert env["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert env["AWS_SESSION_TOKEN"]
