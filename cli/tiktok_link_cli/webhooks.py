"""`simulate-webhook`: an event as TikTok would send it, signed with the app's own secret."""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import time
from datetime import datetime

import requests

from tiktok_link_cli.accounts import account_path
from tiktok_link_cli.showing import Failed, Json, show
from tiktok_link_cli.stack import Stack

NOBODY = "tiktok-link-simulated-nobody"


def simulate(stack: Stack, args: argparse.Namespace) -> int:
    """Without an account it names a TikTok user that nobody linked: acknowledged and left."""
    registration, open_id = args.registration, NOBODY
    if args.account:
        account = stack.ask("GET", f"/v1/accounts/{account_path(args.account)}")
        registration, open_id = account["app_registration"], account["open_id"]
        if not args.yes:
            raise Failed(
                "an event for an account is taken for true: its tokens are deleted",
                "give --yes if that is what you want; without --account nothing changes",
            )
    if registration not in stack.registrations:
        raise Failed(
            f"there is no app registration {registration}",
            f"there are: {', '.join(stack.registrations)}",
        )
    now = _now(stack)
    body = json.dumps(
        {
            "client_key": stack.registrations[registration],
            "event": "authorization.removed",
            "create_time": now,
            "user_openid": open_id,
            "content": json.dumps({"reason": args.reason}),
        },
        separators=(",", ":"),
    ).encode()
    secret = secrets_of(stack).get(registration, {}).get("current", "")
    if not secret:
        raise Failed(
            f"the secret has no `current` for {registration}",
            "fill it: the output FillAppSecretCommand, or docs/operations.md, Client secrets",
        )
    digest = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "TikTok-Signature": f"t={now},s={digest}"}
    answer = post(stack, body, headers)
    is_taken = answer.status_code == 200
    result = {
        "registration": registration,
        "account": args.account,
        "reason": args.reason,
        "http_status": answer.status_code,
    }
    lines = [
        f"authorization.removed (reason {args.reason}) for "
        f"{args.account or 'a TikTok user that nobody linked'}: HTTP {answer.status_code}",
        "The stack took it for TikTok's."
        if is_taken
        else "The stack did not take it: the log of the webhook function says why"
        " (`webhook refused`). Functions know a new secret after five minutes.",
    ]
    show(result, lines, as_json=args.json)
    return 0 if is_taken else 1


def post(stack: Stack, body: bytes, headers: dict[str, str]) -> requests.Response:
    """Send to the address that TikTok is told, as TikTok would."""
    request = requests.Request("POST", stack.output("WebhookUrl"), data=body, headers=headers)
    return stack.send(request.prepare())


def secrets_of(stack: Stack) -> dict[str, Json]:
    """The client secrets by registration. To be looked at, never shown; empty if never filled."""
    client = stack.client("secretsmanager")
    try:
        text = client.get_secret_value(SecretId=stack.output("AppSecretArn"))["SecretString"]
    except client.exceptions.ResourceNotFoundException:
        return {}
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if not isinstance(told, dict) or not all(isinstance(one, dict) for one in told.values()):
        raise Failed(
            "the secret is not JSON of the form that the stack reads",
            "docs/operations.md, Client secrets, shows the form",
        )
    return told


def _now(stack: Stack) -> int:
    """The time; in the local world the time that its functions live in."""
    if not stack.is_local:
        return int(time.time())
    clock = requests.Request("GET", stack.endpoints["control"] + "/clock").prepare()
    return int(datetime.fromisoformat(stack.send(clock).json()["now"]).timestamp())
