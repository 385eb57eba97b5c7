"""Faults at a call, outages that last, processes held at a call, waits on the shared clock."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from local.testing import WorldHandle

WRITE = {"do": "write"}
READ = {"do": "read"}


@pytest.fixture(autouse=True)
def _nothing_stays(world: WorldHandle) -> Iterator[None]:
    world.invoke("ProbeFunction", WRITE)
    yield
    world.release()
    world.end_outage()
    world.pause_deliveries()
    world.share_waits(False)
    world.arm_fault("probe")


def error(answer: dict[str, Any]) -> str:
    return str(answer["error"] or "")


def test_a_fault_acts_at_the_call_that_it_names(world: WorldHandle) -> None:
    world.arm_fault("probe", kind="kill_before", call="kms.GenerateDataKey")

    answer = world.invoke("ProbeFunction", WRITE)

    assert error(answer).startswith("Runtime.ExitError")
    assert world.trace("probe")[-1] == "kms.GenerateDataKey"
    assert [(hit["kind"], hit["call"]) for hit in world.hits("probe")] == [
        ("kill_before", "kms.GenerateDataKey")
    ]
    assert world.invoke("ProbeFunction", WRITE)["error"] is None


def test_a_fault_waits_for_the_nth_call_of_its_name(world: WorldHandle) -> None:
    world.arm_fault("probe", kind="refuse", call="dynamodb.GetItem", nth=2)

    assert world.invoke("ProbeFunction", READ)["error"] is None
    assert world.hits("probe") == []


def test_from_a_call_on_its_service_is_away_and_others_are_not(world: WorldHandle) -> None:
    world.arm_fault(
        "probe", kind="throttle", call="sqs.SendMessage", onwards=True, service="sqs", cold=True
    )

    assert "RequestThrottled" in error(world.invoke("ProbeFunction", WRITE))
    assert {hit["call"] for hit in world.hits("probe")} == {"sqs.SendMessage"}


def test_two_faults_can_meet_in_one_run(world: WorldHandle) -> None:
    first = {"kind": "refuse", "call": "dynamodb.GetItem"}
    second = {"kind": "500_before", "call": "dynamodb.GetItem", "nth": 2}
    world.arm_fault("probe", faults=[first, second])

    assert world.invoke("ProbeFunction", READ)["error"] is None  # the SDK asked a third time
    assert [hit["kind"] for hit in world.hits("probe")] == ["refuse", "500_before"]


def test_an_outage_hits_every_run_of_its_functions_until_it_is_lifted(world: WorldHandle) -> None:
    world.share_waits()
    world.begin_outage("dynamodb", "500_before", "probe")

    away = [error(world.invoke("ProbeFunction", READ)) for _ in range(2)]
    world.end_outage()

    assert all("InternalServerError" in said for said in away)
    assert world.invoke("ProbeFunction", READ)["error"] is None


def test_an_outage_leaves_other_functions_alone(world: WorldHandle) -> None:
    world.begin_outage("dynamodb", "refuse", "work")

    assert world.invoke("ProbeFunction", READ)["error"] is None


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_held_process_goes_on_when_it_is_released(world: WorldHandle, when: str) -> None:
    world.arm_fault("probe", kind="hold", call="dynamodb.GetItem", when=when)
    answers: list[dict[str, Any]] = []
    run = threading.Thread(target=lambda: answers.append(world.invoke("ProbeFunction", READ)))
    run.start()

    assert world.wait_until_held("probe") == ["dynamodb.GetItem"]
    assert world.invoke("ProbeFunction", READ)["error"] is None  # another process is free
    assert answers == []

    world.release()
    run.join()
    assert answers[0]["payload"] == {"pk": {"S": "1"}}


def test_waiting_for_a_held_process_ends_when_none_will_be(world: WorldHandle) -> None:
    world.arm_fault("probe", kind="hold", call="dynamodb.Query")
    world.invoke("ProbeFunction", READ)

    assert world.wait_until_held("probe") == []


def test_a_function_that_sleeps_moves_the_shared_clock_if_told(world: WorldHandle) -> None:
    world.share_waits()
    before = world.now()

    # Longer than the function may run in real time.
    assert world.invoke("ProbeFunction", {"do": "sleep", "seconds": 60})["error"] is None

    assert (world.now() - before).total_seconds() >= 60


def test_messages_for_a_paused_function_wait(world: WorldHandle) -> None:
    world.pause_deliveries("work")
    before = len(world.logs("work"))

    world.invoke("ProbeFunction", WRITE)
    world.settle()
    assert len(world.logs("work")) == before

    world.pause_deliveries()
    world.settle()
    assert len(world.logs("work")) == before + 1


def test_the_next_run_finds_the_folder_of_a_process_that_was_killed(world: WorldHandle) -> None:
    visits = world.invoke("ProbeFunction", {"do": "count"})["payload"]
    world.arm_fault("probe", kind="kill_before", call="dynamodb.GetItem", cold=True)
    world.invoke("ProbeFunction", READ)

    assert world.invoke("ProbeFunction", {"do": "count"})["payload"][:-1] == visits


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/faults", {"function": "probe", "kind": "explode", "call": 1}),
        ("/faults", {"function": "nobody", "kind": "refuse", "call": 1}),
        ("/outage", {"service": "dynamodb", "kind": "kill_before"}),
        ("/outage", {"kind": "refuse"}),
        ("/clock", {"waits": "never"}),
    ],
)
def test_what_the_world_does_not_know_is_refused(
    world: WorldHandle, path: str, body: dict[str, Any]
) -> None:
    with pytest.raises(AssertionError, match=r"40[04]"):
        world._control("POST", path, body)
