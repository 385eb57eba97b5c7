"""Faults at one call of one invocation, and outages: what the crash sweep injects on the wire.

A fault is armed on the control port (`POST /faults`) for the next invocation of a function:

    {"function": "refresh", "kind": "kill_after", "call": "tiktok.token"}
    {"function": "refresh", "kind": "refuse", "call": "dynamodb.UpdateItem", "nth": 2,
     "onwards": true, "service": "dynamodb"}
    {"function": "refresh", "kind": "kill_line", "call": 4, "line": 7}

    {"function": "refresh", "faults": [{"kind": …, "call": …}, {"kind": …, "call": …}]}

`call` is a name, of which the `nth` is meant (1), or a number that counts from 1 within the
invocation; repeats by the SDK count too. A name means the same call in a cold process and in a warm
one. With `onwards` every later call (of `service`, if it is named) fails as well, which is an
outage of that invocation. `cold: true` runs the invocation in a fresh process; without a `kind`
that is all it does.

`GET /faults` tells the calls that each function's last invocation made (`traces`), which calls were
hit since its last fault was armed (`hits`), and where a process is held (`held`).

An outage lasts (`POST /outage`): it hits every invocation of the named functions, or of all, until
it is lifted (`DELETE /outage`):

    {"service": "dynamodb", "kind": "refuse", "functions": ["refresh", "rescue"]}

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
hold           the process stops until `POST /faults/release`; `when` is `before` (nothing was sent)
               or `after` (the answer has come and nobody has read it)
kill_line      the process ends `line` executed lines of ours after the call
trace_window   nothing; what runs after the call is written to the file `report` (local.probe)
time_window    nothing; the times of the same steps are written there, untraced
=============  ==================================================================================
"""

import io
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

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
    "hold",
    "kill_line",
    "trace_window",
    "time_window",
)
LASTING = ("refuse", "500_before", "500_after", "throttle", "hang")
"""What a service that is away can do."""
KILLED = 137
_SPENDING = "tiktok.token"

_THROTTLING = {
    "dynamodb": "ProvisionedThroughputExceededException",
    "kms": "ThrottlingException",
    "secretsmanager": "ThrottlingException",
    "sqs": "RequestThrottled",
    "lambda": "TooManyRequestsException",
}


Tell = Callable[[dict[str, Any]], None]
Hold = Callable[[], None]


def around(fault: Mapping[str, Any] | None, *, tell: Tell, hold: Hold) -> Around:
    """What the wire does around each call of an invocation with this fault, or without one.

    ``tell`` sends a record to the supervisor; ``hold`` returns when the process may go on.
    """
    several = [
        one for one in ([] if fault is None else fault.get("faults", [fault])) if "kind" in one
    ]
    if not several:
        return lambda _call, send: send()
    return _Injection(several, tell, hold).around


class _Injection:
    """The faults of one invocation, and what they need to know of its calls."""

    def __init__(self, faults: list[Mapping[str, Any]], tell: Tell, hold: Hold) -> None:
        self._faults = faults
        self._tell = tell
        self._hold = hold
        self._lock = threading.Lock()
        self._made: Counter[str] = Counter()
        self._reached: set[int] = set()
        # Threads whose answer from TikTok is under way, or read and not yet on its way to the
        # table: whoever kills the process takes their pairs along.
        self._exposed: set[int] = set()

    def around(self, call: Call, send: Send) -> Any:
        me = threading.get_ident()
        with self._lock:
            self._made[call.name] += 1
            nth = self._made[call.name]
            hit = next((one for one in self._faults if self._hits(one, call, nth)), None)
            self._exposed.discard(me)
            if hit is not None and hit["kind"] == "kill_before":
                self._kill(hit, call, nth)
            others = len(self._exposed)
            if call.name == _SPENDING:
                self._exposed.add(me)
        if hit is None:
            return send()
        if hit["kind"] == "kill_after":
            send()
            with self._lock:
                self._exposed.discard(me)
                self._kill(hit, call, nth)
        self._tell_of(hit, call, nth, others)
        if hit["kind"] == "hold":
            return self._held(hit, call, send)
        return _act(hit, call, send)

    def _kill(self, hit: Mapping[str, Any], call: Call, nth: int) -> NoReturn:
        """End the process while the lock is held, so that no thread begins a call after the count.

        One that asked TikTok in between would take along an answer that nobody counted.
        """
        self._tell_of(hit, call, nth, len(self._exposed))
        _die()

    def _tell_of(self, hit: Mapping[str, Any], call: Call, nth: int, exposed: int) -> None:
        self._tell(
            {"type": "hit", "kind": hit["kind"], "call": call.name, "nth": nth, "exposed": exposed}
        )

    def _hits(self, fault: Mapping[str, Any], call: Call, nth: int) -> bool:
        wanted, onwards = fault["call"], bool(fault.get("onwards"))
        if isinstance(wanted, str):
            reached = call.name == wanted and nth == int(fault.get("nth", 1))
        else:
            reached = call.number >= wanted if onwards else call.number == wanted
        if onwards and reached:
            self._reached.add(id(fault))
        if onwards and id(fault) in self._reached:
            service = fault.get("service")
            return service is None or call.name.partition(".")[0] == service
        return reached

    def _held(self, fault: Mapping[str, Any], call: Call, send: Send) -> Any:
        after = fault.get("when") == "after"
        answer = send() if after else None
        self._tell({"type": "held", "call": call.name})
        self._hold()
        return answer if after else send()


def _act(fault: Mapping[str, Any], call: Call, send: Send) -> Any:
    match fault["kind"]:
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
        case "kill_line":
            answer = send()
            _die_after_lines(int(fault["line"]))
            return answer
        case "trace_window" | "time_window" as kind:
            return probe.watch(send(), Path(fault["report"]), traced=kind == "trace_window")
    raise ValueError(f"no fault {fault['kind']}")


def _die() -> NoReturn:
    os._exit(KILLED)


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
