"""Every HTTP call of a function process in one numbered list.

`urllib3.connectionpool.HTTPConnectionPool.urlopen` is the one place through which both boto3 and
requests reach the network. It is replaced here, in the local world's workers alone, so that calls
can be counted, and so that a fault can be put before or after any of them by its number.
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from urllib3.connectionpool import HTTPConnectionPool

# X-Amz-Target names the API by its protocol's prefix, boto3 by the service: ours is boto3's.
_TARGET_SERVICES = {
    "DynamoDB_20120810": "dynamodb",
    "DynamoDBStreams_20120810": "dynamodbstreams",
    "TrentService": "kms",
    "secretsmanager": "secretsmanager",
    "AmazonSQS": "sqs",
    "AWSEvents": "events",
}
_TIKTOK_CALLS = {
    "/v2/oauth/token": "tiktok.token",
    "/v2/oauth/revoke": "tiktok.revoke",
    "/v2/user/info": "tiktok.user_info",
}
_LAMBDA_INVOKE = re.compile(r"/2015-03-31/functions/[^/]+/invocations")


@dataclass(frozen=True, slots=True)
class Call:
    """One call on the wire: `number` counts from 1 within an invocation."""

    number: int
    name: str
    read_seconds: float = 60.0


Send = Callable[[], Any]
Around = Callable[[Call, Send], Any]


def call_name(method: str, url: str, headers: dict[str, str], body: object) -> str:
    """What a call is, as `service.Operation`; `http.<METHOD> <path>` for a stranger."""
    target = next((v for k, v in headers.items() if k.lower() == "x-amz-target"), "")
    if target:
        prefix, _, operation = target.rpartition(".")
        return f"{_TARGET_SERVICES.get(prefix, prefix)}.{operation}"
    path = urlsplit(url).path
    if _LAMBDA_INVOKE.search(path):
        return "lambda.Invoke"
    for known, name in _TIKTOK_CALLS.items():
        if path.rstrip("/").endswith(known):
            return name
    if isinstance(body, bytes | str):
        form = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        if "Action=AssumeRole" in form or "Action=GetCallerIdentity" in form:
            return f"sts.{parse_qs(form)['Action'][0]}"
    return f"http.{method} {path}"


class Wire:
    """The calls of the running invocation, and what happens around each."""

    def __init__(self, on_call: Callable[[Call], None]) -> None:
        self._on_call = on_call
        self._lock = threading.Lock()
        self._made = 0
        self.around: Around = lambda _call, send: send()

    def start_invocation(self) -> None:
        """Number the calls from 1 again."""
        with self._lock:
            self._made = 0

    def install(self) -> None:
        """Take the place of urllib3's own method, for the rest of this process."""
        original = HTTPConnectionPool.urlopen
        wire = self

        def urlopen(
            pool: HTTPConnectionPool,
            method: str,
            url: str,
            body: Any = None,
            headers: Any = None,
            *args: Any,
            **kwargs: Any,
        ) -> Any:
            # botocore passes header values as bytes or str, by protocol.
            named = {
                str(k): v.decode("latin-1") if isinstance(v, bytes) else str(v)
                for k, v in dict(headers or {}).items()
            }
            # requests sets its timeout for each call, boto3 for the whole pool.
            patience = getattr(kwargs.get("timeout", pool.timeout), "read_timeout", None)
            seconds = float(patience) if isinstance(patience, int | float) else 60.0
            call = wire._numbered(call_name(method, url, named, body), seconds)
            return wire.around(
                call, lambda: original(pool, method, url, body, headers, *args, **kwargs)
            )

        HTTPConnectionPool.urlopen = urlopen  # type: ignore[method-assign,assignment]

    def _numbered(self, name: str, read_seconds: float) -> Call:
        with self._lock:
            self._made += 1
            call = Call(number=self._made, name=name, read_seconds=read_seconds)
        self._on_call(call)
        return call
