"""docs/performance.md says what its commands would write today, as far as no clock is needed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from benchmarks.cost import files, tables
from benchmarks.cost.model import Life, hosted
from benchmarks.cost.operations import Counts, count_operations
from benchmarks.document import README, read_part
from benchmarks.renewal.setting import Setting
from benchmarks.speed.cold import OURS, USUAL, WAYS
from benchmarks.speed.report import Figures, report, sentences
from benchmarks.speed.stage import FUNCTIONS


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


# ---- what a clock has measured -----------------------------------------------------------------


@pytest.fixture
def figures() -> Figures:
    """Two rounds in which ours took a quarter of everybody else's, and sealing 5 microseconds."""
    made = Figures()
    for drift in (1.0, 1.1):
        for function in FUNCTIONS:
            for way in WAYS:
                made.add(f"cold {function}", way, drift * (100 if way == OURS else 400))
            made.add(f"memory {function}", OURS, 50)
        for what in ("link", "authorize", "callback", "vend"):
            for way in (OURS, USUAL, "with_allauth", "with_authlib"):
                made.add(what, way, drift * (1 if way == OURS else 4))
        for way in ("naive", "authlib", "post-seal-save", "whole"):
            made.add("renewal", way, drift * (10 if way == "whole" else 40))
        made.add("sealing", OURS, 0.005)
        made.add("sealing", "kms", 2)
    return made


def test_targets_say_whether_they_are_reached(figures: Figures) -> None:
    lines = report(figures, "A machine", 2).splitlines()

    assert "| " in lines[2]
    verdicts = {line.split(" | ")[0]: line for line in lines if "reached" in line or "miss" in line}
    assert len(verdicts) == 4
    missed = [name for name, line in verdicts.items() if "**missed**" in line]
    assert missed == ["| a link, of django-allauth's"]
    assert "0.25 (0.25-0.25)" in lines[4]


def test_the_sentences_of_the_readme_are_made_of_the_tables_figures(figures: Figures) -> None:
    first, second, third = sentences(figures).splitlines()

    assert "0.25 of the CPU" in first
    assert "(105 against 420 ms)" in first
    assert "1/4.0 of the CPU that django-allauth takes" in second
    assert "5.0 microseconds" in third


def test_the_readme_says_what_the_table_says() -> None:
    """Both are written by one run."""
    said = re.findall(r"\((\d+) against (\d+) ms\)", read_part("bench", README))
    row = next(
        (line for line in read_part("bench").splitlines() if line.startswith("| authorize | ")), ""
    )

    assert [*said] == ([tuple(row.split(" | ")[i] for i in (1, 4))] if row else [])
