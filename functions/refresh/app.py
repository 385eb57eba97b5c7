"""The one door to refresh tokens: plan (schedule), work (queue), renew (invoked for one grant)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from tiktok_linking import bootstrap, metrics, renewal, runs
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.observability import logger

log = logger()

PLAN_STOPS_BEFORE = timedelta(seconds=5)


def plan(context: Any) -> dict[str, Any]:
    """Send what is due to the queue."""
    planned = runs.plan(
        bootstrap.schedule(),
        bootstrap.renewal_queue(),
        bootstrap.registrations(),
        now=bootstrap.now,
        until=bootstrap.deadline_of(context) - PLAN_STOPS_BEFORE,
    )
    log.info(
        "renewals planned",
        extra={
            "planned": planned.sent,
            "pages": planned.pages,
            "unfinished_shards": len(planned.stopped_at),
            "paused": planned.is_paused,
        },
    )
    _plan_endings(context)
    metrics.planned(planned, rescue_waiting=_rescue_waiting(), now=bootstrap.now())
    return {"planned": planned.sent}


def _plan_endings(context: Any) -> None:
    """Send unlinks that may not be finished to the function that can finish them."""
    try:
        sent = runs.plan_endings(
            bootstrap.schedule(),
            bootstrap.revocation_queue(),
            now=bootstrap.now,
            until=bootstrap.deadline_of(context) - PLAN_STOPS_BEFORE,
        )
    except StoreUnavailable as error:  # the next plan finds them again; renewals come first
        log.warning("ends not planned", extra={"why": str(error)})
    else:
        log.info("ends planned", extra={"planned": sent})


def _rescue_waiting() -> int | None:
    try:
        return bootstrap.rescue_queue().waiting()
    except StoreUnavailable:
        return None  # a number for a chart is worth no failed plan


def work(records: list[dict[str, Any]], context: Any) -> dict[str, Any]:
    """Renew a batch; what failed is delivered again, and only that."""
    messages: dict[str, list[str]] = {}
    deliveries: dict[str, int] = {}
    failed: list[str] = []
    for record in records:
        try:
            grant = str(json.loads(record["body"])["grant"])
            count = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))
        except (ValueError, KeyError, TypeError):
            failed.append(record["messageId"])
            continue
        messages.setdefault(grant, []).append(record["messageId"])
        deliveries[grant] = max(count, deliveries.get(grant, 1))
    worked = runs.work(
        bootstrap.renewal(),
        list(messages),
        deadline=bootstrap.deadline_of(context),
        deliveries=deliveries,
    )
    log.info("renewals done", extra={"outcomes": sorted(worked.outcomes.values())})
    metrics.renewals(list(worked.reports.values()), quarantined=len(worked.quarantined))
    failed += [message for grant in worked.failed for message in messages[grant]]
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}


def renew(job: dict[str, Any], context: Any) -> dict[str, Any]:
    """Renew one grant for another function and tell the outcome, never a token."""
    ask = renewal.Ask(
        min_ttl=timedelta(seconds=int(job.get("min_ttl_seconds", 0))),
        rejected=bool(job.get("rejected", False)),
        for_revocation=bool(job.get("for_revocation", False)),
    )
    report = bootstrap.renewal().renew(
        str(job["grant"]), ask, deadline=bootstrap.deadline_of(context)
    )
    log.info("renewal", extra={"outcome": report.outcome.value})
    metrics.renewals([report])
    return {"outcome": report.outcome.value, "retry_after": report.retry_after}


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Tell the three apart by their shape; an empty event is the schedule's."""
    log.set_correlation_id(context.aws_request_id)
    if "Records" in event:
        return work(event["Records"], context)
    if event.get("job") == "renew":
        return renew(event, context)
    return plan(context)
