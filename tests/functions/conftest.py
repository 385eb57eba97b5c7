"""A stack for each test, and somebody who is linked in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes import samples
from tests.fakes.aws import client
from tests.fakes.loopback import Answer
from tests.functions.stack import (
    COOKIE,
    PAGE_NONCE,
    SESSION_ID,
    STATE_SECRET,
    RunningStack,
    event,
    running_stack,
)
from tiktok_linking.accounts import Secret
from tiktok_linking.adapters.dynamodb import Table
from tiktok_linking.adapters.session_table import SessionTable
from tiktok_linking.sessions import (
    ATTEMPT_LIFETIME,
    Attempt,
    Completion,
    LinkSession,
    State,
    secret_hash,
    session_key,
)

if TYPE_CHECKING:
    from tests.functions.doors import Knock

Items = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def shared_stack() -> Iterator[RunningStack]:
    """What takes long to make, made once for a module."""
    with running_stack() as stack:
        yield stack


@pytest.fixture
def stack(shared_stack: RunningStack, tmp_path: Path) -> RunningStack:
    """A stack without a link in it."""
    shared_stack.reset(tmp_path)
    return shared_stack


@pytest.fixture
def session(stack: RunningStack) -> LinkSession:
    """The session that the events speak of, not yet started."""
    return create_session(stack)


@pytest.fixture
def started(stack: RunningStack, session: LinkSession) -> LinkSession:
    """The same session, with its browser at TikTok."""
    return start_session(session, stack)


@pytest.fixture
def started_again(stack: RunningStack) -> Callable[[], None]:
    """Makes the session of the events anew, with its browser at TikTok, as often as asked."""

    def start() -> None:
        stack.create_tables("SessionsTable")
        stack.clock.advance(seconds=1)
        start_session(create_session(stack), stack)

    return start


@pytest.fixture
def waiting(stack: RunningStack) -> LinkSession:
    """The same session in mode `app`, with its browser back."""
    made = start_session(create_session(stack, Completion.APP), stack)
    answer = stack.invoke("callback", event("callback-code"))
    assert answer["statusCode"] == 303
    assert stack.tiktok.received == []
    return made


@pytest.fixture(scope="session")
def knocks(tmp_path_factory: pytest.TempPathFactory) -> list[Knock]:
    """Every door of a stack of its own, knocked at in every way: it takes long, so once."""
    from tests.functions.doors import visit

    with running_stack() as stack:
        return visit(stack, tmp_path_factory.mktemp("doors"))


@pytest.fixture(scope="module")
def linked_items(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Items:
    """What the tables hold once the account of the events was linked through the callback."""
    shared_stack.reset(tmp_path_factory.mktemp("linked"))
    start_session(create_session(shared_stack), shared_stack)
    shared_stack.tiktok.script.extend([Answer(shared_stack.pair(1)), Answer({}, status=500)])
    answer = shared_stack.invoke("callback", event("callback-code"))
    assert answer["statusCode"] == 303
    return shared_stack.items()


@pytest.fixture
def linked(linked_items: Items, stack: RunningStack) -> LinkSession:
    """The account that the events speak of."""
    stack.put_back(linked_items)
    found = sessions().read(SESSION_ID)
    assert found is not None
    return found


@pytest.fixture
def cookie_name() -> str:
    """The name of the binding cookie in the events."""
    key = State(session_key(SESSION_ID), Secret(STATE_SECRET)).attempt_key
    return "__Host-ttl_" + hashlib.sha256(key.encode()).hexdigest()[:8]


def create_session(
    stack: RunningStack, completion: Completion = Completion.BROWSER, *, label: str = "Ada"
) -> LinkSession:
    """Make the session that the events speak of."""
    made = samples.link_session(
        session_id=SESSION_ID,
        required=("user.info.basic",),
        optional=(),
        return_url="https://app.example.com/settings",
        label=label,
        completion=completion,
        at=stack.clock.now,
    )
    return sessions().create(made, idempotency=None)


def start_session(session: LinkSession, stack: RunningStack) -> LinkSession:
    """Press its button, in the browser of the events."""
    state = State(session_key(session.id), Secret(STATE_SECRET))
    attempt = Attempt(
        cookie_hash=secret_hash(COOKIE),
        redirect_uri="https://link.example.com/callback",
        expires_at=stack.clock.now + ATTEMPT_LIFETIME,
    )
    now = stack.clock.now
    return sessions().start(session.id, PAGE_NONCE, state.attempt_key, attempt, now=now)


def sessions() -> SessionTable:
    """The sessions table, to look into and to prepare."""
    return SessionTable(Table(client("dynamodb"), "SessionsTable"))
