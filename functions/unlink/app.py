"""DELETE /v1/accounts/{id}, DELETE /v1/end-users/{id}: unlink; SQS: what an unlink left undone."""

from __future__ import annotations

import json
from typing import Any

from tiktok_linking import bootstrap
from tiktok_linking.callers import Caller
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.observability import logger
from tiktok_linking.unlinking import Unlinked
from tiktok_linking.web.api import answer, serve
from tiktok_linking.web.bodies import read_end_user, read_revoke_flag
from tiktok_linking.web.http import Request, Response

log = logger()


def unlink(request: Request, caller: Caller) -> Response:
    """Unlink one account. Safe to repeat: a second call finishes what the first could not."""
    result = bootstrap.unlinking().unlink(
        request.path_parameters.get("id", ""),
        caller=caller,
        revoke=read_revoke_flag(request.query("revoke")),
    )
    return answer(_shown(result))


def erase(request: Request, caller: Caller) -> Response:
    """Unlink all of one end user's accounts and forget what their rows tell of a person."""
    end_user_id, tenant_id = read_end_user(request.path_parameters, request.query("tenant_id"))
    erased = bootstrap.unlinking().erase(end_user_id, tenant_id=tenant_id, caller=caller)
    return answer(
        {
            "end_user_id": end_user_id,
            "accounts": [{"account_id": id} | _shown(result) for id, result in erased.accounts],
            "complete": erased.is_complete,
        }
    )


def _shown(result: Unlinked) -> dict[str, Any]:
    body = {"status": "unlinked", "revoked_at_tiktok": result.revoked_at_tiktok.shown}
    return body | ({"reason": result.reason} if result.reason else {})


def finish(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Finish what unlinks left undone; what our stores could not take is delivered again."""
    failed = []
    for record in records:
        try:
            grant = str(json.loads(record["body"])["grant"])
            result = bootstrap.unlinking().finish(grant)
        except (StoreUnavailable, ValueError, KeyError, TypeError) as error:
            log.warning("unlink not finished", extra={"why": type(error).__name__})
            failed.append(record["messageId"])
            continue
        told = "nothing_left" if result is None else result.revoked_at_tiktok.value
        log.info("unlink looked at again", extra={"grant": grant, "revoked_at_tiktok": told})
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}


ROUTES = {
    "DELETE /v1/accounts/{id}": unlink,
    "DELETE /v1/end-users/{end_user_id}": erase,
}


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Serve the routes above to callers that API Gateway has verified, and the queue."""
    log.set_correlation_id(context.aws_request_id)
    if "Records" in event:
        return finish(event["Records"])
    return serve(ROUTES, event, context.aws_request_id, caller_of=bootstrap.caller_of)
