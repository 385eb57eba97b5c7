"""When to look at a grant or an account again. Pure: time and chance are arguments.

Each rotation is one exposure to loss and the largest cost, so the schedule renews only what is
used (design rule: rotate as little as is useful) and looks at the rest once a week.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from tiktok_linking.accounts import RefreshMode

USED_MARK_EVERY = timedelta(hours=6)
"""A vend moves the last-used mark at most this often per grant, so most vends write nothing."""

DUE_SHARDS = 8
"""Partitions of the due index: a write limit of its own for each."""

SLOT = timedelta(minutes=5)
"""Due times are rounded down to a slot: an index key that moves less costs less."""


@dataclass(frozen=True, slots=True)
class RenewalPolicy:
    """How long a vended account stays warm and how often an unused one is checked."""

    warm_for: timedelta = timedelta(hours=24)
    health_check: timedelta = timedelta(days=7)

    def is_warm(self, mode: RefreshMode, last_used_at: datetime | None, now: datetime) -> bool:
        """Whether the access token is worth keeping alive ahead of the next request."""
        if mode is RefreshMode.ALWAYS:
            return True
        if mode is RefreshMode.ON_DEMAND or last_used_at is None:
            return False
        # The mark may be up to USED_MARK_EVERY older than the last vend.
        return last_used_at + self.warm_for + USED_MARK_EVERY > now

    def next_due(
        self,
        grant_id: str,
        *,
        mode: RefreshMode,
        last_used_at: datetime | None,
        issued_at: datetime,
        expires_at: datetime,
        relink_by: datetime | None,
        now: datetime,
    ) -> datetime | None:
        """Say when this grant should be looked at, or None for never.

        Warm grants come between 35 % and 15 % of their life before expiry: far enough for a few
        schedule periods, and strictly inside the lifetime, so a fresh token is never renewed.
        Nothing is due after ``relink_by``, when only the owner can help. The same grant and pair
        always give the same moment, so planner, worker and vend agree without asking each other.
        """
        if mode is RefreshMode.ON_DEMAND:
            return None
        if self.is_warm(mode, last_used_at, now):
            due = expires_at - (expires_at - issued_at) * (
                0.15 + 0.20 * _chance(grant_id, issued_at)
            )
        else:
            due = issued_at + self.health_check * (0.9 + 0.1 * _chance(grant_id, issued_at))
        return None if relink_by is not None and due >= relink_by else due

    def first_due(
        self,
        grant_id: str,
        *,
        issued_at: datetime,
        expires_at: datetime,
        relink_by: datetime | None,
        is_new: bool,
    ) -> datetime | None:
        """Say when a pair that was stored without reading its grant should be looked at.

        A new grant is unused. Of an older one the mode is not known here, so it gets the earliest
        that any mode could want; the worker moves the slot if that was too early.
        """
        return self.next_due(
            grant_id,
            mode=RefreshMode.AUTO if is_new else RefreshMode.ALWAYS,
            last_used_at=None,
            issued_at=issued_at,
            expires_at=expires_at,
            relink_by=relink_by,
            now=issued_at,
        )


def _chance(grant_id: str, issued_at: datetime) -> float:
    """A number in [0, 1) that spreads grants linked together, drawn anew for each pair."""
    return zlib.crc32(f"{grant_id}{issued_at.timestamp():.0f}".encode()) / 2**32


def slot_of(moment: datetime) -> datetime:
    """Round down to the slot."""
    seconds = int(moment.timestamp())
    return datetime.fromtimestamp(seconds - seconds % int(SLOT.total_seconds()), UTC)


_BESIDE = timedelta(milliseconds=1)


def at_once(now: datetime) -> datetime:
    """A due time for a grant that TikTok is to be asked about, whether it is due or not.

    It lies just before a slot, by which the worker knows it, and before now, whenever that is.
    """
    return slot_of(now) - _BESIDE


def is_at_once(due_at: datetime | None) -> bool:
    """Whether a due time that was read says to ask TikTok in any case."""
    return due_at is not None and due_at + _BESIDE == slot_of(due_at + _BESIDE)


def renewal_floor(issued_at: datetime, expires_at: datetime) -> timedelta:
    """The least time between two renewals of one grant, unless TikTok refused the token."""
    return min(timedelta(minutes=10), (expires_at - issued_at) / 2)


# -- reminders -------------------------------------------------------------------------------------

REMINDER_SHARDS = 8
"""Partitions of the reminder index: a write limit of its own for each."""

EARLIEST_REMINDER = timedelta(days=90)
"""The most days ahead that a threshold may be."""


def first_look(relink_by: datetime) -> date:
    """The day on which an account is first looked at with a view to its deadline.

    The same for every configuration, so that whoever writes an account row need not know the
    thresholds; ``remind`` does, and moves the look to the first of them.
    """
    return (relink_by - EARLIEST_REMINDER).date()


def next_look(relink_by: datetime, today: date, thresholds: Sequence[int]) -> date:
    """The day of the next threshold after today, and at last the deadline's own."""
    days = (relink_by.date() - timedelta(days=threshold) for threshold in thresholds)
    return min((day for day in days if day > today), default=relink_by.date())


def threshold_due(relink_by: datetime, today: date, thresholds: Sequence[int]) -> int | None:
    """The nearest threshold whose day has come: after days of silence one is told, not four.

    Calendar days in UTC, so that a run at any hour tells the last one on the day before.
    """
    left = (relink_by.date() - today).days
    return min((threshold for threshold in thresholds if left <= threshold), default=None)
