"""The product's own code over the stand-ins of this process, without a socket.

Only the outermost layer is replaced: the client that botocore makes, the method of urllib3 that
sends, and threads, which run their work at once. Everything of the product runs as it is shipped,
from the function's handler on.
"""

from __future__ import annotations

import functools
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import botocore.session
from botocore import xform_name
from botocore.exceptions import ClientError
from urllib3 import HTTPResponse
from urllib3.connectionpool import HTTPConnectionPool

from benchmarks.renewal.aws import Aws, Refused
from benchmarks.renewal.tiktok import TokenEndpoint
from tiktok_linking import bootstrap

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
"""Where the journal of a count lies: a disk has no part in what is counted."""


class Client:
    """Stands where a client of botocore would: the same methods, arguments and errors."""

    def __init__(self, aws: Aws, service: str) -> None:
        self._aws = aws
        self._service = service
        self._names = {
            xform_name(operation): operation
            for operation in (name.partition(".")[2] for name in aws.operations(service))
        }

    def __getattr__(self, method: str) -> Callable[..., dict[str, Any]]:
        operation = self.__dict__["_names"].get(method, method)
        return functools.partial(self._call, operation)

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            return self._aws.call(f"{self._service}.{operation}", arguments)
        except Refused as refused:
            answer: Any = {"Error": {"Code": refused.code, "Message": refused.code}}
            if refused.item is not None:
                answer["Item"] = refused.item
            raise ClientError(answer, operation) from None


@contextmanager
def product(
    aws: Aws, tiktok: TokenEndpoint, variables: Mapping[str, str], now: Callable[[], datetime]
) -> Iterator[None]:
    """Be the function of these variables; `bootstrap` gives its parts until the end."""

    def make_client(_session: Any, service: str, **_options: Any) -> Any:
        return Client(aws, service)

    def run_now(_pool: Any, work: Callable[..., Any], *args: Any, **options: Any) -> Future[Any]:
        """One after the other: threads that wait for nothing only cost time."""
        done: Future[Any] = Future()
        done.set_result(work(*args, **options))
        return done

    def send(_pool: Any, method: str, url: str, body: Any = None, **options: Any) -> Any:
        data = body if isinstance(body, bytes) else str(body).encode()
        authorization = (options.get("headers") or {}).get("Authorization", "")
        status, answer = tiktok.respond(url, data, authorization)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(answer))}
        return HTTPResponse(io.BytesIO(answer), headers, status, preload_content=False)

    with (
        tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder,
        patch.dict(os.environ, variables),
        patch.object(tempfile, "tempdir", folder),
        # For a while, and of libraries: nothing of our own is replaced.
        patch.object(botocore.session.Session, "create_client", make_client),
        patch.object(HTTPConnectionPool, "urlopen", send),
        patch.object(ThreadPoolExecutor, "submit", run_now),
    ):
        _forget()
        bootstrap.use_clock(now)
        try:
            yield
        finally:
            _forget()
            bootstrap.use_clock(lambda: datetime.now(UTC))
            left = [path.name for path in (Path(folder) / "journal").glob("*")]
    if left:
        raise AssertionError(f"{len(left)} pairs were left in the journal")


def _forget() -> None:
    for value in list(vars(bootstrap).values()):
        if isinstance(value, functools._lru_cache_wrapper):
            value.cache_clear()
