"""The bill of materials of the built layer, which `make sbom` wrote and held against the schema."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest

from tests.package.conftest import ROOT


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    file = ROOT / "artifacts" / "sbom.cdx.json"
    if not file.is_file():
        pytest.fail("there is no bill of materials to test: make sbom")
    read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return read


def test_the_bill_names_what_is_shipped_and_nothing_else(bill: dict[str, Any]) -> None:
    """By the pins: what the layer holds beyond them fails another test."""
    pins = (ROOT / "layers" / "linking" / "requirements.txt").read_text(encoding="utf-8")
    pinned = {
        f"pkg:pypi/{found}" for found in re.findall(r"^([^\s#=]+==[^\s;]+)", pins, re.MULTILINE)
    }

    assert {one["purl"].replace("@", "==") for one in bill["components"]} == pinned


def test_every_component_has_a_licence(bill: dict[str, Any]) -> None:
    assert [one["name"] for one in bill["components"] if not one.get("licenses")] == []


def test_the_bill_is_of_this_project_and_says_who_needs_what(bill: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    root = bill["metadata"]["component"]
    needs = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    own = {ref.split("==")[0].replace("_", "-") for ref in needs[root["bom-ref"]]}

    assert (root["name"], root["version"]) == (project["name"], project["version"])
    assert own == set(project["dependencies"])
    assert {one["bom-ref"] for one in bill["components"]} <= needs.keys()


def test_the_same_layer_gives_the_same_bytes(bill: dict[str, Any]) -> None:
    """Nothing of the hour or of chance is in it, nor where it was made."""
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.7")
    assert "serialNumber" not in bill
    assert "timestamp" not in bill["metadata"]
    assert str(ROOT) not in json.dumps(bill)
