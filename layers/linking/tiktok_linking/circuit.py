"""Whether renewals of one app registration go out at all: a fact that all workers share.

A TikTok that is down, throttles or refuses our client is not asked once for each account. After
some failures in a row the circuit opens for everybody; when its pause is over, one renewal goes out
as a probe, and its outcome closes the circuit or opens it again for longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=5)


class Trouble(StrEnum):
    """Why a circuit is open."""

    UNAVAILABLE = "unavailable"
    """TikTok does not answer usefully; it ends by itself."""
    MISCONFIGURED = "misconfigured"
    """TikTok refuses the registration; an operator must mend it."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """One registration's circuit as it was read. ``trouble`` is None while it is closed."""

    registration: str
    trouble: Trouble | None = None
    since: datetime | None = None
    pauses_until: datetime | None = None
    probed_until: datetime | None = None
    """While a probe is out, nobody else asks; a probe that died is forgotten after this."""
    strikes: int = 0
    """How often it opened without closing in between."""

    def waits(self, now: datetime) -> timedelta | None:
        """How long nobody may ask, or None: closed, or it is time for a probe."""
        if self.trouble is None:
            return None
        ends = max((m for m in (self.pauses_until, self.probed_until) if m), default=now)
        return ends - now if ends > now else None


def pause_after(strikes: int, *, chance: float, retry_after: int | None) -> timedelta:
    """How long a circuit stays open: doubled with each strike, jittered by half, capped."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(strikes, 10)))
    return max(longest * (0.5 + chance / 2), timedelta(seconds=retry_after or 0))
