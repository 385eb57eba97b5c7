"""The HTTP API front: events and answers exactly as API Gateway's payload 2.0 has them."""

import base64
import http.client
import json
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from local.deploy import Route
from local.gateway import MalformedAnswer, RouteTable, response_of
from local.testing import WorldHandle


def event_of(world: WorldHandle, path: str, **options: Any) -> dict[str, Any]:
    answer = world.get(path, **options)
    assert answer.status_code == 200, answer.text
    event: dict[str, Any] = answer.json()["event"]
    return event


def raw(
    world: WorldHandle, method: str, target: str, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """A request whose target is not touched by any client library."""
    connection = http.client.HTTPConnection(urlsplit(world.endpoints["gateway"]).netloc, timeout=30)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# ---- events ------------------------------------------------------------------------------------


def test_header_names_are_lower_case_and_duplicates_are_joined(world: WorldHandle) -> None:
    _, body = raw(world, "GET", "/probe/1", {"X-Custom": "a", "x-custom": "b", "ACCEPT": "c"})

    headers = json.loads(body)["event"]["headers"]
    assert headers["x-custom"] == "a,b"
    assert headers["accept"] == "c"
    assert set(headers) == {name.lower() for name in headers}


def test_cookies_stand_in_their_own_list_alone(world: WorldHandle) -> None:
    event = event_of(world, "/probe/1", headers={"Cookie": "a=1; __Host-b=2;c=3"})

    assert event["cookies"] == ["a=1", "__Host-b=2", "c=3"]
    assert "cookie" not in event["headers"]


def test_the_query_is_kept_as_sent_and_joined_when_parsed(world: WorldHandle) -> None:
    _, body = raw(world, "GET", "/probe/1?b=x*1!2.va&a=%C3%BC&a=2&empty=&bare")

    event = json.loads(body)["event"]
    assert event["rawQueryString"] == "b=x*1!2.va&a=%C3%BC&a=2&empty=&bare"
    assert event["queryStringParameters"] == {
        "b": "x*1!2.va",
        "a": "ü,2",
        "empty": "",
        "bare": "",
    }


def test_path_parameters_are_decoded_and_the_raw_path_is_not(world: WorldHandle) -> None:
    event = event_of(world, "/probe/a%20b%2Fc")

    assert event["rawPath"] == "/probe/a%20b%2Fc"
    assert event["pathParameters"] == {"id": "a b/c"}
    assert event["routeKey"] == event["requestContext"]["routeKey"] == "GET /probe/{id}"


def test_empty_parts_are_absent(world: WorldHandle) -> None:
    event = event_of(world, "/probe/exact")

    assert not {"body", "cookies", "queryStringParameters", "pathParameters"} & set(event)
    assert event["isBase64Encoded"] is False


def test_the_request_context_is_api_gateways(world: WorldHandle) -> None:
    context = event_of(world, "/probe/1", headers={"User-Agent": "probe"})["requestContext"]

    assert context["http"] == {
        "method": "GET",
        "path": "/probe/1",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "probe",
    }
    assert context["stage"] == "$default"
    assert context["domainName"].startswith(f"{context['apiId']}.execute-api.")
    assert context["requestId"]
    assert "authorizer" not in context


def test_stage_variables_come_from_the_stack(world: WorldHandle) -> None:
    event = event_of(world, "/probe/1")

    assert event["stageVariables"] == {"public_base_url": world.endpoints["gateway"]}


@pytest.mark.parametrize(
    ("content_type", "body", "is_text"),
    [
        ("application/json", b'{"a": "\xc3\xbc"}', True),
        ("application/json; charset=utf-8", b"{}", True),
        ("text/plain", b"hello", True),
        ("application/x-www-form-urlencoded", b"a=1&b=2", False),
        ("application/octet-stream", b"\x00\xff", False),
        ("application/json", b"\xff\xfe", False),
    ],
)
def test_only_text_bodies_are_plain(
    world: WorldHandle, content_type: str, body: bytes, is_text: bool
) -> None:
    answer = world._send(  # requests has no public way to send a body with our session
        "POST",
        world.endpoints["gateway"] + "/probe",
        data=body,
        headers={"Content-Type": content_type},
    )

    event = answer.json()["event"]
    assert event["isBase64Encoded"] is not is_text
    assert event["body"] == (body.decode() if is_text else base64.b64encode(body).decode())


# ---- what API Gateway answers itself -----------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/nothing"),
        ("GET", "/probe"),
        ("GET", "/probe/"),
        ("GET", "/probe/a/b"),
        ("GET", "//probe/1"),
        ("POST", "/probe/1"),
        ("HEAD", "/probe/1"),
        ("OPTIONS", "/probe/1"),
        ("BREW", "/probe/1"),
    ],
)
def test_what_is_not_a_route_is_not_found(world: WorldHandle, method: str, target: str) -> None:
    status, body = raw(world, method, target)

    assert status == 404
    assert body == (b"" if method == "HEAD" else b'{"message":"Not Found"}')


def test_a_backend_route_without_a_signature_is_forbidden(world: WorldHandle) -> None:
    answer = world.get("/v1/accounts")

    assert (answer.status_code, answer.text) == (403, '{"message":"Forbidden"}')


def test_the_function_sees_who_signed(world: WorldHandle) -> None:
    answer = world.api("GET", "/v1/a/b", caller=("scheduler", "its-secret"))

    context = answer.json()["event"]["requestContext"]
    assert context["routeKey"] == "ANY /v1/{rest+}"
    iam = context["authorizer"]["iam"]
    assert set(iam) == {
        "accessKey",
        "accountId",
        "callerId",
        "cognitoIdentity",
        "principalOrgId",
        "userArn",
        "userId",
    }
    assert iam["accessKey"] == "scheduler"
    assert iam["userArn"] == "arn:aws:sts::000000000000:assumed-role/scheduler/local"


def test_too_many_header_bytes_are_refused(world: WorldHandle) -> None:
    fits = world.get("/probe/1", headers={"X-Big": "x" * 9_000})
    does_not = world.get("/probe/1", headers={"X-Big": "x" * 10_300})

    assert fits.status_code == 200
    assert does_not.status_code == 431


def test_a_body_over_ten_megabytes_is_refused(world: WorldHandle) -> None:
    status, body = raw(world, "POST", "/probe", {"Content-Length": str(10 * 1024 * 1024 + 1)})

    assert (status, body) == (413, b'{"message":"Request Entity Too Large"}')


def test_an_exception_is_an_internal_server_error_and_nothing_more(world: WorldHandle) -> None:
    answer = world.get("/probe/1", params={"do": "fail"})

    assert (answer.status_code, answer.text) == (500, '{"message":"Internal Server Error"}')


# ---- answers -----------------------------------------------------------------------------------


def answer_to(world: WorldHandle, answer: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    connection = http.client.HTTPConnection(urlsplit(world.endpoints["gateway"]).netloc, timeout=30)
    try:
        connection.request("GET", f"/probe/1?do=answer&with={quote(json.dumps(answer))}")
        response = connection.getresponse()
        headers = [(name.lower(), value) for name, value in response.getheaders()]
        return response.status, headers, response.read()
    finally:
        connection.close()


def test_each_cookie_is_a_header_of_its_own(world: WorldHandle) -> None:
    cookies = ["a=1; Path=/; Secure", "b=2; HttpOnly"]
    status, headers, body = answer_to(
        world, {"statusCode": 303, "headers": {"Location": "/x"}, "cookies": cookies}
    )

    assert (status, body) == (303, b"")
    assert [value for name, value in headers if name == "set-cookie"] == cookies
    assert ("location", "/x") in headers


def test_a_base64_answer_is_decoded(world: WorldHandle) -> None:
    body = base64.b64encode(b"\x00\x01").decode()

    assert answer_to(world, {"statusCode": 200, "body": body, "isBase64Encoded": True})[2] == (
        b"\x00\x01"
    )


def test_an_answer_without_a_status_is_the_body(world: WorldHandle) -> None:
    status, headers, body = answer_to(world, {"hello": "wörld"})

    assert (status, json.loads(body)) == (200, {"hello": "wörld"})
    assert ("content-type", "application/json") in headers


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": "many"},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "headers": {"X-Bad": "a\r\nSet-Cookie: b=c"}},
        {"statusCode": 200, "headers": {"Bad name": "a"}},
        {"statusCode": 200, "body": "!", "isBase64Encoded": True},
    ],
)
def test_a_malformed_answer_is_an_internal_server_error(
    world: WorldHandle, answer: dict[str, Any]
) -> None:
    status, _, body = answer_to(world, answer)

    assert (status, body) == (500, b'{"message":"Internal Server Error"}')
    assert any("API Gateway would answer 500" in str(record) for record in world.logs("probe"))


def test_a_text_answer_stays_text() -> None:
    assert response_of("Hello").body == b"Hello"
    assert response_of(None).body == b"null"


def test_a_status_out_of_range_is_malformed() -> None:
    with pytest.raises(MalformedAnswer):
        response_of({"statusCode": 42})


def test_connections_are_kept_alive(world: WorldHandle) -> None:
    connection = http.client.HTTPConnection(urlsplit(world.endpoints["gateway"]).netloc, timeout=30)
    connection.request("GET", "/probe/1")
    connection.getresponse().read()
    first = connection.sock
    connection.request("GET", "/nothing")
    connection.getresponse().read()

    assert connection.sock is first
    connection.close()


# ---- choosing a route --------------------------------------------------------------------------


def test_the_most_exact_route_wins() -> None:
    table = RouteTable(
        [
            Route("ANY", "/{proxy+}", "Greedy", False),
            Route("GET", "/callback", "Exact", False),
            Route("GET", "/{file}", "Parameter", False),
            Route("ANY", "$default", "Default", False),
        ]
    )

    chosen = {
        (method, path): found.route.function
        for method, path in (
            ("GET", "/callback"),
            ("GET", "/robots.txt"),
            ("POST", "/callback"),
            ("GET", "/a/b"),
            ("GET", "/"),
        )
        if (found := table.find(method, path))
    }
    assert chosen == {
        ("GET", "/callback"): "Exact",
        ("GET", "/robots.txt"): "Parameter",
        ("POST", "/callback"): "Greedy",
        ("GET", "/a/b"): "Greedy",
        ("GET", "/"): "Default",
    }
