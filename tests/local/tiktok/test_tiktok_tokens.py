"""The token endpoint: exchange, PKCE, errors and the shapes of its answers."""

import base64
import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from local.tiktok import TikTokServer
from local.tiktok.ledger import challenge_for
from tests.local.tiktok.client import DESKTOP, SCOPES, SECOND, Client, Clock, query

# The vector of TikTok's own test: tiktok/tiktok-opensdk-android, PKCEUtilsTest.kt.
VERIFIER = "gaeCq5mVvbhA8Ce6w5O9XBVIKMkySgv-_9A-rnhm9Ns"
HEX_CHALLENGE = "e6a178b120743d08509508f269652b0bdf91e29332921bc9e9744fd3dd41bfef"


def test_an_exchange_answers_one_flat_object(client: Client) -> None:
    answer = client.exchange(client.code())

    told = answer.json()
    assert answer.status_code == 200
    assert set(told) == {
        "access_token",
        "expires_in",
        "open_id",
        "refresh_expires_in",
        "refresh_token",
        "scope",
        "token_type",
    }
    assert re.fullmatch(r"act\.[A-Za-z0-9_*!.-]+", told["access_token"])
    assert re.fullmatch(r"rft\.[A-Za-z0-9_*!.-]+", told["refresh_token"])
    assert {"!", "*"} <= set(told["access_token"])
    assert (told["expires_in"], told["refresh_expires_in"]) == (7_200, 15_552_000)
    assert (answer.headers["x-tt-logid"], answer.headers["Cache-Control"]) != ("", "")


def test_the_scope_list_comes_in_another_order_than_it_was_asked_for(client: Client) -> None:
    scope = client.link()["scope"]

    assert scope != ",".join(SCOPES)
    assert set(scope.split(",")) == set(SCOPES)


def test_switched_off_scopes_are_not_granted(client: Client) -> None:
    url = client.tiktok.consent(client.authorize_url(), deny_scopes=["video.list"])

    told = client.exchange(query(url)["code"]).json()

    assert "video.list" not in told["scope"]


def test_a_code_can_be_used_only_once(client: Client) -> None:
    code = client.code()

    first, second = client.exchange(code), client.exchange(code)

    assert "access_token" in first.json()
    assert second.json()["error"] == "invalid_grant"
    assert client.works(first.json()["access_token"])


def test_a_code_that_is_encoded_twice_is_unknown(client: Client) -> None:
    code = quote(client.code(), safe="")

    assert client.exchange(code).json()["error"] == "invalid_grant"


def test_a_code_expires(client: Client, clock: Clock) -> None:
    code = client.code()

    clock.advance(seconds=600)

    told = client.exchange(code).json()
    assert told["error"] == "invalid_grant"
    assert told["error_description"] == "Authorization code is expired."


def test_a_code_of_another_app_is_refused(client: Client) -> None:
    code = Client(client.tiktok, SECOND).code()

    assert client.exchange(code).json()["error"] == "invalid_grant"


def test_a_code_belongs_to_its_redirect_uri(client: Client) -> None:
    answer = client.exchange(client.code(), redirect_uri="https://link.example.test/other")

    assert answer.json()["error"] == "invalid_request"
    assert answer.json()["error_description"].startswith("Redirect_uri is not matched")


def test_of_many_exchanges_at_once_one_wins(client: Client) -> None:
    code = client.code()

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: Client(client.tiktok).exchange(code).json(), range(16)))

    assert sum("access_token" in answer for answer in answers) == 1


def test_the_challenge_is_hex_and_matches_tiktoks_own_vector() -> None:
    assert challenge_for(VERIFIER) == HEX_CHALLENGE


def _desktop_code(client: Client, challenge: str) -> str:
    return client.code(
        redirect_uri="http://127.0.0.1:3000/callback",
        code_challenge=challenge,
        code_challenge_method="S256",
    )


def test_a_desktop_app_proves_its_challenge_with_the_verifier(tiktok: TikTokServer) -> None:
    client = Client(tiktok, DESKTOP)
    code = _desktop_code(client, HEX_CHALLENGE)
    redirect_uri = "http://127.0.0.1:3000/callback"

    missing = client.exchange(code, redirect_uri=redirect_uri).json()
    wrong = client.exchange(code, redirect_uri=redirect_uri, code_verifier="w" * 43).json()
    right = client.exchange(code, redirect_uri=redirect_uri, code_verifier=VERIFIER).json()

    assert missing["error_description"] == "Code verifier or code challenge is invalid."
    assert wrong["error"] == "invalid_request"
    assert "access_token" in right


def test_a_base64url_challenge_fails_only_at_the_exchange(tiktok: TikTokServer) -> None:
    client = Client(tiktok, DESKTOP)
    digest = hashlib.sha256(VERIFIER.encode()).digest()
    code = _desktop_code(client, base64.urlsafe_b64encode(digest).decode().rstrip("="))

    answer = client.exchange(
        code, redirect_uri="http://127.0.0.1:3000/callback", code_verifier=VERIFIER
    )

    assert answer.json()["error_description"] == "Code verifier or code challenge is invalid."


def test_a_web_app_may_send_a_verifier_and_nobody_looks(client: Client) -> None:
    assert "access_token" in client.exchange(client.code(), code_verifier="anything").json()


@pytest.mark.parametrize(
    ("form", "error", "description"),
    [
        ({"client_key": None}, "invalid_request", "The request parameters are malformed."),
        ({"client_secret": None}, "invalid_request", "Client secret is missed in request."),
        ({"client_secret": "wrong"}, "invalid_client", "Client key or secret is incorrect."),
        ({"client_key": "unknown"}, "invalid_client", "Client key or secret is incorrect."),
        ({"grant_type": None}, "invalid_request", "The request parameters are malformed."),
        ({"grant_type": "password"}, "unsupported_grant_type", None),
        ({"code": None}, "invalid_request", None),
        ({"redirect_uri": None}, "invalid_request", None),
        ({"code": "unknown"}, "invalid_grant", "Authorization code is expired."),
    ],
)
@pytest.mark.parametrize("error_status", [200, 400])
def test_errors_are_flat_and_their_status_says_nothing_by_default(
    client: Client,
    form: dict[str, str | None],
    error: str,
    description: str | None,
    error_status: int,
) -> None:
    client.tiktok.settings(error_status=error_status)

    answer = client.exchange(**{"code": "some-code", **form})

    told = answer.json()
    unauthorized = error == "invalid_client" and error_status == 400
    assert answer.status_code == (401 if unauthorized else error_status)
    assert set(told) == {"error", "error_description", "log_id"}
    assert told["error"] == error
    assert description in (None, told["error_description"])


def test_a_log_id_is_the_time_and_twenty_characters(client: Client) -> None:
    answer = client.exchange("unknown")

    assert re.fullmatch(r"20261121120000[0-9A-F]{20}", answer.json()["log_id"])
    assert answer.headers["x-tt-logid"] == answer.json()["log_id"]


def test_unknown_fields_are_ignored(client: Client) -> None:
    assert "access_token" in client.exchange(client.code(), something="else").json()


def test_json_bodies_are_refused(client: Client) -> None:
    answer = client.http.post(
        f"{client.tiktok.base_url}/v2/oauth/token/",
        json={"client_key": client.app.client_key, "client_secret": client.app.client_secret},
        timeout=5,
    )

    assert answer.json()["error"] == "invalid_request"
    assert "application/x-www-form-urlencoded" in answer.json()["error_description"]


@pytest.mark.parametrize("path", ["/v2/oauth/token", "/v2/oauth/revoke"])
def test_without_its_last_slash_an_oauth_path_redirects(client: Client, path: str) -> None:
    answer = client.http.post(f"{client.tiktok.base_url}{path}", allow_redirects=False, timeout=5)

    assert answer.status_code == 301
    assert answer.headers["Location"].endswith(f"{path}/")


def test_client_credentials_give_the_apps_own_token(client: Client) -> None:
    told = client.token(grant_type="client_credentials").json()

    assert told["access_token"].startswith("clt.")
    assert not client.works(told["access_token"])


def test_each_app_knows_a_user_by_another_id(client: Client) -> None:
    first, second = client.link(), Client(client.tiktok, SECOND).link()

    assert first["open_id"] != second["open_id"]
    assert [
        client.user_info(told["access_token"], "union_id").json()["data"]["user"]
        for told in (first, second)
    ] == [{"union_id": client.tiktok.tiktok.people()[0].union_id}] * 2


def test_numbers_may_come_as_strings(client: Client) -> None:
    client.tiktok.settings(numbers_as_strings=True)

    told = client.link()

    assert (told["expires_in"], told["refresh_expires_in"]) == ("7200", "15552000")


def test_the_refresh_lifetime_may_be_missing(client: Client) -> None:
    client.tiktok.settings(omit_refresh_expires_in=True)

    assert "refresh_expires_in" not in client.link()


def test_tokens_may_be_long(client: Client) -> None:
    client.tiktok.settings(token_characters=1_500)

    told = client.link()

    assert (len(told["access_token"]), len(told["refresh_token"])) == (1_500, 1_500)


@pytest.mark.parametrize(("setting", "first_lives"), [("replaces", False), ("keeps", True)])
def test_a_second_authorization_replaces_or_keeps_the_first(
    client: Client, setting: str, first_lives: bool
) -> None:
    client.tiktok.settings(second_authorization=setting)

    first, second = client.link(), client.link()

    assert client.works(second["access_token"])
    assert client.works(first["access_token"]) is first_lives
    assert ("access_token" in client.refresh(first["refresh_token"]).json()) is first_lives
    assert [grant["alive"] for grant in client.tiktok.state()["grants"]] == [first_lives, True]
