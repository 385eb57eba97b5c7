"""The threat model names a test for each requirement, and each test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.docs.reading import ROOT, Document, Row

PAGE = Document.read("docs/threat-model.md")
REQUIREMENTS = PAGE.section("Requirements and what shows them")
EVERY_ROW = [f"S{number}" for number in range(1, 101)]
REASONS = ("Only AWS shows ", "Does not apply")
_TEST = re.compile(r"\[`(tests/[\w/]+\.py)::([\w:]+)`\]\(\.\./([^)]+)\)")


@cache
def collected_from(path: str) -> frozenset[str]:
    """What pytest would collect from a file, without its parameters."""
    names = []
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.ClassDef):
            names += [f"{node.name}::{m.name}" for m in node.body if isinstance(m, ast.FunctionDef)]
    return frozenset(n for n in names if n.rpartition("::")[2].startswith("test_"))


def unshown(row: Row) -> list[str]:
    """What is wrong with the last cell of a row: tests that are not there, or nothing at all."""
    named = _TEST.findall(row[-1])
    wrong = [
        f"{path}::{name}"
        for path, name, target in named
        if target != path or not (ROOT / path).is_file() or name not in collected_from(path)
    ]
    if row[-1].count("`tests/") != len(named):
        wrong.append(f"a test without its link: {row[-1]}")
    has_reason = any(part.startswith(REASONS) for part in row[-1].split("<br>"))
    return wrong if named or has_reason else ["neither a test nor a reason"]


def test_every_requirement_has_one_row() -> None:
    assert [row[0] for row in REQUIREMENTS.rows()] == EVERY_ROW


@pytest.mark.parametrize("row", REQUIREMENTS.rows(), ids=lambda row: str(row[0]))
def test_each_row_has_tests_that_exist_or_a_reason(row: Row) -> None:
    assert len(row) == 4
    assert unshown(row) == []


@pytest.mark.parametrize(
    "row", PAGE.section("Tried as an attacker").rows(), ids=lambda row: str(row[0])[:40]
)
def test_each_attempt_has_tests_that_exist(row: Row) -> None:
    assert len(row) == 3
    assert unshown(row) == []


HERE = "tests/docs/test_threat_model.py"
LOOK = "tests/browser/test_linking.py"


@pytest.mark.parametrize(
    ("cell", "is_shown"),
    [
        (f"[`{HERE}::test_a_gap_would_be_found`](../{HERE})", True),
        (f"[`{LOOK}::TestLook::test_look`](../{LOOK})", True),
        ("Only AWS shows it: a reason.", True),
        ("Does not apply: there is no such thing.", True),
        ("", False),
        ("it is obvious", False),
        (f"[`{HERE}::test_nothing`](../{HERE})", False),
        (f"[`{HERE}::unshown`](../{HERE})", False),
        ("[`tests/docs/test_x.py::test_x`](../tests/docs/test_x.py)", False),
        (f"[`{HERE}::test_a_gap_would_be_found`](../README.md)", False),
        (f"`{HERE}::test_a_gap_would_be_found`", False),
    ],
)
def test_a_gap_would_be_found(cell: str, is_shown: bool) -> None:
    assert (unshown(["S1", "x", "y", cell]) == []) is is_shown


def test_standards_and_actors_point_at_rows_that_exist() -> None:
    pointing = [PAGE.section("Standards"), PAGE.section("Who might")]
    named = {name for part in pointing for name in re.findall(r"\bS\d+\b", part.text)}

    assert len(named) > 30
    assert named <= set(EVERY_ROW)


def test_every_row_of_the_standards_leads_somewhere() -> None:
    for row in PAGE.section("Standards").rows():
        assert re.search(r"\bS\d+\b", row[-1]) or row[-1].startswith("none: "), row


def test_every_function_that_could_be_taken_over_is_told() -> None:
    told = {row[0].strip("`") for row in PAGE.section("Who might").rows() if row[0][0] == "`"}

    assert told == {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
