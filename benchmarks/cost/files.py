"""The files that the cost model reads, and the one that it writes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.cost.operations import Counts, Operation

FOLDER = Path(__file__).resolve().parent
CALLS = FOLDER / "calls.toml"
LOGS_MAY_DIFFER = 0.1
"""Times and ids make lines a little longer or shorter."""


def read(name: str) -> dict[str, Any]:
    """One of the TOML files beside this one."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def read_counts() -> Counts:
    """What calls.toml says."""
    found = read("calls")
    return Counts(
        {name: Operation(**given) for name, given in found["operation"].items()},
        found["account_bytes"],
    )


def differences(counted: Counts, written: Counts) -> list[str]:
    """How what was counted differs from what is written down; nothing where it does not."""
    found = []
    for name in sorted({*counted.operations, *written.operations}):
        now, then = counted.operations.get(name), written.operations.get(name)
        if now is None or then is None:
            found.append(f"{name}: {'gone' if now is None else 'new'}")
            continue
        for key, value in asdict(now).items():
            before = getattr(then, key)
            margin = LOGS_MAY_DIFFER * before if key == "log_bytes" else 0
            same = value == before if isinstance(value, str) else abs(value - before) <= margin
            if not same:
                found.append(f"{name}: {key} was {before} and is {value}")
    if counted.account_bytes != written.account_bytes:
        found.append(f"account_bytes was {written.account_bytes} and is {counted.account_bytes}")
    return found


def write_counts(counted: Counts) -> None:
    """Write calls.toml, if it says anything else."""
    if CALLS.is_file() and not differences(counted, read_counts()):
        return
    lines = [
        "# Counted by `make cost`, which writes this file; tests/flows/test_budget.py holds a",
        "# running world to it, tests/docs/test_performance.py the product's handlers.",
        f"account_bytes = {counted.account_bytes}",
    ]
    for name, operation in counted.operations.items():
        lines += ["", f'[operation."{name}"]']
        lines += [f"{key} = {_toml(value)}" for key, value in _told(operation).items()]
    CALLS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _told(operation: Operation) -> Mapping[str, Any]:
    given = asdict(operation)
    return {key: value for key, value in given.items() if value or key == "invocations"}


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if value < 1e5 else str(value)
