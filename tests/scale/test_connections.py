"""Opening a TLS connection is the dear part of renewing: how many are opened, counted there.

The function runs in a process of its own against servers that speak TLS, as in the benchmark.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.renewal.setting import BATCH
from benchmarks.renewal.throughput import WARM, WAYS, Run, measure

RENEWALS = 60
THREADS = BATCH + 1
"""The workers of a batch, and the thread that reads the batch."""


@pytest.fixture(scope="module")
def run() -> Run:
    """Ten batches of the shipped pipeline, one after the other."""
    (made,) = measure(
        [way for way in WAYS if way.name == "whole"],
        rounds=1,
        accounts={"whole": RENEWALS},
        python=Path(sys.executable),
        latency_ms=20,
        aws_latency_ms=4,
        say=lambda _: None,
    )
    return made


def test_every_renewal_of_the_run_happened(run: Run) -> None:
    assert run.tiktok_calls == RENEWALS + WARM


@pytest.mark.parametrize("host", ["dynamodb", "tiktok", "kms", "secretsmanager"])
def test_a_host_gets_at_most_one_connection_a_thread(run: Run, host: str) -> None:
    assert 1 <= run.connections[host] <= THREADS


def test_the_authorities_are_parsed_at_most_once_a_connection(run: Run) -> None:
    assert run.measured.authorities_loaded <= sum(run.connections.values())


def test_keys_and_secrets_are_asked_for_once(run: Run) -> None:
    assert run.calls["kms.Decrypt"] + run.calls.get("kms.GenerateDataKey", 0) == 2
    assert run.calls["secretsmanager.GetSecretValue"] == 1
