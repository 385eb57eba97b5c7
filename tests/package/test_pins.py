"""What is installed, here and on Lambda: exact versions, known files, and a reason for each."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.package.conftest import ROOT

RUNTIME = ROOT / "layers" / "linking" / "requirements.txt"
PINNED = [RUNTIME, *sorted((ROOT / "requirements").glob("*.txt"))]
# Older ones have known holes: CVE-2026-25645 in requests, CVE-2026-44431 and 44432 in urllib3.
AT_LEAST = {"requests": Version("2.33"), "urllib3": Version("2.7.0")}
_PIN = re.compile(r"([a-z0-9][a-z0-9._-]*)==([a-zA-Z0-9.+!]+)( ;[^\\]+)? \\")
_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


@pytest.mark.parametrize("file", PINNED, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_line_is_an_exact_version_or_the_hash_of_a_file(file: Path) -> None:
    """pip takes these files with --require-hashes, and no line of theirs says where to look."""
    lines = [line for line in _lines(file) if not line.lstrip().startswith("#")]

    assert [line for line in lines if not (_PIN.fullmatch(line) or _HASH.fullmatch(line))] == []
    after_pins = [lines[n + 1] for n, line in enumerate(lines) if _PIN.fullmatch(line)]
    assert after_pins
    assert all(_HASH.fullmatch(line) for line in after_pins)


def test_the_layer_takes_what_our_dependencies_need_and_nothing_else() -> None:
    """No tool of development: what these four ask for, on Lambda, is the whole list."""
    wanted = [Requirement(name) for name in _dependencies()]
    needed: set[str] = set()
    while wanted:
        one = wanted.pop()
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        if (name := _normal(one.name)) not in needed:
            needed.add(name)
            wanted += [Requirement(text) for text in requires(name) or ()]

    assert set(_pins(RUNTIME)) == needed


def test_the_libraries_that_talk_to_tiktok_are_new_enough() -> None:
    pins = _pins(RUNTIME)

    assert {name for name, least in AT_LEAST.items() if Version(pins[name]) < least} == set()


def test_every_dependency_of_the_functions_has_its_reason() -> None:
    text = (ROOT / "docs/decisions/005-runtime-dependencies.md").read_text(encoding="utf-8")
    reasons = set(re.findall(r"^\| ([a-z0-9-]+) \| (?!for \|)", text, re.MULTILINE)) - {
        "dependency"
    }

    assert reasons == set(_dependencies())


def test_every_linter_has_its_reason() -> None:
    text = (ROOT / "docs/decisions/018-linters-and-pinned-files.md").read_text(encoding="utf-8")
    tools = {
        line.split("<")[0].strip()
        for source in ("lint.in", "sbom.in")
        for line in _lines(ROOT / "requirements" / source)
        if line and not line.startswith("#")
    }

    assert {tool for tool in tools if f"`{tool}`" not in text} == set()


def _dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names: list[str] = project["dependencies"]
    return names


def _pins(file: Path) -> dict[str, str]:
    return {found[1]: found[2] for line in _lines(file) if (found := _PIN.fullmatch(line))}


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
