"""Which metrics there are: ours by making the code count, AWS's by its documentation."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from unittest.mock import patch

from tests.fakes.clock import NOON
from tiktok_linking import metrics
from tiktok_linking.circuit import Circuit, Trouble
from tiktok_linking.ports import Outcome, RenewalReport, Saved
from tiktok_linking.reminding import Reminded
from tiktok_linking.runs import Planned

ROOT = Path(__file__).resolve().parents[2]

Metric = tuple[str, frozenset[tuple[str, str]]]
"""A name and its dimensions."""

_PLAN = Planned(
    sent=1,
    pages=1,
    oldest=NOON,
    stopped_at={},
    circuits={"default": Circuit("default", trouble=Trouble.UNAVAILABLE)},
    is_paused=False,
)
EVERY_WAY: Mapping[str, Callable[[], None]] = {
    "renewals": lambda: metrics.renewals(
        [RenewalReport(outcome, replaced_after=timedelta(hours=2)) for outcome in Outcome]
    ),
    "planned": lambda: metrics.planned(_PLAN, rescue_waiting=1, now=NOON),
    "reminded": lambda: metrics.reminded(
        Reminded(told=1, passed=1, unreadable=0, unfinished_shards=1)
    ),
    "rescued": lambda: metrics.rescued([Saved.STORED], failed=1),
    "denied": metrics.denied,
}
"""Each function of metrics.py, called so that it counts all that it can."""

AWS_METRICS = {
    # docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide, "Available CloudWatch
    # metrics"; /apigateway/latest/developerguide/http-api-metrics.html; /lambda/latest/dg,
    # "Types of metrics for Lambda functions"; /amazondynamodb/latest/developerguide,
    # "DynamoDB metrics and dimensions". Read 2026-11.
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): {"QueueName"},
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {"QueueName"},
    ("AWS/ApiGateway", "4xx"): {"ApiId"},
    ("AWS/ApiGateway", "5xx"): {"ApiId"},
    ("AWS/ApiGateway", "Count"): {"ApiId"},
    ("AWS/ApiGateway", "Latency"): {"ApiId"},
    ("AWS/Lambda", "Errors"): {"FunctionName"},
    ("AWS/Lambda", "Throttles"): {"FunctionName"},
    ("AWS/Lambda", "Duration"): {"FunctionName"},
    ("AWS/Lambda", "IteratorAge"): {"FunctionName"},
    ("AWS/DynamoDB", "ThrottledRequests"): {"TableName", "Operation"},
}
"""Metrics of AWS's own that we look at, with the dimensions by which it tells them apart."""


@cache
def counted() -> frozenset[Metric]:
    """Every metric that the functions emit, with the dimensions that it really gets."""
    found: set[Metric] = set()
    for function, names in _callers().items():
        for name in names:
            found |= _emitted(function, EVERY_WAY[name])
    return frozenset(found)


def _callers() -> dict[str, set[str]]:
    """The functions of metrics.py that each handler calls; a denial can happen in any of them."""
    callers = {
        path.parent.name: set(re.findall(r"\bmetrics\.(\w+)\(", path.read_text("utf-8")))
        for path in (ROOT / "functions").glob("*/app.py")
    }
    denials = ROOT / "layers/linking/tiktok_linking/adapters/denials.py"
    everywhere = set(re.findall(r"\bmetrics\.(\w+)\(", denials.read_text("utf-8")))
    return {function: names | everywhere for function, names in callers.items()}


def _emitted(function: str, count: Callable[[], None]) -> set[Metric]:
    named = {"POWERTOOLS_SERVICE_NAME": function, "POWERTOOLS_METRICS_NAMESPACE": "TikTokLink/x"}
    printed = io.StringIO()
    with patch.dict(os.environ, named), contextlib.redirect_stdout(printed):
        count()
    found: set[Metric] = set()
    for line in printed.getvalue().splitlines():
        record = json.loads(line)
        (definition,) = record["_aws"]["CloudWatchMetrics"]
        for dimensions in definition["Dimensions"]:
            values = frozenset((name, record[name]) for name in dimensions)
            found |= {(metric["Name"], values) for metric in definition["Metrics"]}
    return found
