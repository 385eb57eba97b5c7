"""Webhooks: the events that TikTok tells an app, their signature, and their delivery.

Delivery is at least once: an answer other than 200 is tried again with growing pauses for up to
72 hours, then dropped [delivery]. Pauses are counted on the shared clock, so retries happen when
somebody asks for them with `/_control/webhooks/deliver`.
"""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import requests

from local.tiktok.portal import App
from local.tiktok.settings import Settings

AUTHORIZATION_REMOVED: Final = "authorization.removed"

# Why an authorization ended [events].
REASONS: Final[dict[int, str]] = {
    0: "unknown",
    1: "the user disconnected the app",
    2: "the user's account was deleted",
    3: "the user's age changed",
    4: "the user's account was banned",
    5: "the developer revoked the authorization",
}

_GIVES_UP_AFTER = timedelta(hours=72)
_FIRST_PAUSE = timedelta(minutes=1)
_SECONDS_TO_ANSWER = 10


def sign(client_secret: str, timestamp: int, body: bytes) -> str:
    """The value of `TikTok-Signature` for a body: its time and an HMAC over both [signature]."""
    signed = str(timestamp).encode() + b"." + body
    digest = hmac.new(client_secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={timestamp},s={digest}"


def removal(reason: int) -> str:
    """The content of an `authorization.removed` event, with the odd spacing of [events].

    It makes the body differ from its own re-serialisation, so a receiver that signs a parsed and
    dumped body instead of the raw bytes is found out.
    """
    return f'{{"reason": {reason} }}'


def body_of(
    client_key: str, event: str, created_at: datetime, open_id: str | None, content: str
) -> bytes:
    """The JSON of an event; `content` is itself JSON in a string, to be parsed twice [events]."""
    told: dict[str, object] = {
        "client_key": client_key,
        "event": event,
        "create_time": int(created_at.timestamp()),
    }
    if open_id is not None:
        told["user_openid"] = open_id
    told["content"] = content
    return json.dumps(told, separators=(",", ":")).encode()


@dataclass(slots=True)
class _Event:
    number: int
    client_key: str
    name: str
    body: bytes
    created_at: datetime
    due_at: datetime
    # Waits for an explicit delivery even when due: how the order gets mixed up.
    is_held: bool
    first_timestamp: int | None = None
    statuses: list[int | None] = field(default_factory=list)
    is_delivered: bool = False
    is_dropped: bool = False
    is_being_sent: bool = False

    @property
    def is_waiting(self) -> bool:
        return not self.is_delivered and not self.is_dropped


class Outbox:
    """Events on their way to the apps' webhook addresses."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        settings: Callable[[], Settings],
        app: Callable[[str], App | None],
    ) -> None:
        self._now = now
        self._settings = settings
        self._app = app
        self._lock = threading.Lock()
        self._events: list[_Event] = []

    def add(
        self,
        app: App,
        event: str,
        content: str,
        *,
        open_id: str | None,
        created_at: datetime | None = None,
    ) -> bool:
        """Queue an event; False if the app has no webhook address or webhooks are off."""
        settings, now = self._settings(), self._now()
        if app.webhook_url is None or settings.webhook_delivery == "off":
            return False
        delay = timedelta(seconds=settings.webhook_delay_seconds)
        with self._lock:
            self._events.append(
                _Event(
                    number=len(self._events) + 1,
                    client_key=app.client_key,
                    name=event,
                    body=body_of(app.client_key, event, created_at or now, open_id, content),
                    created_at=now,
                    due_at=now + delay if settings.webhook_delivery == "delayed" else now,
                    is_held=settings.webhook_delivery == "reordered",
                )
            )
        return True

    def send_new(self) -> None:
        """First attempts of what is due and not held back."""
        self._send(lambda event: not event.is_held and not event.statuses)

    def deliver(self, *, everything: bool = False) -> dict[str, int]:
        """One attempt for each waiting event that is due, newest first where order is mixed up."""
        return self._send(lambda event: True, everything=everything)

    def history(self) -> list[dict[str, object]]:
        with self._lock:
            return [
                {
                    "number": event.number,
                    "client_key": event.client_key,
                    "event": event.name,
                    "body": event.body.decode(),
                    "due_at": event.due_at.isoformat(),
                    "statuses": list(event.statuses),
                    "delivered": event.is_delivered,
                    "dropped": event.is_dropped,
                }
                for event in self._events
            ]

    def clear(self) -> None:
        with self._lock:
            self._events.clear()

    def _send(
        self, wanted: Callable[[_Event], bool], *, everything: bool = False
    ) -> dict[str, int]:
        now = self._now()
        counts = {"delivered": 0, "failed": 0, "dropped": 0, "waiting": 0}
        with self._lock:
            for event in self._events:
                if event.is_waiting and now >= event.created_at + _GIVES_UP_AFTER:
                    event.is_dropped = True
                    counts["dropped"] += 1
            due = [
                event
                for event in self._events
                if event.is_waiting
                and not event.is_being_sent
                and (everything or now >= event.due_at)
                and wanted(event)
            ]
            for event in due:
                event.is_being_sent = True
        if self._settings().webhook_delivery == "reordered":
            due.reverse()
        for event in due:
            counts["delivered" if self._attempt(event) else "failed"] += 1
        with self._lock:
            counts["waiting"] = sum(event.is_waiting for event in self._events)
        return counts

    def _attempt(self, event: _Event) -> bool:
        settings, now = self._settings(), self._now()
        copies = 2 if settings.webhook_delivery == "duplicate" else 1
        statuses: list[int | None] = []
        for _ in range(copies):
            if event.first_timestamp is None or settings.webhook_retry == "re_signed":
                timestamp = int(now.timestamp())
            else:
                timestamp = event.first_timestamp
            if event.first_timestamp is None:
                event.first_timestamp = timestamp
            statuses.append(self._post(event, timestamp))
        delivered = requests.codes.ok in statuses
        with self._lock:
            event.statuses += statuses
            event.is_delivered = delivered
            event.is_being_sent = False
            event.due_at = now + _FIRST_PAUSE * 2 ** (len(event.statuses) - 1)
        return delivered

    def _post(self, event: _Event, timestamp: int) -> int | None:
        """Send once; None when no answer came."""
        app = self._app(event.client_key)
        if app is None or app.webhook_url is None:
            return None
        secret = app.client_secret
        if self._settings().webhook_secret == "wrong":  # noqa: S105 - a setting, not a password
            secret = f"not-{secret}"
        headers: Mapping[str, str] = {
            "Content-Type": "application/json",
            "TikTok-Signature": sign(secret, timestamp, event.body),
        }
        with requests.Session() as session:
            session.trust_env = False  # no proxy stands between two processes on loopback
            try:
                answer = session.post(
                    app.webhook_url,
                    data=event.body,
                    headers=headers,
                    timeout=_SECONDS_TO_ANSWER,
                    allow_redirects=False,
                )
            except requests.RequestException:
                return None
            return answer.status_code
