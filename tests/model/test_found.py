"""Lives that the model found, kept as they were when they went wrong."""

from __future__ import annotations

from datetime import timedelta

from tests.fakes.rotating_tiktok import Rules
from tests.model.stack import Fault, Kind, Stack
from tiktok_linking.renewal import Ask


def test_a_relink_in_the_middle_of_an_unlink_lives() -> None:
    """Between the account's mark and the second look at its grant."""
    stack = Stack(Rules())
    stack.link("ada", "u_1")
    relinked = Fault("links.mark_unlinked", Kind.LINKED, is_after=True)

    stack.unlink(stack.table.rows()[0], faults=[relinked])

    assert stack.audit() == []
    assert stack.stored("ada") == stack.tiktok.live("ada") is not None


def test_a_worker_with_an_old_copy_replays_nothing() -> None:
    """It read the grant before another worker's request, whose outcome nobody knows."""
    stack = Stack(Rules())
    stack.link("ada", "u_1")
    stack.let_pass(timedelta(seconds=90))
    stack.tiktok.oddities.append("wrong person")
    overtaken = Fault("grants.read_batch", Kind.RENEWED, is_after=True)

    stack.renew(stack.table.grants()[0], Ask(rejected=True), faults=[overtaken])

    assert len(stack.tiktok.sent) == 1
    assert stack.audit() == []
