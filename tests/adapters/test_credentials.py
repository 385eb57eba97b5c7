"""Client secrets: every shape that people put into the secret, and how long a copy is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.fakes.aws import client
from tests.fakes.clock import Clock
from tiktok_linking.adapters.credentials import SecretsManagerCredentials
from tiktok_linking.errors import StoreUnavailable

KEYS = {"default": "awdefault01", "sandbox": "sbawsand01"}


def store(value: object) -> str:
    """Put a secret; text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    return str(client("secretsmanager").create_secret(Name="s", SecretString=text)["ARN"])


def credentials(arn: str, clock: Clock, *, secrets: Any = None) -> SecretsManagerCredentials:
    return SecretsManagerCredentials(
        secrets or client("secretsmanager"), secret_arn=arn, client_keys=KEYS, now=clock
    )


def known(arn: str, clock: Clock, registration: str = "default") -> list[tuple[str, str]]:
    found = credentials(arn, clock).candidates(registration)
    return [(one.client_key, one.client_secret.reveal()) for one in found]


def test_current_comes_before_previous_and_pending(in_aws: None, clock: Clock) -> None:
    arn = store({"default": {"pending": "3", "previous": "2", "current": "1"}})

    assert known(arn, clock) == [("awdefault01", "1"), ("awdefault01", "2"), ("awdefault01", "3")]


def test_each_registration_has_secrets_of_its_own(in_aws: None, clock: Clock) -> None:
    arn = store({"default": {"current": "1"}, "sandbox": {"current": "2"}})

    assert known(arn, clock, "sandbox") == [("sbawsand01", "2")]


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"sandbox": {"current": "2"}},
        {"default": {}},
        {"default": {"current": None, "previous": 7}},
        {"default": "1"},
        {"default": ["1"]},
        [],
        "null",
        "not json",
        '"text"',
    ],
)
def test_a_secret_that_was_filled_in_wrongly_gives_nothing(
    in_aws: None, clock: Clock, value: object
) -> None:
    assert known(store(value), clock) == []


def test_an_empty_text_is_no_secret(in_aws: None, clock: Clock) -> None:
    """`"previous": ""` is what a person leaves who deletes one by hand."""
    arn = store({"default": {"current": "1", "previous": ""}})

    assert known(arn, clock) == [("awdefault01", "1")]


def test_a_secret_without_a_value_gives_nothing(in_aws: None, clock: Clock) -> None:
    """The template creates it empty."""
    arn = client("secretsmanager").create_secret(Name="s")["ARN"]

    assert known(arn, clock) == []


def test_a_registration_that_the_stack_has_not_got_gives_nothing(
    in_aws: None, clock: Clock
) -> None:
    arn = store({"gone": {"current": "1"}})

    assert known(arn, clock, "gone") == []


class Counting:
    """Secrets Manager with a count, and with failures on request."""

    def __init__(self, value: object) -> None:
        self.value = value
        self.asked = 0
        self.failure: Exception | None = None

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return {"SecretString": json.dumps(self.value)}


def test_a_copy_is_believed_for_five_minutes(clock: Clock) -> None:
    manager = Counting({"default": {"current": "old"}})
    found = credentials("arn", clock, secrets=manager)
    found.candidates("default")
    manager.value = {"default": {"current": "new"}}

    clock.advance(minutes=4, seconds=59)
    assert found.candidates("default")[0].client_secret.reveal() == "old"
    clock.advance(seconds=1)
    assert found.candidates("default")[0].client_secret.reveal() == "new"
    assert manager.asked == 2


def test_a_clock_that_was_set_back_makes_no_copy_eternal(clock: Clock) -> None:
    manager = Counting({"default": {"current": "1"}})
    found = credentials("arn", clock, secrets=manager)
    found.candidates("default")

    clock.advance(hours=-2)
    found.candidates("default")

    assert manager.asked == 2


def test_a_fresh_look_is_taken_when_tiktok_refused(clock: Clock) -> None:
    manager = Counting({"default": {"current": "old"}})
    found = credentials("arn", clock, secrets=manager)
    found.candidates("default")
    manager.value = {"default": {"current": "new", "previous": "old"}}

    found.reread()

    assert [c.client_secret.reveal() for c in found.candidates("default")] == ["new", "old"]


def test_an_old_secret_serves_through_an_outage(clock: Clock) -> None:
    manager = Counting({"default": {"current": "old"}})
    found = credentials("arn", clock, secrets=manager)
    found.candidates("default")
    manager.failure = refused("InternalServiceError")
    clock.advance(hours=2)

    assert found.candidates("default")[0].client_secret.reveal() == "old"


def test_a_secret_that_tiktok_refused_does_not_serve_through_an_outage(clock: Clock) -> None:
    manager = Counting({"default": {"current": "old"}})
    found = credentials("arn", clock, secrets=manager)
    found.candidates("default")
    found.reread()
    manager.failure = refused("InternalServiceError")

    with pytest.raises(StoreUnavailable):
        found.candidates("default")


def refused(code: str) -> ClientError:
    error = {"Code": code, "Message": "canary"}
    return ClientError({"Error": error}, "GetSecretValue")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    "failure",
    [
        refused("AccessDeniedException"),
        refused("InternalServiceError"),
        ReadTimeoutError(endpoint_url="canary"),
    ],
)
def test_an_outage_is_told_without_a_word_of_the_library(clock: Clock, failure: Exception) -> None:
    manager = Counting({})
    manager.failure = failure

    with pytest.raises(StoreUnavailable) as told:
        credentials("arn", clock, secrets=manager).candidates("default")

    assert "canary" not in str(told.value)


def test_no_secret_shows(clock: Clock) -> None:
    found = credentials("arn", clock, secrets=Counting({"default": {"current": "canary"}}))

    assert "canary" not in repr(found.candidates("default"))
    assert "canary" not in repr(vars(found))
