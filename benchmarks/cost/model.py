"""Dollars a month, from counted calls, list prices and a mix of uses: all of it is given."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.cost.operations import Counts, Operation

DAYS = 30
HOURS = 24 * DAYS
WHOLE_CORE_MB = 1769
PLANS = HOURS * 12
"""The schedule fires each five minutes."""
MOST_MARKS_A_DAY = 4
"""A hand-out writes down the last use at most once in six hours."""
LINKING = (
    "begin a session",
    "connect page",
    "authorize",
    "callback",
    "publish a link",
    "read a session",
)
KEEPS_KEYS = ("callback", "tokens", "refresh")
READS_SECRET = ("callback", "refresh")


class Bill(defaultdict[str, float]):
    """Dollars by service."""

    def __init__(self, given: Mapping[str, float] | None = None) -> None:
        super().__init__(float, given or {})

    def total(self) -> float:
        """All of it."""
        return sum(self.values())


@dataclass(frozen=True, slots=True)
class Fixed:
    """What the template makes whether anybody is linked or not."""

    memory_mb: int
    keys: int
    secrets: int
    alarm_metrics: int
    dashboards: int
    metrics: int
    queues: int
    tables: int


@dataclass(frozen=True, slots=True)
class Life:
    """How long TikTok's tokens live."""

    access_hours: int
    refresh_days: int

    @property
    def name(self) -> str:
        """As the file of rotations calls it."""
        return f"{self.access_hours} h"


@dataclass(frozen=True, slots=True)
class Model:
    """The files, read."""

    counts: Counts
    rotations: Mapping[str, Any]
    assumed: Mapping[str, Any]
    prices: Mapping[str, Any]
    fixed: Fixed

    def month(self, accounts: int, life: Life, mode: str) -> Bill:
        """What the stack costs with so many accounts."""
        times = self.times(accounts, life, mode)
        bill = Bill()
        busy: defaultdict[str, float] = defaultdict(float)
        for name, count in times.items():
            self._charge(bill, name, count)
            busy[self.counts.operations[name].function] += count * self.seconds(name)
        requests = sum(self.counts.operations[name].http * n for name, n in times.items())
        bill["API Gateway"] += self._http(requests)
        self._charge_processes(bill, busy)
        self._charge_at_rest(bill)
        gigabytes = accounts * self.counts.account_bytes / 1e9
        bill["DynamoDB, stored"] += gigabytes * self._usd("dynamodb_gb_month")
        bill["DynamoDB, stored"] += gigabytes * self._usd("dynamodb_backup_gb_month")
        return bill

    def times(self, accounts: int, life: Life, mode: str) -> dict[str, float]:
        """How often each operation happens in a month."""
        times = defaultdict(float, dict.fromkeys(LINKING, accounts * DAYS / life.refresh_days))
        for use, share in self.assumed["mix"].items():
            days = accounts * share * DAYS
            rate = self.rate(life, mode, use)
            marks = min(MOST_MARKS_A_DAY, rate["vends"])
            times["renewal by the schedule"] += days * rate["scheduled"]
            times["vend that renews"] += days * rate["asked"]
            times["first vend in six hours"] += days * marks
            times["vend"] += days * max(0.0, rate["vends"] - rate["asked"] - marks)
        times["plan of nothing"] = PLANS
        times["remind nobody"] = DAYS
        return dict(times)

    def rate(self, life: Life, mode: str, use: str) -> Mapping[str, float]:
        """Renewals and hand-outs a day. `always` renews alike, whatever the use."""
        rotations = self.rotations[life.name]
        if use in rotations[mode]:
            found: Mapping[str, float] = rotations[mode][use]
            return found
        alike: Mapping[str, float] = rotations[mode]["never"]
        return {**alike, "vends": rotations["auto"][use]["vends"]}

    def per_million(self, *names: str) -> float:
        """What a million of these operations cost by their calls, Lambda's time and logs."""
        bill = Bill()
        requests = 0.0
        for name in names:
            self._charge(bill, name, 1e6)
            requests += self.counts.operations[name].http * 1e6
        return bill.total() + self._http(requests)

    def seconds(self, name: str) -> float:
        """Lambda's time for one operation: its CPU by the function's share, and its waiting."""
        operation = self.counts.operations[name]
        waiting = self.assumed["waiting"]
        share = min(1.0, self.fixed.memory_mb / WHOLE_CORE_MB)
        cpu = self.assumed["cpu_ms"][name] / share
        if name == "renewal by the schedule":
            waits = (
                waiting["batch_aws_waits"] * waiting["aws_ms"]
                + waiting["batch_tiktok_waits"] * waiting["tiktok_ms"]
            )
            return float(cpu + waits / waiting["batch"]) / 1000
        calls = operation.dynamodb + operation.sqs + math.ceil(operation.events / 10)
        took = float(cpu + calls * waiting["aws_ms"] + operation.tiktok * waiting["tiktok_ms"])
        # Who has another function renew waits for it: both are paid.
        return took * (2 if name == "vend that renews" else 1) / 1000

    def naive(self, accounts: int, life: Life) -> Bill:
        """What is written first, as assumed.toml describes it."""
        naive, waiting, logs = (self.assumed[key] for key in ("naive", "waiting", "logs"))
        runs = HOURS / life.access_hours * naive["scans_per_access_life"]
        # As often as `always`, which waits as long as is safe.
        renewals = accounts * DAYS * self.rate(life, "always", "never")["scheduled"]
        vends = accounts * sum(
            share * DAYS * self.rate(life, "auto", use)["vends"]
            for use, share in self.assumed["mix"].items()
        )
        share = naive["memory_mb"] / WHOLE_CORE_MB
        a_call = waiting["aws_ms"]
        renewing = naive["cpu_ms"] / share + naive["aws_waits"] * a_call + waiting["tiktok_ms"]
        vending = self.assumed["cpu_ms"]["vend"] / share + 2 * a_call
        seconds = (renewals * renewing + vends * vending) / 1000
        scanned = runs * accounts * naive["item_bytes"] / 4096 / 2
        reads = scanned + renewals * naive["reads"] + vends
        gigabytes = accounts * naive["item_bytes"] / 1e9
        logged = (renewals + vends) * logs["platform_bytes"] + vends * logs["access_bytes"]
        return Bill(
            {
                "API Gateway": self._http(vends),
                "Lambda": (renewals + vends) * self._usd("lambda_request")
                + seconds * naive["memory_mb"] / 1024 * self._usd("lambda_gb_second"),
                "DynamoDB": reads * self._usd("dynamodb_read_unit")
                + renewals * naive["writes"] * self._usd("dynamodb_write_unit"),
                "DynamoDB, stored": gigabytes * self._usd("dynamodb_gb_month"),
                "KMS": self._usd("kms_key_month")
                + (renewals * naive["kms_calls"] + vends * naive["vend_kms_calls"])
                * self._usd("kms_request"),
                "Secrets Manager": self._usd("secret_month")
                + renewals * naive["secret_reads"] * self._usd("secret_request"),
                "CloudWatch": self._logs(logged),
            }
        )

    # -- charging -------------------------------------------------------------------------------

    def _charge(self, bill: Bill, name: str, times: float) -> None:
        """What AWS charges by the call, but for the API's requests, whose price has steps."""
        operation = self.counts.operations[name]
        gigabytes = self.fixed.memory_mb / 1024
        bill["Lambda"] += times * operation.invocations * self._usd("lambda_request")
        bill["Lambda"] += times * self.seconds(name) * gigabytes * self._usd("lambda_gb_second")
        writes = operation.write_units + operation.index_write_units
        bill["DynamoDB"] += times * writes * self._usd("dynamodb_write_unit")
        bill["DynamoDB"] += times * operation.read_units * self._usd("dynamodb_read_unit")
        bill["SQS"] += times * operation.sqs * self._usd("sqs_request")
        bill["EventBridge"] += times * operation.events * self._usd("event")
        bill["KMS"] += times * operation.kms * self._usd("kms_request")
        bill["Secrets Manager"] += times * operation.secretsmanager * self._usd("secret_request")
        bill["CloudWatch"] += self._logs(times * self._log_bytes(operation))

    def _log_bytes(self, operation: Operation) -> float:
        logs = self.assumed["logs"]
        return float(
            operation.log_bytes
            + operation.invocations * logs["platform_bytes"]
            + operation.http * logs["access_bytes"]
        )

    def _charge_processes(self, bill: Bill, busy: Mapping[str, float]) -> None:
        """What processes ask for themselves, however much they do."""
        each = self.assumed["processes"]
        for function, seconds in busy.items():
            alive = math.ceil(seconds / (HOURS * 3600) * each["spare"])
            if function in KEEPS_KEYS:
                bill["KMS"] += alive * HOURS * each["key_reads_an_hour"] * self._usd("kms_request")
            if function in READS_SECRET:
                reads = alive * HOURS * each["secret_reads_an_hour"]
                bill["Secrets Manager"] += reads * self._usd("secret_request")
            table_keys = HOURS * each["table_key_reads_an_hour"]
            bill["KMS"] += table_keys * self._usd("kms_request")

    def _charge_at_rest(self, bill: Bill) -> None:
        fixed = self.fixed
        bill["KMS"] += fixed.keys * self._usd("kms_key_month")
        bill["Secrets Manager"] += fixed.secrets * self._usd("secret_month")
        polls = fixed.queues * HOURS * self.assumed["processes"]["polls_an_hour"]
        bill["SQS"] += polls * self._usd("sqs_request")
        bill["CloudWatch"] += (
            fixed.alarm_metrics * self._usd("alarm_month")
            + fixed.metrics * self._usd("metric_month")
            + fixed.dashboards * self._usd("dashboard_month")
        )

    def _logs(self, count: float) -> float:
        """Taken in, and kept for a month."""
        return count / 1e9 * (self._usd("log_gb") + self._usd("log_gb_month"))

    def _http(self, requests: float) -> float:
        price = self.prices["http_request"]
        step = price["above"]
        beyond = max(0.0, requests - step["requests"])
        return float((requests - beyond) * price["usd"] + beyond * step["usd"])

    def _usd(self, name: str) -> float:
        return float(self.prices[name]["usd"])


def hosted(service: Mapping[str, Any], accounts: int) -> float | None:
    """A service's list price for so many accounts a month, None where it lists none."""
    if accounts > service.get("listed_up_to", accounts):
        return None
    flat = service["flat"]
    total, counted = float(flat["usd"]), int(flat["accounts"])
    for step in service.get("steps", []):
        these = max(0, min(accounts, step["up_to"]) - counted)
        total += these * step["each"]
        counted += these
    return float(total + max(0, accounts - counted) * service["each"])
