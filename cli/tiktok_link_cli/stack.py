"""A deployed stack, or the local world, as an operator reaches it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tiktok_link_cli.showing import Failed, Json
from tiktok_linking_client.signing import send, signed_request

LOCAL_STACK = "tiktok-link"
_LOCAL_REGION = "us-east-1"
_LOCAL_CALLER = "test"  # key and secret of the local world, known to everybody
_SECONDS = (5, 35)  # API Gateway answers within 30


@dataclass(frozen=True)
class Stack:
    """Where everything is, by the stack's own outputs."""

    name: str
    session: Any
    endpoints: Mapping[str, str]
    """Of the local world; empty on AWS."""
    description: Json = field(repr=False)

    @property
    def is_local(self) -> bool:
        return bool(self.endpoints)

    @cached_property
    def outputs(self) -> dict[str, str]:
        return {o["OutputKey"]: o["OutputValue"] for o in self.description.get("Outputs", [])}

    @cached_property
    def parameters(self) -> dict[str, str]:
        given = self.description.get("Parameters", [])
        return {p["ParameterKey"]: p.get("ParameterValue", "") for p in given}

    @cached_property
    def registrations(self) -> dict[str, str]:
        """Client keys by the name of their app registration."""
        pairs = self.parameters.get("AppRegistrations", "").split(",")
        return {name: key for name, _, key in (pair.partition("=") for pair in pairs) if name}

    @cached_property
    def tenants(self) -> list[str]:
        """The tenants that CallerTenants names; there may be others."""
        pairs = filter(None, self.parameters.get("CallerTenants", "").split(","))
        return sorted({pair.partition("=")[2].partition(":")[0] for pair in pairs})

    def output(self, name: str) -> str:
        if name not in self.outputs:
            raise Failed(
                f"the stack {self.name} has no output {name}",
                "deploy the template of this version; or name another stack by --stack",
            )
        return self.outputs[name]

    @property
    def api_url(self) -> str:
        return self.endpoints.get("gateway") or self.output("ApiUrl")

    def client(self, service: str) -> Any:
        """A client of AWS; in the local world the functions are invoked at the control port."""
        endpoint = self.endpoints.get("control" if service == "lambda" else "aws")
        config = Config(connect_timeout=5, read_timeout=40, retries={"total_max_attempts": 3})
        return self.session.client(service, endpoint_url=endpoint, config=config)

    def queue_url(self, logical_id: str) -> str:
        """The address of one of the stack's queues."""
        found = self.client("cloudformation").describe_stack_resource(
            StackName=self.name, LogicalResourceId=logical_id
        )
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    # ---- the API -------------------------------------------------------------------------------

    def call(
        self, method: str, path: str, body: Json | None = None, /, **query: str | None
    ) -> requests.Response:
        """One signed request, whatever it answers."""
        credentials = self.session.get_credentials()
        if credentials is None:
            raise Failed("no AWS credentials were found", "log in as for the AWS command line")
        url, region = self.api_url + path, self.session.region_name
        return self.send(
            signed_request(method, url, body, query, credentials=credentials, region=region)
        )

    def ask(self, method: str, path: str, body: Json | None = None, /, **query: str | None) -> Json:
        """One signed request that must succeed.

        Raises:
            Failed: with the problem's own words and what helps.
        """
        answer = self.call(method, path, body, **query)
        if not answer.ok:
            raise refusal(answer)
        told: Json = answer.json()
        return told

    def send(self, request: requests.PreparedRequest) -> requests.Response:
        """Send as it is; redirects are for the caller to read."""
        with requests.Session() as http:
            try:
                return send(http, request, timeout=_SECONDS)
            except requests.RequestException as error:
                # The path may hold a link session, which is a secret: the host says enough.
                host = urlsplit(str(request.url)).netloc
                raise Failed(
                    f"{host} did not answer ({type(error).__name__})",
                    "is `make run` running?"
                    if self.is_local
                    else "look at the domain's record and certificate, and at your network",
                ) from error


_CURES = {
    "not_found": "look at the id; accounts of a tenant are seen by its own callers",
    "provider_unavailable": "TikTok does not answer: try again in some minutes",
    "client_credentials_invalid": "mend the secret: tiktok-link doctor says what is wrong with it",
    "internal": "look for `unexpected error` and `access denied` in the logs",
}


def refusal(answer: requests.Response) -> Failed:
    """What the API's refusal means to an operator."""
    try:
        told = answer.json()
    except ValueError:
        told = {}
    if not isinstance(told, dict):
        told = {}
    code = told.get("code")
    if answer.status_code == 403 and code is None:
        return Failed(
            "the API does not accept the signature (403)",
            "attach the policy of the output BackendPolicyArn to your role, use the region of the"
            " stack, and let the clock be right",
        )
    what = f"the API answers {answer.status_code} {code or told.get('message', '')}".rstrip()
    detail = f": {told['detail']}" if told.get("detail") else ""
    support = f" (request {told['request_id']})" if told.get("request_id") else ""
    cure = _CURES.get(str(code), "docs/troubleshooting.md explains each code")
    return Failed(what + detail + support, cure)


def open_stack(name: str | None, *, local: bool, region: str | None, profile: str | None) -> Stack:
    """Find the stack and read its outputs.

    Raises:
        Failed: no world, no stack, or no right to look at it.
    """
    endpoints: dict[str, str] = {}
    session: Any
    if local:
        endpoints = _local_endpoints()
        session = boto3.Session(_LOCAL_CALLER, _LOCAL_CALLER, region_name=_LOCAL_REGION)
        name = LOCAL_STACK
    else:
        if name is None:
            raise Failed("no stack is named", "give --stack NAME, or --local for `make run`")
        try:
            session = boto3.Session(profile_name=profile, region_name=region)
        except BotoCoreError as error:
            raise Failed(str(error), "look at --profile and at your AWS configuration") from error
        if session.region_name is None:
            raise Failed("no AWS region is set", "give --region, or set AWS_REGION")
    found = Stack(name, session, endpoints, {})
    try:
        (description,) = found.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            raise Failed(
                f"there is no stack {name} in {session.region_name}",
                "look at the name and at the region: `sam list stack-outputs --stack-name NAME`",
            ) from error
        raise
    return Stack(name, session, endpoints, description)


def _local_endpoints() -> dict[str, str]:
    file = Path(os.environ.get("LOCAL_DIR", ".local")) / "endpoints.json"
    try:
        endpoints: dict[str, str] = json.loads(file.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise Failed(
            f"no local world is running: {file} is not there",
            "start it by `make run`; with a folder of its own, set LOCAL_DIR here too",
        ) from error
    return endpoints
