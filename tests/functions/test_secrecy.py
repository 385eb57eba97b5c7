"""No secret in anything that is printed or lies at rest, at the most talkative log level."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.fakes.aws import ROOT

# What may lie in a table: its own session's id and page nonce, by which the page is shown.
KEPT_AT_REST = {"session_id", "page_nonce"}


@dataclass(frozen=True)
class Ran:
    """What one run of the canary printed and left."""

    printed: str
    canaries: dict[str, list[str]]
    dumps: list[str]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Every flow and many failures, in a process of their own."""
    file = tmp_path_factory.mktemp("canary") / "known.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.functions.canary", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    known = json.loads(file.read_text(encoding="utf-8"))
    return Ran(done.stdout + done.stderr, known["canaries"], known["dumps"])


def leaked(text: str, canaries: dict[str, list[str]]) -> set[str]:
    """Which kinds of secret stand in a text; half of one is enough."""
    return {
        kind
        for kind, values in canaries.items()
        for value in values
        if value in text or value[4 : 4 + len(value) // 2] in text
    }


def test_every_kind_of_secret_was_there(ran: Ran) -> None:
    kinds = {kind: len(values) for kind, values in ran.canaries.items()}

    assert kinds.keys() == {
        "access_token",
        "client_secret",
        "code",
        "completion_code",
        "cookie",
        "page_nonce",
        "refresh_token",
        "session_id",
        "signature",
        "state",
    }
    assert kinds["access_token"] >= 10
    assert kinds["code"] >= 10


def test_the_functions_were_talkative(ran: Ran) -> None:
    """Else the search below would find nothing for the wrong reason."""
    records = [json.loads(line) for line in ran.printed.splitlines() if line.startswith("{")]
    said = {record["message"] for record in records if "_aws" not in record}  # metrics say nothing

    assert {
        "app registration refused",
        "callback refused",
        "callback without its cookie",
        "completed by another user",
        "exchange failed",
        "grant quarantined",
        "grant revoked",
        "pair not rescued",
        "renewal postponed",
        "token vended",
        "unexpected error",
        "webhook ignored",
        "webhook refused",
        "webhook signed at another time",
    } <= said
    assert {record["service"] for record in records} >= {"callback", "tokens", "refresh"}
    assert "DEBUG:root:flow unlinking" in ran.printed


def test_nothing_that_is_printed_holds_a_secret(ran: Ran) -> None:
    assert leaked(ran.printed, ran.canaries) == set()


def test_nothing_at_rest_holds_a_secret(ran: Ran) -> None:
    canaries = {k: v for k, v in ran.canaries.items() if k not in KEPT_AT_REST}

    assert len(ran.dumps) >= 4
    assert leaked("\n".join(ran.dumps), canaries) == set()


def test_a_leak_would_be_found(ran: Ran) -> None:
    for kind, values in ran.canaries.items():
        assert kind in leaked(f"GET /?x={values[0]}&y", ran.canaries)
        assert kind in leaked(f"cut: {values[-1][: len(values[-1]) * 3 // 4]}", ran.canaries)
