"""Every door of the stack, knocked at in every way: what was answered, what it cost, what was told.

The doors are the template's routes and the ways come with them, so that a new route is knocked at
like the others. Each request carries canaries wherever a stranger may write something.
"""

from __future__ import annotations

import base64
import importlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.fakes.aws import ROOT, client, template
from tests.fakes.loopback import Answer
from tests.functions.conftest import create_session, start_session
from tests.functions.stack import COOKIE, OPEN_ID, SESSION_ID, RunningStack, changed, event
from tiktok_linking import bootstrap
from tiktok_linking.sessions import Completion, LinkSession

Event = Mapping[str, Any]

CANARY = "canary\"'><svg onload=alert(1)>"
STORED = "stored\"'><svg onload=alert(2)>&lt;%s{}"
"""A text that is kept and shown: the end user's label, a TikTok user's name."""

# What a proxy, a framework or a careless handler might believe.
HOSTILE_HEADERS = {
    "accept": f"text/canary, application/json;q=0.1, {CANARY}",
    "accept-language": CANARY,
    "forwarded": "host=canary.example;proto=http",
    "host": "canary.example",
    "origin": "https://canary.example",
    "referer": f"https://canary.example/{CANARY}",
    "user-agent": CANARY,
    "x-forwarded-for": CANARY,
    "x-forwarded-host": "canary.example",
    "x-forwarded-proto": "http",
    "x-http-method-override": "DELETE",
    "x-original-url": "/canary",
    "x-rewrite-url": "/canary",
    "x-tenant-id": "canary",
}
HOSTILE_QUERY = urlencode(
    dict.fromkeys(
        ("return_url", "redirect", "next", "redirect_uri", "client_key", "scope"),
        f"https://canary.example/{CANARY}",
    )
    | {"status": "canary", "error_description": CANARY, "scopes": CANARY}
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
IGNORE_QUERIES = {"GET /connect/{id}/status", "GET /{file}", "POST /webhooks/tiktok"}
READ_BY_THE_SIGNED_BODY = "POST /webhooks/tiktok"


class Cost(StrEnum):
    """What a request may cost at most."""

    NOTHING = "nothing"
    ONE_REQUEST = "one request to DynamoDB"
    ONE_SECRET = "one secret, once in five minutes"
    ANY = "as much as it takes"


@dataclass(frozen=True, slots=True)
class Door:
    """One route of the template, and the event of events/ that comes through it."""

    route: str
    function: str
    is_public: bool
    sample: str | None

    @property
    def event(self) -> Event:
        """The sample event."""
        assert self.sample is not None, f"events/ has none for {self.route}"
        made: Event = event(self.sample)
        return made


@dataclass(frozen=True, slots=True)
class Knock:
    """One request and all that came of it."""

    door: Door
    how: str
    may_cost: Cost
    answer: Mapping[str, Any]
    calls: tuple[str, ...]
    to_tiktok: tuple[str, ...]
    logged: str

    @property
    def status(self) -> int:
        """The answer's."""
        return int(self.answer["statusCode"])

    def __str__(self) -> str:
        return f"{self.door.route} {self.how}: {self.status}"


def doors() -> dict[str, Door]:
    """Every route of the template."""
    samples: dict[str, str] = {}
    for file in sorted((ROOT / "events").glob("*.json")):
        samples.setdefault(json.loads(file.read_text("utf-8")).get("routeKey", ""), file.stem)
    found = {}
    for logical_id, resource in template()["Resources"].items():
        for source in resource.get("Properties", {}).get("Events", {}).values():
            if source["Type"] != "HttpApi":
                continue
            properties = source["Properties"]
            route = f"{properties['Method'].upper()} {properties['Path']}"
            is_public = properties.get("Auth", {}).get("Authorizer") == "NONE"
            function = logical_id.removesuffix("Function").lower()
            found[route] = Door(route, function, is_public, samples.get(route))
    return found


@dataclass
class Visitor:
    """Knocks, and writes down what came of it."""

    stack: RunningStack
    knocks: list[Knock] = field(default_factory=list)
    _calls: list[str] = field(default_factory=list)
    _log: io.StringIO = field(default_factory=io.StringIO)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note every call to AWS and every line of a log."""
        session = bootstrap._session()
        session.register("before-call", self._note)
        with ExitStack() as streams:
            for logical_id, resource in template()["Resources"].items():
                if resource["Type"] == "AWS::Serverless::Function":
                    function = logical_id.removesuffix("Function").lower()
                    self.stack.become(function)
                    log = getattr(importlib.import_module(f"functions.{function}.app"), "log", None)
                    for handler in log.handlers if log else ():
                        streams.callback(handler.setStream, handler.setStream(self._log))
            yield
        session.unregister("before-call", self._note)

    def _note(self, model: Any, **_: Any) -> None:
        self._calls.append(f"{model.service_model.service_name}.{model.name}")

    def knock(
        self, door: Door, how: str, sent: Event, may_cost: Cost = Cost.ANY
    ) -> Mapping[str, Any]:
        """Send a request and write down what came of it."""
        self._calls.clear()
        self._log.seek(0)
        self._log.truncate()
        asked = len(self.stack.tiktok.received)
        self.stack.become(door.function)
        answer: Mapping[str, Any] = self.stack.invoke(door.function, hostile(sent))
        to_tiktok = tuple(request.target for request in self.stack.tiktok.received[asked:])
        logged = self._log.getvalue()
        self.knocks.append(
            Knock(door, how, may_cost, answer, tuple(self._calls), to_tiktok, logged)
        )
        return answer


def hostile(sent: Event) -> Event:
    """The same request from somebody who writes wherever a stranger can."""
    headers = HOSTILE_HEADERS | {
        name: value
        for name, value in (sent.get("headers") or {}).items()
        if name.lower() not in HOSTILE_HEADERS or name == "origin"
    }
    cookies = [*(sent.get("cookies") or []), f"canary={CANARY}", "__Host-ttl_canary=canary"]
    return {**sent, "headers": headers, "cookies": cookies}


# -- ways to knock ------------------------------------------------------------------------------

BAD_IDS = (
    *("", "x", "..", "../..", "\0", "\ud800", "é", "canary", CANARY, "ls_short", "acct_short"),
    *("ls_" + "x" * 5000, "acct_" + "a" * 5000, "acct_" + "A" * 48, "ls_" + "!" * 43, "finished "),
)
BAD_TEXTS = ("", "x" * 257, "\ud800")
"""For an id of the team's own, which may be nearly anything."""
UNKNOWN_SESSION = "ls_" + "A" * 43
UNKNOWN_ACCOUNT = "acct_" + "a" * 48
BAD_QUERIES = (
    "x" * 9000,
    "a=%ff",
    "%c3%28=1",
    "&".join(f"a{number}=1" for number in range(60)),
    "x=" + "%00" * 3000,
)
GIVEN_ONCE = {
    "v",
    *("anew", "session", "n", "state", "code", "error", "error_type", "iss"),
    *("end_user_id", "limit", "revoke"),
}
BAD_BODIES = (
    *(b"{", b"[]", b"null", b"7", b'"canary"', b"{} {}", b"\xff\xfe", b'{"a": NaN}'),
    *(b'{"canary": 1}', b'{"is_admin": true}', b"[" * 60_000, b'{"a":' * 9_000, b"<svg onload=1>"),
    b"{" + b" " * 70_000 + b"}",
)
BAD_VALUES: tuple[object, ...] = (
    *(None, [[]], 10**400, 1e300, -1, "x" * 5000, {"a": {"b": {}}}, "\ud800"),
)
BAD_SIGNATURES = (
    *("", "canary", "t=1", "s=" + "a" * 64, "t=1,s=zz", "t=nan,s=" + "a" * 64, "t=1,t=1,s=x"),
    *("t=1,s=" + "a" * 64, "t=99999999999,s=" + "a" * 64, "t=1795264205,s=" + "a" * 600),
)


def other_methods(door: Door) -> Iterator[tuple[str, Event]]:
    """The same address with methods that it has not, and a HEAD that was routed as its GET."""
    own, path = door.route.split(" ")
    context = door.event["requestContext"]
    for method in METHODS:
        if f"{method} {path}" not in doors():
            asked = {"method": method, "path": path}
            route = f"{method} {path}"
            yield (
                f"as {method}",
                changed(
                    str(door.sample), routeKey=route, requestContext={**context, "http": asked}
                ),
            )
    if own == "GET":
        asked = {"method": "HEAD", "path": path}
        yield "HEAD as GET", changed(str(door.sample), requestContext={**context, "http": asked})


def malformed(door: Door) -> Iterator[tuple[str, Event]]:
    """Requests that can be refused by looking at them."""
    sample = str(door.sample)
    for name, good in (door.event.get("pathParameters") or {}).items():
        near = (*BAD_IDS, f" {good}", f"{good}x", good.swapcase(), good[:-1])
        for value in near if name in ("id", "file") else BAD_TEXTS:
            yield f"{name}={value[:20]!r}", changed(sample, pathParameters={name: value})
    if door.route not in IGNORE_QUERIES:
        own = door.event["rawQueryString"]
        twice = [part for part in own.split("&") if part.partition("=")[0] in GIVEN_ONCE]
        for query in (*BAD_QUERIES, *(f"{own}&{part}" for part in twice)):
            yield f"?{query[:40]}", changed(sample, rawQueryString=query)
        if not door.is_public:
            yield "unknown parameter", changed(sample, rawQueryString=HOSTILE_QUERY)
    if door.route.split(" ")[0] in ("POST", "PUT", "PATCH"):
        yield "no base64", changed(sample, body="%%%", isBase64Encoded=True)
        if door.route == READ_BY_THE_SIGNED_BODY:
            yield "large body", changed(sample, body="x" * 65_537)
        else:
            yield from _bad_bodies(door)
    yield from _bad_for(door)


def _bad_bodies(door: Door) -> Iterator[tuple[str, Event]]:
    sample = str(door.sample)
    for body in BAD_BODIES:
        text = base64.b64encode(body).decode()
        yield f"body {body[:16]!r}", changed(sample, body=text, isBase64Encoded=True)
    good = json.loads(door.event.get("body") or "{}")
    for name in good:
        for value in BAD_VALUES:
            text = json.dumps(good | {name: value})
            yield f"{name}={value!r:.16}", changed(sample, body=text, isBase64Encoded=False)


def _bad_for(door: Door) -> Iterator[tuple[str, Event]]:
    """What only some routes read."""
    sample = str(door.sample)
    match door.route:
        case "GET /authorize":
            nonce = door.event["rawQueryString"].partition("&")[0]
            for value in ("", "x", SESSION_ID[:-1], CANARY):
                query = f"{nonce}&" + urlencode({"session": value})
                yield f"session {value[:9]!r}", changed(sample, rawQueryString=query)
            for value in ("", "x", "x" * 200, "\0" * 22, CANARY, "é" * 22):
                query = urlencode({"n": value, "session": SESSION_ID})
                yield f"nonce {value[:9]!r}", changed(sample, rawQueryString=query)
        case "GET /connect.js":
            yield "long version", changed(sample, rawQueryString="v=" + "0" * 129)
        case "GET /callback":
            given = dict(part.split("=", 1) for part in door.event["rawQueryString"].split("&"))
            for name, value in (
                *(("state", bad) for bad in ("", "x", "x.y", "\0", given["state"] + "x", "é" * 66)),
                *(("code", bad) for bad in ("c" * 2049, "a b", "a\r\nb", "\0", "é")),
                ("iss", "https://canary.example"),
            ):
                query = urlencode(given | {"code": "c", name: value})
                yield f"{name} {value[:9]!r}", changed(sample, rawQueryString=query)
        case "POST /v1/link-sessions" | "POST /v1/accounts/{id}/relink":
            for value in ("", "x" * 256, "a b", "é", "\0"):
                headers = {"idempotency-key": value}
                yield f"idempotency-key {value[:9]!r}", changed(sample, headers=headers)
        case "GET /v1/accounts":
            for query in (
                *(
                    "cursor=canary",
                    "cursor=WzEsMl0",
                    "cursor=" + "A" * 2000,
                    "limit=0",
                    "limit=1e3",
                ),
                *("limit=99999", "status=canary", "sort=canary", "relink_within_days=-1"),
                *("end_user_id=" + "x" * 257, "end_user_id=", "tenant_id=" + "x" * 5000),
            ):
                yield f"?{query[:30]}", changed(sample, rawQueryString=query)
        case "POST /webhooks/tiktok":
            for value in BAD_SIGNATURES:
                headers = {"tiktok-signature": value}
                yield f"signature {value[:20]!r}", changed(sample, headers=headers)


def unknown(door: Door) -> Iterator[tuple[str, Event]]:
    """Requests in the right form for something that does not exist."""
    sample = str(door.sample)
    for name, good in (door.event.get("pathParameters") or {}).items():
        if name == "id":
            other = UNKNOWN_SESSION if good.startswith("ls_") else UNKNOWN_ACCOUNT
            yield "unknown id", changed(sample, pathParameters={name: other})
    if door.route == "GET /authorize":
        query = urlencode({"n": "N" * 22 + ".x", "session": UNKNOWN_SESSION})
        # A program's request: a browser's would be sent to the page that shows whose link it is.
        headers = {k: v for k, v in door.event["headers"].items() if k != "sec-fetch-site"}
        yield "unknown session", {**door.event, "rawQueryString": query, "headers": headers}
    if door.route == "GET /callback":
        known = door.event["rawQueryString"].partition("state=")[2][:22]
        for key in ("A" * 22, known):
            query = urlencode({"code": "c", "state": f"{key}.{'B' * 43}"})
            yield "unknown state", changed(sample, rawQueryString=query)


# -- the whole visit ----------------------------------------------------------------------------


def visit(stack: RunningStack, folder: Path) -> list[Knock]:
    """Knock at every door in every way, and see each page of a session on the way."""
    stack.reset(folder)
    visitor = Visitor(stack)
    with visitor.watching():
        _as_a_stranger(visitor, folder)
        _pages_of_an_attempt(visitor, folder)
        _pages_of_ends(visitor, folder)
        _pages_of_the_product(visitor, folder)
        _as_somebody_who_is_linked(visitor, folder)
        _while_the_tables_are_gone(visitor, folder)
        _while_a_function_is_set_up_wrongly(visitor)
    return visitor.knocks


def _by_function() -> Sequence[Door]:
    """A function after the other; what removes something comes last."""
    last = ("POST /webhooks/tiktok", "DELETE /v1/accounts/{id}")
    return sorted(doors().values(), key=lambda door: (door.route in last, door.function))


def _as_a_stranger(visitor: Visitor, folder: Path) -> None:
    """Somebody is linked; nobody else may notice, write or make us ask anybody."""
    _link(visitor, folder)
    before = visitor.stack.dump()
    for door in _by_function():
        for how, sent in other_methods(door):
            visitor.knock(door, how, sent, Cost.NOTHING)
        for how, sent in malformed(door):
            visitor.knock(door, how, sent, Cost.NOTHING)
        for how, sent in unknown(door):
            visitor.knock(door, how, sent, Cost.ONE_REQUEST)
        if not door.is_public:
            anybody = {k: v for k, v in door.event["requestContext"].items() if k != "authorizer"}
            sent = {**door.event, "requestContext": anybody}
            visitor.knock(door, "unsigned", sent, Cost.NOTHING)
    webhook = doors()[READ_BY_THE_SIGNED_BODY]
    forged = changed(str(webhook.sample), body='{"canary": 1}')
    for how in ("another body", "another body again"):
        visitor.knock(webhook, how, forged, Cost.ONE_SECRET)
    assert visitor.stack.dump() == before, "a stranger has changed something"


def _link(visitor: Visitor, folder: Path) -> None:
    """Link the account of the events, whose TikTok user has a name like nobody's."""
    visitor.stack.reset(folder)
    start_session(_session(visitor), visitor.stack)
    user = {
        "open_id": OPEN_ID,
        "display_name": STORED,
        "avatar_url": f"{visitor.stack.tiktok.url}/avatar.jpg",
        "union_id": STORED,
    }
    profile = Answer({"data": {"user": user}, "error": {"code": "ok"}})
    visitor.stack.tiktok.script.extend([Answer(visitor.stack.pair(1)), profile])
    visitor.knock(doors()["GET /callback"], "linked", event("callback-code"))


def _session(visitor: Visitor, completion: Completion = Completion.BROWSER) -> LinkSession:
    return create_session(visitor.stack, completion, label=STORED)


def _see(visitor: Visitor, how: str, *, cookies: Sequence[str] = (), query: str = "") -> Event:
    """Open the session's page, with everything in its query that one could believe."""
    door = doors()["GET /connect/{id}"]
    sent = changed(
        str(door.sample), cookies=list(cookies), rawQueryString=f"{query}&{HOSTILE_QUERY}"
    )
    status, asked = doors()["GET /connect/{id}/status"], event("authorize-status")
    visitor.knock(status, how, asked)
    visitor.knock(status, f"{how}, for a stranger", {**asked, "headers": {}})
    return visitor.knock(door, how, sent)


def _own() -> list[str]:
    cookies: list[str] = event("callback-code")["cookies"]
    return cookies


def _pages_of_an_attempt(visitor: Visitor, folder: Path) -> None:
    """From the button to each of its ends, in the right browser and in another."""
    authorize, callback = doors()["GET /authorize"], doors()["GET /callback"]
    visitor.stack.reset(folder)
    session = _session(visitor)
    _see(visitor, "not begun")
    start = event("authorize-start")
    forged = changed("authorize-start", rawQueryString=f"{start['rawQueryString']}&{HOSTILE_QUERY}")
    for name in ("sec-purpose", "purpose"):
        early = changed("authorize-start", headers={name: "prefetch;prerender"})
        visitor.knock(authorize, "guessed", early, Cost.NOTHING)
        early = changed("callback-code", headers={name: "prefetch"})
        visitor.knock(callback, "guessed", early, Cost.NOTHING)
    framed = {"sec-fetch-dest": "iframe"}
    visitor.knock(authorize, "framed", changed("authorize-start", headers=framed), Cost.NOTHING)
    other = changed("authorize-start", cookies=[])
    visitor.knock(authorize, "in another browser", other, Cost.NOTHING)
    for _ in range(10):
        visitor.knock(authorize, "begun", forged)
    visitor.knock(authorize, "begun too often", forged)
    _see(visitor, "begun")

    start_session(_again(visitor), visitor.stack)
    _see(visitor, "under way", cookies=_own())
    for dest in ("image", "iframe", "empty"):
        sent = changed("callback-code", headers={"sec-fetch-dest": dest})
        visitor.knock(callback, f"for an {dest}", sent, Cost.NOTHING)
    visitor.knock(callback, "cancelled", event("callback-cancelled"))
    _see(visitor, "cancelled", cookies=_own())
    for error in ("access_denied&error_type=canary", "unauthorized_client", "server_error", CANARY):
        start_session(_again(visitor), visitor.stack)
        asked = event("callback-code")["rawQueryString"].partition("state=")[2]
        query = f"error={error}&{HOSTILE_QUERY}&state={asked}".replace(" ", "%20")
        visitor.knock(callback, error[:9], changed("callback-code", rawQueryString=query))
        _see(visitor, error[:9], cookies=_own())
    start_session(_again(visitor), visitor.stack)
    away = visitor.knock(callback, "without its cookie", changed("callback-code", cookies=[]))
    brought = [line.partition(";")[0] for line in away["cookies"]]
    _see(visitor, "brought back elsewhere", cookies=brought)
    _see(visitor, "brought back elsewhere, begun", cookies=_own(), query="anew=1")
    assert session.id == SESSION_ID


def _again(visitor: Visitor) -> LinkSession:
    visitor.stack.create_tables()
    return _session(visitor)


def _pages_of_ends(visitor: Visitor, folder: Path) -> None:
    """A code that TikTok refuses, a link that the team withdraws, one that is too old."""
    callback = doors()["GET /callback"]
    visitor.stack.reset(folder)
    start_session(_session(visitor), visitor.stack)
    visitor.stack.tiktok.script.append(Answer({"error": "invalid_grant", "log_id": CANARY}))
    visitor.knock(callback, "refused", event("callback-code"))
    _see(visitor, "refused", cookies=_own())
    visitor.stack.clock.advance(hours=1)
    _see(visitor, "expired", cookies=_own())
    _see(visitor, "expired for others")
    visitor.knock(callback, "again and late", event("callback-code"))
    start_session(_again(visitor), visitor.stack)
    cancel = doors()["DELETE /v1/link-sessions/{id}"]
    visitor.knock(cancel, "withdrawn", event("sessions-cancel"))
    _see(visitor, "withdrawn", cookies=_own())
    visitor.knock(callback, "withdrawn", event("callback-code"))
    elsewhere = changed("authorize-connect-page", pathParameters={"id": "finished"})
    visitor.knock(doors()["GET /connect/{id}"], "finished", elsewhere, Cost.NOTHING)


def _pages_of_the_product(visitor: Visitor, folder: Path) -> None:
    """Completion by the product's own login."""
    callback = doors()["GET /callback"]
    complete = doors()["POST /v1/link-sessions/{id}/complete"]
    visitor.stack.reset(folder)
    start_session(_session(visitor, Completion.APP), visitor.stack)
    visitor.knock(callback, "for the product", event("callback-code"))
    _see(visitor, "waits for the product", cookies=_own())
    body = json.loads(event("callback-complete")["body"])
    for fields in ({"completion_code": "A" * 43}, {"end_user_id": "somebody else"}, {}):
        sent = changed("callback-complete", body=json.dumps(body | fields))
        visitor.knock(complete, f"with {sorted(fields)}", sent)
    _see(visitor, "another user", cookies=_own())
    visitor.stack.create_tables()
    start_session(_session(visitor, Completion.APP), visitor.stack)
    visitor.knock(callback, "for the product", event("callback-code"))
    visitor.stack.tiktok.script.extend([Answer(visitor.stack.pair(1)), Answer({}, status=500)])
    visitor.knock(complete, "completed", event("callback-complete"))


def _as_somebody_who_is_linked(visitor: Visitor, folder: Path) -> None:
    """Every sample event, with a link to speak of; and the pages that follow a link."""
    _link(visitor, folder)
    visitor.knock(doors()["GET /callback"], "in another browser", _elsewhere("callback-code"))
    _see(visitor, "linked", cookies=_own())
    _see(visitor, "linked, for others", cookies=[f"__Host-ttl_00000000={COOKIE}"])
    for door in _by_function():
        visitor.stack.clock.advance(minutes=2)
        visitor.stack.tiktok.script.extend([Answer(b"")] * (door.function == "unlink"))
        visitor.knock(door, "linked", door.event)
    visitor.knock(doors()["GET /v1/accounts/{id}"], "unlinked", event("accounts-show"))
    visitor.knock(doors()["POST /v1/accounts/{id}/token"], "unlinked", event("tokens-vend"))
    conflict = changed("sessions-create", body='{"end_user_id": "u_43"}')
    visitor.knock(doors()["POST /v1/link-sessions"], "another body", conflict)
    _link(visitor, folder)
    visitor.stack.clock.advance(days=2)
    visitor.stack.tiktok.script.append(Answer({}, status=503, headers={"Retry-After": "7"}))
    visitor.knock(doors()["POST /v1/accounts/{id}/token"], "TikTok is down", event("tokens-vend"))


def _elsewhere(name: str) -> Event:
    made: Event = changed(name, cookies=[])
    return made


def _while_the_tables_are_gone(visitor: Visitor, folder: Path) -> None:
    visitor.stack.reset(folder)
    for table in ("AccountsTable", "SessionsTable"):
        client("dynamodb").delete_table(TableName=table)
    for door in _by_function():
        visitor.knock(door, "without tables", door.event)
    visitor.stack.create_tables()


def _while_a_function_is_set_up_wrongly(visitor: Visitor) -> None:
    for door in _by_function():
        visitor.stack.become(door.function)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("POWERTOOLS_SERVICE_NAME", "")
            bootstrap.settings.cache_clear()
            visitor.knock(door, "set up wrongly", door.event, Cost.NOTHING)
        bootstrap.settings.cache_clear()
