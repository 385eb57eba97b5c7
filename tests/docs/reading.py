"""Reads the documentation as its readers do: sections, tables, blocks of code, links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<(https?://[^>\s]+)>")
_CODE = re.compile(r"`([^`\n]+)`")

Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class Document:
    """One Markdown file, or one section of it."""

    path: Path
    text: str

    @classmethod
    def read(cls, name: str) -> Document:
        return cls.at(ROOT / name)

    @classmethod
    def at(cls, path: Path) -> Document:
        return cls(path, path.read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    def section(self, heading: str) -> Document:
        """What stands below a heading, down to the next of the same or a higher level."""
        found = [(m, len(m[1])) for m in _HEADING.finditer(self.without_blocks())]
        for number, (match, level) in enumerate(found):
            if match[2] == heading:
                rest = (m.start() for m, other in found[number + 1 :] if other <= level)
                return Document(self.path, self.text[match.end() : next(rest, None)])
        raise AssertionError(f"{self.name} has no heading {heading!r}")

    def rows(self) -> list[Row]:
        """The rows of all tables, without their heads."""
        rows: list[Row] = []
        lines = self.without_blocks().splitlines()
        around = zip(["", *lines], lines, [*lines[1:], ""], strict=False)
        for before, line, following in around:
            if not line.startswith("|") or re.fullmatch(r"[|:\- ]+", line):
                continue
            is_head = not before.startswith("|") and bool(re.fullmatch(r"[|:\- ]+", following))
            if not is_head:
                rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        return rows

    def blocks(self, language: str) -> list[str]:
        """The fenced blocks of a language, without the indentation of a list."""
        return [
            "".join(line.removeprefix(m[1]) for line in m[3].splitlines(keepends=True))
            for m in _FENCE.finditer(self.text)
            if m[2] == language
        ]

    def without_blocks(self) -> str:
        """The text with fenced blocks blanked out, so that places stay what they are."""
        return _FENCE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), self.text)

    def links(self) -> Iterator[str]:
        for match in _LINK.finditer(self.without_blocks()):
            yield match[1] or match[2]

    def code(self) -> Iterator[str]:
        """Every piece of inline code."""
        yield from (match[1] for match in _CODE.finditer(self.without_blocks()))

    def anchors(self) -> set[str]:
        """What `#…` can name here, by GitHub's rule."""
        return {
            re.sub(r"[^\w\- ]", "", match[2].lower()).replace(" ", "-")
            for match in _HEADING.finditer(self.without_blocks())
        }


def documents() -> list[Document]:
    """Every document of the repository."""
    names = ["README.md", "CHANGELOG.md", "SECURITY.md"]
    names += sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))
    return [Document.read(name) for name in names]


def name_in(cell: str) -> str:
    """The one name in code style that a cell begins with."""
    found = re.match(r"`([^`]+)`", cell)
    assert found, f"no name in code style at the start of {cell!r}"
    return found[1]
