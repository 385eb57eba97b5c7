"""The client of a product's backend, against a server that answers from a script."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import Credentials

import tiktok_linking_client
from local.configuration import ROOT
from tests.docs.reading import Document, name_in
from tests.fakes.loopback import Answer, Loopback, hang_up, loopback
from tiktok_linking.web.api import STATUS_BY_CODE
from tiktok_linking_client import (
    LinkingClient,
    LinkSession,
    StackRefused,
    StackUnreachable,
    Token,
    errors,
)

SESSION = {
    "id": "ls_1",
    "status": "pending",
    "completion": "browser",
    "expires_at": "2026-11-22T12:00:00Z",
    "url": "https://link.example.com/connect/ls_1",
    "of a later stack": True,
}
TOKEN = {
    "access_token": "act.secret",
    "token_type": "Bearer",
    "expires_at": "2026-11-22T12:00:00Z",
    "expires_in": 7200,
    "scopes": ["user.info.basic"],
    "missing_scopes": [],
    "open_id": "o",
    "account_id": "acct_1",
    "refreshed": False,
    "warning": None,
}


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as server:
        yield server


@pytest.fixture
def waited() -> list[float]:
    """How long the client slept, each time."""
    return []


@pytest.fixture
def stack(server: Loopback, waited: list[float]) -> LinkingClient:
    return LinkingClient(
        server.url,
        region="us-east-1",
        credentials=Credentials("test", "test"),
        sleep=waited.append,
    )


def problem(code: str, status: int, **more: object) -> Answer:
    return Answer({"code": code, "status": status, **more}, status=status)


def test_a_session_is_made_once_however_often_it_is_asked_for(
    stack: LinkingClient, server: Loopback
) -> None:
    server.script.extend([hang_up, Answer(SESSION, status=201)])

    session = stack.create_link_session("u_42", end_user_label="kim@example.com")

    first, second = server.received
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert json.loads(second.body) == {"end_user_id": "u_42", "end_user_label": "kim@example.com"}
    assert (session.id, session.url) == ("ls_1", SESSION["url"])
    assert session.raw["of a later stack"] is True


def test_secrets_are_in_no_repr_and_no_error(server: Loopback, stack: LinkingClient) -> None:
    assert "connect/ls_1" not in repr(LinkSession.from_json(SESSION))
    assert "act.secret" not in repr(Token.from_json(TOKEN))
    server.script.append(hang_up)
    with pytest.raises(StackUnreachable) as caught:
        stack.complete_link_session("ls_secret", "code", "u_42")

    told = f"{caught.value!r} {caught.value} {caught.value.__cause__}"
    assert "ls_secret" not in told
    assert caught.value.__suppress_context__


def test_a_retry_waits_as_long_as_the_stack_says(
    stack: LinkingClient, server: Loopback, waited: list[float]
) -> None:
    server.script.extend([problem("refresh_in_progress", 503, retry_after=4), Answer(TOKEN)])

    token = stack.get_token("acct_1", min_ttl_seconds=600)

    assert token.access_token == "act.secret"
    assert waited == [4]
    assert json.loads(server.received[0].body) == {"min_ttl_seconds": 600}


def test_it_does_not_wait_longer_than_it_may(
    stack: LinkingClient, server: Loopback, waited: list[float]
) -> None:
    server.script.append(problem("provider_unavailable", 503, retry_after=60))

    with pytest.raises(StackRefused) as caught:
        stack.get_token("acct_1")

    assert (caught.value.retry_after, waited) == (60, [])
    server.script.extend(problem("refresh_backoff", 503, retry_after=4) for _ in range(4))
    with pytest.raises(StackRefused):
        stack.get_token("acct_1")
    assert waited == [4, 4]  # a third time would be more than ten seconds


def test_a_refusal_that_no_waiting_helps_is_told_at_once(
    stack: LinkingClient, server: Loopback, waited: list[float]
) -> None:
    more = {"action_by": "end_user", "request_id": "r-1", "detail": "why", "reason": "x"}
    server.script.append(problem("relink_required", 409, **more))

    with pytest.raises(StackRefused, match=r"409 relink_required: why \(request r-1\)") as caught:
        stack.get_token("acct_1")

    error = caught.value
    assert (error.code, error.status, error.action_by) == ("relink_required", 409, "end_user")
    assert (error.request_id, error.is_retryable) == ("r-1", False)
    assert error.facts == {"reason": "x"}
    assert waited == []


@pytest.mark.parametrize(
    ("status", "code"), [(403, "forbidden"), (429, "throttled"), (503, "unavailable")]
)
def test_api_gateways_own_refusals_have_codes_too(server: Loopback, status: int, code: str) -> None:
    impatient = LinkingClient(
        server.url, region="us-east-1", credentials=Credentials("a", "b"), patience_seconds=0
    )
    for body in (b"<html>", {"message": "Forbidden"}, [1]):
        server.script.append(Answer(body, status=status))
        with pytest.raises(StackRefused) as caught:
            impatient.account("acct_1")
        assert caught.value.code == code


@pytest.mark.parametrize("call", ["complete_link_session", "unlink"])
def test_what_may_have_been_done_is_not_done_twice(
    stack: LinkingClient, server: Loopback, waited: list[float], call: str
) -> None:
    given = {"complete_link_session": ("ls_1", "code", "u_42"), "unlink": ("acct_1",)}[call]
    for answer in (hang_up, problem("provider_unavailable", 503, retry_after=1)):
        server.script.append(answer)
        with pytest.raises((StackRefused, StackUnreachable)) as caught:
            getattr(stack, call)(*given)
        assert caught.value.is_retryable is isinstance(caught.value, StackRefused)
    assert len(server.received) == 2
    assert waited == []

    # What was throttled has reached nobody.
    server.script.extend([Answer({}, status=429), problem("not_found", 404)])
    with pytest.raises(StackRefused, match="not_found"):
        getattr(stack, call)(*given)
    assert len(server.received) == 4


def test_lists_are_read_to_their_end(stack: LinkingClient, server: Loopback) -> None:
    server.script.extend(Answer({"items": [], "next_cursor": cursor}) for cursor in ("a b&c", None))

    assert stack.list_accounts(end_user_id="kim smith", relink_within_days=7) == []

    asked = [request.target for request in server.received]
    query = "end_user_id=kim%20smith&relink_within_days=7"
    assert asked == [f"/v1/accounts?{query}", f"/v1/accounts?{query}&cursor=a%20b%26c"]


def test_ids_stay_in_their_place_in_the_path(stack: LinkingClient, server: Loopback) -> None:
    server.script.append(problem("not_found", 404))
    with pytest.raises(StackRefused):
        stack.account("../link-sessions/x?y")

    assert server.received[0].target == "/v1/accounts/..%2Flink-sessions%2Fx%3Fy"


def test_the_region_stands_in_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    keys: dict[str, Any] = {"credentials": Credentials("a", "b")}

    assert LinkingClient("https://abc.execute-api.eu-west-1.amazonaws.com", **keys)
    with pytest.raises(ValueError, match="no region"):
        LinkingClient("https://link.example.com", **keys)


def test_every_code_that_passes_is_one_of_the_stack_or_of_its_gateway() -> None:
    own = {"throttled", "unavailable"}

    assert errors._PASSES - own == {
        code for code, status in STATUS_BY_CODE.items() if status in (429, 503)
    }


def test_the_document_has_every_method_and_no_other() -> None:
    told = {name_in(row[0]).partition("(")[0] for row in _document().section("Methods").rows()}
    methods = {name for name, _ in inspect.getmembers(LinkingClient, inspect.isfunction)}

    assert told == {name for name in methods if not name.startswith("_")}


def test_the_package_installs_by_itself(tmp_path: Path) -> None:
    """With types, without the command line and without what the functions depend on."""
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    source = tmp_path / "cli"
    for file in [ROOT / "cli" / "pyproject.toml", *(ROOT / "cli").glob("tiktok_linking_client/*")]:
        if file.is_file():
            copy = source / file.relative_to(ROOT / "cli")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())

    subprocess.run([*build, "--wheel-dir", tmp_path, source], check=True, cwd=tmp_path)

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        needs = re.findall(r"^Requires-Dist: (\w+)", archive.read(metadata).decode(), re.MULTILINE)
    own = Path(tiktok_linking_client.__file__).parent
    assert {name for name in names if ".dist-info" not in name} == {
        f"tiktok_linking_client/{file.name}" for file in own.iterdir() if file.is_file()
    }
    assert sorted(needs) == ["botocore", "requests"]


def _document() -> Document:
    return Document.read("docs/client.md")
