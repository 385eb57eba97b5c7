"""TikTok over HTTP, from a server that misbehaves: what was sent, what is believed, what leaks."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fakes.clock import NOON, Clock
from tests.fakes.loopback import (
    Answer,
    Loopback,
    endless,
    hang_up,
    hang_up_in_the_body,
    hang_up_in_the_head,
    loopback,
)
from tiktok_linking.accounts import Secret
from tiktok_linking.adapters.patience import PatientAdapter
from tiktok_linking.adapters.tiktok import TikTokClient
from tiktok_linking.errors import Misconfigured, NoAnswer, ProviderError, Refused, Unavailable
from tiktok_linking.oauth import ClientCredentials

CLIENT = ClientCredentials("awtest0000000001", Secret("client-secret-canary"))
CODE = "2-vF-hhk_canary*1!4608.va"
REFRESH = "rft.canary!0001*"
ACCESS = "act.canary!0001*"
SECRETS = ("canary", "client-secret")
PAIR = {
    "access_token": "act.new",
    "refresh_token": "rft.new",
    "open_id": "open-1",
    "expires_in": 86400,
    "refresh_expires_in": 31536000,
    "scope": "user.info.basic",
}


@pytest.fixture(scope="module")
def running() -> Iterator[Loopback]:
    """One server for all tests of this module."""
    with loopback() as server:
        yield server


@pytest.fixture
def server(running: Loopback) -> Loopback:
    """The server, as new."""
    running.script.clear()
    running.received.clear()
    running.connections = 0
    return running


@contextmanager
def client_of(url: str, clock: Clock) -> Iterator[TikTokClient]:
    """The adapter, pointed at a server."""
    with contextlib.closing(PatientAdapter(url, connections=2)) as http:
        yield TikTokClient(http, clock)


@pytest.fixture
def tiktok(server: Loopback, clock: Clock) -> Iterator[TikTokClient]:
    """The adapter, pointed at the server."""
    with client_of(server.url, clock) as tiktok:
        yield tiktok


def refresh(tiktok: TikTokClient) -> Any:
    return tiktok.refresh(CLIENT, Secret(REFRESH), read_timeout=timedelta(seconds=10))


def exchange(tiktok: TikTokClient, *, verifier: str | None = None) -> Any:
    return tiktok.exchange(
        CLIENT,
        code=Secret(CODE),
        redirect_uri="https://link.example.com/callback",
        code_verifier=verifier,
        read_timeout=timedelta(seconds=10),
    )


def told(attempt: Callable[[], object]) -> ProviderError:
    """The error of an attempt; its whole trace must not hold a secret."""
    with pytest.raises(ProviderError) as refused:
        attempt()
    text = "".join(traceback.format_exception(refused.value)) + repr(refused.value)
    lines = [line for line in text.splitlines() if not line.strip().startswith(("File", "raise"))]
    assert not [secret for secret in SECRETS if secret in "\n".join(lines)]
    return refused.value


# -- what is sent -------------------------------------------------------------------------------


def test_a_refresh_is_one_form_with_the_secret_in_its_body(
    tiktok: TikTokClient, server: Loopback
) -> None:
    server.script.append(Answer(PAIR))

    refresh(tiktok)

    (sent,) = server.received
    assert (sent.method, sent.target) == ("POST", "/v2/oauth/token/")
    assert sent.headers["content-type"] == "application/x-www-form-urlencoded"
    assert sent.form == {
        "client_key": "awtest0000000001",
        "client_secret": "client-secret-canary",
        "grant_type": "refresh_token",
        "refresh_token": REFRESH,
    }


def test_a_code_is_encoded_once(tiktok: TikTokClient, server: Loopback) -> None:
    server.script.append(Answer(PAIR))

    exchange(tiktok, verifier="v" * 43)

    (sent,) = server.received
    assert b"code=2-vF-hhk_canary%2A1%214608.va" in sent.body
    assert sent.form["code"] == CODE
    assert sent.form["code_verifier"] == "v" * 43


def test_no_request_carries_more_than_it_must(tiktok: TikTokClient, server: Loopback) -> None:
    server.script.extend([Answer(PAIR), Answer({})])

    refresh(tiktok)
    tiktok.revoke(CLIENT, Secret(ACCESS))

    for sent in server.received:
        assert not {"authorization", "cookie", "referer"} & set(sent.headers)
        assert sent.headers["accept-encoding"] == "identity"
        assert "?" not in sent.target
        assert "python" not in sent.headers["user-agent"]


def test_a_revocation_sends_the_access_token(tiktok: TikTokClient, server: Loopback) -> None:
    server.script.append(Answer(b""))

    tiktok.revoke(CLIENT, Secret(ACCESS))

    (sent,) = server.received
    assert sent.target == "/v2/oauth/revoke/"
    assert sent.form["token"] == ACCESS


def test_a_cookie_of_tiktoks_is_neither_kept_nor_sent_back(
    tiktok: TikTokClient, server: Loopback
) -> None:
    """The session serves all accounts: nothing of one request may colour the next."""
    server.script.extend([Answer(PAIR, headers={"Set-Cookie": "ttwid=1; Path=/"}), Answer(PAIR)])

    refresh(tiktok)
    refresh(tiktok)

    assert "cookie" not in server.received[1].headers


def test_nothing_of_one_request_is_in_the_next(tiktok: TikTokClient, server: Loopback) -> None:
    server.script.extend([Answer(PAIR), Answer(PAIR), Answer(ENVELOPE), Answer(ENVELOPE)])

    exchange(tiktok, verifier="v" * 43)
    refresh(tiktok)
    for token in ("act.of-one-person", "act.of-another"):
        tiktok.profile(Secret(token), now=NOON)

    exchanged, refreshed, one, another = server.received
    assert exchanged.form["grant_type"] == "authorization_code"
    assert refreshed.form.keys() == {"client_key", "client_secret", "grant_type", "refresh_token"}
    assert one.headers["authorization"] == "Bearer act.of-one-person"
    assert another.headers["authorization"] == "Bearer act.of-another"


def test_one_adapter_talks_to_one_server(server: Loopback) -> None:
    with (
        loopback() as another,
        contextlib.closing(PatientAdapter(server.url, connections=1)) as http,
    ):
        request = requests.Request("GET", f"{another.url}/").prepare()

        with pytest.raises(ValueError, match="another server"):
            http.send(request, timeout=(3, 10))

    assert (server.received, another.received) == ([], [])


def test_connections_are_kept(tiktok: TikTokClient, server: Loopback) -> None:
    server.script.extend([Answer(PAIR)] * 3)

    for _ in range(3):
        refresh(tiktok)

    assert len(server.received) == 3
    assert server.connections == 1


def test_neither_netrc_nor_a_proxy_of_the_environment_is_used(
    server: Loopback,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.script.append(Answer(PAIR))
    with loopback() as proxy, client_of(server.url, clock) as tiktok:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)

        refresh(tiktok)

    (sent,) = server.received
    assert proxy.received == []
    assert "authorization" not in sent.headers


# -- what is believed ---------------------------------------------------------------------------


def test_a_pair_is_dated_from_before_the_request(
    tiktok: TikTokClient, server: Loopback, clock: Clock
) -> None:
    def slowly(stream: BufferedIOBase) -> None:
        clock.advance(seconds=20)
        Answer(PAIR)(stream)

    server.script.append(slowly)

    answer = refresh(tiktok)

    assert answer.issued_at == NOON
    assert answer.expires_at == NOON + timedelta(hours=24)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer({"error": "invalid_grant", "log_id": "L" * 32}), Refused),
        (Answer({"error": "invalid_client"}, status=401), Misconfigured),
        (Answer(b"<html>", status=502), Unavailable),
    ],
)
def test_answers_are_sorted_by_their_body(
    tiktok: TikTokClient, server: Loopback, answer: Answer, error: type[ProviderError]
) -> None:
    server.script.append(answer)

    assert isinstance(told(lambda: refresh(tiktok)), error)


def test_headers_of_an_answer_count_in_any_case(tiktok: TikTokClient, server: Loopback) -> None:
    headers = {"RETRY-AFTER": "17", "X-Tt-LogId": "L" * 32}
    server.script.append(Answer(b"", status=429, headers=headers))

    error = told(lambda: refresh(tiktok))

    assert isinstance(error, Unavailable)
    assert (error.retry_after, error.log_id) == (17, "L" * 32)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("body", [b"", PAIR, {"error": "invalid_grant"}])
def test_a_redirect_is_not_followed(
    tiktok: TikTokClient, server: Loopback, status: int, body: object
) -> None:
    """A session of requests would send the body again, secret and token, to where a 307 points.

    What it says itself settles nothing: it may be a machine between us and TikTok.
    """
    with loopback() as elsewhere:
        location = {"Location": f"{elsewhere.url}/v2/"}
        server.script.append(Answer(body, status=status, headers=location))

        error = told(lambda: refresh(tiktok))

        assert elsewhere.received == []
    assert isinstance(error, Unavailable)
    assert len(server.received) == 1


def test_a_redirect_to_nowhere_is_an_error_like_another(
    tiktok: TikTokClient, server: Loopback
) -> None:
    server.script.append(Answer(b"", status=307, headers={"Location": "http://[x"}))

    assert isinstance(told(lambda: refresh(tiktok)), Unavailable)


class Flood:
    """A head, then the same bytes again and again: 50 MB, or until nobody listens any more."""

    def __init__(self, head: bytes, again: bytes = b"x" * 16384) -> None:
        self._head, self._again = head, again
        self.sent = 0
        self.over = threading.Event()

    def __call__(self, stream: BufferedIOBase) -> None:
        try:
            stream.write(self._head)
            while self.sent < FIFTY_MEGABYTES:
                self.sent += stream.write(self._again)
        finally:
            self.over.set()


FIFTY_MEGABYTES = 50 * 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("head", "again"),
    [
        (OK + b"Content-Length: 52428800\r\n\r\n", b"x" * 16384),
        (OK + b"\r\n", b"x" * 16384),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"4000\r\n" + b"x" * 16384 + b"\r\n"),
        (OK + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"0" * 10_000_000)),
    ],
    ids=["announced", "unannounced", "chunked", "compressed"],
)
def test_an_answer_of_fifty_megabytes_is_not_read(
    tiktok: TikTokClient, server: Loopback, head: bytes, again: bytes
) -> None:
    flood = Flood(head, again)
    server.script.append(flood)

    error = told(lambda: refresh(tiktok))

    assert isinstance(error, Unavailable)
    assert (error.error, error.may_have_acted) == ("oversized_answer", True)
    assert flood.over.wait(10)
    assert flood.sent < FIFTY_MEGABYTES / 2, "the connection stayed open and was read"


@pytest.mark.parametrize(
    "again", [b"X-More: x\r\n", b"x" * 16384], ids=["many-headers", "one-long-header"]
)
def test_a_head_without_end_is_not_read(
    tiktok: TikTokClient, server: Loopback, again: bytes
) -> None:
    flood = Flood(OK + b"X: ", again)
    server.script.append(flood)

    assert isinstance(told(lambda: refresh(tiktok)), NoAnswer)
    assert flood.over.wait(10)
    assert flood.sent < FIFTY_MEGABYTES / 2


BODY = json.dumps(PAIR).encode()
WHOLE = b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
DRIPS = 60


class Drip:
    """Sends the middle of a good answer byte by byte: never silent, and too slow."""

    def __init__(self, begin: bytes, again: bytes, end: bytes) -> None:
        self._begin, self._again, self._end = begin, again, end
        self.given_up = threading.Event()

    def __call__(self, stream: BufferedIOBase) -> None:
        with contextlib.suppress(OSError):
            stream.write(self._begin)
            for _ in range(DRIPS):
                if self.given_up.wait(0.1):
                    return
                stream.write(self._again)
                stream.flush()
            stream.write(self._end)


@pytest.mark.parametrize(
    ("begin", "again", "end"),
    [
        (b"HTTP/1.1 200 O", b"K", b"\r\n" + WHOLE),
        (OK + b"X-Slow: ", b"x", b"\r\n" + WHOLE),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", OK + WHOLE),
        (OK + b"Content-Length: %d\r\n\r\n" % (DRIPS + len(BODY)), b" ", BODY),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n",
            b"1\r\n \r\n",
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
        ),
    ],
    ids=["status", "header", "interim", "body", "chunks"],
)
def test_an_answer_that_drips_is_given_up(
    tiktok: TikTokClient, server: Loopback, begin: bytes, again: bytes, end: bytes
) -> None:
    """Each byte comes in time; all of them take six times as long as there is."""
    drip = Drip(begin, again, end)
    server.script.append(drip)
    try:
        error = told(
            lambda: tiktok.refresh(CLIENT, Secret(REFRESH), read_timeout=timedelta(seconds=1))
        )
    finally:
        drip.given_up.set()

    assert isinstance(error, NoAnswer)


def test_an_answer_that_arrived_while_the_process_was_frozen_counts(
    tiktok: TikTokClient, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda freezes between invocations: time has passed, and the pair lies in the socket."""
    real = time.monotonic
    late = threading.Event()

    def frozen(stream: BufferedIOBase) -> None:
        late.set()
        Answer(PAIR)(stream)

    monkeypatch.setattr(time, "monotonic", lambda: real() + 3600 * late.is_set())
    server.script.append(frozen)

    assert refresh(tiktok).open_id == "open-1"


def test_an_answer_that_closes_its_connection_is_read_to_its_end(
    tiktok: TikTokClient, server: Loopback
) -> None:
    server.script.append(Answer(PAIR, headers={"Connection": "close"}))

    assert refresh(tiktok).open_id == "open-1"


def test_an_answer_that_is_whole_counts_although_the_connection_stays_open(
    tiktok: TikTokClient, server: Loopback
) -> None:
    """Waiting for more than was announced would turn a pair in hand into a lost one."""
    read = threading.Event()

    def whole_and_silent(stream: BufferedIOBase) -> None:
        Answer(PAIR)(stream)
        stream.flush()
        read.wait(10)

    server.script.append(whole_and_silent)
    try:
        assert refresh(tiktok).open_id == "open-1"
    finally:
        read.set()


def test_a_compressed_answer_is_not_unpacked(tiktok: TikTokClient, server: Loopback) -> None:
    """It was not asked for, and could be a bomb."""
    body = gzip.compress(json.dumps(PAIR).encode())
    server.script.append(Answer(body, headers={"Content-Encoding": "gzip"}))

    error = told(lambda: refresh(tiktok))

    assert isinstance(error, Unavailable)
    assert error.may_have_acted


# -- when nothing comes -------------------------------------------------------------------------


def unused_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def test_a_refused_connection_changed_nothing_at_tiktok(clock: Clock) -> None:
    with client_of(f"http://127.0.0.1:{unused_port()}", clock) as tiktok:
        error = told(lambda: refresh(tiktok))

    assert isinstance(error, Unavailable)
    assert not error.may_have_acted


@pytest.mark.parametrize("how", [hang_up, hang_up_in_the_head, hang_up_in_the_body])
def test_a_connection_that_ends_after_the_request_leaves_the_outcome_unknown(
    tiktok: TikTokClient, server: Loopback, how: Callable[[BufferedIOBase], None]
) -> None:
    server.script.append(how)

    error = told(lambda: refresh(tiktok))

    assert isinstance(error, NoAnswer)
    assert len(server.received) == 1, "the adapter repeats nothing by itself"


def test_an_answer_that_does_not_come_in_time_leaves_the_outcome_unknown(
    tiktok: TikTokClient, server: Loopback
) -> None:
    given_up = threading.Event()

    def silent(stream: BufferedIOBase) -> None:
        given_up.wait(10)

    server.script.append(silent)
    try:
        error = told(
            lambda: tiktok.refresh(CLIENT, Secret(REFRESH), read_timeout=timedelta(seconds=-5))
        )
    finally:
        given_up.set()

    assert isinstance(error, NoAnswer)


def self_signed(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1, and the server's side of TLS with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "certificate.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = folder / "key.pem"
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return pem, context


def whole_request(connection: socket.socket) -> bytes:
    """Read to the end: what is left unread would turn the goodbye into a reset."""
    with connection.makefile("rb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n"))
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        return head + stream.read(length)


@contextmanager
def tls_server(context: ssl.SSLContext, *, garbles: bool) -> Iterator[tuple[str, list[bytes]]]:
    """Take one request over TLS; then answer it, or spoil the encrypted stream."""
    received: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        try:
            secure = context.wrap_socket(connection, server_side=True)
        except (ssl.SSLError, OSError):
            connection.close()
            return
        received.append(whole_request(secure))
        if garbles:
            with socket.socket(fileno=secure.detach()) as plain:
                plain.sendall(b"\x17\x03\x03\x00\x20" + b"garbled!" * 4)
            return
        body = json.dumps(PAIR).encode()
        secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        secure.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://localhost:{listener.getsockname()[1]}", received
    finally:
        thread.join()
        listener.close()


def trusting(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a list of authorities in the place of the library's own."""
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))


def test_tls_works(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, context = self_signed(tmp_path)
    trusting(certificate, monkeypatch)

    with tls_server(context, garbles=False) as (url, _), client_of(url, clock) as tiktok:
        assert refresh(tiktok).open_id == "open-1"


def test_a_certificate_that_is_not_trusted_gets_no_request(clock: Clock, tmp_path: Path) -> None:
    _, context = self_signed(tmp_path)

    with (
        tls_server(context, garbles=False) as (url, received),
        client_of(url, clock) as tiktok,
    ):
        error = told(lambda: refresh(tiktok))

    assert isinstance(error, Unavailable)
    assert not error.may_have_acted
    assert received == []


@pytest.mark.parametrize("blank", [" ", "\t", "\u00a0"])
def test_an_address_that_requests_would_not_verify_gets_no_adapter(blank: str) -> None:
    """It looks at the certificate of what begins with https, and connects to more than that."""
    with pytest.raises(ValueError, match="not an address"):
        PatientAdapter(f"{blank}https://open.tiktokapis.com", connections=1)


@pytest.mark.parametrize(
    "otherwise", [{"verify": False}, {"proxies": {"http": "http://127.0.0.1:9"}}, {"cert": "file"}]
)
def test_no_request_goes_in_another_way(server: Loopback, otherwise: dict[str, Any]) -> None:
    """One pool is kept, so each request must be one that it was made for."""
    request = requests.Request("GET", f"{server.url}/").prepare()

    with (
        contextlib.closing(PatientAdapter(server.url, connections=1)) as http,
        pytest.raises(ValueError, match="in another way"),
    ):
        http.send(request, timeout=(3, 10), **otherwise)

    assert server.received == []


def test_tls_that_breaks_after_the_request_leaves_the_outcome_unknown(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request arrived: to call it never sent would drop the intent and blame the person."""
    certificate, context = self_signed(tmp_path)
    trusting(certificate, monkeypatch)

    with (
        tls_server(context, garbles=True) as (url, received),
        client_of(url, clock) as tiktok,
    ):
        error = told(lambda: refresh(tiktok))

    assert received
    assert isinstance(error, NoAnswer)


# -- the profile --------------------------------------------------------------------------------

USER = {
    "open_id": "open-1",
    "union_id": "union-1",
    "display_name": "Mina ✓",
    "avatar_url": "https://p16.example.com/a.jpg",
}
ENVELOPE = {"data": {"user": USER}, "error": {"code": "ok", "message": "", "log_id": "L" * 32}}


def test_a_profile_is_asked_for_with_the_token_in_its_header(
    tiktok: TikTokClient, server: Loopback
) -> None:
    server.script.append(Answer(ENVELOPE))

    profile = tiktok.profile(Secret(ACCESS), now=NOON)

    (sent,) = server.received
    assert sent.method == "GET"
    assert sent.target == "/v2/user/info/?fields=open_id,union_id,avatar_url,display_name"
    assert sent.headers["authorization"] == f"Bearer {ACCESS}"
    assert profile is not None
    assert (profile.display_name, profile.union_id) == ("Mina ✓", "union-1")
    assert (profile.avatar_url, profile.fetched_at) == (USER["avatar_url"], NOON)


def test_no_address_in_a_profile_is_opened(tiktok: TikTokClient, server: Loopback) -> None:
    user = USER | {"avatar_url": f"{server.url}/avatar.jpg"}
    server.script.append(Answer(ENVELOPE | {"data": {"user": user}}))

    tiktok.profile(Secret(ACCESS), now=NOON)

    assert len(server.received) == 1


def test_a_long_name_is_cut_and_an_empty_one_is_none(
    tiktok: TikTokClient, server: Loopback
) -> None:
    for name in ("x" * 5000, ""):
        user = USER | {"display_name": name}
        server.script.append(Answer(ENVELOPE | {"data": {"user": user}}))

    long, empty = (tiktok.profile(Secret(ACCESS), now=NOON) for _ in range(2))

    assert long is not None
    assert empty is not None
    assert (long.display_name, empty.display_name) == ("x" * 200, None)


@pytest.mark.parametrize("token", ["act.1\r\nX-Injected: 1", "act.1\n folded", "act.→"])
def test_a_token_that_no_header_can_carry_has_no_profile_and_harms_nothing(
    tiktok: TikTokClient, server: Loopback, token: str
) -> None:
    """The pair is stored by then, so the link must go on."""
    assert tiktok.profile(Secret(token), now=NOON) is None
    assert server.received == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer({"error": {"code": "access_token_invalid"}}, status=401),
        Answer({"error": {"code": "scope_not_authorized"}}),
        Answer(b"<html>"),
        Answer(b"", status=500),
        Answer(b"", status=302, headers={"Location": "/elsewhere"}),
        hang_up,
        hang_up_in_the_body,
        endless,
    ],
)
def test_a_profile_that_cannot_be_had_is_none(
    tiktok: TikTokClient, server: Loopback, answer: Callable[[BufferedIOBase], None]
) -> None:
    server.script.append(answer)

    assert tiktok.profile(Secret(ACCESS), now=NOON) is None
