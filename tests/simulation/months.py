"""Months of a small population in seconds: the real schedule over fakes, with a moved clock.

Time jumps to what comes next: a hand-out, a delivery of the renewal queue, or the first run of the
schedule that finds anything due. A run that finds nothing would change nothing, so it is left out.
Scheduled runs are skipped, late and doubled, and their batches are delivered twice, late and to two
workers at once; the same seed gives the same months.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tests.fakes import samples
from tests.fakes.credentials import CLIENT_KEY
from tests.fakes.open_door import OpenDoor
from tests.fakes.rotating_tiktok import RotatingTikTok, Rules
from tests.unit.stage import Stage
from tiktok_linking.accounts import Account, RefreshMode, Secret
from tiktok_linking.errors import RelinkRequired
from tiktok_linking.oauth import ClientCredentials
from tiktok_linking.renewal import Renewal
from tiktok_linking.runs import work
from tiktok_linking.vending import Vending

PERIOD = timedelta(minutes=5)
"""How often the schedule fires."""
AFTER_THE_FULL = timedelta(minutes=3)
"""Its runs begin when the stack was made, not on full five minutes."""
LATEST_DELIVERY = timedelta(minutes=25)
NO_SCHEDULE_EVERY, NO_SCHEDULE_FOR = timedelta(days=17), timedelta(hours=3)
"""From time to time the schedule does not fire at all for this long."""
MIN_TTLS = (timedelta(0), *[timedelta(minutes=5)] * 8, timedelta(minutes=25))
"""What hand-outs ask for; mostly the default."""
CLIENT = ClientCredentials(CLIENT_KEY, Secret("current-secret"))


class Use(StrEnum):
    """When a team asks for an account's token."""

    ALL_DAY = "all day"
    OFFICE_HOURS = "office hours"
    WEEKLY = "once a week"
    NEVER = "never"
    REJECTING = "all day, some refused"
    """Used all day; now and then TikTok refuses the token, and the team says so, twice."""


@dataclass(frozen=True, slots=True)
class Resident:
    """One linked account and how it lives."""

    open_id: str
    mode: RefreshMode
    use: Use
    account: Account
    linked_at: datetime


@dataclass(frozen=True, slots=True)
class Renewed:
    """One refresh request. ``cause`` is ``schedule``, ``vend`` or ``rejected``."""

    at: datetime
    age: timedelta
    """How old the pair was that was spent."""
    cause: str


@dataclass(slots=True)
class Record:
    """What happened, as far as somebody outside could see it."""

    renewals: dict[str, list[Renewed]] = field(default_factory=dict)
    vends: Counter[str] = field(default_factory=Counter)
    short_vends: list[str] = field(default_factory=list)
    relinks: dict[str, datetime] = field(default_factory=dict)
    """When a hand-out first said that the owner must act."""
    planned: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    """How often each kind of disturbance struck."""


class Months:
    """A stack, its TikTok and its residents."""

    def __init__(self, rules: Rules, *, seed: int = 1, is_disturbed: bool = True) -> None:
        self.stage = Stage()
        self.clock = self.stage.clock
        self.tiktok = RotatingTikTok(self.stage.happenings, self.clock, rules)
        self.tiktok.on_refresh = self._note
        self.record = Record()
        self.residents: list[Resident] = []
        self._is_disturbed = is_disturbed
        self._luck = random.Random(seed)  # noqa: S311 - the same months in every run
        self._began_at = self.clock.now
        self._ordinal = itertools.count()
        self._agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        self._last_run_at = self.clock.now
        self._cause = ""
        self._pair_from: dict[str, datetime] = {}
        self._meanwhile: list[Callable[[], None]] = []
        door = OpenDoor(self._renewal, self.clock)
        self._vending: Vending = replace(self.stage.vending(), door=door)

    def move_in(self, mode: RefreshMode, use: Use = Use.NEVER) -> Resident:
        """Link one account, now."""
        open_id = f"person-{len(self.residents)}"
        answer = self.tiktok.exchange(
            CLIENT,
            code=self.tiktok.consent(open_id),
            redirect_uri="",
            code_verifier=None,
            read_timeout=PERIOD,
        )
        account = self.stage.link(f"u_{open_id}", answer=answer, mode=mode)
        resident = Resident(open_id, mode, use, account, self.clock.now)
        self.residents.append(resident)
        self._pair_from[open_id] = self.clock.now
        self.record.renewals[open_id] = []
        self._expect_use(resident)
        return resident

    def live(self, span: timedelta) -> Record:
        """Let time pass."""
        end = self.clock.now + span
        while True:
            run_at = self._next_run()
            event_at = self._agenda[0][0] if self._agenda else None
            at = min((moment for moment in (run_at, event_at) if moment), default=end)
            if at >= end:
                break
            self.clock.now = max(self.clock.now, at)
            if at == event_at:
                _, _, act = heapq.heappop(self._agenda)
                act()
            else:
                self._run_schedule()
        self.clock.now = end
        return self.record

    # -- the schedule ---------------------------------------------------------------------------

    def _next_run(self) -> datetime | None:
        """The first run that finds something due: all before it would change nothing."""
        due = [
            due_at
            for resident in self.residents
            if (due_at := self.stage.grant(resident.account.grant_id).due_at) is not None
        ]
        if not due:
            return None
        return _next_tick(max(self._last_run_at, min(due) - PERIOD))

    def _run_schedule(self) -> None:
        self._last_run_at = max(self.clock.now, self._last_run_at + PERIOD)
        age = self.clock.now - self._began_at
        if self._is_disturbed and age % NO_SCHEDULE_EVERY > NO_SCHEDULE_EVERY - NO_SCHEDULE_FOR:
            self.record.runs["silent"] += 1
            return
        if self._happens("skipped", 0.03):
            return
        self._plan()
        if self._happens("doubled", 0.05):
            self._plan()
        if self._happens("late again", 0.05):
            self._at(self.clock.now + timedelta(minutes=7), self._plan)

    def _plan(self) -> None:
        queue = self.stage.renewals
        self.record.planned += self.stage.plan(until=self.clock.now + timedelta(seconds=25)).sent
        # The planner's threads send in any order, and a simulation must not depend on it.
        for grant_ids in sorted(queue.batches):
            self._deliver(grant_ids)
        queue.batches.clear()

    def _deliver(self, grant_ids: Sequence[str]) -> None:
        wait = timedelta(seconds=self._luck.uniform(1, 20))
        if self._happens("delivered late", 0.05):
            wait = self._luck.uniform(0.2, 1) * LATEST_DELIVERY
        self._at(self.clock.now + wait, lambda: self._work(grant_ids))
        if self._happens("delivered twice", 0.05):
            again = wait + timedelta(seconds=self._luck.uniform(0, 120))
            self._at(self.clock.now + again, lambda: self._work(grant_ids))

    def _work(self, grant_ids: Sequence[str]) -> None:
        # Grants of one batch are renewed by threads, so two workers meet only where it has one.
        if len(grant_ids) == 1 and self._happens("two workers at once", 0.1):
            self._meanwhile.append(lambda: self._work_now(grant_ids))
        self._work_now(grant_ids)
        self._meanwhile.clear()
        self.stage.happenings.forget()

    def _work_now(self, grant_ids: Sequence[str]) -> None:
        self._cause = "schedule"
        worked = work(self._renewal(), grant_ids, deadline=self.clock.now + timedelta(seconds=30))
        assert not worked.failed

    def _renewal(self) -> Renewal:
        return self.stage.renewal(tiktok=self.tiktok)

    # -- hand-outs ------------------------------------------------------------------------------

    def _expect_use(self, resident: Resident) -> None:
        at = _next_use(resident.use, self.clock.now, self._luck)
        if at is not None:
            self._at(at, lambda: self._use(resident))

    def _use(self, resident: Resident) -> None:
        self._expect_use(resident)
        is_refused = resident.use is Use.REJECTING and self._luck.random() < 0.02
        self._vend(resident, self._luck.choice(MIN_TTLS), rejected=is_refused)
        if is_refused:
            self.clock.advance(seconds=self._luck.uniform(5, 90))
            self._vend(resident, timedelta(0), rejected=True)
        self.stage.happenings.forget()

    def _vend(self, resident: Resident, min_ttl: timedelta, *, rejected: bool) -> None:
        self._cause = "rejected" if rejected else "vend"
        now = self.clock.now
        try:
            vended = self._vending.access_token_for(
                resident.account.id, caller=samples.BACKEND, min_ttl=min_ttl, rejected=rejected
            )
        except RelinkRequired:
            self.record.relinks.setdefault(resident.open_id, now)
            return
        self.record.vends[resident.open_id] += 1
        if vended.warning == "relink_required":
            self.record.relinks.setdefault(resident.open_id, now)
        elif vended.expires_at < now + min_ttl or vended.expires_at <= now:
            self.record.short_vends.append(f"{resident} at {now}: until {vended.expires_at}")

    # -- inside ---------------------------------------------------------------------------------

    def _note(self, open_id: str, token: str) -> None:
        now = self.clock.now
        age = now - self._pair_from[open_id]
        self.record.renewals[open_id].append(Renewed(now, age, self._cause))
        self._pair_from[open_id] = now
        if self._meanwhile:
            self._meanwhile.pop()()

    def _at(self, moment: datetime, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (moment, next(self._ordinal), act))

    def _happens(self, what: str, chance: float) -> bool:
        if not self._is_disturbed or self._luck.random() >= chance:
            return False
        self.record.runs[what] += 1
        return True


def _next_tick(after: datetime) -> datetime:
    """The first moment after ``after`` at which the schedule fires."""
    seconds = (after - AFTER_THE_FULL).timestamp()
    period = PERIOD.total_seconds()
    return after + timedelta(seconds=period - seconds % period)


def _next_use(use: Use, after: datetime, luck: random.Random) -> datetime | None:
    if use is Use.NEVER:
        return None
    if use is Use.WEEKLY:
        monday = after + timedelta(days=7 - after.weekday())
        return monday.replace(hour=9) + timedelta(hours=luck.uniform(0, 8))
    if use is Use.OFFICE_HOURS:
        soon = after + timedelta(minutes=luck.uniform(5, 90))
        if soon.weekday() < 5 and 9 <= soon.hour < 17:
            return soon
        morning = after.replace(hour=9) + timedelta(minutes=luck.uniform(0, 30))
        while morning <= after or morning.weekday() >= 5:
            morning += timedelta(days=1)
        return morning
    return after + timedelta(minutes=luck.uniform(20, 100))
