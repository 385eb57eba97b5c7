"""What it costs to be refused: a flood of nonsense must stay cheaper to answer than to send."""

from __future__ import annotations

import json

from tests.functions.doors import Cost, Knock, doors
from tests.functions.stack import RunningStack, body_of, with_body

WRITES = ("Put", "Delete", "BatchWrite", "TransactWrite")
MOST_LOGGED_BYTES = 1024
MOST_ANSWERED_BYTES = 16 * 1024


def costing(knocks: list[Knock], cost: Cost) -> list[Knock]:
    """The knocks that may cost so much, of every door."""
    found = [knock for knock in knocks if knock.may_cost is cost]
    if cost is Cost.NOTHING:
        assert {knock.door.route for knock in found} == set(doors())
    return found


def test_what_is_malformed_costs_nothing(knocks: list[Knock]) -> None:
    """Ids, queries, bodies, cursors, headers, methods: refused before anybody is asked."""
    tried = costing(knocks, Cost.NOTHING)

    for knock in tried:
        assert (knock.calls, knock.to_tiktok) == ((), ()), str(knock)
        assert knock.status in (204, 303, 400, 401, 403, 404, 409, 500) or (
            knock.door.route in ("GET /{file}", "GET /connect.js")
        ), str(knock)
    assert len(tried) > 500


def test_what_is_unknown_costs_one_request_to_dynamodb(knocks: list[Knock]) -> None:
    """No key, no secret, no queue, no TikTok: one look, which may be a condition that fails."""
    tried = costing(knocks, Cost.ONE_REQUEST)

    for knock in tried:
        assert len(knock.calls) == 1, f"{knock}: {knock.calls}"
        assert knock.calls[0].startswith("dynamodb."), str(knock)
        assert not knock.calls[0].partition(".")[2].startswith(WRITES), str(knock)
        assert knock.to_tiktok == (), str(knock)
        assert knock.status in (400, 404), str(knock)
    with_ids = {route for route in doors() if "{id}" in route}
    assert {knock.door.route for knock in tried} == {*with_ids, "GET /authorize", "GET /callback"}


def test_a_forged_webhook_costs_one_secret_in_five_minutes(knocks: list[Knock]) -> None:
    first, second = costing(knocks, Cost.ONE_SECRET)

    assert set(first.calls) <= {"secretsmanager.GetSecretValue"}
    assert second.calls == ()


def test_who_is_refused_fills_no_log(knocks: list[Knock]) -> None:
    """At the most talkative level, API Gateway's own line apart, whose fields are bounded."""
    refused = [knock for knock in knocks if knock.status >= 400 or knock.may_cost is Cost.NOTHING]

    assert len(refused) > 500
    assert max(len(knock.logged.encode()) for knock in refused) < MOST_LOGGED_BYTES
    assert any(knock.logged for knock in refused), "the log was not looked at"


def test_a_log_repeats_nothing_that_a_stranger_writes(knocks: list[Knock]) -> None:
    for knock in knocks:
        assert "canary" not in knock.logged.lower(), f"{knock}: {knock.logged}"
        for line in knock.logged.splitlines():
            assert isinstance(json.loads(line), dict), str(knock)


def test_who_is_refused_gets_a_small_answer(knocks: list[Knock]) -> None:
    refused = [knock for knock in knocks if knock.status >= 400]

    assert max(len(knock.answer["body"].encode()) for knock in refused) < MOST_ANSWERED_BYTES


def test_the_largest_session_fits_in_its_answer_and_its_page(stack: RunningStack) -> None:
    """Every text as long as it may be, each character as long as JSON can make it."""
    wished = {
        "end_user_id": "\x01" * 256,
        "end_user_label": "\u0800" * 200,
        "return_url": "https://app.example.com/" + "'" * 2024,
        "metadata": {f"{number:064}": "\x01" * 38 for number in range(20)},
    }

    made = stack.invoke("sessions", with_body("sessions-create", wished))

    assert made["statusCode"] == 201
    assert len(made["body"].encode()) < MOST_ANSWERED_BYTES
    shown = {"pathParameters": {"id": body_of(made)["id"]}}
    page = stack.invoke("authorize", {**doors()["GET /connect/{id}"].event, **shown})
    assert page["statusCode"] == 200
    assert len(page["body"].encode()) < 2 * MOST_ANSWERED_BYTES
