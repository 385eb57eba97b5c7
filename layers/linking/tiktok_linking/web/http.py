"""Requests and answers of an HTTP API, payload format 2.0.

API Gateway lower-cases header names and puts cookies aside; `sam local` does neither. Duplicate
query parameters arrive joined by commas, so ``raw_query`` is what is read.
Source: docs.aws.amazon.com/apigateway/latest/developerguide, page
http-api-develop-integrations-lambda.html (read 2026-11).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from tiktok_linking.errors import InvalidRequest

MOST_BODY_BYTES = 64 * 1024
MOST_QUERY_CHARACTERS = 8 * 1024

NOTHING_IS_LOADED = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " object-src 'none'"
)
"""The content security policy of every answer; a page adds its own style."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``caller`` is the principal API Gateway verified, None on public routes.

    Its repr leaves out what people send: codes, states, cookies, session ids.
    """

    route: str
    headers: Mapping[str, str] = field(repr=False)
    cookies: Mapping[str, str] = field(repr=False)
    raw_query: str = field(repr=False)
    path_parameters: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    caller: str | None
    public_base_url: str

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Request:
        """Read an event. Raises InvalidRequest for a body that is not what it claims to be."""
        headers = {str(k).lower(): str(v) for k, v in (event.get("headers") or {}).items()}
        context = event.get("requestContext") or {}
        stage = event.get("stageVariables") or {}
        return cls(
            route=_route(event, context),
            headers=headers,
            cookies=_cookies(event.get("cookies") or [], headers.get("cookie", "")),
            raw_query=str(event.get("rawQueryString") or ""),
            # Decoded by API Gateway and by `sam local`: once more, and two ids could be one.
            path_parameters={k: str(v) for k, v in (event.get("pathParameters") or {}).items()},
            body=_body(event),
            caller=_caller(context),
            public_base_url=str(stage.get("public_base_url") or ""),
        )

    def query(self, *known: str, strict: bool = True) -> dict[str, str]:
        """Read the query, each name at most once.

        Raises:
            InvalidRequest: a known name is given twice, the query is too long, or (``strict``)
                a name is not known.
        """
        if len(self.raw_query) > MOST_QUERY_CHARACTERS:
            raise InvalidRequest("the query is too long")
        found: dict[str, str] = {}
        try:
            pairs = parse_qsl(
                self.raw_query, keep_blank_values=True, errors="strict", max_num_fields=50
            )
        except ValueError:
            raise InvalidRequest("the query is not valid UTF-8 in URL encoding") from None
        for name, value in pairs:
            if name in found and name in known:
                raise InvalidRequest(f"{name} is given twice")
            if strict and name not in known:
                raise InvalidRequest("unknown query parameter; known: " + ", ".join(known))
            found[name] = value
        return found

    def json_object(self) -> dict[str, Any]:
        """Read the body as a JSON object; an empty body is an empty object.

        Raises:
            InvalidRequest: it is too large, not UTF-8, not JSON, or not an object.
        """
        if len(self.body) > MOST_BODY_BYTES:
            raise InvalidRequest("the body is larger than 64 KB")
        if not self.body.strip():
            return {}
        try:
            data = json.loads(
                self.body.decode(), parse_constant=_no_constant, object_pairs_hook=_each_once
            )
        except (UnicodeDecodeError, ValueError, RecursionError):
            raise InvalidRequest("the body is not JSON in UTF-8, each name once") from None
        if not isinstance(data, dict):
            raise InvalidRequest("the body is not a JSON object")
        return data

    @property
    def is_prefetch(self) -> bool:
        """Whether a browser only guesses that somebody will come here."""
        purpose = self.headers.get("sec-purpose", "") + self.headers.get("purpose", "")
        return "prefetch" in purpose.lower()

    @property
    def is_navigation(self) -> bool:
        """Whether a person's browser opens this as a page; older webviews say nothing."""
        return (
            self.headers.get("sec-fetch-mode", "navigate") == "navigate"
            and self.headers.get("sec-fetch-dest", "document") == "document"
        )


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, rendered by ``as_event``. It may carry a token, a state or a cookie."""

    status: int
    body: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cookies: tuple[str, ...] = field(default=(), repr=False)

    def as_event(self) -> dict[str, Any]:
        """Render for API Gateway; a header value with a line break is a defect and raises."""
        for name, value in self.headers.items():
            if "\r" in value or "\n" in value or "\0" in value:
                raise ValueError(f"line break in header {name}")
        event: dict[str, Any] = {
            "statusCode": self.status,
            "headers": dict(self.headers),
            "body": self.body,
            "isBase64Encoded": False,
        }
        return event | ({"cookies": list(self.cookies)} if self.cookies else {})


def cookie(name: str, value: str, *, max_age_seconds: int) -> str:
    """A binding cookie. Lax, because TikTok's return is a cross-site GET that Strict would miss."""
    return f"{name}={value}; Max-Age={max_age_seconds}; Path=/; Secure; HttpOnly; SameSite=Lax"


def _route(event: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    """The route, if it is of the method that came: a HEAD must use up nothing that a GET would."""
    key = str(event.get("routeKey") or context.get("routeKey") or "")
    method = (context.get("http") or {}).get("method")
    return key if method is None or key.startswith(f"{method} ") else ""


def _cookies(listed: list[str], header: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in (p for line in [*listed, header] for p in line.split(";")):
        name, equals, value = part.strip().partition("=")
        if equals and name not in found and len(value) <= 256:
            found[name] = value
    return found


def _body(event: Mapping[str, Any]) -> bytes:
    text = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(text).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("the body is not valid base64") from None


def _caller(context: Mapping[str, Any]) -> str | None:
    iam = (context.get("authorizer") or {}).get("iam") or {}
    arn = iam.get("userArn")
    return str(arn) if arn else None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name given twice would be read differently by whoever else looks at the request."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(name)
