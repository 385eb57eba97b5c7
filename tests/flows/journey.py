"""The people and programs of a journey: the team's backend, the user's browser, TikTok, the world.

Everything goes over HTTP and by the contracts that a stranger has: openapi.yaml, the local world's
control endpoints and the built-in TikTok's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from local.testing import WorldHandle, signed
from tests.flows.http_browser import HttpBrowser, Page

Json = dict[str, Any]


def new_http() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


class Backend:
    """The team's backend: signs its calls with its own AWS credentials."""

    def __init__(self, gateway: str, caller: tuple[str, str] = ("test", "test")) -> None:
        self._gateway = gateway
        self._caller = caller
        self._http = new_http()

    def call(
        self, method: str, path: str, body: Json | None = None, /, **query: str
    ) -> requests.Response:
        url = self._gateway + path
        request = signed(method, url, json=body, params=query, caller=self._caller)
        return self._http.send(request, allow_redirects=False, timeout=35)

    def get(self, path: str, **query: str) -> Json:
        return expect(self.call("GET", path, **query), 200)

    def begin(self, end_user: str, **wishes: object) -> Json:
        """Start an attempt to link."""
        return expect(
            self.call("POST", "/v1/link-sessions", {"end_user_id": end_user, **wishes}), 201
        )

    def session(self, link_session: str) -> Json:
        return self.get(f"/v1/link-sessions/{link_session}")

    def account(self, account_id: str) -> Json:
        return self.get(f"/v1/accounts/{account_id}")

    def accounts_of(self, end_user: str) -> list[Json]:
        items: list[Json] = self.get("/v1/accounts", end_user_id=end_user)["items"]
        return items

    def vend(self, account_id: str, **wishes: object) -> requests.Response:
        """Ask for a token; the answer may be a refusal."""
        return self.call("POST", f"/v1/accounts/{account_id}/token", dict(wishes))

    def token(self, account_id: str, **wishes: object) -> Json:
        """Ask for a token and get one."""
        return expect(self.vend(account_id, **wishes), 200)

    def unlink(self, account_id: str) -> Json:
        return expect(self.call("DELETE", f"/v1/accounts/{account_id}"), 200)


def expect(answer: requests.Response, status: int) -> Json:
    assert answer.status_code == status, (answer.status_code, answer.text[:600])
    return dict(answer.json())


class TikTok:
    """The built-in TikTok: what an integrator calls, and the switches under `/_control`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = new_http()

    def user_info(self, access_token: str, fields: Sequence[str]) -> requests.Response:
        return self._http.get(
            f"{self.url}/v2/user/info/",
            params={"fields": ",".join(fields)},
            headers={"Authorization": f"Bearer {access_token}"},
            timeout=10,
        )

    def control(self, method: str, path: str, body: Json | None = None) -> Json:
        answer = self._http.request(method, f"{self.url}/_control{path}", json=body, timeout=10)
        assert answer.ok, (answer.status_code, answer.text[:600])
        return dict(answer.json()) if answer.content else {}

    def set(self, **settings: object) -> None:
        self.control("POST", "/settings", dict(settings))

    def fail(self, endpoint: str, kind: str, times: int = 1, **more: object) -> None:
        """Have the next requests to an endpoint fail in this way."""
        self.control(
            "POST", "/faults", {"endpoint": endpoint, "kind": kind, "times": times, **more}
        )

    def state(self) -> Json:
        return self.control("GET", "/state")

    def calls(self) -> Mapping[str, int]:
        return dict(self.state()["calls"])

    def is_alive(self, token: str) -> bool:
        """Whether TikTok would take this token, known by its hash alone."""
        wanted = hashlib.sha256(token.encode()).hexdigest()
        found = [known for known in self.state()["tokens"] if known["sha256"] == wanted]
        assert found, "TikTok never issued this token"
        return bool(found[0]["alive"])

    def has_grant(self, open_id: str) -> bool:
        return any(g["alive"] for g in self.state()["grants"] if g["open_id"] == open_id)


@dataclass(frozen=True, slots=True)
class Linked:
    """How a journey to link ended."""

    session: Json
    page: Page
    browser: HttpBrowser

    @property
    def account_id(self) -> str:
        assert self.session["status"] == "completed", self.session
        return str(self.session["account_id"])


class Journey:
    """A running world with somebody in front of it."""

    def __init__(self, world: WorldHandle, caller: tuple[str, str] = ("test", "test")) -> None:
        self.world = world
        self.backend = Backend(world.endpoints["gateway"], caller)
        self.tiktok = TikTok(world.endpoints["tiktok"])

    def link(
        self, end_user: str, person: str, *, off: Collection[str] = (), **wishes: object
    ) -> Linked:
        """Link a TikTok user to an end user, start to end, with some permissions switched off."""
        begun = self.backend.begin(end_user, **wishes)
        browser = HttpBrowser()
        page = consent(browser, to_consent(browser, begun["url"]), person, off=off)
        return Linked(self.backend.session(begun["id"]), page, browser)

    def run_schedule(self) -> None:
        """Do what the schedule would do at this moment, to the end."""
        result = self.world.invoke("RefreshFunction")
        assert result["error"] is None, result
        self.world.settle()

    def calls_of(self, function: str, service: str = "") -> dict[str, int]:
        """One function's calls since they were forgotten, those of one service if it is named."""
        made = self.world.calls().get(function, {})
        return {name: n for name, n in made.items() if name.startswith(service) and n}


def to_consent(browser: HttpBrowser, url: str) -> Page:
    """Open a session's connect page and go on to TikTok."""
    return browser.click(browser.open(url), "Continue with TikTok")


def consent(browser: HttpBrowser, page: Page, person: str, *, off: Collection[str] = ()) -> Page:
    """Be this TikTok user on the consent page, switch permissions off, and authorize."""
    return browser.press(page, "Authorize", fill={"user": person}, off=off)


def query_of(url: str) -> dict[str, str]:
    """The query of an address, each parameter once."""
    return {
        name: value for name, (value,) in parse_qs(urlsplit(url).query, strict_parsing=True).items()
    }
