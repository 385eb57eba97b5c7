"""GET /connect/{id}, its status, /connect.js and /authorize: a browser on its way to TikTok."""

from __future__ import annotations

import hmac
import json
from dataclasses import replace
from typing import Any

from tiktok_linking import authorizing, bootstrap
from tiktok_linking.errors import (
    InvalidRequest,
    LinkSessionCancelled,
    LinkSessionExpired,
    LinkSessionUsed,
    NotFound,
    RateLimited,
    StateMismatch,
)
from tiktok_linking.observability import logger
from tiktok_linking.return_urls import origin_of
from tiktok_linking.sessions import (
    ATTEMPT_LIFETIME,
    FINISHED,
    MOST_COOKIES,
    LinkSession,
    SessionStatus,
    is_cookie_name,
    is_page_nonce,
    is_session_id,
)
from tiktok_linking.web.api import HEADERS, guarded, log_defect
from tiktok_linking.web.http import Request, Response, cookie
from tiktok_linking.web.pages import Pages, browser_of, page_proof, redirect
from tiktok_linking.web.script import connect_script

log = logger()

MOST_VERSION_CHARACTERS = 128


def connect(request: Request, pages: Pages) -> Response:
    """Show where the session stands for this browser. Changes nothing."""
    if request.path_parameters.get("id") == FINISHED:
        return pages.already_used()
    anew = request.query("anew", strict=False).get("anew") == "1"
    session = _session(request)
    if session is None:
        return pages.not_found()
    return pages.of_session(session, request.cookies, anew=anew)


def status(request: Request) -> Response:
    """Tell a waiting page how the session ended; readable by the session's own app alone."""
    session = _session(request)
    if session is None:
        raise NotFound
    headers = HEADERS | {"Vary": "Origin"}
    own = origin_of(session.return_url)
    if own is not None and request.headers.get("origin") == own:
        headers |= {
            "Access-Control-Allow-Origin": own,
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
    state = session.status_at(bootstrap.now())
    told: dict[str, object] = {"status": state.value}
    if state in (SessionStatus.CANCELLED, SessionStatus.FAILED) and session.reason is not None:
        told["reason"] = session.reason.value
    if state is SessionStatus.COMPLETED and session.missing_scopes:
        told["missing_scopes"] = list(session.missing_scopes)
    return Response(200, json.dumps(told), headers)


def script(request: Request) -> Response:
    """The script that a product's page opens and watches the pop-up with."""
    version = request.query("v", strict=False).get("v", "")
    if len(version) > MOST_VERSION_CHARACTERS:
        raise InvalidRequest("v is longer than 128 characters")
    return connect_script(version)


def authorize(request: Request, pages: Pages) -> Response:
    """Start an attempt and go to TikTok. Needs the nonce of our page; a guess ends there again."""
    query = request.query("session", "n", strict=False)
    session_id = query.get("session", "")
    nonce, _, proof = query.get("n", "").partition(".")
    if request.is_prefetch:
        return Response(204, "", HEADERS)
    if not is_session_id(session_id):
        return pages.not_found()
    if not is_page_nonce(nonce) or not request.is_navigation:
        return redirect(f"/connect/{session_id}")
    if "sec-fetch-site" in request.headers and not _came_through_page(request, session_id, proof):
        log.warning("not through our page", extra={"event": "page_proof_missing"})
        return redirect(f"/connect/{session_id}")
    settings = bootstrap.settings()
    try:
        departure = authorizing.start(
            bootstrap.sessions(),
            session_id=session_id,
            nonce=nonce,
            authorize_base=settings.tiktok_authorize_url,
            client_keys=settings.app_registrations,
            redirect_uri=bootstrap.public_base_url(request.public_base_url) + "/callback",
            now=bootstrap.now(),
        )
    except (StateMismatch, LinkSessionUsed, LinkSessionExpired, LinkSessionCancelled):
        return redirect(f"/connect/{session_id}")
    except NotFound:
        return pages.not_found()
    except RateLimited:
        return pages.too_many()
    bound = cookie(
        departure.cookie_name,
        departure.cookie_value.reveal(),
        max_age_seconds=int(ATTEMPT_LIFETIME.total_seconds()),
    )
    return redirect(departure.url, status=302, cookies=(bound, *_without_the_oldest(request)))


def _without_the_oldest(request: Request) -> list[str]:
    """Take back cookies of attempts beyond the bound; browsers send the oldest first (RFC 6265)."""
    kept = [name for name in request.cookies if is_cookie_name(name)]
    return [cookie(name, "", max_age_seconds=0) for name in kept[: 1 - MOST_COOKIES]]


def _came_through_page(request: Request, session_id: str, proof: str) -> bool:
    """Whether the button was pressed in the browser that was shown it.

    Asked of browsers that tell where a request comes from, as all of today's do; a program's
    request has nobody to be fooled.
    """
    browser = browser_of(request.cookies)
    return browser is not None and hmac.compare_digest(
        proof.encode(), page_proof(session_id, browser).encode()
    )


def _session(request: Request) -> LinkSession | None:
    session_id = request.path_parameters.get("id", "")
    if not is_session_id(session_id):
        return None
    return bootstrap.sessions().read(session_id)


def _for_scripts(event: dict[str, Any]) -> Response:
    request = Request.from_event(event)
    route = FOR_SCRIPTS.get(request.route)
    if route is None:
        raise NotFound
    return route(request)


PAGES = {"GET /connect/{id}": connect, "GET /authorize": authorize}
FOR_SCRIPTS = {"GET /connect/{id}/status": status, "GET /connect.js": script}


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Look the route up; a page of ours, or a problem for programs, for whatever goes wrong."""
    log.set_correlation_id(context.aws_request_id)
    if event.get("routeKey") in FOR_SCRIPTS:
        return guarded(lambda: _for_scripts(event), context.aws_request_id).as_event()
    pages = Pages("the app", context.aws_request_id, bootstrap.now())
    try:
        request = Request.from_event(event)
        settings = bootstrap.settings()
        pages = replace(
            pages,
            app_name=settings.app_name,
            brand=settings.brand,
            browser=browser_of(request.cookies) or pages.browser,
            accept_language=request.headers.get("accept-language", ""),
            user_agent=request.headers.get("user-agent", ""),
        )
        route = PAGES.get(request.route)
        return (pages.not_found() if route is None else route(request, pages)).as_event()
    except InvalidRequest:
        return pages.bad_return().as_event()
    except Exception as error:  # the last frame: nothing of ours may reach the person
        log_defect(error)
        return pages.defect().as_event()
