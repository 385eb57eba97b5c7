"""Schedules: off unless asked for, and then in the shared time."""

import time
from datetime import timedelta

import pytest

from local.deploy import DeploymentFailed
from local.schedules import interval
from local.testing import WorldHandle, running_world
from tests.local.conftest import STACK


def runs(world: WorldHandle) -> int:
    return sum(record.get("event") == {"from": "schedule"} for record in world.logs("work"))


def test_a_moved_clock_fires_nothing_by_itself(world: WorldHandle) -> None:
    world.advance(hours=1)
    time.sleep(1)  # twice as long as a scheduler would need
    world.settle()

    assert runs(world) == 0


def test_schedules_run_in_the_shared_time_and_once_for_a_jump() -> None:
    with running_world(TEMPLATE_FILE=STACK, SCHEDULES="on") as world:
        assert runs(world) == 0
        world.advance(hours=1)
        deadline = time.monotonic() + 20
        while not runs(world):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        world.settle()

        assert runs(world) == 1


def test_rates_are_read() -> None:
    assert interval("rate(5 minutes)") == timedelta(minutes=5)
    assert interval("rate(1 hour)") == timedelta(hours=1)
    assert interval("rate(2 days)") == timedelta(days=2)
    with pytest.raises(DeploymentFailed, match="cron"):
        interval("cron(0 12 * * ? *)")
