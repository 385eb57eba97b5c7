"""What doctor holds against what, of plain values: the faults that no healthy world shows."""

from __future__ import annotations

import ast
import tomllib
from datetime import timedelta
from email.utils import format_datetime
from importlib import import_module
from pathlib import Path

import pytest

from tests.fakes.clock import NOON
from tiktok_link_cli.doctor import (
    FAULT,
    NOTE,
    OK,
    attempt_of,
    client_key_of,
    clock_of,
    redirect_of,
    secret_of,
)
from tiktok_link_cli.showing import plain

ROOT = Path(__file__).resolve().parents[2]
REDIRECT = "https://link.example.com/callback"
SENT = {
    "client_key": "aw1234567890abcd",
    "redirect_uri": REDIRECT,
    "scope": "user.info.basic",
}


def levels(sent: dict[str, str], redirect_uri: str = REDIRECT) -> dict[str, str]:
    found = attempt_of(
        "default",
        sent,
        client_key="aw1234567890abcd",
        redirect_uri=redirect_uri,
        scopes=["user.info.basic"],
    )
    return {finding.check.removesuffix(" default"): finding.level for finding in found}


@pytest.mark.parametrize(
    ("off_by", "level"), [(0, OK), (-59, OK), (90, NOTE), (301, FAULT), (-301, FAULT)]
)
def test_a_clock_that_makes_signatures_fail_is_a_fault(off_by: int, level: str) -> None:
    date = format_datetime(NOON + timedelta(seconds=off_by), usegmt=True)

    assert clock_of(date, now=NOON).level == level


@pytest.mark.parametrize(
    ("key", "level"),
    [
        ("aw1234567890abcd", OK),
        ("sbaw1234567890ab", OK),
        ("7012345678901234", FAULT),
        ("a b", FAULT),
    ],
)
def test_an_app_id_is_no_client_key(key: str, level: str) -> None:
    assert client_key_of("default", key).level == level


@pytest.mark.parametrize(
    ("given", "level"),
    [
        ({"current": "canary-of-32-characters-in-all-xx"}, OK),
        ({"current": "canary-of-32-characters-in-all-xx", "previous": "y"}, OK),
        ({"current": "canary-of-32-characters-in-all-xx", "old": "y"}, NOTE),
        ({"current": "canary-of-32-characters-in-all-xx\n"}, FAULT),
        ({"current": "canary"}, FAULT),
        ({"current": ""}, FAULT),
        ({"current": None}, FAULT),
        ({"previous": "canary-of-32-characters-in-all-xx"}, FAULT),
        ({"current": "aw1234567890abcd"}, FAULT),
    ],
)
def test_the_shape_of_a_secret_is_told_and_nothing_of_it(
    given: dict[str, object], level: str
) -> None:
    finding = secret_of("default", given, client_key="aw1234567890abcd")

    assert finding.level == level
    assert "canary" not in repr(finding)


@pytest.mark.parametrize(
    ("uri", "level"),
    [
        (REDIRECT, OK),
        ("http://127.0.0.1:3000/callback", OK),
        ("https://abc.execute-api.eu-west-1.amazonaws.com/callback", NOTE),
        ("http://link.example.com/callback", FAULT),
        ("https://link.example.com/callback/", FAULT),
        ("https://link.example.com/callback?a=1", FAULT),
    ],
)
def test_a_redirect_uri_that_tiktok_refuses_is_a_fault(uri: str, level: str) -> None:
    assert redirect_of(uri).level == level


def test_what_tiktok_is_sent_is_held_byte_for_byte() -> None:
    assert set(levels(SENT).values()) == {OK}
    assert levels(SENT, REDIRECT + "/")["attempt"] == FAULT
    assert levels(SENT | {"client_key": "aw0000000000"})["attempt"] == FAULT
    assert levels(SENT | {"scope": "user.info.basic,video.list"})["scopes"] == FAULT


def test_pkce_is_for_loopback_alone_and_in_hex() -> None:
    loopback = "http://127.0.0.1:3000/callback"
    hexed = {"code_challenge": "0a" * 32, "code_challenge_method": "S256"}

    assert levels(SENT | hexed)["pkce"] == FAULT
    assert levels(SENT | {"redirect_uri": loopback}, loopback)["pkce"] == FAULT
    assert levels(SENT | {"redirect_uri": loopback} | hexed, loopback)["pkce"] == OK
    base64 = hexed | {"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}
    assert levels(SENT | {"redirect_uri": loopback} | base64, loopback)["pkce"] == FAULT


def test_what_people_wrote_does_not_steer_a_terminal() -> None:
    assert plain("u\x1b[2J\nx") == "u�[2J�x"


def test_the_command_is_what_the_project_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["scripts"]["tiktok-link"].partition(":")

    assert callable(getattr(import_module(module), name))


def test_the_command_line_knows_of_the_layer_only_how_grants_are_named() -> None:
    """All else it learns as any caller does: from the API and from the stack."""
    imported = {
        (node.module, alias.name)
        for file in (ROOT / "cli").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").split(".")[0] == "tiktok_linking"
        for alias in node.names
    }

    assert imported == {("tiktok_linking.accounts", "grant_id")}
