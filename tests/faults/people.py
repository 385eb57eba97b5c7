"""What a crash case needs: links of its own, made fast, in a world that many cases share."""

from __future__ import annotations

import hashlib
import itertools
import re
import shutil
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from local.aws import LocalAws
from local.testing import WorldHandle
from tests.faults.oracle import Vended
from tiktok_linking.accounts import split_account_id

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
        self._healthy: list[str] = []
        self._aws = LocalAws(world.endpoints["aws"])
        # The clock's waits are shared, SQS's are real: what failed shall come again soon.
        for queue in ("RenewalQueue", "RevocationQueue", "RescueQueue"):
            self._aws.client("sqs").set_queue_attributes(
                QueueUrl=self._queue(queue), Attributes={"VisibilityTimeout": "1"}
            )

    def person(self) -> Person:
        """Somebody nobody has met."""
        number = next(self._numbers)
        self.world.tiktok("POST", "/users", {"user": f"sweep{number}"})
        return Person(f"user-{number}", f"sweep{number}")

    # -- linking, step by step --------------------------------------------------------------------

    def to_callback(self, person: Person, session_id: str = "") -> tuple[str, str, str]:
        """Go as far as TikTok's answer: (session id, callback path, cookie).

        In a session of its own, or again in one that offers its button still.
        """
        page = self.world.get(f"/connect/{session_id}") if session_id else None
        if page is None or not _CONTINUE.search(page.text):
            body = {"end_user_id": person.end_user}
            session_id = self.world.api("POST", "/v1/link-sessions", json=body).json()["id"]
            page = self.world.get(f"/connect/{session_id}")
        found = _CONTINUE.search(page.text)
        assert found is not None, page.text
        gone = self.world.get(unescape(found[1]))
        assert gone.status_code == 302, (gone.status_code, gone.text)
        cookie = gone.headers["Set-Cookie"].partition(";")[0]
        consent = {"authorize_url": gone.headers["Location"], "user": person.tiktok_user}
        back = self.world.tiktok("POST", "/consent", consent)["redirect"]
        return session_id, back.removeprefix(self.world.endpoints["gateway"]), cookie

    def come_back(self, callback: str, cookie: str) -> requests.Response:
        """Open TikTok's answer in the browser that started."""
        return self.world.get(callback, headers={"Cookie": cookie})

    def to_completion(self, person: Person) -> tuple[str, str]:
        """Come back in a session that the team's own login decides: (session id, its code)."""
        product = self.world.endpoints["app"] + "/linked"
        body = {"end_user_id": person.end_user, "completion": "app", "return_url": product}
        session_id = self.world.api("POST", "/v1/link-sessions", json=body).json()["id"]
        _, callback, cookie = self.to_callback(person, session_id)
        back = urlsplit(self.come_back(callback, cookie).headers["Location"])
        return session_id, parse_qs(back.query)["completion_code"][0]

    def complete(self, session_id: str, code: str, person: Person) -> requests.Response:
        """Do as the team's backend does when its user is back."""
        body = {"completion_code": code, "end_user_id": person.end_user}
        path = f"/v1/link-sessions/{session_id}/complete"
        return self.world.api("POST", path, json=body)

    def link(self, person: Person, session_id: str = "") -> str:
        """Link without a fault; answers the account id."""
        session_id, callback, cookie = self.to_callback(person, session_id)
        self.come_back(callback, cookie)
        session = self.session(session_id)
        assert session["status"] == "completed", session
        return str(session["account_id"])

    # -- accounts that cases leave behind as they found them ---------------------------------------

    def healthy_account(self) -> str:
        """A link in use: the one last kept, so that those left over fall out of use."""
        if self._healthy:
            return self._healthy.pop()
        account = self.link(self.person())
        assert self.vend(account).status_code == 200
        return account

    def keep(self, accounts: Iterable[str]) -> None:
        """Give links back that were found whole."""
        self._healthy.extend(accounts)

    # -- what the team's backend asks --------------------------------------------------------------

    def session(self, session_id: str) -> dict[str, Any]:
        return dict(self.world.api("GET", f"/v1/link-sessions/{session_id}").json())

    def account(self, account_id: str) -> dict[str, Any]:
        return dict(self.world.api("GET", f"/v1/accounts/{account_id}").json())

    def vend(self, account_id: str, **wishes: Any) -> requests.Response:
        return self.world.api("POST", f"/v1/accounts/{account_id}/token", json=wishes)

    def unlink(self, account_id: str) -> requests.Response:
        return self.world.api("DELETE", f"/v1/accounts/{account_id}")

    def vend_all(self, accounts: Sequence[str]) -> list[Vended]:
        """Ask for a token of each, and TikTok once what it thinks of them all."""
        answers = [self.vend(account) for account in accounts]
        alive = self.living_tokens()
        vended = []
        for answer in answers:
            body = answer.json()
            token = str(body.get("access_token", ""))
            vended.append(Vended.read(answer.status_code, body, alive=_hash(token) in alive))
        return vended

    # -- functions, invoked as their other triggers do ---------------------------------------------

    def plan(self) -> None:
        """The scheduled run, and all that follows from it."""
        self.world.invoke("RefreshFunction")
        self.settle()

    def settle(self) -> None:
        """Wait for queues and functions, on a busy machine too."""
        self.world.settle(timeout_seconds=50)

    def work(self, accounts: Sequence[str]) -> dict[str, Any]:
        """The refresh function with a batch of the renewal queue."""
        bodies = [f'{{"grant": "{grant_of(account)}"}}' for account in accounts]
        return self.deliver("RefreshFunction", bodies)

    def renew(self, account: str) -> dict[str, Any]:
        """The refresh function as another function asks it, for one grant."""
        job = {"job": "renew", "grant": grant_of(account), "min_ttl_seconds": 300}
        return self.world.invoke("RefreshFunction", job)

    def deliver(self, logical_id: str, bodies: Sequence[str]) -> dict[str, Any]:
        """A function with these messages of a queue."""
        records = [{"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]
        return self.world.invoke(logical_id, {"Records": records})

    def take_parcels(self) -> list[str]:
        """Take what lies in the rescue queue; its deliveries must be paused."""
        sqs, url = self._aws.client("sqs"), self._queue("RescueQueue")
        # A poller that was paused while it waited gives back what it got: a moment of patience.
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5)
        taken = []
        for message in found.get("Messages", []):
            taken.append(str(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return taken

    def _queue(self, logical_id: str) -> str:
        urls: list[str] = self._aws.client("sqs").list_queues()["QueueUrls"]
        return next(url for url in urls if f"-{logical_id}-" in url)

    def start_where_it_stopped(self, function: str) -> None:
        """Let the next run find the disk of the one that was killed, whichever slot that had."""
        folders = sorted((self.world.directory / "local" / "tmp" / function).iterdir())
        for folder in folders[1:]:
            for file in (folder / "journal").glob("*.json"):
                target = folders[0] / "journal"
                target.mkdir(exist_ok=True)
                file.rename(target / file.name)

    def repair(self) -> None:
        """End whatever a case may have left behind when it broke off."""
        self.world.release()
        self.world.end_outage()
        self.world.pause_deliveries()
        self.world.share_waits()
        for function in ("callback", "refresh", "rescue", "tokens", "unlink"):
            self.world.arm_fault(function)
        self.world.advance(seconds=300)
        self.settle()

    def lose_disk(self, function: str) -> None:
        """Empty the temporary folders of a function, as when its environments are gone."""
        for folder in (self.world.directory / "local" / "tmp" / function).glob("*/journal"):
            shutil.rmtree(folder)

    # -- what TikTok knows ---------------------------------------------------------------------

    def living_tokens(self) -> set[str]:
        """The hashes of all tokens that TikTok would take."""
        tokens = self.world.tiktok("GET", "/state")["tokens"]
        return {token["sha256"] for token in tokens if token["alive"]}

    def is_alive(self, token: str) -> bool:
        """Whether TikTok would take this access token."""
        return _hash(token) in self.living_tokens()

    def has_grant(self, open_id: str) -> bool:
        """Whether TikTok still counts our app among this person's connected apps."""
        grants = self.world.tiktok("GET", "/state")["grants"]
        return any(grant["alive"] for grant in grants if grant["open_id"] == open_id)

    def refreshes(self) -> int:
        """How many refresh requests TikTok has seen."""
        return int(self.world.tiktok("GET", "/state")["calls"].get("token.refresh_token", 0))


def grant_of(account_id: str) -> str:
    """The id of the grant behind an account."""
    parts = split_account_id(account_id)
    assert parts is not None, account_id
    return parts[0]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def vend_through_outage(stage: Stage, account_id: str) -> None:
    """Vend; where the function waits for a store to come back, let its time run out."""
    vend = threading.Thread(target=stage.vend, args=(account_id,))
    vend.start()
    vend.join(2.5)
    while vend.is_alive():
        stage.world.advance(seconds=27)
        vend.join(2.5)
