"""Refreshes per second of CPU: the shipped pipeline beside what others write, in one run.

Ways take turns, each in a fresh process, so that a busy machine slows all of them alike. Servers
run in a process of their own, and only the CPU time of the process that renews is counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.renewal.aws import Aws, Schema
from benchmarks.renewal.in_process import product
from benchmarks.renewal.measured import NAIVE_KEY, NAIVE_TABLE, Measured
from benchmarks.renewal.people import move_in, people
from benchmarks.renewal.servers import TIKTOK, Endpoints, serving
from benchmarks.renewal.setting import BATCH, ROOT, Setting
from benchmarks.renewal.tiktok import TokenEndpoint, first_pair

WARM = 4 * BATCH
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to renew: its name for `measured`, and whose accounts it renews."""

    name: str
    title: str
    ours: bool


WAYS = (
    Way("naive", "requests.post and KMS per account", ours=False),
    Way("authlib", "Authlib, a session per account: POST alone", ours=False),
    Way("post-seal-save", "ours: POST, seal and save alone", ours=True),
    Way("whole", "ours: the whole pipeline as shipped", ours=True),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One way in one round, with what the servers saw of it."""

    way: str
    measured: Measured
    connections: Mapping[str, int]
    calls: Mapping[str, int]
    tiktok_calls: int


def measure(
    ways: Sequence[Way],
    *,
    rounds: int,
    accounts: Mapping[str, int],
    python: Path,
    latency_ms: int,
    aws_latency_ms: int,
    say: Say,
) -> list[Run]:
    """Run each way `rounds` times, `accounts[way]` renewals each."""
    setting = Setting.read()
    aws = Aws(
        {
            setting.accounts_table: Schema.of(setting.table),
            NAIVE_TABLE: Schema(("pk",), {}),
        },
        setting.secrets,
    )
    aws.weighs = False
    tiktok = TokenEndpoint()
    turns = [(number, way) for number in range(rounds) for way in ways]
    say(f"making {sum(accounts[way.name] + WARM for _, way in turns)} accounts")
    whose = _accounts(setting, aws, tiktok, turns, accounts)
    runs = []
    with (
        tempfile.TemporaryDirectory() as name,
        serving(
            aws,
            tiktok,
            Path(name),
            tiktok_seconds=latency_ms / 1000,
            aws_seconds=aws_latency_ms / 1000,
        ) as endpoints,
    ):
        for number, way in turns:
            run = _run(way, whose[number, way.name], setting, endpoints, python, Path(name))
            runs.append(run)
            took = run.measured
            say(
                f"round {number + 1} of {rounds}, {way.title}: "
                f"{took.renewed / took.cpu_seconds:.0f} per second of CPU, "
                f"{took.wall_seconds:.1f} s"
            )
    return runs


def _accounts(
    setting: Setting,
    aws: Aws,
    tiktok: TokenEndpoint,
    turns: Sequence[tuple[int, Way]],
    accounts: Mapping[str, int],
) -> dict[tuple[int, str], list[str]]:
    """Due accounts for each turn, by the id under which its way knows them."""
    now = datetime.now(UTC)
    whose: dict[tuple[int, str], list[str]] = {}
    with product(aws, tiktok, setting.variables, lambda: now):
        for seed, (number, way) in enumerate(turns):
            ids = whose.setdefault((number, way.name), [])
            for person in people(accounts[way.name] + WARM, seed=seed, due=True, now=now):
                ids.append(person.grant_id if way.ours else person.open_id)
                if way.ours:
                    move_in(person)
                elif way.name == "naive":
                    _put_naive(aws, person.open_id, person.issued_at)
    return whose


def _put_naive(aws: Aws, open_id: str, issued_at: datetime) -> None:
    pair = first_pair(open_id, issued_at)
    item: dict[str, Any] = {"pk": {"S": open_id}, "end_user_id": {"S": "u_42"}}
    for name, token in (("access_token", pair.access_token), ("refresh_token", pair.refresh_token)):
        plain = token.reveal() if token else ""
        sealed = aws.call("kms.Encrypt", {"KeyId": NAIVE_KEY, "Plaintext": plain.encode()})
        item[name] = {"B": sealed["CiphertextBlob"]}
    aws.call("dynamodb.PutItem", {"TableName": NAIVE_TABLE, "Item": item})


def _run(
    way: Way, ids: list[str], setting: Setting, endpoints: Endpoints, python: Path, folder: Path
) -> Run:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        source, target = Path(own) / "in.json", Path(own) / "out.json"
        source.write_text(
            json.dumps(
                {
                    "warm": ids[:WARM],
                    "ids": ids[WARM:],
                    "threads": BATCH,
                    "authorities": str(endpoints.authorities),
                }
            )
        )
        endpoints.seen()
        subprocess.run(
            [python, "-m", "benchmarks.renewal.measured", way.name, source, target],
            cwd=ROOT,
            env=_environment(setting, endpoints, own),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        measured = Measured(**json.loads(target.read_text()))
    seen = endpoints.seen()
    answered = seen["tiktok"]["answered"]
    if answered != len(ids) or seen["tiktok"]["refused"]:
        raise AssertionError(f"{way.name}: {len(ids)} accounts, TikTok saw {seen['tiktok']}")
    return Run(way.name, measured, seen["connections"], seen["aws"]["calls"], answered)


def _environment(setting: Setting, endpoints: Endpoints, folder: str) -> dict[str, str]:
    """A function's variables, and where its AWS and TikTok are."""
    places = {
        f"AWS_ENDPOINT_URL_{name.upper().replace('SECRETSMANAGER', 'SECRETS_MANAGER')}": url
        for name, url in endpoints.urls.items()
        if name != TIKTOK
    }
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": folder,  # nobody's ~/.aws
        "TMPDIR": folder,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "layers" / "linking"))),
        "AWS_EC2_METADATA_DISABLED": "true",
        **setting.variables,
        **places,
        "TIKTOK_API_BASE_URL": endpoints.urls[TIKTOK],
    }
