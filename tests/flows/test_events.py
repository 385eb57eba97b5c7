"""What the team is told of an account's life, over the bus and in its timeline, whoever dies."""

from __future__ import annotations

import dataclasses
import json
import secrets
from typing import Any

import boto3
import pytest

from local.testing import WorldHandle
from tests.fakes.outbox import check
from tests.flows.journey import Journey, Json
from tiktok_linking.accounts import Grant, RelinkReason, SealedPair
from tiktok_linking.adapters.account_table import AccountTable
from tiktok_linking.adapters.dynamodb import Table
from tiktok_linking.ports import RenewedPair, Saved


def events_of(world: WorldHandle, account_id: str) -> list[Json]:
    """What the bus brought of one account, oldest first; each fits its schema."""
    world.settle()
    found = [e for e in world.events() if e["detail"].get("account_id") == account_id]
    for event in found:
        assert event["source"] == "tiktok-link"
        check(event["detail-type"], event["detail"])
    return [{"type": e["detail-type"], **e["detail"]} for e in found]


def of_links(events: list[Json]) -> list[Json]:
    """Without those of sessions, whose table has a stream of its own: the two have no order."""
    return [e for e in events if not e["type"].startswith("link_session.")]


def types(events: list[Json]) -> list[str]:
    return [str(event["type"]) for event in events]


def timeline(journey: Journey, account_id: str) -> list[Json]:
    """An account's timeline, oldest first."""
    items: list[Json] = journey.backend.get(f"/v1/accounts/{account_id}/events")["items"]
    return items[::-1]


def fail_renewals(journey: Journey, account_id: str, times: int) -> None:
    """Let so many renewals of one account fail, each after its backoff."""
    for _ in range(times):
        journey.tiktok.fail("token", "500_before", times=3)
        journey.world.advance(hours=3)
        answer = journey.backend.vend(account_id)
        assert answer.status_code == 503, answer.text
        journey.tiktok.control("DELETE", "/faults")


def test_a_life_is_told_in_order_and_nothing_twice(
    journey: Journey, end_user: str, person: str
) -> None:
    """Linked, failing, recovered, relinked with fewer scopes, removed at TikTok, back, unlinked."""
    world, backend = journey.world, journey.backend
    account = journey.link(end_user, person, metadata={"order": "7"}).account_id

    fail_renewals(journey, account, 4)
    world.advance(hours=3)
    backend.token(account)
    assert journey.link(end_user, person, off=["video.list"]).account_id == account
    world.advance(hours=1)
    open_id = backend.account(account)["open_id"]
    journey.tiktok.control("POST", f"/users/{open_id}/remove", {"reason": 4})
    world.advance(hours=1)
    journey.link(end_user, person, off=["video.list"])
    backend.unlink(account)
    journey.link(end_user, person)

    told = events_of(world, account)
    of_account = of_links(told)
    assert types(of_account) == [
        "account.linked",
        "account.refresh_failing",
        "account.recovered",
        "account.scopes_changed",
        "account.relinked",
        "account.revoked",
        "account.relinked",
        "account.unlinked",
        "account.linked",
    ]
    ids = [e["event_id"] for e in told]
    assert len(set(ids)) == len(ids)
    assert [e["account_version"] for e in of_account] == sorted(
        e["account_version"] for e in of_account
    )
    assert of_account[5]["reason"] == "tiktok_account_banned"
    assert of_account[5]["action_by"] == "nobody"
    assert of_account[7]["revoked_at_tiktok"] is True
    completed = [e for e in told if e["type"] == "link_session.completed"]
    assert [e["metadata"] for e in completed] == [{"order": "7"}, {}, {}, {}]
    noted = timeline(journey, account)  # two events of one moment have no order there
    assert [e["occurred_at"] for e in noted] == [e["occurred_at"] for e in of_account]
    assert {e["event_id"]: e for e in noted} == {e["event_id"]: e for e in of_account}
    assert backend.get(f"/v1/accounts/{account}/events")["last_used_at"] is not None


def test_a_deadline_that_passes_is_told_once(journey: Journey, end_user: str, person: str) -> None:
    journey.tiktok.set(refresh_seconds=3600, access_seconds=600)
    account = journey.link(end_user, person).account_id
    journey.world.advance(hours=2)
    for _ in range(2):
        assert journey.backend.vend(account).status_code == 409

    (told,) = [
        e for e in events_of(journey.world, account) if e["type"] == "account.relink_required"
    ]
    assert (told["reason"], told["action_by"]) == ("refresh_token_expired", "end_user")


def test_of_a_shared_grant_each_account_is_told_of_its_own(
    journey: Journey, end_user: str, person: str
) -> None:
    first = journey.link(end_user, person).account_id
    second = journey.link(f"{end_user}_b", person).account_id

    journey.backend.unlink(first)
    journey.world.settle()  # told late, after both, it would be told of TikTok's answer too
    journey.backend.unlink(second)

    ends = [of_links(events_of(journey.world, account))[-1] for account in (first, second)]
    assert [(e["type"], e["revoked_at_tiktok"], e["reason"]) for e in ends] == [
        ("account.unlinked", False, "shared_grant"),
        ("account.unlinked", True, None),
    ]


def test_a_cancelled_and_a_failed_session_are_told(journey: Journey, end_user: str) -> None:
    begun = journey.backend.begin(end_user, metadata={"order": "8"})
    journey.backend.call("DELETE", f"/v1/link-sessions/{begun['id']}")
    journey.world.settle()

    (told,) = [e for e in journey.world.events() if e["detail"].get("end_user_id") == end_user]
    assert told["detail-type"] == "link_session.cancelled"
    assert told["detail"]["reason"] == "cancelled_by_team"
    check(told["detail-type"], told["detail"])
    assert begun["id"] not in json.dumps(told)


# -- crashes ---------------------------------------------------------------------------------------


class Shared:
    """A grant of two accounts, and writes of its states as the functions make them."""

    def __init__(self, journey: Journey, accounts: list[str]) -> None:
        self.world = journey.world
        self.accounts = accounts
        database: Any = boto3.client(
            "dynamodb",
            endpoint_url=journey.world.endpoints["aws"],
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        (name,) = [t for t in database.list_tables()["TableNames"] if "Accounts" in t]
        self._table = AccountTable(Table(database, name))

    def grant(self) -> Grant:
        id = self.accounts[0].removeprefix("acct_")[:24]
        return self._table.read_batch([id], ()).grants[id]

    def turn(self) -> str:
        """Change the grant's state: back and forth. Answers the event that it means."""
        grant = self.grant()
        pair = grant.pair
        assert isinstance(pair, SealedPair)
        now = self.world.now()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        if grant.status == "active":
            assert self._table.require_relink(grant, RelinkReason.ROTATION_LOST, now=now)
            return "account.relink_required"
        fresh = dataclasses.replace(
            pair, pair_id=secrets.token_bytes(16), fingerprint=secrets.token_bytes(16)
        )
        renewed = RenewedPair(grant.id, pair.fingerprint, secrets.token_bytes(8), fresh)
        saved = self._table.save_renewed(renewed, due_at=None, now=now, settles_doubt=True)
        assert saved is Saved.STORED
        return "account.recovered"


@pytest.fixture
def shared(journey: Journey, end_user: str, person: str) -> Shared:
    accounts = [journey.link(user, person).account_id for user in (end_user, f"{end_user}_b")]
    journey.world.settle()
    return Shared(journey, accounts)


def test_wherever_publish_is_killed_no_event_is_lost(journey: Journey, shared: Shared) -> None:
    """Before and after each of its calls; what comes twice has the same id."""
    world = journey.world
    expected: list[str] = []
    killed = 0
    for kind in ("kill_before", "kill_after"):
        for number in range(1, 20):
            world.pause_deliveries("publish")
            expected.append(shared.turn())
            world.arm_fault("publish", kind=kind, call=number)
            world.pause_deliveries()
            world.settle()
            if not world.hits("publish"):
                break
            killed += 1
    world.arm_fault("publish")

    assert killed == 2 * 6  # query, put events; a timeline row and a copy for each account
    for account in shared.accounts:
        told = [e for e in events_of(world, account) if e["type"] in expected]
        once = list({e["event_id"]: e for e in told}.values())
        assert types(once) == expected
        assert types(timeline(journey, account))[-len(expected) :] == expected


def test_what_a_bus_that_is_away_held_back_comes_in_order(journey: Journey, shared: Shared) -> None:
    world = journey.world
    world.begin_outage("events", "refuse", "publish")
    expected = [shared.turn()]
    tried = world.calls().get("publish", {}).get("events.PutEvents", 0)
    while world.calls().get("publish", {}).get("events.PutEvents", 0) == tried:
        expected.append(shared.turn())
    world.end_outage()

    for account in shared.accounts:
        assert types(events_of(world, account))[-len(expected) :] == expected
