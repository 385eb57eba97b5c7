"""An HTTP/1.1 server for one WSGI application that keeps connections open and can hang up.

Werkzeug's own server closes every connection after one answer, so it cannot show what a client with
a pool of connections does; and a lost answer needs the socket, not a status code.
"""

import contextlib
import io
import socket
import socketserver
import struct
import sys
import threading
from enum import Enum
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

_CONNECTION = "local.tiktok.connection"
_LARGEST_BODY = 1_000_000
_SECONDS_TO_STOP = 2.0
# SO_LINGER on with zero seconds: closing sends a reset instead of a goodbye.
_RESET = struct.pack("ii", 1, 0)


class HangUp(Enum):
    """How a connection ends when no answer is to come."""

    # As from a server that dies before it answers.
    CLOSE = "close"
    # A TCP reset.
    RESET = "reset"


def hang_up(environ: "WSGIEnvironment", how: HangUp) -> None:
    """End the request's connection; whatever the application answers is not sent."""
    environ[_CONNECTION].hang_up = how


class WsgiServer(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each connection, on 127.0.0.1 and nowhere else.

    The socket is bound and listens once the object exists.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, application: "WSGIApplication") -> None:
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.wsgi = application
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def start(self) -> None:
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections, end those that are open, free the port."""
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
        with self._changed:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, _SECONDS_TO_STOP)
        self.server_close()

    def server_bind(self) -> None:
        # Without HTTPServer's own version, which asks the resolver for the name of 127.0.0.1.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.port
        self.setup_environ()

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        with self._changed:
            self._open.add(_connection(request))
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        connection = _connection(request)
        # Not shutdown() first, as usual: the goodbye would come before a reset.
        if not _will_reset(connection):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        connection.close()
        with self._changed:
            self._open.discard(connection)
            self._changed.notify_all()

    def handle_error(self, request: object, client_address: object) -> None:
        if isinstance(sys.exception(), ConnectionError):
            return  # a client that left is no error of this server
        super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(WSGIRequestHandler):
    server: WsgiServer
    hang_up: HangUp | None = None
    protocol_version = "HTTP/1.1"
    # An answer leaves in one piece: its body would wait for the acknowledgement of its head.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle(self) -> None:
        # Not WSGIRequestHandler's, which serves one request per connection.
        BaseHTTPRequestHandler.handle(self)

    def do_anything(self) -> None:
        body = self._body()
        if body is None:
            return
        environ = {
            **self.get_environ(),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            # An object, because the application works on a copy of this dictionary.
            _CONNECTION: self,
        }
        answer = Response.from_app(self.server.wsgi, environ, buffered=True)
        if self.hang_up:
            self.close_connection = True
            if self.hang_up is HangUp.RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return
        self._send(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_anything

    def _body(self) -> bytes | None:
        """All of the request's body, so that the next request starts where it should."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self._refuse(411)
            return None
        if int(length) > _LARGEST_BODY:
            self._refuse(413)
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):  # the client died while sending: this is no request
            self.close_connection = True
            return None
        return body

    def _refuse(self, status: int) -> None:
        self.close_connection = True
        self.send_error(status)

    def _send(self, answer: Response) -> None:
        body = answer.get_data()
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def version_string(self) -> str:
        return "simulated-tiktok"

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: request lines carry codes and states."""


def _connection(request: socket.socket | tuple[bytes, socket.socket]) -> socket.socket:
    # Known of a TCP server, so not asked with isinstance: a test that forbids sockets puts another
    # class in the place of socket.socket while this thread still serves.
    return cast(socket.socket, request)


def _will_reset(connection: socket.socket) -> bool:
    try:
        lingering = connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET))
    except OSError:
        return False
    return lingering == _RESET
