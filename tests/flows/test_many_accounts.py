"""Many accounts at once: outages, refused clients, rotated secrets, poison, and repeated events."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest

from local.testing import running_world
from tests.flows.journey import Journey, Json
from tiktok_linking.runs import QUARANTINE_AFTER


class Fleet:
    """A world with accounts that are used, so that the schedule keeps them warm."""

    def __init__(self, journey: Journey) -> None:
        self.journey = journey
        self.world = journey.world
        self.tiktok = journey.tiktok
        self.accounts: list[str] = []

    def link(self, count: int) -> list[str]:
        """So many accounts whose tokens have just expired."""
        accounts = []
        for _ in range(count):
            name = f"fleet_{secrets.token_hex(4)}"
            self.tiktok.control("POST", "/users", {"user": name})
            account = self.journey.link(f"u_{name}", name).account_id
            self.journey.backend.token(account)
            accounts.append(account)
        self.accounts += accounts
        self.world.advance(hours=2, seconds=1)
        return accounts

    def run(self) -> int:
        """One run of the schedule to its end; answers how often it asked TikTok."""
        before = self.asked()
        self.journey.run_schedule()
        return self.asked() - before

    def asked(self) -> int:
        """Requests for a refresh that have left since the world began, refused ones too."""
        return int(self.world.calls()["refresh"].get("tiktok.token", 0))

    def rotations(self, accounts: list[str]) -> list[int]:
        return [self.journey.backend.account(a)["refresh"]["rotations"] for a in accounts]

    def statuses(self, accounts: list[str]) -> set[str]:
        return {self.journey.backend.account(a)["status"] for a in accounts}

    def aws(self, service: Any) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.world.endpoints["aws"],
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def client_secret(self) -> tuple[str, str]:
        """The first registration's app at TikTok and the secret that it was made with."""
        app = self.tiktok.control("GET", "/apps")["apps"][0]
        return app["name"], f"local-secret-of-{app['client_key']}"

    def store_secrets(self, **fields: str) -> None:
        """Do as the operator does: put the whole secret anew."""
        manager = self.aws("secretsmanager")
        (stored,) = manager.list_secrets()["SecretList"]
        text = manager.get_secret_value(SecretId=stored["ARN"])["SecretString"]
        changed = json.loads(text) | {"default": fields}
        manager.put_secret_value(SecretId=stored["ARN"], SecretString=json.dumps(changed))

    def records(self, grants: list[str], deliveries: int) -> Json:
        """The queue's event as a worker gets it."""
        return {
            "Records": [
                {
                    "messageId": f"m-{number}",
                    "body": json.dumps({"grant": grant}),
                    "attributes": {"ApproximateReceiveCount": str(deliveries)},
                }
                for number, grant in enumerate(grants)
            ]
        }


def grant_of(account_id: str) -> str:
    return account_id.removeprefix("acct_")[:24]


@pytest.fixture(scope="module")
def running() -> Iterator[Journey]:
    """A world of its own, since what happens to its TikTok happens to all accounts."""
    with running_world(SCOPES_OPTIONAL="") as world:
        yield Journey(world)


@pytest.fixture
def fleet(running: Journey) -> Iterator[Fleet]:
    fleet = Fleet(running)
    name, secret = fleet.client_secret()
    yield fleet
    running.tiktok.control("DELETE", "/faults")
    running.tiktok.control("POST", f"/apps/{name}", {"client_secret": secret})
    fleet.store_secrets(current=secret)
    running.tiktok.set(latency_ms=0)
    running.world.advance(minutes=20)
    fleet.run()  # closes what a test left open
    for account in fleet.accounts:
        running.backend.unlink(account)


def test_a_tiktok_that_is_down_is_asked_by_one_worker_at_a_time(fleet: Fleet) -> None:
    accounts = fleet.link(12)
    fleet.tiktok.fail("token", "429", times=1_000)

    first = fleet.run()
    at_once_again = fleet.run()
    fleet.world.advance(minutes=6)
    after_the_pause = fleet.run()

    assert 5 <= first <= 12
    assert at_once_again == 0
    assert after_the_pause == 1
    assert fleet.statuses(accounts) == {"active"}


def test_when_tiktok_is_back_everything_is_renewed_without_anybodys_help(fleet: Fleet) -> None:
    accounts = fleet.link(12)
    fleet.tiktok.fail("token", "429", times=1_000)
    fleet.run()
    fleet.tiktok.control("DELETE", "/faults")

    for _ in range(3):  # a probe, its batch, and whatever cooled down until now
        fleet.world.advance(minutes=6)
        fleet.run()

    assert fleet.rotations(accounts) == [1] * 12
    said = [record.get("message") for record in fleet.world.logs("refresh")]
    assert "renewals paused" in said
    assert "renewals resumed" in said


def test_a_refused_client_costs_one_request_and_harms_no_account(fleet: Fleet) -> None:
    accounts = fleet.link(12)
    name, secret = fleet.client_secret()
    fleet.tiktok.control("POST", f"/apps/{name}", {"client_secret": "rotated in the portal"})
    asked = [fleet.run(), fleet.run(), fleet.run()]
    fleet.tiktok.control("POST", f"/apps/{name}", {"client_secret": secret})
    fleet.world.advance(minutes=6)
    fleet.run()
    fleet.run()

    # Workers that began at the same moment each hear it once; nobody asks after that.
    assert 1 <= asked[0] <= 4
    assert asked[1:] == [0, 0]
    assert fleet.rotations(accounts) == [1] * 12
    assert fleet.statuses(accounts) == {"active"}


@pytest.mark.parametrize("portal_first", [False, True], ids=["stored first", "portal first"])
def test_a_client_secret_rotated_in_mid_run_loses_no_refresh(
    fleet: Fleet, portal_first: bool
) -> None:
    """By the runbook the new secret is stored, with the old one as previous, around the change."""
    accounts = fleet.link(12)
    name, old = fleet.client_secret()
    new = f"new-secret-{secrets.token_hex(4)}"
    fleet.tiktok.set(latency_ms=150)

    def rotate() -> None:
        if not portal_first:
            fleet.store_secrets(current=new, previous=old)
        fleet.tiktok.control("POST", f"/apps/{name}", {"client_secret": new})
        if portal_first:
            fleet.store_secrets(current=new, previous=old)

    with ThreadPoolExecutor(1) as operator:
        started = fleet.asked()
        run = operator.submit(fleet.run)
        while fleet.asked() == started and not run.done():
            pass
        rotate()
        run.result()
    fleet.tiktok.set(latency_ms=0)
    fleet.world.advance(minutes=6)
    fleet.run()
    fleet.run()

    assert fleet.rotations(accounts) == [1] * 12
    assert fleet.statuses(accounts) == {"active"}


def test_ten_schedule_events_at_once_renew_each_account_once(fleet: Fleet) -> None:
    accounts = fleet.link(6)
    before = fleet.asked()

    with ThreadPoolExecutor(10) as scheduler:
        list(scheduler.map(lambda _: fleet.world.invoke("RefreshFunction"), range(10)))
    fleet.world.settle()

    assert fleet.rotations(accounts) == [1] * 6
    assert fleet.asked() == before + 6


def test_a_late_event_renews_nothing(fleet: Fleet) -> None:
    accounts = fleet.link(3)
    grants = [grant_of(account) for account in accounts]
    fleet.run()
    before = fleet.asked()

    for _ in range(3):
        fleet.world.invoke("RefreshFunction", fleet.records(grants, deliveries=2))

    assert fleet.asked() == before


def test_a_damaged_record_is_quarantined_and_its_batch_renewed(fleet: Fleet) -> None:
    accounts = fleet.link(3)
    poison, *others = [grant_of(account) for account in accounts]
    dynamodb = fleet.aws("dynamodb")
    (table,) = (t for t in dynamodb.list_tables()["TableNames"] if "AccountsTable" in t)
    key = {"pk": {"S": poison}, "sk": {"S": "grant"}}
    before = dynamodb.get_item(TableName=table, Key=key)["Item"]
    dynamodb.update_item(TableName=table, Key=key, UpdateExpression="REMOVE o")

    answers = [
        fleet.world.invoke("RefreshFunction", fleet.records([poison, *others], delivery))
        for delivery in range(1, QUARANTINE_AFTER + 1)
    ]

    failed = [
        [failure["itemIdentifier"] for failure in answer["payload"]["batchItemFailures"]]
        for answer in answers
    ]
    assert failed == [["m-0"]] * (QUARANTINE_AFTER - 1) + [[]]
    assert fleet.rotations(accounts[1:]) == [1, 1]
    item = dynamodb.get_item(TableName=table, Key=key)["Item"]
    assert "da" not in item  # out of the schedule
    assert "a" in item  # and whole otherwise
    assert any(record.get("GrantsQuarantined") == [1.0] for record in fleet.world.logs("refresh"))
    mended = {":o": before["o"]}
    dynamodb.update_item(
        TableName=table,
        Key=key,
        UpdateExpression="SET o = :o",
        ExpressionAttributeValues=mended,
    )
    assert fleet.journey.backend.token(accounts[0])["refreshed"] is True  # a hand-out tries it


def test_the_planner_tells_how_far_behind_it_is(fleet: Fleet) -> None:
    fleet.link(1)

    fleet.world.invoke("RefreshFunction")

    (last,) = [r for r in fleet.world.logs("refresh") if "OldestOverdueSeconds" in r][-1:]
    assert last["RenewalsPlanned"] == [1.0]
    assert 0 < last["OldestOverdueSeconds"][0] < 7_300
    assert last["RescueDepth"] == [0.0]
    assert last["CircuitsOpen"] == [0.0]
    fleet.world.settle()
