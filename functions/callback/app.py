"""GET /callback, POST /v1/link-sessions/{id}/complete: back from TikTok, and the team's word.

The code is traded and the pair stored by whichever of the two decides.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from tiktok_linking import bootstrap
from tiktok_linking.accounts import Account, Grant, Secret
from tiktok_linking.callers import Caller
from tiktok_linking.directory import Listed
from tiktok_linking.errors import InvalidRequest, NotFound, StateMismatch, StoreUnavailable
from tiktok_linking.linking import Answer, Arrival, Landing
from tiktok_linking.observability import logger
from tiktok_linking.return_urls import with_result
from tiktok_linking.sessions import (
    ATTEMPT_LIFETIME,
    FINISHED,
    SessionStatus,
    State,
    is_session_id,
)
from tiktok_linking.web.api import HEADERS, account_body, log_defect, serve
from tiktok_linking.web.bodies import read_completion_request
from tiktok_linking.web.http import Request, Response, cookie
from tiktok_linking.web.pages import Pages, redirect

log = logger()

MOST_CODE_CHARACTERS = 2048
ISSUER = "https://www.tiktok.com"  # TikTok sends no iss today; if one comes, it must be its own
_WORD = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


def read_answer(request: Request) -> Answer:
    """Parse the callback. Raises InvalidRequest or StateMismatch before anything is looked up."""
    query = request.query("state", "code", "error", "error_type", "iss", strict=False)
    state = State.parse(query.get("state", ""))
    if state is None:
        raise StateMismatch
    if query.get("iss", ISSUER) != ISSUER:
        raise InvalidRequest("the answer names another issuer (RFC 9207)")
    code, error = query.get("code"), query.get("error")
    if code is not None and not (len(code) <= MOST_CODE_CHARACTERS and _PRINTABLE.fullmatch(code)):
        raise InvalidRequest("the code is not one of TikTok's")
    if not code and not error:
        raise InvalidRequest("neither code nor error")
    return Answer(
        state=state,
        code=Secret(code) if code and not error else None,
        error=_word(error),
        error_type=_word(query.get("error_type")),
    )


def land(arrival: Arrival, pages: Pages) -> Response:
    """Send the browser where it goes next: always a redirect, so no code stays in its history."""
    session = arrival.session
    if arrival.landing is Landing.NEUTRAL:
        # This browser has no part in the session, so it does not learn the session's id.
        return redirect("/connect/" + FINISHED)
    cookies: tuple[str, ...] = ()
    if arrival.cookie_name is not None and arrival.cookie_value is not None:
        age = int(ATTEMPT_LIFETIME.total_seconds())
        cookies = (cookie(arrival.cookie_name, arrival.cookie_value.reveal(), max_age_seconds=age),)
    if arrival.landing is Landing.RETURN and session.return_url is not None:
        result = {"link_session": session.id}
        if session.status is SessionStatus.CANCELLED:
            result["error"] = "cancelled"
        if arrival.completion_code is not None:
            result["completion_code"] = arrival.completion_code.reveal()
        return redirect(with_result(session.return_url, **result), cookies=cookies)
    return redirect("/connect/" + session.id, cookies=cookies)


def _land_leftovers() -> None:
    """What an earlier invocation left in this environment when it died comes first."""
    try:
        landed = bootstrap.land_leftovers()
    except StoreUnavailable as error:
        log.warning("leftover not landed", extra={"why": str(error)})
    else:
        if landed:
            log.warning("leftovers landed", extra={"pairs": landed})


def complete(request: Request, caller: Caller, context: Any) -> Response:
    """Complete for the user who is signed in at the team's product."""
    request.query()
    wanted = read_completion_request(request.json_object())
    session_id = request.path_parameters.get("id", "")
    if not is_session_id(session_id):
        raise NotFound
    _land_leftovers()
    said = bootstrap.linking().complete(
        session_id,
        wanted.completion_code,
        wanted.end_user_id,
        caller=caller,
        render=_account_as_text,
        deadline=bootstrap.deadline_of(context),
    )
    return Response(200, said, HEADERS)


def _account_as_text(account: Account, grant: Grant) -> str:
    return json.dumps(account_body(Listed(account, grant), bootstrap.now()), ensure_ascii=False)


def _word(value: str | None) -> str | None:
    """A word of the protocol, or a marker that something unreadable stood there."""
    if value is None:
        return None
    return value if _WORD.fullmatch(value) else "unreadable"


CALLBACK = "GET /callback"
COMPLETE = "POST /v1/link-sessions/{id}/complete"


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Serve the signed route as the API's others are; else parse, finish, land, as a page."""
    log.set_correlation_id(context.aws_request_id)
    if event.get("routeKey") == COMPLETE:

        def completed(request: Request, caller: Caller) -> Response:
            return complete(request, caller, context)

        served = {COMPLETE: completed}
        return serve(served, event, context.aws_request_id, caller_of=bootstrap.caller_of)
    pages = Pages("the app", context.aws_request_id, bootstrap.now())
    try:
        settings = bootstrap.settings()
        pages = replace(pages, app_name=settings.app_name, brand=settings.brand)
        request = Request.from_event(event)
        pages = replace(pages, accept_language=request.headers.get("accept-language", ""))
        if request.route != CALLBACK:
            return pages.not_found().as_event()
        if request.is_prefetch:
            return Response(204, "", HEADERS).as_event()
        if not request.is_navigation:
            raise InvalidRequest("not opened as a page")
        _land_leftovers()
        arrival = bootstrap.linking().finish(
            read_answer(request), request.cookies, deadline=bootstrap.deadline_of(context)
        )
        return land(arrival, pages).as_event()
    except (InvalidRequest, StateMismatch) as refusal:
        log.warning("callback refused", extra={"event": refusal.code})
        return pages.bad_return().as_event()
    except Exception as error:  # the last frame: nothing of ours may reach the person
        log_defect(error)
        return pages.defect().as_event()
