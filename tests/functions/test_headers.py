"""Every answer of our code, whatever was asked: its headers, its cookies, its kind, and no echo.

What API Gateway answers by itself (no such route, no signature, too many, too large) carries its
own headers; tests/local/test_gateway.py has those.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from html.parser import HTMLParser

import pytest

from tests.functions.doors import STORED, Door, Knock, doors
from tests.functions.stack import SESSION_ID

_SESSION = r"ls_[A-Za-z0-9_-]{43}"
_NOTHING_IS_LOADED = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " object-src 'none'"
)
OF_ALL = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _NOTHING_IS_LOADED,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": r"[a-z-]+=\(\)(, [a-z-]+=\(\))*",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
JSON = OF_ALL | {"Content-Type": "application/json; charset=utf-8"}
# The whole set of headers for each kind of answer, values as patterns.
KINDS = {
    "page": OF_ALL
    | {
        # A page that says how it ended has one line of script, under the nonce of its style.
        "Content-Security-Policy": _NOTHING_IS_LOADED
        + r"; style-src '(?P<own>nonce-[A-Za-z0-9_-]{22})'(; script-src '(?P=own)')?",
        "Content-Type": "text/html; charset=utf-8",
        "Cross-Origin-Opener-Policy": "unsafe-none",  # a page in a pop-up stays reachable
    },
    "redirect": OF_ALL
    | {
        "Cross-Origin-Opener-Policy": "unsafe-none",
        "Location": rf"/connect/({_SESSION}|finished)"
        rf"|https://app\.example\.com/settings\?link_session={_SESSION}"
        r"(&error=cancelled|&completion_code=[A-Za-z0-9_-]{43})?"
        r"|https://www\.tiktok\.com/v2/auth/authorize/\?client_key=awlocaldefault"
        r"&response_type=code&scope=user\.info\.basic"
        r"&redirect_uri=https%3A%2F%2Flink\.example\.com%2Fcallback"
        r"&state=[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    },
    "json": JSON,
    "status": JSON | {"Vary": "Origin"},
    "status for its product": JSON
    | {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": r"https://app\.example\.com",
        "Cross-Origin-Resource-Policy": "cross-origin",
    },
    "problem": JSON | {"Content-Type": r"application/problem\+json; charset=utf-8"},
    "problem that passes": JSON
    | {"Content-Type": r"application/problem\+json; charset=utf-8", "Retry-After": "[1-9][0-9]*"},
    "script": OF_ALL
    | {
        "Cache-Control": "public, max-age=300",  # the event asks for another version
        "Content-Type": "text/javascript; charset=utf-8",
        # Read by any origin, as a module must be: it is the same for everybody.
        "Access-Control-Allow-Origin": r"\*",
        "Cross-Origin-Resource-Policy": "cross-origin",
    },
    "file": OF_ALL | {"Content-Type": "text/plain; charset=utf-8"},
}
PAGES = {"page", "redirect"}
API = {"json", "problem", "problem that passes"}
# The kinds of answer that each public route gives. Signed routes give JSON and problems alone.
KINDS_OF_PUBLIC = {
    "GET /connect/{id}": PAGES,
    "GET /authorize": PAGES | {"json"},  # 204 to a guess
    "GET /callback": PAGES | {"json"},
    "GET /connect/{id}/status": {"status", "status for its product", "problem"},
    "GET /connect.js": {"script", "problem"},
    "GET /{file}": {"file", "problem"},
    "POST /webhooks/tiktok": API,
}
COOKIE = re.compile(
    r"__Host-(?P<kind>ttl_[0-9a-f]{8}|tlpage)=(?P<value>[A-Za-z0-9_-]{43}|);"
    r" Max-Age=(?P<age>[0-9]+); Path=/; Secure; HttpOnly; SameSite=Lax"
)


def kind_of(knock: Knock) -> str:
    """What sort of answer this is, by its status and type."""
    headers = knock.answer["headers"]
    if 300 <= knock.status < 400:
        return "redirect"
    match headers["Content-Type"].partition(";")[0]:
        case "text/html":
            return "page"
        case "text/plain":
            return "file"
        case "text/javascript":
            return "script"
        case "application/problem+json":
            return "problem that passes" if "Retry-After" in headers else "problem"
        case _ if not knock.door.route.endswith("/status"):
            return "json"
        case _ if "Access-Control-Allow-Origin" in headers:
            return "status for its product"
        case _:
            return "status"


@pytest.mark.parametrize("door", doors().values(), ids=lambda door: door.route)
def test_every_route_is_knocked_at(knocks: list[Knock], door: Door) -> None:
    """A new route needs an event in events/, and the audit knows it from then on."""
    statuses = {knock.status for knock in knocks if knock.door == door}

    assert door.sample is not None
    assert statuses & {200, 201, 302, 303}, "nobody was let in"
    assert 404 in statuses
    assert 500 in statuses or door.route == "GET /connect.js"  # needs no table and no setting
    assert statuses & {400, 401} or door.route in ("GET /connect/{id}/status", "GET /{file}")
    assert door.is_public or 403 in statuses
    assert not door.is_public or door.route in KINDS_OF_PUBLIC


def test_all_statuses_and_kinds_of_the_code_are_there(knocks: list[Knock]) -> None:
    """Else what follows would be true of nothing."""
    expected = {200, 201, 204, 302, 303, 400, 401, 403, 404, 409, 410, 429, 500, 503}

    assert {knock.status for knock in knocks} == expected
    assert {kind_of(knock) for knock in knocks} == set(KINDS)
    titles = {
        found[1]
        for knock in knocks
        if kind_of(knock) == "page" and (found := re.search("<h1>([^<]*)", knock.answer["body"]))
    }
    assert titles == {
        "Connect your TikTok account",
        "Finish in the browser you started in",
        "One more step",
        "Signed in as someone else",
        "Something went wrong",
        "TikTok connected",
        "TikTok did not allow this account",
        "TikTok had a problem",
        "This answer belongs to no link",
        "This app is not set up right",
        "This is already finished",
        "This link has expired",
        "This link is not valid",
        "This link was withdrawn",
        "Too many tries",
        "You cancelled",
    }


def test_every_answer_has_exactly_the_headers_of_its_kind(knocks: list[Knock]) -> None:
    for knock in knocks:
        expected, given = KINDS[kind_of(knock)], knock.answer["headers"]

        assert given.keys() == expected.keys(), str(knock)
        for name, pattern in expected.items():
            assert re.fullmatch(pattern, given[name]), f"{knock}: {name}: {given[name]}"


def test_no_header_is_given_twice(knocks: list[Knock]) -> None:
    """Not in another case either: API Gateway would send both."""
    for knock in knocks:
        names = [name.lower() for name in knock.answer["headers"]]

        assert len(set(names)) == len(names), str(knock)
        assert "set-cookie" not in names, "cookies stand in a list of their own"
        assert not set(knock.answer) - {
            *("statusCode", "headers", "body", "isBase64Encoded", "cookies")
        }


def test_every_route_gives_its_own_kinds_of_answer(knocks: list[Knock]) -> None:
    """No API answers a page, whatever the request accepts, and no page becomes JSON."""
    for knock in knocks:
        if not knock.how.startswith("as "):  # API Gateway never routes those here
            kinds = KINDS_OF_PUBLIC.get(knock.door.route, API)
            assert kind_of(knock) in kinds, str(knock)


def test_a_body_is_what_its_type_says(knocks: list[Knock]) -> None:
    for knock in knocks:
        kind, body = kind_of(knock), knock.answer["body"]
        if kind == "redirect" or knock.status == 204:
            assert body == "", str(knock)
        elif kind == "page":
            assert body.startswith("<!doctype html>"), str(knock)
        elif kind.startswith("problem"):
            assert json.loads(body)["status"] == knock.status, str(knock)
        elif kind not in ("file", "script"):
            assert isinstance(json.loads(body), dict), str(knock)


def test_every_cookie_is_bound_to_its_host_and_out_of_reach(knocks: list[Knock]) -> None:
    kinds = set()
    for knock in knocks:
        names = []
        for line in knock.answer.get("cookies", []):
            cookie = COOKIE.fullmatch(line)
            assert cookie is not None, f"{knock}: {line}"
            names.append(cookie["kind"])
            kinds.add(cookie["kind"][:3])
            most = 600 if cookie["kind"].startswith("ttl_") else 3600
            assert (int(cookie["age"]) == 0) is (cookie["value"] == "")
            assert int(cookie["age"]) <= most
        assert len(set(names)) == len(names), str(knock)
        assert len("".join(knock.answer.get("cookies", []))) < 4096
    assert kinds == {"ttl", "tlp"}


def test_nothing_that_a_stranger_writes_comes_back(knocks: list[Knock]) -> None:
    """In no header, no cookie and no body: canaries stood in each part of each request."""
    for knock in knocks:
        assert "canary" not in json.dumps(knock.answer).lower(), str(knock)


class _Page(HTMLParser):
    def __init__(self, body: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(body)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        self.text += data


def test_what_is_kept_is_shown_as_text_and_nothing_else(knocks: list[Knock]) -> None:
    """The end user's label and the TikTok user's name, on every page that shows them."""
    shown, scripts = set(), set()
    for knock in knocks:
        kind, body = kind_of(knock), knock.answer["body"]
        if kind != "page":
            assert kind in API or STORED not in body
            continue
        page = _Page(body)
        assert page.tags <= {
            *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "b", "a"),
            *("bdi", "ul", "li", "div", "details", "summary", "footer", "script"),
        }, str(knock)
        assert page.attributes <= {
            *("lang", "dir", "charset", "name", "content", "nonce", "class", "href", "aria-hidden"),
            *("role", "target", "rel", "data-origin", "data-session"),
        }, str(knock)
        scripts |= set(page.scripts)
        shown |= {knock.how} if STORED in page.text else set()
        assert "stored" not in json.dumps([knock.answer["headers"], knock.answer.get("cookies")])
    assert {"not begun", "linked"} <= shown
    assert len(scripts) == 1, "the same on all pages, so nothing from outside is a part of it"


def test_no_answer_without_a_session_of_ones_own_names_it(knocks: list[Knock]) -> None:
    """A stranger who guesses is not told of the one session that there is."""
    for knock in knocks:
        if knock.how.startswith(("unknown", "as ", "state ")):
            assert SESSION_ID not in json.dumps(knock.answer), str(knock)


def test_the_status_is_for_the_origin_of_its_product(knocks: list[Knock]) -> None:
    """Without credentials, and only there: no page and no API is read from another origin."""
    by_kind: dict[str, int] = defaultdict(int)
    for knock in knocks:
        if knock.door.route == "GET /connect/{id}/status":
            by_kind[kind_of(knock)] += 1
        elif kind_of(knock) == "script":
            assert knock.calls == (), "what every origin may read holds nothing of anybody's"
        else:
            names = {name.lower() for name in knock.answer["headers"]}
            assert not {name for name in names if name.startswith("access-control")}, str(knock)
    assert by_kind["status for its product"] > 10
    assert by_kind["status"] > 10


def test_a_request_with_another_method_is_not_found(knocks: list[Knock]) -> None:
    tried = [knock for knock in knocks if knock.how.startswith(("as ", "HEAD"))]

    assert {knock.status for knock in tried} == {404}
    assert {knock.door.route for knock in tried} == set(doors())


def test_no_address_from_outside_is_opened(knocks: list[Knock]) -> None:
    """`avatar_url` names the server that plays TikTok: it would see one more request."""
    asked = {target.partition("?")[0] for knock in knocks for target in knock.to_tiktok}
    shown = [knock for knock in knocks if "/avatar.jpg" in knock.answer["body"]]

    assert asked == {"/v2/oauth/token/", "/v2/oauth/revoke/", "/v2/user/info/"}
    assert {kind_of(knock) for knock in shown} == {"json"}, "a picture on a page is a third party"
