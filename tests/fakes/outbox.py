"""Where events go in tests, and the schemas that each of them must fit."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from tests.fakes.happenings import Happenings
from tiktok_linking.events import Event

SCHEMAS = Path(__file__).resolve().parents[2] / "events" / "schemas"


@functools.cache
def _schema(type: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{type}.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema, format_checker=FormatChecker())


def check(type: str, detail: Mapping[str, Any]) -> None:
    """Fail unless an event's detail is what its schema says."""
    _schema(type).validate(json.loads(json.dumps(dict(detail))))


class MemoryBus:
    """Implements the port EventBus; refuses what no schema allows."""

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self.sent: list[Event] = []

    def send(self, events: Sequence[Event]) -> None:
        """See ports.EventBus."""
        with self._happenings.call("bus.send"):
            for event in events:
                check(event.type.value, event.detail)
                self.sent.append(event)

    @property
    def types(self) -> list[str]:
        """What was sent, in order."""
        return [event.type.value for event in self.sent]
