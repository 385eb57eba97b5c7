"""The report of a sweep: counts by handler and fault, and the one line that sums them up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tests.faults.oracle import NOT_REACHED, Verdict
from tests.faults.scenarios import SCENARIOS

BEYOND = frozenset(kind.name for kind in SCENARIOS if not kind.is_promised)


def _counted(verdicts: Sequence[Verdict]) -> list[Verdict]:
    return [v for v in verdicts if v.outcome != NOT_REACHED and v.case.scenario not in BEYOND]


def summary(verdicts: Sequence[Verdict]) -> str:
    """The sentence that the README quotes."""
    counted = _counted(verdicts)
    outcomes = Counter(v.outcome for v in counted)
    lost = sum(outcomes[name] for name in ("silent loss", "wrong reason", "not ended"))
    return (
        f"{len(counted):,} faults injected, {lost} links lost without TikTok's own answer being"
        f" lost, {outcomes['false relink']} false relinks"
    )


def table(verdicts: Sequence[Verdict]) -> list[str]:
    """Handler by fault: cases, then how they ended."""
    rows: dict[tuple[str, str], Counter[str]] = {}
    for verdict in verdicts:
        if verdict.outcome == NOT_REACHED:
            continue
        case = verdict.case
        label = case.label.partition(", round")[0]
        rows.setdefault((case.scenario, label), Counter())[verdict.outcome] += 1
    lines = [
        "| handler | fault | cases | ok | pressed again | relink, answer lost | anything else |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for (scenario, label), counts in rows.items():
        other = counts.total() - counts["ok"] - counts["again"] - counts["relink"]
        lines.append(
            f"| {scenario} | {label} | {counts.total()} | {counts['ok']} | {counts['again']}"
            f" | {counts['relink']} | {other} |"
        )
    return lines


def wrong_ends(verdicts: Sequence[Verdict]) -> list[str]:
    """Each wrong end on a line."""
    return [f"{v.case}: {v.outcome}, {v.detail}" for v in verdicts if not v.is_right]


def page(
    results: Mapping[str, Sequence[Verdict]],
    *,
    seconds: float,
    worlds: int,
    every: int = 1,
    code: str = "",
) -> str:
    """docs/faults.md, whole; with ``every``, of each rotation only every n-th case was run.

    ``code`` says which version of the product was swept.
    """
    all_of_them = [verdict for verdicts in results.values() for verdict in verdicts]
    unreached = sum(v.outcome == NOT_REACHED for v in all_of_them)
    part = "" if every == 1 else f" --every {every}"
    lines = [
        "# What the crash sweep found",
        "",
        f"**{summary(all_of_them)}.**",
        "",
        f"Made by `python -m tests.faults.sweep --write{part}` (`make faults` runs every case) in"
        f" {seconds / 60:.0f} minutes with {worlds} worlds at a time;"
        " nothing here is written by hand.",
        *([code] if code else []),
        *(
            []
            if every == 1
            else [f"**A sample**: in each rotation one case in {every}, taken in order."]
        ),
        "tests/faults/scenarios.py says what each handler's cases do,"
        " local/faults.py what each fault is, tests/faults/oracle.py how an end is judged.",
        "",
        "| rotation | faults | ok | pressed again | relink, answer lost | anything else |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for rotation, verdicts in results.items():
        counts = Counter(v.outcome for v in _counted(verdicts))
        other = counts.total() - counts["ok"] - counts["again"] - counts["relink"]
        lines.append(
            f"| {rotation} | {counts.total()} | {counts['ok']} | {counts['again']}"
            f" | {counts['relink']} | {other} |"
        )
    lines += [
        "",
        "*Pressed again*: a new link of which nothing was stored; the person pressed the button"
        " once more and it worked.",
        "*Relink, answer lost*: the account says `relink_required` with the right reason, and"
        " TikTok's own answer was lost in the case.",
        "",
        "A crash here leaves the function's temporary folder as it was, as Lambda does for its"
        " next start in the same environment. Where the environment is gone too, a kill between"
        " TikTok's answer and the save loses the pair, and the link is flagged `rotation_lost`:"
        " *refresh, environment gone* shows that, and counts in no sum.",
    ]
    if unreached:
        lines.append(
            f"In {unreached} cases the call did not come in three tries; they count nowhere."
        )
    if wrong := [
        f"* {rotation}: {line}"
        for rotation, verdicts in results.items()
        for line in wrong_ends(verdicts)
    ]:
        lines += ["", "## Wrong ends", "", *wrong]
    for rotation, verdicts in results.items():
        lines += ["", f"## Rotation: {rotation}", "", *table(verdicts)]
    return "\n".join(lines) + "\n"
