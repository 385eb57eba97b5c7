"""Brings back what the accounts table lost, out of a restored copy: `python -m local.restoring`.

Point-in-time recovery restores into a table of its own. This copies from there what the stack's
table has not got; docs/operations.md, "Restoring the accounts table", has the steps around it:

    python -m local.restoring --from RESTORED_TABLE --to TABLE --dry-run

What the stack's table has stays as it is: it is newer. A pair that comes back may have been renewed
since, and then its refresh token is dead. So every active grant comes back *in doubt*: due at once,
and no access token of it is handed out before TikTok has taken its refresh token once. A refusal
flags it `rotation_lost`, since it was not its owner who ended it.

A run that was stopped is simply started again.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tiktok_linking.accounts import RelinkReason, Status
from tiktok_linking.adapters.dynamodb import ConditionFailed, Item, Table, decode
from tiktok_linking.adapters.records import due_shard
from tiktok_linking.adapters.sealing import KEY_PARTITION, WRAPPED_BY
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.schedule import slot_of

DONE, FAILED = 0, 1
# What belonged to a renewal of that time, and the event that was told then.
_PASSED = ("lo", "lu", "it", "rc", "ff", "fc", "fe", "fl", "bo", "ev")


class OtherDataKeys(Exception):
    """The stack's table has data keys of its own, with which what is restored does not open."""


def restore(
    client: Any, restored: str, table: Table, *, now: datetime, dry_run: bool
) -> Counter[str]:
    """Copy what is missing; counts what was done, by kind of row.

    Raises:
        OtherDataKeys: nothing was copied.
        ClientError, BotoCoreError, StoreUnavailable: start again once the cause is gone.
    """
    done: Counter[str] = Counter()
    rows = list(_rows(client, restored, "begins_with(pk, :keys)"))
    for row in rows:
        there = table.get({"pk": row["pk"], "sk": row["sk"]})
        is_rewrapped = there is not None and there.get(WRAPPED_BY) != row.get(WRAPPED_BY)
        if there is not None and there["w"] != row["w"] and not is_rewrapped:
            raise OtherDataKeys(f"{row['pk']} {row['sk']}")
    for row in rows:
        done[_put(table, row, "data key", dry_run)] += 1
    for row in _rows(client, restored, "NOT begins_with(pk, :keys)"):
        if row["sk"] == "grant":
            done[_put(table, _in_doubt(row, now), "grant", dry_run)] += 1
        elif row["sk"].startswith("acct#"):
            done[_put(table, _without(row, "ev"), "account", dry_run)] += 1
    return done


def _rows(client: Any, name: str, condition: str) -> Iterator[Item]:
    pages = client.get_paginator("scan").paginate(
        TableName=name,
        ConsistentRead=True,
        FilterExpression=condition,
        ExpressionAttributeValues={":keys": {"S": KEY_PARTITION}},
    )
    for page in pages:
        yield from (decode(item) for item in page["Items"])


def _in_doubt(grant: Item, now: datetime) -> Item:
    """A grant as it may come back: TikTok is asked before anybody relies on it."""
    kept = _without(grant, *_PASSED)
    if grant.get("st") == Status.ACTIVE.value and "fp" in grant:
        kept |= {
            "rs": grant.get("rs", RelinkReason.ROTATION_LOST.value),
            "ds": due_shard(grant["pk"]),
            "da": slot_of(now),
        }
    return kept


def _without(item: Item, *names: str) -> Item:
    return {name: value for name, value in item.items() if name not in names}


def _put(table: Table, row: Item, kind: str, dry_run: bool) -> str:
    """Put a row that is not there; a row that is there is newer."""
    if dry_run:
        is_there = table.get({"pk": row["pk"], "sk": row["sk"]}) is not None
        return f"{kind}s already there" if is_there else f"{kind}s that would be copied"
    try:
        table.put_new(row)
    except ConditionFailed:
        return f"{kind}s already there"
    return f"{kind}s copied"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.restoring", description=__doc__)
    parser.add_argument("--from", required=True, dest="restored", help="the restored table's name")
    parser.add_argument("--to", required=True, dest="table", help="output AccountsTableName")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    given = parser.parse_args(arguments)
    if given.restored == given.table:
        parser.error("--from and --to name the same table")
    # Imported here, since --help needs no AWS.
    import boto3

    client = boto3.session.Session().client("dynamodb")
    try:
        done = restore(
            client,
            given.restored,
            Table(client, given.table, tries=5),
            now=datetime.now(UTC),
            dry_run=given.dry_run,
        )
    except OtherDataKeys as error:
        sys.stderr.write(
            f"stopped: the stack's table has a data key of its own ({error}).\n"
            "What it sealed and what is restored cannot live in one table; nothing was copied.\n"
        )
        return FAILED
    except (ClientError, BotoCoreError, StoreUnavailable) as error:
        sys.stderr.write(f"stopped: {error}\nWhat was copied stays; run this again.\n")
        return FAILED
    for what, count in sorted(done.items()):
        sys.stdout.write(f"{count} {what}\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
