"""GET /authorize by the usual stack: look the session up, start an attempt, go to TikTok."""

import os
import secrets
from typing import Annotated
from urllib.parse import urlencode

import boto3
import requests  # noqa: F401 - the usual stack is one package for all functions
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.shared.cookies import Cookie
from pydantic import BaseModel

logger, tracer, metrics = Logger(), Tracer(), Metrics()
app = APIGatewayHttpResolver(enable_validation=True)
table = boto3.resource("dynamodb").Table(os.environ["PEER_SESSIONS"])


class Session(BaseModel):
    """A link session as it is stored."""

    pk: str
    end_user_id: str
    status: str


@app.get("/authorize")
@tracer.capture_method
def authorize(session: Annotated[str, Query(min_length=3, max_length=64)]) -> Response[str]:
    """Send the browser to TikTok with a state that is bound to it."""
    found = Session.model_validate(table.get_item(Key={"pk": session})["Item"])
    state, bound = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    table.update_item(
        Key={"pk": found.pk},
        UpdateExpression="SET oauth_state = :state, bound_to = :bound, started = :started",
        ExpressionAttributeValues={":state": state, ":bound": bound, ":started": "started"},
    )
    query = urlencode(
        {
            "client_key": os.environ["CLIENT_KEY"],
            "response_type": "code",
            "scope": "user.info.basic",
            "redirect_uri": "https://link.example.com/callback",
            "state": f"{found.pk}.{state}",
        }
    )
    return Response(
        status_code=302,
        body="",
        content_type="text/plain",
        headers={"Location": f"https://www.tiktok.com/v2/auth/authorize/?{query}"},
        cookies=[Cookie("attempt", bound, secure=True, http_only=True)],
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event: dict, context: object) -> dict:
    """Let the resolver find the route."""
    return app.resolve(event, context)
