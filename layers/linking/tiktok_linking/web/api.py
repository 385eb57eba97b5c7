"""JSON endpoints: the table from error code to HTTP status, problem bodies, and the frame of a
handler. Routing itself is API Gateway's: a function looks its route key up in a table of its own,
since a resolver library costs a sixth of a cold start (docs/decisions).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tiktok_linking.accounts import Status, action_on_revoked, days_until, instant
from tiktok_linking.callers import Caller
from tiktok_linking.errors import ActionBy, LinkingError, NotFound
from tiktok_linking.sessions import ACTION_BY, LinkSession, SessionStatus
from tiktok_linking.web.http import NOTHING_IS_LOADED, Request, Response

if TYPE_CHECKING:
    from tiktok_linking.directory import Listed, Week

logger = logging.getLogger("tiktok_linking.web")

STATUS_BY_CODE: dict[str, int] = {
    "invalid_request": 400,
    "state_mismatch": 400,
    "browser_mismatch": 400,
    "scope_not_granted": 403,
    "not_found": 404,
    "relink_required": 409,
    "link_session_used": 409,
    "user_mismatch": 409,
    "account_mismatch": 409,
    "idempotency_conflict": 409,
    "account_revoked": 410,
    "account_unlinked": 410,
    "link_session_expired": 410,
    "link_session_cancelled": 410,
    "rate_limited": 429,
    "internal": 500,
    "scope_not_approved": 502,
    "client_credentials_invalid": 502,
    "provider_unavailable": 503,
    "refresh_outcome_unknown": 503,
    "refresh_in_progress": 503,
    "refresh_backoff": 503,
}
"""The one table from stable code to status; a test holds it against the tree of errors."""

HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": NOTHING_IS_LOADED,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "interest-cohort=()",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}

_FORBIDDEN = Response(403, json.dumps({"message": "Forbidden"}), HEADERS)

_STATUS_ACTION = {
    "active": ActionBy.NOBODY,
    "relink_required": ActionBy.END_USER,
    "revoked": ActionBy.END_USER,
    "unlinked": ActionBy.NOBODY,
}


Endpoint = Callable[[Request, Caller], Response]


def answer(body: Mapping[str, Any], status: int = 200) -> Response:
    """A JSON answer."""
    return Response(status, json.dumps(body, ensure_ascii=False), HEADERS)


def problem(error: LinkingError, request_id: str) -> Response:
    """RFC 9457 problem with our stable code, who must act, and when to try again."""
    status = STATUS_BY_CODE[error.code]
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": error.title,
        "status": status,
        "code": error.code,
        "action_by": error.action_by.value,
        "request_id": request_id,
    }
    if error.detail:
        body["detail"] = error.detail
    body |= {name: value for name, value in error.facts.items() if value is not None}
    headers = HEADERS | {"Content-Type": "application/problem+json; charset=utf-8"}
    if error.retry_after is not None:
        body["retry_after"] = error.retry_after
        headers |= {"Retry-After": str(error.retry_after)}
    return Response(status, json.dumps(body, ensure_ascii=False), headers)


def serve(
    endpoints: Mapping[str, Endpoint],
    event: Mapping[str, Any],
    request_id: str,
    *,
    caller_of: Callable[[str], Caller | None],
) -> dict[str, Any]:
    """Answer one request of a signed route.

    Without the authorizer's word who is calling the answer is no, whatever the template says.
    """

    def routed() -> Response:
        request = Request.from_event(event)
        if request.caller is None:
            return _FORBIDDEN
        caller = caller_of(request.caller)
        if caller is None:
            logger.warning("caller refused", extra={"event": "caller_refused"})
            return _FORBIDDEN
        endpoint = endpoints.get(request.route)
        if endpoint is None:
            raise NotFound
        return endpoint(request, caller)

    return guarded(routed, request_id).as_event()


def guarded(respond: Callable[[], Response], request_id: str) -> Response:
    """Answer in JSON whatever happens: errors of ours as problems, and no exception escapes."""
    try:
        return respond()
    except LinkingError as error:
        logger.info("request refused", extra={"code": error.code})
        return problem(error, request_id)
    except Exception as error:  # the last frame: sam local would show the trace to the caller
        log_defect(error)
        return problem(LinkingError(), request_id)


def log_defect(error: Exception) -> None:
    """Log what nobody expected: where it happened, not what the values were."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else "?"
    logger.error("unexpected error", extra={"error": type(error).__name__, "where": where})


def account_body(listed: Listed, now: datetime) -> dict[str, Any]:
    """An account as every answer shows it: who from its row, how it is doing from its grant."""
    account, grant = listed.account, listed.grant
    status = listed.status(now)
    profile = account.profile
    failing = grant.failing_since if status.value == "active" else None
    action_by = _STATUS_ACTION[status.value]
    if status is Status.REVOKED:
        action_by = action_on_revoked(grant.reason)
    body: dict[str, Any] = {
        "id": account.id,
        "provider": "tiktok",
        "app_registration": account.registration,
        "status": status.value,
        "action_by": action_by.value,
        "end_user_id": account.end_user_id,
        "tenant_id": account.tenant_id,
        "open_id": account.open_id,
        "union_id": profile.union_id if profile else None,
        "profile": None
        if profile is None
        else {
            "display_name": profile.display_name,
            "avatar_url": profile.avatar_url,
            "fetched_at": instant(profile.fetched_at),
        },
        "scopes": {
            "granted": list(grant.scopes),
            "missing": [s for s in account.wanted_scopes if s not in grant.scopes],
        },
        "linked_at": instant(account.linked_at),
        "relinked_at": instant(account.relinked_at),
        "access_token_expires_at": instant(grant.expires_at),
        "relink_by": instant(grant.relink_by),
        "days_until_relink": days_until(grant.relink_by, now),
        "refresh": {
            "mode": grant.mode.value,
            "last_success_at": instant(grant.last_success_at),
            "next_at": instant(grant.due_at),
            "failing_since": instant(failing),
            "last_error": None
            if failing is None
            else {"class": grant.last_error, "log_id": grant.last_log_id},
            "rotations": grant.rotations,
        },
        "metadata": dict(account.metadata),
        "version": grant.version,
    }
    reason = grant.reason_at(now)
    return body | ({"reason": reason} if reason and status.value != "unlinked" else {})


def week_body(week: Week) -> dict[str, Any]:
    """A week of the forecast."""
    return {
        "week": week.name,
        "starts_on": week.starts_on.isoformat(),
        "accounts": week.accounts,
        "is_exact": week.is_exact,
    }


def session_body(session: LinkSession, now: datetime) -> dict[str, Any]:
    """A link session as its team sees it: never a code, a cookie or a token."""
    status = session.status_at(now)
    body: dict[str, Any] = {
        "id": session.id,
        "status": status.value,
        "completion": session.completion.value,
        "expires_at": instant(session.expires_at),
    }
    if status is SessionStatus.COMPLETED:
        body["account_id"] = session.account_id
    if session.reason is not None:
        body |= {"reason": session.reason.value, "action_by": ACTION_BY[session.reason]}
    elif status is SessionStatus.EXPIRED:
        body["action_by"] = ActionBy.END_USER.value
    if session.missing_scopes:
        body["missing_scopes"] = list(session.missing_scopes)
    return body
