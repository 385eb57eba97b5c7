"""How the time of one invocation is spent, so that a pair in hand is always saved in it.

Lambda ends a function without a word. Whoever spends a token or a code therefore keeps enough time
for at least one write and one message to the rescue queue; tests/template holds the timeouts of
template.yaml, and ``bootstrap`` the timeouts of the clients, to these numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from tiktok_linking.errors import StoreUnavailable

CONNECT_TIMEOUT = timedelta(seconds=3)
SHORTEST_READ = timedelta(seconds=8)
"""A late answer is worth more than a replay: with less time than this, do not start."""
SAVE_BUDGET = timedelta(seconds=5)
ONE_WRITE = timedelta(seconds=2)
"""A write of the save path is tried once and given up within this: the loop here is the retry."""
RESCUE_BUDGET = timedelta(seconds=2)

PROFILE_TIME = timedelta(seconds=6)
"""The worst case of fetching a profile: 3 s to connect, 3 s to read."""
REVOKE_TIME = timedelta(seconds=13)
"""The worst case of giving a pair back: 3 s to connect, 10 s to read."""

T = TypeVar("T")


def has_time_to_spend(now: datetime, deadline: datetime) -> bool:
    """Whether a token or a code may be spent now."""
    return now + CONNECT_TIMEOUT + SHORTEST_READ + SAVE_BUDGET <= deadline


def read_timeout(now: datetime, deadline: datetime) -> timedelta:
    """How long to wait for TikTok's answer: all but what saving it needs."""
    return max(SHORTEST_READ, deadline - now - CONNECT_TIMEOUT - SAVE_BUDGET)


def has_time_for(span: timedelta, now: datetime, deadline: datetime) -> bool:
    """Whether something that is not the link itself may still be done before saving."""
    return now + span + SAVE_BUDGET <= deadline


def persist(
    write: Callable[[], T],
    *,
    deadline: datetime,
    now: Callable[[], datetime],
    pause: Callable[[float], None],
    chance: Callable[[], float],
) -> T:
    """Repeat a write until it is acknowledged or only the rescue queue is left in time.

    Raises:
        StoreUnavailable: the last failure; time for the rescue queue is left.
    """
    wait = 0.05
    while True:
        try:
            return write()
        except StoreUnavailable:
            wait = min(wait * 2, 1.0)
            if now() + timedelta(seconds=wait) + ONE_WRITE + RESCUE_BUDGET > deadline:
                raise
            pause(wait * (0.5 + chance() / 2))
