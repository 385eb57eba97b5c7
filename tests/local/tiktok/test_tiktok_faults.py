"""Failures on request, and what has happened at TikTok when they show."""

from typing import Any

import pytest
import requests

from tests.local.tiktok.client import Client, Pauses


def _refresh_still_works(client: Client, token: str) -> bool:
    return "access_token" in client.refresh(token).json()


def test_a_lost_answer_has_rotated_the_token(client: Client) -> None:
    token = client.link()["refresh_token"]
    client.tiktok.fault("token", "drop_after_commit")

    with pytest.raises(requests.ConnectionError):
        client.refresh(token)

    assert not _refresh_still_works(client, token)


def test_a_refused_connection_has_changed_nothing(client: Client) -> None:
    token = client.link()["refresh_token"]
    client.tiktok.fault("token", "refuse")

    with pytest.raises(requests.ConnectionError, match="reset"):
        client.refresh(token)

    assert _refresh_still_works(client, token)


@pytest.mark.parametrize(
    ("kind", "more", "status", "rotated"),
    [
        ("429", {}, 429, False),
        ("500_before", {}, 500, False),
        ("500_after", {}, 500, True),
        ("html", {}, 502, False),
        ("html", {"commit": True}, 502, True),
    ],
)
def test_an_error_comes_before_or_after_the_rotation(
    client: Client, kind: str, more: dict[str, Any], status: int, rotated: bool
) -> None:
    token = client.link()["refresh_token"]
    client.tiktok.fault("token", kind, **more)

    answer = client.refresh(token)

    assert answer.status_code == status
    assert _refresh_still_works(client, token) is not rotated


def test_an_html_page_is_no_json(client: Client) -> None:
    client.tiktok.fault("token", "html")

    answer = client.refresh("any")

    assert answer.headers["Content-Type"].startswith("text/html")
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


@pytest.mark.parametrize("retry_after", [7, "Sat, 21 Nov 2026 12:00:30 GMT"])
def test_a_429_says_when_to_come_back(client: Client, retry_after: int | str) -> None:
    client.tiktok.fault("token", "429", retry_after=retry_after)

    answer = client.refresh("any")

    assert answer.headers["Retry-After"] == str(retry_after)
    assert answer.json()["error"] == "rate_limit_exceeded"


def test_a_429_of_the_profile_has_the_shape_of_the_api(client: Client) -> None:
    client.tiktok.fault("user_info", "429")

    answer = client.user_info(client.link()["access_token"])

    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(("commit", "rotated"), [(True, True), (False, False)])
def test_a_slow_answer_may_rotate_before_or_after_the_wait(
    client: Client, pauses: Pauses, commit: bool, rotated: bool
) -> None:
    token = client.link()["refresh_token"]
    worked_meanwhile = []
    pauses.meanwhile = lambda: worked_meanwhile.append(
        _refresh_still_works(Client(client.tiktok), token)
    )
    client.tiktok.fault("token", "slow", seconds=9, commit=commit)

    answer = client.refresh(token)

    assert pauses.seconds == [9]
    assert worked_meanwhile == [not rotated]
    assert ("access_token" in answer.json()) is rotated


def test_faults_are_played_as_often_as_asked_and_in_order(client: Client) -> None:
    client.tiktok.fault("user_info", "429", times=2)
    client.tiktok.fault("user_info", "500_before")
    token = client.link()["access_token"]

    statuses = [client.user_info(token).status_code for _ in range(4)]

    assert statuses == [429, 429, 500, 200]


def test_a_fault_may_wait_for_one_grant_type(client: Client) -> None:
    client.tiktok.fault("token", "500_before", grant_type="refresh_token")

    told = client.link()

    assert client.refresh(told["refresh_token"]).status_code == 500


def test_a_lost_answer_to_a_revocation_has_revoked(client: Client) -> None:
    token = client.link()["access_token"]
    client.tiktok.fault("revoke", "drop_after_commit")

    with pytest.raises(requests.ConnectionError):
        client.revoke(token)

    assert not client.works(token)


def test_a_fault_hides_a_refusal_too(client: Client) -> None:
    client.tiktok.fault("token", "500_after")

    assert client.refresh("unknown").json()["error"] == "server_error"


def test_calls_are_counted_faults_included(client: Client) -> None:
    client.tiktok.fault("token", "refuse")
    with pytest.raises(requests.ConnectionError):
        client.refresh("any")
    client.refresh("any")

    assert client.tiktok.calls()["token"] == 2


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"endpoint": "tokens", "kind": "429"}, "endpoint"),
        ({"endpoint": "token", "kind": "explode"}, "kind"),
        ({"endpoint": "token"}, "kind"),
        ({"endpoint": "token", "kind": "429", "times": 0}, "times"),
        ({"endpoint": "token", "kind": "429", "retry_after": [1]}, "retry_after"),
        ({"endpoint": "token", "kind": "slow", "seconds": -1}, "seconds"),
        ({"endpoint": "token", "kind": "html", "commit": "yes"}, "commit"),
        ({"endpoint": "revoke", "kind": "429", "grant_type": "refresh_token"}, "grant_type"),
        ({"endpoint": "token", "kind": "429", "often": 2}, "often"),
    ],
)
def test_a_fault_that_does_not_exist_is_refused(
    client: Client, fault: dict[str, object], named: str
) -> None:
    answer = client.control("POST", "/faults", fault)

    assert answer.status_code == 400
    assert named in answer.json()["error"]
    assert client.control("GET", "/faults").json() == {"waiting": []}


def test_faults_can_be_looked_at_and_called_off(client: Client) -> None:
    waiting = client.control(
        "POST", "/faults", {"endpoint": "token", "kind": "html", "times": 3}
    ).json()["waiting"]

    assert waiting == [{"endpoint": "token", "kind": "html", "times": 3, "grant_type": None}]
    assert client.control("DELETE", "/faults").json() == {"waiting": []}
    assert client.refresh("any").status_code == 200
