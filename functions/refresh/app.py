"""The one door to refresh tokens: plan (schedule), work (queue), renew (invoked for one grant)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from tiktok_linking import bootstrap, renewal
from tiktok_linking.observability import logger

log = logger()

PLAN_STOPS_BEFORE = timedelta(seconds=5)


def plan(context: Any) -> dict[str, Any]:
    """Send what is due to the queue."""
    until = bootstrap.deadline_of(context) - PLAN_STOPS_BEFORE
    planned = renewal.plan(
        bootstrap.accounts(), bootstrap.renewal_queue(), now=bootstrap.now, until=until
    )
    log.info("renewals planned", extra={"planned": planned})
    return {"planned": planned}


def work(records: list[dict[str, Any]], context: Any) -> dict[str, Any]:
    """Renew a batch; what failed is delivered again, and only that."""
    grants: dict[str, list[str]] = {}
    failed: list[str] = []
    for record in records:
        try:
            grants.setdefault(str(json.loads(record["body"])["grant"]), []).append(
                record["messageId"]
            )
        except (ValueError, KeyError, TypeError):
            failed.append(record["messageId"])
    worked = renewal.work(
        bootstrap.renewal(), list(grants), deadline=bootstrap.deadline_of(context)
    )
    log.info("renewals done", extra={"outcomes": sorted(worked.outcomes.values())})
    failed += [message for grant in worked.failed for message in grants[grant]]
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
    return {"outcome": report.outcome.value, "retry_after": report.retry_after}


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Tell the three apart by their shape; an empty event is the schedule's."""
    log.set_correlation_id(context.aws_request_id)
    if "Records" in event:
        return work(event["Records"], context)
    if event.get("job") == "renew":
        return renew(event, context)
    return plan(context)
