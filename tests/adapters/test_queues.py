"""The queues and the door to the refresh function: ids and outcomes, never a token."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.adapters.test_parcels import RENEWED
from tests.fakes.aws import client
from tests.fakes.clock import NOON
from tiktok_linking.adapters.parcels import unpack
from tiktok_linking.adapters.queues import SqsGrantQueue, SqsRescueQueue
from tiktok_linking.adapters.refresh_door import LambdaRefreshDoor
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.ports import AuthorisedPair, Outcome, RenewalReport


@pytest.fixture
def queue(in_aws: None) -> str:
    """The address of an empty queue."""
    return str(client("sqs").create_queue(QueueName="q")["QueueUrl"])


def bodies(queue: str) -> list[str]:
    messages = client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    return [message["Body"] for message in messages.get("Messages", [])]


def test_due_grants_travel_as_ids_alone(queue: str) -> None:
    SqsGrantQueue(client("sqs"), queue).put([f"grant-{n}" for n in range(10)])

    assert sorted(bodies(queue)) == [json.dumps({"grant": f"grant-{n}"}) for n in range(10)]


def test_a_rescued_pair_is_one_message(queue: str) -> None:
    authorised = AuthorisedPair("default", "open", NOON, b"w", RENEWED.pair, None)
    rescue = SqsRescueQueue(client("sqs"), queue)

    rescue.put_renewed(RENEWED)
    rescue.put_authorised(authorised)

    assert sorted(map(repr, map(unpack, bodies(queue)))) == sorted(
        [repr(authorised), repr(RENEWED)]
    )


def failure(code: str) -> ClientError:
    error = {"Code": code, "Message": "canary"}
    return ClientError({"Error": error}, "SendMessage")  # type: ignore[typeddict-item]


class Down:
    """A client whose every request fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, operation: str) -> Any:
        def fail(**_: Any) -> Any:
            raise self._error

        return fail


@pytest.mark.parametrize(
    "error",
    [failure("AWS.SimpleQueueService.NonExistentQueue"), ReadTimeoutError(endpoint_url="canary")],
)
def test_an_outage_is_told_without_a_word_of_the_library(error: Exception) -> None:
    with pytest.raises(StoreUnavailable) as rescue:
        SqsRescueQueue(Down(error), "q").put_renewed(RENEWED)
    with pytest.raises(StoreUnavailable) as renewals:
        SqsGrantQueue(Down(error), "q").put(["grant-1"])

    assert "canary" not in f"{rescue.value} {renewals.value}"


# -- the door -----------------------------------------------------------------------------------


class Lambda:
    """A Lambda client that plays one answer and remembers what it was asked."""

    def __init__(self, payload: bytes, **more: str) -> None:
        self._answer = {"Payload": io.BytesIO(payload), **more}
        self.asked: list[dict[str, Any]] = []

    def invoke(self, **arguments: Any) -> dict[str, Any]:
        self.asked.append(arguments)
        return self._answer


def renew(function: Any, *, rejected: bool = False) -> RenewalReport:
    door = LambdaRefreshDoor(function, "refresh")
    return door.renew("grant-1", min_ttl=timedelta(minutes=5), rejected=rejected)


def test_the_door_is_asked_for_one_grant_and_waits() -> None:
    function = Lambda(b'{"outcome": "renewed", "retry_after": null}')

    report = renew(function, rejected=True)

    (asked,) = function.asked
    assert report == RenewalReport(Outcome.RENEWED)
    assert (asked["FunctionName"], asked["InvocationType"]) == ("refresh", "RequestResponse")
    assert json.loads(asked["Payload"]) == {
        "job": "renew",
        "grant": "grant-1",
        "min_ttl_seconds": 300,
        "rejected": True,
        "for_revocation": False,
    }


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_comes_through(outcome: Outcome) -> None:
    function = Lambda(json.dumps({"outcome": outcome.value, "retry_after": 7}).encode())

    assert renew(function) == RenewalReport(outcome, retry_after=7)


@pytest.mark.parametrize(
    "function",
    [
        Lambda(b'{"errorMessage": "canary"}', FunctionError="Unhandled"),
        Lambda(b'{"outcome": "renewed"}', FunctionError="Unhandled"),
        Lambda(b"not json"),
        Lambda(b"null"),
        Lambda(b"{}"),
        Lambda(b'{"outcome": "some new word"}'),
        Down(failure("TooManyRequestsException")),
        Down(ReadTimeoutError(endpoint_url="canary")),
    ],
)
def test_whatever_goes_wrong_at_the_door_the_outcome_is_unknown(function: Any) -> None:
    """It may have run: the grant itself will tell."""
    report = renew(function)

    assert report.outcome is Outcome.UNKNOWN
    assert report.retry_after is not None
