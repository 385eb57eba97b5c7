"""The template's schedules in the shared time, for `SCHEDULES=on`."""

import re
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from local.clock import SharedClock
from local.deploy import DeploymentFailed, Schedule
from local.functions import FunctionPool, TooManyInvocations

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_LOOKS_EVERY_SECONDS = 0.5


def interval(expression: str) -> timedelta:
    """The time between two runs of a `rate(…)` expression.

    Raises:
        DeploymentFailed: another kind of expression, which the local world does not run.
    """
    found = _RATE.fullmatch(expression)
    if found is None:
        raise DeploymentFailed(f"SCHEDULES=on runs rate(…) expressions only, not {expression}")
    return timedelta(**{f"{found[2]}s": int(found[1])})


class Scheduler:
    """Runs what is due. A jump of the clock over several runs makes one run, not many."""

    def __init__(
        self, schedules: Sequence[Schedule], pools: Mapping[str, FunctionPool], clock: SharedClock
    ) -> None:
        self._schedules = schedules
        self._pools = pools
        self._clock = clock
        self._next: dict[str, datetime] = {
            schedule.name: clock.now() + interval(schedule.expression) for schedule in schedules
        }
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="schedules", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOKS_EVERY_SECONDS):
            now = self._clock.now()
            for schedule in self._schedules:
                if now < self._next[schedule.name]:
                    continue
                self._next[schedule.name] = now + interval(schedule.expression)
                try:
                    self._pools[schedule.function].submit(schedule.event)
                except TooManyInvocations:
                    continue  # as EventBridge would: the next run finds the same work
