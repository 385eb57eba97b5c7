"""The controls over HTTP."""

import pytest

from tests.local.tiktok.client import DESKTOP, SCOPES, WEB, Client, Clock, Pauses, query


def test_settings_are_answered_whole_and_changed_in_part(client: Client) -> None:
    before = client.control("GET", "/settings").json()

    after = client.control("POST", "/settings", {"access_seconds": 60, "rotation": "family"}).json()

    assert before["error_status"] == 200
    assert before["rotation"] == "strict"
    assert after == before | {"access_seconds": 60, "rotation": "family"}
    assert client.control("GET", "/settings").json() == after


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"acces_seconds": 60}, "access_seconds"),
        ({"rotation": "loose"}, "strict, grace, family"),
        ({"error_status": 500}, "200, 400"),
        ({"error_status": "200"}, "200, 400"),
        ({"access_seconds": 0}, "between"),
        ({"access_seconds": True}, "whole number"),
        ({"access_seconds": 1.5}, "whole number"),
        ({"numbers_as_strings": 1}, "False, True"),
        ({"deadline": None}, "fixed, sliding"),
    ],
)
def test_a_setting_that_does_not_exist_changes_nothing(
    client: Client, changes: dict[str, object], named: str
) -> None:
    before = client.control("GET", "/settings").json()

    answer = client.control("POST", "/settings", {"latency_ms": 5, **changes})

    assert answer.status_code == 400
    assert named in answer.json()["error"]
    assert client.control("GET", "/settings").json() == before


def test_the_body_is_json_whatever_its_content_type_says(client: Client) -> None:
    answer = client.http.post(
        f"{client.tiktok.base_url}/_control/settings", data='{"latency_ms": 1}', timeout=5
    )

    assert answer.json()["latency_ms"] == 1


@pytest.mark.parametrize("body", ["{", "[]", "1", '"text"'])
def test_a_body_that_is_no_object_is_refused(client: Client, body: str) -> None:
    answer = client.http.post(f"{client.tiktok.base_url}/_control/settings", data=body, timeout=5)

    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/nothing", "", "/settings/access_seconds"])
def test_unknown_controls_are_404_in_json(client: Client, path: str) -> None:
    answer = client.control("GET", path)

    assert answer.status_code == 404
    assert "error" in answer.json()


def test_consent_without_a_browser(client: Client) -> None:
    answer = client.control(
        "POST",
        "/consent",
        {
            "authorize_url": client.authorize_url(),
            "user": "jonas",
            "deny_scopes": ["video.list"],
        },
    )

    redirect = answer.json()["redirect"]
    told = client.exchange(query(redirect)["code"]).json()
    assert query(redirect)["state"] == "state-1"
    assert query(redirect)["scopes"] == ",".join(SCOPES[:-1])
    assert told["open_id"] == client.tiktok.open_id("jonas", WEB.client_key)


def test_consent_by_the_scopes_to_approve_and_by_open_id(client: Client) -> None:
    answer = client.control(
        "POST",
        "/consent",
        {
            "authorize_url": client.authorize_url(),
            "open_id": client.tiktok.open_id("amara", WEB.client_key),
            "approve_scopes": ["video.list"],
        },
    )

    assert query(answer.json()["redirect"])["scopes"] == "user.info.basic,video.list"


@pytest.mark.parametrize(
    ("action", "error", "error_type"),
    [
        ({"action": "cancel"}, "access_denied", None),
        ({"action": "refuse"}, "access_denied", "user_not_eligible"),
        ({"action": "misconfigured"}, "access_denied", "non_sandbox_target"),
        ({"action": "error", "error": "server_error", "error_type": "odd"}, "server_error", "odd"),
    ],
)
def test_every_unsuccessful_end_of_a_consent(
    client: Client, action: dict[str, str], error: str, error_type: str | None
) -> None:
    answer = client.control("POST", "/consent", {"authorize_url": client.authorize_url(), **action})

    sent_back = query(answer.json()["redirect"])
    assert (sent_back["error"], sent_back.get("error_type")) == (error, error_type)
    assert "code" not in sent_back


def test_a_consent_that_ends_on_tiktoks_own_page_has_no_redirect(client: Client) -> None:
    answer = client.control(
        "POST", "/consent", {"authorize_url": client.authorize_url(scope="nonsense")}
    )

    assert answer.status_code == 409
    assert answer.json()["redirect"] is None
    assert answer.json()["page"]["field"] == "scope"


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"user": "nobody"}, 404),
        ({"open_id": "nobody"}, 404),
        ({"action": "dance"}, 400),
        ({"deny_scopes": ["user.info.basic"]}, 400),
        ({"deny_scopes": ["video.upload"]}, 400),
        ({"approve_scopes": "video.upload"}, 400),
        ({"approve_scopes": 1}, 400),
        ({"authorize_url": ""}, 400),
        ({"someone": "mina"}, 400),
    ],
)
def test_a_consent_that_makes_no_sense_is_refused(
    client: Client, wrong: dict[str, object], status: int
) -> None:
    answer = client.control("POST", "/consent", {"authorize_url": client.authorize_url(), **wrong})

    assert answer.status_code == status
    assert answer.json()["error"]


def test_users_show_their_ids_and_can_be_added(client: Client) -> None:
    added = client.control("POST", "/users", {"user": "load-1", "display_name": "Load One"})

    users = {one["user"]: one for one in client.control("GET", "/users").json()["users"]}
    assert users["load-1"] == added.json()
    assert users["mina"]["display_name"] == "Mina Park"
    assert users["mina"]["open_ids"][WEB.client_key] == client.link()["open_id"]
    assert client.link(user="load-1")["open_id"] == added.json()["open_ids"][WEB.client_key]
    again = client.control("POST", "/users", {"user": "load-1"})
    assert again.status_code == 400


def test_apps_are_shown_without_their_secrets(client: Client) -> None:
    answer = client.control("GET", "/apps")

    assert [app["name"] for app in answer.json()["apps"]] == [
        "default",
        "second",
        "desktop",
        "sandbox",
    ]
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("path", "changes", "status"),
    [
        ("/apps/nothing", {"webhook_url": None}, 404),
        ("/apps/default", {"client_key": "other"}, 400),
        ("/apps/default", {"webhook_url": 1}, 400),
        ("/apps/default", {"client_secret": ""}, 400),
    ],
)
def test_a_registration_changes_only_in_what_a_portal_lets_change(
    client: Client, path: str, changes: dict[str, object], status: int
) -> None:
    assert client.control("POST", path, changes).status_code == status


@pytest.mark.parametrize("reason", [-1, 6, "1", None, True])
def test_a_removal_needs_one_of_tiktoks_reasons(client: Client, reason: object) -> None:
    open_id = client.link()["open_id"]

    answer = client.control("POST", f"/users/{open_id}/remove", {"reason": reason})

    assert answer.status_code == 400
    assert client.tiktok.state()["grants"][0]["alive"] is True


def test_a_removal_of_somebody_unknown_is_404(client: Client) -> None:
    assert client.control("POST", "/users/nobody/remove", {"reason": 1}).status_code == 404


def test_a_removal_ends_one_app_of_one_user(client: Client) -> None:
    mina, jonas = client.link(), client.link(user="jonas")

    client.tiktok.remove(mina["open_id"])

    assert not client.works(mina["access_token"])
    assert client.works(jonas["access_token"])


def test_a_reset_forgets_everything(client: Client) -> None:
    told = client.link()
    client.tiktok.settings(rotation="family")
    client.tiktok.fault("token", "429")
    client.tiktok.add_user("extra")
    client.tiktok.tiktok.change_app("default", {"webhook_url": "http://127.0.0.1:9/"})

    client.control("POST", "/reset")

    assert client.tiktok.state()["grants"] == []
    assert set(client.tiktok.calls().values()) == {0}
    assert not client.works(told["access_token"])
    assert client.refresh("any").status_code == 200
    assert client.control("GET", "/settings").json()["rotation"] == "strict"
    assert client.control("GET", "/apps").json()["apps"][0]["webhook_url"] is None
    assert "extra" not in client.control("GET", "/users").text


def test_counts_can_start_anew(client: Client) -> None:
    client.link()
    assert client.tiktok.calls()["token.authorization_code"] == 1
    assert client.tiktok.calls()["authorize"] == 1

    client.control("POST", "/calls/reset")

    assert client.tiktok.calls()["token"] == 0
    assert client.tiktok.state()["grants"] != []


def test_latency_holds_back_every_answer(client: Client, pauses: Pauses) -> None:
    client.tiktok.settings(latency_ms=60)

    client.user_info(client.link()["access_token"])

    assert pauses.seconds == [0.06, 0.06]


def test_the_clock_moves_everything(client: Client, clock: Clock) -> None:
    client.link()
    clock.advance(days=181)

    state = client.tiktok.state()

    assert all(not token["alive"] for token in state["tokens"])


def test_a_desktop_consent_by_control_keeps_the_proof_key(client: Client) -> None:
    desktop = Client(client.tiktok, DESKTOP)

    answer = desktop.control(
        "POST",
        "/consent",
        {"authorize_url": desktop.authorize_url(redirect_uri="http://localhost:4000/back")},
    )

    assert answer.json()["page"]["field"] == "code_challenge"
