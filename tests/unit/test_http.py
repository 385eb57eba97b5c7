"""Requests as API Gateway and `sam local` send them, and answers that cannot be split."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktok_linking.errors import InvalidRequest
from tiktok_linking.web.http import MOST_BODY_BYTES, Request, Response, cookie


def request(**event: Any) -> Request:
    return Request.from_event({"routeKey": "GET /callback"} | event)


# -- headers and cookies ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["idempotency-key", "Idempotency-Key", "IDEMPOTENCY-KEY"])
def test_header_names_count_in_any_case(name: str) -> None:
    assert request(headers={name: "k"}).headers["idempotency-key"] == "k"


def test_cookies_come_from_api_gateways_list() -> None:
    found = request(cookies=["__Host-ttl_1=one", "__Host-ttl_2=two=2"]).cookies

    assert found == {"__Host-ttl_1": "one", "__Host-ttl_2": "two=2"}


@pytest.mark.parametrize("name", ["Cookie", "cookie"])
def test_cookies_come_from_the_header_of_sam_local(name: str) -> None:
    found = request(headers={name: "__Host-ttl_1=one; __Host-ttl_2=two"}).cookies

    assert found == {"__Host-ttl_1": "one", "__Host-ttl_2": "two"}


def test_the_first_of_two_cookies_counts() -> None:
    event_cookies = ["__Host-ttl_1=one", "__Host-ttl_1=two"]

    assert request(cookies=event_cookies).cookies == {"__Host-ttl_1": "one"}


def test_a_cookie_that_is_none_or_huge_is_left_out() -> None:
    found = request(cookies=["novalue", "huge=" + "x" * 257, "ok=1"]).cookies

    assert found == {"ok": "1"}


@pytest.mark.parametrize("missing", [None, {}, []])
def test_an_event_may_lack_everything(missing: object) -> None:
    bare = Request.from_event(
        {
            "headers": missing,
            "cookies": missing,
            "requestContext": missing,
            "pathParameters": missing,
            "stageVariables": missing,
            "body": None,
        }
    )

    assert (bare.route, bare.cookies, bare.caller, bare.public_base_url) == ("", {}, None, "")
    assert bare.json_object() == {}


def test_path_parameters_come_decoded_and_are_not_decoded_again() -> None:
    """Else ``u%2541`` and ``u%41`` would be one user of the team's."""
    assert request(pathParameters={"id": "u%41 é"}).path_parameters["id"] == "u%41 é"


@pytest.mark.parametrize("method", ["HEAD", "POST", "TRACE", "get", ""])
def test_a_route_is_one_of_the_method_that_came(method: str) -> None:
    """`sam local` runs a GET route for HEAD too."""
    assert request(requestContext={"http": {"method": method}}).route == ""


def test_the_route_is_the_gateways_word() -> None:
    assert request(requestContext={"http": {"method": "GET"}}).route == "GET /callback"
    assert request(requestContext={}).route == "GET /callback"


# -- who calls ----------------------------------------------------------------------------------


def test_the_caller_is_whom_api_gateway_verified() -> None:
    context = {"authorizer": {"iam": {"userArn": "arn:aws:sts::1:assumed-role/backend/s"}}}

    assert request(requestContext=context).caller == "arn:aws:sts::1:assumed-role/backend/s"


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"authorizer": None},
        {"authorizer": {}},
        {"authorizer": {"iam": None}},
        {"authorizer": {"iam": {}}},
        {"authorizer": {"iam": {"userArn": ""}}},
        {"authorizer": {"iam": {"userArn": None}}},
        {"authorizer": {"jwt": {"claims": {"sub": "x"}}}},
    ],
)
def test_without_the_authorizers_word_there_is_no_caller(context: dict[str, Any]) -> None:
    assert request(requestContext=context).caller is None


def test_nothing_a_client_sends_makes_a_caller() -> None:
    forged = request(
        headers={"x-amzn-iam-userarn": "arn", "authorization": "AWS4-HMAC-SHA256 …"},
        rawQueryString="userArn=arn",
        body='{"userArn": "arn"}',
    )

    assert forged.caller is None


# -- the query ----------------------------------------------------------------------------------


def test_a_query_is_decoded_once() -> None:
    found = request(rawQueryString="code=2-vF%2A1%214608.va&state=a+b").query("code", "state")

    assert found == {"code": "2-vF*1!4608.va", "state": "a b"}


def test_a_parameter_given_twice_is_refused() -> None:
    """Payload 2.0 joins duplicates with a comma; which one counts must not be guessed."""
    event = request(
        rawQueryString="state=a&state=b", headers={}, queryStringParameters={"state": "a,b"}
    )

    with pytest.raises(InvalidRequest, match="twice"):
        event.query("state", strict=False)


def test_an_unknown_parameter_is_refused_or_ignored() -> None:
    event = request(rawQueryString="state=a&scopes=x&scopes=y")

    with pytest.raises(InvalidRequest, match="unknown"):
        event.query("state")
    assert event.query("state", strict=False)["state"] == "a"


@pytest.mark.parametrize(
    "raw",
    [
        "state=" + "a" * 8192,
        "state=%ff%fe",
        "&".join(f"a{n}=1" for n in range(51)),
    ],
)
def test_a_query_that_is_too_long_or_no_text_is_refused(raw: str) -> None:
    with pytest.raises(InvalidRequest):
        request(rawQueryString=raw).query("state", strict=False)


@given(st.text(max_size=200))
def test_no_query_breaks_the_reader(raw: str) -> None:
    try:
        found = request(rawQueryString=raw).query("state", strict=False)
    except InvalidRequest:
        return
    assert all(isinstance(value, str) for value in found.values())


# -- the body -----------------------------------------------------------------------------------


def test_a_body_may_come_in_base64() -> None:
    body = base64.b64encode('{"label": "Ada ✓"}'.encode()).decode()

    assert request(body=body, isBase64Encoded=True).json_object() == {"label": "Ada ✓"}


@pytest.mark.parametrize("body", ["%%%", "é", "YQ", "Y Q=="])
def test_a_body_that_is_no_base64_is_refused(body: str) -> None:
    with pytest.raises(InvalidRequest, match="base64"):
        request(body=body, isBase64Encoded=True)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"7",
        b"{} {}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    event = request(body=base64.b64encode(body).decode(), isBase64Encoded=True)

    with pytest.raises(InvalidRequest):
        event.json_object()


@pytest.mark.parametrize("body", ['{"a": 1, "a": 2}', '{"x": {"a": 1, "a": 1}}'])
def test_a_name_given_twice_is_refused(body: str) -> None:
    """Whoever checks the request before us may read the other one."""
    with pytest.raises(InvalidRequest):
        request(body=body).json_object()


@pytest.mark.parametrize("body", [None, "", " \n"])
def test_no_body_is_an_empty_object(body: str | None) -> None:
    assert request(body=body).json_object() == {}


def test_a_body_has_at_most_64_kilobytes() -> None:
    def sized(size: int) -> Request:
        return request(body='{"a": "' + "x" * (size - 9) + '"}')

    assert sized(MOST_BODY_BYTES).json_object()
    with pytest.raises(InvalidRequest, match="64 KB"):
        sized(MOST_BODY_BYTES + 1).json_object()


def test_half_a_surrogate_is_refused_and_breaks_nothing() -> None:
    with pytest.raises(InvalidRequest):
        request(body='{"a": "\ud800"}').json_object()


# -- what a browser says of itself --------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"sec-purpose": "prefetch"}, True),
        ({"Sec-Purpose": "prefetch;prerender"}, True),
        ({"Purpose": "Prefetch"}, True),
        ({}, False),
    ],
)
def test_a_guess_of_the_browser_is_known(headers: dict[str, str], expected: bool) -> None:
    assert request(headers=headers).is_prefetch is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, True),
        ({"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, True),
        ({"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, False),
        ({"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, False),
        ({"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, False),
    ],
)
def test_only_a_page_that_a_person_opens_is_a_navigation(
    headers: dict[str, str], expected: bool
) -> None:
    assert request(headers=headers).is_navigation is expected


# -- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b=c", "a\nb", "a\rb", "a\0b"])
def test_no_header_is_split(value: str) -> None:
    with pytest.raises(ValueError, match="Location"):
        Response(303, "", {"Location": value}).as_event()


def test_an_answer_without_cookies_has_no_cookies() -> None:
    event = Response(200, "ok", {"A": "b"}).as_event()

    assert event == {
        "statusCode": 200,
        "headers": {"A": "b"},
        "body": "ok",
        "isBase64Encoded": False,
    }
    assert Response(200, cookies=("a=b",)).as_event()["cookies"] == ["a=b"]


def test_a_binding_cookie_is_for_this_host_and_cross_site_returns() -> None:
    made = cookie("__Host-ttl_12345678", "value", max_age_seconds=600)

    assert made.split("; ") == [
        "__Host-ttl_12345678=value",
        "Max-Age=600",
        "Path=/",
        "Secure",
        "HttpOnly",
        "SameSite=Lax",
    ]


def test_what_people_send_and_get_does_not_show_in_a_repr() -> None:
    """Codes, states, cookies and session ids come in; tokens and cookies go out."""
    request = Request.from_event(
        {
            "routeKey": "GET /callback",
            "rawQueryString": "code=canary",
            "cookies": ["__Host-ttl_1=canary"],
            "headers": {"tiktok-signature": "canary"},
            "pathParameters": {"id": "canary"},
            "body": "canary",
        }
    )
    response = Response(200, "canary", {"Location": "canary"}, ("canary",))

    assert "canary" not in repr(request) + repr(response)
    assert "GET /callback" in repr(request)
