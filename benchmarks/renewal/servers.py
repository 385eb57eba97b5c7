"""AWS and TikTok over TLS in a process of their own, whose CPU is nobody's that is measured.

Each service has a port of its own, as it has a host of its own in the world, and counts the
connections that are opened to it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import ipaddress
import json
import multiprocessing
import os
import ssl
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.renewal.aws import Aws, Refused
from benchmarks.renewal.tiktok import TokenEndpoint
from local.wire import call_name

AWS_SERVICES = ("dynamodb", "events", "kms", "secretsmanager", "sqs")
TIKTOK = "tiktok"
_BINARY = ("Plaintext", "CiphertextBlob")

Reply = tuple[int, Mapping[str, str], bytes]
Answer = Callable[[str, dict[str, str], bytes], Reply]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the services are, and the file of authorities that trusts them."""

    urls: Mapping[str, str]
    authorities: Path
    _control: Connection

    def seen(self) -> dict[str, Any]:
        """What the servers have seen since this was asked last."""
        self._control.send("seen")
        seen: dict[str, Any] = self._control.recv()
        return seen


@contextmanager
def serving(
    aws: Aws, tiktok: TokenEndpoint, folder: Path, *, tiktok_seconds: float, aws_seconds: float
) -> Iterator[Endpoints]:
    """Serve what `aws` and `tiktok` hold now until the end of the block."""
    authorities, own = _certificates(folder)
    here, there = multiprocessing.Pipe()
    # Forked, since what is in memory goes along.
    process = multiprocessing.get_context("fork").Process(
        target=_serve,
        args=(aws, tiktok, own, there, tiktok_seconds, aws_seconds),
        daemon=True,
    )
    process.start()
    there.close()
    try:
        ports: dict[str, int] = here.recv()
        urls = {name: f"https://127.0.0.1:{port}" for name, port in ports.items()}
        yield Endpoints(urls, authorities, here)
    finally:
        here.close()  # which ends the process
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()


def _serve(
    aws: Aws,
    tiktok: TokenEndpoint,
    own: Path,
    control: Connection,
    tiktok_seconds: float,
    aws_seconds: float,
) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(aws, tiktok, own, control, tiktok_seconds, aws_seconds))


async def _run(
    aws: Aws,
    tiktok: TokenEndpoint,
    own: Path,
    control: Connection,
    tiktok_seconds: float,
    aws_seconds: float,
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(own)
    connections: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    ports = {}
    for name in (*AWS_SERVICES, TIKTOK):
        answer = _tiktok_answer(tiktok) if name == TIKTOK else _aws_answer(aws)
        seconds = tiktok_seconds if name == TIKTOK else aws_seconds

        async def one(
            reader: asyncio.StreamReader,
            writer: asyncio.StreamWriter,
            name: str = name,
            answer: Answer = answer,
            seconds: float = seconds,
        ) -> None:
            connections[name] += 1
            await _converse(reader, writer, answer, seconds)

        server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=tls, backlog=256)
        ports[name] = server.sockets[0].getsockname()[1]
    control.send(ports)
    ended = asyncio.Event()

    def tell() -> None:
        try:
            control.recv()
        except EOFError:
            ended.set()
            loop.remove_reader(control.fileno())
            return
        tally = asdict(aws.tally) | {"calls": dict(aws.tally.calls)}
        seen = {
            "connections": dict(connections),
            "aws": tally,
            "tiktok": {"answered": tiktok.answered, "refused": tiktok.refused},
        }
        connections.clear()
        aws.tally.calls.clear()
        tiktok.answered = tiktok.refused = 0
        control.send(seen)

    loop.add_reader(control.fileno(), tell)
    await ended.wait()


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer, seconds: float
) -> None:
    """Answer the requests of one connection until it ends."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            _, path, _ = head[0].split(" ", 2)
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            status, more, content = answer(path, headers, body)
            await asyncio.sleep(seconds)
            lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(content)}"]
            lines += [f"{name}: {value}" for name, value in more.items()]
            writer.write("\r\n".join((*lines, "", "")).encode() + content)
            await writer.drain()
    writer.close()


def _tiktok_answer(tiktok: TokenEndpoint) -> Answer:
    fixed = {
        "Content-Type": "application/json",
        "Cache-Control": "max-age=0, no-cache, no-store",
        "Server": "nginx",
        "X-Tt-Logid": "20261122000000BENCHMARK",
        "Date": "Sun, 22 Nov 2026 12:00:00 GMT",
    }

    def answer(path: str, headers: dict[str, str], body: bytes) -> Reply:
        status, content = tiktok.respond(path, body, headers.get("authorization", ""))
        return status, fixed, content

    return answer


def _aws_answer(aws: Aws) -> Answer:
    def answer(path: str, headers: dict[str, str], body: bytes) -> Reply:
        operation = call_name("POST", path, headers, body)
        status = 200
        try:
            said = aws.call(operation, json.loads(body, object_hook=_with_bytes))
        except Refused as refused:
            status = 400
            said = {"__type": f"com.amazonaws#{refused.code}", "message": refused.code}
            if refused.item is not None:
                said["Item"] = refused.item
        content = json.dumps(said, default=_as_base64, separators=(",", ":")).encode()
        kind = "1.1" if operation.startswith(("kms", "secretsmanager")) else "1.0"
        more = {
            "Content-Type": f"application/x-amz-json-{kind}",
            "x-amzn-RequestId": "6D4F2A1C8B3E4E5FA0B1C2D3E4F56789VV4KQNSO5AEMVJF66Q9ASUAAJG",
            "Server": "Server",
            "Date": "Sun, 22 Nov 2026 12:00:00 GMT",
        }
        if operation.startswith("dynamodb"):
            more["x-amz-crc32"] = str(zlib.crc32(content))
        return status, more, content

    return answer


def _with_bytes(found: dict[str, Any]) -> dict[str, Any]:
    """DynamoDB's and KMS's binary values as bytes, as boto3 gives them."""
    for name in ("B", *_BINARY):
        if isinstance(found.get(name), str):
            with contextlib.suppress(binascii.Error):
                found[name] = base64.b64decode(found[name], validate=True)
    return found


def _as_base64(value: Any) -> str:
    return base64.b64encode(value).decode()


# ---- certificates ------------------------------------------------------------------------------


def _certificates(folder: Path) -> tuple[Path, Path]:
    """An authority and a server's certificate for this run alone.

    The authority is added to the list that requests and boto3 ship, so that loading it takes what
    it takes in the world; and it lies in a file of its own, for who trusts nobody else.
    """
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Benchmark authority")])
    authority = (
        _certificate(name, name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        _certificate(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]),
            name,
            key.public_key(),
        )
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    authorities, own = folder / "authorities.pem", folder / "server.pem"
    shipped = Path(certifi.where()).read_bytes()
    authorities.write_bytes(shipped + b"\n" + _pem(authority))
    (folder / "authority.pem").write_bytes(_pem(authority))
    plain_key = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(plain_key + _pem(certificate))
    return authorities, own


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    began = datetime.now(UTC) - timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + timedelta(days=2))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
