"""Keeps the clock that the worker hands over."""

from collections.abc import Callable
from datetime import datetime

clocks: list[Callable[[], datetime]] = []


def use_clock(clock: Callable[[], datetime]) -> None:
    clocks.append(clock)
