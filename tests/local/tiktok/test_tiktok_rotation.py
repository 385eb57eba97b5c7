"""Refreshing: rotation and its variants, deadlines, and what races do."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest

from local.tiktok.simulation import OTHER_OPEN_ID
from tests.local.tiktok.client import SECOND, Client, Clock


def _is_dead(client: Client, refresh_token: str) -> bool:
    return bool(client.refresh(refresh_token).json().get("error") == "invalid_grant")


def _living(client: Client) -> set[str]:
    return {token["sha256"] for token in client.tiktok.state()["tokens"] if token["alive"]}


def _hashes(*values: str) -> set[str]:
    return {sha256(value.encode()).hexdigest() for value in values}


def test_a_refresh_gives_a_new_pair_and_kills_the_token_that_was_sent(client: Client) -> None:
    old = client.link()

    new = client.refresh(old["refresh_token"]).json()

    assert new["open_id"] == old["open_id"]
    assert new["refresh_token"] != old["refresh_token"]
    assert client.works(new["access_token"])
    assert _is_dead(client, old["refresh_token"])
    assert not _is_dead(client, new["refresh_token"])


def test_of_many_refreshes_at_once_one_wins(client: Client) -> None:
    token = client.link()["refresh_token"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: Client(client.tiktok).refresh(token).json(), range(16)))

    assert sum("access_token" in answer for answer in answers) == 1
    assert client.tiktok.calls()["token.refresh_token"] == 16


def test_a_refresh_token_of_another_app_is_refused(client: Client) -> None:
    token = Client(client.tiktok, SECOND).link()["refresh_token"]

    assert _is_dead(client, token)
    assert not _is_dead(Client(client.tiktok, SECOND), token)


def test_an_access_token_ends_with_its_lifetime(client: Client, clock: Clock) -> None:
    token = client.link()["access_token"]

    clock.advance(seconds=7_199)
    assert client.works(token)
    clock.advance(seconds=1)
    assert not client.works(token)


def test_a_fixed_deadline_does_not_move_with_refreshes(client: Client, clock: Clock) -> None:
    token = client.link()["refresh_token"]
    clock.advance(days=100)

    new = client.refresh(token).json()

    assert new["refresh_expires_in"] == 15_552_000 - 100 * 86_400
    clock.advance(days=80)
    assert _is_dead(client, new["refresh_token"])


def test_a_sliding_deadline_starts_anew_with_each_refresh(client: Client, clock: Clock) -> None:
    client.tiktok.settings(deadline="sliding")
    token = client.link()["refresh_token"]
    clock.advance(days=100)

    new = client.refresh(token).json()

    assert new["refresh_expires_in"] == 15_552_000
    clock.advance(days=100)
    assert not _is_dead(client, new["refresh_token"])


def test_lifetimes_are_settings(client: Client, clock: Clock) -> None:
    client.tiktok.settings(access_seconds=86_400, refresh_seconds=31_536_000)

    told = client.link()

    assert (told["expires_in"], told["refresh_expires_in"]) == (86_400, 31_536_000)


def test_under_strict_rotation_a_replay_costs_nothing_else(client: Client) -> None:
    old = client.link()
    new = client.refresh(old["refresh_token"]).json()

    assert _is_dead(client, old["refresh_token"])

    assert client.works(new["access_token"])
    assert not _is_dead(client, new["refresh_token"])


def test_under_family_rotation_a_replay_ends_the_grant_access_tokens_included(
    client: Client,
) -> None:
    client.tiktok.settings(rotation="family")
    old = client.link()
    new = client.refresh(old["refresh_token"]).json()

    assert _is_dead(client, old["refresh_token"])

    assert not client.works(old["access_token"])
    assert not client.works(new["access_token"])
    assert _is_dead(client, new["refresh_token"])
    assert client.tiktok.state()["grants"][0]["alive"] is False


def test_a_grace_period_repeats_the_same_answer(client: Client, clock: Clock) -> None:
    client.tiktok.settings(rotation="grace", grace_seconds=30)
    old = client.link()
    first = client.refresh(old["refresh_token"]).json()
    clock.advance(seconds=29)

    again = client.refresh(old["refresh_token"]).json()

    assert again["refresh_token"] == first["refresh_token"]
    assert again["access_token"] == first["access_token"]
    assert again["expires_in"] == first["expires_in"] - 29
    clock.advance(seconds=1)
    assert _is_dead(client, old["refresh_token"])
    assert not _is_dead(client, first["refresh_token"])


def test_a_grace_period_may_give_another_pair_instead(client: Client) -> None:
    client.tiktok.settings(rotation="grace", grace_answer="new")
    old = client.link()
    first = client.refresh(old["refresh_token"]).json()

    again = client.refresh(old["refresh_token"]).json()

    assert again["refresh_token"] != first["refresh_token"]
    assert _is_dead(client, first["refresh_token"])
    assert not _is_dead(client, again["refresh_token"])


def test_grace_covers_the_latest_generation_alone(client: Client) -> None:
    client.tiktok.settings(rotation="grace")
    first = client.link()["refresh_token"]
    second = client.refresh(first).json()["refresh_token"]
    client.refresh(second)

    assert _is_dead(client, first)


def test_in_the_state_a_token_in_its_grace_period_is_not_alive(client: Client) -> None:
    client.tiktok.settings(rotation="grace")
    old = client.link()
    new = client.refresh(old["refresh_token"]).json()

    assert _living(client) == _hashes(
        old["access_token"], new["access_token"], new["refresh_token"]
    )


@pytest.mark.parametrize(
    ("rotate", "rotations"),
    [("always", [True, True, True]), ("sometimes", [False, True, False]), ("never", [False] * 3)],
)
def test_rotation_may_happen_always_sometimes_or_never(
    client: Client, rotate: str, rotations: list[bool]
) -> None:
    client.tiktok.settings(rotate=rotate)
    token = client.link()["refresh_token"]

    seen = []
    for _ in rotations:
        new = client.refresh(token).json()["refresh_token"]
        seen.append(new != token)
        token = new

    assert seen == rotations


@pytest.mark.parametrize(("setting", "lives"), [("survives", True), ("dies", False)])
def test_the_old_access_token_may_survive_a_refresh(
    client: Client, setting: str, lives: bool
) -> None:
    client.tiktok.settings(old_access_token=setting)
    old = client.link()

    new = client.refresh(old["refresh_token"]).json()

    assert client.works(old["access_token"]) is lives
    assert client.works(new["access_token"])


def test_an_answer_without_a_refresh_token_leaves_the_sent_one_valid(client: Client) -> None:
    client.tiktok.settings(omit_refresh_token=True)
    old = client.link()

    new = client.refresh(old["refresh_token"]).json()

    assert "refresh_token" not in new
    client.tiktok.settings(omit_refresh_token=False)
    assert not _is_dead(client, old["refresh_token"])


def test_a_refresh_may_answer_with_somebody_elses_open_id(client: Client) -> None:
    client.tiktok.settings(other_open_id_on_refresh=True)

    told = client.refresh(client.link()["refresh_token"]).json()

    assert told["open_id"] == OTHER_OPEN_ID


def test_the_state_lists_every_token_by_its_hash(client: Client) -> None:
    old = client.link()
    new = client.refresh(old["refresh_token"]).json()

    state: dict[str, Any] = client.control("GET", "/state").json()

    assert set(state) == {"grants", "tokens", "calls"}
    assert state["grants"] == [
        {"open_id": old["open_id"], "scopes": sorted(old["scope"].split(",")), "alive": True}
    ]
    assert sorted(token["kind"] for token in state["tokens"]) == ["access"] * 2 + ["refresh"] * 2
    assert _living(client) == _hashes(
        old["access_token"], new["access_token"], new["refresh_token"]
    )
    assert state["calls"]["token"] == 2
    assert state["calls"]["revoke"] == 0
    assert "act." not in str(state)
