"""`redrive`: send dead letters back to the queue that they came from."""

from __future__ import annotations

import argparse
from typing import Any

from tiktok_link_cli.showing import Progress, show
from tiktok_link_cli.stack import Stack

QUEUES = {
    "renewal": ("RenewalDeadLetterQueue", "RenewalQueue"),
    "rescue": ("RescueDeadLetterQueue", "RescueQueue"),
    "revocation": ("RevocationDeadLetterQueue", "RevocationQueue"),
}
_HELD_SECONDS = 60


def redrive(stack: Stack, args: argparse.Namespace) -> int:
    """Sent first, deleted after: whatever breaks, no letter is in neither queue.

    One may then be in both, and come back twice: a grant that was renewed is not due, a pair that
    has landed lands again without harm, and an unlink that has ended is left alone.
    """
    dead, alive = (stack.queue_url(name) for name in QUEUES[args.queue])
    sqs = stack.client("sqs")
    waiting = _waiting(sqs, dead)
    moved = 0
    if not args.dry_run:
        progress = Progress("sent back", waiting)
        while letters := _received(sqs, dead):
            for letter in letters:
                sqs.send_message(QueueUrl=alive, MessageBody=letter["Body"])
                sqs.delete_message(QueueUrl=dead, ReceiptHandle=letter["ReceiptHandle"])
                moved += 1
            progress.at(moved)
    show(
        {"queue": args.queue, "waiting": waiting, "moved": moved, "dry_run": args.dry_run},
        [
            f"{waiting} dead letters would go back to the {args.queue} queue; nothing was done"
            if args.dry_run
            else f"{moved} dead letters went back to the {args.queue} queue"
        ],
        as_json=args.json,
    )
    return 0


def _received(sqs: Any, url: str) -> list[dict[str, Any]]:
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        VisibilityTimeout=_HELD_SECONDS,
        WaitTimeSeconds=1,  # asks all of SQS's servers, so that empty means empty
    )
    letters: list[dict[str, Any]] = answer.get("Messages", [])
    return letters


def _waiting(sqs: Any, url: str) -> int:
    """How many there are, about: SQS counts no more exactly than that."""
    name = "ApproximateNumberOfMessages"
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
    return int(answer["Attributes"][name])
