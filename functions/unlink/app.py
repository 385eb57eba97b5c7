"""DELETE /v1/accounts/{id}: unlink, and say truthfully what TikTok did about it."""

from __future__ import annotations

from typing import Any

from tiktok_linking import bootstrap
from tiktok_linking.callers import Caller
from tiktok_linking.observability import logger
from tiktok_linking.unlinking import Revocation
from tiktok_linking.web.api import answer, serve
from tiktok_linking.web.bodies import read_revoke_flag
from tiktok_linking.web.http import Request, Response

log = logger()

_SHOWN: dict[Revocation, bool | str] = {
    Revocation.DONE: True,
    Revocation.NOT_DONE: False,
    Revocation.PENDING: "pending",
    Revocation.NOT_NEEDED: "not_needed",
}


def unlink(request: Request, caller: Caller) -> Response:
    """Unlink one account. Safe to repeat: a second call finishes what the first could not."""
    result = bootstrap.unlinking().unlink(
        request.path_parameters.get("id", ""),
        caller=caller,
        revoke=read_revoke_flag(request.query("revoke")),
    )
    body: dict[str, Any] = {
        "status": "unlinked",
        "revoked_at_tiktok": _SHOWN[result.revoked_at_tiktok],
    }
    return answer(body | ({"reason": result.reason} if result.reason else {}))


ROUTES = {"DELETE /v1/accounts/{id}": unlink}


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Serve the route above to callers that API Gateway has verified."""
    log.set_correlation_id(context.aws_request_id)
    return serve(ROUTES, event, context.aws_request_id, caller_of=bootstrap.caller_of)
