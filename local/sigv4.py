"""Checks a caller's AWS Signature Version 4, as the HTTP API's IAM authorizer does.

The canonical request is built from the bytes that arrived, by the service's rules: the query is
decoded, encoded again and sorted, the path is encoded a second time. Signing itself is botocore's.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_to_bytes

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import normalize_url_path

SERVICE = "execute-api"
REGION = "us-east-1"
_ALGORITHM = "AWS4-HMAC-SHA256"
_CLOCK_SKEW = timedelta(minutes=5)
_UNRESERVED = "-_.~"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+"
    r"Credential=(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request\s*,\s*"
    r"SignedHeaders=(?P<headers>[a-z0-9;-]+)\s*,\s*"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
# Debian 12's curl 7.88 signs the query in the order in which it was typed.
CURL_HINT = (
    "With `curl --aws-sigv4 aws:amz:us-east-1:execute-api --user KEY:SECRET`: write the query's"
    " parameters in alphabetical order, because older curls (7.88 in Debian 12) do not sort them."
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who may call the API, and the role that AWS would see."""

    access_key: str
    secret_key: str
    role: str


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a signature covers."""

    method: str
    path: str  # as sent, still encoded
    query: str  # as sent
    headers: Sequence[tuple[str, str]]  # as sent, duplicates kept
    body: bytes


class NotSigned(Exception):
    """There is no signature at all."""


class SignatureRefused(Exception):
    """There is a signature, and it does not hold; the text says why."""


class SignatureCheck:
    """Knows the callers and compares signatures against real time."""

    def __init__(self, callers: Sequence[Caller]) -> None:
        self._callers: Mapping[str, Caller] = {caller.access_key: caller for caller in callers}

    def caller_of(self, request: SignedRequest, *, now: datetime) -> Caller:
        """Who signed the request.

        Raises:
            NotSigned: no Authorization header.
            SignatureRefused: the signature is malformed, too old or wrong.
        """
        headers = _joined(request.headers)
        if "authorization" not in headers:
            raise NotSigned
        parsed = _AUTHORIZATION.fullmatch(headers["authorization"].strip())
        if parsed is None:
            raise SignatureRefused(f"the Authorization header is not of the form {_ALGORITHM} …")
        if (parsed["region"], parsed["service"]) != (REGION, SERVICE):
            raise SignatureRefused(
                f"signed for {parsed['service']} in {parsed['region']},"
                f" this is {SERVICE} in {REGION}"
            )
        caller = self._callers.get(parsed["key"])
        if caller is None:
            raise SignatureRefused(f"unknown access key {parsed['key']!r}")
        timestamp = _timestamp(headers, parsed["date"], now=now)
        signed_names = parsed["headers"].split(";")
        _must_be_signed(headers, signed_names)
        _must_match_body(headers, request.body)

        signer = SigV4Auth(
            Credentials(access_key=caller.access_key, secret_key=caller.secret_key), SERVICE, REGION
        )
        stamped = AWSRequest(method=request.method)
        stamped.context["timestamp"] = timestamp
        canonical = canonical_request(request, headers, signed_names)
        expected = signer.signature(signer.string_to_sign(stamped, canonical), stamped)
        if not hmac.compare_digest(expected, parsed["signature"]):
            raise SignatureRefused(f"the signature does not match the request. {CURL_HINT}")
        return caller


def canonical_request(
    request: SignedRequest, headers: Mapping[str, str], signed_names: Sequence[str]
) -> str:
    """The text whose hash is signed, built from what arrived."""
    return "\n".join(
        (
            request.method,
            quote(normalize_url_path(request.path), safe="/~"),
            canonical_query(request.query),
            *(f"{name}:{' '.join(headers[name].split())}" for name in signed_names),
            "",
            ";".join(signed_names),
            hashlib.sha256(request.body).hexdigest(),
        )
    )


def canonical_query(query: str) -> str:
    """Each name and value decoded, encoded by AWS's rules, and all sorted."""
    pairs = []
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        pairs.append((_encoded_again(name), _encoded_again(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded_again(text: str) -> str:
    return quote(unquote_to_bytes(text), safe=_UNRESERVED)


def _joined(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        joined[key] = f"{joined[key]},{value}" if key in joined else value
    return joined


def _timestamp(headers: Mapping[str, str], scope_date: str, *, now: datetime) -> str:
    stamp = headers.get("x-amz-date", "")
    try:
        signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise SignatureRefused("the X-Amz-Date header is missing or unreadable") from None
    if abs(now - signed_at) > _CLOCK_SKEW:
        raise SignatureRefused(f"signed at {stamp}, more than 5 minutes from the real time")
    if stamp[:8] != scope_date:
        raise SignatureRefused("the date of the credential scope is not that of X-Amz-Date")
    return stamp


def _must_be_signed(headers: Mapping[str, str], signed_names: Sequence[str]) -> None:
    needed = {"host"} | {name for name in headers if name.startswith("x-amz-")}
    if missing := sorted(needed - set(signed_names)):
        raise SignatureRefused(f"these headers must be signed: {', '.join(missing)}")
    if absent := sorted(set(signed_names) - set(headers)):
        raise SignatureRefused(f"signed headers that did not arrive: {', '.join(absent)}")
    if list(signed_names) != sorted(signed_names):
        raise SignatureRefused("the signed headers are not in alphabetical order")


def _must_match_body(headers: Mapping[str, str], body: bytes) -> None:
    claimed = headers.get("x-amz-content-sha256")
    # API Gateway hashes the body that it received; UNSIGNED-PAYLOAD is for S3.
    if claimed is not None and claimed != hashlib.sha256(body).hexdigest():
        raise SignatureRefused("X-Amz-Content-Sha256 is not the hash of the body")
