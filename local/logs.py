"""What the functions print, line by line, as one JSON record each."""

import json
import os
import selectors
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KEPT_RECORDS = 20_000
_CHUNK_BYTES = 65_536


class LogCollector:
    """Reads the pipes of all workers in one thread, keeps the newest records, appends to a file.

    A function's own JSON record stays as it is, with `function` put in front; any other line
    becomes a record of its own. Nothing is redacted here: what leaks is to be seen, and tests look.
    """

    def __init__(self, file: Path, *, on_error: Callable[[dict[str, Any]], None]) -> None:
        self._file = file.open("a", encoding="utf-8", buffering=1)
        self._on_error = on_error
        self._records: deque[str] = deque(maxlen=KEPT_RECORDS)
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe()
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._to_watch: deque[tuple[int, str]] = deque()
        self._drains: deque[threading.Event] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._read_all, name="logs", daemon=True)
        self._thread.start()

    def open_pipe(self, function: str) -> int:
        """The end of a new pipe for one worker to write to; the caller closes its copy of it."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self._to_watch.append((reader, function))
        self._wake()
        return writer

    def add(self, function: str, record: dict[str, Any]) -> None:
        """A record that the world itself writes about a function."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._keep({"function": function, "timestamp": now} | record)

    def text(self) -> str:
        """All kept records, oldest first, including everything printed before this call."""
        drained = threading.Event()
        self._drains.append(drained)
        self._wake()
        drained.wait(timeout=5)
        with self._lock:
            return "".join(f"{record}\n" for record in self._records)

    def stop(self) -> None:
        self._stopping = True
        self._wake()
        self._thread.join(timeout=5)
        self._file.close()

    def _wake(self) -> None:
        os.write(self._wake_writer, b".")

    def _read_all(self) -> None:
        unfinished: dict[int, bytes] = {}
        functions: dict[int, str] = {}
        drains: list[threading.Event] = []
        while True:
            # With a drain pending: one pass without waiting, until no pipe has anything left.
            ready = self._selector.select(0 if drains else None)
            for key, _ in ready:
                pipe = key.fd
                if pipe == self._wake_reader:
                    os.read(pipe, 4096)
                    continue
                try:
                    chunk = os.read(pipe, _CHUNK_BYTES)
                except BlockingIOError:
                    continue
                *lines, unfinished[pipe] = (unfinished[pipe] + chunk).split(b"\n")
                if not chunk:
                    lines = [*lines, unfinished.pop(pipe)]
                    self._selector.unregister(pipe)
                    os.close(pipe)
                for line in lines:
                    if text := line.decode("utf-8", errors="replace").strip():
                        self._keep(log_record(functions[pipe], text))
            if not ready:
                for drained in drains:
                    drained.set()
                drains.clear()
                if self._stopping:
                    return
            while self._to_watch:
                reader, function = self._to_watch.popleft()
                functions[reader], unfinished[reader] = function, b""
                self._selector.register(reader, selectors.EVENT_READ)
            while self._drains:
                drains.append(self._drains.popleft())
            if self._stopping and not drains:
                drains.append(threading.Event())

    def _keep(self, record: dict[str, Any]) -> None:
        encoded = json.dumps(record, ensure_ascii=False)
        with self._lock:
            self._records.append(encoded)
            self._file.write(f"{encoded}\n")
        if record.get("level") in ("ERROR", "CRITICAL"):
            self._on_error(record)


def log_record(function: str, line: str) -> dict[str, Any]:
    """One printed line as a record that names its function."""
    try:
        printed = json.loads(line)
    except ValueError:
        printed = None
    if isinstance(printed, dict):
        return {"function": function} | printed | {"function": function}
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"function": function, "level": "INFO", "timestamp": now, "message": line}
