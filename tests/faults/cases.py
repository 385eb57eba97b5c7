"""What is injected: faults, the calls they hit, and the cases made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SINGLE = (
    "kill_before",
    "kill_after",
    "lose_reply",
    "refuse",
    "500_before",
    "500_after",
    "throttle",
)
KILLS = ("kill_before", "kill_after")
AWAY = ("refuse", "500_before", "500_after", "throttle", "hang")
"""How a service can be away."""

SPENDING = "tiktok.token"
ANSWER_LOST = ("kill_after", "lose_reply", "500_after")
"""At TikTok's token endpoint these lose the answer after TikTok has acted."""


@dataclass(frozen=True, slots=True)
class Place:
    """One call of an invocation: the ``nth`` of its name, the same in a cold and a warm process."""

    call: str
    nth: int = 1

    def __str__(self) -> str:
        return self.call if self.nth == 1 else f"{self.call} #{self.nth}"

    @property
    def service(self) -> str:
        return self.call.partition(".")[0]


def places(trace: Sequence[str]) -> list[Place]:
    """The calls of a trace, told apart."""
    made: Counter[str] = Counter()
    found = []
    for call in trace:
        made[call] += 1
        found.append(Place(call, made[call]))
    return found


def warm(trace: Sequence[str]) -> list[str]:
    """A cold renewal's trace without what a warm process has: the keys, the secret."""
    found: list[str] = []
    for call in trace:
        if call.startswith(("kms.", "secretsmanager.")):
            continue
        if call == "dynamodb.GetItem" and found:  # the first reads the grant, the others keys
            continue
        found.append(call)
    return found


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at one call, or with ``onwards`` to its whole service from that call on."""

    kind: str
    place: Place
    onwards: bool = False
    when: str = ""

    @property
    def label(self) -> str:
        """What the report calls it."""
        if self.onwards:
            return f"{self.place.service} away ({self.kind})"
        return f"{self.kind} {self.when}".strip()

    def __str__(self) -> str:
        since = " from" if self.onwards else " at"
        return f"{self.label}{since} {self.place}"

    def as_json(self) -> dict[str, Any]:
        """As the control port takes it."""
        fault: dict[str, Any] = {"kind": self.kind, "call": self.place.call, "nth": self.place.nth}
        if self.onwards:
            fault |= {"onwards": True, "service": self.place.service}
        return fault | ({"when": self.when} if self.when else {})


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that goes wrong, or two: ``then`` in the invocation that comes ``after``.

    ``after`` counts the invocations in between: 0 is the same one.
    """

    scenario: str
    fault: Fault | None = None
    then: Fault | None = None
    after: int = 0
    cold: bool = False
    note: str = ""

    @property
    def label(self) -> str:
        """Its row in the report."""
        return self.fault.label if self.fault is not None else self.note

    @property
    def hits_wanted(self) -> tuple[tuple[str, str], ...]:
        """(kind, call) of each fault that must have acted for the case to count."""
        return tuple((f.kind, f.place.call) for f in (self.fault, self.then) if f is not None)

    def __str__(self) -> str:
        words = [self.scenario + ":"]
        words += ["cold"] if self.cold else []
        words += [str(self.fault)] if self.fault is not None else []
        if self.then is not None:
            when = "in the same run" if self.after == 0 else f"in run {self.after} after it"
            words += [f"and {self.then} {when}"]
        return " ".join([*words, *([self.note] if self.note else [])])


@dataclass(frozen=True, slots=True)
class Hit:
    """A call at which a fault acted, as the world tells it."""

    kind: str
    call: str
    exposed: int

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Hit:
        return cls(str(told["kind"]), str(told["call"]), int(told["exposed"]))

    @property
    def lost_an_answer(self) -> bool:
        """Whether TikTok acted and its answer ended here: its own, or one that a kill took along.

        A kill ends every thread. Where another thread's answer was under way, or just read, that
        pair is gone with it.
        """
        if self.call == SPENDING and self.kind in ANSWER_LOST:
            return True
        return self.kind in KILLS and self.exposed > 0


def were_hit(case: Case, hits: Sequence[Hit]) -> bool:
    """Whether everything that the case wants to inject was injected."""
    wanted = Counter(case.hits_wanted)
    return not wanted - Counter((hit.kind, hit.call) for hit in hits)


# -- how cases are made from a trace ------------------------------------------------------------


def singles(scenario: str, trace: Sequence[str], *, cold: bool) -> Iterator[Case]:
    """Every fault at every call."""
    for place in places(trace):
        for kind in SINGLE:
            yield Case(scenario, Fault(kind, place), cold=cold)


def outages(scenario: str, trace: Sequence[str]) -> Iterator[Case]:
    """Each service away from each of its calls on."""
    for place in places(trace):
        for kind in AWAY:
            yield Case(scenario, Fault(kind, place, onwards=True), cold=True)


def holds(scenario: str, trace: Sequence[str], *, cold: bool, note: str = "") -> Iterator[Case]:
    """Stopped before and after each call."""
    for place in places(trace):
        for when in ("before", "after"):
            yield Case(scenario, Fault("hold", place, when=when), cold=cold, note=note)
