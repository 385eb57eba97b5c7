"""Units by DynamoDB's published rules, on items whose size is counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.renewal.units import (
    index_write_units,
    item_size,
    projected,
    read_units,
    write_units,
)

KEYS = ("ds", "da")


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"pk": {"S": "abc"}}, 2 + 3),
        ({"pk": {"S": "é"}}, 2 + 2),
        ({"b": {"B": bytes(70)}}, 1 + 70),
        ({"n": {"N": "1795348800000"}}, 1 + 4 + 1),  # 17953488: zeroes at the end are left out
        ({"n": {"N": "0"}}, 1 + 0 + 1),
        ({"n": {"N": "-15"}}, 1 + 1 + 1),
        ({"t": {"BOOL": True}}, 1 + 1),
        ({"m": {"M": {}}}, 1 + 3),
        ({"m": {"M": {"k": {"S": "vv"}}}}, 1 + 3 + 1 + 3),
        ({"l": {"L": [{"S": "vv"}]}}, 1 + 3 + 1 + 2),
    ],
)
def test_an_item_weighs_its_names_and_values(item: dict[str, Any], size: int) -> None:
    assert item_size(item) == size


def of_bytes(size: int) -> dict[str, Any]:
    return {"a": {"B": bytes(size - 1)}}


def test_reads_are_rounded_up_to_4_kilobytes() -> None:
    assert [read_units(size, consistent=True) for size in (0, 1, 4096, 4097)] == [1, 1, 1, 2]
    assert read_units(4097, consistent=False) == 1


def test_a_write_is_charged_by_the_larger_of_before_and_after() -> None:
    assert write_units(None, of_bytes(1024)) == 1
    assert write_units(of_bytes(1025), of_bytes(10)) == 2
    assert write_units(None, None) == 1


def test_an_index_is_charged_for_what_changes_in_it() -> None:
    here: dict[str, Any] = {"ds": {"S": "1"}, "da": {"N": "5"}, "pk": {"S": "x"}}
    moved = here | {"da": {"N": "6"}}
    touched = here | {"a": {"S": "more"}}

    assert index_write_units(None, here, KEYS) == 1
    assert index_write_units(here, None, KEYS) == 1
    assert index_write_units(here, moved, KEYS) == 2
    assert index_write_units(here, touched, KEYS) == 1
    assert index_write_units(here, dict(here), KEYS) == 0
    assert index_write_units(None, None, KEYS) == 0


def test_an_index_holds_what_it_projects_of_items_that_have_its_keys() -> None:
    item: dict[str, Any] = {"pk": {"S": "x"}, "ds": {"S": "1"}, "da": {"N": "5"}, "a": {"S": "y"}}

    assert projected(item, KEYS, "ALL") == item
    assert projected(item, KEYS, "KEYS_ONLY") == {k: item[k] for k in ("pk", "ds", "da")}
    assert projected({"pk": {"S": "x"}, "ds": {"S": "1"}}, KEYS, "ALL") is None
