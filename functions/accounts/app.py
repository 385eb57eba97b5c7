"""GET /v1/accounts, GET and PATCH /v1/accounts/{id}, its events, GET /v1/forecast/relinks."""

from __future__ import annotations

from typing import Any

from tiktok_linking import bootstrap, directory, timeline
from tiktok_linking.accounts import instant
from tiktok_linking.callers import Caller
from tiktok_linking.observability import logger
from tiktok_linking.web.api import account_body, answer, serve, week_body
from tiktok_linking.web.bodies import (
    FORECAST_PARAMETERS,
    LIST_PARAMETERS,
    TIMELINE_PARAMETERS,
    read_account_change,
    read_forecast_query,
    read_list_query,
    read_timeline_query,
)
from tiktok_linking.web.http import Request, Response

log = logger()


def list_accounts(request: Request, caller: Caller) -> Response:
    """List accounts in the order in which they have to be linked again."""
    query, cursor = read_list_query(request.query(*LIST_PARAMETERS))
    now = bootstrap.now()
    found, following = directory.list_accounts(
        bootstrap.accounts(), query, caller=caller, cursor=cursor, now=now
    )
    items = [account_body(listed, now) for listed in found]
    return answer({"items": items, "next_cursor": following})


def show(request: Request, caller: Caller) -> Response:
    """Show one account."""
    request.query()
    account_id = request.path_parameters.get("id", "")
    listed = directory.account(bootstrap.accounts(), account_id, caller=caller)
    return answer(account_body(listed, bootstrap.now()))


def change(request: Request, caller: Caller) -> Response:
    """Change metadata or refresh mode."""
    request.query()
    wanted = read_account_change(request.json_object())
    listed = directory.update(
        bootstrap.accounts(),
        request.path_parameters.get("id", ""),
        caller=caller,
        metadata=wanted.metadata,
        mode=wanted.mode,
        policy=bootstrap.policy(),
        now=bootstrap.now(),
    )
    return answer(account_body(listed, bootstrap.now()))


def show_timeline(request: Request, caller: Caller) -> Response:
    """Show what happened to one account, newest first."""
    limit, cursor = read_timeline_query(request.query(*TIMELINE_PARAMETERS))
    account_id = request.path_parameters.get("id", "")
    grant = directory.account(bootstrap.accounts(), account_id, caller=caller).grant
    found, following = timeline.page(bootstrap.timeline(), account_id, cursor=cursor, limit=limit)
    return answer(
        {
            "items": found,
            "next_cursor": following,
            "last_used_at": instant(grant.last_used_at),
        }
    )


def forecast(request: Request, caller: Caller) -> Response:
    """Count how many accounts will need their owners, week by week."""
    weeks, tenant_id = read_forecast_query(request.query(*FORECAST_PARAMETERS))
    found = directory.forecast(
        bootstrap.accounts(),
        tenant_id=tenant_id,
        weeks=weeks,
        caller=caller,
        now=bootstrap.now(),
    )
    return answer({"weeks": [week_body(week) for week in found]})


ROUTES = {
    "GET /v1/accounts": list_accounts,
    "GET /v1/accounts/{id}": show,
    "PATCH /v1/accounts/{id}": change,
    "GET /v1/accounts/{id}/events": show_timeline,
    "GET /v1/forecast/relinks": forecast,
}


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Serve the routes above to callers that API Gateway has verified."""
    log.set_correlation_id(context.aws_request_id)
    return serve(ROUTES, event, context.aws_request_id, caller_of=bootstrap.caller_of)
