"""Signatures: what real signers make is taken, and nothing else."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.sigv4 import Caller, NotSigned, SignatureCheck, SignatureRefused, SignedRequest
from local.testing import WorldHandle

CHECK = SignatureCheck([Caller("test", "test", "local-backend"), Caller("other", "s", "other")])
URL = "http://127.0.0.1:3000"


def sign(
    target: str = "/v1/accounts",
    *,
    method: str = "GET",
    body: bytes = b"",
    key: str = "test",
    secret: str = "test",
    region: str = "us-east-1",
    service: str = "execute-api",
    headers: dict[str, str] | None = None,
) -> SignedRequest:
    """A request as botocore signs it, at this moment."""
    request = AWSRequest(method=method, url=URL + target, data=body, headers=headers or {})
    SigV4Auth(Credentials(key, secret), service, region).add_auth(request)
    path, _, query = target.partition("?")
    sent = (("Host", "127.0.0.1:3000"), *request.headers.items())
    return SignedRequest(method, path, query, sent, body)


def changed(request: SignedRequest, **changes: object) -> SignedRequest:
    values = {name: getattr(request, name) for name in SignedRequest.__dataclass_fields__}
    return SignedRequest(**(values | changes))


def check(request: SignedRequest, *, now: datetime | None = None) -> str:
    return CHECK.caller_of(request, now=now or datetime.now(UTC)).role


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v1/accounts",
        "/v1/accounts/acct_1%20x/token",
        "/v1/accounts?end_user_id=u_42&limit=2",
        "/v1/accounts?limit=2&end_user_id=u_42",
        "/v1/accounts?cursor=a%2Fb%3D%3D&empty=&tilde=~",
        "/v1/accounts?same=2&same=1",
    ],
)
def test_what_botocore_signs_is_taken(target: str) -> None:
    assert check(sign(target)) == "local-backend"


def test_a_body_is_part_of_the_signature() -> None:
    request = sign(method="POST", body='{"end_user_id":"ü"}'.encode())

    assert check(request) == "local-backend"
    with pytest.raises(SignatureRefused, match="does not match"):
        check(changed(request, body=b'{"end_user_id":"somebody else"}'))


def test_each_key_is_a_role() -> None:
    assert check(sign(key="other", secret="s")) == "other"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"method": "DELETE"}, "does not match"),
        ({"path": "/v1/accounts/acct_1"}, "does not match"),
        ({"query": "tenant_id=t1"}, "does not match"),
        ({"headers": ()}, None),
    ],
)
def test_a_changed_request_is_refused(change: dict[str, object], what: str | None) -> None:
    with pytest.raises(SignatureRefused if what else NotSigned, match=what):
        check(changed(sign(), **change))


@pytest.mark.parametrize("minutes", [-6, 6])
def test_an_old_or_early_signature_is_refused(minutes: int) -> None:
    with pytest.raises(SignatureRefused, match="5 minutes"):
        check(sign(), now=datetime.now(UTC) + timedelta(minutes=minutes))


def test_a_few_minutes_of_clock_skew_are_forgiven() -> None:
    assert check(sign(), now=datetime.now(UTC) + timedelta(minutes=4)) == "local-backend"


def test_other_services_and_regions_are_refused() -> None:
    with pytest.raises(SignatureRefused, match="execute-api in us-east-1"):
        check(sign(region="eu-west-1"))
    with pytest.raises(SignatureRefused, match="execute-api in us-east-1"):
        check(sign(service="lambda"))


def test_a_wrong_secret_and_an_unknown_key_are_refused() -> None:
    with pytest.raises(SignatureRefused, match="does not match"):
        check(sign(secret="wrong"))
    with pytest.raises(SignatureRefused, match="unknown access key"):
        check(sign(key="nobody"))


def test_amazon_headers_must_be_signed() -> None:
    request = sign()
    added = (*request.headers, ("X-Amz-Meta", "1"))

    with pytest.raises(SignatureRefused, match="must be signed: x-amz-meta"):
        check(changed(request, headers=added))


def test_an_unsigned_payload_is_refused() -> None:
    request = sign(method="POST", body=b"{}", headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})

    with pytest.raises(SignatureRefused, match="not the hash"):
        check(request)


@pytest.mark.parametrize(
    "value", ["", "Bearer x", "AWS4-HMAC-SHA256 Credential=test/x, Signature="]
)
def test_a_malformed_header_is_refused(value: str) -> None:
    with pytest.raises(SignatureRefused, match="Authorization"):
        check(changed(sign(), headers=(("Host", "h"), ("Authorization", value))))


# ---- by the real clients, over the wire --------------------------------------------------------


def curl(*arguments: str) -> str:
    program = shutil.which("curl")
    assert program is not None, "curl is needed: the README's examples use it"
    signing = ("--aws-sigv4", "aws:amz:us-east-1:execute-api", "--user", "test:test")
    done = subprocess.run(
        [program, "-sS", *signing, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_curl_signs_a_request(world: WorldHandle) -> None:
    gateway = world.endpoints["gateway"]

    listed = curl(f"{gateway}/v1/accounts?end_user_id=u_42&limit=2")
    posted = curl(
        f"{gateway}/v1/link-sessions", "-H", "Content-Type: application/json", "-d", '{"a":"ü"}'
    )

    assert '"end_user_id": "u_42"' in listed
    assert "local-backend" in posted


def test_a_refused_signature_says_what_to_do_about_it(world: WorldHandle) -> None:
    answer = world.api("GET", "/v1/accounts", caller=("test", "wrong"))

    assert answer.status_code == 403
    assert answer.json()["message"] == "Forbidden"
    assert "alphabetical order" in answer.json()["local_help"]
