"""Revocation, the profile and the videos."""

import pytest

from tests.local.tiktok.client import SECOND, Client


def test_revoking_disconnects_the_app_not_the_one_token(client: Client) -> None:
    client.tiktok.settings(second_authorization="keeps")
    first, second = client.link(), client.link()

    client.revoke(first["access_token"])

    assert not client.works(second["access_token"])
    assert client.refresh(second["refresh_token"]).json()["error"] == "invalid_grant"
    assert all(not grant["alive"] for grant in client.tiktok.state()["grants"])


def test_another_apps_grant_survives_a_revocation(client: Client) -> None:
    second = Client(client.tiktok, SECOND)
    kept = second.link()

    client.revoke(client.link()["access_token"])

    assert second.works(kept["access_token"])


@pytest.mark.parametrize(("setting", "body"), [("empty", ""), ("object", "{}")])
def test_a_revocation_answers_nothing_or_an_empty_object(
    client: Client, setting: str, body: str
) -> None:
    client.tiktok.settings(revoke_body=setting)

    answer = client.revoke(client.link()["access_token"])

    assert answer.status_code == 200
    assert answer.text.strip() == body


def test_only_a_living_access_token_of_the_app_can_be_revoked(client: Client) -> None:
    told = client.link()
    foreign = Client(client.tiktok, SECOND).link()["access_token"]

    errors = [
        client.revoke(token).json()["error"] for token in (told["refresh_token"], foreign, "no")
    ]
    client.revoke(told["access_token"])
    errors.append(client.revoke(told["access_token"]).json()["error"])

    assert errors == ["invalid_grant"] * 4


def test_the_profile_comes_with_an_error_object_that_says_ok(client: Client) -> None:
    told = client.link()

    answer = client.user_info(told["access_token"], "open_id,display_name,username,video_count")

    assert answer.json()["data"]["user"] == {
        "open_id": told["open_id"],
        "display_name": "Mina Park",
        "username": "minapark",
        "video_count": 2,
    }
    assert answer.json()["error"]["code"] == "ok"


def test_unknown_fields_vanish(client: Client) -> None:
    answer = client.user_info(client.link()["access_token"], "open_id,email")

    assert set(answer.json()["data"]["user"]) == {"open_id"}


@pytest.mark.parametrize(
    ("code", "status"), [("scope_not_authorized", 401), ("scope_permission_missed", 400)]
)
def test_one_field_too_many_fails_the_whole_profile(client: Client, code: str, status: int) -> None:
    client.tiktok.settings(missing_scope_error=code)
    token = client.link(scope="user.info.basic")["access_token"]

    answer = client.user_info(token, "open_id,username")

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert client.works(token)


def test_fields_are_required(client: Client) -> None:
    answer = client.user_info(client.link()["access_token"], "")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_params")


def test_a_wrong_access_token_is_401_unless_errors_hide_under_200(client: Client) -> None:
    documented = client.user_info("act.unknown")
    client.tiktok.settings(api_error_status="always_200")
    hidden = client.user_info("act.unknown")

    assert (documented.status_code, hidden.status_code) == (401, 200)
    assert documented.json()["error"]["code"] == "access_token_invalid"
    assert hidden.json()["error"]["code"] == "access_token_invalid"


def test_videos_need_their_scope(client: Client) -> None:
    def videos(token: str) -> dict[str, object]:
        answer = client.http.post(
            f"{client.tiktok.base_url}/v2/video/list/",
            params={"fields": "id,title"},
            headers={"Authorization": f"Bearer {token}"},
            json={"max_count": 10},
            timeout=5,
        )
        return dict(answer.json())

    assert videos(client.link(scope="user.info.basic")["access_token"])["data"] == {}
    assert videos(client.link()["access_token"])["data"] == {
        "videos": [
            {"id": "7000000000000000001", "title": "Video 1 of Mina Park"},
            {"id": "7000000000000000002", "title": "Video 2 of Mina Park"},
        ],
        "cursor": 0,
        "has_more": False,
    }


def test_a_user_may_take_single_scopes_away(client: Client) -> None:
    told = client.link()

    client.control("POST", f"/users/{told['open_id']}/scopes", {"scopes": ["video.list"]})

    refreshed = client.refresh(told["refresh_token"]).json()
    assert set(refreshed["scope"].split(",")) == {"user.info.basic", "video.list"}
