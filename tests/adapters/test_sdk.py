"""The SDK as the functions set it up: what one call of AWS carries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.sdk import answered
from tiktok_linking import bootstrap


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client as a function on Lambda makes it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "made-up")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    bootstrap._session.cache_clear()
    yield bootstrap._client("dynamodb")
    bootstrap._session.cache_clear()


def test_a_call_carries_what_aws_needs_and_no_more(dynamodb: Any) -> None:
    """Each header is made, signed and sent with every call."""
    sent = answered(dynamodb)

    dynamodb.get_item(TableName="accounts", Key={"pk": {"S": "a"}, "sk": {"S": "grant"}})

    (request,) = sent
    assert {name.lower() for name in request.headers} == {
        "authorization",
        "content-length",
        "content-type",
        "user-agent",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-target",
    }
    # And not the SDK's own, which is put together anew for each call.
    user_agent: Any = request.headers["User-Agent"]
    assert user_agent.startswith(b"tiktok-link")
