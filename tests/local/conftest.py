"""One small world for the tests of the world itself; its stack is in `stack/`."""

from collections.abc import Iterator

import pytest

from local.testing import WorldHandle, running_world

STACK = "tests/local/stack/template.yaml"


@pytest.fixture(scope="session")
def small_world() -> Iterator[WorldHandle]:
    with running_world(
        TEMPLATE_FILE=STACK, FUNCTION_CONCURRENCY="3", LOCAL_CALLERS="scheduler:its-secret"
    ) as world:
        yield world


@pytest.fixture
def world(small_world: WorldHandle) -> WorldHandle:
    """The shared world, at rest and with nothing counted."""
    small_world.settle()
    small_world.forget_calls()
    return small_world
