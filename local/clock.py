"""The one clock that the functions and the built-in TikTok share.

It is real time plus an offset in seconds, kept in a small text file, so that processes that know
nothing of each other agree. Signatures to AWS and the gateway's own check use real time.
"""

import fcntl
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path


class SharedClock:
    """Reads the shared time at every call; any process may move it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._shared_waits = file.with_name(f"{file.name}.waits")

    def offset(self) -> timedelta:
        """How far the shared time is ahead of real time; a missing file means not at all."""
        try:
            return timedelta(seconds=float(self._file.read_text(encoding="ascii")))
        except FileNotFoundError:
            return timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset()

    def advance(self, by: timedelta) -> datetime:
        """Move the time for everybody, and answer what it is now."""
        with self._file.with_name(f"{self._file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            moved = (self.offset() + by).total_seconds()
            draft = self._file.with_name(f"{self._file.name}.{os.getpid()}")
            draft.write_text(repr(moved), encoding="ascii")
            draft.replace(self._file)  # a reader never sees half a number
        return self.now()

    def share_waits(self, shared: bool) -> None:
        """Whether a function that sleeps moves this clock instead of taking real time."""
        if shared:
            self._shared_waits.touch()
        else:
            self._shared_waits.unlink(missing_ok=True)

    def sleep(self, seconds: float, really: Callable[[float], None] = time.sleep) -> None:
        """Wait as a function waits: in real time, or by moving the clock if waits are shared."""
        if self._shared_waits.exists():
            self.advance(timedelta(seconds=max(0.0, seconds)))
        else:
            really(seconds)
