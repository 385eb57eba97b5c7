"""openapi.yaml is valid in itself and agrees with the template and with the table of errors."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.contract.document import MADE_BY_API_GATEWAY, PROBLEM, document

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = list(document().examples())


def test_the_document_is_valid_openapi_3_1() -> None:
    errors = list(OpenAPIV31SpecValidator(document().content).iter_errors())

    assert errors == []


def test_the_document_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert document().content["info"]["version"] == project["project"]["version"]


@pytest.mark.parametrize(("schema", "example"), [e[1:] for e in EXAMPLES], ids=[e[0] for e in EXAMPLES])
def test_an_example_fits_its_schema(schema: Mapping[str, Any], example: object) -> None:
    assert document().schema_errors(schema, example) == []


def test_every_object_and_field_that_is_not_plain_has_a_description() -> None:
    """A backend engineer reads the document alone: operations, parameters, request fields."""
    bare = [
        f"{operation.id}: {name}"
        for operation in document().operations.values()
        for name in ("summary", "description")
        if not operation.definition.get(name)
    ]

    assert bare == []
