"""Processes that get the share of a core that Lambda gives to a memory size."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CORE_MB = 1769
"""With this much memory a function has one core, with less of both a part:
docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html, read 2026-11-22."""
SIZES = (256, 512, 1024, CORE_MB)

_PERIOD_US = 20_000
_GROUPS = Path("/sys/fs/cgroup")
_NAME = "linking-benchmark"


@contextmanager
def share(memory_mb: int) -> Iterator[Path | None]:
    """A file that a process writes its id into to get this share; None where nobody may divide.

    A control group of Linux, of either version, which takes root.
    """
    quota_us = _PERIOD_US * memory_mb // CORE_MB
    for parent, limits in (
        (
            _GROUPS / "cpu",
            {"cpu.cfs_period_us": f"{_PERIOD_US}", "cpu.cfs_quota_us": f"{quota_us}"},
        ),
        (_GROUPS, {"cpu.max": f"{quota_us} {_PERIOD_US}"}),
    ):
        group = parent / f"{_NAME}-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            for name, value in limits.items():
                (group / name).write_text(value, encoding="ascii")
        except OSError:
            group.rmdir()
            continue
        try:
            yield group / "cgroup.procs"
        finally:
            with contextlib.suppress(OSError):  # its last process may still be on its way out
                group.rmdir()
        return
    yield None
