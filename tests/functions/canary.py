"""Drives every flow and many failures at LOG_LEVEL=DEBUG, with secrets that can be searched for.

A program of its own, so that its output is all that the functions, the libraries below them and
Python itself print. It writes what it knows into the file that it is given::

    python -m tests.functions.canary FILE
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import tempfile
from contextlib import suppress
from html import unescape
from io import BufferedIOBase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from tests.fakes.aws import client
from tests.fakes.loopback import Answer, hang_up, hang_up_in_the_body
from tests.functions.stack import (
    CLIENT_SECRET,
    RunningStack,
    body_of,
    changed,
    running_stack,
    signed,
    with_body,
)

Event = dict[str, Any]
OPEN_ID = "open-id-of-the-canary"


class Run:
    """One run through everything; ``canaries`` collects each secret as it comes to be."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.canaries: dict[str, list[str]] = {"client_secret": [CLIENT_SECRET]}
        self.dumps: list[str] = []
        self.account_id = ""

    def note(self, kind: str, value: str) -> str:
        self.canaries.setdefault(kind, []).append(value)
        return value

    def pair(self, **changes: Any) -> Answer:
        """TikTok's next pair."""
        access = self.note("access_token", f"act.{secrets.token_hex(20)}!01")
        refresh = self.note("refresh_token", f"rft.{secrets.token_hex(20)}*01")
        body = {
            "access_token": access,
            "refresh_token": refresh,
            "open_id": OPEN_ID,
            "expires_in": 7200,
            "refresh_expires_in": 15552000,
            "scope": "user.info.basic",
        }
        return Answer(body | changes)

    def play(self, *answers: Any) -> None:
        self.stack.tiktok.script.extend(answers)

    # -- the flows ------------------------------------------------------------------------------

    def create(self, end_user_id: str = "u_canary", **wishes: object) -> str:
        body = {"end_user_id": end_user_id, "return_url": "https://app.example.com/back"} | wishes
        made = self.stack.invoke("sessions", with_body("sessions-create", body) | self._key())
        return self.note("session_id", str(body_of(made)["id"]))

    @staticmethod
    def _key() -> Event:
        return {"headers": {"idempotency-key": secrets.token_hex(8)}}

    def start(self, session_id: str) -> tuple[str, list[str]]:
        """Press the button of the session's page; give the state and the browser's cookies."""
        parameters = {"pathParameters": {"id": session_id}, "rawPath": f"/connect/{session_id}"}
        page = self.stack.invoke("authorize", changed("authorize-connect-page", **parameters))
        cookies = [line.partition(";")[0] for line in page.get("cookies", [])]
        (target,) = re.findall(r'href="(/authorize[^"]*)"', page["body"])
        query = urlsplit(unescape(target)).query
        self.note("page_nonce", parse_qs(query)["n"][0].partition(".")[0])
        went = self.stack.invoke(
            "authorize",
            changed(
                "authorize-start",
                rawQueryString=query,
                cookies=cookies,
                headers={"sec-fetch-site": "same-origin"},
            ),
        )
        cookies += [line.partition(";")[0] for line in went["cookies"]]
        for cookie in cookies:
            self.note("cookie", cookie.partition("=")[2])
        state = parse_qs(urlsplit(went["headers"]["Location"]).query)["state"][0]
        self.note("state", state.partition(".")[2])
        return state, cookies

    def come_back(self, state: str, cookies: list[str], query: str = "") -> Event:
        code = self.note("code", f"{secrets.token_hex(20)}*1!4608.va")
        sent = query or f"code={quote(code)}&scopes=user.info.basic&state={state}"
        event = changed("callback-code", rawQueryString=sent, cookies=cookies)
        answer: Event = self.stack.invoke("callback", event)
        return answer

    def link(self, *answers: Any) -> Event:
        self.play(*(answers or (self.pair(), Answer(b"<html>", 500))))
        answer = self.come_back(*self.start(self.create()))
        self.stack.tiktok.script.clear()
        return answer

    def ask(self, name: str, **changes: Any) -> Event:
        function = name.partition("-")[0]
        event = changed(name, pathParameters={"id": self.account_id}, **changes)
        answer: Event = self.stack.invoke(function, event)
        return answer

    def vend(self, *answers: Any, hours: float = 0) -> Event:
        """Ask for a token after some hours, with TikTok answering so."""
        self.stack.clock.advance(hours=hours)
        self.play(*answers)
        answer = self.ask("tokens-vend")
        self.stack.tiktok.script.clear()
        return answer

    def rest(self) -> None:
        """Remember what lies at rest by now."""
        self.dumps.append(self.stack.dump())


def linking(run: Run) -> None:
    """A link, and every way in which one fails."""
    run.link()
    listed = run.stack.invoke("accounts", changed("accounts-list", rawQueryString=""))
    run.account_id = body_of(listed)["items"][0]["id"]
    run.rest()
    refused: list[Any] = [
        Answer({"error": "invalid_grant", "error_description": "canary"}),
        Answer({"error": "invalid_client"}, 401),
        Answer(b"<html>canary</html>", 502),
        run.pair(scope="video.list"),
        run.pair(refresh_token=None),
    ]
    for answer in refused:
        run.link(answer, Answer(b"", 500))
    for misbehaviour in (hang_up, hang_up_in_the_body):
        run.link(misbehaviour, misbehaviour)
    state, cookies = run.start(run.create())
    run.come_back(state, [])
    run.come_back(state, cookies)
    state, cookies = run.start(run.create())
    run.come_back(state, cookies, f"error=access_denied&error_description=canary&state={state}")
    run.come_back(state, cookies)
    run.come_back(state, cookies, f"code=a&code=b&state={state}")
    run.come_back(state + "x", cookies)
    state, cookies = run.start(run.create())
    run.stack.clock.advance(minutes=11)
    run.come_back(state, cookies)


def completing(run: Run) -> None:
    """Codes that wait for the product's login, released by the right user, a wrong one, late."""
    for user, minutes in (("u_canary", 0), ("u_attacker", 0), ("u_canary", 6)):
        for has_cookie in (True, False):
            session_id = run.create(completion="app")
            state, cookies = run.start(session_id)
            answer = run.come_back(state, cookies if has_cookie else [])
            own = [line.partition(";")[0] for line in answer.get("cookies", [])]
            for cookie in own:
                run.note("cookie", cookie.partition("=")[2])
            run.come_back(state, cookies if has_cookie else own)
            place = {"pathParameters": {"id": session_id}, "rawPath": f"/connect/{session_id}"}
            seen = changed("authorize-connect-page", **place, cookies=own or cookies)
            page = run.stack.invoke("authorize", seen)
            (code,) = re.findall(r"completion_code=([\w-]{43})", page["body"])
            run.note("completion_code", code)
            run.rest()
            run.stack.clock.advance(minutes=minutes)
            run.play(run.pair(), Answer(b"<html>", 500))
            body = {"completion_code": code, "end_user_id": user}
            path = {"pathParameters": {"id": session_id}}
            for _ in range(2):
                run.stack.invoke("callback", with_body("callback-complete", body) | path)
            run.stack.tiktok.script.clear()


def vending(run: Run) -> None:
    """Tokens handed out, renewed, and every way in which a renewal fails."""
    run.vend()
    run.vend(run.pair(), hours=2)
    run.vend(Answer({"error": "rate_limit_exceeded"}, 429, {"Retry-After": "1"}), hours=2)
    run.vend(Answer(b"<html>canary</html>", 502), hours=1)
    run.vend(run.pair(), hours=1)
    run.vend(hang_up, hang_up_in_the_body, hang_up, hours=3)
    run.vend(hours=1)
    run.vend(run.pair(open_id="somebody-else"), hours=1)
    run.vend(hours=1)
    run.vend(run.pair(), hours=1)
    run.vend(*[Answer({"error": "invalid_client"})] * 4, hours=3)
    run.vend(run.pair(expires_in="soon", refresh_expires_in=None), hours=1)
    run.ask("tokens-vend", body='{"required_scopes": ["video.publish"]}')
    run.ask("accounts-show")
    run.ask("accounts-change")
    run.ask("sessions-relink", **run._key())
    run.rest()


def renewing(run: Run) -> None:
    """The schedule, the queue, and a table that is gone once TikTok has answered."""
    run.stack.clock.advance(days=7)
    run.stack.invoke("refresh", {})
    for body in run.stack.messages("RenewalQueue"):
        run.play(run.pair())
        run.stack.invoke("refresh", {"Records": [{"messageId": "m", "body": body}]})
    run.stack.invoke("refresh", {"Records": [{"messageId": "m", "body": "canary"}]})
    run.rest()
    kept = run.stack.items()
    run.stack.clock.advance(days=7)
    fresh = run.pair()

    def answer_and_break(stream: BufferedIOBase) -> None:
        client("dynamodb").delete_table(TableName="AccountsTable")
        run.stack.clock.ticks_seconds = 6
        fresh(stream)

    run.play(answer_and_break)
    job = {"job": "renew", "grant": run.account_id[5:29], "min_ttl_seconds": 300}
    with suppress(Exception):  # whether it raises is for other tests; here its words count
        run.stack.invoke("refresh", job)
    run.stack.clock.ticks_seconds = 0
    parcels = run.stack.messages("RescueQueue")
    run.dumps.extend(parcels)
    for body in [*parcels, "canary"]:
        event = {"Records": [{"messageId": "m", "body": body}]}
        run.stack.invoke("rescue", event, milliseconds=5000)
    run.stack.create_tables()
    run.stack.put_back(kept)


def told_by_tiktok(run: Run) -> None:
    """Webhooks: a removal, its repeat, and everything that is no webhook of TikTok's."""
    kept = run.stack.items()
    run.stack.clock.advance(hours=1)
    told = {
        "client_key": "awlocaldefault",
        "event": "authorization.removed",
        "create_time": int(run.stack.clock.now.timestamp()),
        "user_openid": OPEN_ID,
        "content": '{"reason": 1 }',
    }
    made = with_body("webhook-removed", told)
    right = signed(made, at=run.stack.clock.now)
    run.note("signature", right["headers"]["tiktok-signature"].partition("s=")[2])
    wrong = signed(made, at=run.stack.clock.now, secret="guessed")
    other = signed(with_body("webhook-removed", told | {"event": "act.x"}), at=run.stack.clock.now)
    for event in (wrong, other, changed("webhook-removed", headers={"tiktok-signature": "t=1"})):
        run.stack.invoke("webhook", event)
    run.stack.clock.advance(minutes=10)
    run.stack.invoke("webhook", right)
    run.stack.invoke("webhook", right)
    run.vend()
    run.rest()
    run.stack.create_tables()
    run.stack.put_back(kept)


def breaking(run: Run) -> None:
    """Defects: tables that are gone, events that are none."""
    state, cookies = run.start(run.create())
    kept = run.stack.items()
    client("dynamodb").delete_table(TableName="SessionsTable")
    run.come_back(state, cookies)
    run.ask("sessions-show")
    with suppress(Exception):
        run.stack.invoke("refresh", {"job": "renew"})
    run.stack.create_tables()
    run.stack.put_back(kept)


def unlinking(run: Run) -> None:
    """The end, at the second attempt."""
    run.stack.clock.advance(hours=1)
    run.play(run.pair(), Answer(b"canary", 500))
    run.ask("unlink-account")
    run.stack.tiktok.script.clear()
    run.play(run.pair(), Answer({}), Answer({}))
    run.ask("unlink-account")
    run.vend()
    run.rest()


def main(file: Path) -> None:
    """Run everything, and write down the secrets and what lay at rest."""
    with running_stack() as stack:
        stack.reset(Path(tempfile.mkdtemp()))
        # As Lambda's runtime does at LogLevel DEBUG, before it imports a handler.
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
        logging.getLogger("moto").setLevel(logging.WARNING)
        run = Run(stack)
        for flow in (linking, completing, vending, renewing, told_by_tiktok, breaking, unlinking):
            logging.debug("flow %s", flow.__name__)  # shows that DEBUG is what is printed
            flow(run)
    known = {"canaries": run.canaries, "dumps": run.dumps}
    file.write_text(json.dumps(known), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
