"""EventBridge: the stack's own bus, on which the team listens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tiktok_linking.adapters.asking import ask
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.events import SOURCE, Event

MOST_ENTRIES = 10
"""What one PutEvents takes.
https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html (2026-11-22)"""


class EventBridgeBus:
    """Implements the port EventBus."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def send(self, events: Sequence[Event]) -> None:
        """See ports.EventBus."""
        for start in range(0, len(events), MOST_ENTRIES):
            self._send(events[start : start + MOST_ENTRIES])

    def _send(self, events: Sequence[Event]) -> None:
        entries = [
            {
                "EventBusName": self._name,
                "Source": SOURCE,
                "DetailType": event.type.value,
                "Detail": json.dumps(dict(event.detail)),
                "Time": event.occurred_at,
            }
            for event in events
        ]
        answer = ask("events", self._client.put_events, Entries=entries)
        if answer.get("FailedEntryCount"):
            codes = {e["ErrorCode"] for e in answer["Entries"] if "ErrorCode" in e}
            raise StoreUnavailable("events " + ", ".join(sorted(codes)))
