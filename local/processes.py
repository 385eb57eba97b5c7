"""Child processes that never outlive the world, however it ends."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)
# Loaded before any fork: the code between fork and exec must not import.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends, even by SIGKILL (Linux only).

    Elsewhere the workers still notice, by the end of the socket that they read from.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Child:
    """One program of the world, in a process group of its own.

    Start it from the main thread: for the kernel, the thread that forked is the parent.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        directory: Path,
        log_file: Path,
        pass_fds: Sequence[int] = (),
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self._stop_signal = stop_signal
        self.log_file = log_file
        parent = os.getpid()

        def before_exec() -> None:
            die_with_parent()
            if os.getppid() != parent:  # the parent died before the kernel knew of our wish
                os._exit(1)

        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                list(command),
                env=dict(env),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the world alone, which stops us in order
                pass_fds=tuple(pass_fds),
                # Safe with threads: it calls two C functions that are loaded already.
                preexec_fn=before_exec,
            )

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def last_lines(self, count: int = 15) -> str:
        """The end of what the program said, for a message about its failure."""
        with contextlib.suppress(OSError):
            lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
            return "\n".join(f"    {line}" for line in lines[-count:])
        return ""

    def ask_to_stop(self) -> None:
        self._signal(self._stop_signal)

    def stop(self, *, deadline: float) -> None:
        """Wait until `deadline` (monotonic) for the program to end, then kill its whole group."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=max(0.0, deadline - time.monotonic()))
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
