"""One world for all journeys; each has end users and TikTok users of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from local.testing import WorldHandle
from tests.flows.journey import Journey


@pytest.fixture
def journey(world: WorldHandle) -> Iterator[Journey]:
    """Somebody in front of the world, with TikTok left as it was found."""
    journey = Journey(world)
    ordinary = journey.tiktok.control("GET", "/settings")
    yield journey
    journey.tiktok.set(**ordinary)
    journey.tiktok.control("DELETE", "/faults")


@pytest.fixture
def new_person(journey: Journey) -> Callable[[], str]:
    """Sign up TikTok users that no other test knows."""

    def sign_up() -> str:
        name = f"person_{secrets.token_hex(4)}"
        journey.tiktok.control("POST", "/users", {"user": name})
        return name

    return sign_up


@pytest.fixture
def person(new_person: Callable[[], str]) -> str:
    return new_person()


@pytest.fixture
def end_user() -> str:
    """A user of the team's product that no other test knows."""
    return f"u_{secrets.token_hex(4)}"
