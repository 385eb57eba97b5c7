"""What importing a built function loads: a cold start is, but for the network, this.

imports.toml has the modules by top-level package, as a function's budget. One that grows says who
came and who brought them; one that shrinks may be written down with
`python -m tests.package.test_imports`.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.package.conftest import ROOT, isolated
from tests.package.test_build import FUNCTIONS, built

BUDGET = Path(__file__).with_name("imports.toml")
STDLIB = "stdlib"
SLACK = 6
"""By how many modules the standard library of another patch version of Python may differ."""

# Runs in a process that has the function and the layer alone: prints each module with its importer.
_RECORD = """
import sys
sys.path[:0] = {path!r}
before = set(sys.modules)
importers = {{}}
class Recorder:
    def find_spec(self, name, path=None, target=None):
        frame = sys._getframe(1)
        while frame and 'importlib' in frame.f_code.co_filename:
            frame = frame.f_back
        importers.setdefault(name, frame.f_globals.get('__name__', '?') if frame else '?')
sys.meta_path.insert(0, Recorder())
import app
import json
new = set(sys.modules) - before - {{'app', 'json', 'json.decoder', 'json.encoder', 'json.scanner'}}
print(json.dumps({{name: importers.get(name, '?') for name in sorted(new)}}))
"""


def imported(build: Path, layer: Path, name: str) -> dict[str, str]:
    """Every module that importing a function loads, with the module that asked for it first."""
    ran = isolated(_RECORD.format(path=[str(built(build, name)), str(layer)]))
    if ran.returncode:
        raise AssertionError(ran.stderr)
    found: dict[str, str] = json.loads(ran.stdout)
    return found


def by_package(modules: Mapping[str, str]) -> Counter[str]:
    """How many modules of each top-level package; the standard library is one."""
    return Counter(_package(module) for module in modules)


def growth(modules: Mapping[str, str], budget: Mapping[str, int]) -> list[str]:
    """The packages that load more than they may, with their modules and who asked for them."""
    found = []
    for package, count in sorted(by_package(modules).items()):
        allowed = budget.get(package, 0) + (SLACK if package == STDLIB else 0)
        if count > allowed:
            asked = [f"{m} (by {by})" for m, by in modules.items() if _package(m) == package]
            found.append(f"{package}: {count} modules, {allowed} allowed: {', '.join(asked)}")
    return found


def _package(module: str) -> str:
    top = module.partition(".")[0]
    return STDLIB if top in sys.stdlib_module_names else top


def read_budget() -> dict[str, dict[str, int]]:
    return tomllib.loads(BUDGET.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_imports_no_more_than_its_budget(build: Path, layer: Path, name: str) -> None:
    assert growth(imported(build, layer, name), read_budget()[name]) == []


def test_the_dear_packages_are_no_functions_import() -> None:
    """They are loaded by the first request that needs them, if one does."""
    for name, packages in read_budget().items():
        assert not {"boto3", "urllib3", "requests", "cryptography"} & packages.keys(), name


def test_a_new_package_is_named_with_who_brought_it() -> None:
    modules = {"tiktok_linking.vending": "app", "pydantic": "tiktok_linking.vending"}

    (found,) = growth(modules, {"tiktok_linking": 1})

    assert found == "pydantic: 1 modules, 0 allowed: pydantic (by tiktok_linking.vending)"


def test_a_package_that_grows_is_named() -> None:
    modules = {"botocore.session": "app", "botocore.client": "botocore.session"}

    (found,) = growth(modules, {"botocore": 1})

    assert found.startswith("botocore: 2 modules, 1 allowed: botocore.session (by app), ")


def main() -> None:
    """Write the budget anew from what is built."""
    build = ROOT / ".aws-sam" / "build"
    lines = ["# Modules that importing each built function loads, by top-level package."]
    for name in FUNCTIONS:
        counted = by_package(imported(build, build / "LinkingLayer" / "python", name))
        lines += ["", f"[{name}]", *(f"{key} = {counted[key]}" for key in sorted(counted))]
    BUDGET.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
