"""What a browser meets: checks, consent, sessions, and the way back."""

import re
from urllib.parse import urlsplit

import pytest

from local.tiktok import TikTokServer
from local.tiktok.ledger import challenge_for
from tests.local.tiktok.client import CALLBACK, DESKTOP, SANDBOX, Client, query


def test_consent_leads_back_with_code_granted_scopes_and_state(client: Client) -> None:
    answer = client.answer(
        client.authorize_url(state="a b/+=&é"),
        scope=["user.info.basic", "video.list"],
        decision="authorize",
        user="jonas",
    )

    location = answer.headers["Location"]
    assert answer.status_code == 302
    assert location.startswith(f"{CALLBACK}?")
    assert query(location)["scopes"] == "user.info.basic,video.list"
    assert query(location)["state"] == "a b/+=&é"
    assert re.fullmatch(r"[A-Za-z0-9_-]{40,}\*1!\d+\.va", query(location)["code"])


@pytest.mark.parametrize(("encoding", "shown"), [("percent", "%2A1%21"), ("literal", "*1!")])
def test_stars_and_exclamation_marks_of_a_code_come_in_either_encoding(
    client: Client, encoding: str, shown: str
) -> None:
    client.tiktok.settings(code_encoding=encoding)

    location = client.answer(client.authorize_url()).headers["Location"]

    assert shown in urlsplit(location).query
    assert client.exchange(query(location)["code"]).json()["token_type"] == "Bearer"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"client_key": "unknown", "redirect_uri": "https://evil.test/"}, "client_key"),
        ({"client_key": None}, "client_key"),
        ({"redirect_uri": f"{CALLBACK}/", "response_type": "token"}, "redirect_uri"),
        ({"redirect_uri": CALLBACK.upper()}, "redirect_uri"),
        ({"redirect_uri": None}, "redirect_uri"),
        ({"response_type": "token", "scope": "nonsense"}, "response_type"),
        ({"scope": "user.info.basic,video.publish"}, "scope"),
        ({"scope": "user.info.basic video.list"}, "scope"),
        ({"scope": ""}, "scope"),
    ],
)
def test_the_first_wrong_field_is_named_on_a_page_and_nothing_is_sent_back(
    client: Client, changes: dict[str, str | None], named: str
) -> None:
    page = client.get(client.authorize_url(**changes))

    assert page.status_code == 400
    assert f'<code id="field">{named}</code>' in page.text
    assert "Location" not in page.headers


def test_the_address_works_with_and_without_its_last_slash(client: Client) -> None:
    url = client.authorize_url()

    assert client.get(url).status_code == 200
    assert client.get(url.replace("/authorize/?", "/authorize?")).status_code == 200


def test_the_consent_page_says_what_it_is_and_needs_no_script(client: Client) -> None:
    page = client.get(client.authorize_url())

    assert "Simulation." in page.text
    assert "<script" not in page.text
    assert 'value="user.info.basic" checked' not in page.text  # required: no switch
    for scope in ("user.info.profile", "user.info.stats", "video.list"):
        assert f'name="scope" value="{scope}" checked' in page.text
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("policy", ["same-origin", "same-origin-allow-popups", ""])
def test_its_pages_and_redirects_have_the_opener_policy_that_is_set(
    client: Client, policy: str
) -> None:
    client.tiktok.settings(opener_policy=policy)
    url = client.authorize_url()

    for answer in (client.get(url), client.answer(url), client.get(client.authorize_url(scope=""))):
        assert answer.headers.get("Cross-Origin-Opener-Policy", "") == policy


def test_text_from_the_app_is_escaped(client: Client) -> None:
    client.tiktok.tiktok.change_app("default", {"title": "<b>Acme & Sons</b>"})

    page = client.get(client.authorize_url())

    assert "&lt;b&gt;Acme &amp; Sons&lt;/b&gt; would like" in page.text


def test_the_required_scope_cannot_be_switched_off(client: Client) -> None:
    location = client.answer(client.authorize_url(), scope=["video.list"]).headers["Location"]

    assert query(location)["scopes"] == "user.info.basic,video.list"


def test_cancelling_leads_back_with_access_denied(client: Client) -> None:
    location = client.answer(client.authorize_url(), decision="cancel").headers["Location"]

    assert query(location) == {
        "error": "access_denied",
        "error_description": "User cancelled authorization",
        "state": "state-1",
    }


@pytest.mark.parametrize(("setting", "state"), [("empty", ""), ("absent", None)])
def test_state_may_be_missing_from_an_error(
    client: Client, setting: str, state: str | None
) -> None:
    client.tiktok.settings(state_on_error=setting)

    location = client.answer(client.authorize_url(), decision="cancel").headers["Location"]

    assert query(location).get("state") == state


def test_a_user_who_is_not_eligible_is_told_apart_from_one_who_cancels(client: Client) -> None:
    location = client.answer(client.authorize_url(), user="robin").headers["Location"]

    assert query(location)["error"] == "access_denied"
    assert query(location)["error_type"] == "user_not_eligible"


def test_a_banned_user_gets_no_further_than_a_page(client: Client) -> None:
    page = client.answer(client.authorize_url(), user="boris")

    assert page.status_code == 400
    assert '<code id="field">user</code>' in page.text


def test_a_browser_that_consented_is_sent_straight_back(client: Client) -> None:
    first = client.answer(client.authorize_url(), user="jonas").headers["Location"]
    client.exchange(query(first)["code"])

    again = client.get(client.authorize_url(scope="video.list,user.info.basic"))

    assert again.status_code == 302
    assert query(again.headers["Location"])["scopes"] == "video.list,user.info.basic"


def test_the_page_is_shown_again_where_it_is_asked_for_or_something_is_new(client: Client) -> None:
    first = client.answer(client.authorize_url(), scope=["user.info.basic"]).headers["Location"]
    client.exchange(query(first)["code"])

    assert client.get(client.authorize_url(scope="user.info.basic")).status_code == 302
    always = client.authorize_url(scope="user.info.basic", disable_auto_auth="1")
    assert client.get(always).status_code == 200
    assert client.get(client.authorize_url()).status_code == 200


def test_a_removed_grant_brings_the_page_back(client: Client) -> None:
    first = client.answer(client.authorize_url()).headers["Location"]
    open_id = client.exchange(query(first)["code"]).json()["open_id"]

    client.tiktok.remove(open_id)

    assert client.get(client.authorize_url()).status_code == 200


def test_logging_out_leads_to_logging_in_as_somebody_else(client: Client) -> None:
    url = client.authorize_url()

    out = client.answer(url, decision="log_out")
    login_page = client.get(url)
    back = client.answer(url, decision="log_in", user="amara")
    consent_page = client.get(url)

    assert out.status_code == back.status_code == 302
    assert "<h1>Log in to TikTok</h1>" in login_page.text
    assert 'value="amara" selected' in consent_page.text


def test_a_new_browser_may_have_to_log_in(client: Client) -> None:
    client.tiktok.settings(login="required")

    assert "Log in to TikTok" in client.get(client.authorize_url()).text


def test_a_cookie_that_nobody_gave_out_is_no_session(client: Client) -> None:
    client.http.cookies.set("tiktok_simulation_browser", "made-up")

    answer = client.answer(client.authorize_url(), user="jonas")

    assert "made-up" not in answer.headers["Set-Cookie"]


def test_a_sandbox_admits_its_target_users_alone(tiktok: TikTokServer) -> None:
    client = Client(tiktok, SANDBOX)

    refused = client.answer(client.authorize_url(), user="mina")
    admitted = client.answer(client.authorize_url(), user="jonas")

    assert '<code id="field">non_sandbox_target</code>' in refused.text
    assert "code" in query(admitted.headers["Location"])


def test_portal_mistakes_can_come_back_as_errors_that_no_user_made(tiktok: TikTokServer) -> None:
    tiktok.settings(redirect_errors=True)
    sandbox, web = Client(tiktok, SANDBOX), Client(tiktok)
    tiktok.tiktok.change_app("default", {"approved": False})

    target = sandbox.answer(sandbox.authorize_url(), user="mina").headers["Location"]
    approval = web.get(web.authorize_url()).headers["Location"]

    assert query(target)["error"] == "access_denied"
    assert query(target)["error_type"] == "non_sandbox_target"
    assert query(approval)["error"] == "unauthorized_client"
    assert query(approval)["error_type"] == "client_key"


def test_an_app_before_its_review_is_told_nothing(client: Client) -> None:
    client.tiktok.tiktok.change_app("default", {"approved": False})

    page = client.get(client.authorize_url())

    assert '<code id="field">client_key</code>' in page.text


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, "code_challenge"),
        ({"code_challenge": "abc"}, "code_challenge_method"),
        ({"code_challenge": "abc", "code_challenge_method": "plain"}, "code_challenge_method"),
    ],
)
def test_a_desktop_app_needs_a_proof_key(
    tiktok: TikTokServer, changes: dict[str, str], named: str
) -> None:
    client = Client(tiktok, DESKTOP)

    page = client.get(
        client.authorize_url(redirect_uri="http://127.0.0.1:3000/callback", **changes)
    )

    assert f'<code id="field">{named}</code>' in page.text


@pytest.mark.parametrize(
    ("redirect_uri", "accepted"),
    [
        ("http://127.0.0.1:3000/callback", True),
        ("http://127.0.0.1:65000/callback", True),
        ("http://localhost:4000/back", True),
        ("http://localhost:4001/back", False),
        ("http://127.0.0.1:3000/callback/", False),
        ("http://127.0.0.1:evil/callback", False),
        ("http://127.0.0.1/callback", False),
    ],
)
def test_a_desktop_app_may_register_any_port(
    tiktok: TikTokServer, redirect_uri: str, accepted: bool
) -> None:
    client = Client(tiktok, DESKTOP)

    page = client.get(
        client.authorize_url(
            redirect_uri=redirect_uri,
            code_challenge=challenge_for("v" * 43),
            code_challenge_method="S256",
        )
    )

    assert (page.status_code == 200) is accepted
