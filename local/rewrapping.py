"""Wraps a stack's data keys under another KMS key: `python -m local.rewrapping`.

For whoever changes the sealing key; docs/operations.md, "Changing the KMS key", has the steps
around it. Run it with your own rights on a deployed stack:

    python -m local.rewrapping --table TABLE --from OLD_KEY_ARN --to NEW_KEY_ARN --dry-run

KMS itself does the work (ReEncrypt): no data key leaves it in the clear, so whoever runs this needs
no right to decrypt. Each new wrapping is opened once more, by KMS, under its new key and context
before it takes the old one's place, and the place is taken only if nobody else took it meanwhile.
A run that was stopped is simply started again.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tiktok_linking.adapters.dynamodb import ConditionFailed, Item, Table, Update
from tiktok_linking.adapters.sealing import (
    KEY_PARTITION,
    PURPOSES,
    WRAPPED_BY,
    encryption_context,
)
from tiktok_linking.errors import StoreUnavailable

DONE, LEFT = 0, 1


def rewrap(table: Table, kms: Any, *, old: str, new: str, dry_run: bool) -> Iterator[str]:
    """Bring every data key under ``new``; says one line for each, and nothing of the key.

    Raises:
        ClientError, BotoCoreError, StoreUnavailable: start again once the cause is gone.
    """
    for purpose in PURPOSES:
        for row in table.query_all("pk = :pk", {":pk": KEY_PARTITION + purpose}):
            name = f"{purpose} {row['sk']}"
            context = encryption_context(purpose, int(row["sk"]))
            # A row from before rows named their key was wrapped by the only one there was.
            wrapped_by = row.get(WRAPPED_BY, old)
            if wrapped_by == new:
                _wrapped(kms, row["w"], new, new, context)
                yield f"{name}: is under the new key and opens"
            elif wrapped_by != old:
                yield f"{name}: LEFT, it is under neither key but {wrapped_by}"
            elif dry_run:
                _wrapped(kms, row["w"], old, new, context)
                yield f"{name}: would be wrapped anew"
            elif _replace(table, kms, row, context, old=old, new=new):
                yield f"{name}: wrapped anew and opens"
            else:
                yield f"{name}: LEFT, it changed meanwhile; run this again"


def _replace(
    table: Table, kms: Any, row: Item, context: dict[str, str], *, old: str, new: str
) -> bool:
    fresh = _wrapped(kms, row["w"], old, new, context)
    _wrapped(kms, fresh, new, new, context)  # the proof: KMS opens it, and this answer is dropped
    try:
        table.update(
            {"pk": row["pk"], "sk": row["sk"]},
            Update(sets={"w": fresh, WRAPPED_BY: new}),
            condition="w = :w",
            values={":w": row["w"]},
        )
    except ConditionFailed as failed:
        return bool(failed.old.get("w") == fresh)  # our own write, repeated by the SDK
    return True


def _wrapped(kms: Any, blob: bytes, old: str, new: str, context: dict[str, str]) -> bytes:
    """KMS opens a wrapping under ``old`` and wraps it under ``new``, in the same context."""
    answer = kms.re_encrypt(
        CiphertextBlob=blob,
        SourceKeyId=old,
        SourceEncryptionContext=context,
        DestinationKeyId=new,
        DestinationEncryptionContext=context,
    )
    return bytes(answer["CiphertextBlob"])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.rewrapping", description=__doc__)
    parser.add_argument("--table", required=True, help="the stack's output AccountsTableName")
    parser.add_argument("--from", required=True, dest="old", help="ARN of the key so far")
    parser.add_argument("--to", required=True, dest="new", help="ARN of the key from now on")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    given = parser.parse_args(arguments)
    if given.old == given.new:
        parser.error("--from and --to name the same key")
    # Imported here, since --help needs no AWS.
    import boto3

    session = boto3.session.Session()
    table = Table(session.client("dynamodb"), given.table, tries=5)
    kms = session.client("kms")
    found = left = 0
    try:
        for line in rewrap(table, kms, old=given.old, new=given.new, dry_run=given.dry_run):
            sys.stdout.write(line + "\n")
            found += 1
            left += "LEFT" in line
    except (ClientError, BotoCoreError, StoreUnavailable) as error:
        sys.stderr.write(f"stopped: {error}\nNothing is lost; run this again.\n")
        return LEFT
    if not found:
        sys.stderr.write("This table holds no data key. Is it the right one?\n")
        return LEFT
    if given.dry_run:
        sys.stdout.write("Nothing was changed.\n")
    elif not left:
        sys.stdout.write(f"All {found} data keys open under the new key.\n")
    return LEFT if left else DONE


if __name__ == "__main__":
    sys.exit(main())
