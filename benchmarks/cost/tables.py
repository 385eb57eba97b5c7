"""The tables of `make cost`, from the files alone."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from benchmarks.cost import files
from benchmarks.cost.model import LINKING, Bill, Fixed, Life, Model, hosted
from benchmarks.renewal.setting import ROOT
from local.deploy import read_template
from tiktok_linking.ports import Outcome

SIZES = (1_000, 100_000, 1_000_000, 10_000_000)
LIVES = (Life(2, 180), Life(24, 365))
MODES = ("auto", "always", "on_demand")
SERVICES = (
    "API Gateway",
    "Lambda",
    "DynamoDB",
    "DynamoDB, stored",
    "SQS",
    "EventBridge",
    "KMS",
    "Secrets Manager",
    "CloudWatch",
)


def written() -> str:
    """Everything, as Markdown."""
    model = read_model()
    services = files.read("hosted")["service"]
    parts = [_operations(model)]
    parts += [_months(model, life, services) for life in LIVES]
    parts += [_bills(model), _counted(model)]
    return "\n\n".join(parts)


@functools.cache
def read_model() -> Model:
    """The model over the files beside this one and the template."""
    return Model(
        counts=files.read_counts(),
        rotations=files.read("rotations"),
        assumed=files.read("assumed"),
        prices=files.read("prices"),
        fixed=read_fixed(),
    )


def read_fixed() -> Fixed:
    """What the template and the list of metrics hold."""
    template = read_template(ROOT / "template.yaml")
    resources: dict[str, Any] = template["Resources"]

    def of(kind: str) -> list[Any]:
        return [r.get("Properties", {}) for r in resources.values() if r["Type"] == kind]

    source = ROOT / "layers" / "linking" / "tiktok_linking" / "metrics.py"
    names = set(re.findall(r'"(\w+)": \(\s*MetricUnit', source.read_text(encoding="utf-8")))
    queues = {name for name, r in resources.items() if r["Type"] == "AWS::SQS::Queue"}
    sources = [mapping["EventSourceArn"] for mapping in of("AWS::Lambda::EventSourceMapping")]
    return Fixed(
        memory_mb=template["Globals"]["Function"]["MemorySize"],
        keys=len(of("AWS::KMS::Key")),
        secrets=len(of("AWS::SecretsManager::Secret")),
        alarm_metrics=sum(
            sum("MetricStat" in metric for metric in alarm.get("Metrics", [])) or 1
            for alarm in of("AWS::CloudWatch::Alarm")
        ),
        dashboards=len(of("AWS::CloudWatch::Dashboard")),
        # One of them comes by outcome, each of which is a metric of its own.
        metrics=len(names) + len(Outcome) - 1,
        queues=sum(source["Fn::GetAtt"][0] in queues for source in sources),
        tables=len(of("AWS::DynamoDB::Table")),
    )


def _operations(model: Model) -> str:
    rows = [
        ("a token that is alive", model.per_million("vend")),
        (
            "the first of them in six hours, which is written down",
            model.per_million("first vend in six hours"),
        ),
        ("a renewal by the schedule", model.per_million("renewal by the schedule")),
        ("a token that has to be renewed first", model.per_million("vend that renews")),
        ("a link, start to end, with its events", model.per_million(*LINKING)),
    ]
    lines = ["| a million times | dollars |", "|---|---:|"]
    lines += [f"| {what} | {usd:.2f} |" for what, usd in rows]
    return "\n".join(lines)


def _months(model: Model, life: Life, services: Sequence[Any]) -> str:
    columns = [*(f"`{mode}`" for mode in MODES), "naive", *(s["name"] for s in services)]
    lines = [
        f"**Access tokens of {life.access_hours} hours, links of {life.refresh_days} days**,"
        " dollars a month:",
        "",
        f"| accounts | {' | '.join(columns)} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    for accounts in SIZES:
        bills = [model.month(accounts, life, mode) for mode in MODES]
        cells: list[float | None] = [b.total() for b in [*bills, model.naive(accounts, life)]]
        cells += [hosted(service, accounts) for service in services]
        shown = ("-" if cell is None else f"{cell:,.0f}" for cell in cells)
        lines.append(f"| {accounts:,} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _bills(model: Model) -> str:
    """Where the money goes: a million accounts with tokens of two hours, and nobody at all."""
    life, accounts = LIVES[0], 1_000_000
    bills: list[tuple[str, Bill]] = [
        ("nobody", model.month(0, life, "auto")),
        *((f"`{mode}`", model.month(accounts, life, mode)) for mode in MODES),
        ("naive", model.naive(accounts, life)),
    ]
    lines = [
        f"Where it goes, for {accounts:,} accounts and tokens of {life.access_hours} hours:",
        "",
        f"| | {' | '.join(name for name, _ in bills)} |",
        f"|---|{'---:|' * len(bills)}",
    ]
    for service in SERVICES:
        cells = (f"{bill[service]:,.2f}" for _, bill in bills)
        lines.append(f"| {service} | {' | '.join(cells)} |")
    totals = (f"{bill.total():,.2f}" for _, bill in bills)
    lines.append(f"| together | {' | '.join(totals)} |")
    return "\n".join(lines)


def _counted(model: Model) -> str:
    names = (
        "dynamodb",
        "read_units",
        "write_units",
        "index_write_units",
        "sqs",
        "events",
        "tiktok",
    )
    titles = (
        "DynamoDB calls",
        "read units",
        "write units",
        "of indexes",
        "SQS",
        "events",
        "TikTok",
    )
    lines = [
        "Counted, warm, for one (KMS and Secrets Manager: none):",
        "",
        f"| operation | {' | '.join(titles)} | Lambda ms |",
        f"|---|{'---:|' * (len(titles) + 1)}",
    ]
    for name, operation in model.counts.operations.items():
        cells = [f"{getattr(operation, key):g}" for key in names]
        cells.append(f"{1000 * model.seconds(name):.0f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
