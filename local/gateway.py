"""The HTTP API front: loopback HTTP to payload-2.0 events and back, as API Gateway does it.

Routes and authorizers come from the template. Only what API Gateway itself would answer is
answered here (unknown route, missing signature, too large); all else is the function's.
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

import base64
import binascii
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from local.aws import ACCOUNT_ID, REGION
from local.deploy import Route
from local.functions import FunctionPool, TooManyInvocations
from local.serving import Request, Response
from local.sigv4 import Caller, NotSigned, SignatureCheck, SignatureRefused, SignedRequest

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
_MOST_HEADER_BYTES = 10_240
_LARGEST_BODY = 10 * 1024 * 1024
_INTEGRATION_SECONDS = 30

_TEXT = re.compile(r"(text/.*|application/(json|xml|javascript))\Z", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
# The gateway frames the answer itself.
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection", "date"})
_PARAMETER = re.compile(r"\{(\w+)(\+?)\}")


@dataclass(frozen=True, slots=True)
class _Match:
    route: Route
    parameters: Mapping[str, str]


class RouteTable:
    """Finds the route of a request: exact paths before parameters, a method before ANY."""

    def __init__(self, routes: Sequence[Route]) -> None:
        ordered = sorted(
            routes, key=lambda r: (r.path.count("+}"), r.path.count("{"), r.method == "ANY")
        )
        self._routes = [(route, _pattern(route.path)) for route in ordered if route.path[0] == "/"]
        self._default = next((route for route in routes if route.path == "$default"), None)

    def find(self, method: str, path: str) -> _Match | None:
        for route, pattern in self._routes:
            found = pattern.fullmatch(path)
            if found and route.method in (method, "ANY"):
                return _Match(route, {k: unquote(v) for k, v in found.groupdict().items()})
        return _Match(self._default, {}) if self._default else None


def _pattern(path: str) -> re.Pattern[str]:
    parts: list[str] = []
    rest = 0
    for parameter in _PARAMETER.finditer(path):
        parts.append(re.escape(path[rest : parameter.start()]))
        parts.append(f"(?P<{parameter[1]}>{'.+' if parameter[2] else '[^/]+'})")
        rest = parameter.end()
    return re.compile("".join([*parts, re.escape(path[rest:])]))


class Gateway:
    """Answers what arrives on the API's port."""

    body_limit = _LARGEST_BODY

    def __init__(
        self,
        *,
        routes: Sequence[Route],
        pools: Mapping[str, FunctionPool],
        signatures: SignatureCheck,
        stage_variables: Mapping[str, str],
        api_id: str,
        port: int,
    ) -> None:
        self._routes = RouteTable(routes)
        self._pools = pools
        self._signatures = signatures
        self._stage_variables = dict(stage_variables)
        self._api_id = api_id
        self._port = port

    def before_body(
        self, method: str, target: str, headers: tuple[tuple[str, str], ...]
    ) -> Response | None:
        # "Total combined size of request line and header values".
        size = len(f"{method} {target} HTTP/1.1") + sum(len(value) for _, value in headers)
        if size > _MOST_HEADER_BYTES:
            return _message(431, "Request Header Fields Too Large")
        return None

    def too_large(self) -> Response:
        return _message(413, "Request Entity Too Large")

    def respond(self, request: Request) -> Response:
        match = self._routes.find(request.method, request.path)
        if match is None:
            return _message(404, "Not Found")
        caller = None
        if match.route.needs_iam:
            try:
                caller = self._signatures.caller_of(_signed_part(request), now=datetime.now(UTC))
            except NotSigned:
                return _message(403, "Forbidden")
            except SignatureRefused as refused:
                # AWS stops at "Forbidden"; a developer wants to know more.
                return _message(403, "Forbidden", local_help=str(refused))
        request_id = secrets.token_urlsafe(11) + "="
        event = self._event(request, match, caller, request_id)
        response = self._answer_of(match.route, event)
        return Response(
            response.status, (*response.headers, ("Apigw-Requestid", request_id)), response.body
        )

    def _answer_of(self, route: Route, event: dict[str, Any]) -> Response:
        try:
            result = self._pools[route.function].submit(event).result(_INTEGRATION_SECONDS)
        except (TimeoutError, TooManyInvocations, CancelledError):
            return _message(503, "Service Unavailable")
        if result.error is not None:
            return _message(500, "Internal Server Error")
        try:
            return response_of(result.value())
        except MalformedAnswer as malformed:
            self._pools[route.function].note_malformed_answer(result.request_id, str(malformed))
            return _message(500, "Internal Server Error")

    def _event(
        self, request: Request, match: _Match, caller: Caller | None, request_id: str
    ) -> dict[str, Any]:
        headers, cookies = _event_headers(request, self._port)
        now = datetime.now(UTC)
        context: dict[str, Any] = {
            "accountId": ACCOUNT_ID,
            "apiId": self._api_id,
            "domainName": f"{self._api_id}.execute-api.{REGION}.amazonaws.com",
            "domainPrefix": self._api_id,
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": request.protocol,
                "sourceIp": request.source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": match.route.key,
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now.timestamp() * 1000),
        }
        if caller is not None:
            context["authorizer"] = {"iam": _iam_context(caller)}
        event: dict[str, Any] = {
            "version": "2.0",
            "routeKey": match.route.key,
            "rawPath": request.path,
            "rawQueryString": request.query,
            "headers": headers,
            "requestContext": context,
            "isBase64Encoded": False,
        }
        # API Gateway leaves out what is empty.
        optional = {
            "cookies": cookies,
            "queryStringParameters": _joined_query(request.query),
            "pathParameters": dict(match.parameters),
            "stageVariables": self._stage_variables,
        }
        event |= {key: value for key, value in optional.items() if value}
        if request.body:
            event["body"], event["isBase64Encoded"] = _event_body(
                request.body, headers.get("content-type", "")
            )
        return event


# ---- the event ---------------------------------------------------------------------------------


def _signed_part(request: Request) -> SignedRequest:
    return SignedRequest(request.method, request.path, request.query, request.headers, request.body)


def _event_headers(request: Request, port: int) -> tuple[dict[str, str], list[str]]:
    """Lower-case names, duplicates joined; cookies go into a list of their own."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in request.headers:
        key = name.lower()
        if key == "cookie":
            cookies += [part.strip() for part in value.split(";") if part.strip()]
        else:
            headers[key] = f"{headers[key]},{value}" if key in headers else value
    forwarded = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = ",".join(filter(None, (forwarded, request.source_ip)))
    headers["x-forwarded-port"] = str(port)
    headers["x-forwarded-proto"] = "http"
    headers["x-amzn-trace-id"] = f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    headers.setdefault("content-length", str(len(request.body)))
    return headers, cookies


def _joined_query(query: str) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _event_body(body: bytes, content_type: str) -> tuple[str, bool]:
    if _TEXT.match(content_type.split(";")[0].strip()):
        try:
            return body.decode("utf-8"), False
        except UnicodeDecodeError:
            pass  # not the text that it claims to be: the function sees the bytes
    return base64.b64encode(body).decode("ascii"), True


def _iam_context(caller: Caller) -> dict[str, Any]:
    role_id = f"AROA{caller.role.upper().replace('-', '')[:16]:X<16}"
    session = f"{role_id}:local"
    return {
        "accessKey": caller.access_key,
        "accountId": ACCOUNT_ID,
        "callerId": session,
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/{caller.role}/local",
        "userId": session,
    }


# ---- the answer --------------------------------------------------------------------------------


class MalformedAnswer(Exception):
    """The function's answer is not one that API Gateway can send."""


def response_of(answer: Any) -> Response:
    """A function's answer as HTTP, by the rules of payload format 2.0.

    Raises:
        MalformedAnswer: API Gateway would answer 500.
    """
    if not isinstance(answer, dict) or "statusCode" not in answer:
        # "API Gateway makes assumptions": the value itself is the JSON body.
        body = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        return Response(200, (("Content-Type", "application/json"),), body.encode())
    status = _status(answer["statusCode"])
    headers = list(_response_headers(answer.get("headers") or {}))
    for cookie in answer.get("cookies") or ():
        headers.append(("Set-Cookie", _header_value("cookies", cookie)))
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "text/plain;charset=UTF-8"))
    return Response(status, tuple(headers), _response_body(answer))


def _status(value: Any) -> int:
    try:
        status = int(value)
    except (TypeError, ValueError):
        raise MalformedAnswer(f"statusCode {value!r}") from None
    if not 100 <= status <= 599:
        raise MalformedAnswer(f"statusCode {status}")
    return status


def _response_headers(headers: Any) -> list[tuple[str, str]]:
    if not isinstance(headers, dict):
        raise MalformedAnswer("headers is not an object")
    checked = []
    for name, value in headers.items():
        if not _HEADER_NAME.match(name):
            raise MalformedAnswer(f"header name {name!r}")
        if name.lower() not in _OWN_HEADERS:
            checked.append((name, _header_value(name, value)))
    return checked


def _header_value(name: str, value: Any) -> str:
    if isinstance(value, bool):
        value = str(value).lower()
    text = str(value) if isinstance(value, str | int | float) else None
    if text is None or any(ord(character) < 32 and character != "\t" for character in text):
        raise MalformedAnswer(f"value of header {name}")
    # What is not latin-1 would break the connection half-way.
    return text.encode("utf-8").decode("latin-1")


def _response_body(answer: dict[str, Any]) -> bytes:
    body = answer.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedAnswer("body is not a string")
    if not answer.get("isBase64Encoded"):
        return body.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        raise MalformedAnswer("body is not base64") from None


def _message(status: int, text: str, **more: str) -> Response:
    body = json.dumps({"message": text, **more}, separators=(",", ":"))
    return Response(status, (("Content-Type", "application/json"),), body.encode())
