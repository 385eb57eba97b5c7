"""`forecast`: how many accounts need their owners, week by week."""

from __future__ import annotations

import argparse

from tiktok_link_cli.showing import Failed, show, table
from tiktok_link_cli.stack import Stack, refusal


def forecast(stack: Stack, args: argparse.Namespace) -> int:
    answer = stack.call("GET", "/v1/forecast/relinks", weeks=str(args.weeks), tenant_id=args.tenant)
    if answer.status_code == 404:
        raise Failed("the stack knows no forecast", "deploy the template of this version")
    if not answer.ok:
        raise refusal(answer)
    told = answer.json()
    rows = [("WEEK", "FROM", "ACCOUNTS")]
    rows += [
        (
            week["week"],
            week.get("starts_on", "-"),
            f"{week['accounts']}{'' if week.get('is_exact', True) else ' or more'}",
        )
        for week in told["weeks"]
    ]
    show(told, table(rows), as_json=args.json)
    return 0
