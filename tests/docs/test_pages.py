"""docs/pages.md names tests for everything that it promises, and each is there."""

from __future__ import annotations

import pytest

from tests.docs.reading import Document, Row
from tests.docs.test_threat_model import unshown

HELD = Document.read("docs/pages.md").section("What is held by tests").rows()


def test_every_requirement_has_one_row() -> None:
    assert [row[0] for row in HELD] == [f"U{number}" for number in range(1, 21)]


@pytest.mark.parametrize("row", HELD, ids=lambda row: str(row[0]))
def test_each_row_has_tests_that_exist(row: Row) -> None:
    assert len(row) == 3
    assert unshown(row) == []
