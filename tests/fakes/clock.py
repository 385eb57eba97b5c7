"""Time that stands still until a test, or a pause of the code under test, moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Clock:
    """``now`` for the code under test; ``pause`` is sleeping that takes no time.

    ``ticks_seconds`` makes every look at the clock take that long, for code that waits in earnest.
    """

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now
        self.ticks_seconds = 0.0
        self.paused_seconds: list[float] = []

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=self.ticks_seconds)
        return self.now

    def advance(self, **span: float) -> None:
        """Let time pass: ``advance(hours=2)``."""
        self.now += timedelta(**span)

    def pause(self, seconds: float) -> None:
        """Sleep, as far as the code under test can tell."""
        self.paused_seconds.append(seconds)
        self.now += timedelta(seconds=seconds)
