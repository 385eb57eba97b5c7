"""Real clients of the SDK whose requests are answered without leaving the process."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse


class _Body(io.BytesIO):
    """A response's body as botocore reads it."""

    def stream(self, amount: int = 0, decode_content: bool = False) -> Iterator[bytes]:
        yield self.read()


def answered(client: Any, status: int = 200, body: bytes = b"{}") -> list[AWSPreparedRequest]:
    """Let every request of a client get this answer; give the list that they are added to."""
    sent: list[AWSPreparedRequest] = []

    def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        sent.append(request)
        return AWSResponse(request.url, status, {}, _Body(body))  # type: ignore[arg-type]

    client.meta.events.register("before-send", answer)
    return sent
