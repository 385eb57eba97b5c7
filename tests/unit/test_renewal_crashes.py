"""One fault at every use of a port, then a clean recovery, judged by what TikTok holds alive.

TikTok rotates strictly here: a refresh token works once, so a forgiving double cannot hide a loss.
The promise (docs/architecture.md): once a fresh pair is in the journal, it is never lost; before
that, TikTok's answer itself was lost, and the link is flagged with that reason and no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests.fakes import samples
from tests.fakes.happenings import Killed
from tests.fakes.journal import MemoryJournal
from tests.fakes.tiktok import StrictTikTok
from tests.unit.stage import Stage
from tiktok_linking.accounts import Status
from tiktok_linking.errors import NoAnswer, StoreUnavailable
from tiktok_linking.ports import Journal, Outcome
from tiktok_linking.renewal import Ask

GRANT = samples.GRANT_ID
NEEDED = Ask(min_ttl=timedelta(minutes=5))
SETTLED = (Outcome.RENEWED, Outcome.FRESH, Outcome.RELINK_REQUIRED, Outcome.ENDED)
STEPS = 12
"""A clean renewal uses ports at most so many times; a test of its own holds it to that."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong: before or after the ``number``-th use of a port takes effect."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind} use {self.number}"

    def plan(self, stage: Stage) -> None:
        def strike() -> None:
            if self.kind.startswith("killed"):
                raise Killed
            port = stage.calls[-1].partition(".")[0]
            if port in FAILS_WITH:
                raise FAILS_WITH[port]

        if self.kind.endswith("before"):
            stage.happenings.at(self.number, before=strike)
        else:
            stage.happenings.at(self.number, after=strike)


# What each port raises in an outage. Sealing works in memory once its keys are there, and what
# TikTok can do is played by tests of its own.
FAILS_WITH: dict[str, Exception] = {
    "grants": StoreUnavailable("down"),
    "credentials": StoreUnavailable("down"),
    "rescue": StoreUnavailable("down"),
    "journal": StoreUnavailable("no space left on device"),
}


def faults(*kinds: str) -> Iterator[Fault]:
    for kind in kinds:
        for number in range(STEPS):
            yield Fault(kind, number)


KILLS = [*faults("killed before", "killed after")]
OUTAGES = [*faults("failed before", "failed after")]


def started() -> tuple[Stage, StrictTikTok]:
    """A link whose access token is about to end, at a TikTok that rotates strictly."""
    stage = Stage()
    strict = StrictTikTok(stage.happenings, stage.clock)
    stage.link(answer=strict.authorise())
    stage.clock.advance(hours=1, minutes=59)
    return stage, strict


def attempt(stage: Stage, strict: StrictTikTok, journal: Journal) -> Outcome | None:
    """One run of a worker; None where it was killed or failed."""
    renewal = stage.renewal(tiktok=strict, journal=journal)
    try:
        return renewal.renew(GRANT, NEEDED, deadline=stage.deadline()).outcome
    except (Killed, StoreUnavailable):
        return None


def settle(stage: Stage, strict: StrictTikTok, journal: Journal) -> Outcome:
    """Let clean workers and the rescue consumer run until nothing is open any more."""
    stage.happenings.forget()
    for _ in range(8):
        stage.clock.advance(seconds=40)
        while stage.rescue.parcels:
            stage.rescuing().land(stage.rescue.parcels.pop(0))
        outcome = attempt(stage, strict, journal)
        if outcome in SETTLED and not stage.rescue.parcels:
            return outcome
    raise AssertionError("the grant never settled")


def is_alive(stage: Stage, strict: StrictTikTok) -> bool:
    return stage.grant().status is Status.ACTIVE and stage.refresh_token() == strict.live


def is_kept(stage: Stage, strict: StrictTikTok) -> bool:
    """Whether TikTok's answer was made durable, here or in the table."""
    return strict.rotations > 0 and (len(stage.journal) > 0 or is_alive(stage, strict))


def test_a_renewal_without_a_fault_is_the_measure() -> None:
    stage, strict = started()

    outcome = attempt(stage, strict, stage.journal)

    assert outcome is Outcome.RENEWED
    assert is_alive(stage, strict)
    assert len(stage.calls) <= STEPS


@pytest.mark.parametrize("fault", OUTAGES, ids=str)
def test_an_outage_of_ours_never_loses_a_link(fault: Fault) -> None:
    """Every port may fail at any use, also after its write was committed."""
    stage, strict = started()
    fault.plan(stage)

    attempt(stage, strict, stage.journal)
    settle(stage, strict, stage.journal)

    assert is_alive(stage, strict)
    assert strict.refused == 0


@pytest.mark.parametrize("fault", KILLS, ids=str)
def test_a_killed_worker_loses_a_link_only_with_tiktoks_own_answer(fault: Fault) -> None:
    """The execution environment outlives the process, and with it the journal."""
    stage, strict = started()
    fault.plan(stage)

    attempt(stage, strict, stage.journal)
    was_kept = is_kept(stage, strict)
    settle(stage, strict, stage.journal)

    assert is_alive(stage, strict) or not was_kept
    assert is_alive(stage, strict) or stage.grant().reason == "rotation_lost"


@pytest.mark.parametrize("fault", KILLS, ids=str)
def test_what_died_with_its_machine_is_never_lost_silently(fault: Fault) -> None:
    """Another environment recovers, without the journal of the first."""
    stage, strict = started()
    fault.plan(stage)

    attempt(stage, strict, stage.journal)
    was_saved = is_alive(stage, strict)
    settle(stage, strict, MemoryJournal(stage.happenings))

    assert is_alive(stage, strict) or not was_saved
    assert is_alive(stage, strict) or stage.grant().reason == "rotation_lost"


def test_a_second_fault_during_recovery_changes_no_promise() -> None:
    """Pairs of a kill from the lease on and any other fault, with the same journal."""
    for first in (kill for kill in KILLS if kill.number >= 4):
        for second in (*KILLS, *OUTAGES):
            stage, strict = started()
            first.plan(stage)
            attempt(stage, strict, stage.journal)
            stage.happenings.forget()
            stage.clock.advance(seconds=40)
            was_kept = is_kept(stage, strict)

            second.plan(stage)
            attempt(stage, strict, stage.journal)
            was_kept = was_kept or is_kept(stage, strict)
            settle(stage, strict, stage.journal)

            assert is_alive(stage, strict) or not was_kept, f"{first}, {second}"
            told = is_alive(stage, strict) or stage.grant().reason == "rotation_lost"
            assert told, f"{first}, {second}"


def test_a_long_outage_of_the_table_is_bridged_by_the_rescue_queue() -> None:
    stage, strict = started()
    stage.happenings.before("grants.save_renewed", *[StoreUnavailable("down")] * 100)

    attempt(stage, strict, stage.journal)
    settle(stage, strict, MemoryJournal(stage.happenings))

    assert is_alive(stage, strict)
    assert strict.refused == 0


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_lost_answers_are_flagged_as_lost(lost: int) -> None:
    stage, strict = started()
    stage.happenings.after("tiktok.refresh", *[NoAnswer() for _ in range(lost)])

    attempt(stage, strict, stage.journal)
    settle(stage, strict, stage.journal)

    assert stage.grant().reason == "rotation_lost"
    assert strict.rotations == 1


def test_requests_lost_on_their_way_lose_nothing() -> None:
    stage, strict = started()
    stage.happenings.before("tiktok.refresh", *[NoAnswer() for _ in range(3)])

    attempt(stage, strict, stage.journal)
    settle(stage, strict, stage.journal)

    assert is_alive(stage, strict)
    assert strict.rotations == 1


def test_a_removal_by_the_person_is_not_mistaken_for_our_loss() -> None:
    stage, strict = started()
    strict.remove()

    attempt(stage, strict, stage.journal)

    assert stage.grant().reason == "refresh_token_rejected"
