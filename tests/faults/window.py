"""The critical window: from the last byte of TikTok's answer to the first durable byte.

    python -m tests.faults.window            # what runs in it, and how long it takes
    python -m tests.faults.window --kill     # end the process at each of its lines, too
    python -m tests.faults.window --write    # list what may run in it, in window.txt

While it is open, a pair that TikTok has issued is in this process's memory and nowhere else. What
runs in it is observed on real invocations (`local.probe`). `window.txt` names every statement that
may; a new one fails tests/faults/test_window.py, so that nobody widens the window by accident.

The first durable byte is the journal's: a file, written and named.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import math
import statistics
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from local.configuration import ROOT
from local.probe import ACKNOWLEDGED, BYTE, DURABLE, FORBIDDEN, LINE
from local.testing import running_world
from tests.faults.people import ACCESS_SECONDS, Stage

LISTED = Path(__file__).with_name("window.txt")
PACKAGE = Path("layers/linking/tiktok_linking")
RENEWAL = "renewal"
EXCHANGE = "exchange"
REST = 70
"""Seconds between two tries: past the lease (35 s) and the wait for recovery (30 s)."""

AT_TIKTOK = {"service": "tiktok", "call": 1, "onwards": True}
"""TikTok's first call of an invocation is the one that spends."""

VARIANTS: tuple[Mapping[str, Any], ...] = (
    {},
    {"omit_refresh_token": True},
    {"omit_refresh_expires_in": True},
    {"numbers_as_strings": True},
    {"deadline": "sliding"},
)
"""Answers of different shapes, which take different ways through the window."""

_ORDINARY = {
    "omit_refresh_token": False,
    "omit_refresh_expires_in": False,
    "numbers_as_strings": False,
    "deadline": "fixed",
}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of ours, by its text: a moved line is the same statement."""

    file: str
    function: str
    text: str

    def __str__(self) -> str:
        return f"{self.file} | {self.function} | {self.text}"


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that `local.probe` saw."""

    kind: str
    nanoseconds: int
    detail: str
    line: int


class Tape:
    """What `local.probe` saw of one invocation, up to the acknowledgement of its save."""

    def __init__(self, marks: Sequence[Mark], *, end: str) -> None:
        kinds = [mark.kind for mark in marks]
        self.marks = marks
        self._open = max(number for number, kind in enumerate(kinds) if kind == BYTE)
        self._durable = kinds.index(end)
        assert self._open < self._durable, "the answer was not read before it was kept"

    @property
    def early_lines(self) -> int:
        """Lines of ours between the head of the answer and its last byte."""
        return _lines(self.marks[: self._open])

    @property
    def inside(self) -> Sequence[Mark]:
        """What happened in the window."""
        return self.marks[self._open : self._durable]

    @property
    def lines(self) -> int:
        return _lines(self.inside)

    @property
    def lines_to_acknowledgement(self) -> int:
        return _lines(self.marks[self._open :])

    def milliseconds_to(self, kind: str) -> float:
        """The time from the last byte of the answer."""
        end = next(mark for mark in self.marks if mark.kind == kind)
        return (end.nanoseconds - self.marks[self._open].nanoseconds) / 1e6

    def statements(self, root: Path = ROOT) -> list[Statement]:
        """The distinct statements in the window, in the order in which they first ran."""
        places = dict.fromkeys((m.detail, m.line) for m in self.inside if m.kind == LINE)
        return list(dict.fromkeys(statement_at(root, file, line) for file, line in places))

    def forbidden(self, root: Path = ROOT) -> list[str]:
        """Calls to the network, log records and sleeps in the window, each with its statement."""
        found = []
        place = "before any line of ours"
        for mark in self.inside:
            if mark.kind == LINE:
                place = f"{PACKAGE / mark.detail}:{mark.line}"
            elif mark.kind in FORBIDDEN:
                found.append(f"{mark.kind} {mark.detail} at {place}")
        return found


def _lines(marks: Iterable[Mark]) -> int:
    return sum(mark.kind == LINE for mark in marks)


# -- observing ---------------------------------------------------------------------------------


class Observer:
    """Watches real invocations in a running world."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self._report = folder / "tape"
        stage.world.tiktok("POST", "/settings", {"access_seconds": ACCESS_SECONDS})

    def renewals(self, account: str, count: int, *, traced: bool) -> list[Tape]:
        """Renew the account's grant so often, each time because its token has died."""
        for _ in range(count):
            self.stage.world.advance(seconds=ACCESS_SECONDS + 100)
            self._arm("refresh", traced=traced)
            answer = self.stage.vend(account)
            assert answer.status_code == 200, answer.text
        return self._tapes(count, end=DURABLE)

    def exchanges(self, count: int, *, traced: bool) -> list[Tape]:
        """Link so many accounts."""
        tapes = []
        for _ in range(count):
            self._arm("callback", traced=traced)
            self.stage.link(self.stage.person())
            # The profile's answer comes after the save; it is watched too, and nobody's matter.
            tapes += self._tapes(1, end=DURABLE)
        return tapes

    def statements(self, root: Path = ROOT) -> dict[str, list[Statement]]:
        """Everything that runs in either window, whatever the shape of the answer."""
        found: dict[str, dict[Statement, None]] = {RENEWAL: {}, EXCHANGE: {}}
        for tape, window in self.variants():
            found[window] |= dict.fromkeys(tape.statements(root))
        return {window: list(statements) for window, statements in found.items()}

    def variants(self) -> Iterator[tuple[Tape, str]]:
        """One traced renewal and one traced exchange for each shape of answer."""
        account = self.stage.link(self.stage.person())
        for settings in VARIANTS:
            self.stage.world.tiktok("POST", "/settings", {**_ORDINARY, **settings})
            yield self.renewals(account, 1, traced=True)[0], RENEWAL
            yield self.exchanges(1, traced=True)[0], EXCHANGE
        self.stage.world.tiktok("POST", "/settings", _ORDINARY)

    def _arm(self, function: str, *, traced: bool) -> None:
        kind = "trace_window" if traced else "time_window"
        self.stage.world.arm_fault(function, kind=kind, report=str(self._report), **AT_TIKTOK)

    def _tapes(self, count: int, *, end: str) -> list[Tape]:
        lines = self._report.read_text().splitlines()
        self._report.unlink()
        assert len(lines) >= count, "an invocation was not watched to its save"
        return [Tape([Mark(*mark) for mark in json.loads(line)], end=end) for line in lines[:count]]


@contextmanager
def observing() -> Iterator[Observer]:
    """A world of its own, with a folder for what is seen."""
    with tempfile.TemporaryDirectory() as folder, running_world(SCOPES_OPTIONAL="") as world:
        yield Observer(Stage(world), Path(folder))


# -- statements --------------------------------------------------------------------------------


def statement_at(root: Path, file: str, line: int) -> Statement:
    """The innermost statement whose own lines hold this one; of a block, its head alone."""
    known = _statements((root / PACKAGE / file).resolve())
    return known.get(line) or Statement(file, "?", f"line {line}")


@cache
def _statements(path: Path) -> dict[int, Statement]:
    source = path.read_text()
    rows = _without_comments(source)
    file = path.as_posix().rpartition(f"{PACKAGE.name}/")[2]
    found: dict[int, Statement] = {}

    def visit(node: ast.AST, function: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.excepthandler):
                own = range(child.lineno, _last_of_head(child) + 1)
                text = " ".join(" ".join(rows[number - 1] for number in own).split())
                found.update(dict.fromkeys(own, Statement(file, function, text)))
            inner = function
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inner = f"{function}.{child.name}".lstrip(".")
            visit(child, inner)

    visit(ast.parse(source), "")
    return found


def _last_of_head(node: ast.stmt | ast.excepthandler) -> int:
    """The last line of a statement; of one with a body, of what stands before the body."""
    body = getattr(node, "body", None)
    if isinstance(body, list) and body:
        return max(node.lineno, int(body[0].lineno) - 1)
    return node.end_lineno or node.lineno


def _without_comments(source: str) -> list[str]:
    """The lines of a source; a comment may change without changing what runs."""
    rows = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            rows[row - 1] = rows[row - 1][:column]
    return rows


# -- the list ----------------------------------------------------------------------------------


def listed() -> dict[str, list[str]]:
    """What may run in the windows, from window.txt."""
    windows: dict[str, list[str]] = {}
    current: list[str] = []
    for line in LISTED.read_text().splitlines():
        if line.startswith("["):
            current = windows.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            current.append(line)
    return windows


def write_list(statements: Mapping[str, Sequence[Statement]]) -> None:
    text = [
        "# The statements of ours that may run while a fresh pair is in memory alone.",
        "# tests/faults/window.py says what the windows are and writes this list (--write);",
        "# a statement that is not here fails tests/faults/test_window.py. Add one only if it must",
        "# run before the pair is kept.",
    ]
    for window, found in statements.items():
        text += ["", f"[{window}]", *map(str, found)]
    LISTED.write_text("\n".join(text) + "\n")


# -- killing -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Killed:
    """How a renewal ended whose process ended at a line."""

    line: int
    outcome: str


def kill_at(stage: Stage, line: int) -> Killed:
    """End the process when so many lines of ours have run after TikTok's answer; then recover."""
    account = stage.link(stage.person())
    stage.world.advance(seconds=ACCESS_SECONDS + 100)
    stage.world.arm_fault("refresh", kind="kill_line", line=line, **AT_TIKTOK)
    stage.vend(account)
    for _ in range(2):
        stage.world.advance(seconds=REST)
        stage.vend(account)
    answer = stage.vend(account)
    body = answer.json()
    if answer.status_code == 200:
        is_alive = stage.is_alive(body["access_token"])
        return Killed(line, "ok" if is_alive else "silent: the vended token is dead")
    if body.get("code") == "relink_required":
        return Killed(line, f"relink_required, {body.get('reason')}")
    return Killed(line, f"silent: {answer.status_code} {body.get('code')}")


class WrongEnd(Exception):
    """With the whole report and each wrong end."""


LOST = "relink_required, rotation_lost"


def first_safe_line(tape: Tape) -> int:
    """The line that begins first after the first durable byte, counted as `kill_line` counts."""
    return tape.early_lines + tape.lines


# -- the report --------------------------------------------------------------------------------


def report(*, count: int = 300, kill: bool = False) -> str:
    """Observe, and tell it in Markdown. Timed invocations are not traced: tracing slows them.

    Raises:
        WrongEnd: a renewal that was killed at a line did not end as that line must.
    """
    with observing() as observer:
        account = observer.stage.link(observer.stage.person())
        observer.renewals(account, 3, traced=False)  # the first ones load code and open connections
        traced = {
            RENEWAL: observer.renewals(account, 1, traced=True)[0],
            EXCHANGE: observer.exchanges(1, traced=True)[0],
        }
        timed = {
            RENEWAL: observer.renewals(account, count, traced=False),
            EXCHANGE: observer.exchanges(count, traced=False),
        }
        text = _measured(traced, timed, count)
        if kill:
            tape = traced[RENEWAL]
            total = tape.early_lines + tape.lines_to_acknowledgement + 1
            killed = [_told(kill_at(observer.stage, line), total) for line in range(total)]
            text += "\n" + _killed(tape, killed)
            safe = first_safe_line(tape)
            wrong = [k for k in killed if k.outcome != (LOST if k.line < safe else "ok")]
            if wrong:
                raise WrongEnd("\n".join([text, *map(str, wrong)]))
    return text


def new_statements() -> list[str]:
    """What runs in a window of this code and is not in window.txt."""
    with observing() as observer:
        ran = observer.statements()
    known = listed()
    return [
        f"{window}: {statement}"
        for window, statements in ran.items()
        for statement in map(str, statements)
        if statement not in known[window]
    ]


def section(*, kill: bool) -> str:
    """What docs/faults.md says of the window; ``kill`` ends the process at each line of it.

    Raises:
        WrongEnd: a kill ended otherwise than it must.
    """
    return (
        "## The window\n\n"
        "A pair is in memory alone from the last byte of TikTok's answer to the first durable byte,"
        " which is the journal's. `python -m tests.faults.window` measures it (`--kill` ends the"
        " process at each of its lines), and tests/faults/window.txt names every statement that"
        f" may run in it: a new one fails the tests.\n\n{report(count=100, kill=kill)}"
    )


def _told(killed: Killed, total: int) -> Killed:
    if sys.stderr.isatty():
        print(f"\rkilled at line {killed.line}/{total}", end="", file=sys.stderr)
    return killed


def _measured(traced: Mapping[str, Tape], timed: Mapping[str, Sequence[Tape]], count: int) -> str:
    renewal, exchange = traced[RENEWAL], traced[EXCHANGE]
    rows = [
        ("lines of ours that run before it", renewal.lines, exchange.lines),
        ("distinct statements", len(renewal.statements()), len(exchange.statements())),
        (
            "calls to network or KMS, log records, sleeps",
            len(renewal.forbidden()),
            len(exchange.forbidden()),
        ),
        (
            "to the first durable byte, median / p99 / max ms",
            _spread(timed[RENEWAL], DURABLE),
            _spread(timed[EXCHANGE], DURABLE),
        ),
        (
            "to DynamoDB's acknowledgement, median / p99 / max ms",
            _spread(timed[RENEWAL], ACKNOWLEDGED),
            _spread(timed[EXCHANGE], ACKNOWLEDGED),
        ),
        (
            "lines of ours up to there",
            renewal.lines_to_acknowledgement,
            exchange.lines_to_acknowledgement,
        ),
    ]
    lines = ["| from the last byte of TikTok's answer | renewal | linking |", "|---|---:|---:|"]
    lines += [f"| {what} | {left} | {right} |" for what, left, right in rows]
    lines += [
        "",
        f"Times of {count} renewals and {count} links that were timed and not traced;"
        " lines of others that were traced and not timed.",
        "The acknowledgement is MiniStack's, over loopback: on AWS its time is the network's.",
    ]
    return "\n".join(lines) + "\n"


def _spread(tapes: Sequence[Tape], kind: str) -> str:
    times = sorted(tape.milliseconds_to(kind) for tape in tapes)
    p99 = times[math.ceil(0.99 * len(times)) - 1]
    return f"{statistics.median(times):.2f} / {p99:.2f} / {times[-1]:.2f}"


def _killed(tape: Tape, killed: Sequence[Killed]) -> str:
    safe = first_safe_line(tape)
    parts = {
        "between head and last byte of the answer": range(tape.early_lines),
        "in the window": range(tape.early_lines, safe),
        "after the first durable byte": range(safe, len(killed)),
    }
    lines = [
        "| killed at each line of ours | lines | ok | relink_required, rotation_lost | other |",
        "|---|---:|---:|---:|---:|",
    ]
    for what, part in parts.items():
        ends = Counter(killed[line].outcome for line in part)
        other = ends.total() - ends["ok"] - ends[LOST]
        lines.append(f"| {what} | {len(part)} | {ends['ok']} | {ends[LOST]} | {other} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print the report; with --write, write the list of what may run."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--count", type=int, default=300, help="timed renewals and links")
    arguments.add_argument("--kill", action="store_true", help="end the process at every line")
    arguments.add_argument("--write", action="store_true", help="write window.txt and end")
    wanted = arguments.parse_args()
    if wanted.write:
        with observing() as observer:
            statements = observer.statements()
        write_list(statements)
        print(", ".join(f"{window}: {len(found)}" for window, found in statements.items()))
        return 0
    try:
        print(report(count=wanted.count, kill=wanted.kill), end="")
    except WrongEnd as wrong:
        print(wrong)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
