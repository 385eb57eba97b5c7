"""events/*.json in a stack where the account they speak of is linked: what each one leads to."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import pytest

from tests.fakes.aws import ROOT, client
from tests.fakes.loopback import Answer
from tests.fakes.outbox import check
from tests.functions.conftest import sessions
from tests.functions.stack import (
    ACCOUNT_ID,
    BASE_URL,
    CLIENT_SECRET,
    GRANT_ID,
    OPEN_ID,
    SESSION_ID,
    RunningStack,
    body_of,
    changed,
    event,
)
from tiktok_linking.accounts import Grant, Status
from tiktok_linking.adapters.account_table import AccountTable
from tiktok_linking.adapters.dynamodb import Table
from tiktok_linking.sessions import LinkSession, SessionReason, SessionStatus

EVENTS = {file.stem for file in (ROOT / "events").glob("*.json")}


def accounts() -> AccountTable:
    return AccountTable(Table(client("dynamodb"), "AccountsTable"))


def grant() -> Grant:
    found = accounts().read_batch([GRANT_ID], ()).grants.get(GRANT_ID)
    assert found is not None
    return found


def test_every_event_has_a_test_here() -> None:
    tested = {
        name.removeprefix("test_event_").split("__")[0].replace("_", "-")
        for name in globals()
        if name.startswith("test_event_")
    }

    assert tested == EVENTS


# -- authorize ----------------------------------------------------------------------------------


def test_event_authorize_connect_page__shows_who_asks(
    stack: RunningStack, session: LinkSession
) -> None:
    answer = stack.invoke("authorize", event("authorize-connect-page"))

    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"] == "text/html; charset=utf-8"
    text = re.sub(r"<[^>]*>", "", answer["body"])
    assert "You are linking TikTok to Acme as Ada." in text
    assert stack.tiktok.received == []


def test_event_authorize_start__leads_to_tiktok(stack: RunningStack, session: LinkSession) -> None:
    answer = stack.invoke("authorize", event("authorize-start"))

    assert answer["statusCode"] == 302
    assert answer["headers"]["Location"].startswith(
        "https://www.tiktok.com/v2/auth/authorize/?client_key=awlocaldefault&response_type=code"
        "&scope=user.info.basic&redirect_uri=https%3A%2F%2Flink.example.com%2Fcallback&state="
    )
    (cookie,) = answer["cookies"]
    assert cookie.startswith("__Host-ttl_")
    assert cookie.endswith("; Max-Age=600; Path=/; Secure; HttpOnly; SameSite=Lax")
    found = sessions().read(SESSION_ID)
    assert found is not None
    assert found.status is SessionStatus.STARTED


def test_event_authorize_status__is_read_by_the_sessions_own_product(
    stack: RunningStack, session: LinkSession
) -> None:
    answer = stack.invoke("authorize", event("authorize-status"))

    assert (answer["statusCode"], body_of(answer)) == (200, {"status": "pending"})
    assert answer["headers"]["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert answer["headers"]["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in answer["headers"]


# -- callback -----------------------------------------------------------------------------------


def test_event_callback_code__links_the_account(stack: RunningStack, started: LinkSession) -> None:
    user = {
        "data": {"user": {"display_name": "Ada T.", "open_id": OPEN_ID}},
        "error": {"code": "ok"},
    }
    stack.tiktok.script.extend([Answer(stack.pair(1)), Answer(user)])

    answer = stack.invoke("callback", event("callback-code"))

    assert answer["statusCode"] == 303
    assert answer["headers"]["Location"] == (
        f"https://app.example.com/settings?link_session={SESSION_ID}"
    )
    exchange, profile = stack.tiktok.received
    assert exchange.form == {
        "client_key": "awlocaldefault",
        "client_secret": CLIENT_SECRET,
        "grant_type": "authorization_code",
        "code": "Example-Code*!4.va",
        "redirect_uri": f"{BASE_URL}/callback",
    }
    assert profile.headers["authorization"] == "Bearer act.event1!0001"
    link = accounts().read_link(ACCOUNT_ID)
    assert link is not None
    assert link[1].profile is not None
    assert link[1].profile.display_name == "Ada T."


def test_event_callback_complete__links_for_the_user_who_is_signed_in(
    stack: RunningStack, waiting: LinkSession
) -> None:
    stack.tiktok.script.extend([Answer(stack.pair(1)), Answer({}, status=500)])

    answer = stack.invoke("callback", event("callback-complete"))

    assert answer["statusCode"] == 200
    told = body_of(answer)
    assert (told["id"], told["status"], told["version"]) == (ACCOUNT_ID, "active", 1)
    assert told == body_of(stack.invoke("accounts", event("accounts-show")))
    exchange = stack.tiktok.received[0]
    assert exchange.form["code"] == "Example-Code*!4.va"
    assert exchange.form["redirect_uri"] == f"{BASE_URL}/callback"


def test_event_callback_cancelled__goes_back_to_the_product(
    stack: RunningStack, started: LinkSession
) -> None:
    answer = stack.invoke("callback", event("callback-cancelled"))

    assert answer["statusCode"] == 303
    assert answer["headers"]["Location"] == (
        f"https://app.example.com/settings?link_session={SESSION_ID}&error=cancelled"
    )
    found = sessions().read(SESSION_ID)
    assert found is not None
    assert found.reason is SessionReason.USER_CANCELLED
    assert stack.tiktok.received == []
    told = stack.invoke("authorize", event("authorize-status"))
    assert body_of(told) == {"status": "cancelled", "reason": "user_cancelled"}


def test_event_authorize_script__is_for_everybody_and_for_ever_by_its_version(
    stack: RunningStack,
) -> None:
    other = stack.invoke("authorize", event("authorize-script"))
    version = hashlib.sha256(other["body"].encode()).hexdigest()[:16]

    same = stack.invoke("authorize", changed("authorize-script", rawQueryString=f"v={version}"))

    assert (other["statusCode"], same["statusCode"]) == (200, 200)
    assert other["headers"]["Cache-Control"] == "public, max-age=300"
    assert same["headers"]["Cache-Control"] == "public, max-age=31536000, immutable"
    assert same["headers"]["Content-Type"] == "text/javascript; charset=utf-8"
    assert same["body"] == other["body"]
    assert "export function connect" in same["body"]


# -- webhook ------------------------------------------------------------------------------------


def test_event_webhook_removed__ends_the_grant(stack: RunningStack, linked: LinkSession) -> None:
    stack.clock.advance(minutes=31)

    answer = stack.invoke("webhook", event("webhook-removed"))

    assert (answer["statusCode"], body_of(answer)) == (200, {})
    found = grant()
    assert (found.status, found.reason) == (Status.REVOKED, "revoked_by_user")
    assert found.pair is None
    (row,) = [i for i in stack.items()["AccountsTable"] if i["sk"]["S"] == "grant"]
    assert row["ev"]["S"].startswith("account.revoked ")
    refused = stack.invoke("tokens", event("tokens-vend"))
    assert (refused["statusCode"], body_of(refused)["code"]) == (410, "account_revoked")
    assert body_of(refused)["action_by"] == "end_user"


def test_event_webhook_file__is_the_one_of_the_parameter(stack: RunningStack) -> None:
    answer = stack.invoke("webhook", event("webhook-file"))

    assert answer["statusCode"] == 200
    assert answer["body"] == "tiktok-developers-site-verification=Example42"
    assert answer["headers"]["Content-Type"] == "text/plain; charset=utf-8"


# -- sessions -----------------------------------------------------------------------------------


def test_event_sessions_create__gives_an_address_to_open(stack: RunningStack) -> None:
    answer = stack.invoke("sessions", event("sessions-create"))

    body = body_of(answer)
    assert answer["statusCode"] == 201
    assert body["url"] == f"{BASE_URL}/connect/{body['id']}"
    assert (body["status"], body["expires_at"]) == ("pending", "2026-11-21T12:30:00Z")
    assert sessions().read(body["id"]) is not None


def test_event_sessions_show__tells_how_it_stands(stack: RunningStack, linked: LinkSession) -> None:
    answer = stack.invoke("sessions", event("sessions-show"))

    assert body_of(answer) == {
        "id": SESSION_ID,
        "status": "completed",
        "completion": "browser",
        "account_id": ACCOUNT_ID,
        "expires_at": "2026-11-21T12:30:00Z",
    }


def test_event_sessions_cancel__withdraws_the_link(
    stack: RunningStack, session: LinkSession
) -> None:
    answer = stack.invoke("sessions", event("sessions-cancel"))

    assert answer["statusCode"] == 200
    assert body_of(answer)["reason"] == "cancelled_by_team"
    assert stack.invoke("authorize", event("authorize-connect-page"))["statusCode"] == 410


def test_event_sessions_relink__is_bound_to_the_account(
    stack: RunningStack, linked: LinkSession
) -> None:
    answer = stack.invoke("sessions", event("sessions-relink"))

    found = sessions().read(body_of(answer)["id"])
    assert answer["statusCode"] == 201
    assert found is not None
    assert (found.relink_account_id, found.end_user_id) == (ACCOUNT_ID, "u_42")


# -- accounts -----------------------------------------------------------------------------------


def test_event_accounts_list__finds_the_persons_account(
    stack: RunningStack, linked: LinkSession
) -> None:
    body = body_of(stack.invoke("accounts", event("accounts-list")))

    assert [item["id"] for item in body["items"]] == [ACCOUNT_ID]
    assert body["next_cursor"] is None


def test_event_accounts_show__tells_how_it_does(stack: RunningStack, linked: LinkSession) -> None:
    body = body_of(stack.invoke("accounts", event("accounts-show")))

    assert (body["id"], body["status"], body["open_id"]) == (ACCOUNT_ID, "active", OPEN_ID)
    assert (body["days_until_relink"], body["access_token_expires_at"]) == (
        180,
        "2026-11-22T12:00:00Z",
    )


def test_event_accounts_events__tells_what_was_published(
    stack: RunningStack, linked: LinkSession
) -> None:
    assert body_of(stack.invoke("accounts", event("accounts-events"))) == {
        "items": [],
        "next_cursor": None,
        "last_used_at": None,
    }

    stack.invoke("tokens", event("tokens-vend"))
    stack.invoke("publish", event("publish-streams"))

    body = body_of(stack.invoke("accounts", event("accounts-events")))
    assert [item["type"] for item in body["items"]] == [
        "account.relink_required",
        "account.linked",
    ]
    assert body["last_used_at"] == "2026-11-21T12:00:00Z"


def test_event_accounts_forecast__counts_the_persons_week(
    stack: RunningStack, linked: LinkSession
) -> None:
    weeks = body_of(stack.invoke("accounts", event("accounts-forecast")))["weeks"]

    # Linked on 2026-11-21 for 180 days: until Thursday, 2027-05-20.
    assert [week["week"] for week in weeks if week["accounts"]] == ["2027-W20"]
    assert weeks[0] == {
        "week": "2026-W47",
        "starts_on": "2026-11-16",
        "accounts": 0,
        "is_exact": True,
    }


def test_event_accounts_change__sets_metadata_and_mode(
    stack: RunningStack, linked: LinkSession
) -> None:
    body = body_of(stack.invoke("accounts", event("accounts-change")))

    assert body["metadata"] == {"plan": "pro"}
    assert body["refresh"]["mode"] == "always"


# -- tokens and unlink --------------------------------------------------------------------------


def test_event_tokens_vend__hands_out_the_token(stack: RunningStack, linked: LinkSession) -> None:
    answer = stack.invoke("tokens", event("tokens-vend"))

    assert answer["statusCode"] == 200
    assert answer["headers"]["Cache-Control"] == "no-store"
    assert body_of(answer) == {
        "access_token": "act.event1!0001",
        "token_type": "Bearer",
        "expires_at": "2026-11-22T12:00:00Z",
        "expires_in": 86400,
        "scopes": ["user.info.basic"],
        "missing_scopes": [],
        "open_id": OPEN_ID,
        "account_id": ACCOUNT_ID,
        "refreshed": False,
        "warning": None,
    }
    assert stack.tiktok.received == []


def test_event_tokens_vend__renews_what_is_about_to_end(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(hours=23, minutes=58)
    stack.tiktok.script.append(Answer(stack.pair(2)))

    body = body_of(stack.invoke("tokens", event("tokens-vend")))

    assert (body["access_token"], body["refreshed"]) == ("act.event2!0001", True)
    (sent,) = stack.tiktok.received
    assert sent.form["refresh_token"] == "rft.event1*0001"
    assert grant().rotations == 1


def test_event_unlink_account__disconnects_and_forgets(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(minutes=5)
    stack.tiktok.script.append(Answer(b""))

    answer = stack.invoke("unlink", event("unlink-account"))

    assert body_of(answer) == {"status": "unlinked", "revoked_at_tiktok": True}
    (sent,) = stack.tiktok.received
    assert (sent.target, sent.form["token"]) == ("/v2/oauth/revoke/", "act.event1!0001")
    assert grant().pair is None
    vend = stack.invoke("tokens", event("tokens-vend"))
    assert (vend["statusCode"], body_of(vend)["code"]) == (410, "account_unlinked")


def test_event_unlink_account__renews_first_where_the_token_is_dead(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(days=2)
    stack.tiktok.script.extend([Answer(stack.pair(2)), Answer({})])

    answer = stack.invoke("unlink", event("unlink-account"))

    assert body_of(answer)["revoked_at_tiktok"] is True
    assert stack.tiktok.received[1].form["token"] == "act.event2!0001"
    assert grant().pair is None


def test_event_unlink_end_user__ends_all_of_one_end_user(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(minutes=5)
    stack.tiktok.script.append(Answer(b""))

    answer = stack.invoke("unlink", event("unlink-end-user"))

    report = {"account_id": ACCOUNT_ID, "status": "unlinked", "revoked_at_tiktok": True}
    assert body_of(answer) == {"end_user_id": "u_42", "accounts": [report], "complete": True}
    assert grant().pair is None
    assert body_of(stack.invoke("unlink", event("unlink-end-user"))) == body_of(answer)
    assert len(stack.tiktok.received) == 1


def test_event_unlink_queue__finishes_what_tiktok_did_not_take(
    stack: RunningStack, linked: LinkSession
) -> None:
    """The ids go from the planner through the queue; the ciphertext stays until then."""
    stack.clock.advance(minutes=5)
    stack.tiktok.script.extend([Answer({}, status=500), Answer({}, status=500), Answer(b"")])
    first = stack.invoke("unlink", event("unlink-account"))
    assert body_of(first)["revoked_at_tiktok"] == "pending"
    assert stack.messages("RevocationQueue") == [json.dumps({"grant": GRANT_ID})]
    assert stack.invoke("unlink", event("unlink-queue")) == {"batchItemFailures": []}
    assert grant().pair is not None

    stack.clock.advance(minutes=10)
    assert stack.invoke("refresh", event("refresh-scheduled")) == {"planned": 0}
    assert stack.messages("RevocationQueue") == [json.dumps({"grant": GRANT_ID})] * 2
    assert stack.invoke("unlink", event("unlink-queue")) == {"batchItemFailures": []}

    assert grant().pair is None
    assert body_of(stack.invoke("unlink", event("unlink-account")))["revoked_at_tiktok"] is True


def test_event_unlink_queue__that_makes_no_sense_goes_to_the_dead_letters(
    stack: RunningStack,
) -> None:
    broken = event("unlink-queue")
    broken["Records"][0]["body"] = "no json"

    answer = stack.invoke("unlink", broken)

    failed = [{"itemIdentifier": broken["Records"][0]["messageId"]}]
    assert answer == {"batchItemFailures": failed}


# -- refresh ------------------------------------------------------------------------------------


def test_event_refresh_one__renews_and_tells_the_outcome_alone(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(hours=23, minutes=58)
    stack.tiktok.script.append(Answer(stack.pair(2)))

    answer = stack.invoke("refresh", event("refresh-one"))

    assert answer == {"outcome": "renewed", "retry_after": None}
    assert grant().rotations == 1


def test_event_refresh_scheduled__sends_what_is_due_to_the_queue(
    stack: RunningStack, linked: LinkSession
) -> None:
    assert stack.invoke("refresh", event("refresh-scheduled")) == {"planned": 0}
    stack.clock.advance(days=7)

    assert stack.invoke("refresh", event("refresh-scheduled")) == {"planned": 1}
    assert stack.messages("RenewalQueue") == [json.dumps({"grant": GRANT_ID})]


def test_event_remind_scheduled__tells_the_nearest_threshold_once(
    stack: RunningStack, linked: LinkSession
) -> None:
    assert stack.invoke("remind", event("remind-scheduled"))["told"] == 0
    stack.clock.advance(days=173)

    told = [stack.invoke("remind", event("remind-scheduled"))["told"] for _ in range(3)]

    assert told == [1, 0, 0]
    link = accounts().read_account(ACCOUNT_ID)
    assert link is not None
    assert link[1].reminded is not None
    assert link[1].reminded.threshold_days == 7


def test_event_refresh_queue__renews_what_is_due_and_passes_over_what_is_gone(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(days=7)
    stack.tiktok.script.append(Answer(stack.pair(2)))

    answer = stack.invoke("refresh", event("refresh-queue"))

    assert answer == {"batchItemFailures": []}
    assert grant().rotations == 1


# -- rescue -------------------------------------------------------------------------------------


def parcel(name: str) -> dict[str, Any]:
    return dict(json.loads(event(name)["Records"][0]["body"]))


def test_event_rescue_renewed__lands_on_the_token_that_was_spent(
    stack: RunningStack, linked: LinkSession
) -> None:
    body = parcel("rescue-renewed")
    spent = base64.b64decode(body["spent"])
    client("dynamodb").update_item(
        TableName="AccountsTable",
        Key={"pk": {"S": GRANT_ID}, "sk": {"S": "grant"}},
        UpdateExpression="SET fp = :fp",
        ExpressionAttributeValues={":fp": {"B": spent}},
    )

    answer = stack.invoke("rescue", event("rescue-renewed"), milliseconds=5000)

    assert answer == {"batchItemFailures": []}
    pair = grant().pair
    assert pair is not None
    assert pair.fingerprint == base64.b64decode(body["pair"]["fingerprint"])


def test_event_rescue_authorised__finishes_what_the_callback_could_not(
    stack: RunningStack, started: LinkSession
) -> None:
    answer = stack.invoke("rescue", event("rescue-authorised"), milliseconds=5000)

    assert answer == {"batchItemFailures": []}
    link = accounts().read_link(ACCOUNT_ID)
    assert link is not None
    assert link[1].end_user_label == "Ada"
    found = sessions().read(SESSION_ID)
    assert found is not None
    assert (found.status, found.account_id) == (SessionStatus.COMPLETED, ACCOUNT_ID)


# -- publish --------------------------------------------------------------------------------------


def test_event_publish_streams__sends_what_changed(
    stack: RunningStack, linked: LinkSession
) -> None:
    assert stack.invoke("publish", event("publish-streams")) == {"batchItemFailures": []}

    sent = stack.sent()
    assert [e["DetailType"] for e in sent] == ["account.linked", "account.relink_required"]
    for one in sent:
        assert (one["Source"], one["EventBusName"]) == ("tiktok-link", "EventBus")
        assert one["Detail"]["account_id"] == ACCOUNT_ID
        check(one["DetailType"], one["Detail"])


def test_the_stream_brings_again_what_could_not_be_published_and_all_after_it(
    stack: RunningStack, linked: LinkSession
) -> None:
    records = event("publish-streams")["Records"]
    stack.become("publish")
    client("dynamodb").delete_table(TableName="AccountsTable")

    answer = stack.invoke("publish", event("publish-streams"))

    first = records[0]["dynamodb"]["SequenceNumber"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": first}]}
    assert stack.sent() == []


def test_a_change_that_makes_no_sense_holds_up_nothing(
    stack: RunningStack, linked: LinkSession
) -> None:
    made = json.loads(json.dumps(event("publish-streams")))
    made["Records"][0]["dynamodb"]["NewImage"].pop("au")

    assert stack.invoke("publish", made) == {"batchItemFailures": []}

    (sent,) = stack.sent()
    assert sent["DetailType"] == "account.relink_required"


# -- the audit of hand-outs -----------------------------------------------------------------------


def test_a_hand_out_is_no_event_unless_asked_for(stack: RunningStack, linked: LinkSession) -> None:
    assert stack.invoke("tokens", event("tokens-vend"))["statusCode"] == 200

    assert stack.sent() == []


def test_each_hand_out_is_an_event_where_asked_for(
    stack: RunningStack, linked: LinkSession
) -> None:
    with stack.given("tokens", EVENT_BUS="EventBus"):
        for _ in range(2):
            answer = stack.invoke("tokens", event("tokens-vend"))

    first, second = (entry["Detail"] for entry in stack.sent())
    check("token.vended", first)
    assert first["caller"] == "example-backend"
    assert first["event_id"] != second["event_id"]
    assert body_of(answer)["access_token"] not in json.dumps([first, second])


def test_a_bus_that_is_away_stops_no_hand_out(
    stack: RunningStack, linked: LinkSession, caplog: pytest.LogCaptureFixture
) -> None:
    stack.bus.script.append(Answer({"__type": "InternalFailure"}, status=500))
    with stack.given("tokens", EVENT_BUS="EventBus"):
        answer = stack.invoke("tokens", event("tokens-vend"))

    assert answer["statusCode"] == 200
    told = {record.message: vars(record) for record in caplog.records}
    assert told["hand-out not on the bus"]["account"] == ACCOUNT_ID
    assert told["token vended"]["caller"] == "example-backend"
    assert body_of(answer)["access_token"] not in str(told)
