"""What a fault counts: whose answers of TikTok's a kill takes along."""

import threading
from typing import Any

import pytest

from local.faults import around
from local.wire import Call


class Ended(BaseException):
    """Stands for the end of the process, which a test would not outlive."""


@pytest.mark.parametrize("kind", ["kill_before", "kill_after"])
def test_no_thread_asks_tiktok_between_the_count_and_the_kill(kind: str) -> None:
    """Its answer would be lost with the process, and nobody would know that it was."""
    asked = threading.Event()
    beside = threading.Thread(
        target=lambda: injected(Call(2, "tiktok.token"), asked.set), daemon=True
    )

    def tell(record: dict[str, Any]) -> None:
        beside.start()
        assert not asked.wait(0.2), "a thread asked TikTok while the process was ending"
        assert record["exposed"] == 0
        raise Ended

    injected = around({"kind": kind, "call": "dynamodb.UpdateItem"}, tell=tell, hold=lambda: None)

    with pytest.raises(Ended):
        injected(Call(1, "dynamodb.UpdateItem"), lambda: None)


@pytest.mark.parametrize("kind", ["kill_before", "kill_after"])
def test_an_answer_that_is_under_way_is_counted(kind: str) -> None:
    told: list[int] = []

    def tell(record: dict[str, Any]) -> None:
        told.append(record["exposed"])
        raise Ended

    injected = around({"kind": kind, "call": "dynamodb.UpdateItem"}, tell=tell, hold=lambda: None)
    beside = threading.Thread(target=lambda: injected(Call(1, "tiktok.token"), lambda: None))
    beside.start()
    beside.join()

    with pytest.raises(Ended):
        injected(Call(2, "dynamodb.UpdateItem"), lambda: None)
    assert told == [1]
