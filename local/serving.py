"""A plain HTTP/1.1 server on loopback, one thread per connection."""

import json
import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

HOST = "127.0.0.1"
_IDLE_SECONDS = 75


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it stood on the wire."""

    method: str
    target: str  # path and query, byte for byte
    headers: tuple[tuple[str, str], ...]  # names as sent, duplicates kept
    body: bytes
    protocol: str
    source_ip: str

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: str, default: str = "") -> str:
        """The first header of this name, in any case."""
        return next((v for k, v in self.headers if k.lower() == name.lower()), default)


@dataclass(frozen=True, slots=True)
class Response:
    """What to send back; the length and the date are added."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)


class Application(Protocol):
    """What answers the requests of a server."""

    body_limit: int

    def before_body(
        self, method: str, target: str, headers: tuple[tuple[str, str], ...]
    ) -> Response | None:
        """Refuse a request before its body is read, or None."""

    def too_large(self) -> Response:
        """The answer to a body over the limit."""

    def respond(self, request: Request) -> Response:
        """Answer a whole request."""


class LoopbackServer(ThreadingHTTPServer):
    """Binds at once, so that a taken port is known before anything starts; serves when told."""

    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.application: Application | None = None
        self._thread = threading.Thread(
            target=self.serve_forever,
            kwargs={"poll_interval": 0.1},
            name=f"port {port}",
            daemon=True,
        )

    def start(self, application: Application) -> None:
        self.application = application
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is nobody's error."""


class _BodyTooLarge(Exception):
    pass


class _BadBody(Exception):
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024  # head and body leave together
    timeout = _IDLE_SECONDS
    server: LoopbackServer

    def handle_one_request(self) -> None:
        """Read one request and answer it, whatever its method is."""
        try:
            self.raw_requestline = self.rfile.readline(65_537)
            if not self.raw_requestline:
                self.close_connection = True
                return
            if len(self.raw_requestline) > 65_536:
                self.requestline = self.request_version = self.command = ""
                self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
                return
            if self.parse_request():  # otherwise it has answered already
                self._answer()
            self.wfile.flush()
        except (TimeoutError, ConnectionError):
            self.close_connection = True

    def _answer(self) -> None:
        application = self.server.application
        if application is None:
            raise RuntimeError("serving before start()")
        # `self.path` has leading slashes collapsed; the request line has what was sent.
        target = self.requestline.split()[1]
        if target.startswith(("http://", "https://")):
            target = "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
        headers = tuple((name, str(value)) for name, value in self.headers.items())
        refused = application.before_body(self.command, target, headers)
        if refused is not None:
            self.close_connection = True  # the body stays unread
            self._send(refused)
            return
        try:
            body = self._body(application.body_limit)
        except _BodyTooLarge:
            self.close_connection = True
            self._send(application.too_large())
            return
        except _BadBody:
            self.close_connection = True
            self._send(Response(400))
            return
        self._send(
            application.respond(
                Request(
                    method=self.command,
                    target=target,
                    headers=headers,
                    body=body,
                    protocol=self.request_version,
                    source_ip=str(self.client_address[0]),
                )
            )
        )

    def _body(self, limit: int) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunked_body(limit)
        length = self.headers.get("Content-Length", "0")
        if not length.isascii() or not length.isdigit():
            raise _BadBody
        if int(length) > limit:
            raise _BodyTooLarge
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionError
        return body

    def _chunked_body(self, limit: int) -> bytes:
        body = b""
        while True:
            try:
                size = int(self.rfile.readline(1_024).split(b";")[0], 16)
            except ValueError:
                raise _BadBody from None
            if size < 0:
                raise _BadBody
            if len(body) + size > limit:
                raise _BodyTooLarge
            body += self.rfile.read(size)
            self.rfile.readline(1_024)
            if size == 0:
                return body

    def _send(self, response: Response) -> None:
        self.send_response_only(response.status)
        self.send_header("Date", formatdate(usegmt=True))
        for name, value in response.headers:
            self.send_header(name, value)
        # RFC 9110 8.6: neither body nor length with these.
        if response.status >= 200 and response.status not in (204, 304):
            self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.end_headers()
        if self.command != "HEAD" and response.status not in (204, 304):
            self.wfile.write(response.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what could not be parsed, with the phrase alone: input is never echoed."""
        self.close_connection = True
        body = json.dumps({"message": HTTPStatus(code).phrase}).encode()
        self._send(Response(code, (("Content-Type", "application/json"),), body))

    def log_message(self, format: str, *args: Any) -> None:
        """No access log: addresses of link sessions are secrets."""
