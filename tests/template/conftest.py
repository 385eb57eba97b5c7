"""template.yaml as written, and as SAM translates it: what CloudFormation will really be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from local.deploy import read_template, translated

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    """The SAM template, short forms written out."""
    return read_template(ROOT / "template.yaml")


@pytest.fixture(scope="session")
def plain(template: dict[str, Any]) -> dict[str, Any]:
    """The translated template."""
    return translated(template, {})


@pytest.fixture(scope="session")
def functions(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each function's properties, Globals merged in as SAM does, by the name of its folder."""
    shared = template["Globals"]["Function"]
    merged = {}
    for logical_id, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            own = resource["Properties"]
            properties = shared | own
            for key in ("LoggingConfig", "Environment"):
                properties[key] = shared.get(key, {}) | own.get(key, {})
            properties["Environment"] = {
                "Variables": shared["Environment"]["Variables"] | own["Environment"]["Variables"]
            }
            merged[logical_id.removesuffix("Function").lower()] = properties
    return merged
