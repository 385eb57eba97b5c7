"""The critical window holds what window.txt lists, and a kill at any of its lines ends as told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.testing import running_world
from tests.faults.people import Stage
from tests.faults.window import (
    EXCHANGE,
    LOST,
    RENEWAL,
    Observer,
    Tape,
    first_safe_line,
    kill_at,
    listed,
)

SAMPLE = 12
Seen = list[tuple[Tape, str]]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A strict TikTok, as it is by default."""
    with running_world(SCOPES_OPTIONAL="") as world:
        yield Stage(world)


@pytest.fixture(scope="module")
def seen(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A renewal and an exchange for each shape of TikTok's answer, traced."""
    folder: Path = tmp_path_factory.mktemp("window")
    return list(Observer(stage, folder).variants())


def ran_in(seen: Seen, window: str) -> dict[str, None]:
    """The statements of all tapes of a window, in order."""
    tapes = [tape for tape, kind in seen if kind == window]
    return dict.fromkeys(str(statement) for tape in tapes for statement in tape.statements())


@pytest.mark.parametrize("window", [RENEWAL, EXCHANGE])
def test_no_statement_runs_in_the_window_that_is_not_listed(seen: Seen, window: str) -> None:
    """What must run there is added by `python -m tests.faults.window --write`, and to be judged."""
    new = [line for line in ran_in(seen, window) if line not in listed()[window]]

    assert not new, "\n".join(["a fresh pair is in memory alone while this runs:", *new])


@pytest.mark.parametrize("window", [RENEWAL, EXCHANGE])
def test_the_list_names_nothing_that_left_the_window(seen: Seen, window: str) -> None:
    """Else it could come back unseen: `python -m tests.faults.window --write`."""
    gone = [line for line in listed()[window] if line not in ran_in(seen, window)]

    assert not gone, "\n".join(["window.txt lists what does not run there:", *gone])


@pytest.mark.parametrize("window", [RENEWAL, EXCHANGE])
def test_nothing_calls_logs_or_sleeps_before_the_pair_is_kept(seen: Seen, window: str) -> None:
    found = {what for tape, kind in seen if kind == window for what in tape.forbidden()}

    assert not found, "\n".join(sorted(found))


def test_a_kill_in_the_window_flags_the_link_and_one_after_it_loses_nothing(
    stage: Stage, seen: Seen
) -> None:
    """A spread of its lines, the last before the first durable byte and the first after it."""
    tape = next(tape for tape, kind in seen if kind == RENEWAL)
    safe = first_safe_line(tape)
    sample = {safe * part // SAMPLE for part in range(SAMPLE)} | {safe - 1, safe}

    ends = {line: kill_at(stage, line).outcome for line in sorted(sample)}

    assert ends == {line: LOST if line < safe else "ok" for line in sorted(sample)}
