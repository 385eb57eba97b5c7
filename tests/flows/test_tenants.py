"""Two teams behind one stack, each with keys of its own, over the wire."""

from __future__ import annotations

import secrets

import pytest
import requests

from local.testing import WorldHandle
from tests.conftest import MAPPED_CALLERS
from tests.flows.journey import Backend, Journey, Json, expect
from tests.flows.test_completion import Attempt, code_of

KEYS = dict(MAPPED_CALLERS)


def team(world: WorldHandle, name: str) -> Journey:
    return Journey(world, (name, KEYS[name]))


@pytest.fixture
def acme(world: WorldHandle) -> Journey:
    """Held to the tenant acme."""
    return team(world, "acme-backend")


@pytest.fixture
def umbrella(world: WorldHandle) -> Journey:
    """Held to the tenant umbrella, and to a TikTok app of its own."""
    return team(world, "umbrella-backend")


def tries(backend: Backend, session: str, account: str) -> list[requests.Response]:
    """Every route with an id; the harmless ones first."""
    completion = {"completion_code": "c" * 43, "end_user_id": "u_42"}
    return [
        backend.call("GET", f"/v1/link-sessions/{session}"),
        backend.call("POST", f"/v1/link-sessions/{session}/complete", completion),
        backend.call("DELETE", f"/v1/link-sessions/{session}"),
        backend.call("GET", f"/v1/accounts/{account}"),
        backend.call("PATCH", f"/v1/accounts/{account}", {"metadata": {"taken": "over"}}),
        backend.call("POST", f"/v1/accounts/{account}/token", {}),
        backend.call("POST", f"/v1/accounts/{account}/relink", {}),
        backend.call("DELETE", f"/v1/accounts/{account}"),
    ]


def told(answer: requests.Response) -> tuple[int, Json, list[str]]:
    body = {k: v for k, v in answer.json().items() if k != "request_id"}
    return answer.status_code, body, sorted(answer.headers)


def test_two_teams_with_an_app_each_neither_touch_nor_notice_each_other(
    acme: Journey, umbrella: Journey, person: str, end_user: str
) -> None:
    one = acme.link(end_user, person)
    two = umbrella.link(end_user, person)

    shown = [team.backend.account(link.account_id) for team, link in ((acme, one), (umbrella, two))]
    assert [a["tenant_id"] for a in shown] == ["acme", "umbrella"]
    assert [a["app_registration"] for a in shown] == ["default", "second"]
    assert [a["version"] for a in shown] == [1, 1]
    for stranger, team, link in ((acme, umbrella, two), (umbrella, acme, one)):
        begun = team.backend.begin(end_user)
        foreign = tries(stranger.backend, begun["id"], link.account_id)
        missing = tries(stranger.backend, "ls_" + secrets.token_urlsafe(32), "acct_" + "a" * 48)
        assert [told(answer) for answer in foreign] == [told(answer) for answer in missing]
        assert {answer.status_code for answer in foreign} == {404}
        assert team.backend.session(begun["id"])["status"] == "pending"
        assert team.backend.account(link.account_id)["metadata"] == {}
        assert [a["id"] for a in team.backend.accounts_of(end_user)] == [link.account_id]
        asked = stranger.backend.get("/v1/accounts", end_user_id=end_user, tenant_id="umbrella")
        assert link.account_id not in [item["id"] for item in asked["items"]]

    token = acme.backend.token(one.account_id)["access_token"]
    assert umbrella.backend.unlink(two.account_id) == {
        "status": "unlinked",
        "revoked_at_tiktok": True,
    }
    assert acme.tiktok.is_alive(token)
    assert acme.backend.account(one.account_id)["version"] == 1


def test_tenants_that_share_an_app_share_the_grant_and_are_told_no_more_than_that(
    world: WorldHandle, acme: Journey, person: str, end_user: str
) -> None:
    jobs = team(world, "umbrella-jobs")
    one, two = acme.link(end_user, person), jobs.link(end_user, person)

    kept = {"status": "unlinked", "revoked_at_tiktok": False, "reason": "policy"}
    assert acme.backend.unlink(one.account_id) == kept
    assert jobs.backend.token(two.account_id)["warning"] is None
    assert jobs.backend.unlink(two.account_id)["revoked_at_tiktok"] is True


def test_who_is_mapped_to_nobody_gives_the_tenant_as_data(
    journey: Journey, acme: Journey, person: str, end_user: str
) -> None:
    linked = journey.link(end_user, person, tenant_id="acme")

    assert journey.backend.account(linked.account_id)["tenant_id"] == "acme"
    assert (
        acme.backend.accounts_of(end_user)
        == journey.backend.get("/v1/accounts", end_user_id=end_user, tenant_id="acme")["items"]
    )
    assert journey.backend.accounts_of(end_user) == []


def test_the_team_that_is_not_the_sessions_cannot_complete_it(
    acme: Journey, umbrella: Journey, person: str, end_user: str
) -> None:
    """With the right code and the right user, and without harm to what waits."""
    attempt = Attempt(acme, end_user, person, completion="app")
    code = code_of(attempt.come_back())
    path = f"/v1/link-sessions/{attempt.begun['id']}/complete"
    said = {"completion_code": code, "end_user_id": end_user}

    assert umbrella.backend.call("POST", path, said).status_code == 404
    assert umbrella.backend.call("POST", path, {**said, "end_user_id": "x"}).status_code == 404

    made = expect(acme.backend.call("POST", path, said), 200)
    assert (made["tenant_id"], made["status"]) == ("acme", "active")


def test_a_look_alike_of_a_mapped_role_reaches_nothing(world: WorldHandle) -> None:
    look_alike = team(world, "Acme-Backend").backend

    answers = [
        look_alike.call("GET", "/v1/accounts"),
        look_alike.call("POST", "/v1/link-sessions", {"end_user_id": "u_42"}),
    ]

    assert [(a.status_code, a.json()) for a in answers] == [(403, {"message": "Forbidden"})] * 2


def test_keys_that_do_not_belong_together_are_nobodys(world: WorldHandle) -> None:
    gateway = world.endpoints["gateway"]

    for name, secret in (("acme-backend", KEYS["umbrella-backend"]), ("nobody", "secret")):
        answer = Backend(gateway, (name, secret)).call("GET", "/v1/accounts")
        assert (answer.status_code, answer.json()["message"]) == (403, "Forbidden")
