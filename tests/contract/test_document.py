"""openapi.yaml is valid in itself and agrees with the template and with the tree of errors."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.contract.document import ROOT, document, every_error, routes
from tiktok_linking.accounts import RefreshMode, RelinkReason, RevokedReason, Status
from tiktok_linking.errors import ActionBy
from tiktok_linking.sessions import SessionReason, SessionStatus
from tiktok_linking.web.api import STATUS_BY_CODE

SCHEMAS = document().content["components"]["schemas"]
EXAMPLES = list(document().examples())


def test_the_document_is_valid_openapi_3_1() -> None:
    errors = list(OpenAPIV31SpecValidator(document().content).iter_errors())

    assert errors == []


def test_the_document_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert document().content["info"]["version"] == project["project"]["version"]


def test_the_document_has_the_routes_of_the_template_and_their_authorization() -> None:
    documented = {o.route_key: not o.is_public for o in document().operations.values()}

    assert documented == {route.key: route.needs_iam for route in routes()}


def test_the_codes_are_those_of_the_errors_and_each_has_a_status() -> None:
    codes = SCHEMAS["ErrorCode"]["enum"]

    assert sorted(codes) == sorted(STATUS_BY_CODE)
    assert sorted(codes) == sorted(kind.code for kind in every_error())


def test_the_table_of_problems_tells_status_and_actor_of_each_code() -> None:
    row = re.compile(r"^\| `(\w+)` \| (\d{3}) \| `(\w+)` \|", re.MULTILINE)

    table = {
        code: (int(status), actor)
        for code, status, actor in row.findall(document().content["info"]["description"])
    }

    assert table == {
        kind.code: (STATUS_BY_CODE[kind.code], kind.action_by.value) for kind in every_error()
    }


def test_a_problem_is_documented_under_the_status_of_its_code() -> None:
    wrong = [
        str(answer)
        for answer in document().answers()
        if answer.code and STATUS_BY_CODE[answer.code] != answer.status
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("ActionBy", ActionBy),
        ("AccountStatus", Status),
        ("RefreshMode", RefreshMode),
        ("RelinkReason", RelinkReason),
        ("RevokedReason", RevokedReason),
        ("LinkSessionStatus", SessionStatus),
        ("LinkSessionReason", SessionReason),
    ],
)
def test_the_words_of_the_document_are_those_of_the_code(schema: str, words: Any) -> None:
    assert sorted(SCHEMAS[schema]["enum"]) == sorted(word.value for word in words)


@pytest.mark.parametrize(
    ("schema", "example"), [e[1:] for e in EXAMPLES], ids=[e[0] for e in EXAMPLES]
)
def test_an_example_fits_its_schema(schema: Mapping[str, Any], example: object) -> None:
    assert document().schema_errors(schema, example) == []


def test_every_operation_parameter_and_answer_is_described() -> None:
    """A backend engineer works from the document alone."""
    bare = []
    for operation in document().operations.values():
        parts = {
            "itself": operation.definition,
            **operation.definition["responses"],
            **{p.get("name", ""): p for p in operation.definition.get("parameters", [])},
        }
        bare += [
            f"{operation.id}: {name}"
            for name, part in parts.items()
            if "$ref" not in part and not part.get("description")
        ]

    assert bare == []
