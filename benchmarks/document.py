"""The parts of documents that commands write, between two comments each."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PERFORMANCE, README = ROOT / "docs" / "performance.md", ROOT / "README.md"


def read_part(name: str, document: Path = PERFORMANCE) -> str:
    """What stands there now."""
    found = _pattern(name).search(document.read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit(f"{document} has no place for {name}")
    return found[2].strip()


def write_part(name: str, text: str, document: Path = PERFORMANCE) -> None:
    """Put this in its place; the rest of the document stays as it is."""
    read_part(name, document)
    whole = document.read_text(encoding="utf-8")
    made = _pattern(name).sub(lambda found: f"{found[1]}\n\n{text.strip()}\n\n{found[3]}", whole)
    document.write_text(made, encoding="utf-8")


def _pattern(name: str) -> re.Pattern[str]:
    # Each part says by which command it is written.
    return re.compile(rf"(<!-- {name}: [^>]*-->)(.*?)(<!-- end of {name} -->)", re.DOTALL)
