"""One process of one function: loads the handler once, then runs one invocation after the other.

It stands in for the Lambda runtime, so it does what that does: the handler's module is named by the
template, the context counts down a real deadline, an exception becomes an error document and a log
record, and everything printed is the function's log.
"""

import importlib
import json
import os
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local import faults
from local.channel import Channel, ChannelClosed
from local.clock import SharedClock
from local.wire import Wire

_LONGEST_HOLD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a new worker is told: which function it is."""

    function: str
    handler: str
    code_directories: list[str]
    env: dict[str, str]
    function_name: str
    function_arn: str
    memory_megabytes: int
    clock_file: str

    def as_message(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Context:
    """The second argument of a handler, with the attributes that AWS's runtime gives it."""

    aws_request_id: str
    function_name: str
    invoked_function_arn: str
    memory_limit_in_mb: str
    deadline: float
    function_version: str = "$LATEST"
    log_group_name: str = ""
    log_stream_name: str = "local"
    identity: None = None
    client_context: None = None

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.monotonic()) * 1000))


def error_document(error: BaseException, request_id: str) -> dict[str, Any]:
    """An exception in the form of Lambda's error payload."""
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "requestId": request_id,
        "stackTrace": traceback.format_list(traceback.extract_tb(error.__traceback__)),
    }


def _log_error(document: dict[str, Any]) -> None:
    """Unhandled exceptions in the log, as Lambda's JSON log format has them."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(json.dumps({"level": "ERROR", "timestamp": now} | document), flush=True)


def run(assignment: Assignment, channel: Channel) -> None:
    """Be this function until the channel ends."""
    clock = SharedClock(Path(assignment.clock_file))
    really = time.sleep
    # Whoever waits here, ours or a library, waits by the shared clock when the world says so.
    time.sleep = lambda seconds: clock.sleep(float(seconds), really)

    def hold() -> None:
        # Nobody else reads during an invocation. The function's own timeout ends a forgotten one.
        channel.receive(timeout_seconds=_LONGEST_HOLD_SECONDS)

    wire = Wire(lambda call: channel.send({"type": "call", "name": call.name}))
    wire.install()
    try:
        handler = _load(assignment, clock)
    except BaseException as error:  # whatever a module raises at import, sys.exit included
        document = error_document(error, "")
        if isinstance(error, ImportError):
            document["errorType"] = "Runtime.ImportModuleError"
        _log_error(document)
        channel.send({"type": "broken", "error": document})
        return
    channel.send({"type": "ready"})
    while True:
        try:
            invocation = channel.receive()
        except ChannelClosed:
            return
        wire.start_invocation()
        wire.around = faults.around(invocation.get("fault"), tell=channel.send, hold=hold)
        channel.send(_invoke(handler, invocation, assignment))


def _load(assignment: Assignment, clock: SharedClock) -> Any:
    sys.path[:0] = assignment.code_directories
    try:
        bootstrap = importlib.import_module("tiktok_linking.bootstrap")
    except ModuleNotFoundError as missing:
        if not str(missing.name).startswith("tiktok_linking"):
            raise
    else:
        if hasattr(bootstrap, "use_clock"):
            bootstrap.use_clock(clock.now)
    module_name, _, function_name = assignment.handler.rpartition(".")
    return getattr(importlib.import_module(module_name.replace("/", ".")), function_name)


def _invoke(handler: Any, invocation: dict[str, Any], assignment: Assignment) -> dict[str, Any]:
    request_id = invocation["request_id"]
    context = Context(
        aws_request_id=request_id,
        function_name=assignment.function_name,
        invoked_function_arn=assignment.function_arn,
        memory_limit_in_mb=str(assignment.memory_megabytes),
        deadline=invocation["deadline"],
        log_group_name=f"/aws/lambda/{assignment.function_name}",
    )
    os.environ["_X_AMZN_TRACE_ID"] = invocation["trace_id"]
    try:
        answer = handler(invocation["event"], context)
    except Exception as error:  # Lambda answers any exception of a handler so
        return _failed(error_document(error, request_id))
    try:
        payload = json.dumps(answer)
    except (TypeError, ValueError) as error:
        document = error_document(error, request_id)
        what = {
            "errorType": "Runtime.MarshalError",
            "errorMessage": f"Unable to marshal response: {error}",
        }
        return _failed(document | what)
    _flush()
    return {"type": "result", "payload": payload, "error": None}


def _failed(document: dict[str, Any]) -> dict[str, Any]:
    _log_error(document)
    _flush()
    return {"type": "result", "payload": json.dumps(document), "error": "Unhandled"}


def _flush() -> None:
    """What the run printed must be in the log before its result is known."""
    sys.stdout.flush()
    sys.stderr.flush()
