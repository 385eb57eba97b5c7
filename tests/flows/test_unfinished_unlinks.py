"""Unlinks that are killed, or meet a TikTok that is down: each ends by itself and is told once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.flows.journey import Journey

CALLS_OF_AN_UNLINK = 7  # read, two marks, read, mark, TikTok, forget
CIPHERTEXT = {"a", "f"}


def stored(journey: Journey, account_id: str) -> dict[str, Any]:
    """The grant's item as it lies in the table."""
    from local.aws import LocalAws

    dynamodb = LocalAws(journey.world.endpoints["aws"]).client("dynamodb")
    (table,) = [name for name in dynamodb.list_tables()["TableNames"] if "Accounts" in name]
    key = {"pk": {"S": account_id[5:29]}, "sk": {"S": "grant"}}
    return dict(dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"])


def told(journey: Journey, account_id: str) -> list[dict[str, Any]]:
    """What the bus brought of the end of this account."""
    return [
        event["detail"]
        for event in journey.world.events()
        if event["detail-type"] == "account.unlinked"
        and event["detail"]["account_id"] == account_id
    ]


def test_an_unlink_that_is_killed_at_any_call_ends_by_itself(
    journey: Journey, new_person: Callable[..., str], end_user: str
) -> None:
    """After each of its calls; tests/unit kills it before each as well."""
    accounts = {
        call: journey.link(f"{end_user}_{call}", new_person()).account_id
        for call in range(1, CALLS_OF_AN_UNLINK + 1)
    }
    journey.world.advance(minutes=15)  # so that no echo of a revocation is too close to a link
    people = {id: str(journey.backend.account(id)["open_id"]) for id in accounts.values()}

    for call, account_id in accounts.items():
        journey.world.arm_fault("unlink", kind="kill_after", call=call)
        journey.backend.call("DELETE", f"/v1/accounts/{account_id}")
        assert journey.world.hits("unlink"), call
    journey.world.advance(seconds=61)
    journey.run_schedule()

    for call, account_id in accounts.items():
        item = stored(journey, account_id)
        if call < 3:  # our side had not ended yet, nor has TikTok's
            assert journey.backend.account(account_id)["status"] == "active", call
            assert journey.tiktok.has_grant(people[account_id]), call
            assert told(journey, account_id) == [], call
        else:
            assert journey.backend.account(account_id)["status"] == "unlinked", call
            assert not journey.tiktok.has_grant(people[account_id]), call
            assert not CIPHERTEXT & set(item), call
            (event,) = told(journey, account_id)
            # TikTok takes a revocation that it has done before for done.
            assert event["revoked_at_tiktok"] is True, (call, event)
        assert not {"ej", "el"} & set(item), call


def test_an_unlink_during_an_outage_of_a_day_ends_by_itself(
    journey: Journey, end_user: str, person: str
) -> None:
    account_id = journey.link(end_user, person).account_id
    open_id = str(journey.backend.account(account_id)["open_id"])
    journey.world.advance(minutes=15)
    for endpoint in ("revoke", "token"):
        journey.tiktok.fail(endpoint, "500_before", times=1000)

    assert journey.backend.unlink(account_id)["revoked_at_tiktok"] == "pending"
    for _ in range(8):
        journey.run_schedule()
        journey.world.advance(hours=3)
    assert journey.tiktok.has_grant(open_id)
    assert set(stored(journey, account_id)) >= CIPHERTEXT
    assert told(journey, account_id) == []
    journey.tiktok.control("DELETE", "/faults")
    journey.world.advance(hours=1)
    journey.run_schedule()
    journey.world.advance(hours=1)
    journey.run_schedule()

    assert not journey.tiktok.has_grant(open_id)
    item = stored(journey, account_id)
    assert not (CIPHERTEXT | {"ej", "el"}) & set(item)
    (event,) = told(journey, account_id)
    assert (event["revoked_at_tiktok"], event["reason"]) == (True, None)
    assert journey.backend.unlink(account_id)["revoked_at_tiktok"] is True
    journey.world.settle()
    assert len(told(journey, account_id)) == 1


def test_the_echo_of_our_own_revocation_is_no_second_end(
    journey: Journey, end_user: str, person: str
) -> None:
    """TikTok tells of it as of any removal, at once and again, days later too."""
    journey.tiktok.set(webhook_delivery="reordered")
    account_id = journey.link(end_user, person).account_id
    journey.world.advance(minutes=15)
    assert journey.backend.unlink(account_id)["revoked_at_tiktok"] is True
    before = journey.backend.account(account_id)["version"]

    for _ in range(2):
        journey.tiktok.control("POST", "/webhooks/deliver", {"everything": True})
        journey.world.advance(hours=30)
    journey.world.settle()

    after = journey.backend.account(account_id)
    assert (after["status"], after["version"]) == ("unlinked", before)
    of_account = [
        event["detail-type"]
        for event in journey.world.events()
        if event["detail"].get("account_id") == account_id
    ]
    assert of_account.count("account.unlinked") == 1
    assert "account.revoked" not in of_account
