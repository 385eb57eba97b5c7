"""Queues that feed functions, as Lambda's pollers do it."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import requests

from local.functions import InvocationResult
from local.queues import succeeded
from local.testing import WorldHandle


@pytest.fixture
def sqs(world: WorldHandle) -> Iterator[Any]:
    client = boto3.client(
        "sqs",
        endpoint_url=world.endpoints["aws"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    yield client
    client.close()


@pytest.fixture
def queue_url(world: WorldHandle) -> str:
    answer = world.invoke("ProbeFunction", {"do": "echo"})
    url: str = json.loads(answer["payload"]["body"])["env"]["QUEUE_URL"]
    return url


def batches(world: WorldHandle) -> list[list[str]]:
    return [record["batch"] for record in world.logs("work") if record.get("message") == "batch"]


def test_messages_become_sqs_records(world: WorldHandle, sqs: Any, queue_url: str) -> None:
    sqs.send_message(
        QueueUrl=queue_url,
        MessageBody="looked at",
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "test"}},
    )
    world.settle()

    (event,) = [r["event"] for r in world.logs("work") if r.get("batch") == ["looked at"]]
    (record,) = event["Records"]
    assert record["body"] == "looked at"
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"].startswith("arn:aws:sqs:us-east-1:000000000000:tiktok-link-")
    assert record["awsRegion"] == "us-east-1"
    assert record["messageId"]
    assert record["receiptHandle"]
    assert record["md5OfBody"]
    assert set(record["attributes"]) == {
        "ApproximateFirstReceiveTimestamp",
        "ApproximateReceiveCount",
        "SenderId",
        "SentTimestamp",
    }
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"]["kind"]["stringValue"] == "test"
    assert record["messageAttributes"]["kind"]["dataType"] == "String"


def test_a_batch_is_at_most_the_batch_size(world: WorldHandle, sqs: Any, queue_url: str) -> None:
    before = len(batches(world))
    entries = [{"Id": str(number), "MessageBody": f"many {number}"} for number in range(10)]
    sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
    world.settle()

    taken = batches(world)[before:]
    assert sorted(body for batch in taken for body in batch) == sorted(
        entry["MessageBody"] for entry in entries
    )
    assert max(len(batch) for batch in taken) <= 3


def test_what_failed_comes_again_and_then_is_a_dead_letter(
    world: WorldHandle, sqs: Any, queue_url: str
) -> None:
    sqs.send_message(QueueUrl=queue_url, MessageBody="fail")
    world.settle()  # two tries, two seconds apart, then the dead letters, which do not count

    assert [batch for batch in batches(world) if "fail" in batch] == [["fail"], ["fail"]]


def test_settling_waits_for_what_runs(world: WorldHandle, sqs: Any, queue_url: str) -> None:
    before = sum(batch.count("slow") for batch in batches(world))
    sqs.send_message(QueueUrl=queue_url, MessageBody="slow")
    answer = requests.post(
        f"{world.endpoints['control']}/settle", json={"timeout_seconds": 0}, timeout=10
    ).json()

    assert answer["settled"] is False
    assert answer["running"] or answer["waiting"]
    world.settle()
    assert sum(batch.count("slow") for batch in batches(world)) == before + 1


# ---- which messages are done -------------------------------------------------------------------

MESSAGES = [{"MessageId": "a"}, {"MessageId": "b"}]


@pytest.mark.parametrize(
    ("answer", "done"),
    [
        (None, "ab"),
        ({}, "ab"),
        ({"batchItemFailures": []}, "ab"),
        ({"batchItemFailures": None}, "ab"),
        ({"batchItemFailures": [{"itemIdentifier": "a"}]}, "b"),
        ({"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b"}]}, ""),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, ""),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, ""),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, ""),
        ({"batchItemFailures": [{"wrongKey": "a"}]}, ""),
        ({"batchItemFailures": ["a"]}, ""),
        ("not an object", ""),
    ],
)
def test_partial_batch_responses(answer: Any, done: str) -> None:
    result = InvocationResult("id", json.dumps(answer), None)

    assert "".join(m["MessageId"] for m in succeeded(MESSAGES, result, True)) == done


def test_without_reporting_a_run_is_all_or_nothing() -> None:
    ignored = json.dumps({"batchItemFailures": [{"itemIdentifier": "a"}]})

    assert succeeded(MESSAGES, InvocationResult("id", ignored, None), False) == MESSAGES
    assert succeeded(MESSAGES, InvocationResult("id", "{}", "Unhandled"), False) == []
    assert succeeded(MESSAGES, InvocationResult("id", "{}", "Unhandled"), True) == []
