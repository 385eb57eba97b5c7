"""Reminders: the team is told in time that an owner has to authorise again, and when it is late.

Every account row has a day on which to look at it again, in a sparse index; a run reads the rows
whose day has come and nothing else. A look leads to one write, which moves the day and carries the
event where there is one, so that a second run on the same day finds nothing left to do.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tiktok_linking.accounts import Account, Grant, Reminder, Status
from tiktok_linking.ports import Look, Reminders
from tiktok_linking.schedule import REMINDER_SHARDS, next_look, threshold_due

logger = logging.getLogger("tiktok_linking.reminding")

PAGE = 50
"""Accounts in one page: with their grants as many items as one batch read takes."""


@dataclass(frozen=True, slots=True)
class Reminded:
    """What a run did.

    Attributes:
        told: reminders that were written.
        passed: grants whose date has passed and was written down.
        unreadable: accounts that could not be read; they are looked at again the day after.
        unfinished_shards: parts in which time or pages ran out; the next run goes on there.
    """

    told: int
    passed: int
    unreadable: int
    unfinished_shards: int


@dataclass(frozen=True, slots=True)
class Reminding:
    """The use case with its port."""

    reminders: Reminders
    thresholds: tuple[int, ...]
    now: Callable[[], datetime]

    def run(self, *, until: datetime, most_pages: int = 1000) -> Reminded:
        """Look at every account whose day has come, oldest first, all shards at once.

        What was looked at has left the front of the index, so the next run starts with what this
        one did not reach. Bounded in time, and in pages for each shard.

        Raises:
            StoreUnavailable: nothing is lost; what was not looked at is still to be.
        """
        walk = _Walk(self, until, most_pages)
        with ThreadPoolExecutor(max_workers=REMINDER_SHARDS) as threads:
            finished = list(threads.map(walk.shard, range(REMINDER_SHARDS)))
        return Reminded(walk.told, walk.passed, walk.unreadable, finished.count(False))


@dataclass(slots=True)
class _Walk:
    """One run; each shard is a thread."""

    reminding: Reminding
    until: datetime
    most_pages: int
    told: int = 0
    passed: int = 0
    unreadable: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def shard(self, shard: int) -> bool:
        """Work off one shard; answers whether it came to the end."""
        reminders, after = self.reminding.reminders, None
        for _ in range(self.most_pages):
            today = self.reminding.now().date()
            page = reminders.to_look_at(shard, today=today, limit=PAGE, after=after)
            if not page.items:
                return True
            links = reminders.read_links([look.account_id for look in page.items])
            for look in page.items:
                if self.reminding.now() >= self.until:
                    return False
                self._look(look, links.get(look.account_id))
            after = page.after
            if after is None:
                return True
        return False

    def _look(self, look: Look, link: tuple[Grant, Account] | None) -> None:
        reminders, now = self.reminding.reminders, self.reminding.now()
        if link is None:
            logger.error("account not readable", extra={"account": look.account_id})
            reminders.look_again(look, None, then=now.date() + timedelta(days=1))
            self._count(unreadable=1)
            return
        grant, account = link
        deadline = grant.relink_by
        if account.unlinked_at is not None or deadline is None:
            reminders.look_again(look, account, then=None)
        elif deadline <= now:
            self._pass(look, grant, account, now)
        else:
            self._remind(look, grant, account, deadline, now)

    def _pass(self, look: Look, grant: Grant, account: Account, now: datetime) -> None:
        """The date has passed: all accounts of the grant are told by the grant's own mark."""
        if grant.status is Status.ACTIVE:
            if not self.reminding.reminders.end_at_deadline(grant, now=now):
                return  # it has changed since it was read: the next run sees how
            self._count(passed=1)
        self.reminding.reminders.look_again(look, account, then=None)

    def _remind(
        self, look: Look, grant: Grant, account: Account, deadline: datetime, now: datetime
    ) -> None:
        """Nobody is reminded of a link that needs its owner already or is no more.

        Its looks go on, since a late pair or another end user's authorisation may mend it.
        """
        thresholds, today = self.reminding.thresholds, now.date()
        threshold = threshold_due(deadline, today, thresholds)
        then = next_look(deadline, today, thresholds)
        is_told = account.reminded is not None and (
            threshold is not None and account.reminded.covers(threshold, deadline)
        )
        if grant.status is Status.ACTIVE and threshold is not None and not is_told:
            reminder = Reminder(threshold, deadline)
            if self.reminding.reminders.remind(account, reminder, look, then=then, now=now):
                self._count(told=1)
        elif then != look.day:
            self.reminding.reminders.look_again(look, account, then=then)

    def _count(self, *, told: int = 0, passed: int = 0, unreadable: int = 0) -> None:
        with self._lock:
            self.told += told
            self.passed += passed
            self.unreadable += unreadable
