"""openapi.yaml as the tests read it: its operations, and every answer that it documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from local.deploy import Route, read_template, routes_of, translated
from tiktok_linking.errors import LinkingError

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
PROBLEM = "application/problem+json"
_BASE = "urn:openapi.yaml"

MADE_BY_API_GATEWAY: Mapping[int, str] = {
    403: "no valid signature; the local gateway refuses such a request too, and a test shows it",
    429: "above a route's throttle, which only AWS has",
    500: "a function failed; a request that brings it about would be a defect",
}
"""Statuses that come as ``{"message": …}`` in application/json: no handler sends these."""


@dataclass(frozen=True, slots=True, order=True)
class Answer:
    """One documented answer. ``code`` is the problem's code, empty where the body is no problem."""

    operation: str
    status: int
    media_type: str
    code: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.operation, str(self.status), self.code)))

    @property
    def is_made_by_api_gateway(self) -> bool:
        """Whether the service in front of our code gives this answer."""
        return self.media_type == "application/json" and self.status in MADE_BY_API_GATEWAY


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, with everything that holds for it."""

    id: str
    method: str
    path: str
    is_public: bool
    definition: Mapping[str, Any]

    @property
    def route_key(self) -> str:
        """How the template and API Gateway name the same thing."""
        return f"{self.method.upper()} {self.path}"

    def takes(self, method: str, url: str) -> bool:
        """Whether a request goes to this operation."""
        pattern = "[^/]+".join(map(re.escape, re.split(r"\{[^}]+\}", self.path)))
        return method.lower() == self.method and bool(re.fullmatch(pattern, urlsplit(url).path))


class Document:
    """The document, read strictly: an answer may not have a field that the document lacks.

    The document itself leaves answers open, so that callers ignore fields that come later.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content
        self._strict = _strictly(content)
        resource = Resource.from_contents(self._strict, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_BASE, resource)
        self.operations = {o.id: o for o in self._read_operations()}

    def answers(self) -> Iterator[Answer]:
        """Every documented answer; problems once for each code that they may carry."""
        for operation in self.operations.values():
            for status, response in operation.definition["responses"].items():
                contents = self._resolved(response).get("content") or {"": {}}
                for media_type, content in contents.items():
                    codes = self._codes(content["schema"]) if media_type == PROBLEM else [""]
                    for code in codes:
                        yield Answer(operation.id, int(status), media_type, code)

    def errors(self, answer: Answer, headers: Mapping[str, str], body: str) -> list[str]:
        """What is wrong with an answer: not documented, a header missing, a body of another shape.

        ``headers`` must find names in any case.
        """
        responses = self.operations[answer.operation].definition["responses"]
        if str(answer.status) not in responses:
            return [f"status {answer.status} is not documented"]
        response = self._resolved(responses[str(answer.status)])
        contents = response.get("content") or {"": {"schema": {"const": ""}}}
        if answer.media_type not in contents:
            return [f"media type {answer.media_type!r} is not documented"]
        value = json.loads(body) if answer.media_type.endswith("json") else body
        found = self.schema_errors(contents[answer.media_type]["schema"], value)
        if answer.is_made_by_api_gateway:
            return found  # it carries no header of ours
        for name, reference in response.get("headers", {}).items():
            header = self._resolved(reference)
            if name in headers:
                found += self.schema_errors(header["schema"], _read(headers[name], header))
            elif header.get("required"):
                found.append(f"header {name} is missing")
        return found

    def schema_errors(self, schema: Mapping[str, Any], value: object) -> list[str]:
        """What is wrong with a value by a schema of the document."""
        validator = Draft202012Validator(
            schema, registry=self._registry, format_checker=FormatChecker()
        )
        return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(value)]

    def examples(self) -> Iterator[tuple[str, Mapping[str, Any], object]]:
        """Every example with its place and the schema that it illustrates."""
        yield from self._examples_below("", self._strict)

    def _examples_below(
        self, place: str, node: object
    ) -> Iterator[tuple[str, Mapping[str, Any], object]]:
        if isinstance(node, list):
            for index, item in enumerate(node):
                yield from self._examples_below(f"{place}/{index}", item)
        if not isinstance(node, dict):
            return
        is_schema = "/schemas/" in place or place.endswith("/schema")
        schema = node if is_schema else node.get("schema")
        if isinstance(schema, dict):
            if "example" in node:
                yield f"{place}/example", schema, node["example"]
            examples = node.get("examples", [])
            named = examples.items() if isinstance(examples, dict) else enumerate(examples)
            for name, example in named:
                value = example["value"] if isinstance(examples, dict) else example
                yield f"{place}/examples/{name}", schema, value
        for key, child in node.items():
            if key not in ("example", "examples"):
                yield from self._examples_below(f"{place}/{key}", child)

    def _read_operations(self) -> Iterator[Operation]:
        for path, item in self._strict["paths"].items():
            for method in METHODS:
                if method in item:
                    security = item[method].get("security", self._strict["security"])
                    yield Operation(
                        id=item[method]["operationId"],
                        method=method,
                        path=path,
                        is_public=security == [],
                        definition=item[method],
                    )

    def _resolved(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in value:
            value = self._registry.resolver().lookup(value["$ref"]).contents
        return value

    def _codes(self, schema: Mapping[str, Any]) -> Iterable[str]:
        """The codes that a problem's schema leaves: `allOf: [Problem, {properties: {code}}]`."""
        _, narrowed = schema["allOf"]
        codes: Iterable[str] = narrowed["properties"]["code"]["enum"]
        return codes


@cache
def document() -> Document:
    """The document of this repository."""
    return Document(yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8")))


@cache
def routes() -> tuple[Route, ...]:
    """The routes that the template deploys."""
    required = {"AppName": "Acme", "AppRegistrations": "default=aw0"}
    return tuple(routes_of(translated(read_template(ROOT / "template.yaml"), required)))


def every_error() -> Iterator[type[LinkingError]]:
    """The tree of what callers can see, its root included: that is the unexpected."""
    waiting = [LinkingError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        yield kind


def _read(value: str, header: Mapping[str, Any]) -> object:
    """A header's value as its schema sees it: headers are text, a schema may ask for a number."""
    is_number = header["schema"].get("type") == "integer" and value.isascii() and value.isdigit()
    return int(value) if is_number else value


def _strictly(node: Any, *, closes: bool = True) -> Any:
    """The same document, its references absolute and its objects closed.

    What `allOf` and `if` combine stays open, since each part sees its own properties alone; the
    whole is closed by the schema that they extend.
    """
    if isinstance(node, list):
        return [_strictly(item, closes=closes) for item in node]
    if not isinstance(node, dict):
        return node
    combining = ("allOf", "anyOf", "oneOf", "if", "then", "else")
    result = {k: _strictly(v, closes=closes and k not in combining) for k, v in node.items()}
    if isinstance(result.get("$ref"), str):
        result["$ref"] = _BASE + result["$ref"]
    if closes and result.get("type") == "object" and "properties" in result:
        result.setdefault("unevaluatedProperties", False)
    return result
