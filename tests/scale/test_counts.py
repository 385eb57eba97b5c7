"""A round of renewals asks for what is due, however many accounts lie beside it.

The figures for a hundred thousand are in docs/benchmarks.md; these are the same counts, small.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from benchmarks.renewal.counting import Counted, as_row, count
from benchmarks.renewal.setting import BATCH, Setting
from tiktok_linking.accounts import Ending
from tiktok_linking.schedule import DUE_SHARDS

PAGE = 100
Round = Callable[[int, int], Counted]


@pytest.fixture(scope="session")
def round_of(setting: Setting) -> Round:
    """One round by number due and number of others; the same round is run once."""
    return cache(lambda due, others: count(setting, due=due, others=others, say=lambda _: None))


@pytest.mark.parametrize("due", [200, 400])
def test_nothing_depends_on_how_many_accounts_there_are(round_of: Round, due: int) -> None:
    assert as_row(round_of(due, 200)) == as_row(round_of(due, 2000))


@pytest.mark.parametrize("due", [200, 400])
def test_each_due_grant_costs_two_writes_and_one_request_to_tiktok(
    round_of: Round, due: int
) -> None:
    counted = round_of(due, 2000)
    made = counted.working.calls

    assert made["dynamodb.UpdateItem"] == 2 * due
    assert counted.tiktok_calls == due
    assert made["dynamodb.BatchGetItem"] == counted.batches == due // BATCH
    assert counted.working.write_units == 2 * due  # an item stays within a unit of 1 KB
    assert counted.working.index_write_units == 2 * due  # the due slot moves once


@pytest.mark.parametrize("due", [200, 400])
def test_reading_what_is_due_is_shared(round_of: Round, due: int) -> None:
    counted = round_of(due, 2000)
    planning, working = counted.planning, counted.working

    # Each shard ends with a page that is not full, in each plan; so do the unfinished unlinks.
    assert planning.pages <= due / PAGE + counted.plans * (DUE_SHARDS + len(Ending))
    assert planning.calls["sqs.SendMessageBatch"] <= due / BATCH + planning.pages
    assert planning.items_read == due
    assert planning.write_units == 0
    # The keys are read by a process, once.
    assert working.items_read <= due + 2
    assert working.calls["kms.Decrypt"] + working.calls["kms.GenerateDataKey"] <= 2
    assert working.calls["secretsmanager.GetSecretValue"] == 1


def test_twice_as_many_cost_twice_as_much(round_of: Round) -> None:
    one, two = as_row(round_of(200, 2000)), as_row(round_of(400, 2000))
    # What a plan asks of each shard and a process of the keys, whatever is due.
    fixed = {"plans", "KMS", "Secrets Manager"}
    constants = 2 * (DUE_SHARDS + len(Ending)) + 3

    for name in one.keys() - fixed:
        assert abs(two[name] - 2 * one[name]) <= constants, name
    assert {name: one[name] for name in fixed} == {name: two[name] for name in fixed}


def test_a_round_asks_nothing_but_these(round_of: Round) -> None:
    counted = round_of(200, 2000)

    assert set(counted.planning.calls) == {
        "dynamodb.BatchGetItem",  # the planner's place and the circuits
        "dynamodb.Query",
        "sqs.GetQueueAttributes",
        "sqs.SendMessageBatch",
    }
    assert set(counted.working.calls) <= {
        "dynamodb.BatchGetItem",
        "dynamodb.GetItem",
        "dynamodb.UpdateItem",
        "kms.Decrypt",
        "secretsmanager.GetSecretValue",
    }


def test_two_processes_count_what_one_counts(setting: Setting, round_of: Round) -> None:
    shared = count(setting, due=200, others=200, cores=2, say=lambda _: None)

    assert as_row(shared) == as_row(round_of(200, 200))
