"""POST /v1/accounts/{id}/token: an access token that works for as long as the backend asked."""

from __future__ import annotations

from typing import Any

from tiktok_linking import bootstrap
from tiktok_linking.accounts import instant
from tiktok_linking.callers import Caller
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.observability import audit_logger, logger
from tiktok_linking.vending import VendedToken
from tiktok_linking.web.api import answer, serve
from tiktok_linking.web.bodies import read_token_request
from tiktok_linking.web.http import Request, Response

log = logger()


def vend(request: Request, caller: Caller) -> Response:
    """Hand out a token, and write down to whom and what for: never the token."""
    request.query()
    wanted = read_token_request(request.json_object())
    token = bootstrap.vending().access_token_for(
        request.path_parameters.get("id", ""),
        caller=caller,
        min_ttl=wanted.min_ttl,
        required_scopes=wanted.required_scopes,
        rejected=wanted.rejected,
    )
    write_down(token, caller, wanted.purpose)
    return answer(
        {
            "access_token": token.access_token.reveal(),
            "token_type": "Bearer",
            "expires_at": instant(token.expires_at),
            "expires_in": token.expires_in,
            "scopes": list(token.scopes),
            "missing_scopes": list(token.missing_scopes),
            "open_id": token.grant.open_id,
            "account_id": token.account.id,
            "refreshed": token.refreshed,
            "warning": token.warning,
        }
    )


def write_down(token: VendedToken, caller: Caller, purpose: str | None) -> None:
    """The audit: a line at every LogLevel, and an event where the stack asks for it."""
    log = audit_logger()
    log.info(
        "token vended",
        extra={
            "caller": caller.principal,
            "account": token.account.id,
            "purpose": purpose,
            "account_version": token.grant.version,
            "refreshed": token.refreshed,
            "warning": token.warning,
        },
    )
    try:
        bootstrap.tell_of(token, caller=caller.principal, purpose=purpose)
    except StoreUnavailable as error:
        log.warning(
            "hand-out not on the bus", extra={"account": token.account.id, "why": str(error)}
        )


ROUTES = {"POST /v1/accounts/{id}/token": vend}


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Serve the route above to callers that API Gateway has verified."""
    log.set_correlation_id(context.aws_request_id)
    return serve(ROUTES, event, context.aws_request_id, caller_of=bootstrap.caller_of)
