"""Cold starts with a first request: our functions as built, by plain `sam build`, and the peers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.processes import Ran, run_handler
from benchmarks.speed.stage import PEERS, People, World, good, peer_event

OURS, OURS_PLAIN, USUAL, USUAL_PLAIN, FLOOR = (
    "as built",
    "plain `sam build`",
    "usual, with bytecode",
    "usual, without",
    "by hand",
)
WAYS = (OURS, OURS_PLAIN, USUAL, USUAL_PLAIN, FLOOR)
PEER_FUNCTIONS = ("authorize", "callback", "tokens")
# Of the environment of the benchmark: what the usual stack would not have in its package.
_NOT_USUAL = ("django*", "allauth", "authlib", "joserfc", "flask", "werkzeug", "pip", "sqlparse")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the ways' code and packages lie."""

    python: Path
    build: Path
    plain: Path
    site_packages: Path
    copies: Path

    def path(self, way: str, function: str) -> list[Path] | None:
        """What a process sees of one way to have a function; None where there is no such way."""
        built = f"{function.capitalize()}Function"
        if way in (OURS, OURS_PLAIN):
            root = self.build if way == OURS else self.plain
            return [root / built, root / "LinkingLayer" / "python"]
        if way in (USUAL, USUAL_PLAIN) and function in PEER_FUNCTIONS:
            packages = self.site_packages if way == USUAL else self.copies / "usual"
            return [PEERS / "usual" / function, packages]
        if way == FLOOR and function == "authorize":
            return [PEERS / "floor" / function]
        return None

    def copy(self) -> None:
        """Copy the usual stack's packages without bytecode: what `sam build` ships of them."""
        _copy(self.site_packages, self.copies / "usual", *_NOT_USUAL)


def measure(
    function: str,
    way: str,
    people: People,
    world: World,
    places: Places,
    group: Path | None = None,
) -> Ran | None:
    """One cold start with its first request, in a process of its own and maybe in a ``group``."""
    path = places.path(way, function)
    if path is None:
        return None
    event = first_event(function, way, people)
    return _run(function, way, [event], 0, path, world, places, group)


def measure_warm(
    function: str, way: str, events: Sequence[Any], warm: int, world: World, places: Places
) -> Ran:
    """These requests in one process, the first of them unmeasured."""
    path = places.path(way, function)
    if path is None:
        raise AssertionError((function, way))
    return _run(function, way, events, warm, path, world, places)


def first_event(function: str, way: str, people: People) -> Any:
    """A request that nobody has made yet."""
    if way in (OURS, OURS_PLAIN):
        return people.first_event(function)
    return peer_event(function, people.number(), people.new_open_ids(1)[0])


def _run(
    function: str,
    way: str,
    events: Sequence[Any],
    warm: int,
    path: Sequence[Path],
    world: World,
    places: Places,
    group: Path | None = None,
) -> Ran:
    ran = run_handler(
        places.python,
        path,
        events,
        warm=warm,
        authorities="" if way == FLOOR else str(world.endpoints.authorities),
        variables=world.variables(function) if way in (OURS, OURS_PLAIN) else world.peers(),
        folder=world.folder,
        group=group,
    )
    for answer in ran.answers:
        if not good(answer):
            raise AssertionError(f"{function}, {way}: {answer}")
    return ran


def _copy(source: Path, target: Path, *left_out: str) -> None:
    """The same files without bytecode, linked rather than copied where the disk allows it."""

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copyfile(one, other)

    ignored = shutil.ignore_patterns("__pycache__", *left_out)
    shutil.copytree(source, target, ignore=ignored, copy_function=link)
