"""The crash sweep: one fault at every call of every function that spends or stores tokens.

    make faults                       # all of it, a table in docs/faults.md
    python -m tests.faults.sweep -h   # parts of it

Each case has a link of its own. A fault is put at one call of one invocation; then the fault is
over, the clock moves on twice, and the stack is used as usual. An oracle compares what TikTok
holds alive with what the stack can vend:

* ``ok``: a token is vended and TikTok takes it (or, after an unlink, the grant is gone).
* ``relink``: the account says ``relink_required``, reason ``rotation_lost``. Right only where
  TikTok's own answer was lost before a byte of it could be kept.
* ``silent loss``: the account says active and no token comes.
* ``false relink``: the owner is asked for although TikTok's answer was not lost.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.testing import WorldHandle, running_world
from tests.faults.people import ACCESS_SECONDS, Person, Stage, vend_through_outage

SINGLE = (
    "kill_before",
    "kill_after",
    "lose_reply",
    "refuse",
    "500_before",
    "500_after",
    "throttle",
)
ANSWER_LOST = ("kill_after", "lose_reply", "500_after")
"""At TikTok's token endpoint these lose the answer after TikTok has acted."""

REST = 70
"""Seconds between the clean runs: past the lease (35 s) and the wait for recovery (30 s)."""

ROW = Path(__file__).resolve().parents[2] / "docs" / "faults.md"


@dataclass(frozen=True, slots=True)
class Case:
    """One fault in one scenario. ``may_lose`` says that TikTok's answer itself is lost in it."""

    scenario: str
    function: str
    place: str
    fault: dict[str, Any]
    may_lose: bool
    stale: bool = False

    @property
    def kind(self) -> str:
        return str(self.fault.get("label") or self.fault["kind"])


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a case ended."""

    case: Case
    outcome: str
    detail: str = ""

    @property
    def is_right(self) -> bool:
        return self.outcome == "ok" or (self.outcome == "relink" and self.case.may_lose)


class Sweep:
    """Runs cases one after the other in one world."""

    def __init__(self, world: WorldHandle, rotation: str) -> None:
        self.world = world
        self.stage = Stage(world)
        self.rotation = rotation
        world.tiktok(
            "POST",
            "/settings",
            {"rotation": rotation, "grace_seconds": 3600, "access_seconds": ACCESS_SECONDS},
        )
        # The first link of a world makes the data keys, which no later case does again.
        self.stage.link(self.stage.person())

    # -- the cases ---------------------------------------------------------------------------------

    def renewal_cases(self, *, cold: bool) -> Iterator[Case]:
        """A fault at every call of a renewal that a vend asks for."""
        person = self.stage.person()
        account = self._with_dead_token(person)
        self.world.arm_fault("refresh", cold=cold)
        assert self.stage.vend(account).status_code == 200
        yield from self._single("renewal", "refresh", self.world.trace("refresh"), cold=cold)

    def vending_cases(self) -> Iterator[Case]:
        """A fault at every call of the vend around a renewal."""
        account = self._with_dead_token(self.stage.person())
        self.world.arm_fault("tokens", cold=True)
        assert self.stage.vend(account).status_code == 200
        yield from self._single("vending", "tokens", self.world.trace("tokens"), cold=True)

    def linking_cases(self) -> Iterator[Case]:
        """A fault at every call of the callback, for a new link and for linking again."""
        person = self.stage.person()
        self.world.arm_fault("callback", cold=True)
        self.stage.link(person)
        trace = self.world.trace("callback")
        yield from self._single("linking", "callback", trace, cold=True)
        yield from self._single("linking again", "callback", trace, cold=True)

    def unlinking_cases(self) -> Iterator[Case]:
        """A fault at every call of an unlink, with a live and with a dead access token."""
        for scenario in ("unlinking", "unlinking late"):
            person = self.stage.person()
            account = self.stage.link(person)
            if scenario == "unlinking late":
                self.world.advance(seconds=ACCESS_SECONDS + 100)
            self.world.arm_fault("unlink", cold=True)
            assert self.stage.unlink(account).json()["revoked_at_tiktok"] is True
            yield from self._single(scenario, "unlink", self.world.trace("unlink"), cold=True)

    def outage_cases(self) -> Iterator[Case]:
        """Each service away from call k of a renewal on."""
        account = self._with_dead_token(self.stage.person())
        self.world.arm_fault("refresh", cold=True)
        assert self.stage.vend(account).status_code == 200
        trace = self.world.trace("refresh")
        for number, name in enumerate(trace, 1):
            service = name.partition(".")[0]
            # TikTok may take all the time there is, which is not an outage of ours.
            kinds = (
                ("refuse", "500_after") if service == "tiktok" else ("refuse", "500_after", "hang")
            )
            for kind in kinds:
                fault = {
                    "kind": kind,
                    "call": number,
                    "onwards": True,
                    "service": service,
                    "cold": True,
                    "label": f"outage ({kind})",
                }
                lost = service == "tiktok" and kind == "500_after"
                yield Case("outage", "refresh", f"{number} {name}", fault, lost)

    def stale_cases(self) -> Iterator[Case]:
        """A worker that freezes at a call, past its lease, and wakes up while another works."""
        account = self._with_dead_token(self.stage.person())
        assert self.stage.vend(account).status_code == 200
        for number, name in enumerate(self.world.trace("refresh"), 1):
            fault = {"kind": "stall", "call": number, "seconds": 1.5, "label": "frozen past lease"}
            # Frozen with TikTok's answer unread, another worker's careful repeat may come first.
            lost = name == "tiktok.token"
            yield Case("stale worker", "refresh", f"{number} {name}", fault, lost, stale=True)

    def line_cases(self, lines: int) -> Iterator[Case]:
        """The process ends at each line of ours after TikTok's answer."""
        account = self._with_dead_token(self.stage.person())
        assert self.stage.vend(account).status_code == 200
        trace = self.world.trace("refresh")
        spending = trace.index("tiktok.token") + 1
        for line in range(lines):
            fault = {"kind": "kill_line", "call": spending, "line": line}
            # Whether the bytes were kept is what this measures: the window counts them.
            yield Case("window", "refresh", f"line {line:3d}", fault, may_lose=True)

    def _single(
        self, scenario: str, function: str, trace: Sequence[str], *, cold: bool
    ) -> Iterator[Case]:
        for number, name in enumerate(trace, 1):
            for kind in SINGLE:
                lost = name == "tiktok.token" and kind in ANSWER_LOST and self.rotation != "grace"
                fault = {"kind": kind, "call": number, "cold": cold}
                yield Case(scenario, function, f"{number} {name}", fault, lost)

    def pair_cases(self) -> Iterator[tuple[Case, Case]]:
        """Every fault of a warm renewal followed by every fault of the one that repairs it."""
        singles = list(self.renewal_cases(cold=False))
        for first in singles:
            for second in singles:
                yield first, second

    # -- one case ----------------------------------------------------------------------------------

    def run(self, case: Case) -> Verdict:
        """Inject, recover, judge."""
        act: dict[str, Callable[[Case], Verdict]] = {
            "linking": self._run_linking,
            "linking again": self._run_linking,
            "unlinking": self._run_unlinking,
            "unlinking late": self._run_unlinking,
        }
        return act.get(case.scenario, self._run_renewal)(case)

    def run_pair(self, first: Case, second: Case) -> Verdict:
        """Two faults: the second in the invocation that should repair the first."""
        account = self._with_dead_token(self.stage.person())
        self.world.arm_fault("refresh", **first.fault)
        vend_through_outage(self.stage, account)
        self.world.advance(seconds=REST)
        self.stage.vend(account)  # starts the recovery where there is something to recover
        self.world.advance(seconds=REST)
        self.world.arm_fault("refresh", **second.fault)
        vend_through_outage(self.stage, account)
        self.world.arm_fault("refresh")  # an unused fault must not reach the clean runs
        pair = Case(
            "pairs",
            "refresh",
            f"{first.kind} at {first.place}, then {second.kind} at {second.place}",
            {"kind": f"{first.kind} + {second.kind}"},
            first.may_lose or second.may_lose,
        )
        return self._judge(pair, account)

    def _run_renewal(self, case: Case) -> Verdict:
        account = self._with_dead_token(self.stage.person())
        self.world.arm_fault(case.function, **case.fault)
        if case.stale:
            self._overtake(account)
        else:
            vend_through_outage(self.stage, account)
        return self._judge(case, account)

    def _run_linking(self, case: Case) -> Verdict:
        person = self.stage.person()
        if case.scenario == "linking again":
            self.stage.link(person)
        _, callback, cookie = self.stage.to_callback(person)
        self.world.arm_fault("callback", **case.fault)
        self.stage.come_back(callback, cookie)
        self.world.settle()
        # The person presses the button again: whatever happened, this must lead to a working link.
        account = self.stage.link(person)
        self.world.advance(seconds=ACCESS_SECONDS + 100)
        return self._judge(case, account)

    def _run_unlinking(self, case: Case) -> Verdict:
        account = self.stage.link(self.stage.person())
        open_id = str(self.stage.account(account)["open_id"])
        if case.scenario == "unlinking late":
            self.world.advance(seconds=ACCESS_SECONDS + 100)
        self.world.arm_fault("unlink", **case.fault)
        self.stage.unlink(account)
        said: Any = None
        for _ in range(3):
            self.world.advance(seconds=REST)
            said = self.stage.unlink(account).json()
        status = self.stage.account(account)["status"]
        gone = not self.stage.has_grant(open_id)
        if status == "unlinked" and gone and said["revoked_at_tiktok"] in (True, "not_needed"):
            return Verdict(case, "ok")
        return Verdict(case, "not ended", f"{status}, gone at TikTok: {gone}, said {said}")

    def _with_dead_token(self, person: Person) -> str:
        account = self.stage.link(person)
        self.world.advance(seconds=ACCESS_SECONDS + 100)
        return account

    def _overtake(self, account: str) -> None:
        """Let others renew while the first worker is frozen, past its lease and their wait."""
        first = threading.Thread(target=self.stage.vend, args=(account,))
        first.start()
        time.sleep(0.4)  # the frozen worker sleeps for 1.5 s of real time
        for _ in range(3):
            self.world.advance(seconds=REST)
            self.stage.vend(account)
        first.join()

    def _judge(self, case: Case, account: str) -> Verdict:
        for _ in range(2):
            self.world.advance(seconds=REST)
            self.world.settle()
            self.stage.vend(account)
        answer = self.stage.vend(account)
        if answer.status_code == 200:
            if self.stage.is_alive(answer.json()["access_token"]):
                return Verdict(case, "ok")
            return Verdict(case, "silent loss", "the vended token is dead at TikTok")
        body = answer.json()
        if body.get("code") == "relink_required":
            reason = str(body.get("reason"))
            if not case.may_lose:
                return Verdict(case, "false relink", reason)
            wrong = "" if reason == "rotation_lost" else f"reason {reason}"
            return Verdict(case, "wrong reason" if wrong else "relink", wrong)
        return Verdict(case, "silent loss", f"{answer.status_code} {body.get('code')}")


def table(verdicts: Sequence[Verdict]) -> str:
    """Scenario by fault: cases, then how they ended."""
    rows: dict[tuple[str, str], Counter[str]] = {}
    for verdict in verdicts:
        key = (verdict.case.scenario, verdict.case.kind.partition(" +")[0])
        rows.setdefault(key, Counter())[verdict.outcome] += 1
    lines = [
        "| scenario | fault | cases | ok | relink, TikTok's answer lost | anything else |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for (scenario, kind), counts in sorted(rows.items()):
        other = counts.total() - counts["ok"] - counts["relink"]
        lines.append(
            f"| {scenario} | {kind} | {counts.total()} | {counts['ok']} | {counts['relink']}"
            f" | {other} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the sweep, print its table, write docs/faults.md; 1 if anything is wrong."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rotation", nargs="*", default=["strict", "grace", "family"])
    arguments.add_argument("--only", nargs="*", help="scenarios, such as renewal or linking")
    arguments.add_argument("--pairs", action="store_true", help="all pairs of a renewal too")
    arguments.add_argument("--lines", type=int, default=130, help="lines after TikTok's answer")
    arguments.add_argument("--write", action="store_true", help="write docs/faults.md")
    wanted = arguments.parse_args()
    began = time.monotonic()
    report: list[str] = []
    wrong: list[Verdict] = []
    total = 0
    for rotation in wanted.rotation:
        with running_world(SCOPES_OPTIONAL="") as world:
            verdicts = _sweep(world, rotation, wanted)
        total += len(verdicts)
        wrong += [verdict for verdict in verdicts if not verdict.is_right]
        report += [f"## Rotation: {rotation}", "", table(verdicts), ""]
        if any(v.case.scenario == "window" for v in verdicts):
            report += [_window(verdicts), ""]
    print("\n".join(report))
    for verdict in wrong:
        print(f"WRONG {verdict.case.scenario}, {verdict.case.kind} at {verdict.case.place}:")
        print(f"      {verdict.outcome} {verdict.detail}")
    print(f"{total} faults injected, {len(wrong)} wrong, {time.monotonic() - began:.0f} s")
    if wanted.write:
        _write(report, total, len(wrong))
    return 1 if wrong else 0


def _sweep(world: WorldHandle, rotation: str, wanted: argparse.Namespace) -> list[Verdict]:
    sweep = Sweep(world, rotation)
    sources: dict[str, Callable[[], Iterator[Case]]] = {
        "renewal": lambda: sweep.renewal_cases(cold=False),
        "renewal cold": lambda: sweep.renewal_cases(cold=True),
        "vending": sweep.vending_cases,
        "linking": sweep.linking_cases,
        "unlinking": sweep.unlinking_cases,
        "outage": sweep.outage_cases,
        "stale": sweep.stale_cases,
        "window": lambda: sweep.line_cases(wanted.lines if rotation == "strict" else 0),
    }
    verdicts: list[Verdict] = []
    for name, source in sources.items():
        if wanted.only and name not in wanted.only:
            continue
        cases = list(source())
        for done, case in enumerate(cases, 1):
            verdicts.append(sweep.run(case))
            _progress(rotation, name, done, len(cases), verdicts[-1])
    if wanted.pairs:
        pairs = list(sweep.pair_cases())
        for done, (first, second) in enumerate(pairs, 1):
            verdicts.append(sweep.run_pair(first, second))
            _progress(rotation, "pairs", done, len(pairs), verdicts[-1])
    return verdicts


def _window(verdicts: Sequence[Verdict]) -> str:
    lines = [v for v in verdicts if v.case.scenario == "window"]
    lost = [v for v in lines if v.outcome == "relink"]
    return (
        f"Killed at each of the {len(lines)} lines of ours after TikTok's answer began to arrive:"
        f" {len(lost)} lie before the first durable byte."
    )


def _progress(rotation: str, name: str, done: int, of: int, verdict: Verdict) -> None:
    if not verdict.is_right:
        print(f"\rWRONG {verdict.case} {verdict.outcome} {verdict.detail}", file=sys.stderr)
    if sys.stderr.isatty() or done == of:
        print(f"\r{rotation}: {name} {done}/{of}", end="\n" if done == of else "", file=sys.stderr)


def _write(report: Sequence[str], total: int, wrong: int) -> None:
    head = [
        "# What the crash sweep found",
        "",
        f"{total} faults injected, {wrong} with a wrong end. Made by `make faults`;",
        "tests/faults/sweep.py says what each row means.",
        "",
    ]
    ROW.write_text("\n".join([*head, *report]).rstrip() + "\n")


if __name__ == "__main__":
    sys.exit(main())
