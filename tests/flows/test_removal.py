"""People who remove the app at TikTok, as its webhook tells: at once, twice, late, too late."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from local.tiktok.webhooks import REASONS, sign
from tests.flows.journey import Journey
from tiktok_linking.webhook import REASONS as WORDS


@pytest.fixture
def account_id(journey: Journey, end_user: str, person: str) -> str:
    """Somebody who linked an hour ago."""
    account = journey.link(end_user, person).account_id
    journey.world.advance(hours=1)
    return account


def open_id_of(journey: Journey, account_id: str) -> str:
    return str(journey.backend.account(account_id)["open_id"])


def remove(journey: Journey, account_id: str, reason: int = 1) -> None:
    """Be the person who removes the app in TikTok's settings."""
    open_id = open_id_of(journey, account_id)
    journey.tiktok.control("POST", f"/users/{open_id}/remove", {"reason": reason})


def deliver(journey: Journey) -> dict[str, object]:
    """One more attempt for everything that waits."""
    return journey.tiktok.control("POST", "/webhooks/deliver", {"everything": True})


def last_event(journey: Journey, account_id: str) -> dict[str, Any]:
    """What TikTok sent last of a person, with the answers."""
    open_id = open_id_of(journey, account_id)
    events = journey.tiktok.control("GET", "/webhooks")["events"]
    return dict([e for e in events if json.loads(e["body"]).get("user_openid") == open_id][-1])


def answers(journey: Journey, account_id: str) -> list[int]:
    return list(last_event(journey, account_id)["statuses"])


def status(journey: Journey, account_id: str) -> tuple[str, str | None]:
    account = journey.backend.account(account_id)
    return account["status"], account.get("reason")


@pytest.mark.parametrize("reason", REASONS)
def test_whoever_removes_the_app_is_revoked_at_once(
    journey: Journey, account_id: str, reason: int
) -> None:
    remove(journey, account_id, reason)

    account = journey.backend.account(account_id)
    assert (account["status"], account["reason"]) == ("revoked", WORDS[reason].value)
    assert account["action_by"] == ("end_user" if reason in (0, 1) else "nobody")
    refused = journey.backend.vend(account_id)
    assert (refused.status_code, refused.json()["code"]) == (410, "account_revoked")
    assert refused.json()["action_by"] == account["action_by"]


def test_nothing_asks_tiktok_about_a_revoked_account(journey: Journey, account_id: str) -> None:
    remove(journey, account_id)
    before = journey.tiktok.calls()
    # As the queue delivers it: a run of the schedule would renew other tests' accounts too.
    late = {"messageId": "m", "body": json.dumps({"grant": account_id[5:29]})}

    journey.world.advance(days=8)
    journey.world.invoke("RefreshFunction", {"Records": [late]})
    journey.backend.vend(account_id, rejected=True)
    assert journey.backend.unlink(account_id)["revoked_at_tiktok"] == "not_needed"

    assert journey.tiktok.calls() == before


def test_a_revoked_account_can_be_linked_again(
    journey: Journey, account_id: str, end_user: str, person: str
) -> None:
    remove(journey, account_id)

    again = journey.link(end_user, person)

    assert again.account_id == account_id
    assert status(journey, account_id) == ("active", None)
    assert journey.backend.token(account_id)["warning"] is None


def test_a_duplicate_is_acknowledged_and_changes_nothing(journey: Journey, account_id: str) -> None:
    journey.tiktok.set(webhook_delivery="duplicate")
    before = journey.backend.account(account_id)["version"]

    remove(journey, account_id)

    assert answers(journey, account_id) == [200, 200]
    assert journey.backend.account(account_id)["version"] == before + 1


@pytest.mark.parametrize("signed", ["re_signed", "same_t"])
def test_a_removal_that_comes_three_days_late_still_counts(
    journey: Journey, account_id: str, signed: str
) -> None:
    journey.tiktok.set(webhook_delivery="reordered", webhook_retry=signed, webhook_secret="wrong")
    remove(journey, account_id)
    deliver(journey)
    assert answers(journey, account_id) == [401]
    assert status(journey, account_id) == ("active", None)

    journey.tiktok.set(webhook_secret="right")
    journey.world.advance(hours=71)
    deliver(journey)

    assert answers(journey, account_id) == [401, 200]
    assert status(journey, account_id) == ("revoked", "revoked_by_user")


def test_a_late_removal_leaves_what_was_linked_again_since(
    journey: Journey, account_id: str, end_user: str, person: str
) -> None:
    journey.tiktok.set(webhook_delivery="reordered")
    remove(journey, account_id)
    journey.world.advance(minutes=30)
    assert journey.link(end_user, person).account_id == account_id

    deliver(journey)

    assert answers(journey, account_id) == [200]
    assert status(journey, account_id) == ("active", None)
    assert journey.backend.token(account_id)["warning"] is None


def test_a_removal_near_the_link_is_decided_by_tiktok(
    journey: Journey, end_user: str, person: str
) -> None:
    """Two clocks: within ten minutes nobody can say from the dates which came first."""
    journey.tiktok.set(webhook_delivery="reordered")
    account_id = journey.link(end_user, person).account_id
    remove(journey, account_id)
    deliver(journey)
    assert status(journey, account_id) == ("active", None)

    journey.run_schedule()

    assert status(journey, account_id) == ("relink_required", "revoked_by_user")


def test_a_link_that_tiktok_knows_survives_a_removal_near_it(
    journey: Journey, account_id: str, end_user: str, person: str
) -> None:
    journey.tiktok.set(webhook_delivery="reordered")
    remove(journey, account_id)
    assert journey.link(end_user, person).account_id == account_id
    deliver(journey)
    assert status(journey, account_id) == ("active", None)

    journey.run_schedule()

    account = journey.backend.account(account_id)
    assert (account["status"], account["refresh"]["rotations"]) == ("active", 1)
    deliver(journey)
    journey.run_schedule()
    assert journey.backend.account(account_id)["refresh"]["rotations"] == 1


def test_the_echo_of_our_own_revocation_changes_nothing(journey: Journey, account_id: str) -> None:
    journey.tiktok.set(webhook_delivery="reordered")
    assert journey.backend.unlink(account_id)["revoked_at_tiktok"] is True
    before = journey.backend.account(account_id)

    deliver(journey)

    assert answers(journey, account_id) == [200]
    assert journey.backend.account(account_id) == before


def test_other_events_are_acknowledged(journey: Journey, account_id: str) -> None:
    journey.tiktok.control(
        "POST",
        "/webhooks",
        {
            "event": "post.publish.complete",
            "open_id": open_id_of(journey, account_id),
            "content": {"publish_id": "p"},
        },
    )

    assert answers(journey, account_id) == [200]
    assert status(journey, account_id) == ("active", None)


def test_a_forger_moves_nothing(journey: Journey, account_id: str) -> None:
    url = journey.world.endpoints["gateway"] + "/webhooks/tiktok"
    body = b'{"client_key":"awlocaldefault","event":"authorization.removed"}'
    now = int(journey.world.now().timestamp())
    journey.world.forget_calls()

    for header in ("", "t=1,s=0", sign("guessed", now, body), sign("", now, body)):
        answer = requests.post(url, data=body, headers={"TikTok-Signature": header}, timeout=10)
        assert (answer.status_code, answer.json()) == (401, {"message": "Unauthorized"})

    assert journey.calls_of("webhook", "dynamodb") == {}
    assert status(journey, account_id) == ("active", None)


def test_a_removal_costs_one_write(journey: Journey, account_id: str) -> None:
    remove(journey, account_id)  # the secret is in memory from here on
    journey.world.forget_calls()

    body = last_event(journey, account_id)["body"].encode()
    header = sign("local-secret-of-awlocaldefault", int(journey.world.now().timestamp()), body)
    url = journey.world.endpoints["gateway"] + "/webhooks/tiktok"
    answer = requests.post(url, data=body, headers={"TikTok-Signature": header}, timeout=10)

    assert answer.status_code == 200
    assert journey.calls_of("webhook", "dynamodb") == {"dynamodb.UpdateItem": 1}


def test_where_a_person_comes_back_to_is_served_beside_tiktoks_file(journey: Journey) -> None:
    """The widest public route takes nothing from the others."""
    assert journey.world.get("/tiktoklocal.txt").text.endswith("verification=local")
    assert journey.world.get("/callback").status_code == 400
    assert journey.world.get("/favicon.ico").json()["code"] == "not_found"
