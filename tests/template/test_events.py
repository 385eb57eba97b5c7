"""events/*.json have the shapes that AWS really sends, one for each way into the stack.

What each of them leads to is shown in tests/functions.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.deploy import routes_of
from tests.template.conftest import ROOT

EVENTS = {
    file.stem: json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((ROOT / "events").glob("*.json"))
}
OF_ROUTES = {name: event for name, event in EVENTS.items() if "routeKey" in event}
OF_STREAMS = {name: event for name, event in EVENTS.items() if name.startswith("publish-")}
OF_QUEUES = {
    name: event for name, event in EVENTS.items() if "Records" in event and name not in OF_STREAMS
}


def test_every_route_has_an_event(plain: dict[str, Any]) -> None:
    covered = {(event["routeKey"], name.split("-")[0]) for name, event in OF_ROUTES.items()}

    assert covered == {
        (route.key, route.function.removesuffix("Function").lower()) for route in routes_of(plain)
    }


def test_every_other_trigger_has_an_event() -> None:
    others = EVENTS.keys() - OF_ROUTES.keys() - OF_QUEUES.keys() - OF_STREAMS.keys()

    assert {name.split("-")[0] for name in OF_QUEUES} == {"refresh", "rescue", "unlink"}
    assert OF_STREAMS.keys() == {"publish-streams"}
    assert others == {"refresh-scheduled", "refresh-one", "remind-scheduled"}
    assert EVENTS["refresh-scheduled"] == EVENTS["remind-scheduled"] == {}
    assert EVENTS["refresh-one"].keys() == {"job", "grant", "min_ttl_seconds", "rejected"}


@pytest.mark.parametrize("name", OF_ROUTES)
def test_an_http_event_is_whole(name: str, plain: dict[str, Any]) -> None:
    """Payload format 2.0: docs.aws.amazon.com, "Create AWS Lambda proxy integrations"."""
    event = OF_ROUTES[name]
    context = event["requestContext"]
    needs_iam = {route.key: route.needs_iam for route in routes_of(plain)}

    assert event["version"] == "2.0"
    assert context["routeKey"] == event["routeKey"]
    assert event["routeKey"].split(" ")[0] == context["http"]["method"]
    assert event["rawPath"] == context["http"]["path"]
    assert all(header == header.lower() for header in event["headers"])
    assert "cookie" not in event["headers"]
    assert ("authorizer" in context) is needs_iam[event["routeKey"]]
    assert bool(event["rawQueryString"]) is ("queryStringParameters" in event)
    assert event["stageVariables"].keys() == {"public_base_url"}


@pytest.mark.parametrize("name", OF_QUEUES)
def test_a_queue_event_is_whole(name: str) -> None:
    """docs.aws.amazon.com, "Using Lambda with Amazon SQS", the example event."""
    for record in OF_QUEUES[name]["Records"]:
        assert record.keys() == {
            "messageId",
            "receiptHandle",
            "body",
            "attributes",
            "messageAttributes",
            "md5OfBody",
            "eventSource",
            "eventSourceARN",
            "awsRegion",
        }
        assert record["eventSource"] == "aws:sqs"
        assert isinstance(json.loads(record["body"]), dict)


@pytest.mark.parametrize("name", OF_STREAMS)
def test_a_stream_event_is_whole(name: str) -> None:
    """docs.aws.amazon.com, "Using AWS Lambda with Amazon DynamoDB", the example event."""
    for record in OF_STREAMS[name]["Records"]:
        assert record.keys() == {
            "eventID",
            "eventName",
            "eventVersion",
            "eventSource",
            "awsRegion",
            "dynamodb",
            "eventSourceARN",
        }
        assert record["eventSource"] == "aws:dynamodb"
        assert record["dynamodb"].keys() - {"OldImage"} == {
            "ApproximateCreationDateTime",
            "Keys",
            "NewImage",
            "SequenceNumber",
            "SizeBytes",
            "StreamViewType",
        }
