"""The parts of docs/performance.md that commands write, between two comments each."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


def read_part(name: str) -> str:
    """What stands there now."""
    found = _pattern(name).search(DOCUMENT.read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit(f"{DOCUMENT} has no place for {name}")
    return found[2].strip()


def write_part(name: str, text: str) -> None:
    """Put this in its place; the rest of the document stays as it is."""
    read_part(name)
    whole = DOCUMENT.read_text(encoding="utf-8")
    made = _pattern(name).sub(lambda found: f"{found[1]}\n\n{text.strip()}\n\n{found[3]}", whole)
    DOCUMENT.write_text(made, encoding="utf-8")


def _pattern(name: str) -> re.Pattern[str]:
    # Each part says by which command it is written.
    return re.compile(rf"(<!-- {name}: [^>]*-->)(.*?)(<!-- end of {name} -->)", re.DOTALL)
