"""Calls, pages, items and units of one round of renewals, by number due and number in all."""

from __future__ import annotations

import gc
import json
import multiprocessing
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.renewal.aws import Aws, Schema, Tally
from benchmarks.renewal.in_process import product
from benchmarks.renewal.invoking import Context, handler, queue_event
from benchmarks.renewal.people import move_in, people
from benchmarks.renewal.setting import BATCH, Setting
from benchmarks.renewal.tiktok import TokenEndpoint

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Counted:
    """One round: every due grant planned, delivered and renewed, until a plan finds none."""

    due: int
    others: int
    plans: int
    batches: int
    tiktok_calls: int
    planning: Tally
    working: Tally


def count(
    setting: Setting, *, due: int, others: int, say: Say, cores: int = 1, seed: int = 7
) -> Counted:
    """Fill a table and run the schedule until nothing is due."""
    aws = stand_in(setting)
    tiktok = TokenEndpoint()
    with product(aws, tiktok, setting.variables, lambda: NOON):
        settle(aws, setting.accounts_table, due=due, others=others, seed=seed, say=say)
    # What is there stays: looking through it for garbage would take half of the time.
    gc.freeze()
    try:
        # Another process, which has to load the keys.
        with product(aws, tiktok, setting.variables, lambda: NOON):
            return run(
                aws,
                tiktok,
                setting.accounts_table,
                due=due,
                others=others,
                cores=cores,
                say=say,
            )
    finally:
        gc.unfreeze()


def stand_in(setting: Setting) -> Aws:
    """AWS with the template's accounts table, empty."""
    return Aws({setting.accounts_table: Schema.of(setting.table)}, setting.secrets)


def settle(aws: Aws, table: str, *, due: int, others: int, seed: int, say: Say) -> None:
    """Fill the table: those who are due, and those who are not.

    Of the others the product writes some, and the rest are copies of these under other keys.
    """
    aws.weighs = False
    written = min(others, 200)
    for person in people(written, seed=seed + 1, due=False, now=NOON):
        move_in(person)
    luck = random.Random(seed + 2)  # noqa: S311 - made-up keys need no secrecy
    aws.copy_partitions(table, others - written, lambda: f"{luck.getrandbits(92):024x}")
    say(f"{others} accounts that are not due are there")
    for number, person in enumerate(people(due, seed=seed, due=True, now=NOON), 1):
        move_in(person)
        if number % 20_000 == 0:
            say(f"{number} of {due} that are due are there")
    aws.weighs = True


def run(
    aws: Aws, tiktok: TokenEndpoint, table: str, *, due: int, others: int, cores: int, say: Say
) -> Counted:
    """Plan and work through the function's own handler, as schedule and queue call it."""
    refresh = handler()
    planning, working = Tally(), Tally()
    plans = batches = 0
    while True:
        aws.tally = planning
        plans += 1
        planned = refresh({}, Context())["planned"]
        aws.tally = working
        waiting = [json.loads(body)["grant"] for body in aws.sent]
        aws.sent.clear()
        if not planned:
            break
        delivered = [waiting[start : start + BATCH] for start in range(0, len(waiting), BATCH)]
        # The first one loads keys and secret, which a second process then has too.
        _work(delivered[:1])
        if cores == 1:
            _work(delivered[1:])
        else:
            _work_by_two(aws, tiktok, table, delivered[1:])
        batches += len(delivered)
        say(f"{tiktok.answered} of {due} renewed")
    return Counted(due, others, plans, batches, tiktok.answered, planning, working)


def _work(delivered: Sequence[list[str]]) -> None:
    refresh = handler()
    for batch in delivered:
        answer = refresh(queue_event(batch), Context())
        if answer["batchItemFailures"]:
            raise AssertionError(f"renewals failed: {answer}")


def _work_by_two(
    aws: Aws, tiktok: TokenEndpoint, table: str, delivered: Sequence[list[str]]
) -> None:
    """Share batches with a second process, and take over what it counted and wrote."""
    here, there = multiprocessing.Pipe()

    def other_half() -> None:
        aws.tally = Tally()
        before = tiktok.answered
        _work(delivered[1::2])
        keys = [(grant_id, "grant") for batch in delivered[1::2] for grant_id in batch]
        written = [aws.tables[table].get(key) for key in keys]
        there.send((aws.tally, tiktok.answered - before, written))

    # Forked, since the table goes along.
    process = multiprocessing.get_context("fork").Process(target=other_half)
    process.start()
    there.close()
    _work(delivered[0::2])
    tally, answered, written = here.recv()
    process.join()
    aws.tally.add(tally)
    tiktok.answered += answered
    for item in written:
        into = aws.tables[table]
        into.put(into.get(into.key_of(item)), item)


def as_row(counted: Counted) -> Mapping[str, float]:
    """The figures that are to grow with what is due and with nothing else."""
    planning, working = counted.planning, counted.working
    return {
        "plans": counted.plans,
        "Query pages": planning.pages,
        "index entries read": planning.items_read,
        "SendMessageBatch": planning.calls["sqs.SendMessageBatch"],
        "BatchGetItem": working.calls["dynamodb.BatchGetItem"],
        "UpdateItem": working.calls["dynamodb.UpdateItem"],
        "items read": working.items_read,
        "TikTok": counted.tiktok_calls,
        "KMS": working.calls["kms.Decrypt"] + working.calls["kms.GenerateDataKey"],
        "Secrets Manager": working.calls["secretsmanager.GetSecretValue"],
        "read units": planning.read_units + working.read_units,
        "write units": planning.write_units + working.write_units,
        "index write units": planning.index_write_units + working.index_write_units,
    }
