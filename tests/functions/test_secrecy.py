"""No secret in anything that is printed, answered, raised or lies at rest, at DEBUG."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.fakes.aws import ROOT
from tests.functions.net import Net, half_of

# Kind of secret → every place where it may stand, which are also the places where it must.
MAY_STAND = {
    # The one answer that hands out a token; and TikTok, which made it.
    "access_token": {
        "POST /v1/accounts/{id}/token body",
        "TikTok GET /v2/user/info/ authorization",
        "TikTok POST /v2/oauth/revoke/ body",
    },
    "refresh_token": {"TikTok POST /v2/oauth/token/ body"},
    "code": {"TikTok POST /v2/oauth/token/ body"},
    "client_secret": {"TikTok POST /v2/oauth/token/ body", "TikTok POST /v2/oauth/revoke/ body"},
    # The way to TikTok.
    "state": {"GET /authorize Location"},
    # Cookies, each in the answer that sets it.
    "cookie": {"GET /authorize cookies", "GET /callback cookies"},
    "page_cookie": {"GET /connect/{id} cookies"},
    # The one redirect to the team's product, and the button that stands for it.
    "completion_code": {"GET /callback Location", "GET /connect/{id} body"},
    # A session's id opens its page: its team is told it, its browsers go by it, its row has it.
    "session_id": {
        "POST /v1/link-sessions body",
        "GET /v1/link-sessions/{id} body",
        "DELETE /v1/link-sessions/{id} body",
        "POST /v1/accounts/{id}/relink body",
        "GET /connect/{id} body",
        "GET /authorize Location",
        "GET /callback Location",
        "table SessionsTable",
    },
    "page_nonce": {"GET /connect/{id} body", "table SessionsTable"},
    "signature": set[str](),
    "data_key": set[str](),
}
# Without these something was not driven, and a search would find nothing for that reason.
SAID = {
    "app registration refused",
    "callback of a used attempt",
    "callback refused",
    "callback without its cookie",
    "completed by another user",
    "exchange failed",
    "grant quarantined",
    "grant revoked",
    "leftovers landed",
    "linking handed to rescue",
    "not through our page",
    "pair not rescued",
    "pair rescued",
    "refused pair not revoked",
    "relink required",
    "renewal failed",
    "renewal interrupted",
    "renewal postponed",
    "renewals paused",
    "renewed pair is in the journal alone",
    "revocation pending",
    "token vended",
    "unexpected error",
    "unlink looked at again",
    "unlink not finished",
    "webhook ignored",
    "webhook refused",
    "webhook signed at another time",
}
WHY = {
    "foreign_open_id",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "kms ValidationException",
    "no_answer",
    "rate_limit_exceeded",
    "secret ValidationException",
    "server_error",
    "unknown_error",
    "unreadable_answer",
}
SEARCHED = {
    "environment of RefreshFunction",
    "error of refresh",
    "event of refresh",
    "events",
    "exceptions",
    "journal",
    "output",
    "queue RenewalQueue",
    "queue RescueDeadLetterQueue",
    "queue RescueQueue",
    "queue RevocationQueue",
    "reprs",
    "result of rescue",
    "table AccountsTable",
    "table SessionsTable",
}
# Dataclasses that hold a secret, or bytes that are one, while TikTok is being asked.
IN_MEMORY = {
    "Answer",
    "Attempt",
    "ClientCredentials",
    "CompletionRequest",
    "Envelope",
    "LinkSession",
    "Pages",
    "Request",
    "SealedPair",
    "State",
    "TokenAnswer",
    "_DataKey",
    "_Sealer",
}


@dataclass(frozen=True)
class Ran:
    """What one run of the canary printed, knew and heard."""

    printed: str
    canaries: dict[str, list[str]]
    heard: dict[str, str]
    reprs: set[str]

    @property
    def net(self) -> Net:
        return Net(self.canaries)

    def places(self) -> dict[str, set[str]]:
        """Where each kind of secret stands."""
        found: dict[str, set[str]] = {kind: set() for kind in self.canaries}
        net = self.net
        for place, text in self.heard.items():
            for kind in net.caught(text):
                found[kind].add(place)
        return found

    def records(self) -> list[dict[str, object]]:
        """The records of the functions; metrics are lines of their own kind."""
        lines = [line for line in self.printed.splitlines() if line.startswith("{")]
        return [record for line in lines if "_aws" not in (record := json.loads(line))]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Every flow and every failure, in a process of their own."""
    file = tmp_path_factory.mktemp("canary") / "known.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.functions.canary", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    known = json.loads(file.read_text(encoding="utf-8"))
    printed = done.stdout + done.stderr
    heard = {place: "\n".join(texts) for place, texts in known["heard"].items()}
    return Ran(printed, known["canaries"], heard | {"output": printed}, set(known["reprs"]))


def test_every_kind_of_secret_was_there(ran: Ran) -> None:
    kinds = {kind: len(values) for kind, values in ran.canaries.items()}

    assert kinds.keys() == MAY_STAND.keys()
    assert kinds["client_secret"] == 3
    assert min(kinds["access_token"], kinds["refresh_token"], kinds["code"]) >= 20


def test_the_functions_were_talkative(ran: Ran) -> None:
    """Else the search below would find nothing for the wrong reason."""
    records = ran.records()

    assert {str(record["message"]) for record in records} >= SAID
    assert {str(record.get("why")) for record in records} >= WHY
    assert "DEBUG:root:flow unlinking" in ran.printed
    assert '"_aws"' in ran.printed, "metrics"


def test_everything_was_searched(ran: Ran) -> None:
    assert ran.heard.keys() >= SEARCHED
    assert all(ran.heard[place] for place in SEARCHED)
    assert ran.reprs >= IN_MEMORY
    for error in ("AttemptNotUsable", "Misconfigured", "NotClaimable", "SealBroken", "UserMis"):
        assert error in ran.heard["exceptions"]


def test_secrets_stand_where_the_contract_puts_them_and_nowhere_else(ran: Ran) -> None:
    assert ran.places() == MAY_STAND


def test_the_product_is_told_three_things_and_no_more(ran: Ran) -> None:
    """S32: no token, no code of TikTok's, no open id and no text of anybody's."""
    told = [urlsplit(line) for line in ran.heard["GET /callback Location"].splitlines() if line]
    at_product = [parse_qs(url.query) for url in told if url.netloc == "app.example.com"]

    assert {name for query in at_product for name in query} == {
        "link_session",
        "completion_code",
        "error",
    }
    assert {query["error"][0] for query in at_product if "error" in query} == {"cancelled"}
    assert all(url.query == "" for url in told if not url.netloc), "our own pages get none"


def test_text_of_people_makes_no_record_of_its_own(ran: Ran) -> None:
    """A name with a line break and what looks like a record behind it."""
    assert "forged" in ran.heard["table AccountsTable"]
    assert "forged" in ran.printed, "a purpose is logged"
    assert not [record for record in ran.records() if record.get("message") == "forged"]


# -- the net itself ------------------------------------------------------------------------------


def in_a_log(secret: str) -> str:
    return json.dumps({"level": "INFO", "message": f"GET /?code={secret}&y"})


def in_a_message_within_a_log(secret: str) -> str:
    return json.dumps({"message": json.dumps({"body": secret})})


def in_a_header(secret: str) -> str:
    return str({"Location": f"https://app.example.com/?x={quote(secret)}"})


def in_a_table(secret: str) -> str:
    return repr([{"pk": {"S": "x"}, "a": {"B": b"\x01" + secret.encode()}}])


def in_a_queue(secret: str) -> str:
    return base64.b64encode(b"parcel of " + secret.encode() + b".").decode()


def in_part(secret: str) -> str:
    return f"cut: {secret[: len(secret) * 3 // 4]}"


def as_hex(secret: str) -> str:
    return secret.encode().hex()


@pytest.mark.parametrize(
    "leak",
    [
        in_a_log,
        in_a_message_within_a_log,
        in_a_header,
        in_a_table,
        in_a_queue,
        in_part,
        as_hex,
    ],
)
def test_a_leak_would_be_found(ran: Ran, leak: object) -> None:
    assert callable(leak)
    net = ran.net
    for kind, values in ran.canaries.items():
        for value in (values[0], values[-1]):
            assert kind in net.caught(f"before {leak(value)} after"), half_of(value)


def test_the_net_is_not_so_fine_that_it_catches_anything(ran: Ran) -> None:
    texts = [in_a_log("x" * 40), in_a_queue("y" * 40), "rft.0123456789*abcdef"]

    assert ran.net.caught("\n".join(texts)) == set()
