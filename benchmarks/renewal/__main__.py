"""`make bench-renewal`: what renewing costs, in CPU, in connections and in calls.

docs/benchmarks.md says what is measured, how, and what the figures do not show.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.renewal.counting import Counted, as_row, count
from benchmarks.renewal.setting import BATCH, ROOT, Setting
from benchmarks.renewal.throughput import WAYS, Run, measure

BASELINE = "naive"
TARGETS = {"whole": 4.0, "post-seal-save": 8.0}
SHARE = {"naive": 0.4, "authlib": 0.4}
"""Ways that take long per account get fewer of them."""

_began = time.monotonic()


def say(text: str) -> None:
    """A line of progress, apart from the results."""
    sys.stderr.write(f"[{time.monotonic() - _began:4.0f} s] {text}\n")
    sys.stderr.flush()


def main() -> None:
    arguments = _arguments()
    write = sys.stdout.write
    if arguments.rounds:
        runs = measure(
            WAYS,
            rounds=arguments.rounds,
            accounts={way.name: int(arguments.accounts * SHARE.get(way.name, 1)) for way in WAYS},
            python=arguments.python,
            latency_ms=arguments.latency_ms,
            aws_latency_ms=arguments.aws_latency_ms,
            say=say,
        )
        write(f"{machine()}\n\n{_throughput(runs)}\n\n{_connections(runs)}\n\n")
    if arguments.due:
        setting = Setting.read()
        counts = []
        for due, others in _sizes(arguments.due, arguments.others):
            say(f"counting {due} due among {others} others")
            # What the product logs is no result.
            with contextlib.redirect_stdout(io.StringIO()):
                counts.append(
                    count(
                        setting, due=due, others=others, say=say, cores=min(2, os.cpu_count() or 1)
                    )
                )
        write(f"{_counts(counts)}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.renewal", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way (0: none)")
    parser.add_argument("--accounts", type=int, default=200, help="renewals of ours in a turn")
    parser.add_argument("--latency-ms", type=int, default=100, help="TikTok's time to answer")
    parser.add_argument("--aws-latency-ms", type=int, default=4, help="AWS's time to answer")
    parser.add_argument(
        "--due",
        type=lambda text: [int(part) for part in text.split(",") if part],
        default=[1_000, 10_000, 100_000],
        help="numbers of due accounts to count for (empty: none)",
    )
    parser.add_argument(
        "--others", type=int, default=100_000, help="accounts beside them that are not due"
    )
    parser.add_argument(
        "--python",
        type=Path,
        default=ROOT / ".venv-bench" / "bin" / "python",
        help="the interpreter of the measured processes; needs Authlib",
    )
    return parser.parse_args()


def _sizes(due: Sequence[int], others: int) -> list[tuple[int, int]]:
    """Each number among as many others; the smallest among few as well."""
    return [(due[0], due[0]), *((number, others) for number in due)]


def _throughput(runs: Sequence[Run]) -> str:
    """Medians over the rounds; ratios are made round by round, since machines drift."""
    speeds = {
        way.name: [
            run.measured.renewed / run.measured.cpu_seconds for run in runs if run.way == way.name
        ]
        for way in WAYS
    }
    lines = [
        "| way | per second of CPU | min-max | CPU each | times the naive | min-max | wall each |",
        "|---|---|---|---|---|---|---|",
    ]
    for way in WAYS:
        own = speeds[way.name]
        ratios = [mine / naive for mine, naive in zip(own, speeds[BASELINE], strict=True)]
        walls = [
            run.measured.wall_seconds / run.measured.renewed for run in runs if run.way == way.name
        ]
        median = statistics.median(own)
        cells = (
            way.title,
            f"{median:.0f}",
            f"{min(own):.0f}-{max(own):.0f}",
            f"{1000 / median:.1f} ms",
            f"{statistics.median(ratios):.1f}",
            f"{min(ratios):.1f}-{max(ratios):.1f}",
            f"{1000 * statistics.median(walls):.0f} ms",
        )
        lines.append(f"| {' | '.join(cells)} |")
    for name, target in TARGETS.items():
        ratios = [mine / naive for mine, naive in zip(speeds[name], speeds[BASELINE], strict=True)]
        reached = statistics.median(ratios)
        verdict = "reached" if reached >= target else "MISSED"
        lines.append(f"\n{name}: {target:.0f} times wanted, {reached:.1f} found: {verdict}")
    return "\n".join(lines)


def _connections(runs: Sequence[Run]) -> str:
    """The most of any round: connections by host, and lists of authorities parsed."""
    hosts = sorted({host for run in runs for host in run.connections})
    lines = [
        f"| way | renewals | {' | '.join(hosts)} | CA lists parsed | at most |",
        f"|---|---|{'---|' * len(hosts)}---|---|",
    ]
    for way in WAYS:
        own = [run for run in runs if run.way == way.name]
        opened = [max(run.connections.get(host, 0) for run in own) for host in hosts]
        loaded = max(run.measured.authorities_loaded for run in own)
        # Beside the workers of a batch there is the thread that reads the batch.
        most = f"{BATCH + 1} a host" if way.ours else ""
        lines.append(
            f"| {way.title} | {max(run.tiktok_calls for run in own)} "
            f"| {' | '.join(map(str, opened))} | {loaded} | {most} |"
        )
        if way.ours and max(opened) > BATCH + 1:
            host = hosts[opened.index(max(opened))]
            lines.append(f"\n{way.name}: more connections to {host} than threads: MISSED\n")
    return "\n".join(lines)


def _counts(counts: Sequence[Counted]) -> str:
    rows = [as_row(counted) for counted in counts]
    lines = [
        f"| due | {' | '.join(f'{counted.due:,}' for counted in counts)} |",
        f"|---|{'---|' * len(counts)}",
        f"| others | {' | '.join(f'{counted.others:,}' for counted in counts)} |",
    ]
    for name in rows[0]:
        lines.append(f"| {name} | {' | '.join(f'{row[name]:,.0f}' for row in rows)} |")
    for name in ("read units", "write units", "index write units"):
        each = (row[name] / counted.due for row, counted in zip(rows, counts, strict=True))
        lines.append(f"| {name}, for each due | {' | '.join(f'{one:.3f}' for one in each)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
