"""The journal on disk: it outlives the process, and half a file is no file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.adapters.test_parcels import AUTHORISED, RENEWED
from tests.fakes.happenings import Happenings
from tests.fakes.journal import MemoryJournal
from tiktok_linking.adapters.journal import FileJournal
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.ports import Journal


@pytest.fixture(params=["fake", "file"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    """The port Journal."""
    if request.param == "fake":
        return MemoryJournal(Happenings())
    return FileJournal(tmp_path / "journal")


def test_an_entry_is_found_by_grant_and_spent_token(journal: Journal) -> None:
    journal.append(RENEWED)

    assert journal.find(RENEWED.grant_id, RENEWED.spent) == RENEWED
    assert journal.find(RENEWED.grant_id, b"another") is None
    assert journal.find("x" * 24, RENEWED.spent) is None


def test_an_entry_is_forgotten_once_it_is_stored(journal: Journal) -> None:
    journal.append(RENEWED)

    journal.forget(RENEWED)
    journal.forget(RENEWED)

    assert journal.find(RENEWED.grant_id, RENEWED.spent) is None


def test_what_an_exchange_left_is_found_by_whoever_comes_next(journal: Journal) -> None:
    other = replace(AUTHORISED, write_id=b"auth-009")
    journal.append(AUTHORISED)
    journal.append(RENEWED)
    journal.append(other)

    assert sorted(pair.write_id for pair in journal.leftovers()) == [
        AUTHORISED.write_id,
        other.write_id,
    ]
    assert AUTHORISED in journal.leftovers()
    journal.forget(AUTHORISED)
    assert list(journal.leftovers()) == [other]


def test_nothing_is_left_where_nothing_died(journal: Journal) -> None:
    assert list(journal.leftovers()) == []


def test_entries_stand_beside_each_other(journal: Journal) -> None:
    other = replace(RENEWED, spent=b"t" * 16)
    journal.append(RENEWED)
    journal.append(other)

    journal.forget(RENEWED)

    assert journal.find(RENEWED.grant_id, other.spent) == other


def test_the_last_entry_of_a_token_counts(journal: Journal) -> None:
    newer = replace(RENEWED, write_id=b"newer")
    journal.append(RENEWED)

    journal.append(newer)

    assert journal.find(RENEWED.grant_id, RENEWED.spent) == newer


# -- on disk ------------------------------------------------------------------------------------


def test_an_entry_outlives_the_process(tmp_path: Path) -> None:
    FileJournal(tmp_path / "journal").append(RENEWED)

    found = FileJournal(tmp_path / "journal").find(RENEWED.grant_id, RENEWED.spent)

    assert found == RENEWED


def test_nobody_else_on_the_machine_reads_it(tmp_path: Path) -> None:
    FileJournal(tmp_path / "journal").append(RENEWED)

    (file,) = (tmp_path / "journal").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert (tmp_path / "journal").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kept", [0, 1, 50, -1])
def test_a_torn_file_is_no_entry(tmp_path: Path, kept: int) -> None:
    journal = FileJournal(tmp_path / "journal")
    journal.append(RENEWED)
    (file,) = (tmp_path / "journal").iterdir()
    file.write_bytes(file.read_bytes()[:kept])

    assert journal.find(RENEWED.grant_id, RENEWED.spent) is None


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{}", b"null"])
def test_a_foreign_file_is_no_entry(tmp_path: Path, content: bytes) -> None:
    journal = FileJournal(tmp_path / "journal")
    journal.append(RENEWED)
    (file,) = (tmp_path / "journal").iterdir()
    file.write_bytes(content)

    assert journal.find(RENEWED.grant_id, RENEWED.spent) is None


def test_a_write_that_was_interrupted_leaves_the_entry_before_it(tmp_path: Path) -> None:
    """The text is written aside and renamed; what lies aside is never read."""
    journal = FileJournal(tmp_path / "journal")
    journal.append(RENEWED)
    (file,) = (tmp_path / "journal").iterdir()
    file.with_name(f"{file.name}.part").write_bytes(b"half of the n")

    assert journal.find(RENEWED.grant_id, RENEWED.spent) == RENEWED


def test_what_lies_aside_is_no_leftover(tmp_path: Path) -> None:
    """Nobody knows whether it is whole: who wrote it was ended in the middle."""
    journal = FileJournal(tmp_path / "journal")
    journal.append(AUTHORISED)
    (file,) = (tmp_path / "journal").iterdir()
    file.rename(file.with_name(f"{file.name}.part"))

    assert list(journal.leftovers()) == []


def test_a_disk_that_takes_nothing_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file where the folder should be")
    journal = FileJournal(tmp_path / "journal")

    with pytest.raises(StoreUnavailable):
        journal.append(RENEWED)
    assert journal.find(RENEWED.grant_id, RENEWED.spent) is None
    journal.forget(RENEWED)
