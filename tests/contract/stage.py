"""How the tests bring the stack into the states in which it gives its answers."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

from local.aws import LocalAws
from local.testing import WorldHandle
from local.tiktok.webhooks import sign
from tests.flows.http_browser import HttpBrowser
from tests.flows.journey import Journey, Linked, consent
from tiktok_linking.sessions import session_key

CLIENT_KEY = "awlocaldefault"
HOURS_BEYOND_AN_ACCESS_TOKEN = 3  # the built-in TikTok's live two


class Stage(Journey):
    """A journey that meets new people each time, so that no state is anybody else's."""

    def __init__(self, world: WorldHandle) -> None:
        super().__init__(world)
        self._to_mend: list[Callable[[], None]] = []

    def someone(self) -> str:
        """A TikTok user that nobody knows yet."""
        name = f"person_{secrets.token_hex(6)}"
        self.tiktok.control("POST", "/users", {"user": name})
        return name

    def end_user(self) -> str:
        """A user of the team's product that nobody knows yet."""
        return f"u_{secrets.token_hex(6)}"

    def link_someone(self, *, off: Collection[str] = (), **wishes: object) -> Linked:
        """A fresh link of a fresh person."""
        return self.link(self.end_user(), self.someone(), off=off, **wishes)

    def account(self, **wishes: object) -> str:
        """The id of a freshly linked account."""
        return self.link_someone(off=(), **wishes).account_id

    def expired_account(self, **wishes: object) -> str:
        """One whose access token is dead and whose link is alive."""
        account_id = self.account(**wishes)
        self.let_the_access_token_expire()
        return account_id

    def let_the_access_token_expire(self) -> None:
        self.world.advance(hours=HOURS_BEYOND_AN_ACCESS_TOKEN)

    def overdue_account(self) -> str:
        """One whose `relink_by` has passed, its access token with it."""
        self.tiktok.set(refresh_seconds=3_600, access_seconds=600)
        account_id = self.account()
        self.world.advance(seconds=3_601)
        return account_id

    def rejected_account(self) -> str:
        """One whose owner took the app away at TikTok, as the next renewal finds out."""
        account_id = self.expired_account()
        self.tiktok.set(webhook_delivery="off")
        self.remove(account_id)
        assert self.backend.vend(account_id).status_code == 409
        return account_id

    def unlinked_account(self) -> str:
        account_id = self.account()
        self.backend.unlink(account_id)
        return account_id

    def revoked_account(self) -> str:
        """One whose owner took the app away at TikTok, which TikTok told at once."""
        account_id = self.expired_account()
        self.remove(account_id)
        return account_id

    def remove(self, account_id: str) -> None:
        """Be the owner of an account who removes the app at TikTok."""
        open_id = self.backend.account(account_id)["open_id"]
        self.tiktok.control("POST", f"/users/{open_id}/remove", {"reason": 1})

    def webhook(self, event: str, *, secret: str = "", **fields: object) -> requests.Response:
        """Send what TikTok sends, signed by a secret of our choice."""
        now = int(self.world.now().timestamp())
        told = {"client_key": CLIENT_KEY, "event": event, "create_time": now, **fields}
        body = json.dumps(told).encode()
        return requests.post(
            self.world.endpoints["gateway"] + "/webhooks/tiktok",
            data=body,
            headers={
                "Content-Type": "application/json",
                "TikTok-Signature": sign(secret or f"local-secret-of-{CLIENT_KEY}", now, body),
            },
            timeout=30,
        )

    def leased_account(self) -> str:
        """One with a dead access token, which another worker is renewing for a minute more."""
        account_id = self.expired_account()
        until = int(self.world.now().timestamp() * 1000) + 60_000
        self._write_grant(account_id, "SET lo = :lo, lu = :lu", lo="another worker", lu=until)
        return account_id

    def broken_account(self) -> str:
        """One whose record nobody can read until `mend`: the functions have to fail."""
        account_id = self.account(tenant_id=self.end_user())  # in no list but its own
        self._write_grant(account_id, "SET st = :st", st="no such status")
        self._to_mend.append(lambda: self._write_grant(account_id, "SET st = :st", st="active"))
        return account_id

    def uncountable_account(self) -> str:
        """One whose record takes no write that counts until `mend`."""
        account_id = self.account(tenant_id=self.end_user())
        self._write_grant(account_id, "SET v = :v", v="no number")
        self._to_mend.append(lambda: self._write_grant(account_id, "SET v = :v", v=1))
        return account_id

    def broken_session(self) -> tuple[str, str]:
        """A session whose record nobody can read until `mend`: id, and callback of an attempt."""
        session, departure = self.depart(HttpBrowser())
        key = {"pk": {"S": f"s#{session_key(session)}"}}
        self._write("Sessions", key, "SET st = :st", st="no such status")
        self._to_mend.append(lambda: self._write("Sessions", key, "SET st = :st", st="started"))
        return session, self.callback_of(departure)

    def mend(self) -> None:
        """Leave nothing behind at which another test's planner would stumble."""
        while self._to_mend:
            self._to_mend.pop()()

    def _write_grant(self, account_id: str, expression: str, **values: str | int) -> None:
        grant = account_id.removeprefix("acct_")[:24]
        self._write("Accounts", {"pk": {"S": grant}, "sk": {"S": "grant"}}, expression, **values)

    def _write(
        self, table: str, key: dict[str, dict[str, str]], expression: str, **values: str | int
    ) -> None:
        """Write a state that no request brings about straight into a table."""
        database = LocalAws(self.world.endpoints["aws"]).client("dynamodb")
        (name,) = (t for t in database.list_tables()["TableNames"] if table in t)
        database.update_item(
            TableName=name,
            Key=key,
            UpdateExpression=expression,
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues={
                f":{k}": {"N": str(v)} if isinstance(v, int) else {"S": v}
                for k, v in values.items()
            },
        )

    def depart(self, browser: HttpBrowser, **wishes: object) -> tuple[str, requests.Response]:
        """Begin a session and press its button: its id, and the redirect to TikTok."""
        begun = self.backend.begin(self.end_user(), **wishes)
        link = browser.open(begun["url"]).link("Continue with TikTok")
        return begun["id"], browser.send("GET", link)

    def authorize_url(self, **wishes: object) -> str:
        """Where the button of a new session leads."""
        begun = self.backend.begin(self.end_user(), **wishes)
        return HttpBrowser().open(begun["url"]).link("Continue with TikTok")

    def relink(self, account_id: str, person: str) -> Any:
        """Relink an account with somebody's TikTok account; answers the session."""
        begun = self.backend.call("POST", f"/v1/accounts/{account_id}/relink", {}).json()
        browser = HttpBrowser()
        page = browser.click(browser.open(begun["url"]), "Continue with TikTok")
        consent(browser, page, person)
        return self.backend.session(begun["id"])

    def waiting(self, *, off: Collection[str] = (), **wishes: object) -> dict[str, str]:
        """Somebody who came back in mode `app`: what the browser brought to the product."""
        browser = HttpBrowser()
        home = self.world.endpoints["app"] + "/tiktok/return"
        end_user = self.end_user()
        begun = self.backend.begin(end_user, return_url=home, completion="app", **wishes)
        departure = browser.send("GET", browser.open(begun["url"]).link("Continue with TikTok"))
        return self.came_back(browser, departure, end_user, off=off)

    def waiting_to_relink(self, account_id: str) -> dict[str, str]:
        """Somebody who links an account again with another TikTok account."""
        browser = HttpBrowser()
        home = self.world.endpoints["app"] + "/tiktok/return"
        wish = {"return_url": home, "completion": "app"}
        begun = self.backend.call("POST", f"/v1/accounts/{account_id}/relink", wish).json()
        departure = browser.send("GET", browser.open(begun["url"]).link("Continue with TikTok"))
        return self.came_back(browser, departure, self.backend.account(account_id)["end_user_id"])

    def came_back(
        self,
        browser: HttpBrowser,
        departure: requests.Response,
        end_user: str,
        *,
        off: Collection[str] = (),
    ) -> dict[str, str]:
        callback = self.callback_of(departure, deny_scopes=list(off))
        arrival = browser.send("GET", callback)
        brought = dict(parse_qsl(urlsplit(arrival.headers["Location"]).query))
        return brought | {"end_user_id": end_user}

    def complete(self, brought: dict[str, str], **changes: object) -> requests.Response:
        """Say who is signed in, as the product's backend does."""
        body = {name: brought[name] for name in ("completion_code", "end_user_id")} | changes
        return self.backend.call(
            "POST", f"/v1/link-sessions/{brought['link_session']}/complete", body
        )

    def callback_of(self, departure: requests.Response, **choice: object) -> str:
        """The address to which TikTok sends the browser after the person's choice."""
        asked = {"authorize_url": departure.headers["Location"], "user": self.someone(), **choice}
        return str(self.tiktok.control("POST", "/consent", asked)["redirect"])

    @contextmanager
    def wrong_client_secret(self, registration: str) -> Iterator[None]:
        """TikTok's portal has another secret for an app than the stack."""
        manager = LocalAws(self.world.endpoints["aws"]).client("secretsmanager")
        (secret,) = manager.list_secrets()["SecretList"]
        known = json.loads(manager.get_secret_value(SecretId=secret["ARN"])["SecretString"])
        self.tiktok.control("POST", f"/apps/{registration}", {"client_secret": "changed in portal"})
        try:
            yield
        finally:
            right = {"client_secret": known[registration]["current"]}
            self.tiktok.control("POST", f"/apps/{registration}", right)
