"""`accounts list` and `accounts show`: how linked accounts are doing."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from urllib.parse import quote

from tiktok_link_cli.showing import Json, plain, show, table
from tiktok_link_cli.stack import Stack

PAGE = "100"


def every(stack: Stack, *, tenant: str | None, **query: str | None) -> Iterator[Json]:
    """All accounts that a question finds, page by page; those of one tenant, or of none."""
    cursor: str | None = None
    while True:
        page = stack.ask(
            "GET", "/v1/accounts", tenant_id=tenant, limit=PAGE, cursor=cursor, **query
        )
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def list_accounts(stack: Stack, args: argparse.Namespace) -> int:
    within = None if args.relink_within_days is None else str(args.relink_within_days)
    found = []
    for account in every(
        stack,
        tenant=args.tenant,
        end_user_id=args.end_user,
        status=args.status,
        relink_within_days=within,
    ):
        found.append(account)
        if args.limit and len(found) >= args.limit:
            break
    rows = [("ACCOUNT", "END USER", "STATUS", "ACTS", "RELINK IN", "REFRESHED")]
    rows += [
        (
            account["id"],
            account["end_user_id"],
            account["status"],
            account["action_by"],
            _days(account["days_until_relink"]),
            account["refresh"]["last_success_at"] or "-",
        )
        for account in found
    ]
    show({"accounts": found}, [*table(rows), f"{len(found)} accounts"], as_json=args.json)
    return 0


def show_account(stack: Stack, args: argparse.Namespace) -> int:
    account = stack.ask("GET", f"/v1/accounts/{account_path(args.account)}")
    refresh, error = account["refresh"], account["refresh"]["last_error"]
    lines = {
        "account": account["id"],
        "end user": account["end_user_id"],
        "tenant": account["tenant_id"],
        "app registration": account["app_registration"],
        "status": f"{account['status']} ({account.get('reason') or 'no reason needed'})",
        "who must act": account["action_by"],
        "scopes": ", ".join(account["scopes"]["granted"]),
        "scopes missing": ", ".join(account["scopes"]["missing"]) or None,
        "access token until": account["access_token_expires_at"],
        "relink by": f"{account['relink_by']} ({_days(account['days_until_relink'])})",
        "last refresh": refresh["last_success_at"],
        "next refresh": refresh["next_at"],
        "failing since": refresh["failing_since"],
        "last error": error and " ".join(f"{k}={v}" for k, v in error.items()),
        "rotations": refresh["rotations"],
    }
    width = max(map(len, lines))
    show(account, [f"{k.ljust(width)}  {plain(v)}" for k, v in lines.items()], as_json=args.json)
    return 0


def account_path(account_id: str) -> str:
    """An id as a piece of a path: whatever somebody typed stays one piece."""
    return quote(account_id, safe="")


def _days(number: int | None) -> str:
    return "-" if number is None else f"{number} days"
