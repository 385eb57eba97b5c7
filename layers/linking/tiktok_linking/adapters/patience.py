"""Connections that wait for a whole answer, head and all, only as long as they were told.

A socket's timeout begins anew with every byte that arrives. A server that sends one now and then,
or interim answers without end, would hold a connection until Lambda ends the invocation.
"""

from __future__ import annotations

import http.client
import io
import time
from socket import socket
from typing import TYPE_CHECKING, Any

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LATE_READS = 64
_LATE_SECONDS = 0.01


class _UntilThen(io.RawIOBase):
    """Reads from a socket whose timeout is for all that comes, not for the next byte."""

    def __init__(self, connected: socket, raw: io.RawIOBase) -> None:
        self._socket = connected
        self._raw = raw
        self._ends = time.monotonic() + (connected.gettimeout() or 0.0)
        self._late = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        left = self._ends - time.monotonic()
        if left < _LATE_SECONDS:
            # What has arrived counts, however late: this process may have been frozen.
            self._late += 1
            if self._late > _LATE_READS:
                raise TimeoutError
        self._socket.settimeout(max(left, _LATE_SECONDS))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        super().close()
        self._raw.close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_UntilThen(sock, self.fp.detach()))


class _Http(HTTPConnection):
    response_class = _Response


class _Https(HTTPSConnection):
    response_class = _Response


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class PatientAdapter(HTTPAdapter):
    """An adapter to one server, whose read timeout is the time for the whole answer.

    It keeps its connections: a new one over TLS is most of what OAuth work costs. It verifies
    certificates, knows no proxy and repeats nothing by itself.
    """

    def __init__(self, server: str, *, connections: int) -> None:
        """``server``: where all requests go, as their addresses begin; ``connections``: kept.

        Raises ValueError for an address whose certificate requests might not look at.
        """
        if not server.startswith(("https://", "http://")):
            raise ValueError("not an address")
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)
        self.server = server
        self._pool: Any = None

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        pools = {"http": _HttpPool, "https": _HttpsPool}
        self.poolmanager.pool_classes_by_scheme = pools

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Look the server's pool up once: that is an eighth of what a request costs here.

        Raises ValueError where another one would be needed: a defect of ours, before anything goes.
        """
        own = (request.url or "").startswith(f"{self.server}/")
        if not own or verify is not True or proxies or cert:
            raise ValueError("a request to another server, or in another way")
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(request, verify)
        return self._pool

    def close(self) -> None:
        super().close()
        self._pool = None
