"""A stack with people in it, served over TLS, and the requests that measured processes make.

People are led to where a measured request begins by the product's own handlers, in this process,
before the servers start.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import journey
from benchmarks.cost.operations import Stage, quiet
from benchmarks.renewal.aws import Schema
from benchmarks.renewal.servers import TIKTOK, Endpoints, serving
from benchmarks.renewal.setting import ROOT, Setting
from benchmarks.renewal.tiktok import CLIENT_KEY, CLIENT_SECRET, CODE
from local.tiktok.webhooks import body_of, removal, sign
from tiktok_linking.settings import NEEDS
from tiktok_linking.webhook import AUTHORIZATION_REMOVED

PEER_SESSIONS, PEER_ACCOUNTS, PEER_KEY = "PeerSessions", "PeerAccounts", "alias/peer"
PEER_ACCOUNT = "peer-account"
PEERS = ROOT / "benchmarks" / "peers"
PEER_PEOPLE = 400
"""The first half are sent to TikTok, the second half come back from there."""
FUNCTIONS = tuple(NEEDS)


@dataclass(frozen=True, slots=True)
class World:
    """What measured processes need to know."""

    setting: Setting
    endpoints: Endpoints
    folder: Path

    def variables(self, function: str) -> dict[str, str]:
        """The environment of one of our functions."""
        return dict(self.setting.functions[function]) | self._shared()

    def peers(self) -> dict[str, str]:
        """The environment of what we are compared with."""
        return self._shared() | {
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "example",
            "CLIENT_KEY": CLIENT_KEY,
            "CLIENT_SECRET": CLIENT_SECRET,
            "PEER_SESSIONS": PEER_SESSIONS,
            "PEER_ACCOUNTS": PEER_ACCOUNTS,
            "PEER_ACCOUNT": PEER_ACCOUNT,
            "PEER_KEY": PEER_KEY,
            "PEER_SECRET": self.setting.functions["callback"]["APP_SECRET_ARN"],
            "POWERTOOLS_SERVICE_NAME": "usual",
            "POWERTOOLS_METRICS_NAMESPACE": "Usual",
            # The tracer is switched off elsewhere; its daemon is not there to answer.
            "LAMBDA_TASK_ROOT": "/var/task",
            "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;"
            "Sampled=1",
            "SMALL_CA_FILE": str(self.folder / "authority.pem"),
        }

    def _shared(self) -> dict[str, str]:
        places = {
            f"AWS_ENDPOINT_URL_{_service_name(name)}": url
            for name, url in self.endpoints.urls.items()
            if name != TIKTOK
        }
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),  # nobody's ~/.aws
            "TMPDIR": str(self.folder),
            "AWS_EC2_METADATA_DISABLED": "true",
            "TIKTOK_API_BASE_URL": self.endpoints.urls[TIKTOK],
            **places,
        }


class People:
    """Requests by function, each of which can be made once; made before the servers start."""

    def __init__(self, setting: Setting, *, starting: int, returning: int, linked: int) -> None:
        """So many who are about to press the button, to come back, and to be linked already."""
        self.setting = setting
        self.stage = Stage(
            setting,
            more={
                PEER_SESSIONS: Schema(("pk",), {}),
                PEER_ACCOUNTS: Schema(("pk",), {}),
            },
        )
        self.stage.clock = datetime.now(UTC)
        self.stage.aws.weighs = False
        self._open_ids = iter(journey.open_ids(1_000_000, "b"))
        with quiet():
            presses = self._presses(starting + returning + linked)
            away = presses[starting:]
            theirs = self.new_open_ids(len(away))
            departed = self._departed(away, theirs)
            self._waiting = {"authorize": presses[:starting], "callback": departed[:returning]}
            self._accounts = self._linked(departed[returning:])
        self._open_id_of = dict(zip(self._accounts, theirs[returning:], strict=True))
        self._add_peers(PEER_PEOPLE)
        self._numbers = itertools.count()

    def first_event(self, function: str) -> Any:
        """The first request of a cold function: one that does what the function is for."""
        if function in self._waiting:
            return self._waiting[function].pop()
        # A user each, since a moment may pass between two renewals of one grant.
        number = self.number()
        account = self._accounts[number % len(self._accounts)]
        grant = account.removeprefix("acct_")[:24]
        events: dict[str, Any] = {
            "sessions": journey.begin(f"u_{number}"),
            "accounts": journey.read_event("accounts-show") | {"pathParameters": {"id": account}},
            "tokens": journey.vend(account),
            "refresh": {"job": "renew", "grant": grant, "min_ttl_seconds": 0, "rejected": True},
            "rescue": journey.read_event("rescue-renewed"),
            "remind": journey.read_event("remind-scheduled"),
            "publish": {"Records": journey.read_event("publish-streams")["Records"][:1]},
        }
        if function == "unlink":
            self._accounts.remove(account)
            return journey.read_event("unlink-account") | {"pathParameters": {"id": account}}
        if function == "webhook":
            self._accounts.remove(account)
            return _removal(self._open_id_of[account])
        return events[function]

    def number(self) -> int:
        """One that was not given before."""
        return next(self._numbers)

    def presses(self, count: int) -> list[Any]:
        """So many buttons to press, one after the other."""
        return [self._waiting["authorize"].pop() for _ in range(count)]

    def new_open_ids(self, count: int) -> list[str]:
        """People who have not been here."""
        return [next(self._open_ids) for _ in range(count)]

    @property
    def accounts(self) -> list[str]:
        """Accounts that are linked."""
        return list(self._accounts)

    def _presses(self, count: int) -> list[Any]:
        with self.stage.function("sessions"):
            begun = [
                journey.body_of(self.stage.invoke(journey.begin(f"u_{n}")), 201)["id"]
                for n in range(count)
            ]
        with self.stage.function("authorize"):
            return [journey.press(self.stage.invoke(journey.connect(one))) for one in begun]

    def _departed(self, presses: list[Any], open_ids: list[str]) -> list[Any]:
        with self.stage.function("authorize"):
            answers = [self.stage.invoke(event) for event in presses]
        return [journey.come_back(*each) for each in zip(answers, open_ids, strict=True)]

    def _linked(self, returns: list[Any]) -> list[str]:
        with self.stage.function("callback"):
            landed = [self.stage.invoke(event) for event in returns]
        sessions = [
            answer["headers"]["Location"].partition("link_session=")[2] for answer in landed
        ]
        with self.stage.function("sessions"):
            return [
                journey.body_of(self.stage.invoke(journey.show(one)))["account_id"]
                for one in sessions
            ]

    def _add_peers(self, count: int) -> None:
        aws = self.stage.aws
        for number in range(count):
            item = {
                "pk": {"S": f"peer-{number}"},
                "end_user_id": {"S": f"u_{number}"},
                "status": {"S": "pending"},
                "oauth_state": {"S": "state"},
            }
            aws.call("dynamodb.PutItem", {"TableName": PEER_SESSIONS, "Item": item})
        wanted = {"KeyId": PEER_KEY, "Plaintext": b"act.peer!" + b"x" * 91}
        sealed = aws.call("kms.Encrypt", wanted)["CiphertextBlob"]
        account = {
            "pk": {"S": PEER_ACCOUNT},
            "open_id": {"S": "-000peer"},
            "expires_in": {"N": "7200"},
            "access_token": {"B": sealed},
        }
        aws.call("dynamodb.PutItem", {"TableName": PEER_ACCOUNTS, "Item": account})


def peer_event(function: str, number: int, open_id: str) -> Any:
    """The same requests for the usual stack and for the floor."""
    if function == "authorize":
        query = {"session": f"peer-{number % (PEER_PEOPLE // 2)}"}
    elif function == "callback":
        query = {
            "code": CODE + open_id,
            "state": f"peer-{number % (PEER_PEOPLE // 2) + PEER_PEOPLE // 2}.state",
        }
    else:
        return journey.vend("acct_peer") | {"rawPath": "/v1/accounts/acct_peer/token"}
    name = {"authorize": "authorize-start", "callback": "callback-code"}[function]
    raw = "&".join(f"{key}={value}" for key, value in query.items())
    return journey.read_event(name) | {"rawQueryString": raw, "queryStringParameters": query}


def _removal(open_id: str) -> Any:
    """TikTok's word, signed, that this person has removed the app."""
    event = journey.read_event("webhook-removed")
    now = datetime.now(UTC)
    body = body_of(CLIENT_KEY, AUTHORIZATION_REMOVED, now, open_id, removal(1))
    headers = event["headers"] | {
        "content-length": str(len(body)),
        "tiktok-signature": sign(CLIENT_SECRET, int(now.timestamp()), body),
    }
    return event | {"body": body.decode(), "headers": headers}


@contextmanager
def world(people: People, folder: Path) -> Iterator[World]:
    """Serve these people's stack until the end of the block."""
    with serving(
        people.stage.aws, people.stage.tiktok, folder, tiktok_seconds=0, aws_seconds=0
    ) as endpoints:
        yield World(people.setting, endpoints, folder)


def good(answer: Any) -> bool:
    """Whether a handler's answer is one that it gives when all went well."""
    if not isinstance(answer, Mapping):
        return answer is None
    if "statusCode" in answer:
        return int(answer["statusCode"]) < 400
    if "outcome" in answer:
        return answer["outcome"] in ("renewed", "fresh")
    return not answer.get("batchItemFailures")


def _service_name(name: str) -> str:
    return {"secretsmanager": "SECRETS_MANAGER", "events": "EVENTBRIDGE"}.get(name, name.upper())
