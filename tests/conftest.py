"""What tests of several folders share: running worlds, and somebody in front of them.

Imports are inside the fixtures, so that tests which need no world load neither boto nor requests.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from local.testing import WorldHandle
    from tests.flows.journey import Journey

MAPPED_CALLERS = (
    ("acme-backend", "secret-of-acme"),
    ("umbrella-backend", "secret-of-umbrella"),
    ("umbrella-jobs", "secret-of-umbrellas-jobs"),
    ("Acme-Backend", "secret-of-a-look-alike"),
)
"""Callers of the shared world beside `test`, who is mapped to nobody."""
CALLER_TENANTS = "acme-backend=acme,umbrella-backend=umbrella:second,umbrella-jobs=umbrella"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium")


@pytest.fixture(scope="session")
def world() -> Iterator[WorldHandle]:
    """One world for all tests that can share it: each with users of its own in it."""
    from local.testing import running_world

    callers = ",".join(f"{name}:{secret}" for name, secret in MAPPED_CALLERS)
    with running_world(LOCAL_CALLERS=callers, CALLER_TENANTS=CALLER_TENANTS) as world:
        yield world


@pytest.fixture(scope="session")
def world_factory() -> Callable[..., AbstractContextManager[WorldHandle]]:
    """Start a world of one's own, with variables of one's own; it takes some seconds."""
    from local.testing import running_world

    return running_world


@pytest.fixture
def journey(world: WorldHandle) -> Iterator[Journey]:
    """The shared world and everybody who acts in it, with TikTok left as it was found."""
    from tests.flows.journey import Journey

    journey = Journey(world)
    ordinary = journey.tiktok.control("GET", "/settings")
    yield journey
    journey.tiktok.set(**ordinary)
    journey.tiktok.control("DELETE", "/faults")


@pytest.fixture
def new_person(journey: Journey) -> Callable[..., str]:
    """Sign up TikTok users that no other test knows."""

    def sign_up(display_name: str | None = None) -> str:
        name = f"person_{secrets.token_hex(4)}"
        journey.tiktok.control(
            "POST", "/users", {"user": name, "display_name": display_name or name}
        )
        return name

    return sign_up


@pytest.fixture
def person(new_person: Callable[..., str]) -> str:
    """A TikTok user that no other test knows."""
    return new_person()


@pytest.fixture
def end_user() -> str:
    """A user of the team's product that no other test knows."""
    return f"u_{secrets.token_hex(4)}"
