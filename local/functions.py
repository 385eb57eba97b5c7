"""The functions of the stack, each in processes of its own.

A pool per function runs at most FUNCTION_CONCURRENCY invocations at once, each in a process that
runs nothing else meanwhile, as on Lambda. More invocations wait. A process that dies or does not
end in time is killed and replaced.
"""

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.channel import Channel, ChannelClosed
from local.logs import LogCollector
from local.processes import Child
from local.worker import Assignment

_MOST_WAITING = 1_000
_INIT_SECONDS = 20.0  # Lambda gives an import 10 s; a busy laptop may need more
_HIT = ("kind", "call", "nth", "exposed")
_LARGEST_ANSWER = 6 * 1024 * 1024  # Lambda's limit for a synchronous answer


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """One function as the deployed template has it."""

    name: str  # `refresh`
    logical_id: str  # `RefreshFunction`
    physical_name: str
    arn: str
    role_arn: str
    handler: str
    code_directories: tuple[Path, ...]  # its own folder, then its layers
    env: Mapping[str, str]
    timeout_seconds: int
    memory_megabytes: int


@dataclass(frozen=True, slots=True)
class InvocationResult:
    """How a run ended. `error` is None, or Lambda's word for a failed function."""

    request_id: str
    payload: str  # JSON: the answer, or the error document
    error: str | None

    def value(self) -> Any:
        return json.loads(self.payload)


class TooManyInvocations(Exception):
    """So many invocations wait already that this one is refused, as Lambda throttles."""


class NurseryProcess:
    """The supervisor's side of the nursery."""

    def __init__(self, *, directory: Path, log_file: Path) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.child = Child(
                "nursery",
                [sys.executable, "-m", "local.nursery", str(theirs.fileno())],
                env={"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "TZ": "UTC"},
                directory=directory,
                log_file=log_file,
                pass_fds=[theirs.fileno()],
            )
        self._channel = Channel(ours)
        self._asking = threading.Lock()

    def wait_until_ready(self, *, timeout_seconds: float) -> None:
        self._channel.receive(timeout_seconds=timeout_seconds)

    def fork(self, assignment: Assignment, *, channel_fd: int, log_fd: int) -> int:
        """Start a worker and answer its process id.

        Raises:
            ChannelClosed: the nursery is gone, because the world stops.
        """
        request = {"type": "fork", "assignment": assignment.as_message()}
        with self._asking:
            self._channel.send(request, fds=[channel_fd, log_fd])
            return int(self._channel.receive()["pid"])

    def kill(self, pid: int) -> None:
        with self._asking, contextlib.suppress(ChannelClosed):
            self._channel.send({"type": "kill", "pid": pid})
            self._channel.receive()

    def close(self) -> None:
        self._channel.close()


class _Worker:
    """One process, and the slot that it fills."""

    def __init__(self, slot: int, pid: int, channel: Channel) -> None:
        self.slot = slot
        self.pid = pid
        self.channel = channel
        self.is_ready = False


class FunctionPool:
    """The processes of one function."""

    def __init__(
        self,
        settings: FunctionSettings,
        *,
        concurrency: int,
        nursery: NurseryProcess,
        logs: LogCollector,
        process_env: Callable[[FunctionSettings], Mapping[str, str]],
        temporary_directory: Path,
        clock_file: Path,
    ) -> None:
        self.settings = settings
        self._nursery = nursery
        self._logs = logs
        self._process_env = process_env
        self._temporary_directory = temporary_directory
        self._clock_file = clock_file
        self._lock = threading.Lock()
        self._free_slots = list(range(concurrency - 1, -1, -1))  # the lowest is taken first
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._unfinished = 0
        self._started = 0
        self._calls: Counter[str] = Counter()
        self._stopping = False
        self._fault: Mapping[str, Any] | None = None
        self._outages: Sequence[Mapping[str, Any]] = ()
        self._trace: list[str] = []
        self._hits: list[dict[str, Any]] = []
        self._held: dict[_Worker, str] = {}
        self._news = threading.Condition(self._lock)
        # As many threads as processes: the executor's queue is where invocations wait.
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix=settings.name)

    # ---- what others ask -----------------------------------------------------------------------

    def submit(self, event: Any) -> "Future[InvocationResult]":
        """Run the function with this event as soon as a process is free.

        Raises:
            TooManyInvocations: the queue is full.
        """
        with self._lock:
            if self._unfinished >= _MOST_WAITING:
                raise TooManyInvocations(self.settings.name)
            self._unfinished += 1
            self._started += 1
        try:
            future = self._threads.submit(self._run, event)
        except RuntimeError as stopped:
            self._finished(None)
            raise TooManyInvocations(self.settings.name) from stopped
        future.add_done_callback(self._finished)
        return future

    def invoke(self, event: Any) -> InvocationResult:
        """Run the function and wait for its end."""
        return self.submit(event).result()

    @property
    def unfinished(self) -> int:
        """Invocations that run or wait."""
        return self._unfinished

    @property
    def started(self) -> int:
        """Invocations ever accepted: two equal readings mean that none came between."""
        return self._started

    def calls(self) -> dict[str, int]:
        """How often the function made which call since `forget_calls`."""
        with self._lock:
            return dict(sorted(self._calls.items()))

    def forget_calls(self) -> None:
        with self._lock:
            self._calls.clear()

    def arm(self, fault: Mapping[str, Any]) -> None:
        """Put a fault into the next invocation (`local.faults`)."""
        with self._lock:
            self._fault = fault
            self._hits = []

    def suffer(self, outages: Sequence[Mapping[str, Any]]) -> None:
        """Put these faults into every invocation that begins from now on."""
        with self._lock:
            self._outages = outages

    def trace(self) -> list[str]:
        """The calls of the invocation that ended last, in order."""
        return list(self._trace)

    def hits(self) -> list[dict[str, Any]]:
        """The calls at which faults acted since the last one was armed."""
        with self._lock:
            return list(self._hits)

    def held(self) -> list[str]:
        """The calls at which processes are held."""
        with self._lock:
            return list(self._held.values())

    def wait_until_held(self, timeout_seconds: float) -> list[str]:
        """Wait until a process is held, or the armed fault is taken and none runs any more."""
        with self._news:
            self._news.wait_for(
                lambda: self._held or (self._fault is None and not self._unfinished),
                timeout_seconds,
            )
            return list(self._held.values())

    def release(self) -> int:
        """Let held processes go on; answers how many there were."""
        with self._lock:
            held, self._held = list(self._held), {}
        for worker in held:
            with contextlib.suppress(ChannelClosed):
                worker.channel.send({"type": "release"})
        return len(held)

    def note_malformed_answer(self, request_id: str, what: str) -> None:
        """Say in the function's log why the gateway could not send its answer."""
        record = {"level": "ERROR", "requestId": request_id}
        self._logs.add(
            self.settings.name,
            record | {"message": f"API Gateway would answer 500 to this answer: {what}"},
        )

    def note(self, what: str) -> None:
        """Say in the function's log what the services around it could not do for it."""
        self._logs.add(self.settings.name, {"level": "ERROR", "message": what})

    def warm_up(self) -> str | None:
        """Have one process loaded. Answers what is wrong with the function's code, if anything."""
        worker = self._take()
        try:
            broken = self._settle_in(worker)
        except ChannelClosed:
            broken = _exit_document(self.settings, "")
        if broken is not None:
            self._discard(worker)
            return f"{broken['errorType']}: {broken['errorMessage']}"
        self._give_back(worker)
        return None

    def stop(self) -> None:
        """Take no more and end the processes."""
        self._stopping = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            workers = [*self._idle, *self._busy]
        for worker in workers:
            self._nursery.kill(worker.pid)

    # ---- one invocation ------------------------------------------------------------------------

    def _run(self, event: Any) -> InvocationResult:
        request_id = str(uuid.uuid4())
        with self._lock:
            fault, self._fault = self._fault, None
            outages = self._outages
        if outages:
            armed = [] if fault is None else fault.get("faults", [fault])
            fault = {**(fault or {}), "faults": [*armed, *outages]}
        try:
            worker = self._take(cold=fault is not None and bool(fault.get("cold")))
        except ChannelClosed:
            return _failure(request_id, _exit_document(self.settings, request_id))
        try:
            broken = self._settle_in(worker)
            if broken is not None:
                self._discard(worker)
                return _failure(request_id, broken | {"requestId": request_id})
            # The time runs from here, as Lambda's does after the initialisation.
            deadline = time.monotonic() + self.settings.timeout_seconds
            worker.channel.send(
                {
                    "type": "invoke",
                    "request_id": request_id,
                    "trace_id": _trace_id(),
                    "deadline": deadline,
                    "event": event,
                    "fault": fault,
                }
            )
            self._trace = []
            result = self._until(worker, ("result",), deadline)
        except TimeoutError:
            return self._lost(worker, _timeout_document(self.settings, request_id), request_id)
        except ChannelClosed:
            return self._lost(worker, _exit_document(self.settings, request_id), request_id)
        self._give_back(worker)
        payload = str(result["payload"])
        if len(payload) > _LARGEST_ANSWER:
            return _failure(request_id, _too_large_document(len(payload)))
        return InvocationResult(request_id, payload, result["error"])

    def _lost(self, worker: _Worker, document: dict[str, Any], request_id: str) -> InvocationResult:
        """A process that must not be used again, and the invocation that it took along."""
        self._discard(worker)
        if not self._stopping:
            record = {"level": "ERROR", "requestId": request_id} | document
            self._logs.add(self.settings.name, record)
        return _failure(request_id, document)

    def _settle_in(self, worker: _Worker) -> dict[str, Any] | None:
        """Wait until a new process has loaded its code; answers the error document if it cannot."""
        if worker.is_ready:
            return None
        try:
            message = self._until(worker, ("ready", "broken"), time.monotonic() + _INIT_SECONDS)
        except TimeoutError:
            return _timeout_document(self.settings, "", at_init=True)
        if message["type"] == "broken":
            broken: dict[str, Any] = message["error"]
            return broken
        worker.is_ready = True
        return None

    def _until(self, worker: _Worker, kinds: tuple[str, ...], deadline: float) -> dict[str, Any]:
        """The next message of a kind; calls on the wire are counted on the way."""
        while True:
            message = worker.channel.receive(
                timeout_seconds=max(0.001, deadline - time.monotonic())
            )
            if message["type"] == "call":
                with self._lock:
                    self._calls[message["name"]] += 1
                    self._trace.append(message["name"])
            elif message["type"] == "hit":
                with self._lock:
                    self._hits.append({key: message[key] for key in _HIT})
            elif message["type"] == "held":
                with self._news:
                    self._held[worker] = message["call"]
                    self._news.notify_all()
            elif message["type"] in kinds:
                return message

    # ---- processes -----------------------------------------------------------------------------

    def _take(self, *, cold: bool = False) -> _Worker:
        """A process for the lowest slot with nothing to do: the one that is there, or a new one.

        So that invocations one after the other meet the same temporary folder, as Lambda's do,
        also where a process was killed in between.
        """
        with self._lock:
            if self._stopping:
                raise ChannelClosed
            worker = min(self._idle, key=lambda idle: idle.slot, default=None)
            if worker is None or (self._free_slots and self._free_slots[-1] < worker.slot):
                worker, slot = None, self._free_slots.pop()
            else:
                self._idle.remove(worker)
                self._busy.add(worker)
        if worker is not None:
            # One that died while it had nothing to do is replaced: nobody's invocation failed.
            if not cold and not worker.channel.has_ended():
                return worker
            slot = worker.slot
            self._end(worker)
        try:
            worker = self._start(slot)
        except ChannelClosed:
            with self._lock:
                self._free_slots.append(slot)
                self._free_slots.sort(reverse=True)
            raise
        with self._lock:
            self._busy.add(worker)
        return worker

    def _start(self, slot: int) -> _Worker:
        settings = self.settings
        own_files = self._temporary_directory / settings.name / str(slot)
        own_files.mkdir(parents=True, exist_ok=True)
        assignment = Assignment(
            function=settings.name,
            handler=settings.handler,
            code_directories=[str(directory) for directory in settings.code_directories],
            # The slot's folder outlives the process, as Lambda's /tmp does between invocations.
            env={
                **self._process_env(settings),
                "TMPDIR": str(own_files),
                "HOME": str(own_files),
            },
            function_name=settings.physical_name,
            function_arn=settings.arn,
            memory_megabytes=settings.memory_megabytes,
            clock_file=str(self._clock_file),
        )
        ours, theirs = socket.socketpair()
        log_fd = self._logs.open_pipe(settings.name)
        try:
            with theirs:
                pid = self._nursery.fork(assignment, channel_fd=theirs.fileno(), log_fd=log_fd)
        except ChannelClosed:
            ours.close()
            raise
        finally:
            os.close(log_fd)
        return _Worker(slot, pid, Channel(ours))

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
            self._idle.append(worker)

    def _discard(self, worker: _Worker) -> None:
        self._end(worker)
        with self._lock:
            self._free_slots.append(worker.slot)
            self._free_slots.sort(reverse=True)

    def _end(self, worker: _Worker) -> None:
        """End a process; its slot stays taken."""
        self._nursery.kill(worker.pid)
        worker.channel.close()
        with self._lock:
            self._held.pop(worker, None)
            self._busy.discard(worker)

    def _finished(self, _future: "Future[InvocationResult] | None") -> None:
        with self._news:
            self._unfinished -= 1
            self._news.notify_all()


def _trace_id() -> str:
    return f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Sampled=0"


def _failure(request_id: str, document: dict[str, Any]) -> InvocationResult:
    return InvocationResult(request_id, json.dumps(document), "Unhandled")


# The wording of these is Lambda's own, so that a reader of logs recognises it.


def _timeout_document(
    settings: FunctionSettings, request_id: str, *, at_init: bool = False
) -> dict[str, Any]:
    seconds = _INIT_SECONDS if at_init else float(settings.timeout_seconds)
    return {
        "errorType": "Sandbox.Timedout",
        "errorMessage": (
            f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds"
        ),
    }


def _exit_document(settings: FunctionSettings, request_id: str) -> dict[str, Any]:
    return {
        "errorType": "Runtime.ExitError",
        "errorMessage": (
            f"RequestId: {request_id} Error: Runtime exited without providing a reason"
            f" ({settings.logical_id})"
        ),
    }


def _too_large_document(size: int) -> dict[str, Any]:
    return {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": (
            f"Response payload size ({size} bytes) exceeded maximum allowed payload size"
            f" ({_LARGEST_ANSWER} bytes)."
        ),
    }
