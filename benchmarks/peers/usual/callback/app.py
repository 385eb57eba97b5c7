"""GET /callback by the usual stack: check the state, trade the code, ask who it is, seal, store."""

import os
from typing import Annotated

import boto3
import requests
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.utilities import parameters
from pydantic import BaseModel

logger, tracer, metrics = Logger(), Tracer(), Metrics()
app = APIGatewayHttpResolver(enable_validation=True)
database = boto3.resource("dynamodb")
sessions = database.Table(os.environ["PEER_SESSIONS"])
accounts = database.Table(os.environ["PEER_ACCOUNTS"])
kms = boto3.client("kms")


class Tokens(BaseModel):
    """TikTok's answer."""

    access_token: str
    refresh_token: str
    open_id: str
    expires_in: int
    refresh_expires_in: int
    scope: str


@app.get("/callback")
@tracer.capture_method(capture_response=False)
def callback(code: Annotated[str, Query()], state: Annotated[str, Query()]) -> Response[str]:
    """Link the account and send the browser back."""
    key, _, secret = state.partition(".")
    session = sessions.get_item(Key={"pk": key})["Item"]
    if session["oauth_state"] != secret:
        return Response(status_code=400, body="state", content_type="text/plain")
    api = os.environ["TIKTOK_API_BASE_URL"]
    answer = requests.post(
        f"{api}/v2/oauth/token/",
        data={
            "client_key": os.environ["CLIENT_KEY"],
            "client_secret": parameters.get_secret(os.environ["PEER_SECRET"], transform="json")[
                "default"
            ]["current"],
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": "https://link.example.com/callback",
        },
        timeout=10,
    )
    tokens = Tokens.model_validate(answer.json())
    profile = requests.get(
        f"{api}/v2/user/info/?fields=open_id,union_id,avatar_url,display_name",
        headers={"Authorization": f"Bearer {tokens.access_token}"},
        timeout=10,
    ).json()["data"]["user"]
    sealed = {
        name: kms.encrypt(KeyId=os.environ["PEER_KEY"], Plaintext=getattr(tokens, name).encode())[
            "CiphertextBlob"
        ]
        for name in ("access_token", "refresh_token")
    }
    accounts.put_item(
        Item={
            "pk": tokens.open_id,
            "end_user_id": session["end_user_id"],
            "open_id": tokens.open_id,
            "expires_in": tokens.expires_in,
            "display_name": profile["display_name"],
            "avatar_url": profile["avatar_url"],
            **sealed,
        }
    )
    sessions.update_item(
        Key={"pk": key},
        UpdateExpression="SET started = :done, account = :account",
        ExpressionAttributeValues={":done": "completed", ":account": tokens.open_id},
    )
    return Response(
        status_code=303,
        body="",
        content_type="text/plain",
        headers={"Location": "https://app.example.com/settings"},
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event: dict, context: object) -> dict:
    """Let the resolver find the route."""
    return app.resolve(event, context)
