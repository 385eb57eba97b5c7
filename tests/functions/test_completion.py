"""Completion mode `app` at its doors: what goes where, and what stays shut."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fakes.loopback import Answer
from tests.functions.conftest import sessions
from tests.functions.stack import (
    SESSION_ID,
    RunningStack,
    body_of,
    changed,
    event,
    with_body,
)
from tiktok_linking.sessions import LinkSession, SessionReason, SessionStatus

CODE = json.loads(event("callback-complete")["body"])["completion_code"]
TIKTOKS_CODE = "Example-Code*!4.va"


def complete(stack: RunningStack, **body: object) -> Any:
    fields = {"completion_code": CODE, "end_user_id": "u_42"} | body
    return stack.invoke("callback", with_body("callback-complete", fields))


def stored() -> LinkSession:
    found = sessions().read(SESSION_ID)
    assert found is not None
    return found


def test_the_browser_brings_the_code_to_the_product_and_nowhere_else(
    stack: RunningStack, waiting: LinkSession
) -> None:
    again = stack.invoke("callback", event("callback-code"))

    location = again["headers"]["Location"]
    assert location.startswith("https://app.example.com/settings?")
    assert parse_qs(urlsplit(location).query) == {
        "link_session": [SESSION_ID],
        "completion_code": [CODE],
    }
    assert stack.tiktok.received == []


def test_neither_code_lies_in_the_table_in_the_clear(
    stack: RunningStack, waiting: LinkSession
) -> None:
    dump = stack.dump()

    assert TIKTOKS_CODE not in dump
    assert CODE not in dump
    assert stored().status is SessionStatus.AWAITING_COMPLETION


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("sessions", "sessions-show"),
        ("authorize", "authorize-status"),
        ("sessions", "sessions-cancel"),
    ],
)
def test_no_other_answer_tells_a_code(
    stack: RunningStack, waiting: LinkSession, function: str, name: str
) -> None:
    answer = json.dumps(stack.invoke(function, event(name)))

    assert CODE not in answer
    assert TIKTOKS_CODE not in answer


def test_the_page_tells_it_to_the_browser_that_came_back_alone(
    stack: RunningStack, waiting: LinkSession
) -> None:
    own = changed("authorize-connect-page", cookies=event("callback-code")["cookies"])
    other = changed("authorize-connect-page", cookies=[])

    assert CODE in stack.invoke("authorize", own)["body"]
    assert CODE not in json.dumps(stack.invoke("authorize", other))


def test_another_user_ends_it(stack: RunningStack, waiting: LinkSession) -> None:
    refused = complete(stack, end_user_id="u_attacker")

    assert (refused["statusCode"], body_of(refused)["code"]) == (409, "user_mismatch")
    assert body_of(refused)["action_by"] == "end_user"
    assert stored().reason is SessionReason.USER_MISMATCH
    (item,) = [i for i in stack.items()["SessionsTable"] if "pn" in i]
    assert "pc" not in item
    assert complete(stack)["statusCode"] == 409
    assert stack.tiktok.received == []


def test_it_is_exchanged_once_however_often_it_is_asked(
    stack: RunningStack, waiting: LinkSession
) -> None:
    stack.tiktok.script.extend([Answer(stack.pair(1)), Answer({}, status=500)])

    first, second = complete(stack), complete(stack)

    assert first["statusCode"] == 200
    assert second["body"] == first["body"]
    assert len([r for r in stack.tiktok.received if r.form.get("grant_type")]) == 1


def test_without_a_caller_it_is_forbidden(stack: RunningStack, waiting: LinkSession) -> None:
    """Whatever the template says of the route."""
    made = event("callback-complete")
    context = {k: v for k, v in made["requestContext"].items() if k != "authorizer"}

    answer = stack.invoke("callback", {**made, "requestContext": context})

    assert answer["statusCode"] == 403
    assert stored().status is SessionStatus.AWAITING_COMPLETION


def test_malformed_requests_cost_nothing(stack: RunningStack, waiting: LinkSession) -> None:
    for fields in ({"completion_code": "x"}, {"end_user_id": ""}, {"tenant_id": "x"}):
        assert complete(stack, **fields)["statusCode"] == 400
    made = changed("callback-complete", pathParameters={"id": "ls_short"})
    assert stack.invoke("callback", made)["statusCode"] == 404
    assert stored().status is SessionStatus.AWAITING_COMPLETION


def test_another_route_is_not_the_callbacks(stack: RunningStack) -> None:
    made = changed("callback-complete", routeKey="POST /v1/link-sessions/{id}/finish")

    assert stack.invoke("callback", made)["statusCode"] == 404


def test_the_teams_word_is_told_of_in_the_session(
    stack: RunningStack, waiting: LinkSession
) -> None:
    shown = body_of(stack.invoke("sessions", event("sessions-show")))

    assert (shown["status"], shown["completion"]) == ("awaiting_completion", "app")
    stack.clock.advance(minutes=5)
    late = body_of(stack.invoke("sessions", event("sessions-show")))
    assert (late["status"], late["action_by"]) == ("expired", "end_user")
    assert body_of(complete(stack))["code"] == "link_session_expired"
