"""Forks function processes from a parent that has the heavy libraries loaded.

Importing boto3, Powertools and cryptography costs most of a second; a fork of a process that has
them costs milliseconds, so that the world is ready soon and a killed worker is replaced at once.
Only other people's packages are loaded here: each function loads its own code and reads its own
environment in its own process. There are no threads here, hence forking is safe.
"""

import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator
from types import FrameType

from local.channel import Channel, ChannelClosed
from local.processes import die_with_parent
from local.worker import Assignment, run

_HEAVY = (
    "boto3",
    "botocore.session",
    "requests",
    "aws_lambda_powertools",
    "aws_lambda_powertools.metrics",
    "aws_lambda_powertools.event_handler",
    "cryptography.hazmat.primitives.ciphers.aead",
)


class Nursery:
    """Answers `fork` and `kill` requests of the supervisor, until it is gone."""

    def __init__(self, control: Channel) -> None:
        self._control = control
        self._living: set[int] = set()

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, self._bury)
        self._control.send({"type": "ready"})
        while True:
            try:
                request, fds = self._control.receive_with_fds()
            except ChannelClosed:
                self._kill_all()
                return
            if request["type"] == "fork":
                self._fork(Assignment(**request["assignment"]), *fds)
            else:
                self._kill(request["pid"])

    def _fork(self, assignment: Assignment, channel_fd: int, log_fd: int) -> None:
        parent = os.getpid()
        with _no_burials():  # a worker that dies before its number is noted would stay in the list
            pid = os.fork()
            if pid == 0:
                self._control.close()
                _become(assignment, parent, channel_fd, log_fd)
            self._living.add(pid)
        os.close(channel_fd)
        os.close(log_fd)
        self._control.send({"pid": pid})

    def _kill(self, pid: int) -> None:
        # Only a child that nobody has waited for yet surely still owns its number.
        with _no_burials():
            if pid in self._living:
                os.kill(pid, signal.SIGKILL)
        self._control.send({"killed": pid})

    def _kill_all(self) -> None:
        for pid in tuple(self._living):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _bury(self, _signal: int, _frame: FrameType | None) -> None:
        while self._living:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._living.discard(pid)


@contextlib.contextmanager
def _no_burials() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _become(assignment: Assignment, parent: int, channel_fd: int, log_fd: int) -> None:
    """Turn this fresh fork into a worker; never returns."""
    status = 1
    try:
        die_with_parent()
        if os.getppid() != parent:
            return
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        os.dup2(log_fd, 1)
        os.dup2(log_fd, 2)
        os.close(log_fd)
        # The function's environment and nothing else.
        os.environ.clear()
        os.environ.update(assignment.env)
        tempfile.tempdir = None
        os.chdir(assignment.code_directories[0])
        with contextlib.suppress(ChannelClosed):
            run(assignment, Channel(socket.socket(fileno=channel_fd)))
        status = 0
    except BaseException:  # this process has no caller to tell; its log is the place
        traceback.print_exc()
    finally:
        # Not sys.exit: the parent's exit handlers are not ours to run.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Serve on the socket whose number is the first argument."""
    control = Channel(socket.socket(fileno=int(sys.argv[1])))
    for module in _HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is loaded stays shared between the processes
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    Nursery(control).serve()


if __name__ == "__main__":
    main()
