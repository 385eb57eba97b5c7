"""POST, GET, DELETE /v1/link-sessions, POST /v1/accounts/{id}/relink: the team asks for a link."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from tiktok_linking import bootstrap, directory, requesting
from tiktok_linking.callers import Caller
from tiktok_linking.errors import InvalidRequest, NotFound
from tiktok_linking.observability import logger
from tiktok_linking.ports import Idempotency
from tiktok_linking.sessions import LinkSession, is_session_id
from tiktok_linking.web.api import answer, serve, session_body
from tiktok_linking.web.bodies import read_relink_request, read_session_request
from tiktok_linking.web.http import Request, Response

log = logger()

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def create(request: Request, caller: Caller) -> Response:
    """Make a session for one of the team's users."""
    request.query()
    body = request.json_object()
    idempotency = _idempotency(request, caller, body)
    session = requesting.new_session(
        read_session_request(body), caller=caller, stack=bootstrap.stack(), now=bootstrap.now()
    )
    return _created(request, session, idempotency)


def relink(request: Request, caller: Caller) -> Response:
    """Make a session that can only authorise this account again."""
    request.query()
    account_id = request.path_parameters.get("id", "")
    body = request.json_object()
    wanted = read_relink_request(body)
    idempotency = _idempotency(request, caller, body | {"relink": account_id})
    listed = directory.account(bootstrap.accounts(), account_id, caller=caller)
    session = requesting.relink_session(
        wanted, listed.account, caller=caller, stack=bootstrap.stack(), now=bootstrap.now()
    )
    return _created(request, session, idempotency)


def show(request: Request, caller: Caller) -> Response:
    """Tell how the session stands."""
    request.query()
    session = bootstrap.sessions().read(_session_id(request))
    if session is None:
        raise NotFound
    caller.must_reach(session.tenant_id, session.app_registration)
    return answer(session_body(session, bootstrap.now()))


def cancel(request: Request, caller: Caller) -> Response:
    """Withdraw the link: no attempt can start or come back any more."""
    request.query()
    session = bootstrap.sessions().cancel(_session_id(request), caller=caller, now=bootstrap.now())
    return answer(session_body(session, bootstrap.now()))


def _created(request: Request, session: LinkSession, idempotency: Idempotency | None) -> Response:
    base_url = bootstrap.public_base_url(request.public_base_url)
    stored = bootstrap.sessions().create(session, idempotency=idempotency)
    shown = session_body(stored, bootstrap.now())
    return answer({"url": f"{base_url}/connect/{stored.id}"} | shown, 201)


def _idempotency(request: Request, caller: Caller, body: dict[str, Any]) -> Idempotency | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest("Idempotency-Key is not 1 to 255 printable ASCII characters")
    # A role that is mapped to another tenant today must not be given the last one's sessions.
    held_to = [] if caller.tenant is None else [caller.tenant.id, caller.tenant.registrations]
    scope = json.dumps([caller.principal, request.route, key, *held_to]).encode()
    text = json.dumps(body, sort_keys=True).encode("utf-8", "surrogatepass")
    return Idempotency(hashlib.sha256(scope).hexdigest(), hashlib.sha256(text).hexdigest())


def _session_id(request: Request) -> str:
    session_id = request.path_parameters.get("id", "")
    if not is_session_id(session_id):
        raise NotFound
    return session_id


ROUTES = {
    "POST /v1/link-sessions": create,
    "GET /v1/link-sessions/{id}": show,
    "DELETE /v1/link-sessions/{id}": cancel,
    "POST /v1/accounts/{id}/relink": relink,
}


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Serve the routes above to callers that API Gateway has verified."""
    log.set_correlation_id(context.aws_request_id)
    return serve(ROUTES, event, context.aws_request_id, caller_of=bootstrap.caller_of)
