"""`make bench`: write the table of docs/performance.md.

python -m benchmarks.speed .aws-sam/build .aws-sam/plain             some minutes
python -m benchmarks.speed .aws-sam/build .aws-sam/plain --rounds 1  a look, and nothing written
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.document import README, write_part
from benchmarks.machine import machine
from benchmarks.renewal.setting import ROOT, Setting
from benchmarks.renewal.throughput import WAYS as RENEWAL_WAYS
from benchmarks.renewal.throughput import measure as measure_renewals
from benchmarks.speed import cold, others
from benchmarks.speed.cold import OURS, USUAL, WAYS, Places
from benchmarks.speed.report import Figures, report, sentences
from benchmarks.speed.shares import SIZES, share
from benchmarks.speed.stage import FUNCTIONS, People, World, world

ROUNDS = 5
COUNT = 40
"""Links and hand-outs measured in one process."""
RENEWALS = 80
SHARED_ROUNDS = 2
"""Fewer of cold starts with a part of a core, which are slow by design."""

_began = time.monotonic()


def say(text: str) -> None:
    """A line of progress, apart from the results."""
    sys.stderr.write(f"[{time.monotonic() - _began:4.0f} s] {text}\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("build", type=Path, help="what `make build` left")
    parser.add_argument("plain", type=Path, help="what `sam build` alone leaves")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--count", type=int, default=COUNT, help="links in one process")
    parser.add_argument("--python", type=Path, default=ROOT / ".venv-bench" / "bin" / "python")
    given = parser.parse_args()
    build, plain = given.build.resolve(), given.plain.resolve()
    figures = measure(build, plain, given.python, given.rounds, given.count)
    text = report(figures, machine(given.python), given.rounds)
    if given.rounds >= ROUNDS:
        write_part("bench", text)
        write_part("bench", sentences(figures), README)
    sys.stdout.write(text + "\n")


def measure(build: Path, plain: Path, python: Path, rounds: int, count: int) -> Figures:
    """Everything, way after way and round after round, so that a busy machine slows all alike."""
    figures = Figures()
    say("making people")
    people = People(
        Setting.read(),
        # Each cold start of ours uses one up, and each link of a warm process.
        starting=rounds * (2 + count + others.WARM) + len(SIZES) * SHARED_ROUNDS,
        returning=rounds * 2 + len(SIZES) * SHARED_ROUNDS,
        linked=rounds * 8 + 4 * len(SIZES) * SHARED_ROUNDS,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places = Places(python.absolute(), build, plain, _site_packages(python), folder)
        places.copy()
        with world(people, folder) as stage:
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}: cold starts")
                _cold(figures, people, stage, places)
                say(f"round {number + 1} of {rounds}: links and tokens")
                _warm(figures, people, stage, places, count)
            for number in range(min(rounds, SHARED_ROUNDS)):
                say(f"round {number + 1} of {min(rounds, SHARED_ROUNDS)}: cold starts by memory")
                _by_memory(figures, people, stage, places)
        figures.add("sealing", OURS, others.sealing(people, 3000))
    _renewals(figures, python, rounds)
    return figures


def _cold(figures: Figures, people: People, stage: World, places: Places) -> None:
    for function in FUNCTIONS:
        for way in WAYS:
            ran = cold.measure(function, way, people, stage, places)
            if ran is not None:
                figures.add(f"cold {function}", way, ran.whole_cpu_ms)
                figures.add(f"memory {function}", way, ran.peak_mb)


def _by_memory(figures: Figures, people: People, stage: World, places: Places) -> None:
    for memory_mb in SIZES:
        with share(memory_mb) as group:
            if group is None:
                say("this machine lets nobody divide a core: left out")
                return
            for function in FUNCTIONS:
                ran = cold.measure(function, OURS, people, stage, places, group)
                if ran is not None:
                    figures.add(f"duration {function}", f"{memory_mb}", ran.wall_ms)


def _warm(figures: Figures, people: People, stage: World, places: Places, count: int) -> None:
    for way, link in ((OURS, others.our_link), (USUAL, others.usual_link)):
        sent, landed = link(people, stage, places, count)
        figures.add("authorize", way, sent)
        figures.add("callback", way, landed)
        figures.add("link", way, sent + landed)
    for library in ("with_allauth", "with_authlib"):
        took = others.library_link(library, people, stage, places, count)
        figures.add("link", library, took)
    for way in (OURS, USUAL):
        figures.add("vend", way, others.vend(way, people, stage, places, 5 * count))
    figures.add("sealing", "kms", others.sealing_by_kms(stage, places, 2 * count))


def _renewals(figures: Figures, python: Path, rounds: int) -> None:
    """What `make bench-renewal` measures, in short."""
    runs = measure_renewals(
        RENEWAL_WAYS,
        rounds=rounds,
        accounts={way.name: RENEWALS if way.ours else RENEWALS // 2 for way in RENEWAL_WAYS},
        python=python,
        latency_ms=100,
        aws_latency_ms=4,
        say=say,
    )
    for run in runs:
        each = 1000 * run.measured.cpu_seconds / run.measured.renewed
        figures.add("renewal", run.way, each)


def _site_packages(python: Path) -> Path:
    found: Sequence[Path] = sorted((python.parent.parent / "lib").glob("python3*/site-packages"))
    return found[0].resolve()


if __name__ == "__main__":
    main()
