"""What runs between an answer's last byte and the acknowledgement of the save that it leads to.

Two kinds of `local.faults` harm nothing and watch instead: `trace_window` writes down every line
of ours that begins and every log record, sleep and call to the network; `time_window` takes the
time alone, since tracing slows what it watches. Both append one line of JSON to the fault's
`report` file when DynamoDB has acknowledged a write, and watch no longer:

    {"kind": "trace_window", "call": 8, "report": "/tmp/…/tape"}
"""

import json
import logging
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from botocore.httpsession import URLLib3Session
from urllib3.connectionpool import HTTPConnectionPool

from local.wire import call_name

BYTE = "byte"
"""Bytes of the answer have been read. The last such mark is the answer's last byte."""
DURABLE = "durable"
"""A file has got the name by which it is found: it survives the end of this process."""
ACKNOWLEDGED = "acknowledged"
LINE = "line"
CALL = "call"
LOG = "log"
SLEEP = "sleep"
FORBIDDEN = (CALL, LOG, SLEEP)

_PACKAGE = "/tiktok_linking/"
_LOGGING: frozenset[CodeType] = frozenset(
    {logging.Logger._log.__code__, logging.Handler.handle.__code__}
)
_WAITING = (time.sleep, select.select)


class Tape:
    """What happened, in order: [mark, nanoseconds, detail, line of ours]."""

    def __init__(self, report: Path) -> None:
        self._report = report
        self._marks: list[list[Any]] = []
        self._undo: list[Callable[[], None]] = []
        self._calling = 0

    def mark(self, mark: str, detail: str = "", line: int = 0) -> None:
        self._marks.append([mark, time.perf_counter_ns(), detail, line])

    def start(self, answer: Any, *, traced: bool) -> None:
        """Watch from here, where the answer's head has come and its body is unread."""
        self.mark(BYTE)
        for name in ("read", "read1", "readinto"):
            if hasattr(answer, name):
                setattr(answer, name, self._marked(getattr(answer, name)))
        self._watch_disk()
        self._watch_calls()
        if traced:
            self._trace()

    def stop(self) -> None:
        """Leave the process as it was, and tell."""
        sys.settrace(None)
        sys.setprofile(None)
        while self._undo:
            self._undo.pop()()
        with self._report.open("a") as report:
            report.write(json.dumps(self._marks) + "\n")

    def _marked(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def reading(*args: Any, **kwargs: Any) -> Any:
            got = read(*args, **kwargs)
            if got:
                self.mark(BYTE)
            return got

        return reading

    def _watch_disk(self) -> None:
        for name in ("rename", "replace", "link"):
            self._replace(os, name, self._naming(getattr(os, name)))

    def _naming(self, name: Callable[..., None]) -> Callable[..., None]:
        def naming(*args: Any, **kwargs: Any) -> None:
            name(*args, **kwargs)
            self.mark(DURABLE)

        return naming

    def _watch_calls(self) -> None:
        urlopen = HTTPConnectionPool.urlopen
        send = URLLib3Session.send
        last = ""

        def opening(
            pool: Any,
            method: str,
            url: str,
            body: Any = None,
            headers: Any = None,
            *args: Any,
            **kwargs: Any,
        ) -> Any:
            nonlocal last
            named = {
                str(k): v.decode("latin-1") if isinstance(v, bytes) else str(v)
                for k, v in dict(headers or {}).items()
            }
            last = call_name(method, url, named, body)
            self.mark(CALL, last)
            self._calling += 1
            try:
                return urlopen(pool, method, url, body, headers, *args, **kwargs)
            finally:
                self._calling -= 1

        def sending(session: Any, request: Any) -> Any:
            self._calling += 1
            try:
                answer = send(session, request)  # with its body, read to the end
            finally:
                self._calling -= 1
            if last == "dynamodb.UpdateItem" and answer.status_code == 200:
                self.mark(ACKNOWLEDGED)
                self.stop()
            return answer

        self._replace(HTTPConnectionPool, "urlopen", opening)
        self._replace(URLLib3Session, "send", sending)

    def _replace(self, owner: Any, name: str, value: Any) -> None:
        before = getattr(owner, name)
        self._undo.append(lambda: setattr(owner, name, before))
        setattr(owner, name, value)

    def _trace(self) -> None:
        def trace(frame: FrameType, event: str, _argument: Any) -> Any:
            file = frame.f_code.co_filename
            if event == "line" and _PACKAGE in file:
                self.mark(LINE, file.rpartition(_PACKAGE)[2], frame.f_lineno)
            return trace

        # What sleeps, prints or opens a socket is written in C: the profiler sees those calls,
        # also through a reference that was taken before this began.
        def profile(frame: FrameType, event: str, called: Any) -> None:
            if event == "call" and frame.f_code in _LOGGING:
                self.mark(LOG, frame.f_code.co_qualname)
            elif event == "c_call":
                self._c_call(called)

        frame: FrameType | None = sys._getframe()
        while frame is not None:
            frame.f_trace = trace
            frame = frame.f_back
        sys.setprofile(profile)
        sys.settrace(trace)

    def _c_call(self, called: Any) -> None:
        owner = getattr(called, "__self__", None)
        if called in _WAITING:
            self.mark(SLEEP, called.__name__)
        elif called is print or owner is sys.stdout or owner is sys.stderr:
            self.mark(LOG, called.__name__)
        elif isinstance(owner, socket.socket) and not self._calling:
            self.mark(CALL, f"socket.{called.__name__}")


def watch(answer: Any, report: Path, *, traced: bool) -> Any:
    """Watch what becomes of an answer; gives the answer back."""
    Tape(report).start(answer, traced=traced)
    return answer
