"""Who stands in front of the shared world when its answers are held against openapi.yaml."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.stage import Stage
from tests.flows.journey import Journey


@pytest.fixture
def stage(journey: Journey) -> Iterator[Stage]:
    """The shared world, and everybody who brings it into the states that are looked at."""
    stage = Stage(journey.world)
    yield stage
    stage.mend()
