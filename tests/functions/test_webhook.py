"""The webhook at its door: what is let in, what is turned away, and what that costs."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.fakes.aws import client
from tests.functions.stack import (
    CLIENT_SECRET,
    OPEN_ID,
    RunningStack,
    body_of,
    changed,
    event,
    signed,
)
from tests.functions.test_events import grant
from tiktok_linking.accounts import Status
from tiktok_linking.sessions import LinkSession

Event = Any


@pytest.fixture
def later(stack: RunningStack, linked: LinkSession) -> RunningStack:
    """An hour after somebody was linked."""
    stack.clock.advance(hours=1)
    return stack


def told(stack: RunningStack, *, encoded: bool = False, **changes: object) -> Event:
    """An event of now, in the two forms that API Gateway gives a body."""
    fields = {
        "client_key": "awlocaldefault",
        "event": "authorization.removed",
        "create_time": int(stack.clock.now.timestamp()),
        "user_openid": OPEN_ID,
        "content": '{"reason": 1 }',
    }
    body = json.dumps(fields | changes)
    if encoded:
        text = base64.b64encode(body.encode()).decode()
        return signed(
            changed("webhook-removed", body=text, isBase64Encoded=True), at=stack.clock.now
        )
    return signed(changed("webhook-removed", body=body), at=stack.clock.now)


def is_refused(answer: Event) -> bool:
    """Refused without a word why."""
    return (answer["statusCode"], body_of(answer)) == (401, {"message": "Unauthorized"})


@pytest.mark.parametrize("encoded", [False, True])
def test_a_body_may_come_encoded(later: RunningStack, encoded: bool) -> None:
    answer = later.invoke("webhook", told(later, encoded=encoded))

    assert answer["statusCode"] == 200
    assert grant().status is Status.REVOKED


@pytest.mark.parametrize("name", ["TikTok-Signature", "Tiktok-Signature", "TIKTOK-SIGNATURE"])
def test_the_header_may_be_spelt_in_any_case(later: RunningStack, name: str) -> None:
    made = told(later)
    made["headers"][name] = made["headers"].pop("tiktok-signature")

    assert later.invoke("webhook", made)["statusCode"] == 200
    assert grant().status is Status.REVOKED


def test_no_header_a_wrong_one_and_a_changed_body_are_answered_alike(later: RunningStack) -> None:
    none, wrong, altered = told(later), told(later), told(later)
    del none["headers"]["tiktok-signature"]
    wrong = signed(wrong, at=later.clock.now, secret="guessed")
    altered["body"] = altered["body"].replace("1 }", "5 }")

    assert all(is_refused(later.invoke("webhook", made)) for made in (none, wrong, altered))
    assert grant().status is Status.ACTIVE


def test_two_signatures_joined_by_the_gateway_are_refused(later: RunningStack) -> None:
    made = told(later)
    made["headers"]["tiktok-signature"] = ",".join([made["headers"]["tiktok-signature"]] * 2)

    assert is_refused(later.invoke("webhook", made))


def test_an_old_signature_is_taken_for_a_removal_alone(later: RunningStack) -> None:
    removal, other = told(later), told(later, event="video.publish.completed")
    later.clock.advance(hours=48)

    assert is_refused(later.invoke("webhook", other))
    assert later.invoke("webhook", removal)["statusCode"] == 200
    assert grant().status is Status.REVOKED


def test_a_secret_that_was_rotated_verifies_beside_the_new_one(later: RunningStack) -> None:
    fields = {"default": {"current": "the next secret", "previous": CLIENT_SECRET}}
    secret = later.physical_ids["AppSecret"]
    client("secretsmanager").put_secret_value(SecretId=secret, SecretString=json.dumps(fields))
    try:
        made = told(later)
        by_next = signed(made, at=later.clock.now, secret="the next secret")
        by_none = signed(made, at=later.clock.now, secret="")

        assert is_refused(later.invoke("webhook", by_none))
        assert later.invoke("webhook", by_next)["statusCode"] == 200
        assert later.invoke("webhook", made)["statusCode"] == 200
    finally:
        fields = {"default": {"current": CLIENT_SECRET}}
        client("secretsmanager").put_secret_value(SecretId=secret, SecretString=json.dumps(fields))


def test_a_secret_that_was_never_filled_in_verifies_nothing(later: RunningStack) -> None:
    secret = later.physical_ids["AppSecret"]
    client("secretsmanager").put_secret_value(SecretId=secret, SecretString="{}")
    try:
        assert is_refused(later.invoke("webhook", signed(told(later), at=later.clock.now)))
        by_none = signed(told(later), at=later.clock.now, secret="")
        assert is_refused(later.invoke("webhook", by_none))
    finally:
        fields = {"default": {"current": CLIENT_SECRET}}
        client("secretsmanager").put_secret_value(SecretId=secret, SecretString=json.dumps(fields))
    assert grant().status is Status.ACTIVE


def test_a_table_that_does_not_answer_makes_tiktok_try_again(later: RunningStack) -> None:
    kept = later.items()
    client("dynamodb").delete_table(TableName="AccountsTable")

    answer = later.invoke("webhook", told(later))

    assert (answer["statusCode"], body_of(answer)["code"]) == (500, "internal")
    later.create_tables()
    later.put_back(kept)
    assert later.invoke("webhook", told(later))["statusCode"] == 200
    assert grant().status is Status.REVOKED


def test_an_unsigned_flood_reaches_no_table(later: RunningStack) -> None:
    client("dynamodb").delete_table(TableName="AccountsTable")

    for made in (told(later), changed("webhook-removed", body="x" * 60_000)):
        unsigned = signed(made, at=later.clock.now, secret="guessed")
        assert is_refused(later.invoke("webhook", unsigned))


def test_a_body_that_is_too_large_is_not_even_hashed(later: RunningStack) -> None:
    made = signed(changed("webhook-removed", body="x" * 65_537), at=later.clock.now)

    answer = later.invoke("webhook", made)

    assert (answer["statusCode"], body_of(answer)["code"]) == (400, "invalid_request")


def test_just_after_linking_a_removal_is_put_to_tiktok(
    stack: RunningStack, linked: LinkSession
) -> None:
    assert stack.invoke("webhook", told(stack))["statusCode"] == 200
    assert grant().pair is not None

    stack.clock.advance(minutes=1)
    assert stack.invoke("refresh", {}) == {"planned": 1}


def test_only_files_of_the_parameter_are_served(stack: RunningStack) -> None:
    for name in ("favicon.ico", "robots.txt", "..", "tiktokExample42.txt ", "TIKTOKEXAMPLE42.TXT"):
        made = changed("webhook-file", pathParameters={"file": name}, rawPath=f"/{name}")
        answer = stack.invoke("webhook", made)
        assert (answer["statusCode"], body_of(answer)["code"]) == (404, "not_found")


def test_a_route_that_is_not_its_own_is_not_found(stack: RunningStack) -> None:
    answer = stack.invoke("webhook", changed("webhook-file", routeKey="GET /webhooks/tiktok"))

    assert answer["statusCode"] == 404


@pytest.mark.parametrize("name", ["webhook-removed", "webhook-file"])
def test_every_answer_carries_the_headers_of_all_answers(stack: RunningStack, name: str) -> None:
    headers = stack.invoke("webhook", event(name))["headers"]

    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "max-age=31536000" in headers["Strict-Transport-Security"]


def test_a_recording_is_of_no_use_once_tiktok_has_given_up(later: RunningStack) -> None:
    made = told(later)
    later.invoke("webhook", made)
    later.clock.advance(days=4)

    assert is_refused(later.invoke("webhook", made)), "TikTok has given up by now"
