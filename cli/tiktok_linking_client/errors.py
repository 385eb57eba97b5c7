"""What can go wrong, in two kinds.

::

    LinkingError
    ├── StackRefused      the stack said no; ``code`` is stable and part of the HTTP contract
    └── StackUnreachable  no answer came: whether the request was carried out is not known
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

_PASSES = {
    "provider_unavailable",
    "refresh_outcome_unknown",
    "refresh_in_progress",
    "refresh_backoff",
    "rate_limited",
    "throttled",
    "unavailable",
}


class LinkingError(Exception):
    """Base of both.

    Attributes:
        code: stable; tolerate codes that you do not know.
        action_by: end_user, developer, operator or nobody.
        retry_after: seconds after which the same request may succeed, else None.
        is_retryable: whether waiting helps and sending it again does no harm.
    """

    code = "unknown"
    action_by = "operator"
    retry_after: int | None = None
    is_retryable = False


class StackRefused(LinkingError):
    """The stack answered with a problem (RFC 9457), or API Gateway refused in its place.

    Attributes:
        status: of HTTP.
        request_id: for whoever runs the stack; show it as a support code.
        detail: for developers, never for users.
        facts: the problem's other members, such as ``missing_scopes``.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        by_status = {403: "forbidden", 429: "throttled", 503: "unavailable", 504: "unavailable"}
        self.status = status
        self.code = str(problem.get("code") or by_status.get(status, "unknown"))
        waits = self.code in _PASSES
        self.action_by = str(problem.get("action_by") or ("nobody" if waits else "operator"))
        self.request_id = str(problem.get("request_id") or "")
        self.detail = str(problem.get("detail") or problem.get("message") or "")
        retry_after = problem.get("retry_after")
        self.retry_after = retry_after if isinstance(retry_after, int) else None
        self.is_retryable = waits
        known = {"type", "title", "status", "code", "action_by", "request_id", "detail"}
        self.facts = {k: v for k, v in problem.items() if k not in known}
        said = f": {self.detail}" if self.detail else ""
        support = f" (request {self.request_id})" if self.request_id else ""
        super().__init__(f"{status} {self.code}{said}{support}")

    @classmethod
    def from_answer(cls, answer: requests.Response) -> StackRefused:
        """Read an answer that is no success; API Gateway's own need not be JSON."""
        try:
            problem = answer.json()
        except requests.JSONDecodeError:
            problem = {}
        return cls(answer.status_code, problem if isinstance(problem, dict) else {})


class StackUnreachable(LinkingError):
    """No answer came. A request that changes something may have been carried out."""

    code = "unreachable"

    def __init__(self, host: str, error: Exception, *, is_repeatable: bool) -> None:
        self.is_retryable = is_repeatable
        # The path may hold a link session, which is a secret: the host says enough.
        super().__init__(f"{host} did not answer ({type(error).__name__})")
