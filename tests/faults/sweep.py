"""The crash sweep: a fault at every call of every function that spends or stores tokens.

    make faults                       # all of it, a table in docs/faults.md
    make faults FAULTS=--go-on        # where it was stopped, with the same code
    python -m tests.faults.sweep -h   # parts of it

Each case has links of its own. Faults are put at calls of an invocation; then they are over, the
clock moves on twice, and the stack is used as usual. An oracle compares what TikTok holds alive
with what the stack can vend (``oracle``); ``scenarios`` has the handlers, ``cases`` the faults.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from local.testing import WorldHandle, running_world
from tests.faults import window
from tests.faults.cases import Case
from tests.faults.kept import Earlier, Found, Kept, Part
from tests.faults.oracle import NOT_REACHED, Verdict
from tests.faults.people import ACCESS_SECONDS, Stage
from tests.faults.report import page, summary, wrong_ends
from tests.faults.scenarios import SCENARIOS, Scenario

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"
ROTATIONS = ("strict", "grace", "family")
GRACE_SECONDS = 86_400
REFRESH_SECONDS = 5 * 365 * 86_400
"""No link ends by its age: a sweep's clock moves on by months."""
MOST_TRIES = 3
BROKEN = (AssertionError, KeyError, ValueError, requests.RequestException)
"""How a case ends that did not work itself."""
WORLD = {"SCOPES_OPTIONAL": "", "FUNCTION_CONCURRENCY": "8"}


class Sweep:
    """Runs cases in one world under one kind of rotation."""

    def __init__(self, world: WorldHandle, rotation: str) -> None:
        self.stage = Stage(world)
        self.rotation = rotation
        settings = {
            "rotation": rotation,
            "grace_seconds": GRACE_SECONDS,
            "access_seconds": ACCESS_SECONDS,
            "refresh_seconds": REFRESH_SECONDS,
        }
        world.tiktok("POST", "/settings", settings)
        world.share_waits()
        # The first link of a world makes the data keys, which no later case does again.
        self.stage.keep([self.stage.link(self.stage.person())])

    def scenario(self, kind: type[Scenario]) -> Scenario:
        return kind(self.stage, self.rotation)

    def cases(self, scenario: Scenario) -> list[Case]:
        """Enumerate by watching runs without a fault; a second time if the first broke off."""
        # What earlier cases left falls out of use, so that no plan finds it due.
        self.stage.world.advance(hours=25)
        try:
            return list(scenario.cases())
        except BROKEN as error:
            print(f"\r{scenario.name}: {type(error).__name__}: {error}", file=sys.stderr)
            self.stage.repair()
            return list(scenario.cases())

    def run(self, scenario: Scenario, cases: Sequence[Case]) -> Iterator[list[Verdict]]:
        """Judge the cases group by group; what did not come to its call is tried again."""
        left, tries = list(cases), 1
        while left:
            again: list[Case] = []
            for start in range(0, len(left), scenario.group):
                verdicts = self._course(scenario, left[start : start + scenario.group])
                if tries < MOST_TRIES:
                    again += [v.case for v in verdicts if v.outcome == NOT_REACHED]
                    verdicts = [v for v in verdicts if v.outcome != NOT_REACHED]
                yield verdicts
            left, tries = again, tries + 1

    def _course(self, scenario: Scenario, cases: Sequence[Case]) -> list[Verdict]:
        """Run a group; where one case breaks it, each of them alone, so that one is found."""
        try:
            return scenario.run(cases)
        except BROKEN as error:
            self.stage.repair()
            if len(cases) == 1:
                return [Verdict(cases[0], "broken", f"{type(error).__name__}: {error}")]
        return [verdict for case in cases for verdict in self._course(scenario, [case])]


class Progress:
    """One line that tells how far all worlds are, and each wrong end as it comes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._expected: dict[object, int] = {}
        self._done = 0
        self._wrong = 0

    def expect(self, what: object, cases: int) -> None:
        with self._lock:
            self._expected[what] = cases

    def add(self, rotation: str, verdicts: Sequence[Verdict]) -> None:
        with self._lock:
            self._done += len(verdicts)
            for verdict in verdicts:
                if verdict.outcome == NOT_REACHED:
                    print(f"\rnot reached: {rotation} {verdict.case}", file=sys.stderr)
            for line in wrong_ends(verdicts):
                self._wrong += 1
                print(f"\rWRONG {rotation} {line}", file=sys.stderr)
            expected = sum(self._expected.values())
            took = time.monotonic() - self._began
            left = took / max(1, self._done) * max(0, expected - self._done)
            print(
                f"\r{rotation}: {self._done} of {expected} known so far, {self._wrong} wrong,"
                f" {took / 60:.1f} min, about {left / 60:.1f} min to go ",
                end="" if sys.stderr.isatty() else "\n",
                file=sys.stderr,
            )


def sweep_share(
    rotation: str,
    wanted: Sequence[type[Scenario]],
    share: int,
    of: int,
    progress: Progress,
    every: int,
    kept: Kept,
) -> list[Found]:
    """A share of all cases, every ``of``-th, in a world of its own; what is kept is not run."""
    parts = {kind: Part(rotation, kind.name, share, of, every) for kind in wanted}
    known = {kind: found for kind in wanted if (found := kept.find(parts[kind]))}
    for kind, found in known.items():
        progress.expect(parts[kind], len(found.verdicts))
        progress.add(rotation, found.verdicts)
    if len(known) == len(wanted):
        return list(known.values())
    with running_world(**WORLD) as world:
        sweep = Sweep(world, rotation)
        for kind in wanted:
            if kind in known:
                continue
            scenario = sweep.scenario(kind)
            cases = sweep.cases(scenario)[::every][share::of]
            progress.expect(parts[kind], len(cases))
            began = time.monotonic()
            verdicts: list[Verdict] = []
            for group in sweep.run(scenario, cases):
                verdicts += group
                progress.add(rotation, group)
            known[kind] = Found(verdicts, time.monotonic() - began)
            kept.keep(parts[kind], known[kind])
            print(f"\r{parts[kind]}: {known[kind].seconds:.0f} s", file=sys.stderr)
    return list(known.values())


def in_order(wanted: Sequence[type[Scenario]], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The shares put together, scenario by scenario."""
    by_name: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        by_name[verdict.case.scenario].append(verdict)
    return [verdict for kind in wanted for verdict in by_name[kind.name]]


def sweep_rotation(
    rotation: str,
    wanted: Sequence[type[Scenario]],
    worlds: int,
    progress: Progress,
    every: int,
    kept: Kept,
) -> Found:
    """All cases of a rotation, in several worlds at a time."""
    with ThreadPoolExecutor(worlds) as threads:
        shares = [
            threads.submit(sweep_share, rotation, wanted, share, worlds, progress, every, kept)
            for share in range(worlds)
        ]
        parts = [found for share in shares for found in share.result()]
    verdicts = [verdict for found in parts for verdict in found.verdicts]
    return Found(in_order(wanted, verdicts), sum(found.seconds for found in parts) / worlds)


def swept(code: str, earlier: Earlier | None) -> str:
    """Which code this is about, by the digest that ``artifacts/faults`` has folders of."""
    if earlier is None:
        return f"The code's digest (tests/faults/kept.py) is `{code}`."
    anew = ", ".join(f"*{name}*" for name in earlier.but)
    return (
        f"The code's digest (tests/faults/kept.py) was `{earlier.code}`;"
        f" of `{code}`, after changes that concern them, are: {anew}."
    )


def main() -> int:
    """Run the sweep, print what it found, write docs/faults.md; 1 if anything is wrong."""
    names = ", ".join(f'"{kind.name}"' for kind in SCENARIOS)
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rotation", nargs="*", default=ROTATIONS, choices=ROTATIONS)
    arguments.add_argument("--only", nargs="*", help=f"scenarios: {names}")
    arguments.add_argument("--functions", nargs="*", help="handlers, such as refresh callback")
    arguments.add_argument("--worlds", type=int, default=2, help="worlds at a time")
    arguments.add_argument(
        "--every", type=int, default=1, help="only every n-th case, a first look"
    )
    arguments.add_argument(
        "--go-on",
        action="store_true",
        help="take what an earlier run of the same code has found, and run the rest",
    )
    arguments.add_argument(
        "--others-from",
        metavar="CODE",
        help="with --only, after a change: count beside it what earlier code found for the rest",
    )
    arguments.add_argument("--write", action="store_true", help="write docs/faults.md")
    given = arguments.parse_args()
    wanted = [
        kind
        for kind in SCENARIOS
        if (not given.only or kind.name in given.only)
        and (not given.functions or kind.function in given.functions)
    ]
    if not wanted:
        arguments.error(f"no such scenario; there are {names}")
    earlier = None
    if given.others_from:
        earlier = Earlier(given.others_from, [kind.name for kind in wanted])
        wanted = list(SCENARIOS)
    progress = Progress()
    kept = Kept(begins_anew=not given.go_on, earlier=earlier)
    found = {
        rotation: sweep_rotation(rotation, wanted, given.worlds, progress, given.every, kept)
        for rotation in given.rotation
    }
    results = {rotation: part.verdicts for rotation, part in found.items()}
    every = [verdict for verdicts in results.values() for verdict in verdicts]
    seconds = sum(part.seconds for part in found.values())
    text = page(
        results,
        seconds=seconds,
        worlds=given.worlds,
        every=given.every,
        code=swept(kept.code, earlier),
    )
    print(text)
    print(summary(every))
    is_whole = (len(results), len(wanted)) == (len(ROTATIONS), len(SCENARIOS))
    wider = window.new_statements() if is_whole else []
    for statement in wider:
        print(f"WRONG the window has a new statement, {statement}", file=sys.stderr)
    if given.write and is_whole:
        PAGE.write_text(f"{text}\n{window.section(kill=given.every == 1)}")
    elif given.write:
        print("not every rotation and scenario: docs/faults.md stays as it is", file=sys.stderr)
    return 0 if all(verdict.is_right for verdict in every) and not wider else 1


if __name__ == "__main__":
    sys.exit(main())
