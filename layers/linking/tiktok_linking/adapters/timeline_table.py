"""The accounts table as the outbox and the timeline use it: nothing here reads ciphertext."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tiktok_linking.accounts import Account, Grant, Status, same_day
from tiktok_linking.adapters.dynamodb import ConditionFailed, Table, Update, to_ms, to_ttl
from tiktok_linking.adapters.records import (
    SHOWN_ATTRIBUTES,
    account_key,
    place_in_lists,
    place_in_reminders,
    read_links,
)
from tiktok_linking.events import Event

_TIMELINE = ("sk", "st", "mt")


def _place(event: Event) -> str:
    """By time, and the same for the same event."""
    return f"at#{to_ms(event.occurred_at):013d}#{event.event_id}"


class TimelineTable:
    """Implements the port Timeline."""

    def __init__(self, table: Table, *, kept_for: timedelta) -> None:
        """``kept_for`` is how long a timeline goes back; DynamoDB deletes what is older."""
        self._table = table
        self._kept_for = kept_for

    def read_accounts(self, grant_id: str) -> tuple[Grant | None, Sequence[Account]]:
        """See ports.Timeline."""
        items = self._table.query_all("pk = :pk", {":pk": grant_id}, attributes=SHOWN_ATTRIBUTES)
        grants, accounts = read_links(items)  # of a damaged record renewals tell
        return grants.get(grant_id), accounts

    def note(self, event: Event) -> None:
        """See ports.Timeline."""
        self._table.put(
            {
                "pk": event.account_id,
                "sk": _place(event),
                "st": event.type.value,
                "mt": json.dumps(dict(event.detail)),
                "ttl": to_ttl(event.occurred_at + self._kept_for),
            }
        )

    def is_noted(self, event: Event) -> bool:
        """See ports.Timeline."""
        values = {":pk": event.account_id, ":sk": _place(event)}
        return bool(self._table.query_all("pk = :pk AND sk = :sk", values, attributes=("sk",)))

    def mark_told(self, account: Account, *, waits: bool) -> None:
        """See ports.Timeline."""
        if account.unlinked_at is None:
            return
        moment = to_ms(account.unlinked_at)
        with contextlib.suppress(ConditionFailed):  # linked again meanwhile
            self._table.update(
                account_key(account.id),
                Update(sets={"ut": -moment if waits else moment}, removes=("ev",)),
                condition="ul = :ul",
                values={":ul": account.unlinked_at},
            )

    def copy_grant(self, account: Account, grant: Grant) -> None:
        """See ports.Timeline."""
        is_active = grant.status is Status.ACTIVE
        sets: dict[str, Any] = {"gs": None if is_active else grant.status.value}
        if not same_day(account.relink_by, grant.relink_by):
            sets["rb"] = grant.relink_by
            sets["os"] = place_in_lists(account.id, grant.relink_by)
            sets |= place_in_reminders(account.id, grant.relink_by)
        with contextlib.suppress(ConditionFailed):  # authorised again meanwhile
            self._table.update(
                account_key(account.id),
                Update(sets=sets, removes=("ev",)),
                condition="au = :au",
                values={":au": account.authorised_at},
            )

    def events_of(
        self, account_id: str, *, before: str | None, limit: int
    ) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        """A page of an account's timeline, newest first, and where to go on."""
        items, _ = self._table.query(
            "pk = :pk AND sk < :before",
            {":pk": account_id, ":before": before or "at#~"},
            attributes=_TIMELINE,
            limit=limit + 1,  # one more, to know whether there is more
            newest_first=True,
        )
        found = items[:limit]
        told = [{"type": item["st"], **json.loads(item["mt"])} for item in found]
        return told, found[-1]["sk"] if len(items) > limit else None
