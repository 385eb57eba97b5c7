"""Messages between the supervisor, the nursery and the workers: JSON objects on a socket pair.

Standard output is not used for this, because it is the function's log.
"""

import json
import socket
import struct
import threading
from collections.abc import Sequence
from typing import Any

_LENGTH = struct.Struct(">I")
_MOST_FDS = 4


class ChannelClosed(Exception):
    """The other side is gone."""


class Channel:
    """One end. Sending is safe from several threads, receiving is for one."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._sending = threading.Lock()

    def send(self, message: dict[str, Any], *, fds: Sequence[int] = ()) -> None:
        """Send a message, with open files beside it if any.

        Raises:
            ChannelClosed: nobody reads any more.
        """
        data = json.dumps(message).encode()
        length = _LENGTH.pack(len(data))
        try:
            with self._sending:
                if fds:  # files travel with the length's four bytes
                    socket.send_fds(self._socket, [length], list(fds))
                    self._socket.sendall(data)
                else:
                    self._socket.sendall(length + data)
        except OSError as error:
            raise ChannelClosed from error

    def receive(self, *, timeout_seconds: float | None = None) -> dict[str, Any]:
        """Wait for the next message.

        Raises:
            ChannelClosed: the other side ended.
            TimeoutError: nothing came in time. The channel is of no further use.
        """
        return self.receive_with_fds(timeout_seconds=timeout_seconds)[0]

    def receive_with_fds(
        self, *, timeout_seconds: float | None = None
    ) -> tuple[dict[str, Any], list[int]]:
        """Like `receive`, with the files that came along."""
        self._socket.settimeout(timeout_seconds)
        try:
            head, fds, _, _ = socket.recv_fds(self._socket, _LENGTH.size, _MOST_FDS)
            if not head:
                raise ChannelClosed
            head += self._exactly(_LENGTH.size - len(head))
            message: dict[str, Any] = json.loads(self._exactly(_LENGTH.unpack(head)[0]))
        except TimeoutError:
            raise
        except OSError as error:
            raise ChannelClosed from error
        return message, fds

    def has_ended(self) -> bool:
        """Whether the other side is gone, found without waiting and without taking a message."""
        self._socket.settimeout(0)
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            part = self._socket.recv(min(count, 1 << 20))
            if not part:
                raise ChannelClosed
            parts.append(part)
            count -= len(part)
        return b"".join(parts)
