"""TikTok's protocol as it is known (docs/tiktok.md): what is sent, and how each answer is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.fakes.clock import NOON
from tiktok_linking.accounts import Secret
from tiktok_linking.errors import Misconfigured, ProviderError, Refused, Unavailable
from tiktok_linking.oauth import (
    PROFILE_FIELDS,
    REVOKE_PATH,
    TOKEN_PATH,
    CallbackError,
    ClientCredentials,
    TokenAnswer,
    authorize_url,
    code_challenge,
    exchange_form,
    is_loopback,
    is_scope,
    new_code_verifier,
    read_callback_error,
    read_profile,
    read_revoke_answer,
    read_scopes,
    read_token_answer,
    refresh_form,
    revoke_form,
)

CLIENT = ClientCredentials("awtest0000000001", Secret("client-secret-canary"))
PAIR: dict[str, Any] = {
    "access_token": "act.example12345!Example12345",
    "expires_in": 86400,
    "open_id": "afd97af1-b87b-48b9-ac98-410aghda5344",
    "refresh_expires_in": 31536000,
    "refresh_token": "rft.example12345*Example12345",
    "scope": "user.info.basic,video.list",
    "token_type": "Bearer",
}
LOG_ID = "202206221854370101130062072500FFA2"


def read(
    body: Mapping[str, object] | bytes,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    is_refresh: bool = True,
) -> TokenAnswer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_token_answer(status, headers or {}, data, asked_at=NOON, is_refresh=is_refresh)


def without(*names: str) -> dict[str, object]:
    return {name: value for name, value in PAIR.items() if name not in names}


# -- a pair -------------------------------------------------------------------------------------


def test_a_flat_answer_becomes_a_pair() -> None:
    answer = read(PAIR, is_refresh=False)

    assert answer.access_token.reveal() == "act.example12345!Example12345"
    assert answer.refresh_token is not None
    assert answer.refresh_token.reveal() == "rft.example12345*Example12345"
    assert answer.open_id == "afd97af1-b87b-48b9-ac98-410aghda5344"
    assert answer.scopes == ("user.info.basic", "video.list")


def test_lifetimes_count_from_before_the_request_and_come_from_the_answer() -> None:
    answer = read(PAIR | {"expires_in": 7200, "refresh_expires_in": 15_552_000})

    assert answer.issued_at == NOON
    assert answer.expires_at == NOON + timedelta(hours=2)
    assert answer.relink_by == NOON + timedelta(days=180)


def test_numbers_may_come_as_strings() -> None:
    answer = read(PAIR | {"expires_in": "7200", "refresh_expires_in": "31535980"})

    assert answer.expires_at == NOON + timedelta(hours=2)
    assert answer.relink_by == NOON + timedelta(seconds=31_535_980)


def test_an_answer_without_refresh_expires_in_tells_no_deadline() -> None:
    assert read(without("refresh_expires_in")).relink_by is None


@pytest.mark.parametrize("value", [True, -1, "soon", None, 10**12, [1], {}])
def test_an_unreadable_deadline_is_no_deadline(value: object) -> None:
    assert read(PAIR | {"refresh_expires_in": value}).relink_by is None


def test_a_refresh_may_answer_without_a_refresh_token() -> None:
    assert read(without("refresh_token"), is_refresh=True).refresh_token is None


def test_an_exchange_without_a_refresh_token_is_no_success() -> None:
    with pytest.raises(Unavailable) as refusal:
        read(without("refresh_token"), is_refresh=False)

    assert refusal.value.may_have_acted


@pytest.mark.parametrize("name", ["access_token", "open_id"])
@pytest.mark.parametrize("is_refresh", [True, False])
def test_an_answer_without_its_token_or_person_may_still_have_rotated(
    name: str, is_refresh: bool
) -> None:
    with pytest.raises(Unavailable) as refusal:
        read(without(name), is_refresh=is_refresh)

    assert refusal.value.may_have_acted


@pytest.mark.parametrize("status", [200, 201, 400, 401, 429, 500, 502])
def test_a_pair_counts_whatever_the_http_status_says(status: int) -> None:
    """The body decides. A pair that is thrown away is a link that is lost: the old one is dead."""
    answer = read(PAIR, status=status)

    assert answer.refresh_token is not None
    assert answer.refresh_token.reveal() == PAIR["refresh_token"]


@pytest.mark.parametrize("expires_in", [None, "soon", 7200.0, -1])
def test_a_pair_is_not_thrown_away_for_an_unreadable_lifetime(expires_in: object) -> None:
    """RFC 6749 5.1 only recommends ``expires_in``; the refresh token beside it is the link."""
    answer = read(PAIR | {"expires_in": expires_in})

    assert answer.refresh_token is not None
    assert NOON <= answer.expires_at <= NOON + timedelta(hours=24)


def test_the_old_wrapped_answer_is_no_pair() -> None:
    with pytest.raises(Unavailable):
        read({"data": PAIR, "message": "success"})


def test_an_answer_without_scope_leaves_the_scopes_open() -> None:
    assert read(without("scope")).scopes is None


def test_scopes_come_in_any_order_and_nothing_else_counts_as_one() -> None:
    assert read_scopes("video.list, user.info.basic,video.list,,<script>,A B") == (
        "user.info.basic",
        "video.list",
    )


def test_tokens_never_show_in_the_answers_text() -> None:
    assert "example12345" not in repr(read(PAIR))


# -- an error -----------------------------------------------------------------------------------

CONFIGURATION = [
    "invalid_client",
    "unauthorized_client",
    "invalid_request",
    "invalid_scope",
    "unsupported_grant_type",
    "unsupported_response_type",
]


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_invalid_grant_is_a_definite_no_under_any_status(status: int) -> None:
    with pytest.raises(Refused) as refusal:
        read({"error": "invalid_grant", "error_description": "…", "log_id": LOG_ID}, status=status)

    assert refusal.value.log_id == LOG_ID


@pytest.mark.parametrize("word", CONFIGURATION)
@pytest.mark.parametrize("status", [200, 400, 401])
def test_a_wrong_registration_is_never_the_accounts_fault(word: str, status: int) -> None:
    with pytest.raises(Misconfigured) as refusal:
        read(
            {"error": word, "error_description": "Client key or secret is incorrect."},
            status=status,
        )

    assert refusal.value.error == word


@pytest.mark.parametrize(
    ("body", "status", "error", "may_have_acted"),
    [
        ({"error": "server_error"}, 200, "server_error", True),
        ({"error": "server_error"}, 500, "server_error", True),
        ({"error": "temporarily_unavailable"}, 200, "temporarily_unavailable", False),
        ({"error": "rate_limit_exceeded"}, 429, "rate_limit_exceeded", False),
        ({"error": "rate_limit_exceeded"}, 200, "rate_limit_exceeded", False),
        ({"error": "access_denied"}, 200, "access_denied", False),
        ({"error": "some_new_word"}, 200, "unknown_error", False),
        ({"error": "some_new_word"}, 503, "server_error", True),
        ({"error": {"code": "internal_error"}}, 200, "server_error", True),
        (b"<html>Bad Gateway</html>", 502, "unreadable_answer", True),
        (b"<html>Welcome</html>", 200, "unreadable_answer", True),
        (b"<html>Slow down</html>", 429, "too_many_requests", False),
        (b"", 200, "unreadable_answer", True),
        (b"", 500, "unreadable_answer", True),
        (b"[]", 200, "unreadable_answer", True),
        (b"null", 200, "unreadable_answer", True),
        (b'{"access_token": ', 200, "unreadable_answer", True),
        (b"\xff\xfe\x00", 200, "unreadable_answer", True),
        (b"[" * 100_000, 200, "unreadable_answer", True),
    ],
)
def test_what_is_neither_a_pair_nor_a_definite_no_is_transient(
    body: Mapping[str, object] | bytes, status: int, error: str, may_have_acted: bool
) -> None:
    with pytest.raises(Unavailable) as refusal:
        read(body, status=status)

    assert (refusal.value.error, refusal.value.may_have_acted) == (error, may_have_acted)


def test_an_error_beside_a_pair_is_an_error() -> None:
    with pytest.raises(Refused):
        read(PAIR | {"error": "invalid_grant"})


def test_an_empty_error_beside_a_pair_is_none() -> None:
    assert read(PAIR | {"error": ""}).open_id == PAIR["open_id"]


def test_the_log_id_comes_from_the_header_when_the_body_has_none() -> None:
    with pytest.raises(Refused) as refusal:
        read({"error": "invalid_grant"}, headers={"x-tt-logid": LOG_ID})

    assert refusal.value.log_id == LOG_ID


@pytest.mark.parametrize("log_id", ["<script>", "a b", "x" * 200, 7, "line\nbreak12345"])
def test_a_log_id_that_is_none_is_left_out(log_id: object) -> None:
    with pytest.raises(Refused) as refusal:
        read({"error": "invalid_grant", "log_id": log_id})

    assert refusal.value.log_id is None


def test_no_word_from_outside_reaches_the_text_of_an_error() -> None:
    bodies: list[tuple[Mapping[str, object] | bytes, int]] = [
        ({"error": "canary<script>", "error_description": "canary"}, 200),
        ({"error": "invalid_grant", "error_description": "canary"}, 200),
        (b"canary", 502),
    ]
    for body, status in bodies:
        with pytest.raises(ProviderError) as refusal:
            read(body, status=status)

        assert "canary" not in f"{refusal.value!r} {refusal.value}"


# -- when to come back --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "17"}, 17),
        ({"retry-after": " 17 "}, 17),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "86400"}, 3600),
        ({"retry-after": "9" * 50}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1.5"}, None),
        ({}, None),
        (
            {
                "date": "Sat, 21 Nov 2026 12:00:00 GMT",
                "retry-after": "Sat, 21 Nov 2026 12:01:30 GMT",
            },
            90,
        ),
        (
            # TikTok's clock may be wrong by hours: only its own two dates are compared.
            {
                "date": "Sat, 21 Nov 2026 03:00:00 GMT",
                "retry-after": "Sat, 21 Nov 2026 03:00:10 GMT",
            },
            10,
        ),
        (
            {
                "date": "Sat, 21 Nov 2026 12:00:00 GMT",
                "retry-after": "Sat, 21 Nov 2026 11:00:00 GMT",
            },
            0,
        ),
        (
            {
                "date": "Sat, 21 Nov 2026 12:00:00 GMT",
                "retry-after": "Fri, 27 Nov 2026 12:00:00 GMT",
            },
            3600,
        ),
        ({"date": "yesterday", "retry-after": "Sat, 21 Nov 2026 12:01:30 GMT"}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(
    headers: Mapping[str, str], seconds: int | None
) -> None:
    with pytest.raises(Unavailable) as refusal:
        read({"error": "rate_limit_exceeded"}, status=429, headers=headers)

    assert refusal.value.retry_after == seconds


# -- revoking -----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{}", b" \n", b'{"message": "ok"}'])
def test_revoking_succeeds_with_an_empty_body_or_object(body: bytes) -> None:
    read_revoke_answer(200, {}, body)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b'{"error": "invalid_grant"}', Refused),
        (200, b'{"error": "invalid_client"}', Misconfigured),
        (200, b"<html>", Unavailable),
        (500, b"", Unavailable),
        (302, b"", Unavailable),
        (429, b"{}", Unavailable),
    ],
)
def test_revoking_fails_as_a_token_request_does(
    status: int, body: bytes, error: type[ProviderError]
) -> None:
    with pytest.raises(error):
        read_revoke_answer(status, {}, body)


# -- the profile --------------------------------------------------------------------------------

USER = {
    "open_id": "o",
    "union_id": "u",
    "display_name": "Mina",
    "avatar_url": "https://p16.example.com/a.jpg",
}


def envelope(code: str = "ok") -> dict[str, object]:
    return {"data": {"user": USER}, "error": {"code": code, "message": "", "log_id": LOG_ID}}


def test_a_profile_comes_in_an_envelope_whose_error_says_ok() -> None:
    assert read_profile(200, json.dumps(envelope()).encode()) == USER


def test_only_fields_of_the_basic_scope_are_asked_for_and_kept() -> None:
    body = {"data": {"user": USER | {"follower_count": 7, "username": "minapark"}}}

    assert set(read_profile(200, json.dumps(body).encode())) == set(PROFILE_FIELDS)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, json.dumps(envelope("access_token_invalid")).encode()),
        (200, json.dumps(envelope("scope_not_authorized")).encode()),
        (500, json.dumps(envelope()).encode()),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b'{"data": []}'),
        (200, b'{"data": {"user": "Mina"}}'),
    ],
)
def test_a_profile_that_cannot_be_read_is_empty(status: int, body: bytes) -> None:
    assert read_profile(status, body) == {}


def test_fields_of_a_profile_are_bounded_texts() -> None:
    body = {"data": {"user": {"display_name": "x" * 10_000, "avatar_url": 7}}}

    assert read_profile(200, json.dumps(body).encode()) == {"display_name": "x" * 2048}


# -- what is sent -------------------------------------------------------------------------------

CODE = "2-vF-hhk_aBc*1!4608.va"


def test_an_exchange_sends_the_decoded_code_so_that_it_is_encoded_once() -> None:
    form = exchange_form(CLIENT, code=Secret(CODE), redirect_uri="https://l/cb", code_verifier=None)

    assert form["code"] == CODE
    assert "code=2-vF-hhk_aBc%2A1%214608.va" in urlencode(form)


def test_an_exchange_sends_exactly_what_tiktok_documents() -> None:
    form = exchange_form(CLIENT, code=Secret(CODE), redirect_uri="https://l/cb", code_verifier=None)

    assert form == {
        "client_key": "awtest0000000001",
        "client_secret": "client-secret-canary",
        "grant_type": "authorization_code",
        "code": CODE,
        "redirect_uri": "https://l/cb",
    }


def test_the_verifier_goes_along_only_where_there_is_one() -> None:
    form = exchange_form(CLIENT, code=Secret(CODE), redirect_uri="https://l/cb", code_verifier="v")

    assert form["code_verifier"] == "v"


def test_a_refresh_and_a_revocation_authenticate_in_the_body_with_client_key() -> None:
    credentials = {"client_key": "awtest0000000001", "client_secret": "client-secret-canary"}

    assert refresh_form(CLIENT, Secret("rft.1")) == credentials | {
        "grant_type": "refresh_token",
        "refresh_token": "rft.1",
    }
    assert revoke_form(CLIENT, Secret("act.1")) == credentials | {"token": "act.1"}


def test_paths_keep_the_slash_without_which_tiktok_redirects() -> None:
    assert TOKEN_PATH.endswith("/")
    assert REVOKE_PATH.endswith("/")


def authorize(**changes: Any) -> dict[str, list[str]]:
    arguments: dict[str, Any] = {
        "client_key": "awtest0000000001",
        "scopes": ("user.info.basic", "video.list"),
        "redirect_uri": "https://link.example.com/callback",
        "state": "state-1",
        "code_verifier": None,
        "always_ask": False,
    } | changes
    url = authorize_url("https://www.tiktok.com/v2/auth/authorize/", **arguments)
    assert url.startswith("https://www.tiktok.com/v2/auth/authorize/?")
    return parse_qs(urlsplit(url).query, strict_parsing=True)


def test_the_authorize_url_carries_what_tiktok_asks_for_and_no_secret() -> None:
    assert authorize() == {
        "client_key": ["awtest0000000001"],
        "response_type": ["code"],
        "scope": ["user.info.basic,video.list"],
        "redirect_uri": ["https://link.example.com/callback"],
        "state": ["state-1"],
    }


def test_switching_accounts_makes_tiktok_ask_always() -> None:
    assert authorize(always_ask=True)["disable_auto_auth"] == ["1"]


def test_the_challenge_is_lower_case_hex() -> None:
    """The vector of tiktok-opensdk-android's PKCEUtilsTest; base64url is refused by TikTok."""
    verifier = "gaeCq5mVvbhA8Ce6w5O9XBVIKMkySgv-_9A-rnhm9Ns"
    challenge = "e6a178b120743d08509508f269652b0bdf91e29332921bc9e9744fd3dd41bfef"

    query = authorize(code_verifier=verifier)

    assert code_challenge(verifier) == challenge
    assert query["code_challenge"] == [challenge]
    assert query["code_challenge_method"] == ["S256"]


def test_verifiers_are_new_and_in_the_verifiers_alphabet() -> None:
    verifiers = {new_code_verifier() for _ in range(50)}

    assert len(verifiers) == 50
    assert all(43 <= len(v) <= 128 and set(v) <= set(_UNRESERVED) for v in verifiers)


_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


@pytest.mark.parametrize(
    ("redirect_uri", "expected"),
    [
        ("http://127.0.0.1:3000/callback", True),
        ("http://localhost:4000/callback", True),
        ("https://127.0.0.1:3000/callback", False),
        ("https://link.example.com/callback", False),
        ("http://localhost.example.com/callback", False),
        ("http://127.0.0.1.example.com/callback", False),
    ],
)
def test_pkce_belongs_to_http_on_loopback(redirect_uri: str, expected: bool) -> None:
    assert is_loopback(redirect_uri) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("user.info.basic", True),
        ("video.list", True),
        ("research.data.basic", True),
        ("", False),
        ("user.info.basic,video.list", False),
        ("user.info.basic video.list", False),
        ("user.info.basic&client_key=x", False),
        ("User.Info", False),
        ("x" * 65, False),
        ("user.info.basic\n", False),
    ],
)
def test_only_what_looks_like_a_scope_passes(value: str, expected: bool) -> None:
    assert is_scope(value) is expected


# -- what a browser brings back -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "error_type", "kind"),
    [
        ("access_denied", None, CallbackError.CANCELLED),
        ("access_denied", "", CallbackError.CANCELLED),
        ("access_denied", "non_sandbox_target", CallbackError.MISCONFIGURED),
        ("access_denied", "unauthorized_client", CallbackError.MISCONFIGURED),
        ("access_denied", "client_key", CallbackError.MISCONFIGURED),
        ("access_denied", "redirect_uri", CallbackError.MISCONFIGURED),
        ("access_denied", "scope", CallbackError.MISCONFIGURED),
        ("access_denied", "code_challenge", CallbackError.MISCONFIGURED),
        ("unauthorized_client", "client_key", CallbackError.MISCONFIGURED),
        ("unauthorized_client", None, CallbackError.MISCONFIGURED),
        ("invalid_scope", None, CallbackError.MISCONFIGURED),
        ("invalid_request", None, CallbackError.MISCONFIGURED),
        ("access_denied", "user_not_eligible", CallbackError.REFUSED),
        ("some_new_word", None, CallbackError.REFUSED),
        ("unreadable", None, CallbackError.REFUSED),
        ("server_error", None, CallbackError.UNKNOWN),
        ("temporarily_unavailable", None, CallbackError.UNKNOWN),
    ],
)
def test_a_callbacks_error_is_one_of_four_kinds(
    error: str, error_type: str | None, kind: CallbackError
) -> None:
    assert read_callback_error(error, error_type) is kind
