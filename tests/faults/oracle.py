"""What the oracle says of a case, from what the stack hands out and what TikTok holds alive.

* ``ok``: a token is vended, TikTok takes it, and the stored refresh token buys another.
* ``again``: nothing was stored for a new link, the person pressed the button again, and it works.
* ``relink``: the owner is asked for, with the right reason, where TikTok's own answer was lost.
* ``silent loss``: no live token comes, and nobody is told to act; or a dead one comes.
* ``false relink``: the owner is asked for although TikTok's answer was not lost.
* ``wrong reason``: rightly asked for, with a reason that is not the true one.
* ``not ended``: an unlink after which the account or TikTok's grant lives on.
* ``extra request``: more requests at TikTok than rotations that were needed.
* ``broken``: the case itself did not work, such as a page that never came.
* ``not reached``: the call never came, so nothing was injected. Counts neither way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.cases import Case

RIGHT = ("ok", "again", "relink")
NOT_REACHED = "not reached"
LOST = frozenset({"rotation_lost"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a case ended."""

    case: Case
    outcome: str
    detail: str = ""

    @property
    def is_right(self) -> bool:
        return self.outcome in (*RIGHT, NOT_REACHED)


@dataclass(frozen=True, slots=True)
class Vended:
    """One answer to a request for a token. ``alive`` says what TikTok thinks of the token."""

    status: int
    alive: bool = False
    refreshed: bool = False
    code: str = ""
    reason: str = ""

    @classmethod
    def read(cls, status: int, body: dict[str, Any], *, alive: bool) -> Vended:
        return cls(
            status,
            alive,
            bool(body.get("refreshed")),
            str(body.get("code", "")),
            str(body.get("reason", "")),
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """An outcome before it is put beside its case."""

    outcome: str
    detail: str = ""


def judge_link(
    vended: Vended, renewed: Vended, *, answer_lost: bool, reasons: frozenset[str] = LOST
) -> Finding:
    """Judge a link that must live.

    ``vended`` is the answer after the clean runs; ``renewed`` the one after its token's life, so
    that it had to be bought with the stored refresh token.
    """
    for what, seen in (("vended", vended), ("renewed", renewed)):
        if seen.status == 200 and not seen.alive:
            return Finding("silent loss", f"the {what} token is dead at TikTok")
    for seen in (vended, renewed):
        if seen.code == "relink_required":
            if not answer_lost:
                return Finding("false relink", f"reason {seen.reason}")
            if seen.reason not in reasons:
                return Finding("wrong reason", f"reason {seen.reason}")
            return Finding("relink", f"reason {seen.reason}")
    for what, seen in (("vended", vended), ("renewed", renewed)):
        if seen.status != 200:
            return Finding("silent loss", f"{what}: {seen.status} {seen.code}")
    if not renewed.refreshed:
        return Finding("silent loss", "the token was not renewed when it had to be")
    return Finding("ok")


def judge_unlink(*, status: str, gone_at_tiktok: bool, said: object) -> Finding:
    """Judge an unlink that was repeated until it could end."""
    if status == "unlinked" and gone_at_tiktok and said in (True, "not_needed"):
        return Finding("ok")
    where = "gone" if gone_at_tiktok else "alive"
    return Finding("not ended", f"account {status}, grant {where} at TikTok, answer {said}")


def judge_requests(made: int, needed: int) -> Finding:
    """Judge how often TikTok was asked: once for each grant and rotation."""
    if made > needed:
        return Finding("extra request", f"{made} requests for {needed} rotations")
    return Finding("ok") if made == needed else Finding("silent loss", f"{made} of {needed} asked")


def worst(findings: Sequence[Finding]) -> Finding:
    """Of several links in one case, the one that tells most."""
    order = ("ok", "again", "relink")
    return max(findings, key=lambda f: order.index(f.outcome) if f.outcome in order else 9)
