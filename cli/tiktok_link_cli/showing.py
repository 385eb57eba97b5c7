"""What a person or a program reads: results on standard output, progress on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

_SAYS_EVERY_SECONDS = 2.0
_BAR = 24


class Failed(Exception):
    """A command cannot go on: what happened, and what helps."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.cure = cure


def plain(value: object) -> str:
    """A value for a terminal: what people wrote must not steer it."""
    text = "-" if value is None else str(value)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def show(result: Mapping[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    """Print one result: a JSON document, or lines for a person."""
    print(json.dumps(result, indent=2) if as_json else "\n".join(lines))


def table(rows: Sequence[Sequence[object]]) -> list[str]:
    """Columns as wide as they need to be; the first row is the head."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


class Progress:
    """How far a long command is: a bar on a terminal, a line now and then in a log."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._is_terminal = sys.stderr.isatty()
        self._said_at = 0.0

    def at(self, done: int) -> None:
        now = time.monotonic()
        is_last = done >= self._total
        if not is_last and now - self._said_at < (
            0.1 if self._is_terminal else _SAYS_EVERY_SECONDS
        ):
            return
        self._said_at = now
        said = f"{self._what}: {done} of {self._total}"
        if self._is_terminal:
            full = _BAR * done // max(1, self._total)
            said = f"\r[{'#' * full}{'.' * (_BAR - full)}] {said}"
        print(said, end="" if self._is_terminal and not is_last else "\n", file=sys.stderr)
