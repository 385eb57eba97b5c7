"""Drives every flow and every failure at LOG_LEVEL=DEBUG, with secrets that can be searched for.

A program of its own, so that its output is all that the functions, the libraries below them and
Python itself print. It writes what it knows and what it heard into the file that it is given::

    python -m tests.functions.canary FILE
"""

from __future__ import annotations

import base64
import dataclasses
import gc
import json
import logging
import os
import re
import secrets
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from html import unescape
from io import BufferedIOBase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from tests.fakes.aws import client
from tests.fakes.loopback import Answer, Loopback, hang_up, hang_up_in_the_body, loopback
from tests.functions.stack import (
    TABLES,
    RunningStack,
    body_of,
    changed,
    running_stack,
    signed,
    with_body,
)

Event = dict[str, Any]
OPEN_ID = "open-id-of-the-canary"
OF_THE_CANARY = {"end_user_id": "u_canary"}
OURS = ("tiktok_linking", "functions")
# User text that would make a second record of its own, if it were printed as it is.
FORGED = 'Ada\r\n{"level": "ERROR", "message": "forged"}'
QUEUES = tuple(
    f"{what}{kind}"
    for what in ("Renewal", "Revocation", "Rescue")
    for kind in ("Queue", "DeadLetterQueue")
)


def made_up(kind: str) -> str:
    """A secret that each way of quoting spells differently."""
    return f'{kind}{secrets.token_hex(8)}!*+/="{secrets.token_hex(8)}'


class Run:
    """One run through everything: ``canaries`` has each secret as it came to be, ``heard`` all
    that anybody was told, by the place at which it was told."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.canaries: dict[str, list[str]] = {}
        self.heard: dict[str, list[str]] = {}
        self.reprs: set[str] = set()
        self.flow = ""
        self.account_id = ""
        self._looked: set[tuple[str, str]] = set()
        self._kinds: dict[type, bool] = {}
        stack.witness = self._witness

    def note(self, kind: str, value: str) -> str:
        known = self.canaries.setdefault(kind, [])
        if value not in known:
            known.append(value)
        return value

    def hear(self, place: str, *texts: object) -> None:
        self.heard.setdefault(place, []).extend(str(text) for text in texts)

    def _witness(self, function: str, event: Event, ending: object) -> None:
        """Write down what whoever called is told, and what Lambda would print or pass on."""
        if isinstance(ending, Exception):
            self.hear(f"error of {function}", *told_by(ending))
        elif isinstance(ending, dict) and "statusCode" in ending:
            route = event["routeKey"]
            headers = dict(ending["headers"])
            self.hear(f"{route} Location", headers.pop("Location", ""))
            self.hear(f"{route} headers", headers)
            self.hear(f"{route} cookies", ending.get("cookies", []))
            self.hear(f"{route} body", ending["body"])
        else:
            self.hear(f"result of {function}", ending)
        if "routeKey" not in event:
            self.hear(f"event of {function}", json.dumps(event))

    def look(self) -> None:
        """See how our dataclasses look that are in memory while TikTok is being asked."""
        here = (self.flow, self.stack.tiktok.received[-1].target.partition("?")[0])
        if here in self._looked:
            return
        self._looked.add(here)
        for one in gc.get_objects():
            if self._is_of_ours(type(one)):
                self.reprs.add(type(one).__qualname__)
                self.hear("reprs", repr(one), str(one))

    def _is_of_ours(self, kind: type) -> bool:
        """Whether its instances may hold what their repr must not say."""
        if kind not in self._kinds:  # there are many more objects than classes
            module = str(kind.__module__)
            self._kinds[kind] = dataclasses.is_dataclass(kind) and module.startswith(OURS)
        return self._kinds[kind]

    # -- TikTok's answers -----------------------------------------------------------------------

    def pair(self, **changes: Any) -> Answer:
        """TikTok's next pair."""
        body = {
            "access_token": self.note("access_token", made_up("act.")),
            "refresh_token": self.note("refresh_token", made_up("rft.")),
            "open_id": OPEN_ID,
            "expires_in": 7200,
            "refresh_expires_in": 15552000,
            "scope": "user.info.basic",
        }
        return Answer(body | changes)

    def refusal(self, word: str, status: int = 200) -> Callable[[BufferedIOBase], None]:
        """An error of TikTok's that quotes all that it was sent."""

        def answer(stream: BufferedIOBase) -> None:
            sent = self.stack.tiktok.received[-1].body.decode()
            told = {"error": word, "error_description": sent, "log_id": sent, "message": sent}
            Answer(told, status, {"X-Tt-Logid": sent, "Retry-After": sent})(stream)

        return answer

    def play(self, *answers: Any) -> None:
        def looking(answer: Answer) -> Callable[[BufferedIOBase], None]:
            def look_and_answer(stream: BufferedIOBase) -> None:
                self.look()
                answer(stream)

            return look_and_answer

        self.stack.tiktok.script.extend(
            looking(one) if isinstance(one, Answer) else one for one in answers
        )

    # -- the flows' parts -----------------------------------------------------------------------

    def create(self, end_user_id: str = "u_canary", **wishes: object) -> str:
        body = {"end_user_id": end_user_id, "return_url": "https://app.example.com/back"} | wishes
        made = self.stack.invoke("sessions", with_body("sessions-create", body) | self._key())
        return self.note("session_id", str(body_of(made)["id"]))

    @staticmethod
    def _key() -> Event:
        return {"headers": {"idempotency-key": secrets.token_hex(8)}}

    def page(self, session_id: str, cookies: list[str] | None = None) -> Event:
        place = {"pathParameters": {"id": session_id}, "rawPath": f"/connect/{session_id}"}
        seen = changed("authorize-connect-page", **place, cookies=cookies or [])
        return self._with_cookies(self.stack.invoke("authorize", seen))

    def _with_cookies(self, answer: Event) -> Event:
        for line in answer.get("cookies", []):
            name, _, value = line.partition(";")[0].partition("=")
            self.note("page_cookie" if name == "__Host-tlpage" else "cookie", value)
        return answer

    def start(self, session_id: str) -> tuple[str, list[str]]:
        """Press the button of the session's page; give the state and the browser's cookies."""
        page = self.page(session_id)
        cookies = own_cookies(page)
        (target,) = re.findall(r'href="(/authorize[^"]*)"', page["body"])
        query = urlsplit(unescape(target)).query
        self.note("page_nonce", parse_qs(query)["n"][0].partition(".")[0])
        away = {"rawQueryString": query, "headers": {"sec-fetch-site": "same-origin"}}
        self.stack.invoke("authorize", changed("authorize-start", **away))  # not our page's browser
        went = self.stack.invoke("authorize", changed("authorize-start", cookies=cookies, **away))
        cookies += own_cookies(self._with_cookies(went))
        state = parse_qs(urlsplit(went["headers"]["Location"]).query)["state"][0]
        self.note("state", state.partition(".")[2])
        return state, cookies

    def come_back(self, state: str, cookies: list[str], query: str = "") -> Event:
        code = self.note("code", made_up("code"))
        sent = query or f"code={quote(code)}&scopes=user.info.basic&state={state}"
        event = changed("callback-code", rawQueryString=sent, cookies=cookies)
        return self._with_cookies(self.stack.invoke("callback", event))

    def link(self, *answers: Any, session_id: str = "") -> Event:
        self.stack.clock.advance(seconds=1)  # of two links, one is the newer
        self.play(*(answers or (self.pair(), Answer(b"<html>", 500))))
        answer = self.come_back(*self.start(session_id or self.create()))
        self.stack.tiktok.script.clear()
        return answer

    def ask(self, name: str, **changes: Any) -> Event:
        function = name.partition("-")[0]
        event = changed(name, pathParameters={"id": self.account_id}, **changes)
        answer: Event = self.stack.invoke(function, event)
        return answer

    def vend(self, *answers: Any, hours: float = 0, **wishes: object) -> Event:
        """Ask for a token after some hours, with TikTok answering so."""
        self.stack.clock.advance(hours=hours)
        self.play(*answers)
        answer = self.ask("tokens-vend", **({"body": json.dumps(wishes)} if wishes else {}))
        self.stack.tiktok.script.clear()
        return answer

    def unlink(self, *answers: Any) -> Event:
        self.play(*answers)
        answer = self.ask("unlink-account")
        self.stack.tiktok.script.clear()
        return answer

    def finish_unlinks(self, *answers: Any) -> None:
        """What the queue brings of unlinks that may not have ended."""
        for body in self.stack.messages("RevocationQueue"):
            self.hear("queue RevocationQueue", body)
            self.play(*answers)
            self.stack.invoke("unlink", {"Records": [{"messageId": "m", "body": body}]})
            self.stack.tiktok.script.clear()

    def run_schedule(self, *answers: Any) -> None:
        """A plan, its batch, and what TikTok answers to it."""
        with suppress(Exception):  # whether it raises is for other tests; here its words count
            self.stack.invoke("refresh", {})
        for body in self.stack.messages("RenewalQueue"):
            self.play(*answers)
            with suppress(Exception):
                self.stack.invoke("refresh", {"Records": [{"messageId": "m", "body": body}]})
            self.stack.tiktok.script.clear()

    def rest(self, *tables: str) -> None:
        """Write down what lies at rest by now."""
        for table in ("AccountsTable", *tables):
            with suppress(client("dynamodb").exceptions.ResourceNotFoundException):
                (items,) = self.stack.items(table).values()
                self.hear(f"table {table}", items, json.dumps(items, default=bytes.hex))
                self.hear("events", [item["ev"] for item in items if "ev" in item])
        for queue in QUEUES:
            self.hear(f"queue {queue}", *self.stack.messages(queue))
        for file in Path(tempfile.gettempdir()).glob("journal/*"):
            self.hear("journal", file.name, file.read_text())

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Whatever becomes of the accounts, they are as before at the end."""
        items = self.stack.items("AccountsTable")
        yield
        self.rest()
        self.stack.create_tables("AccountsTable")
        self.stack.put_back(items)

    def losing_table(self, answer: Answer) -> Callable[[BufferedIOBase], None]:
        """TikTok's answer, and the table that it is to be saved in is gone until time is up."""

        def answer_and_break(stream: BufferedIOBase) -> None:
            self.look()
            client("dynamodb").delete_table(TableName="AccountsTable")
            self.stack.clock.ticks_seconds = 6
            answer(stream)

        return answer_and_break

    @contextmanager
    def away(self, service: str, misbehaviour: Any = None) -> Iterator[None]:
        """A service of AWS refuses all, quoting what it was sent, or does what is given."""
        name = f"AWS_ENDPOINT_URL_{service}"
        with loopback() as server:
            server.otherwise = misbehaviour or quoting(server)
            os.environ[name] = server.url
            self.stack.restart()
            yield
            del os.environ[name]
            self.stack.restart()


def quoting(server: Loopback) -> Callable[[BufferedIOBase], None]:
    """An error of AWS that quotes the request."""

    def answer(stream: BufferedIOBase) -> None:
        sent = server.received[-1].body.decode(errors="replace")
        error = {"__type": "ValidationException", "message": f"not valid: {sent}"}
        Answer(error, 400, {"x-amzn-RequestId": "r"})(stream)

    return answer


def told_by(error: BaseException) -> list[str]:
    """All that an exception says to whoever prints it, causes and contexts included."""
    return [str(error), repr(error), repr(error.args), *traceback.format_exception(error)]


def own_cookies(answer: Event) -> list[str]:
    """An answer's cookies, as the browser sends them back."""
    return [line.partition(";")[0] for line in answer.get("cookies", [])]


# -- the flows -----------------------------------------------------------------------------------


def linking(run: Run) -> None:
    """A link, and every way in which one ends otherwise."""
    run.link()
    listed = run.stack.invoke("accounts", changed("accounts-list", rawQueryString=""))
    run.account_id = body_of(listed)["items"][0]["id"]
    profile = {"display_name": FORGED, "avatar_url": "https://example.com/\r\nx", "union_id": "u"}
    run.link(run.pair(), Answer({"data": {"user": profile}, "error": {"code": "ok"}}))
    run.rest()
    answers: list[Any] = [
        run.refusal("invalid_grant"),
        run.refusal("invalid_client", 401),
        run.refusal("invalid_request"),
        run.refusal("rate_limit_exceeded", 429),
        run.refusal("no_such_word"),
        run.refusal("server_error", 500),
        Answer(b"<html>canary</html>", 502),
        Answer(b"", 307, {"Location": "http://127.0.0.1:1/elsewhere"}),
        Answer(b"{", 200),
        run.pair(scope="video.list"),
        run.pair(refresh_token=None),
    ]
    for answer in answers:
        run.link(answer, *[run.refusal("invalid_client")] * 3)
    for misbehaviour in (hang_up, hang_up_in_the_body):
        run.link(misbehaviour, misbehaviour)


def coming_back(run: Run) -> None:
    """Callbacks that nothing is exchanged for."""
    state, cookies = run.start(run.create())
    run.come_back(state, [])
    run.come_back(state, cookies)
    run.come_back(state, [])
    for said in ("access_denied", "access_denied&error_type=scope", "unauthorized_client", "%0aX"):
        state, cookies = run.start(run.create())
        error = f"error={said}&error_description={quote(FORGED)}&state={state}"
        run.come_back(state, cookies, error)
        run.come_back(state, cookies)
    run.come_back(state, cookies, f"code=a&code=b&state={state}")
    run.come_back(state + "x", cookies)
    session_id = run.create()
    state, cookies = run.start(session_id)
    run.stack.clock.advance(minutes=11)
    run.come_back(state, cookies)
    place = {"pathParameters": {"id": session_id}}
    run.stack.invoke("authorize", changed("authorize-status", **place))
    run.stack.invoke("sessions", changed("sessions-show", **place))
    run.stack.invoke("sessions", changed("sessions-cancel", **place))
    run.page(session_id, cookies)
    run.stack.clock.advance(hours=1)
    run.page(session_id, cookies)


def completing(run: Run) -> None:
    """Codes that wait for the product's login, released by the right user, a wrong one, late."""
    for user, minutes in (("u_canary", 0), ("u_attacker", 0), ("u_canary", 6)):
        for has_cookie in (True, False):
            session_id = run.create(completion="app")
            state, cookies = run.start(session_id)
            answer = run.come_back(state, cookies if has_cookie else [])
            own = own_cookies(answer)
            run.come_back(state, cookies if has_cookie else own)
            page = run.page(session_id, own or cookies)
            (code,) = re.findall(r"completion_code=([\w-]{43})", page["body"])
            run.note("completion_code", code)
            if user != "u_attacker" and not minutes:
                run.rest("SessionsTable")
            run.stack.clock.advance(minutes=minutes)
            run.play(run.pair(), Answer(b"<html>", 500))
            body = {"completion_code": code, "end_user_id": user}
            path = {"pathParameters": {"id": session_id}}
            for _ in range(2):
                run.stack.invoke("callback", with_body("callback-complete", body) | path)
            run.stack.tiktok.script.clear()


def relinking(run: Run) -> None:
    """The same account again, and somebody else's."""
    for changes in ({}, {"open_id": "somebody-elses"}, {"scope": "video.list"}):
        answer = body_of(run.ask("sessions-relink", **run._key()))
        session_id = run.note("session_id", answer["id"])
        run.link(run.pair(**changes), Answer(b"<html>", 500), session_id=session_id)
    run.rest()


def vending(run: Run) -> None:
    """Tokens handed out, renewed, and every way in which a renewal fails."""
    run.vend()
    run.vend(purpose=FORGED)
    run.vend(purpose='x", "message": "forged')
    run.vend(run.pair(), hours=2)
    run.vend(run.pair(), hours=1, rejected=True)
    run.vend(run.refusal("rate_limit_exceeded", 429), hours=2)
    run.vend(run.refusal("server_error", 500), hours=1)
    run.vend(run.refusal("no_such_word"), hours=1)
    run.vend(run.refusal("invalid_request"), hours=1)
    run.vend(Answer(b"<html>canary</html>", 502), hours=1)
    run.vend(Answer(b"{", 200), hours=1)
    run.vend(run.pair(), hours=1)
    run.vend(hang_up, hang_up_in_the_body, hang_up, hours=3)
    run.vend(hours=1)
    run.vend(run.pair(open_id="somebody-else"), hours=1)
    run.vend(hours=1)
    run.vend(run.pair(), hours=1)
    run.vend(*[run.refusal("invalid_client", 401)] * 4, hours=3)
    run.vend(run.pair(expires_in="soon", refresh_expires_in=None), hours=1)
    run.ask("tokens-vend", body='{"required_scopes": ["video.publish"]}')
    run.ask("tokens-vend", body='{"act.x": "\r\n')
    run.ask("accounts-show")
    run.ask("accounts-change")
    with run.kept():
        run.vend(run.refusal("invalid_grant"), hours=3)
        run.vend()


def renewing(run: Run) -> None:
    """The schedule, the queue, and a table that is gone once TikTok has answered."""
    for answer in (run.refusal("invalid_client"), run.refusal("server_error", 503), run.pair()):
        run.stack.clock.advance(days=7)
        run.run_schedule(*[answer] * 4)
        run.rest()
    for body in ("canary", FORGED):
        run.stack.invoke("refresh", {"Records": [{"messageId": "m", "body": body}]})
    job = {"job": "renew", "grant": run.account_id[5:29], "min_ttl_seconds": 300}
    for is_queue_there in (True, False):
        run.stack.clock.advance(days=7)
        with run.kept(), nullcontext() if is_queue_there else run.away("SQS"):
            run.play(run.losing_table(run.pair()))
            with suppress(Exception):
                run.stack.invoke("refresh", job)
            run.stack.clock.ticks_seconds = 0
            run.rest()
            if is_queue_there:
                rescue(run)
            run.stack.create_tables("AccountsTable")


def rescue(run: Run) -> None:
    """What lies in the rescue queue: tried in vain, moved to the dead letters, landed."""
    parcels = run.stack.messages("RescueQueue")
    for body in [*parcels, "canary", FORGED]:
        event = {"Records": [{"messageId": "m", "body": body}]}
        run.stack.invoke("rescue", event, milliseconds=5000)
    url = run.stack.physical_ids["RescueQueue"]
    dead = client("sqs").get_queue_attributes(
        QueueUrl=run.stack.physical_ids["RescueDeadLetterQueue"], AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": "1"})
    client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
    run.stack.messages("RescueQueue")
    run.stack.messages("RescueQueue")
    client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": ""})
    if parcels:
        assert run.stack.messages("RescueDeadLetterQueue")


def saving_links(run: Run) -> None:
    """A link whose table is gone once TikTok has answered: the rescue queue has it, or a file."""
    for is_queue_there in (True, False):
        with run.kept():
            with nullcontext() if is_queue_there else run.away("SQS"):
                run.link(run.losing_table(run.pair()))
            run.stack.clock.ticks_seconds = 0
            run.rest()
            parcels = run.stack.messages("RescueQueue")
            rescue(run)
            run.stack.create_tables("AccountsTable")
            for body in parcels:
                run.stack.invoke("rescue", {"Records": [{"messageId": "m", "body": body}]})
            run.link()  # in the same environment: what the last one left comes first


def told_by_tiktok(run: Run) -> None:
    """Webhooks: a removal, its repeat, and everything that is no webhook of TikTok's."""
    with run.kept():
        run.stack.clock.advance(hours=1)
        told = {
            "client_key": "awlocaldefault",
            "event": "authorization.removed",
            "create_time": int(run.stack.clock.now.timestamp()),
            "user_openid": OPEN_ID,
            "content": '{"reason": 1 }',
        }
        current, previous, pending = run.canaries["client_secret"]
        for number, secret in enumerate((current, previous, pending, "guessed")):
            other = with_body("webhook-removed", told | {"event": f"act.{FORGED}", "n": number})
            event = signed(other, at=run.stack.clock.now, secret=secret)
            run.note("signature", event["headers"]["tiktok-signature"].partition("s=")[2])
            run.stack.invoke("webhook", event)
            late = signed(other, at=run.stack.clock.now.replace(year=2020), secret=secret)
            run.stack.invoke("webhook", late)
        run.stack.invoke("webhook", changed("webhook-removed", headers={"tiktok-signature": "t=1"}))
        made = with_body("webhook-removed", told)
        right = signed(made, at=run.stack.clock.now, secret=current)
        run.note("signature", right["headers"]["tiktok-signature"].partition("s=")[2])
        run.stack.clock.advance(minutes=10)
        with run.away("DYNAMODB"):
            run.stack.invoke("webhook", right)
        run.stack.invoke("webhook", right)
        run.stack.invoke("webhook", right)
        run.vend()


def losing_aws(run: Run) -> None:
    """Each service away, for each flow that needs it."""
    for service in ("DYNAMODB", "KMS", "SECRETS_MANAGER"):
        run.stack.clock.advance(days=7)
        state, cookies = run.start(run.create())
        waiting = run.create(completion="app")
        parked, others = run.start(waiting)
        run.come_back(parked, others)
        page = run.page(waiting, others)
        (code,) = re.findall(r"completion_code=([\w-]{43})", page["body"])
        body = {"completion_code": run.note("completion_code", code), "end_user_id": "u_canary"}
        with run.kept(), run.away(service):
            run.come_back(state, cookies)
            complete = with_body("callback-complete", body)
            run.stack.invoke("callback", complete | {"pathParameters": {"id": waiting}})
            run.vend(run.pair())
            run.run_schedule(run.pair())
            run.unlink(Answer({}))
            run.ask("accounts-show")
            run.ask("sessions-relink", **run._key())
    with run.away("DYNAMODB", hang_up):
        run.vend(run.pair())
        run.come_back(*parked_state(run))
    with run.away("SQS"):
        run.run_schedule(run.pair())


def parked_state(run: Run) -> tuple[str, list[str]]:
    """A state and a cookie that are well formed, for a table that cannot be asked."""
    state = run.note("state", secrets.token_urlsafe(32))
    cookie = run.note("cookie", secrets.token_urlsafe(32))
    return f"{secrets.token_urlsafe(16)[:22]}.{state}", [f"__Host-ttl_12ab34cd={cookie}"]


def breaking(run: Run) -> None:
    """Defects: records that make no sense, events that are none, an answer with a line break."""
    session_id = run.create()
    state, cookies = run.start(session_id)
    with run.kept():
        for table in TABLES:
            for item in run.stack.items(table)[table][:20]:
                if not item["pk"]["S"].startswith("key#"):
                    item |= {"ex": {"S": "act.x"}, "ai": {"S": "act.x"}, "st": {"N": "1"}}
                    client("dynamodb").put_item(TableName=table, Item=item)
        run.come_back(state, cookies)
        run.page(session_id, cookies)
        run.stack.clock.advance(days=7)
        run.vend(run.pair())
        run.unlink(run.pair())
        run.run_schedule(run.pair())
        place = {"pathParameters": {"id": session_id}}
        run.stack.invoke("sessions", changed("sessions-show", **place))
    with run.kept():
        for item in run.stack.items("AccountsTable")["AccountsTable"]:
            for name in ("a", "f"):
                if name in item:
                    item[name] = {"B": item[name]["B"][:-1] + b"\0"}
            client("dynamodb").put_item(TableName="AccountsTable", Item=item)
        run.vend(hours=0)
        run.vend(run.pair(), hours=3)
        run.run_schedule(run.pair())
    event = changed("callback-code", cookies=cookies, headers="act.x")
    run.stack.invoke("callback", event)
    run.stack.invoke("tokens", changed("tokens-vend", pathParameters={"id": 7}, cookies=7))
    malformed: tuple[Event, ...] = ({"job": "renew"}, {"Records": [{}]})
    for broken in malformed:
        with suppress(Exception):
            run.stack.invoke("refresh", broken)
    with suppress(Exception):
        run.stack.invoke("rescue", {"Records": [{"messageId": "m"}]})


def unlinking(run: Run) -> None:
    """The end, at the last attempt."""
    run.link()
    run.stack.clock.advance(hours=1)
    for answer in (
        run.refusal("server_error", 500),
        run.refusal("invalid_client", 401),
        hang_up,
        Answer(b"<html>", 502),
    ):
        run.unlink(answer, *[run.refusal("invalid_client", 401)] * 3)
    run.finish_unlinks(run.refusal("server_error", 500))
    run.stack.clock.advance(hours=3)
    run.run_schedule()  # which finds it again
    with run.away("DYNAMODB"):
        run.finish_unlinks()
    run.unlink(run.pair(), Answer({}), Answer({}))
    run.vend()
    run.stack.invoke("unlink", changed("unlink-end-user", pathParameters=OF_THE_CANARY))
    run.rest()


FLOWS = (
    linking,
    coming_back,
    completing,
    relinking,
    vending,
    renewing,
    saving_links,
    told_by_tiktok,
    losing_aws,
    breaking,
    unlinking,
)


def listen_for_exceptions(run: Run) -> None:
    """Hear every exception of ours, whether or not somebody catches it."""
    if sys.version_info >= (3, 12):

        def raised(code: Any, offset: int, error: BaseException) -> None:
            if type(error).__module__.startswith(OURS):
                run.hear("exceptions", str(error), repr(error))

        sys.monitoring.use_tool_id(sys.monitoring.DEBUGGER_ID, "canary")
        sys.monitoring.register_callback(
            sys.monitoring.DEBUGGER_ID, sys.monitoring.events.RAISE, raised
        )
        sys.monitoring.set_events(sys.monitoring.DEBUGGER_ID, sys.monitoring.events.RAISE)


def note_data_keys(run: Run) -> None:
    """The data keys themselves, which KMS alone may say."""
    for item in run.stack.items("AccountsTable")["AccountsTable"]:
        purpose = item["pk"]["S"].partition("#")[2]
        if item["pk"]["S"].startswith("key#"):
            context = {
                "service": "tiktok-link",
                "purpose": purpose,
                "epoch": str(int(item["sk"]["S"])),
            }
            opened = client("kms").decrypt(CiphertextBlob=item["w"]["B"], EncryptionContext=context)
            key = bytes(opened["Plaintext"])
            run.note("data_key", key.hex())
            run.note("data_key", base64.b64encode(key).decode())


def hear_tiktok(run: Run) -> None:
    """What TikTok was sent, by where it stood."""
    for request in run.stack.tiktok.received:
        name = f"TikTok {request.method} {urlsplit(request.target).path}"
        self_contained = {k: v for k, v in request.headers.items() if k != "authorization"}
        run.hear(f"{name} target", request.target)
        run.hear(f"{name} headers", self_contained)
        run.hear(f"{name} authorization", request.headers.get("authorization", ""))
        run.hear(f"{name} body", request.body.decode())


def main(file: Path) -> None:
    """Run everything, and write down the secrets and all that was heard."""
    with running_stack() as stack:
        stack.reset(Path(tempfile.mkdtemp()))
        run = Run(stack)
        known = {kind: run.note("client_secret", made_up(kind)) for kind in _SECRET_FIELDS}
        client("secretsmanager").put_secret_value(
            SecretId=stack.physical_ids["AppSecret"], SecretString=json.dumps({"default": known})
        )
        # As Lambda's runtime does at LogLevel DEBUG, before it imports a handler; and as somebody
        # does who wants to know everything.
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
        for name in ("botocore", "botocore.endpoint", "botocore.parsers", "urllib3"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger("urllib3.connectionpool").setLevel(logging.DEBUG)
        logging.getLogger("moto").setLevel(logging.WARNING)
        listen_for_exceptions(run)
        for flow in FLOWS:
            run.flow = flow.__name__
            logging.debug("flow %s", flow.__name__)  # shows that DEBUG is what is printed
            flow(run)
        run.rest("SessionsTable")
        note_data_keys(run)
        hear_tiktok(run)
        for name, variables in stack.variables().items():
            run.hear(f"environment of {name}", variables)
    told = {"canaries": run.canaries, "heard": run.heard, "reprs": sorted(run.reprs)}
    file.write_text(json.dumps(told), encoding="utf-8")


_SECRET_FIELDS = ("current", "previous", "pending")

if __name__ == "__main__":
    main(Path(sys.argv[1]))
