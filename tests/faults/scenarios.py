"""The handlers under fault: how a case of each begins, where it strikes, and what must follow.

A scenario is a class in ``SCENARIOS``: ``cases`` enumerates by watching one run without a fault,
``begin`` makes what a case needs, ``strike`` injects, ``clean`` uses the stack as usual while the
clock moves, ``judge`` asks the oracle. Cases run in groups, so that moving the clock is shared.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from tests.faults.cases import (
    AWAY,
    KILLS,
    SINGLE,
    SPENDING,
    Case,
    Fault,
    Hit,
    Place,
    holds,
    outages,
    places,
    singles,
    warm,
    were_hit,
)
from tests.faults.oracle import (
    LOST,
    NOT_REACHED,
    Finding,
    Verdict,
    judge_link,
    judge_requests,
    judge_unlink,
    worst,
)
from tests.faults.people import ACCESS_SECONDS, Person, Stage

REST = 70
"""Seconds between the clean runs: past the lease (35 s) and the wait for recovery (30 s)."""
LIFE = ACCESS_SECONDS + 100
"""Seconds after which an access token is dead."""
AT_ONCE = 8


@dataclass(slots=True)
class Subject:
    """One case under way: the links that it must not lose, and what happened to it."""

    case: Case
    accounts: list[str] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    person: Person | None = None
    session_id: str = ""
    open_id: str = ""
    said: object = None
    findings: list[Finding] = field(default_factory=list)
    outlived: bool = False
    """A process past its own end, which on Lambda is dead, sent or held what others had spent, and
    TikTok ended the grant for it: as lost as an answer that nobody heard."""

    @property
    def answer_lost(self) -> bool:
        return self.outlived or any(hit.lost_an_answer for hit in self.hits)


class Scenario:
    """What all scenarios share: the course of a group of cases."""

    name: ClassVar[str]
    function: ClassVar[str]
    group: ClassVar[int] = 24
    reasons: ClassVar[frozenset[str]] = LOST
    is_promised: ClassVar[bool] = True
    """Whether the case counts among those in which nothing may be lost."""
    a_grace_helps: ClassVar[bool] = True
    """Whether a TikTok that answers a replay saves a lost answer: a refresh yes, a code no."""

    def __init__(self, stage: Stage, rotation: str) -> None:
        self.stage = stage
        self.world = stage.world
        self.rotation = rotation

    def cases(self) -> Iterator[Case]:
        raise NotImplementedError

    def begin(self, case: Case) -> Subject:
        """A link with which the case starts."""
        return Subject(case, [self.stage.healthy_account()])

    def age(self) -> None:
        """Let the access tokens of the group die."""
        self.world.advance(seconds=LIFE)

    def strike(self, subject: Subject) -> None:
        raise NotImplementedError

    def clean(self, subjects: Sequence[Subject]) -> None:
        """Two clean runs with the clock moved: what backends ask, then the schedule too."""
        self.world.advance(seconds=REST)
        self.stage.settle()
        for subject in subjects:
            self.use(subject)
        self.world.advance(seconds=REST)
        self.stage.plan()

    def use(self, subject: Subject) -> None:
        """What a backend does after the fault."""
        for account in subject.accounts:
            self.stage.vend(account)

    def judge(self, subjects: Sequence[Subject]) -> list[Verdict]:
        """Vend, let the token die, vend again: only a living refresh token passes both."""
        accounts = [account for subject in subjects for account in subject.accounts]
        vended = dict(zip(accounts, self.stage.vend_all(accounts), strict=True))
        self.world.advance(seconds=LIFE)
        renewed = dict(zip(accounts, self.stage.vend_all(accounts), strict=True))
        verdicts = []
        for subject in subjects:
            lost = subject.answer_lost and not (self.a_grace_helps and self.rotation == "grace")
            findings = [
                judge_link(vended[a], renewed[a], answer_lost=lost, reasons=self.reasons)
                for a in subject.accounts
            ]
            self.stage.keep(
                account
                for account, finding in zip(subject.accounts, findings, strict=True)
                if finding.outcome == "ok"
            )
            verdicts.append(self.verdict(subject, [*subject.findings, *findings]))
        return verdicts

    def verdict(self, subject: Subject, findings: Sequence[Finding]) -> Verdict:
        found = worst(findings)
        if found.outcome == "ok" and not were_hit(subject.case, subject.hits):
            found = Finding(NOT_REACHED, f"hit {[(h.kind, h.call) for h in subject.hits]}")
        return Verdict(subject.case, found.outcome, found.detail)

    # -- for the scenarios' own use ----------------------------------------------------------------

    def used_account(self) -> str:
        """A link that the schedule keeps warm."""
        account = self.stage.healthy_account()
        self.stage.vend(account)
        return account

    def run(self, cases: Sequence[Case]) -> list[Verdict]:
        """The whole course of a group."""
        subjects = [self.begin(case) for case in cases]
        self.age()
        for subject in subjects:
            self.strike(subject)
        self.after(subjects)
        self.clean(subjects)
        return self.judge(subjects)

    def after(self, subjects: Sequence[Subject]) -> None:
        """What happens between the strike and the clean runs."""

    def injected(self, subject: Subject, act: Callable[[], Any], *faults: Fault | None) -> None:
        """Do something with faults in the next run of the function, and note what they hit."""
        wanted = [fault.as_json() for fault in faults if fault is not None]
        self.world.arm_fault(self.function, faults=wanted, cold=subject.case.cold)
        act()
        subject.hits += [Hit.read(told) for told in self.world.hits(self.function)]
        self.world.arm_fault(self.function)  # an unused one must not reach a clean run

    def renewed(self, subject: Subject) -> None:
        """A renewal without a fault, cold if the case is."""
        self.injected(subject, partial(self.stage.vend, subject.accounts[0]))

    def held(self, subject: Subject, meanwhile: Callable[[], Any]) -> None:
        """Hold a renewal at its call, do something meanwhile, let it go on."""
        assert subject.case.fault is not None
        self.world.arm_fault("refresh", **subject.case.fault.as_json(), cold=subject.case.cold)
        account = subject.accounts[0]
        renewal = threading.Thread(target=self.stage.renew, args=(account,))
        renewal.start()
        self.world.wait_until_held("refresh")
        meanwhile()
        self.world.release()
        renewal.join()
        subject.hits += [Hit.read(told) for told in self.world.hits("refresh")]
        self.world.arm_fault("refresh")

    def traced(self, strike: Callable[[Subject], None], *, cold: bool) -> list[str]:
        """The calls that the function makes without a fault."""
        subject = self.begin(Case(self.name, cold=cold))
        self.age()
        strike(subject)
        trace = self.world.trace(self.function)
        self.after([subject])
        self.clean([subject])
        self.judge([subject])
        return trace


# ---- a renewal, by its triggers ----------------------------------------------------------------


class Renewal(Scenario):
    """A renewal that a vend asks for."""

    name = "refresh, on demand"
    function = "refresh"

    def cases(self) -> Iterator[Case]:
        cold = self.traced(self.strike, cold=True)
        yield from singles(self.name, cold, cold=True)
        yield from singles(self.name, warm(cold), cold=False)
        yield from outages(self.name, cold)

    def strike(self, subject: Subject) -> None:
        account = subject.accounts[0]
        self.injected(subject, lambda: self.stage.vend(account), subject.case.fault)


class Worker(Renewal):
    """A renewal from the queue, a batch of one."""

    name = "refresh, batch of 1"
    batch: ClassVar[int] = 1

    def begin(self, case: Case) -> Subject:
        return Subject(case, [self.used_account() for _ in range(self.batch)])

    def strike(self, subject: Subject) -> None:
        self.injected(subject, lambda: self.stage.work(subject.accounts), subject.case.fault)


class BatchWorker(Worker):
    """A renewal from the queue, several at once in threads of one process."""

    name = "refresh, batch of 3"
    batch = 3
    group = 10


class Planning(Scenario):
    """The scheduled run. What it misses must be found by the next, not by a vend."""

    name = "refresh, plan"
    function = "refresh"
    group = 1  # each plan finds all that is due, so each case has its own

    def cases(self) -> Iterator[Case]:
        cold = self.traced(self.strike, cold=True)
        yield from singles(self.name, cold, cold=True)
        yield from outages(self.name, cold)

    def strike(self, subject: Subject) -> None:
        # What is planned waits, so that the function's next run is not a worker's.
        self.world.pause_deliveries("refresh")
        plan = partial(self.world.invoke, "RefreshFunction")
        self.injected(subject, plan, subject.case.fault)

    def begin(self, case: Case) -> Subject:
        return Subject(case, [self.used_account()])

    def after(self, subjects: Sequence[Subject]) -> None:
        self.world.pause_deliveries()
        self.stage.settle()

    def use(self, subject: Subject) -> None:
        self.stage.plan()

    def clean(self, subjects: Sequence[Subject]) -> None:
        super().clean(subjects)
        for subject in subjects:
            by_hand = [a for a in subject.accounts if self.stage.vend(a).json().get("refreshed")]
            if by_hand:
                subject.findings.append(Finding("silent loss", "the schedule did not renew it"))


class Vending(Scenario):
    """The vend around a renewal."""

    name = "tokens"
    function = "tokens"

    def cases(self) -> Iterator[Case]:
        cold = self.traced(self.strike, cold=True)
        yield from singles(self.name, cold, cold=True)
        yield from outages(self.name, cold)

    def strike(self, subject: Subject) -> None:
        account = subject.accounts[0]
        self.injected(subject, lambda: self.stage.vend(account), subject.case.fault)


class EnvironmentGone(Renewal):
    """A kill that takes the function's disk along: beyond what is promised, but never silent."""

    name = "refresh, environment gone"
    is_promised = False

    def cases(self) -> Iterator[Case]:
        for case in singles(self.name, warm(self.traced(self.strike, cold=True)), cold=False):
            if case.fault is not None and case.fault.kind in KILLS:
                yield case

    def strike(self, subject: Subject) -> None:
        super().strike(subject)
        if subject.case.fault is not None:
            self.stage.lose_disk("refresh")

    def verdict(self, subject: Subject, findings: Sequence[Finding]) -> Verdict:
        verdict = super().verdict(subject, findings)
        if (verdict.outcome, verdict.detail) == ("false relink", "reason rotation_lost"):
            return Verdict(verdict.case, "relink", verdict.detail)
        return verdict


# ---- two faults --------------------------------------------------------------------------------


class Pairs(Renewal):
    """Each fault of a renewal, followed by each fault in the runs that repair it."""

    name = "refresh, pairs"
    runs: ClassVar[int] = 2

    def cases(self) -> Iterator[Case]:
        trace = warm(self.traced(self.strike, cold=True))
        firsts = [case.fault for case in singles(self.name, trace, cold=False)]
        for first in firsts:
            for number, trace in enumerate(self._repairs(first), 1):
                for place in places(trace):
                    for kind in SINGLE:
                        yield Case(self.name, first, Fault(kind, place), after=number)

    def after(self, subjects: Sequence[Subject]) -> None:
        for number in range(1, self.runs + 1):
            self.world.advance(seconds=REST)
            for subject in subjects:
                fault = subject.case.then if subject.case.after == number else None
                vend = partial(self.stage.vend, subject.accounts[0])
                if fault is None:
                    vend()
                else:
                    self.injected(subject, vend, fault)

    def _repairs(self, first: Fault | None) -> list[list[str]]:
        """What the runs after a fault call, until the grant is whole or flagged."""
        subject = self.begin(Case(self.name, first))
        self.age()
        self.strike(subject)
        traces = []
        for _ in range(self.runs):
            self.world.advance(seconds=REST)
            before = self.world.calls().get("refresh", {})
            self.stage.vend(subject.accounts[0])
            if self.world.calls().get("refresh", {}) != before:
                traces.append(warm(self.world.trace("refresh")))
        self.clean([subject])
        self.judge([subject])
        return traces


class Together(Renewal):
    """Two faults in one run."""

    name = "refresh, two in one run"

    def cases(self) -> Iterator[Case]:
        trace = warm(self.traced(self.strike, cold=True))
        for case in singles(self.name, trace, cold=False):
            if case.fault is None or case.fault.kind in KILLS:
                continue
            trace = self.traced(partial(self._with, faults=(case.fault,)), cold=False)
            made = places(warm(trace))
            for place in made[made.index(case.fault.place) + 1 :]:
                for kind in SINGLE:
                    yield Case(self.name, case.fault, Fault(kind, place))

    def strike(self, subject: Subject) -> None:
        self._with(subject, faults=(subject.case.fault, subject.case.then))

    def _with(self, subject: Subject, *, faults: Sequence[Fault | None]) -> None:
        account = subject.accounts[0]
        self.injected(subject, lambda: self.stage.vend(account), *faults)


# ---- rescue ------------------------------------------------------------------------------------


class RescueOfRenewal(Scenario):
    """A pair that the table did not take, in the rescue queue; the disk it was noted on is gone."""

    name = "rescue, of a renewal"
    function = "rescue"
    group = 12

    def cases(self) -> Iterator[Case]:
        cold = self.traced(self.strike, cold=True)
        yield from singles(self.name, cold, cold=True)
        yield from outages(self.name, cold)
        yield Case(self.name, note="redriven three times")
        if self.rotation != "family":
            # Under reuse detection a replay that came before the parcel has ended the grant.
            yield Case(self.name, note="flagged meanwhile")

    def strike(self, subject: Subject) -> None:
        parcels = self.parcels_of(subject)
        assert len(parcels) == 1, parcels
        if subject.case.note == "flagged meanwhile":
            for _ in range(3):
                self.world.advance(seconds=REST)
                self.stage.vend(subject.accounts[0])
        deliver = partial(self.stage.deliver, "RescueFunction", parcels)
        self.injected(subject, deliver, subject.case.fault)
        # What failed comes again, and so does what did not: the queue delivers at least once.
        deliver()
        if subject.case.note == "redriven three times":
            self.stage.vend(subject.accounts[0], rejected=True)  # by now it is an old parcel
            deliver()
            deliver()

    def parcels_of(self, subject: Subject) -> list[str]:
        """Let the table go away between TikTok's answer and the save."""
        self.world.pause_deliveries("rescue")
        save = Fault("refuse", Place("dynamodb.UpdateItem", 2), onwards=True)
        self.world.arm_fault("refresh", **save.as_json())
        self.stage.vend(subject.accounts[0])
        self.stage.lose_disk("refresh")
        parcels = self.stage.take_parcels()
        self.world.pause_deliveries()
        return parcels


class RescueOfLink(RescueOfRenewal):
    """The pair of a new link, with its account and its session's result."""

    name = "rescue, of a link"

    def begin(self, case: Case) -> Subject:
        return Subject(case, person=self.stage.person())

    def cases(self) -> Iterator[Case]:
        cold = self.traced(self.strike, cold=True)
        yield from singles(self.name, cold, cold=True)
        yield from outages(self.name, cold)

    def parcels_of(self, subject: Subject) -> list[str]:
        assert subject.person is not None
        self.world.pause_deliveries("rescue")
        subject.session_id, callback, cookie = self.stage.to_callback(subject.person)
        save = Fault("refuse", Place("dynamodb.UpdateItem", 2), onwards=True)
        self.world.arm_fault("callback", **save.as_json())
        self.stage.come_back(callback, cookie)
        parcels = self.stage.take_parcels()
        self.world.pause_deliveries()
        return parcels

    def clean(self, subjects: Sequence[Subject]) -> None:
        for subject in subjects:
            session = self.stage.session(subject.session_id)
            if session["status"] == "completed":
                subject.accounts = [str(session["account_id"])]
            else:
                subject.findings.append(Finding("silent loss", f"session {session['status']}"))
        super().clean(subjects)


class TableReturns(Scenario):
    """The table away past the lease's end, a pair in the rescue queue, a vend as it returns."""

    name = "table returns"
    function = "refresh"
    group = 1

    def cases(self) -> Iterator[Case]:
        for kind in AWAY:
            save = Fault(kind, Place("dynamodb.UpdateItem", 2), onwards=True)
            yield Case(self.name, save, note="the queue delivers 10 s after the vend")
            yield Case(self.name, save, note="the queue delivers first")

    def strike(self, subject: Subject) -> None:
        account, fault = subject.accounts[0], subject.case.fault
        assert fault is not None
        before = self.stage.refreshes()
        self.world.pause_deliveries("rescue")
        self.injected(subject, lambda: self.stage.vend(account), fault)
        self.world.begin_outage("dynamodb", fault.kind)
        self.stage.lose_disk("refresh")
        for _ in range(2):
            self.world.advance(seconds=REST)
            self.stage.vend(account)
        self.world.end_outage()
        if subject.case.note.endswith("first"):
            self.world.pause_deliveries()
            self.stage.settle()
            self.stage.vend(account)
        else:
            self.stage.vend(account)  # at the very moment: it must not replay
            self.world.advance(seconds=9)
            self.stage.vend(account)
            self.world.pause_deliveries()
            self.stage.settle()
        subject.findings.append(judge_requests(self.stage.refreshes() - before, 1))


# ---- linking -----------------------------------------------------------------------------------


class NewLink(Scenario):
    """The callback of somebody who is not linked yet, judged by what the session promises."""

    name = "callback, new link"
    function = "callback"
    a_grace_helps = False

    def cases(self) -> Iterator[Case]:
        cold = self.traced(self.strike, cold=True)
        yield from singles(self.name, cold, cold=True)
        yield from outages(self.name, cold)

    def begin(self, case: Case) -> Subject:
        return Subject(case, person=self.stage.person())

    def strike(self, subject: Subject) -> None:
        assert subject.person is not None
        subject.session_id, callback, cookie = self.stage.to_callback(subject.person)
        back = partial(self.stage.come_back, callback, cookie)
        self.injected(subject, back, subject.case.fault)

    def after(self, subjects: Sequence[Subject]) -> None:
        """A session that says completed is taken at its word; any other lets the person repeat.

        Not at once: for 30 s the session waits for an attempt that may still be finishing.
        """
        self.world.advance(seconds=REST)
        self.stage.settle()
        for subject in subjects:
            assert subject.person is not None
            session = self.stage.session(subject.session_id)
            if session["status"] == "completed":
                subject.accounts = [str(session["account_id"])]
            else:
                subject.accounts = [self.stage.link(subject.person, subject.session_id)]
                detail = f"session {session['status']}, reason {session.get('reason')}"
                subject.findings.append(Finding("again", detail))
        self.age()

    def traced(self, strike: Callable[[Subject], None], *, cold: bool) -> list[str]:
        subject = self.begin(Case(self.name, cold=cold))
        strike(subject)
        return self.world.trace(self.function)


class LinkAgain(NewLink):
    """The callback over a healthy account, which must not suffer. Nobody presses again."""

    name = "callback, linking again"
    # A code's exchange leaves no intent: where TikTok ended the old grant with it, all that we
    # ever hear is a refusal of the stored token.
    reasons = LOST | {"refresh_token_rejected"}

    def begin(self, case: Case) -> Subject:
        person = self.stage.person()
        account = self.stage.link(person)
        self.stage.vend(account)
        return Subject(case, [account], person=person)

    def after(self, subjects: Sequence[Subject]) -> None:
        # Somebody else's callback in the same environment saves what a dead one left there.
        self.stage.link(self.stage.person())
        self.age()


class Completing(NewLink):
    """The completion of a link by the team's backend, in completion mode app."""

    name = "complete, new link"

    def strike(self, subject: Subject) -> None:
        assert subject.person is not None
        subject.session_id, code = self.stage.to_completion(subject.person)
        act = partial(self.stage.complete, subject.session_id, code, subject.person)
        self.injected(subject, act, subject.case.fault)

    def after(self, subjects: Sequence[Subject]) -> None:
        """A session that says completed is taken at its word; else the person begins anew."""
        self.world.advance(seconds=REST)
        self.stage.settle()
        for subject in subjects:
            assert subject.person is not None
            session = self.stage.session(subject.session_id)
            if session["status"] == "completed":
                subject.accounts = [str(session["account_id"])]
            else:
                subject.accounts = [self.stage.link(subject.person)]
                subject.findings.append(Finding("again", f"session {session['status']}"))
        self.age()


class CompletingAgain(LinkAgain):
    """A completion over a healthy account, which must not suffer. Nobody completes again."""

    name = "complete, linking again"

    def strike(self, subject: Subject) -> None:
        assert subject.person is not None
        subject.session_id, code = self.stage.to_completion(subject.person)
        act = partial(self.stage.complete, subject.session_id, code, subject.person)
        self.injected(subject, act, subject.case.fault)


# ---- unlinking ---------------------------------------------------------------------------------


class Unlinking(Scenario):
    """An unlink while the access token lives."""

    name = "unlink"
    function = "unlink"

    def cases(self) -> Iterator[Case]:
        cold = self.traced(self.strike, cold=True)
        yield from singles(self.name, cold, cold=True)
        yield from outages(self.name, cold)

    def begin(self, case: Case) -> Subject:
        account = self.stage.healthy_account()
        return Subject(case, [account], open_id=str(self.stage.account(account)["open_id"]))

    def age(self) -> None:
        self.world.advance(seconds=REST)

    def strike(self, subject: Subject) -> None:
        account = subject.accounts[0]
        # Others of the group may have let time pass; this one's token lives.
        self.stage.vend(account, min_ttl_seconds=600)
        self.injected(subject, lambda: self.stage.unlink(account), subject.case.fault)

    def clean(self, subjects: Sequence[Subject]) -> None:
        for _ in range(3):
            self.world.advance(seconds=REST)
            self.stage.settle()
            for subject in subjects:
                answer = self.stage.unlink(subject.accounts[0]).json()
                subject.said = answer.get("revoked_at_tiktok", answer)
        self.stage.plan()

    def judge(self, subjects: Sequence[Subject]) -> list[Verdict]:
        verdicts = []
        for subject in subjects:
            finding = judge_unlink(
                status=str(self.stage.account(subject.accounts[0])["status"]),
                gone_at_tiktok=not self.stage.has_grant(subject.open_id),
                said=subject.said,
            )
            verdicts.append(self.verdict(subject, [*subject.findings, finding]))
        return verdicts


class UnlinkingLate(Unlinking):
    """An unlink whose access token is dead, so that it must be renewed to be revoked."""

    name = "unlink, dead access token"

    def age(self) -> None:
        self.world.advance(seconds=LIFE)

    def strike(self, subject: Subject) -> None:
        account = subject.accounts[0]
        self.injected(subject, lambda: self.stage.unlink(account), subject.case.fault)


# ---- outages that last -------------------------------------------------------------------------


class LastingOutage(Scenario):
    """A service away from every function, for longer than a lease and a recovery."""

    name = "lasting outage"
    function = "refresh"
    group = 1
    services: ClassVar[tuple[str, ...]] = (
        "dynamodb",
        "kms",
        "secretsmanager",
        "sqs",
        "lambda",
        "tiktok",
    )

    def cases(self) -> Iterator[Case]:
        for service in self.services:
            for kind in AWAY:
                if (service, kind) != ("tiktok", "500_after"):
                    yield Case(self.name, note=f"{service} away ({kind})")
        # TikTok acts and nobody hears it: of each grant one answer is lost.
        yield Case(self.name, note="tiktok away (500_after)")

    def begin(self, case: Case) -> Subject:
        return Subject(case, [self.stage.healthy_account() for _ in range(3)])

    def strike(self, subject: Subject) -> None:
        service, _, rest = subject.case.note.partition(" away (")
        kind = rest.rstrip(")")
        self.world.begin_outage(service, kind)
        self.world.arm_fault("refresh", cold=True)
        for _ in range(2):
            self.stage.vend(subject.accounts[0])
            self.stage.work(subject.accounts[1:])
            self.world.invoke("RefreshFunction")
            self.world.advance(seconds=REST)
        subject.hits += [Hit.read(told) for told in self.world.hits("refresh")]
        self.world.end_outage()
        for account in subject.accounts:
            self.stage.vend(account)  # at the very moment that it ends


# ---- frozen and overtaken ----------------------------------------------------------------------


class Frozen(Scenario):
    """A worker that stops at a call past its own lease, is overtaken, and wakes up."""

    name = "stale worker"
    function = "refresh"
    group = 1

    def cases(self) -> Iterator[Case]:
        yield from holds(self.name, self.traced(self.renewed, cold=True), cold=True)

    def strike(self, subject: Subject) -> None:
        open_id = str(self.stage.account(subject.accounts[0])["open_id"])
        self.held(subject, partial(self.overtake, subject))
        subject.outlived = self.rotation == "family" and not self.stage.has_grant(open_id)

    def overtake(self, subject: Subject) -> None:
        for _ in range(3):
            self.world.advance(seconds=REST)
            self.stage.vend(subject.accounts[0])


class Relinked(Frozen):
    """The person links again while a renewal is at a call."""

    name = "relink in the middle"

    def begin(self, case: Case) -> Subject:
        person = self.stage.person()
        account = self.stage.link(person)
        self.stage.vend(account)
        return Subject(case, [account], person=person)

    def strike(self, subject: Subject) -> None:
        person = subject.person
        assert person is not None
        self.held(subject, lambda: subject.findings.extend(self._again(subject, person)))

    def _again(self, subject: Subject, person: Person) -> list[Finding]:
        account = self.stage.link(person)
        return [] if account == subject.accounts[0] else [Finding("silent loss", "another id")]


class Unlinked(Unlinking):
    """The backend unlinks while a renewal is at a call."""

    name = "unlink in the middle"
    function = "refresh"
    group = 1

    def cases(self) -> Iterator[Case]:
        yield from holds(self.name, self.traced(self.renewed, cold=True), cold=True)

    def age(self) -> None:
        self.world.advance(seconds=LIFE)

    def strike(self, subject: Subject) -> None:
        self.held(subject, partial(self.stage.unlink, subject.accounts[0]))


class Removed(Unlinked):
    """The person removes the app at TikTok while a renewal is at a call, and the webhook comes."""

    name = "webhook in the middle"

    def strike(self, subject: Subject) -> None:
        self.held(subject, partial(self._remove, subject))

    def _remove(self, subject: Subject) -> None:
        self.world.tiktok("POST", f"/users/{subject.open_id}/remove", {"reason": 1})
        self.world.tiktok("POST", "/webhooks/deliver", {"everything": True})

    def clean(self, subjects: Sequence[Subject]) -> None:
        Scenario.clean(self, subjects)

    def judge(self, subjects: Sequence[Subject]) -> list[Verdict]:
        verdicts = []
        for subject in subjects:
            account = subject.accounts[0]
            status, vended = self.stage.account(account)["status"], self.stage.vend(account)
            gone = not self.stage.has_grant(subject.open_id)
            is_right = status == "revoked" and vended.status_code == 410 and gone
            detail = f"status {status}, vend {vended.status_code}, gone at TikTok: {gone}"
            finding = Finding("ok") if is_right else Finding("not ended", detail)
            verdicts.append(self.verdict(subject, [*subject.findings, finding]))
        return verdicts


# ---- many at once ------------------------------------------------------------------------------


class EightAtOnce(Scenario):
    """Eight processes with the same grants: TikTok hears one request for each grant."""

    name = "eight at once"
    function = "refresh"
    group = 1
    grants: ClassVar[int] = 4
    rounds: ClassVar[int] = 6

    def cases(self) -> Iterator[Case]:
        for number in range(self.rounds):
            yield Case(self.name, note=f"on demand, round {number + 1}")
            yield Case(self.name, note=f"duplicate batches, round {number + 1}")
        chance = random.Random(self.rotation)  # noqa: S311 - a seed, so that it can be repeated
        trace = warm(self.traced(self.renewed, cold=True))
        for number in range(self.rounds):
            place, kind = chance.choice(places(trace)), chance.choice(KILLS)
            for way in ("on demand", "duplicate batches"):
                note = f"{way}, one killed, round {number + 1}"
                yield Case(self.name, Fault(kind, place), note=note)

    def begin(self, case: Case) -> Subject:
        return Subject(case, [self.stage.healthy_account() for _ in range(self.grants)])

    def strike(self, subject: Subject) -> None:
        before = self.stage.refreshes()
        if subject.case.note.startswith("on demand"):
            jobs = [partial(self.stage.renew, account) for account in subject.accounts] * AT_ONCE
        else:
            jobs = [partial(self.stage.work, subject.accounts)] * AT_ONCE
        self.world.share_waits(False)  # real races need real waits

        def all_at_once() -> None:
            with ThreadPoolExecutor(AT_ONCE) as threads:
                for job in [threads.submit(job) for job in jobs]:
                    job.result()

        self.injected(subject, all_at_once, subject.case.fault)
        self.world.share_waits()
        if subject.case.fault is not None:
            self.stage.start_where_it_stopped("refresh")
        else:
            made = self.stage.refreshes() - before
            subject.findings.append(judge_requests(made, self.grants))


SCENARIOS: tuple[type[Scenario], ...] = (
    Renewal,
    Worker,
    BatchWorker,
    EnvironmentGone,
    Planning,
    Vending,
    RescueOfRenewal,
    RescueOfLink,
    NewLink,
    LinkAgain,
    Completing,
    CompletingAgain,
    Unlinking,
    UnlinkingLate,
    Frozen,
    Relinked,
    Unlinked,
    Removed,
    TableReturns,
    LastingOutage,
    EightAtOnce,
    Together,
    Pairs,
)
"""Every scenario, in the order of the report. A new handler is a class and a line here."""

__all__ = ["SCENARIOS", "SPENDING", "Scenario", "Subject"]
