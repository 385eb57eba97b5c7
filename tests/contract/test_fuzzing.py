"""Schemathesis over the document against the local world: whatever is sent, the answer fits.

The cases come from the document: its examples, the corners of every schema, and what Hypothesis
makes of it, right and wrong. Unknown ids would end each of them in 404, so half of the well-formed
cases get ids that exist.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlsplit

import pytest
import requests
import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance, unsupported_method

from local.sigv4 import REGION, SERVICE
from local.testing import WorldHandle
from local.tiktok.webhooks import sign
from tests.contract.document import PROBLEM, document
from tests.contract.stage import CLIENT_KEY, Stage
from tests.flows.http_browser import HttpBrowser
from tests.flows.journey import query_of

schema = schemathesis.openapi.from_dict(dict(document().content))
schema.config.seed = 20261121
schema.config.generation.with_security_parameters = False  # `Signed` signs what is sent
schema.config.phases.fuzzing.extra_data_sources.responses = False  # ids differ from run to run

LEFT_OUT: dict[Any, str] = {
    unsupported_method: "API Gateway answers 404 to a method without a route, never 405",
    positive_data_acceptance: "some rules are beyond a schema; BEYOND_A_SCHEMA names each",
}
"""Schemathesis' own checks that do not apply, each with the reason. All others are on."""

LARGER_THAN_API_GATEWAY_TAKES = 431
"""Its own answer to any route, told in the document's introduction: 10,240 bytes of header."""

BEYOND_A_SCHEMA = (
    "cursor is not one that this list gave",
    "cursor is not one that this timeline gave",
    "return_url is not on an allowed origin",
    "completion app needs a return_url",
    "not among this stack's scopes",
    "app_registration is not one of",
    "metadata is larger than 2 KB",
    "is not a string of 1 to 256 bytes in UTF-8",  # maxLength counts characters
    "is not a whole number",  # 7.0 is an integer to JSON Schema
)
"""The only reasons for which a request that fits the document may be called invalid."""


TO_BE_SIGNED = "to be signed"
"""Stands for TikTok's signature until the body is made."""


class Signed(requests.auth.AuthBase):
    """Signs whatever Schemathesis made, its query encoded as SigV4 wants it: a space is %20."""

    def __init__(self, world: WorldHandle) -> None:
        self._world = world

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if request.headers.get("TikTok-Signature") == TO_BE_SIGNED:
            body = request.body if isinstance(request.body, bytes) else b""
            now = int(self._world.now().timestamp())
            request.headers["TikTok-Signature"] = sign(f"local-secret-of-{CLIENT_KEY}", now, body)
            return request
        base, _, query = str(request.url).partition("?")
        request.url = f"{base}?{_encoded_for_aws(query)}" if query else base
        to_sign = AWSRequest(request.method, request.url, data=request.body)
        SigV4Auth(Credentials("test", "test"), SERVICE, REGION).add_auth(to_sign)
        request.headers.update(dict(to_sign.headers))
        return request


def _encoded_for_aws(query: str) -> str:
    pairs = (pair.partition("=") for pair in query.replace("+", "%20").split("&"))
    return "&".join(f"{_encoded(name)}={_encoded(value)}" for name, _, value in pairs)


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="-_.~")


@dataclass(frozen=True, slots=True)
class Known:
    """What exists in the world, for cases that shall get past 404."""

    stage: Stage
    session: str
    cancelled_session: str
    account: str
    unlinked_account: str
    authorize: dict[str, str]

    def give_to(self, case: schemathesis.Case[Any]) -> None:
        """Put ids that exist into a well-formed case."""
        match case.operation.definition.raw["operationId"]:
            case "getLinkSession" | "showConnectPage" | "getConnectStatus":
                case.path_parameters["id"] = self.session
            case "cancelLinkSession":
                case.path_parameters["id"] = self.cancelled_session
            case (
                "getAccount" | "listAccountEvents" | "updateAccount" | "relinkAccount" | "vendToken"
            ):
                case.path_parameters["id"] = self.account
            case "unlinkAccount":
                case.path_parameters["id"] = self.unlinked_account
            case "startAuthorization":
                case.query.update(self.authorize)
            case "completeLinkSession":
                brought = self.stage.waiting()
                case.path_parameters["id"] = brought["link_session"]
                assert isinstance(case.body, dict)
                case.body |= {n: brought[n] for n in ("completion_code", "end_user_id")}
            case "getVerificationFile":
                case.path_parameters["file"] = "tiktoklocal.txt"
            case "receiveTikTokWebhook":
                case.headers["TikTok-Signature"] = TO_BE_SIGNED
                assert isinstance(case.body, dict)
                case.body["client_key"] = CLIENT_KEY
            case "finishAuthorization":
                _session, departure = self.stage.depart(HttpBrowser())
                case.query["state"] = query_of(departure.headers["Location"])["state"]


@pytest.fixture(scope="module")
def known(world: WorldHandle) -> Known:
    stage = Stage(world)
    return Known(
        stage=stage,
        session=stage.backend.begin(stage.end_user())["id"],
        cancelled_session=stage.backend.begin(stage.end_user())["id"],
        account=stage.account(),
        unlinked_account=stage.account(),
        authorize=dict(parse_qsl(urlsplit(stage.authorize_url()).query)),
    )


@pytest.fixture(scope="module")
def statuses() -> Iterator[dict[str, set[int]]]:
    """Which statuses each operation gave; none of them may have refused everything."""
    seen: dict[str, set[int]] = defaultdict(set)
    yield seen
    assert [label for label, given in seen.items() if min(given) >= 400] == []


@schema.parametrize()
@settings(
    max_examples=20,
    derandomize=True,
    database=None,
    deadline=None,  # other processes answer
    suppress_health_check=[HealthCheck.too_slow],
)
def test_whatever_is_sent_the_answer_is_as_documented(
    case: schemathesis.Case[Any], world: WorldHandle, known: Known, statuses: dict[str, set[int]]
) -> None:
    is_well_formed = case.meta is not None and case.meta.generation.mode.is_positive
    sent = repr((case.path_parameters, case.query, case.headers, case.body))
    if is_well_formed and zlib.crc32(sent.encode("utf-8", "surrogatepass")) % 2:
        known.give_to(case)

    target: dict[str, Any] = {
        "base_url": world.endpoints["gateway"],
        "auth": Signed(world),
        "timeout": 30,
    }
    response = case.call(**target, allow_redirects=False)
    if response.status_code == LARGER_THAN_API_GATEWAY_TAKES:
        return
    case.validate_response(response, excluded_checks=list(LEFT_OUT), transport_kwargs=target)

    statuses[case.operation.label].add(response.status_code)
    media_type = response.headers.get("content-type", [""])[0].split(";")[0]
    if response.status_code == 403:
        assert media_type == PROBLEM, "the signature of this test is not accepted"
    if is_well_formed and response.status_code == 400 and media_type == PROBLEM:
        refusal = response.json()["detail"]
        assert any(rule in refusal for rule in BEYOND_A_SCHEMA), refusal
