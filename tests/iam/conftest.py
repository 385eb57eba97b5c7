"""One world in which MiniStack enforces each function's own role."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.configuration import ROOT
from local.deploy import Template, read_template, translated
from local.testing import WorldHandle, running_world
from tests.faults.people import Stage


@pytest.fixture(scope="session")
def plain() -> Template:
    """The translated template."""
    return translated(read_template(ROOT / "template.yaml"), {})


@pytest.fixture(scope="session")
def guarded() -> Iterator[WorldHandle]:
    with running_world(AUTH="true") as world:
        yield world


@pytest.fixture(scope="session")
def stage(guarded: WorldHandle) -> Stage:
    stage = Stage(guarded)
    guarded.share_waits()  # a wait inside a function moves the clock and takes no time
    return stage
