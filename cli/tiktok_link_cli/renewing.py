"""`refresh`: renew one account's link now, by the operator's right to invoke the one door."""

from __future__ import annotations

import argparse
import json

from tiktok_link_cli.accounts import account_path
from tiktok_link_cli.showing import Failed, show
from tiktok_link_cli.stack import Stack
from tiktok_linking.accounts import grant_id

_MEANS = {
    "renewed": "TikTok gave a new pair, and it is stored.",
    "fresh": "Nothing to do: the token lives long enough, or was renewed a moment ago.",
    "refresh_in_progress": "Another worker is renewing it: ask again later.",
    "refresh_outcome_unknown": "TikTok's answer was lost and is being recovered: ask again later.",
    "refresh_backoff": "The last try failed a moment ago: ask again later.",
    "provider_unavailable": "TikTok does not answer: the account is not to blame.",
    "client_credentials_invalid": "TikTok refuses key or secret: run tiktok-link doctor.",
    "relink_required": "Only the owner can help: POST /v1/accounts/{id}/relink.",
    "ended": "The link is unlinked or revoked: there is nothing to renew.",
}


def refresh(stack: Stack, args: argparse.Namespace) -> int:
    account = stack.ask("GET", f"/v1/accounts/{account_path(args.account)}")
    job = {
        "job": "renew",
        "grant": grant_id(account["app_registration"], account["open_id"]),
        "min_ttl_seconds": args.min_ttl,
        "rejected": args.force,
    }
    if args.dry_run:
        show(
            {"account": account["id"], "dry_run": True},
            [f"would ask for a renewal of {account['id']}; nothing was done"],
            as_json=args.json,
        )
        return 0
    answer = stack.client("lambda").invoke(
        FunctionName=stack.output("RefreshFunctionName"), Payload=json.dumps(job).encode()
    )
    told = json.loads(answer["Payload"].read())
    if answer.get("FunctionError") or "outcome" not in told:
        raise Failed("the refresh function broke", "look for `unexpected error` in its log")
    outcome, wait = told["outcome"], told["retry_after"]
    lines = [f"{account['id']}: {outcome}", _MEANS.get(outcome, "")]
    lines += [f"Try again in {wait} s."] if wait else []
    result = {"account": account["id"], "outcome": outcome, "retry_after": wait}
    show(result, lines, as_json=args.json)
    return 0 if outcome in ("renewed", "fresh") else 1
