"""The server under the simulated TikTok: connections, half requests, odd bodies."""

import socket
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

import pytest

from local.tiktok import TikTokServer
from tests.local.tiktok.client import WEB, Client


def _sent_raw(tiktok: TikTokServer, request: bytes) -> bytes:
    """All that comes back after the client has said its last word."""
    address = urlsplit(tiktok.base_url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 0), timeout=5) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(4_096):
            answer += piece
    return answer


def _post(length: str, body: bytes) -> bytes:
    return (
        b"POST /v2/oauth/token/ HTTP/1.1\r\nHost: tiktok\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n"
        + length.encode()
        + b"\r\n\r\n"
        + body
    )


def test_connections_are_kept_open(client: Client) -> None:
    connection = HTTPConnection(urlsplit(client.tiktok.base_url).netloc, timeout=5)
    used = set()
    for _ in range(3):
        connection.request("GET", "/v2/user/info/?fields=open_id")
        used.add(connection.sock)
        connection.getresponse().read()

    connection.close()
    assert len(used) == 1
    assert None not in used


def test_half_a_request_changes_nothing(client: Client) -> None:
    token = client.link()["refresh_token"]
    form = {
        "client_key": WEB.client_key,
        "client_secret": WEB.client_secret,
        "grant_type": "refresh_token",
        "refresh_token": token,
    }
    body = urlencode(form).encode()

    answer = _sent_raw(client.tiktok, _post(f"Content-Length: {len(body) + 1}", body))

    assert answer == b""
    assert "access_token" in client.refresh(token).json()


@pytest.mark.parametrize(
    ("length", "status"),
    [
        ("Content-Length: 1000001", b"413"),
        ("Content-Length: -1", b"411"),
        ("Transfer-Encoding: chunked", b"411"),
    ],
)
def test_bodies_of_unknown_or_absurd_length_are_refused(
    client: Client, length: str, status: bytes
) -> None:
    assert _sent_raw(client.tiktok, _post(length, b"")).split(b" ")[1] == status


def test_an_old_client_gets_its_connection_closed(client: Client) -> None:
    answer = _sent_raw(client.tiktok, b"GET /_control/state HTTP/1.0\r\n\r\n")

    assert b"Connection: close" in answer


def test_a_stopped_server_frees_its_port() -> None:
    first = TikTokServer(apps=[WEB])
    first.start()
    connection = HTTPConnection(urlsplit(first.base_url).netloc, timeout=5)
    connection.request("GET", "/_control/state")
    connection.getresponse().read()

    first.stop()

    port = urlsplit(first.base_url).port or 0
    with TikTokServer(apps=[WEB], port=port) as second:
        assert second.base_url == first.base_url
    connection.close()


def test_two_servers_cannot_share_a_port(tiktok: TikTokServer) -> None:
    with pytest.raises(OSError, match="in use"):
        TikTokServer(apps=[WEB], port=urlsplit(tiktok.base_url).port or 0)


def test_a_connection_ends_well_although_sockets_were_forbidden_meanwhile(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = urlsplit(client.tiktok.base_url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 0), timeout=5) as connection:
        connection.sendall(b"GET /_control/state HTTP/1.1\r\nHost: tiktok\r\n\r\n")
        assert connection.recv(4_096).startswith(b"HTTP/1.1 200 ")

        # What pytest-socket does for the tests that may not open one.
        monkeypatch.setattr(socket, "socket", type("Guarded", (socket.socket,), {}))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4_096):
            pass
