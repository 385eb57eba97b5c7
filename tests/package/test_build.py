"""The built functions and layer, as Lambda will see them: complete, compiled, and nothing else."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from local.building import SERVICES, finish, problems_of
from tests.package.conftest import ROOT, isolated

FUNCTIONS = sorted(folder.parent.name for folder in (ROOT / "functions").glob("*/app.py"))
KILOBYTE = 1024
MEGABYTE = 1024 * KILOBYTE


def test_the_build_is_of_these_sources(build: Path, layer: Path) -> None:
    """A stale build would pass for the code that is not in it."""
    package = ROOT / "layers" / "linking" / "tiktok_linking"
    pairs = {
        built(build, name) / "app.py": ROOT / "functions" / name / "app.py" for name in FUNCTIONS
    }
    pairs |= {
        layer / "tiktok_linking" / file.relative_to(package): file
        for kind in ("*.py", "*.json")  # code, and what the pages say
        for file in package.rglob(kind)
    }
    stale = [
        str(source.relative_to(ROOT))
        for made, source in pairs.items()
        if not made.is_file() or made.read_bytes() != source.read_bytes()
    ]
    gone = set((layer / "tiktok_linking").rglob("*.py")) - pairs.keys()

    assert (stale, gone) == ([], set()), "make build"


def test_the_build_may_be_deployed(build: Path) -> None:
    assert problems_of(build) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_handler_imports_with_nothing_but_function_and_layer(
    build: Path, layer: Path, name: str
) -> None:
    """No site-packages, no working tree, no variables: what is missing here is missing there."""
    code = (
        f"import sys; sys.path += [{str(built(build, name))!r}, {str(layer)!r}]\n"
        "import app\n"
        "assert callable(app.lambda_handler)\n"
        "for module in list(sys.modules.values()):\n"
        "    file = getattr(module, '__file__', None)\n"
        "    if file: print(file)\n"
    )
    ran = isolated(code)

    assert ran.returncode == 0, ran.stderr
    elsewhere = [
        file
        for file in ran.stdout.splitlines()
        if "site-packages" in file or (Path(file).is_relative_to(ROOT) and ".aws-sam" not in file)
    ]
    assert elsewhere == []


def test_every_module_of_the_package_imports_from_the_layer_alone(layer: Path) -> None:
    """Handlers import adapters late: a dependency missing there would show at the first request."""
    code = (
        f"import sys; sys.path += [{str(layer)!r}]\n"
        "import importlib, pkgutil, tiktok_linking\n"
        "for found in pkgutil.walk_packages(tiktok_linking.__path__, 'tiktok_linking.'):\n"
        "    importlib.import_module(found.name)\n"
        "print('cryptography' in sys.modules)\n"
    )
    ran = isolated(code)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "True\n"


def test_every_client_that_the_package_makes_is_in_the_layer(layer: Path) -> None:
    bootstrap = (layer / "tiktok_linking" / "bootstrap.py").read_text(encoding="utf-8")
    used = set(re.findall(r"_client\(\s*\"(\w+)\"", bootstrap))
    code = (
        f"import sys; sys.path += [{str(layer)!r}]\n"
        "import boto3\n"
        "session = boto3.session.Session('a', 'b', region_name='us-east-1')\n"
        f"for service in {sorted(SERVICES)!r}: session.client(service)\n"
    )
    ran = isolated(code)

    assert used, "bootstrap makes its clients another way: mend this test"
    assert used <= SERVICES
    assert ran.returncode == 0, ran.stderr


def test_the_layer_holds_the_pinned_packages_and_no_other(layer: Path) -> None:
    """No test, no tool of development, nothing that a resolver added on its own."""
    pins = (ROOT / "layers" / "linking" / "requirements.txt").read_text(encoding="utf-8")
    pinned = {re.split("==", line)[0] for line in pins.splitlines() if "==" in line}
    shipped = {folder.name.split("-")[0] for folder in layer.glob("*.dist-info")}

    assert {_normal(name) for name in shipped} == {_normal(name) for name in pinned}
    assert not list((layer / "tiktok_linking").rglob("test*"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_ships_one_file(build: Path, name: str) -> None:
    files = {
        str(file.relative_to(built(build, name)))
        for file in built(build, name).rglob("*")
        if file.is_file()
    }

    assert files == {"app.py", "__pycache__/app.cpython-313.pyc"}


def test_sizes_stay_small(build: Path) -> None:
    """A cold start downloads and unpacks them; Lambda's limit would be 250 MB unpacked."""
    for name in FUNCTIONS:
        assert zipped_bytes(built(build, name)) <= 100 * KILOBYTE, name
    assert zipped_bytes(build / "LinkingLayer") <= 10 * MEGABYTE


def test_the_built_template_allows_the_one_architecture_of_its_layer(build: Path) -> None:
    template = yaml.safe_load((build / "template.yaml").read_text(encoding="utf-8"))
    parameter = template["Parameters"]["Architecture"]

    assert [parameter["Default"]] == parameter["AllowedValues"]


# ---- the check itself --------------------------------------------------------------------------


@pytest.fixture
def small_build(tmp_path: Path) -> Path:
    """A build of one function, as sam leaves it."""
    (tmp_path / "AFunction").mkdir()
    (tmp_path / "AFunction" / "app.py").write_text("VALUE = 1\n", encoding="utf-8")
    template = {
        "Parameters": {"Architecture": {"Default": "arm64", "AllowedValues": ["arm64", "x86_64"]}},
        "Resources": {"AFunction": {"Properties": {"CodeUri": "AFunction"}}},
    }
    (tmp_path / "template.yaml").write_text(yaml.safe_dump(template), encoding="utf-8")
    return tmp_path


def test_a_build_without_bytecode_is_refused(small_build: Path) -> None:
    (problem,) = problems_of(small_build)

    assert "without bytecode" in problem
    finish(small_build, "x86_64")
    assert problems_of(small_build) == []


def test_bytecode_that_looks_at_its_source_is_refused(small_build: Path) -> None:
    """Lambda unpacks files with other times: bytecode bound to a time would be thrown away."""
    finish(small_build, "x86_64")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "compileall",
            "-qf",
            "--invalidation-mode",
            "timestamp",
            small_build,
        ],
        check=True,
    )

    assert "without bytecode" in problems_of(small_build)[0]


def test_a_library_for_another_machine_is_refused(small_build: Path) -> None:
    finish(small_build, "arm64")
    shutil.copy(next(Path(sys.executable).resolve().parents[1].rglob("*.so")), small_build / "a.so")
    is_arm = os.uname().machine in ("arm64", "aarch64")

    assert bool(problems_of(small_build)) is not is_arm


def test_no_build_is_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == [f"{tmp_path} holds no build: run make build"]


def built(build: Path, name: str) -> Path:
    return build / f"{name.capitalize()}Function"


def zipped_bytes(folder: Path) -> int:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder))
    return buffer.tell()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
