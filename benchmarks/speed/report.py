"""The figures of `make bench` as Markdown: medians, and ratios made round by round."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.speed.cold import (
    OURS,
    PEER_FUNCTIONS,
    USUAL,
    USUAL_PLAIN,
    WAYS,
)
from benchmarks.speed.shares import CORE_MB, SIZES
from benchmarks.speed.stage import FUNCTIONS

LIBRARIES = {"with_allauth": "django-allauth", "with_authlib": "Authlib, Flask client"}
RENEWING = {
    "naive": "requests.post and KMS for each account",
    "authlib": "Authlib, a session for each account: the request alone",
    "post-seal-save": "ours: POST, seal and save alone",
    "whole": "ours: the whole pipeline",
}


@dataclass(slots=True)
class Figures:
    """Samples by what was measured and by way, one for each round."""

    samples: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, what: str, way: str, value: float) -> None:
        """One round's figure."""
        self.samples[what, way].append(value)

    def has(self, what: str, way: str) -> bool:
        """Whether it was measured."""
        return (what, way) in self.samples

    def median(self, what: str, way: str) -> float:
        """The rounds' median."""
        return statistics.median(self.samples[what, way])

    def ratio(self, what: str, way: str, other: str) -> tuple[float, float, float]:
        """Median, least and most of the rounds' ratios."""
        pairs = zip(self.samples[what, way], self.samples[what, other], strict=True)
        ratios = [mine / others for mine, others in pairs]
        return statistics.median(ratios), min(ratios), max(ratios)

    def told(self, what: str, way: str, other: str) -> str:
        """A ratio with its spread."""
        median, least, most = self.ratio(what, way, other)
        return f"{median:.2f} ({least:.2f}-{most:.2f})"


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio that is wanted."""

    text: str
    what: str
    way: str
    other: str
    most: float


TARGETS = (
    Target(
        "cold start and first authorize, of the usual stack without bytecode",
        "cold authorize",
        OURS,
        USUAL_PLAIN,
        0.30,
    ),
    Target(
        "cold start and first authorize, of the usual stack with bytecode",
        "cold authorize",
        OURS,
        USUAL,
        0.60,
    ),
    Target("a link, of django-allauth's", "link", OURS, "with_allauth", 1 / 8),
)
MOST_SEALING_MS = 0.010


def report(figures: Figures, machine: str, rounds: int) -> str:
    """All tables."""
    parts = [
        f"{machine}; medians of {rounds} interleaved rounds, CPU in milliseconds.",
        _targets(figures),
        _cold(figures),
        _operations(figures),
        _renewals(figures),
        _memory(figures),
        *_by_memory(figures),
    ]
    return "\n\n".join(parts)


def sentences(figures: Figures) -> str:
    """What the README says of all this."""
    usual = figures.ratio("cold authorize", OURS, USUAL_PLAIN)[0]
    link = 1 / figures.ratio("link", OURS, "with_allauth")[0]
    renewal = 1 / figures.ratio("renewal", "whole", "naive")[0]
    return "\n".join(
        (
            f"* A cold start with its first `authorize` costs {usual:.2f} of the CPU"
            " that the usual stack costs as `sam build` ships it"
            f" ({figures.median('cold authorize', OURS):.0f} against"
            f" {figures.median('cold authorize', USUAL_PLAIN):.0f} ms).",
            f"* A whole link costs 1/{link:.1f} of the CPU that django-allauth takes"
            f" ({figures.median('link', OURS):.1f} against"
            f" {figures.median('link', 'with_allauth'):.1f} ms),"
            " although it makes signed calls to DynamoDB.",
            f"* Sealing a token takes {1000 * figures.median('sealing', OURS):.1f} microseconds,"
            f" and a renewal 1/{renewal:.1f} of the CPU of one that asks KMS for each account.",
        )
    )


def _targets(figures: Figures) -> str:
    lines = ["| wanted | at most | found (least-most) | |", "|---|---:|---:|---|"]
    for target in TARGETS:
        found = figures.ratio(target.what, target.way, target.other)[0]
        verdict = "reached" if found <= target.most else "**missed**"
        told = figures.told(target.what, target.way, target.other)
        lines.append(f"| {target.text} | {target.most:.3g} | {told} | {verdict} |")
    sealing = figures.median("sealing", OURS)
    verdict = "reached" if sealing <= MOST_SEALING_MS else "**missed**"
    lines.append(
        f"| sealing one token, microseconds | {1000 * MOST_SEALING_MS:.0f} "
        f"| {1000 * sealing:.1f} | {verdict} |"
    )
    return "\n".join(lines)


def _cold(figures: Figures) -> str:
    lines = [
        "**A cold start with its first request**, the interpreter's own start included:",
        "",
        f"| function | {' | '.join(WAYS)} | as built, of the usual without bytecode |",
        f"|---|{'---:|' * (len(WAYS) + 1)}",
    ]
    for function in FUNCTIONS:
        what = f"cold {function}"
        cells = [
            f"{figures.median(what, way):.0f}" if figures.has(what, way) else "" for way in WAYS
        ]
        cells.append(figures.told(what, OURS, USUAL_PLAIN) if function in PEER_FUNCTIONS else "")
        lines.append(f"| {function} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _operations(figures: Figures) -> str:
    rows: list[tuple[str, str, str, Sequence[str]]] = [
        ("a link, start to end", "link", "as built", (OURS,)),
        ("", "link", "usual stack", (USUAL,)),
        *(("", "link", title, (way,)) for way, title in LIBRARIES.items()),
        ("authorize", "authorize", "as built", (OURS,)),
        ("", "authorize", "usual stack", (USUAL,)),
        ("callback", "callback", "as built", (OURS,)),
        ("", "callback", "usual stack", (USUAL,)),
        ("a token that is alive", "vend", "as built", (OURS,)),
        ("", "vend", "usual stack, KMS opens it", (USUAL,)),
    ]
    lines = [
        "**Warm**, one operation in a process that has done it before:",
        "",
        "| operation | whose | CPU | ours of it (least-most) |",
        "|---|---|---:|---:|",
    ]
    for title, what, whose, (way,) in rows:
        ratio = "" if way == OURS else figures.told(what, OURS, way)
        lines.append(f"| {title} | {whose} | {figures.median(what, way):.2f} | {ratio} |")
    lines.append(f"| sealing one token | ours | {figures.median('sealing', OURS):.4f} | |")
    kms = figures.median("sealing", "kms")
    share = figures.median("sealing", OURS) / kms
    lines.append(f"| | one call to KMS, its answer's time not counted | {kms:.2f} | {share:.4f} |")
    return "\n".join(lines)


def _renewals(figures: Figures) -> str:
    lines = [
        "**Renewals**, as `make bench-renewal` measures them, but shorter:",
        "",
        "| way | CPU each | of the naive (least-most) |",
        "|---|---:|---:|",
    ]
    for way, title in RENEWING.items():
        told = figures.told("renewal", way, "naive")
        lines.append(f"| {title} | {figures.median('renewal', way):.1f} | {told} |")
    return "\n".join(lines)


def _memory(figures: Figures) -> str:
    lines = [
        "**Memory**, the most that a process had after its first request, in MB:",
        "",
        "| function | as built | usual stack |",
        "|---|---:|---:|",
    ]
    for function in FUNCTIONS:
        what = f"memory {function}"
        usual = f"{figures.median(what, USUAL):.0f}" if figures.has(what, USUAL) else ""
        lines.append(f"| {function} | {figures.median(what, OURS):.0f} | {usual} |")
    return "\n".join(lines)


def _by_memory(figures: Figures) -> list[str]:
    """One table; none where the machine lets nobody divide a core."""
    if not figures.has(f"duration {FUNCTIONS[0]}", f"{CORE_MB}"):
        return []
    lines = [
        "**A cold start by memory size**: milliseconds from the process's start to its end with the"
        f" share of a core that Lambda gives, of which {CORE_MB} MB have one; in brackets what is"
        " paid for it, in GB-seconds:",
        "",
        f"| function | {' | '.join(f'{size} MB' for size in SIZES)} |",
        f"|---|{'---:|' * len(SIZES)}",
    ]
    for function in FUNCTIONS:
        cells = []
        for size in SIZES:
            took = figures.median(f"duration {function}", f"{size}")
            cells.append(f"{took:.0f} ({took / 1000 * size / 1024:.2f})")
        lines.append(f"| {function} | {' | '.join(cells)} |")
    return ["\n".join(lines)]
