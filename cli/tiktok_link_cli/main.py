"""Arguments, and what is said when something goes wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from botocore.exceptions import BotoCoreError, ClientError

from tiktok_link_cli import accounts, doctor, forecast, queues, renewing, revoking, webhooks
from tiktok_link_cli.showing import Failed
from tiktok_link_cli.stack import Stack, open_stack

Command = Callable[[Stack, argparse.Namespace], int]

_EPILOG = """\
exit codes: 0 well; 1 a fault was found, or something is not done; 2 the command could not run

examples:
  tiktok-link doctor --local
  tiktok-link accounts list --stack tiktok-linking --relink-within-days 14
  tiktok-link redrive rescue --stack tiktok-linking --dry-run
"""


def _examples(*lines: str) -> str:
    return "examples:\n" + "".join(f"  tiktok-link {line}\n" for line in lines)


def parser() -> argparse.ArgumentParser:
    """The whole command line: every command with its options, help and examples."""
    whole = argparse.ArgumentParser(
        prog="tiktok-link",
        description="Looks after a stack of TikTok account linking.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = argparse.ArgumentParser(add_help=False)
    group = where.add_argument_group("where")
    group.add_argument(
        "--stack",
        metavar="NAME",
        default=os.environ.get("TIKTOK_LINK_STACK"),
        help="the CloudFormation stack (or the variable TIKTOK_LINK_STACK)",
    )
    group.add_argument("--local", action="store_true", help="the local world of `make run`")
    group.add_argument("--region", help="the stack's AWS region, if not your default")
    group.add_argument("--profile", help="the profile of your AWS configuration to use")
    group.add_argument("--json", action="store_true", help="answer one JSON document")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        to: argparse._SubParsersAction[argparse.ArgumentParser],
        name: str,
        run: Command,
        text: str,
        *examples: str,
    ) -> argparse.ArgumentParser:
        made = to.add_parser(
            name,
            parents=[where],
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_examples(*examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        return made

    command(
        commands,
        "doctor",
        doctor.doctor,
        "look for what is set up wrong, and say the cure",
        "doctor --stack tiktok-linking",
        "doctor --local --json",
    )

    listing = commands.add_parser("accounts", help="list accounts, or show one")
    of_accounts = listing.add_subparsers(title="commands", metavar="COMMAND", required=True)
    made = command(
        of_accounts,
        "list",
        accounts.list_accounts,
        "list linked accounts, soonest relink first",
        "accounts list --local",
        "accounts list --stack tiktok-linking --status relink_required --json",
    )
    made.add_argument("--end-user", metavar="ID", help="of one end user")
    made.add_argument("--tenant", metavar="ID", help="of one tenant; else those without one")
    made.add_argument(
        "--status",
        choices=("active", "relink_required", "revoked", "unlinked"),
        help="in one state",
    )
    made.add_argument(
        "--relink-within-days", metavar="N", type=int, help="whose owner must act by then"
    )
    made.add_argument("--limit", metavar="N", type=int, default=0, help="at most so many")
    made = command(
        of_accounts,
        "show",
        accounts.show_account,
        "show how one account is doing",
        "accounts show acct_... --stack tiktok-linking",
    )
    made.add_argument("account", metavar="ACCOUNT", help="the account's id, acct_...")

    made = command(
        commands,
        "forecast",
        forecast.forecast,
        "count the accounts that need their owners, week by week",
        "forecast --stack tiktok-linking --weeks 12",
    )
    made.add_argument("--weeks", metavar="N", type=int, default=12, help="so many weeks (12)")
    made.add_argument("--tenant", metavar="ID", help="of one tenant; else those without one")

    made = command(
        commands,
        "refresh",
        renewing.refresh,
        "renew one account's link now; needs the right to invoke the refresh function",
        "refresh acct_... --stack tiktok-linking",
    )
    made.add_argument("account", metavar="ACCOUNT", help="the account's id, acct_...")
    made.add_argument(
        "--min-ttl",
        metavar="SECONDS",
        type=int,
        default=3600,
        help="renew unless the token lives so long (3600)",
    )
    made.add_argument("--force", action="store_true", help="renew a token that still lives, too")
    made.add_argument("--dry-run", action="store_true", help="do nothing")

    made = command(
        commands,
        "redrive",
        queues.redrive,
        "send dead letters back to their queue; safe to repeat",
        "redrive rescue --stack tiktok-linking --dry-run",
        "redrive renewal --stack tiktok-linking",
    )
    made.add_argument("queue", choices=tuple(queues.QUEUES), help="whose dead letters")
    made.add_argument("--dry-run", action="store_true", help="count them and do nothing")

    made = command(
        commands,
        "revoke-all",
        revoking.revoke_all,
        "unlink and revoke every account, with a proof of each; goes on where it stopped",
        "revoke-all --stack tiktok-linking --dry-run",
        "revoke-all --stack tiktok-linking --state proof.jsonl",
    )
    made.add_argument(
        "--tenant",
        metavar="ID",
        action="append",
        default=[],
        help="of this tenant too; those of CallerTenants and accounts without one always are",
    )
    made.add_argument("--state", metavar="FILE", help="the proofs (revoke-all.STACK.jsonl)")
    made.add_argument("--yes", action="store_true", help="do not ask for the stack's name")
    made.add_argument("--dry-run", action="store_true", help="list them and do nothing")

    made = command(
        commands,
        "simulate-webhook",
        webhooks.simulate,
        "send authorization.removed as TikTok would, signed with the app's secret",
        "simulate-webhook --stack tiktok-linking",
        "simulate-webhook --local --account acct_... --reason 1 --yes",
    )
    made.add_argument("--account", metavar="ACCOUNT", help="an account to end; else nobody's")
    made.add_argument("--registration", metavar="NAME", default="default", help="whose secret")
    made.add_argument(
        "--reason", type=int, choices=range(6), default=1, help="TikTok's number (1: the person)"
    )
    made.add_argument("--yes", action="store_true", help="end the account that is named")
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit code."""
    args = parser().parse_args(arguments)
    try:
        stack = open_stack(args.stack, local=args.local, region=args.region, profile=args.profile)
        code: int = args.run(stack, args)
        return code
    except Failed as failed:
        return _said(failed.cause, failed.cure)
    except ClientError as error:
        code_of = error.response["Error"]["Code"]
        return _said(
            f"AWS answers {code_of} to {error.operation_name}",
            "ask for the right to do this; docs/cli.md lists the rights of each command"
            if "AccessDenied" in code_of
            else "look at your credentials, and try again",
        )
    except BotoCoreError as error:
        return _said(f"AWS cannot be asked: {error}", "log in, and look at region and profile")
    except KeyboardInterrupt:
        return _said("stopped", "run the same command again; what was done stays done")


def _said(cause: str, cure: str) -> int:
    print(f"tiktok-link: {cause}\n  -> {cure}", file=sys.stderr)
    return 2
