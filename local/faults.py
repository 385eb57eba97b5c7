"""Faults at one numbered call of one invocation: what the crash sweep injects on the wire.

A fault is armed on the control port (`POST /faults`) for the next invocation of a function:

    {"function": "refresh", "kind": "kill_after", "call": 4}
    {"function": "refresh", "kind": "refuse", "call": 4, "onwards": true, "service": "dynamodb"}
    {"function": "refresh", "kind": "kill_line", "call": 4, "line": 7}

    {"function": "refresh", "faults": [{"kind": …, "call": …}, {"kind": …, "call": …}]}

`call` counts from 1 within the invocation, repeats by the SDK included; with `onwards` every later
call (of `service`, if it is named) fails too, which is an outage. `cold: true` runs the invocation
in a fresh process; without a `kind` that is all it does. `GET /faults` tells the calls that each
function's last invocation made.

=============  ==================================================================================
kind           what happens at the call
=============  ==================================================================================
kill_before    the process ends; nothing was sent
kill_after     the server has done its work; the process ends before it reads a byte of the answer
lose_reply     the server has done its work; the connection ends without an answer
refuse         the connection is refused
500_before     the answer is a server error; nothing was done
500_after      the answer is a server error although the work was done
throttle       the answer is the service's throttling error
hang           nothing is heard until the caller's own patience ends; nothing was done
stall          the process sleeps for `seconds` after the call, as a frozen machine does
kill_line      the process ends `line` executed lines of ours after the call
hold           after the call the process waits until the file `until` is there, and makes
               `<until>.held` when it begins to: a frozen machine that a test wakes up
trace_window   nothing; what runs after the call is written to the file `report` (local.probe)
time_window    nothing; the times of the same steps are written there, untraced
=============  ==================================================================================
"""

import io
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError, ProtocolError, ReadTimeoutError
from urllib3.response import HTTPResponse

from local import probe
from local.wire import Around, Call, Send

KINDS = (
    "kill_before",
    "kill_after",
    "lose_reply",
    "refuse",
    "500_before",
    "500_after",
    "throttle",
    "hang",
    "stall",
    "kill_line",
    "hold",
    "trace_window",
    "time_window",
)
KILLED = 137

_THROTTLING = {
    "dynamodb": "ProvisionedThroughputExceededException",
    "kms": "ThrottlingException",
    "secretsmanager": "ThrottlingException",
    "sqs": "RequestThrottled",
    "lambda": "TooManyRequestsException",
}


def around(fault: Mapping[str, Any] | None) -> Around:
    """What the wire does around each call of an invocation with this fault, or without one."""
    several = [
        one for one in ([] if fault is None else fault.get("faults", [fault])) if "kind" in one
    ]

    def act(call: Call, send: Send) -> Any:
        hit = next((one for one in several if _hits(one, call)), None)
        return send() if hit is None else _act(hit, call, send)

    return act


def _hits(fault: Mapping[str, Any], call: Call) -> bool:
    service = fault.get("service")
    if service is not None and call.name.partition(".")[0] != service:
        return False
    first = int(fault["call"])
    return call.number >= first if fault.get("onwards") else call.number == first


def _act(fault: Mapping[str, Any], call: Call, send: Send) -> Any:
    match fault["kind"]:
        case "kill_before":
            _die()
        case "kill_after":
            send()
            _die()
        case "lose_reply":
            _drop(send())
            raise ProtocolError("Connection aborted.", ConnectionResetError("injected"))
        case "refuse":
            raise NewConnectionError(HTTPConnection("127.0.0.1"), "injected: refused")
        case "500_before":
            return _error(call, 500)
        case "500_after":
            _drop(send())
            return _error(call, 500)
        case "throttle":
            return _error(call, 429)
        case "hang":
            time.sleep(call.read_seconds)
            raise ReadTimeoutError(None, None, "injected: read timed out")  # type: ignore[arg-type]
        case "stall":
            answer = send()
            time.sleep(float(fault.get("seconds", 1)))
            return answer
        case "kill_line":
            answer = send()
            _die_after_lines(int(fault["line"]))
            return answer
        case "hold":
            answer = send()
            _hold(Path(fault["until"]))
            return answer
        case "trace_window" | "time_window" as kind:
            return probe.watch(send(), Path(fault["report"]), traced=kind == "trace_window")
    raise ValueError(f"no fault {fault['kind']}")


def _die() -> None:
    os._exit(KILLED)


def _hold(until: Path) -> None:
    until.with_name(f"{until.name}.held").touch()
    while not until.exists():
        time.sleep(0.01)


def _drop(answer: Any) -> None:
    """Throw an answer away together with its connection."""
    answer.close()


def _error(call: Call, status: int) -> HTTPResponse:
    """The error as this service words it, so that the SDK's own rules for repeats apply."""
    service = call.name.partition(".")[0]
    body: bytes
    if service == "tiktok":
        headers = {"Content-Type": "text/html"} if status == 500 else {"Retry-After": "2"}
        body = b"<html>injected</html>"
    else:
        code = "InternalServerError" if status == 500 else _THROTTLING.get(service, "Throttling")
        status = status if status == 500 else 400
        headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-ErrorType": code}
        body = json.dumps({"__type": code, "message": "injected"}).encode()
    return HTTPResponse(
        body=io.BytesIO(body),
        headers=headers | {"Content-Length": str(len(body))},
        status=status,
        preload_content=False,
    )


def _die_after_lines(lines: int) -> None:
    """End this process when so many more lines of the package have begun."""
    left = lines

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left
        if "tiktok_linking" not in frame.f_code.co_filename:
            return trace
        if event == "line":
            left -= 1
            if left < 0:
                _die()
        return trace

    frame: FrameType | None = sys._getframe()
    while frame is not None:
        frame.f_trace = trace
        frame = frame.f_back
    sys.settrace(trace)
