"""The reminders' side of the accounts table: the reminder index, and rows without ciphertext."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from tiktok_linking.accounts import Account, Grant, Reminder
from tiktok_linking.adapters.account_table import write_passed_deadline
from tiktok_linking.adapters.dynamodb import ConditionFailed, Table, Update, encode
from tiktok_linking.adapters.records import (
    SHOWN_ATTRIBUTES,
    account_id_of,
    account_key,
    grant_key,
    mark,
    read_links,
    reminder_note,
)
from tiktok_linking.events import EventType
from tiktok_linking.ports import Look, LookPage


class ReminderTable:
    """Implements the port Reminders."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def to_look_at(self, shard: int, *, today: date, limit: int, after: Look | None) -> LookPage:
        """See ports.Reminders. Reads only what has come: growth does not depend on the total."""
        start = None
        if after is not None:
            place = {"ns": str(shard), "nd": after.day.isoformat()}
            start = encode(account_key(after.account_id) | place)
        items, more = self._table.query(
            "ns = :ns AND nd <= :today",
            {":ns": str(shard), ":today": today.isoformat()},
            index="reminders",
            limit=limit,
            start=start,
        )
        found = tuple(Look(account_id_of(item), date.fromisoformat(item["nd"])) for item in items)
        return LookPage(found, found[-1] if found and more is not None else None)

    def read_links(self, account_ids: Sequence[str]) -> Mapping[str, tuple[Grant, Account]]:
        """See ports.Reminders. A grant and an account are read in one request, consistently."""
        rows = [account_key(account_id) for account_id in account_ids]
        grants = [grant_key(pk) for pk in dict.fromkeys(row["pk"] for row in rows)]
        if not rows:
            return {}
        items = self._table.batch_get([*rows, *grants], attributes=SHOWN_ATTRIBUTES)
        known, accounts = read_links(items)
        return {a.id: (known[a.grant_id], a) for a in accounts if a.grant_id in known}

    def remind(
        self, account: Account, reminder: Reminder, look: Look, *, then: date, now: datetime
    ) -> bool:
        """See ports.Reminders."""
        try:
            self._table.update(
                account_key(account.id),
                Update(
                    sets={
                        "nt": reminder_note(reminder),
                        "nd": then.isoformat(),
                        "ev": mark(EventType.RELINK_DUE, now),
                    }
                ),
                condition="nd = :nd AND au = :au AND attribute_not_exists(ul)",
                values={":nd": look.day.isoformat(), ":au": account.authorised_at},
            )
        except ConditionFailed as failed:
            # Our own write, whose answer was lost, comes back so.
            return bool(failed.old.get("ev") == mark(EventType.RELINK_DUE, now))
        return True

    def look_again(self, look: Look, account: Account | None, *, then: date | None) -> None:
        """See ports.Reminders."""
        sets: dict[str, Any] = {"nd": then.isoformat()} if then else {"ns": None, "nd": None}
        condition = "nd = :nd" + (" AND au = :au" if account else "")
        with contextlib.suppress(ConditionFailed):
            self._table.update(
                account_key(look.account_id),
                Update(sets=sets, removes=("ev",)),
                condition=condition,
                values={
                    ":nd": look.day.isoformat(),
                    ":au": account.authorised_at if account else None,
                },
            )

    def end_at_deadline(self, grant: Grant, *, now: datetime) -> bool:
        """See ports.Reminders."""
        return write_passed_deadline(self._table, grant, now=now)
