"""What a crash case needs: one link of its own, made fast, in a world that many cases share."""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
from dataclasses import dataclass
from html import unescape
from typing import Any

import requests

from local.testing import WorldHandle

ACCESS_SECONDS = 7200
_CONTINUE = re.compile(r'<a class="?go"? href="([^"]+)">')


@dataclass(frozen=True, slots=True)
class Person:
    """An end user with a TikTok account of their own."""

    end_user: str
    tiktok_user: str


class Stage:
    """A world, and what people and backends do in it."""

    def __init__(self, world: WorldHandle) -> None:
        self.world = world
        self._numbers = itertools.count(1)
        self._http = requests.Session()
        self._http.trust_env = False

    def person(self) -> Person:
        """Somebody nobody has met."""
        number = next(self._numbers)
        self.world.tiktok("POST", "/users", {"user": f"sweep{number}"})
        return Person(f"user-{number}", f"sweep{number}")

    # -- linking, step by step --------------------------------------------------------------------

    def to_callback(self, person: Person) -> tuple[str, str, str]:
        """Go as far as TikTok's answer: (session id, callback path, cookie)."""
        made = self.world.api("POST", "/v1/link-sessions", json={"end_user_id": person.end_user})
        session = made.json()
        page = self.world.get(f"/connect/{session['id']}")
        found = _CONTINUE.search(page.text)
        assert found is not None, page.text
        gone = self.world.get(unescape(found[1]))
        assert gone.status_code == 302, (gone.status_code, gone.text)
        cookie = gone.headers["Set-Cookie"].partition(";")[0]
        consent = {"authorize_url": gone.headers["Location"], "user": person.tiktok_user}
        back = self.world.tiktok("POST", "/consent", consent)["redirect"]
        return session["id"], back.removeprefix(self.world.endpoints["gateway"]), cookie

    def come_back(self, callback: str, cookie: str) -> requests.Response:
        """Open TikTok's answer in the browser that started."""
        return self.world.get(callback, headers={"Cookie": cookie})

    def link(self, person: Person) -> str:
        """Link without a fault; answers the account id."""
        session_id, callback, cookie = self.to_callback(person)
        self.come_back(callback, cookie)
        session = self.session(session_id)
        assert session["status"] == "completed", session
        return str(session["account_id"])

    # -- what the team's backend asks --------------------------------------------------------------

    def session(self, session_id: str) -> dict[str, Any]:
        return dict(self.world.api("GET", f"/v1/link-sessions/{session_id}").json())

    def account(self, account_id: str) -> dict[str, Any]:
        return dict(self.world.api("GET", f"/v1/accounts/{account_id}").json())

    def vend(self, account_id: str) -> requests.Response:
        return self.world.api("POST", f"/v1/accounts/{account_id}/token", json={})

    def unlink(self, account_id: str) -> requests.Response:
        return self.world.api("DELETE", f"/v1/accounts/{account_id}")

    # -- what TikTok knows ---------------------------------------------------------------------

    def is_alive(self, token: str) -> bool:
        """Whether TikTok would take this access token."""
        hashed = hashlib.sha256(token.encode()).hexdigest()
        tokens = self.world.tiktok("GET", "/state")["tokens"]
        return any(known["alive"] for known in tokens if known["sha256"] == hashed)

    def has_grant(self, open_id: str) -> bool:
        """Whether TikTok still counts our app among this person's connected apps."""
        grants = self.world.tiktok("GET", "/state")["grants"]
        return any(grant["alive"] for grant in grants if grant["open_id"] == open_id)


def vend_through_outage(stage: Stage, account_id: str) -> None:
    """Vend; where the function waits for a store to come back, let its time run out."""
    vend = threading.Thread(target=stage.vend, args=(account_id,))
    vend.start()
    vend.join(2.5)
    while vend.is_alive():
        stage.world.advance(seconds=27)
        vend.join(2.5)
