"""Child processes and what they cost: CPU as the kernel accounts it, memory as they tell it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_SECONDS = 300.0
CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True, slots=True)
class Ran:
    """One process from its start to its end."""

    whole_cpu_ms: float
    wall_ms: float
    each_cpu_ms: float
    """Of one measured event in a process that was warm."""
    peak_mb: float
    answers: Sequence[Any]


def run_handler(
    python: Path,
    path: Sequence[Path],
    events: Sequence[Any],
    *,
    warm: int,
    authorities: str,
    variables: Mapping[str, str],
    folder: Path,
    group: Path | None = None,
) -> Ran:
    """Run the `app` that lies on this path with these events, the first of them unmeasured.

    In a control ``group``, if one is given by the file that takes its members.
    """
    given = {
        "path": [str(part) for part in path],
        "authorities": authorities,
        "events": list(events),
        "warm": warm,
    }
    # The shell joins and becomes the interpreter, so that no moment of it runs outside.
    joining: list[str | Path] = []
    if group is not None:
        joining = ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', group]
    return run([*joining, python, "-I", "-S", "-B", CHILD], given, variables, folder)


def run(
    command: Sequence[str | Path],
    given: Mapping[str, Any],
    variables: Mapping[str, str],
    folder: Path,
) -> Ran:
    """Run a program that is given a file and writes its answer into another."""
    source, target, errors = folder / "given.json", folder / "answer.json", folder / "errors.txt"
    target.unlink(missing_ok=True)
    source.write_text(json.dumps({**given, "answer": str(target)}), encoding="utf-8")
    began = time.monotonic()
    with errors.open("wb") as stderr:
        child = subprocess.Popen(
            [*command, source], env=dict(variables), stdout=subprocess.DEVNULL, stderr=stderr
        )
        ending = threading.Timer(MOST_SECONDS, child.kill)
        ending.start()
        _, status, used = os.wait4(child.pid, 0)
        ending.cancel()
    wall_ms = 1000 * (time.monotonic() - began)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise AssertionError(
            f"{command} ended with {child.returncode}: {errors.read_text(encoding='utf-8')[-2000:]}"
        )
    said = json.loads(target.read_text(encoding="utf-8"))
    whole = 1000 * (used.ru_utime + used.ru_stime)
    return Ran(whole, wall_ms, said["cpu_ms"], said.get("peak_mb", 0.0), said["answers"])
