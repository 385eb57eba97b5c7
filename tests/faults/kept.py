"""What parts of a sweep have found, so that one which was stopped goes on where it was.

A part is a scenario under one kind of rotation, or a share of it. What it found counts for the code
that it ran: a change of the product or of the sweep itself begins anew.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.oracle import Verdict

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "artifacts" / "faults"
_SOURCES = ("layers/linking/tiktok_linking", "functions", "tests/faults")


@dataclass(frozen=True, slots=True)
class Part:
    """One scenario under one kind of rotation: every ``every``-th case, share ``share``."""

    rotation: str
    scenario: str
    share: int
    of: int
    every: int

    def __str__(self) -> str:
        return (
            f"{self.rotation}, {self.scenario}, {self.share + 1} of {self.of}, every {self.every}"
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What a part found, and how long it took."""

    verdicts: Sequence[Verdict]
    seconds: float


class Kept:
    """The parts that are done, on disk."""

    def __init__(self, folder: Path = FOLDER, *, begins_anew: bool = False) -> None:
        """``begins_anew`` finds nothing of an earlier run, and keeps what this one finds."""
        self._folder = folder / _digest()
        self._begins_anew = begins_anew

    def find(self, part: Part) -> Found | None:
        """What an earlier run of the same code found for this part."""
        file = self._folder / f"{part}.pickle"
        if self._begins_anew or not file.exists():
            return None
        found: Found = pickle.loads(file.read_bytes())  # noqa: S301 - our own file
        return found

    def keep(self, part: Part, found: Found) -> None:
        """Write what a part found."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{part}.pickle").write_bytes(pickle.dumps(found))


def _digest() -> str:
    hasher = hashlib.sha256()
    for folder in _SOURCES:
        for file in sorted((ROOT / folder).rglob("*.py")):
            hasher.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return hasher.hexdigest()[:12]
