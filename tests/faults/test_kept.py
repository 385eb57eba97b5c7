"""A sweep that was stopped goes on where it was, with the same code alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import kept
from tests.faults.cases import Case
from tests.faults.kept import Earlier, Found, Kept, Part
from tests.faults.oracle import Verdict

PART = Part("strict", "refresh, plan", 0, 2, every=9)
FOUND = Found([Verdict(Case("refresh, plan"), "ok")], 12.5)


def test_what_a_part_found_is_there_for_the_next_run(tmp_path: Path) -> None:
    Kept(tmp_path).keep(PART, FOUND)

    assert Kept(tmp_path).find(PART) == FOUND


def test_a_run_that_begins_anew_finds_nothing_and_keeps(tmp_path: Path) -> None:
    anew = Kept(tmp_path, begins_anew=True)

    anew.keep(PART, FOUND)

    assert anew.find(PART) is None
    assert Kept(tmp_path).find(PART) == FOUND


def test_what_earlier_code_found_is_taken_for_all_but_what_changed(tmp_path: Path) -> None:
    Kept(tmp_path).keep(PART, FOUND)
    (tmp_path / Kept(tmp_path).code).rename(tmp_path / "earlier")

    taken = Kept(tmp_path, begins_anew=True, earlier=Earlier("earlier", but=["tokens"]))
    anew = Kept(tmp_path, earlier=Earlier("earlier", but=["refresh, plan"]))

    assert taken.find(PART) == FOUND
    assert anew.find(PART) is None


def test_another_part_has_found_nothing(tmp_path: Path) -> None:
    Kept(tmp_path).keep(PART, FOUND)

    assert Kept(tmp_path).find(Part("strict", "refresh, plan", 1, 2, every=9)) is None


def test_other_code_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Kept(tmp_path / "kept").keep(PART, FOUND)
    for folder in kept._SOURCES:
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / kept._SOURCES[0] / "renewal.py").write_text("changed = True\n")
    monkeypatch.setattr(kept, "ROOT", tmp_path)

    assert Kept(tmp_path / "kept").find(PART) is None
