"""`forecast`: how many accounts need their owners, week by week."""

from __future__ import annotations

import argparse

from tiktok_link_cli.showing import show, table
from tiktok_link_cli.stack import Stack


def forecast(stack: Stack, args: argparse.Namespace) -> int:
    told = stack.ask("GET", "/v1/forecast/relinks", weeks=str(args.weeks), tenant_id=args.tenant)
    rows = [("WEEK", "FROM", "ACCOUNTS")]
    rows += [
        (
            week["week"],
            week["starts_on"],
            f"{week['accounts']}{'' if week['is_exact'] else ' or more'}",
        )
        for week in told["weeks"]
    ]
    show(told, table(rows), as_json=args.json)
    return 0
