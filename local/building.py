"""What `sam build` leaves undone: bytecode, a layer without ballast, a template that fits it.

    python -m local.building finish .aws-sam/build --architecture x86_64
    python -m local.building check .aws-sam/build

`sam build` ships no .pyc, so that each cold start would compile all that it imports: half of its
CPU time (measured). And nothing holds the parameter Architecture against the layer: a stack of
arm64 functions with an x86_64 layer deploys and then fails at its first import. Botocore brings the
descriptions of some 400 services along, which is more than half of the layer, and Powertools much
that is not for us.
"""

import argparse
import compileall
import importlib.util
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

import yaml

from local import descriptions

RUNTIME = (3, 13)
_UNCHECKED_HASH = 0b01  # PEP 552: valid whatever became of the source's time
_LAYER_ROOT = "/opt"
_FUNCTION_ROOT = "/var/task"
# The AWS services that the functions talk to; STS is there for tools that ask who they are.
SERVICES = frozenset({"dynamodb", "events", "kms", "lambda", "secretsmanager", "sqs", "sts"})
# What the functions have of Powertools' utilities; its resolvers and the rest of them stay behind.
UTILITIES = frozenset({"jmespath_utils", "__pycache__"})
_ELF_MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}


def finish(build: Path, architecture: str) -> None:
    """Drop, compile, and let the built template allow one architecture."""
    for folder in _built_folders(build):
        _drop_what_is_not_used(folder, build)
        root = _LAYER_ROOT if (folder / "python").is_dir() else _FUNCTION_ROOT
        compiled = compileall.compile_dir(
            folder,
            quiet=1,
            force=True,
            workers=0,
            # Tracebacks name the files as they lie on Lambda, and builds are alike everywhere.
            stripdir=str(folder),
            prependdir=root,
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )
        if not compiled:
            raise SystemExit(f"{folder} has a file that does not compile")
    file = build / "template.yaml"
    template = yaml.safe_load(file.read_text(encoding="utf-8"))
    template["Parameters"]["Architecture"] |= {
        "Default": architecture,
        "AllowedValues": [architecture],
    }
    file.write_text(yaml.safe_dump(template, sort_keys=False), encoding="utf-8")


def problems_of(build: Path) -> list[str]:
    """What is wrong with a build, one line each; nothing for a build that may be deployed."""
    folders = list(_built_folders(build))
    if not folders:
        return [f"{build} holds no build: run make build"]
    problems = []
    for folder in folders:
        without = [file for file in folder.rglob("*.py") if not _has_bytecode(file)]
        if without:
            problems.append(f"{len(without)} files without bytecode, such as {without[0]}")
    allowed = _template(build)["Parameters"]["Architecture"]["AllowedValues"]
    for file in build.rglob("*.so"):
        machine = _machine_of(file)
        if [machine] != allowed:
            problems.append(f"{file} is for {machine}, the template allows {allowed}")
    return problems


def _drop_what_is_not_used(folder: Path, build: Path) -> None:
    described = folder / "python/botocore/data"
    # boto3/data describes resources, which the functions do without.
    for data in (described, folder / "python/boto3/data"):
        _drop_folders(data, SERVICES)
    if described.is_dir():
        descriptions.cut(described, SERVICES, _template(build))
    powertools = folder / "python/aws_lambda_powertools"
    _drop_folders(powertools / "utilities", UTILITIES)
    shutil.rmtree(powertools / "event_handler", ignore_errors=True)


def _drop_folders(place: Path, kept: frozenset[str]) -> None:
    for inner in place.glob("*/"):
        if inner.name not in kept:
            shutil.rmtree(inner)


def _built_folders(build: Path) -> Iterator[Path]:
    """The folders of functions and layers, told by the built template."""
    if not (build / "template.yaml").is_file():
        return
    for resource in _template(build)["Resources"].values():
        place = resource["Properties"].get("CodeUri") or resource["Properties"].get("ContentUri")
        if isinstance(place, str):
            yield build / place


def _template(build: Path) -> dict[str, Any]:
    template: dict[str, Any] = yaml.safe_load((build / "template.yaml").read_text(encoding="utf-8"))
    return template


def _has_bytecode(source: Path) -> bool:
    compiled = Path(importlib.util.cache_from_source(str(source)))
    if not compiled.is_file():
        return False
    with compiled.open("rb") as file:
        magic, flags = file.read(4), struct.unpack("<I", file.read(4))[0]
    return magic == importlib.util.MAGIC_NUMBER and flags == _UNCHECKED_HASH


def _machine_of(library: Path) -> str:
    header = library.read_bytes()[:20]
    return _ELF_MACHINES.get(struct.unpack_from("<H", header, 18)[0], "another machine")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.building", description=__doc__)
    parser.add_argument("step", choices=["finish", "check"])
    parser.add_argument("build", type=Path)
    parser.add_argument("--architecture", choices=sorted(_ELF_MACHINES.values()))
    arguments = parser.parse_args()
    if sys.version_info[:2] != RUNTIME:
        sys.exit(f"bytecode is for one version: run this with Python {RUNTIME[0]}.{RUNTIME[1]}")
    if arguments.step == "finish":
        if arguments.architecture is None:
            parser.error("finish needs --architecture")
        finish(arguments.build, arguments.architecture)
    elif problems := problems_of(arguments.build):
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
