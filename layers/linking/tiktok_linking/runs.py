"""Runs of the schedule: find what is due, and renew it in batches.

Events may come twice, late or together: a plan sends ids, a worker renews only what is due when it
looks, so no second request follows. Growth is with what is due, not with what is stored.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from tiktok_linking.accounts import Ending, Grant
from tiktok_linking.circuit import Circuit
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.ports import (
    Due,
    DuePage,
    Endings,
    GrantQueue,
    Outcome,
    RenewalReport,
    Schedule,
)
from tiktok_linking.renewal import Ask, Renewal
from tiktok_linking.schedule import DUE_SHARDS

logger = logging.getLogger("tiktok_linking.runs")

PAGE = 100
BATCH = 10
"""Ids in one request to the queue, and the most in one delivery to a worker."""
MOST_ENDINGS = 1_000
"""Unfinished ends in the queue at most: each may take its worker seconds."""
MOST_WAITING = 100_000
"""With so many ids in the queue the workers are behind; sending them again would not help."""
QUARANTINE_AFTER = 3
"""Deliveries of one grant that break in our own code before the schedule leaves it alone."""


@dataclass(frozen=True, slots=True)
class Worked:
    """What became of a batch: ``failed`` are to be delivered again."""

    reports: Mapping[str, RenewalReport]
    failed: tuple[str, ...]
    quarantined: tuple[str, ...]

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """Grant id → how its renewal ended."""
        return {grant_id: report.outcome for grant_id, report in self.reports.items()}


def work(
    renewal: Renewal,
    grant_ids: Sequence[str],
    *,
    deadline: datetime,
    deliveries: Mapping[str, int] | None = None,
) -> Worked:
    """Renew a batch of due grants at once, each on its own: one's failure is not another's.

    One batch read serves all. One grant of each app registration goes first: where TikTok refuses
    the registration or is down, it opens the circuit for the rest, since no account is at fault.

    Raises:
        StoreUnavailable: nothing was read and nothing sent; deliver all again.
    """
    if not grant_ids:
        return Worked({}, (), ())
    batch = renewal.read_batch(grant_ids)
    worker = _Worker(renewal, deadline, deliveries or {})
    for grant_id in batch.unreadable:
        worker.give_up(grant_id, "unreadable_record")
    first = {grant.registration: grant for grant in batch.grants.values()}.values()
    rest = [grant for grant in batch.grants.values() if grant not in first]
    with ThreadPoolExecutor(max_workers=max(1, len(batch.grants))) as threads:
        for group in (first, rest):
            for done in [threads.submit(worker.renew, grant) for grant in group]:
                done.result()
    return Worked(worker.reports, tuple(worker.failed), tuple(worker.quarantined))


@dataclass(slots=True)
class _Worker:
    """One batch's outcomes, written by its threads."""

    renewal: Renewal
    deadline: datetime
    deliveries: Mapping[str, int]
    reports: dict[str, RenewalReport] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)

    def renew(self, grant: Grant) -> None:
        try:
            report = self.renewal.renew_grant(grant, Ask(scheduled=True), deadline=self.deadline)
        except StoreUnavailable as error:
            logger.warning("renewal interrupted", extra={"grant": grant.id, "why": str(error)})
            self.failed.append(grant.id)
        except Exception as error:  # a defect of one grant is not another's
            self.give_up(grant.id, type(error).__name__)
        else:
            self.reports[grant.id] = report

    def give_up(self, grant_id: str, why: str) -> None:
        """Try a poison grant again some times, then keep it from taking others' time."""
        logger.error("renewal failed", extra={"grant": grant_id, "why": why})
        if self.deliveries.get(grant_id, 1) >= QUARANTINE_AFTER:
            try:
                self.renewal.grants.quarantine(grant_id, "quarantined", now=self.renewal.now())
            except StoreUnavailable:
                pass  # delivered again, and at last to the dead letters
            else:
                logger.error("grant quarantined", extra={"grant": grant_id, "why": why})
                self.quarantined.append(grant_id)
                return
        self.failed.append(grant_id)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a planner run did.

    Attributes:
        sent: ids sent to the workers.
        pages: pages of the due index that were read.
        oldest: the oldest due slot there is, or None when nothing is due.
        stopped_at: the shards that the run did not finish; the next one goes on there.
        circuits: what the run knew of TikTok's health.
        is_paused: every registration's circuit was open, so nothing (or one probe) was sent.
    """

    sent: int
    pages: int
    oldest: datetime | None
    stopped_at: Mapping[int, Due]
    circuits: Mapping[str, Circuit]
    is_paused: bool


def plan(
    schedule: Schedule,
    queue: GrantQueue,
    registrations: Sequence[str],
    *,
    now: Callable[[], datetime],
    until: datetime,
    most_pages: int = 50,
) -> Planned:
    """Send due grants to the workers, oldest first, all shards at once.

    Bounded in pages (for each shard) and in time; the next run goes on where this one stopped, so
    that grants which cannot be renewed never keep the run from those behind them.

    Raises:
        StoreUnavailable: nothing is lost; what was not sent is still due.
    """
    before = schedule.read_plan(registrations)
    open_circuits = [c for c in before.circuits.values() if c.trouble is not None]
    is_paused = bool(registrations) and len(open_circuits) == len(registrations)
    room = max(0, MOST_WAITING - queue.waiting())
    if is_paused:
        # One delivery is enough to find out whether TikTok is back.
        room = 0 if all(c.waits(now()) for c in open_circuits) else min(room, BATCH)
    # An equal share for each shard: one that is long must not keep the others from their turn.
    share = max(1, room // DUE_SHARDS) if room else 0
    walk = _Walk(schedule, queue, now, until, most_pages, share)
    with ThreadPoolExecutor(max_workers=DUE_SHARDS) as threads:
        starts = [before.stopped_at.get(shard) for shard in range(DUE_SHARDS)]
        ends = list(threads.map(walk.shard, range(DUE_SHARDS), starts))
    stopped_at = {shard: end for shard, end in enumerate(ends) if end is not None}
    if is_paused:
        stopped_at = dict(before.stopped_at)
    if stopped_at != before.stopped_at:
        schedule.keep_plan(stopped_at)
    return Planned(
        sent=walk.sent,
        pages=walk.pages,
        oldest=min(walk.oldest, default=None),
        stopped_at=stopped_at,
        circuits=before.circuits,
        is_paused=is_paused,
    )


def plan_endings(
    endings: Endings, queue: GrantQueue, *, now: Callable[[], datetime], until: datetime
) -> int:
    """Send grants whose end may not be finished to ``unlink``; answers how many.

    Its workers move the time to look of each that they take, so the oldest are the untouched.

    Raises:
        StoreUnavailable: nothing is lost; what was not sent is found by the next run.
    """
    sent = 0
    room = max(0, MOST_ENDINGS - queue.waiting())
    for ending in Ending:
        after: Due | None = None
        while sent < room and now() < until:
            limit = min(BATCH, room - sent)
            page = endings.unfinished(ending, now=now(), limit=limit, after=after)
            if page.items:
                queue.put([due.grant_id for due in page.items])
                sent += len(page.items)
            after = page.after
            if after is None:
                break
    return sent


@dataclass(slots=True)
class _Walk:
    """One run through the due index; each shard is a thread with its share of room."""

    schedule: Schedule
    queue: GrantQueue
    now: Callable[[], datetime]
    until: datetime
    most_pages: int
    room: int
    sent: int = 0
    pages: int = 0
    oldest: list[datetime] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def shard(self, shard: int, start: Due | None) -> Due | None:
        """Send what is due in one shard; answers where it stopped, None at the end."""
        after, room = start, self.room
        if start is not None:  # what lies before it may be older, and is told, not sent
            self._read(shard, limit=1, after=None)
        for _ in range(self.most_pages):
            if self.now() >= self.until:
                return after
            page = self._read(shard, limit=PAGE, after=after)
            for begin in range(0, min(len(page.items), room), BATCH):
                some = page.items[begin : min(begin + BATCH, room)]
                self.queue.put([due.grant_id for due in some])
                after = some[-1]
                with self._lock:
                    self.sent += len(some)
            if len(page.items) > room:
                return after
            room -= len(page.items)
            after = page.after
            if after is None:
                return None
        return after

    def _read(self, shard: int, *, limit: int, after: Due | None) -> DuePage:
        page = self.schedule.due(shard, now=self.now(), limit=limit, after=after)
        with self._lock:
            self.pages += 1
            self.oldest += [due.due_at for due in page.items[:1]]
        return page
