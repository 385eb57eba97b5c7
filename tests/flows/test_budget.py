"""How many calls an operation makes once its process is warm: money is calls (design §5).

What a month costs is computed from benchmarks/cost/calls.toml (`make cost`), so a running world is
held to that file, and the file to the budget.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.cost.files import read_counts
from benchmarks.cost.operations import Operation
from tests.flows.http_browser import HttpBrowser
from tests.flows.journey import Journey

WRITES = {
    f"dynamodb.{operation}"
    for operation in ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems")
}


def counted(operation: str) -> Operation:
    """What the cost model counts with."""
    return read_counts().operations[operation]


def dynamodb(journey: Journey, function: str) -> int:
    return sum(journey.calls_of(function, "dynamodb").values())


def writes(journey: Journey, function: str) -> int:
    made = journey.calls_of(function, "dynamodb")
    return sum(count for name, count in made.items() if name in WRITES)


def keys_and_secrets(journey: Journey, function: str) -> dict[str, int]:
    return journey.calls_of(function, "kms") | journey.calls_of(function, "secretsmanager")


@pytest.fixture
def warm(journey: Journey, end_user: str, new_person: Callable[[], str]) -> str:
    """An account, and processes that have linked, renewed and vended within the last moments.

    The client secret is kept for five minutes: all of them have just read it anew.
    """
    account_id = journey.link(f"{end_user}_first", new_person()).account_id
    journey.world.advance(minutes=6)
    journey.link(f"{end_user}_second", new_person())
    assert journey.backend.token(account_id, rejected=True)["refreshed"] is True
    return account_id


def test_authorize_makes_one_dynamodb_call(journey: Journey, warm: str, end_user: str) -> None:
    browser = HttpBrowser()
    link = browser.open(journey.backend.begin(end_user)["url"]).link("Continue with TikTok")
    journey.world.forget_calls()

    assert browser.send("GET", link).status_code == 302

    assert dynamodb(journey, "authorize") == counted("authorize").dynamodb <= 2
    assert keys_and_secrets(journey, "authorize") == {}


def test_a_callback_makes_four_dynamodb_calls_and_two_to_tiktok(
    journey: Journey, warm: str, end_user: str, person: str
) -> None:
    journey.world.forget_calls()

    journey.link(end_user, person)

    assert dynamodb(journey, "callback") == counted("callback").dynamodb <= 4
    assert journey.calls_of("callback", "tiktok") == {"tiktok.token": 1, "tiktok.user_info": 1}
    assert counted("callback").tiktok == 2
    assert dynamodb(journey, "sessions") == sum(
        counted(name).dynamodb for name in ("begin a session", "read a session")
    )
    # The page before TikTok and the one after: this session has no address to return to.
    pages = 2 * counted("connect page").dynamodb
    assert dynamodb(journey, "authorize") == pages + counted("authorize").dynamodb
    assert keys_and_secrets(journey, "callback") == {}


def test_a_vend_is_one_read(journey: Journey, warm: str) -> None:
    journey.backend.token(warm)
    journey.world.forget_calls()

    journey.backend.token(warm)

    assert dynamodb(journey, "tokens") == counted("vend").dynamodb == 1
    assert writes(journey, "tokens") == 0
    assert journey.world.calls()["tokens"].keys() <= {"dynamodb.Query", "dynamodb.BatchGetItem"}
    assert journey.calls_of("refresh") == {}


def test_the_last_use_is_written_once_in_six_hours(journey: Journey, warm: str) -> None:
    journey.world.advance(hours=6, minutes=1)
    journey.backend.token(warm)  # renews and marks
    journey.world.advance(minutes=1)
    journey.world.forget_calls()

    for _ in range(5):
        journey.backend.token(warm)

    assert writes(journey, "tokens") == 0
    journey.world.advance(hours=5, minutes=58)
    journey.backend.token(warm)
    assert writes(journey, "tokens") == 0
    journey.world.advance(minutes=2)
    for _ in range(5):
        journey.backend.token(warm)
    assert writes(journey, "tokens") == counted("first vend in six hours").write_units == 1


def test_a_renewal_on_demand_makes_two_writes(journey: Journey, warm: str) -> None:
    journey.world.advance(seconds=90)
    journey.world.forget_calls()

    assert journey.backend.token(warm, rejected=True)["refreshed"] is True

    renewing = counted("vend that renews")
    assert writes(journey, "refresh") == renewing.write_units == 2
    assert dynamodb(journey, "refresh") == 3  # and the read
    assert dynamodb(journey, "refresh") + dynamodb(journey, "tokens") == renewing.dynamodb
    assert journey.calls_of("refresh", "tiktok") == {"tiktok.token": 1}
    assert keys_and_secrets(journey, "refresh") == {}
    assert keys_and_secrets(journey, "tokens") == {}


def test_a_batch_of_renewals_shares_its_reads(
    journey: Journey, warm: str, end_user: str, new_person: Callable[[], str]
) -> None:
    journey.run_schedule()  # what other tests have left due
    accounts = [journey.link(end_user, new_person()).account_id for _ in range(10)]
    for account_id in accounts:
        journey.backend.token(account_id)
    journey.world.advance(hours=2, seconds=1)
    journey.world.forget_calls()

    journey.run_schedule()

    made = journey.calls_of("refresh")
    renewed = made["tiktok.token"]
    assert renewed >= 10
    assert writes(journey, "refresh") == counted("renewal by the schedule").write_units * renewed
    assert counted("renewal by the schedule").write_units == 2
    # One for each shard of the due index, one for each kind of unfinished unlink.
    assert made["dynamodb.Query"] == 10
    assert made["dynamodb.BatchGetItem"] <= made["sqs.SendMessageBatch"] < renewed


@pytest.mark.parametrize(
    ("function", "path", "most"),
    [
        ("authorize", f"/connect/ls_{'A' * 43}", 1),
        ("authorize", f"/connect/ls_{'A' * 43}/status", 1),
        ("authorize", f"/authorize?n={'N' * 22}.x&session=ls_{'A' * 43}", 1),
        ("callback", f"/callback?code=x&state={'A' * 22}.{'B' * 43}", 1),
        ("authorize", "/connect/nonsense", 0),
        ("authorize", "/connect/nonsense/status", 0),
        ("authorize", "/authorize?n=x&session=nonsense", 0),
        ("authorize", "/authorize", 0),
        ("callback", "/callback?code=x&state=nonsense", 0),
        ("callback", "/callback", 0),
    ],
)
def test_a_stranger_costs_at_most_one_request(
    journey: Journey, function: str, path: str, most: int
) -> None:
    journey.world.forget_calls()

    answer = journey.world.get(path)

    assert answer.status_code in (400, 404)
    assert dynamodb(journey, function) <= most
    assert sum(journey.calls_of(function).values()) == dynamodb(journey, function)
