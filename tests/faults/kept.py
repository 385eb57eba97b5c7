"""What parts of a sweep have found, so that one which was stopped goes on where it was.

A part is a scenario under one kind of rotation, or a share of it. What it found counts for the code
that it ran: a change of the product or of the sweep itself begins anew.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Collection, Sequence
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


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier version of the code, and the scenarios that are not taken from it."""

    code: str
    but: Collection[str]


class Kept:
    """The parts that are done, on disk, by the code that they ran."""

    def __init__(
        self, folder: Path = FOLDER, *, begins_anew: bool = False, earlier: Earlier | None = None
    ) -> None:
        """``begins_anew`` finds nothing of an earlier run, and keeps what this one finds.

        What ``earlier`` code found is taken as it is.
        """
        self.code = _digest()
        self._folder = folder / self.code
        self._begins_anew = begins_anew
        self._earlier = earlier

    def find(self, part: Part) -> Found | None:
        """What an earlier run found for this part."""
        earlier = self._earlier
        if earlier is not None and part.scenario not in earlier.but:
            file = self._folder.with_name(earlier.code) / f"{part}.pickle"
        elif self._begins_anew:
            return None
        else:
            file = self._folder / f"{part}.pickle"
        if not file.exists():
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
