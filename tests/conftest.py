"""What tests of several folders share: running worlds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from local.testing import WorldHandle, running_world


@pytest.fixture(scope="session")
def world() -> Iterator[WorldHandle]:
    """One world for all tests that can share it: each with users of its own in it."""
    with running_world() as world:
        yield world


@pytest.fixture(scope="session")
def world_factory() -> Callable[..., AbstractContextManager[WorldHandle]]:
    """Start a world of one's own, with variables of one's own; it takes some seconds."""
    return running_world
