"""POST /webhooks/tiktok, GET /{file}: what TikTok itself sends and fetches."""

from __future__ import annotations

import json
from typing import Any

from tiktok_linking import bootstrap
from tiktok_linking.errors import InvalidRequest, NotFound
from tiktok_linking.observability import logger
from tiktok_linking.removing import NotFromTikTok
from tiktok_linking.web.api import HEADERS, answer, guarded
from tiktok_linking.web.http import MOST_BODY_BYTES, Request, Response

log = logger()


def receive(request: Request) -> Response:
    """Take an event. Anything but 200 makes TikTok send it again, for up to three days."""
    if len(request.body) > MOST_BODY_BYTES:
        raise InvalidRequest("the body is larger than 64 KB")
    try:
        bootstrap.removing().receive(request.headers.get("tiktok-signature", ""), request.body)
    except NotFromTikTok as error:
        # To the sender all refusals look alike.
        log.warning("webhook refused", extra={"event": error.refusal.value})
        return Response(401, json.dumps({"message": "Unauthorized"}), HEADERS)
    return answer({})


def file(request: Request) -> Response:
    """Show one of the files by which TikTok knows that the domain is the team's."""
    content = bootstrap.settings().verification_files.get(request.path_parameters.get("file", ""))
    if content is None:
        raise NotFound
    return Response(200, content, HEADERS | {"Content-Type": "text/plain; charset=utf-8"})


ROUTES = {"POST /webhooks/tiktok": receive, "GET /{file}": file}


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Look the route up. Public routes: who sends is shown by the signature alone."""
    log.set_correlation_id(context.aws_request_id)

    def routed() -> Response:
        request = Request.from_event(event)
        route = ROUTES.get(request.route)
        if route is None:
            raise NotFound
        return route(request)

    return guarded(routed, context.aws_request_id).as_event()
