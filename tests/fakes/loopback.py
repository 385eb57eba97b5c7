"""A server on loopback that answers from a script and writes down what it was sent.

It speaks just enough HTTP/1.1 to misbehave below it: to hang up, to redirect, to never stop.
"""

from __future__ import annotations

import json
import socketserver
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedIOBase
from urllib.parse import parse_qs


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form, decoded once."""
        fields = parse_qs(self.body.decode(), strict_parsing=True, keep_blank_values=True)
        return {name: values[0] for name, values in fields.items()}


Misbehaviour = Callable[[BufferedIOBase], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """An ordinary answer; a body that is no bytes is sent as JSON."""

    body: object = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, stream: BufferedIOBase) -> None:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"{name}: {value}" for name, value in (headers | dict(self.headers)).items()]
        head = f"HTTP/1.1 {self.status} Said\r\n" + "\r\n".join(lines) + "\r\n\r\n"
        stream.write(head.encode() + body)


def hang_up(stream: BufferedIOBase) -> None:
    """Read the request, answer nothing."""


def hang_up_in_the_head(stream: BufferedIOBase) -> None:
    """Begin an answer and end in its head."""
    stream.write(b"HTTP/1.1 200 OK\r\nContent-Le")


def hang_up_in_the_body(stream: BufferedIOBase) -> None:
    """Promise more bytes than come."""
    stream.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"access_token": "act.')


def endless(stream: BufferedIOBase) -> None:
    """Send a megabyte, or until nobody listens any more."""
    stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n")
    with suppress(OSError):
        for _ in range(64):
            stream.write(b"x" * 16384)


class Loopback(socketserver.ThreadingTCPServer):
    """The running server. ``script`` is played request by request, over any connections.

    What comes when the script is over is answered by ``otherwise``; it finds the request in
    ``received``.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        self.script: deque[Misbehaviour] = deque()
        self.otherwise: Misbehaviour = Answer(status=500)
        self.received: list[Received] = []
        self.connections = 0
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that left are no news."""


class _Handler(socketserver.StreamRequestHandler):
    server: Loopback

    def handle(self) -> None:
        self.server.connections += 1
        while (request := _read(self.rfile)) is not None:
            self.server.received.append(request)
            answer = self.server.script.popleft() if self.server.script else self.server.otherwise
            answer(self.wfile)
            if answer in (hang_up, hang_up_in_the_head, hang_up_in_the_body, endless):
                return


def _read(stream: BufferedIOBase) -> Received | None:
    line = stream.readline().decode().split()
    if len(line) < 2:
        return None
    headers: dict[str, str] = {}
    while (header := stream.readline().decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", "0")))
    return Received(line[0], line[1], headers, body)


@contextmanager
def loopback() -> Iterator[Loopback]:
    """Serve until the end of the block."""
    with Loopback() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
