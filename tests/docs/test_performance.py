"""docs/performance.md says what its commands would write today, as far as no clock is needed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from benchmarks.cost import files, tables
from benchmarks.cost.model import Life, hosted
from benchmarks.cost.operations import Counts, count_operations
from benchmarks.document import read_part
from benchmarks.renewal.setting import Setting


def test_calls_are_those_that_were_counted() -> None:
    counted = count_operations(Setting.read())

    assert files.differences(counted, files.read_counts()) == [], "make cost"


def test_a_call_more_is_noticed() -> None:
    written = files.read_counts()
    vend = written.operations["vend"]
    more = replace(vend, dynamodb=vend.dynamodb + 1)
    counted = Counts({**written.operations, "vend": more}, written.account_bytes)

    assert files.differences(counted, written) == ["vend: dynamodb was 1 and is 2"]


def test_the_tables_follow_from_calls_prices_and_template() -> None:
    assert read_part("cost") == tables.written().strip(), "make cost"


@pytest.mark.parametrize("file", ["prices", "hosted"])
def test_every_price_has_a_source_and_a_date(file: str) -> None:
    found = files.read(file)
    prices = found["service"] if file == "hosted" else found.values()

    for price in prices:
        assert price["source"].startswith("https://")
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", price["read"])


def test_the_mix_of_uses_is_a_whole() -> None:
    assert sum(files.read("assumed")["mix"].values()) == pytest.approx(1)


def test_a_bill_grows_with_accounts_and_with_nothing_else() -> None:
    model = tables.read_model()
    life = Life(2, 180)
    at_rest, one, two = (
        model.month(accounts, life, "auto").total() for accounts in (0, 1_000_000, 2_000_000)
    )

    assert two - at_rest == pytest.approx(2 * (one - at_rest), rel=0.02)


def test_a_hosted_price_goes_by_steps() -> None:
    service = {
        "flat": {"accounts": 2, "usd": 0},
        "steps": [{"up_to": 10, "each": 6}],
        "each": 1,
        "listed_up_to": 100,
    }

    assert [hosted(service, n) for n in (1, 3, 12, 101)] == [0, 6, 50, None]
