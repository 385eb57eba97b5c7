"""The core with plain values and fakes: no socket can be opened here."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.fakes.clock import Clock
from tests.fakes.happenings import Happenings
from tests.unit.stage import Stage

# The same examples in every run, and no verdict on how fast a busy machine is.
settings.register_profile("steady", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def _no_network(socket_disabled: None) -> None:
    """A use case that opens a socket is no use case."""


@pytest.fixture
def happenings() -> Happenings:
    """What the fakes of one test share."""
    return Happenings()


@pytest.fixture
def clock() -> Clock:
    """Noon of a day in November 2026."""
    return Clock()


@pytest.fixture
def stage() -> Stage:
    """A stack of fakes in which nothing happened yet."""
    return Stage()
