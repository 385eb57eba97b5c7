"""Failures on request: each endpoint plays the faults that were asked for, in their order."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

ENDPOINTS = ("token", "revoke", "user_info", "video_list")
GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials")


class FaultKind(StrEnum):
    """What goes wrong, and whether TikTok's own state changes before it does."""

    # The request takes full effect, then the connection closes without a byte of the answer.
    DROP_AFTER_COMMIT = "drop_after_commit"
    # The connection is reset and nothing takes effect.
    REFUSE = "refuse"
    # "Too many requests", without effect; `retry_after` becomes the Retry-After header.
    TOO_MANY = "429"
    # An error of the server in TikTok's own shape, without and with effect.
    ERROR_BEFORE = "500_before"
    ERROR_AFTER = "500_after"
    # A gateway's HTML page under 502; with effect only where `commit` is true.
    HTML = "html"
    # The answer takes `seconds` longer; the effect comes first unless `commit` is false.
    SLOW = "slow"


class FaultRefused(ValueError):
    """The fault asked for does not exist."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of failure of one endpoint."""

    endpoint: str
    kind: FaultKind
    # Seconds, or any text that the header shall carry, for instance an HTTP date.
    retry_after: int | str | None = None
    seconds: float = 5.0
    commit: bool = False
    # Narrows a fault of the token endpoint to one grant type.
    grant_type: str | None = None

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> "Fault":
        known = [part.name for part in fields(cls)]
        if unknown := sorted(set(given) - set(known)):
            raise FaultRefused(
                f"unknown key {', '.join(unknown)}; known: {', '.join(known)}, times"
            )
        endpoint = given.get("endpoint")
        if endpoint not in ENDPOINTS:
            raise FaultRefused(f"endpoint must be one of {', '.join(ENDPOINTS)}")
        try:
            kind = FaultKind(str(given.get("kind")))
        except ValueError as error:
            raise FaultRefused(f"kind must be one of {', '.join(FaultKind)}") from error
        retry_after = given.get("retry_after")
        if isinstance(retry_after, bool) or not isinstance(retry_after, int | str | None):
            raise FaultRefused("retry_after must be a number of seconds or a header value")
        seconds = given.get("seconds", 5.0)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
            raise FaultRefused("seconds must be a number that is not negative")
        commit = given.get("commit", kind is FaultKind.SLOW)
        if not isinstance(commit, bool):
            raise FaultRefused("commit must be true or false")
        grant_type = given.get("grant_type")
        if grant_type is not None and (endpoint != "token" or grant_type not in GRANT_TYPES):
            raise FaultRefused(
                f"grant_type belongs to endpoint token and must be one of {', '.join(GRANT_TYPES)}"
            )
        return cls(endpoint, kind, retry_after, float(seconds), commit, grant_type)


class Faults:
    """The faults still to be played."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[Fault, int]] = []

    def add(self, fault: Fault, times: int) -> None:
        if isinstance(times, bool) or not isinstance(times, int) or times < 1:
            raise FaultRefused("times must be a whole number from 1")
        with self._lock:
            self._waiting.append((fault, times))

    def take(self, endpoint: str, grant_type: str | None) -> Fault | None:
        """The next fault for a request, which counts as played."""
        with self._lock:
            for place, (fault, times) in enumerate(self._waiting):
                if fault.endpoint != endpoint or fault.grant_type not in (None, grant_type):
                    continue
                if times > 1:
                    self._waiting[place] = (fault, times - 1)
                else:
                    del self._waiting[place]
                return fault
        return None

    def waiting(self) -> list[dict[str, object]]:
        with self._lock:
            return [
                {
                    "endpoint": fault.endpoint,
                    "kind": fault.kind.value,
                    "times": times,
                    "grant_type": fault.grant_type,
                }
                for fault, times in self._waiting
            ]

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()
