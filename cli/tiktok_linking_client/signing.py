"""Signed requests: AWS Signature Version 4 for API Gateway, by botocore."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

SERVICE = "execute-api"


def signed_request(
    method: str,
    url: str,
    body: Mapping[str, Any] | None = None,
    query: Mapping[str, str | None] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    credentials: Any,
    region: str,
) -> requests.PreparedRequest:
    """A request ready to be sent, and changed no more.

    ``credentials`` are botocore's. The query is encoded by RFC 3986, as the signature has it.
    """
    given = {name: value for name, value in (query or {}).items() if value is not None}
    address = url + (f"?{urlencode(given, quote_via=quote)}" if given else "")
    prepared = requests.Request(method, address, json=body, headers=dict(headers or {})).prepare()
    to_sign = AWSRequest(method, prepared.url, data=prepared.body or b"")
    # Frozen: credentials of a role are renewed by another thread whenever it likes.
    SigV4Auth(credentials.get_frozen_credentials(), SERVICE, region).add_auth(to_sign)
    prepared.headers.update(dict(to_sign.headers))
    return prepared


def send(
    http: requests.Session, request: requests.PreparedRequest, *, timeout: tuple[float, float]
) -> requests.Response:
    """Send as it is: no redirect, no ~/.netrc in place of the signature, no proxy to loopback."""
    settings = http.merge_environment_settings(request.url, {}, False, None, None)
    host = urlsplit(str(request.url)).hostname or ""
    if host in ("127.0.0.1", "::1", "localhost") or host.endswith(".localhost"):
        settings["proxies"] = {}
    return http.send(request, timeout=timeout, allow_redirects=False, **settings)
