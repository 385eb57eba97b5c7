"""POST /v1/accounts/{id}/token by the usual stack: read the account, have KMS open its token."""

import os

import boto3
import requests  # noqa: F401 - the usual stack is one package for all functions
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from pydantic import BaseModel

logger, tracer, metrics = Logger(), Tracer(), Metrics()
app = APIGatewayHttpResolver(enable_validation=True)
table = boto3.resource("dynamodb").Table(os.environ["PEER_ACCOUNTS"])
kms = boto3.client("kms")


class Wish(BaseModel):
    """What the backend asks for."""

    min_ttl_seconds: int = 300
    purpose: str | None = None
    rejected: bool = False


class Token(BaseModel):
    """What it gets."""

    access_token: str
    open_id: str
    expires_in: int


@app.post("/v1/accounts/<account_id>/token")
@tracer.capture_method(capture_response=False)
def vend(account_id: str, wish: Wish) -> Token:
    """Hand out the token."""
    item = table.get_item(Key={"pk": os.environ.get("PEER_ACCOUNT", account_id)})["Item"]
    opened = kms.decrypt(CiphertextBlob=item["access_token"].value, KeyId=os.environ["PEER_KEY"])
    logger.info("token vended", account=account_id, purpose=wish.purpose)
    return Token(
        access_token=opened["Plaintext"].decode(),
        open_id=item["open_id"],
        expires_in=int(item["expires_in"]),
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event: dict, context: object) -> dict:
    """Let the resolver find the route."""
    return app.resolve(event, context)
