"""The signed routes as the team's backend meets them, and the refresh and rescue functions."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.fakes.aws import client
from tests.fakes.loopback import Answer, hang_up
from tests.functions.stack import (
    ACCOUNT_ID,
    GRANT_ID,
    RunningStack,
    body_of,
    changed,
    event,
    with_body,
)
from tiktok_linking.sessions import LinkSession

SIGNED = [
    "accounts-change",
    "accounts-list",
    "accounts-show",
    "sessions-cancel",
    "sessions-create",
    "sessions-relink",
    "sessions-show",
    "tokens-vend",
    "unlink-account",
]


def ask(stack: RunningStack, name: str, **changes: Any) -> dict[str, Any]:
    answer: dict[str, Any] = stack.invoke(name.partition("-")[0], changed(name, **changes))
    return answer


def send(stack: RunningStack, name: str, body: object) -> dict[str, Any]:
    answer: dict[str, Any] = stack.invoke(name.partition("-")[0], with_body(name, body))
    return answer


def code_of(answer: dict[str, Any]) -> tuple[int, str]:
    return answer["statusCode"], body_of(answer)["code"]


# -- who may ask --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGNED)
def test_an_unsigned_request_is_refused_before_anything_is_read(
    stack: RunningStack, name: str
) -> None:
    for table in ("AccountsTable", "SessionsTable"):
        client("dynamodb").delete_table(TableName=table)

    authorizers: list[object] = [None, {}, {"iam": None}, {"iam": {}}, {"jwt": {"claims": {}}}]
    for authorizer in authorizers:
        answer = ask(stack, name, requestContext={"authorizer": authorizer})
        assert (answer["statusCode"], body_of(answer)) == (403, {"message": "Forbidden"})


@pytest.mark.parametrize("name", SIGNED)
def test_a_failing_table_is_no_trace(stack: RunningStack, name: str) -> None:
    for table in ("AccountsTable", "SessionsTable"):
        client("dynamodb").delete_table(TableName=table)

    answer = ask(stack, name)

    assert code_of(answer) == (500, "internal")
    assert set(body_of(answer)) == {"type", "title", "status", "code", "action_by", "request_id"}
    assert body_of(answer)["request_id"] == "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"


@pytest.mark.parametrize("name", SIGNED)
def test_a_wrong_set_up_is_no_trace(
    stack: RunningStack, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = name.partition("-")[0]
    stack.become(function)
    for variable in ("ACCOUNTS_TABLE", "SESSIONS_TABLE"):
        monkeypatch.setenv(variable, "")

    answer = stack.invoke(function, event(name))

    assert code_of(answer) == (500, "internal")
    assert "TABLE" not in answer["body"]


@pytest.mark.parametrize("name", SIGNED)
def test_an_unknown_query_parameter_is_refused(stack: RunningStack, name: str) -> None:
    answer = ask(stack, name, rawQueryString="force=true")

    assert code_of(answer) == (400, "invalid_request")


WITH_BODY = ["accounts-change", "sessions-create", "sessions-relink", "tokens-vend"]
OF_AN_ACCOUNT = ["accounts-show", "tokens-vend", "unlink-account", "sessions-relink"]


@pytest.mark.parametrize("name", WITH_BODY)
def test_a_body_that_breaks_the_contract_is_refused(
    stack: RunningStack, linked: LinkSession, name: str
) -> None:
    for body in ("{", "[]", '{"status": "active"}', '{"end_user_id": 1, "x": 2}'):
        answer = ask(stack, name, body=body)

        assert code_of(answer) == (400, "invalid_request")
        assert body_of(answer)["action_by"] == "developer"


@pytest.mark.parametrize("name", OF_AN_ACCOUNT)
def test_an_account_that_is_none_is_not_found(
    stack: RunningStack, linked: LinkSession, name: str
) -> None:
    for account_id in ("acct_x", "acct_" + "a" * 48, "%00", "..%2f.."):
        answer = ask(stack, name, pathParameters={"id": account_id})

        assert code_of(answer) == (404, "not_found")


# -- sessions -----------------------------------------------------------------------------------


def test_a_session_is_kept_for_session_days(stack: RunningStack) -> None:
    stack.deploy(SESSION_DAYS="2")

    expiry = datetime.fromisoformat(body_of(ask(stack, "sessions-create"))["expires_at"])

    items = client("dynamodb").scan(TableName="SessionsTable")["Items"]
    (ttl,) = [int(item["ttl"]["N"]) for item in items if item["pk"]["S"].startswith("s#")]
    assert ttl == int((expiry + timedelta(days=2)).timestamp())


def test_the_same_key_gives_the_same_session(stack: RunningStack) -> None:
    first, second = (body_of(ask(stack, "sessions-create")) for _ in range(2))

    assert first == second


def test_the_same_key_with_another_body_is_a_conflict(stack: RunningStack) -> None:
    ask(stack, "sessions-create")

    answer = send(stack, "sessions-create", {"end_user_id": "u_43"})

    assert code_of(answer) == (409, "idempotency_conflict")


def test_a_key_belongs_to_its_caller(stack: RunningStack) -> None:
    first = body_of(ask(stack, "sessions-create"))
    other = {"iam": {"userArn": "arn:aws:sts::123456789012:assumed-role/another/session"}}

    second = body_of(ask(stack, "sessions-create", requestContext={"authorizer": other}))

    assert second["id"] != first["id"]


def test_the_order_of_fields_makes_no_other_body(stack: RunningStack) -> None:
    first = send(stack, "sessions-create", {"end_user_id": "u", "locale": "de"})
    second = send(stack, "sessions-create", {"locale": "de", "end_user_id": "u"})

    assert body_of(first)["id"] == body_of(second)["id"]


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "é", "a\nb"])
def test_a_key_is_printable_and_short(stack: RunningStack, key: str) -> None:
    answer = ask(stack, "sessions-create", headers={"idempotency-key": key})

    assert code_of(answer) == (400, "invalid_request")


@pytest.mark.parametrize(
    "return_url",
    ["https://evil.example/", "https://app.example.com.evil.example/", "javascript:alert(1)"],
)
def test_a_return_url_beyond_the_list_is_refused(stack: RunningStack, return_url: str) -> None:
    answer = send(stack, "sessions-create", {"end_user_id": "u", "return_url": return_url})

    assert code_of(answer) == (400, "invalid_request")


@pytest.mark.parametrize("session_id", ["ls_x", "ls_" + "a" * 43, "%00"])
def test_a_session_that_is_none_is_not_found(stack: RunningStack, session_id: str) -> None:
    for name in ("sessions-show", "sessions-cancel"):
        assert code_of(ask(stack, name, pathParameters={"id": session_id})) == (404, "not_found")


def test_a_finished_session_is_not_cancelled(stack: RunningStack, linked: LinkSession) -> None:
    assert code_of(ask(stack, "sessions-cancel")) == (409, "link_session_used")


def test_without_an_address_of_its_own_the_stages_is_used(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On AWS a function cannot be told the API's address in a variable."""
    stack.become("sessions")
    monkeypatch.setenv("PUBLIC_BASE_URL", "")
    forged = {"host": "evil.example", "x-forwarded-host": "evil.example"}

    answer = stack.invoke("sessions", changed("sessions-create", headers=forged))

    assert body_of(answer)["url"].startswith(
        "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/connect/ls_"
    )


def test_without_any_address_nothing_is_made_up(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.become("sessions")
    monkeypatch.setenv("PUBLIC_BASE_URL", "")

    answer = stack.invoke("sessions", changed("sessions-create", stageVariables=None))

    assert code_of(answer) == (500, "internal")


# -- tokens -------------------------------------------------------------------------------------


def test_a_scope_that_was_not_granted_is_told(stack: RunningStack, linked: LinkSession) -> None:
    answer = send(stack, "tokens-vend", {"required_scopes": ["video.publish"]})

    assert code_of(answer) == (403, "scope_not_granted")
    assert body_of(answer)["missing_scopes"] == ["video.publish"]


def test_a_dead_token_during_an_outage_is_told_with_a_time_to_wait(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(days=2)
    stack.tiktok.script.append(Answer({"error": "rate_limit_exceeded"}, 429, {"Retry-After": "60"}))

    answer = ask(stack, "tokens-vend")

    assert code_of(answer) == (503, "provider_unavailable")
    assert body_of(answer)["retry_after"] >= 60
    assert answer["headers"]["Retry-After"] == str(body_of(answer)["retry_after"])


def test_a_live_token_during_an_outage_is_vended_with_a_warning(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(hours=23, minutes=58)
    stack.tiktok.script.append(Answer(b"<html>", 503))

    body = body_of(ask(stack, "tokens-vend"))

    assert (body["access_token"], body["warning"]) == ("act.event1!0001", "provider_unavailable")


def test_a_removal_by_the_person_needs_the_person(stack: RunningStack, linked: LinkSession) -> None:
    stack.clock.advance(days=2)
    stack.tiktok.script.append(Answer({"error": "invalid_grant"}))

    answer = ask(stack, "tokens-vend")

    assert code_of(answer) == (409, "relink_required")
    assert (body_of(answer)["action_by"], body_of(answer)["reason"]) == (
        "end_user",
        "refresh_token_rejected",
    )
    shown = body_of(ask(stack, "accounts-show"))
    assert (shown["status"], shown["reason"]) == ("relink_required", "refresh_token_rejected")


def test_a_lost_rotation_is_told_as_our_loss(stack: RunningStack, linked: LinkSession) -> None:
    stack.clock.advance(days=2)
    stack.tiktok.script.extend([hang_up, Answer({"error": "invalid_grant"})])

    answer = ask(stack, "tokens-vend")

    assert body_of(answer)["reason"] == "rotation_lost"


def test_a_wrong_client_secret_is_the_operators_task(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(days=2)
    stack.tiktok.script.extend([Answer({"error": "invalid_client"})] * 4)

    answer = ask(stack, "tokens-vend")

    assert code_of(answer) == (502, "client_credentials_invalid")
    assert body_of(answer)["action_by"] == "operator"
    assert body_of(ask(stack, "accounts-show"))["status"] == "active"


# -- accounts and unlinking ---------------------------------------------------------------------


def test_a_list_goes_on_where_its_cursor_says_and_nowhere_else(
    stack: RunningStack, linked: LinkSession
) -> None:
    first = body_of(ask(stack, "accounts-list", rawQueryString="limit=1"))
    assert [item["id"] for item in first["items"]] == [ACCOUNT_ID]
    cursor = first["next_cursor"] or "bm9uc2Vuc2U"

    other = ask(stack, "accounts-list", rawQueryString=f"end_user_id=u_1&cursor={cursor}")

    assert code_of(other) == (400, "invalid_request")


def test_no_answer_about_accounts_holds_a_token(stack: RunningStack, linked: LinkSession) -> None:
    for name in ("accounts-list", "accounts-show", "accounts-change", "sessions-show"):
        shown = ask(stack, name)["body"]
        assert not [word for word in ("act.", "rft.", "fingerprint") if word in shown], name


def test_unlinking_without_revoking_leaves_tiktok_alone(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(minutes=5)

    answer = ask(stack, "unlink-account", rawQueryString="revoke=false")

    assert body_of(answer) == {
        "status": "unlinked",
        "revoked_at_tiktok": False,
        "reason": "not_requested",
    }
    assert stack.tiktok.received == []


def test_a_revocation_that_fails_is_pending_and_a_repeat_finishes_it(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(minutes=5)
    stack.tiktok.script.extend([Answer(b"", 500), Answer(b"")])

    first, second = (body_of(ask(stack, "unlink-account")) for _ in range(2))

    assert (first["revoked_at_tiktok"], second["revoked_at_tiktok"]) == ("pending", True)


def test_an_unlinked_account_stays_findable_by_its_status(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(minutes=5)
    stack.tiktok.script.append(Answer(b""))
    ask(stack, "unlink-account")

    listed = body_of(ask(stack, "accounts-list", rawQueryString="end_user_id=u_42"))
    asked = body_of(ask(stack, "accounts-list", rawQueryString="end_user_id=u_42&status=unlinked"))

    assert listed["items"] == []
    assert [item["status"] for item in asked["items"]] == ["unlinked"]


# -- refresh and rescue -------------------------------------------------------------------------


def records(*bodies: str) -> dict[str, Any]:
    return {"Records": [{"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]}


def failed(answer: Any) -> list[str]:
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


def test_messages_that_are_none_fail_alone(stack: RunningStack, linked: LinkSession) -> None:
    stack.clock.advance(days=7)
    stack.tiktok.script.append(Answer(stack.pair(2)))
    good = json.dumps({"grant": GRANT_ID})

    answer = stack.invoke("refresh", records("{", good, "[]", '{"other": 1}', "null", good))

    assert failed(answer) == ["m0", "m2", "m3", "m4"]
    assert len(stack.tiktok.received) == 1, "two messages for one grant are one renewal"


def test_a_batch_of_nonsense_alone_fails_alone(stack: RunningStack) -> None:
    assert failed(stack.invoke("refresh", records("{", "[]"))) == ["m0", "m1"]


def test_a_batch_that_could_not_be_renewed_comes_again(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(days=7)
    (key,) = [item for item in stack.items()["AccountsTable"] if item["pk"]["S"] == "key#refresh"]
    place = {"pk": key["pk"], "sk": key["sk"]}
    client("dynamodb").delete_item(TableName="AccountsTable", Key=place)

    answer = stack.invoke("refresh", records(json.dumps({"grant": GRANT_ID})))

    assert failed(answer) == ["m0"]
    assert stack.tiktok.received == []


@pytest.mark.parametrize("times", [2, 5])
def test_the_same_schedule_twice_calls_tiktok_once(
    stack: RunningStack, linked: LinkSession, times: int
) -> None:
    stack.clock.advance(days=7)
    stack.tiktok.script.append(Answer(stack.pair(2)))
    queued = []
    for _ in range(times):
        stack.invoke("refresh", {})
        queued = stack.messages("RenewalQueue")

    for body in queued:
        stack.invoke("refresh", records(body))

    assert len(stack.tiktok.received) == 1


def test_a_job_without_a_grant_is_a_defect_and_no_plan(stack: RunningStack) -> None:
    with pytest.raises(KeyError):
        stack.invoke("refresh", {"job": "renew"})


def test_a_job_for_an_unknown_grant_ends(stack: RunningStack) -> None:
    assert stack.invoke("refresh", {"job": "renew", "grant": "x"})["outcome"] == "ended"


@pytest.mark.parametrize("body", ["", "{", "{}", '{"kind": "renewed"}', "null"])
def test_what_is_no_parcel_stays_in_the_rescue_queue(stack: RunningStack, body: str) -> None:
    assert failed(stack.invoke("rescue", records(body), milliseconds=5000)) == ["m0"]


def test_a_parcel_that_cannot_land_stays_in_the_rescue_queue(stack: RunningStack) -> None:
    client("dynamodb").delete_table(TableName="AccountsTable")

    answer = stack.invoke("rescue", event("rescue-authorised"), milliseconds=5000)

    assert failed(answer) == [event("rescue-authorised")["Records"][0]["messageId"]]


def test_a_parcel_lands_once_however_often_it_comes(
    stack: RunningStack, started: LinkSession
) -> None:
    for _ in range(3):
        answer = stack.invoke("rescue", event("rescue-authorised"), milliseconds=5000)
        assert answer == {"batchItemFailures": []}

    shown = body_of(ask(stack, "accounts-show"))
    assert (shown["version"], shown["status"]) == (1, "active")
    assert body_of(ask(stack, "sessions-show"))["status"] == "completed"
