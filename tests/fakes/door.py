"""The refresh function as vending and unlinking meet it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from tests.fakes.happenings import Happenings
from tiktok_linking.ports import Outcome, RenewalReport


@dataclass(frozen=True, slots=True)
class Knock:
    """What the door was asked."""

    grant_id: str
    min_ttl: timedelta
    rejected: bool
    for_revocation: bool


class ScriptedDoor:
    """Implements the port RefreshDoor: plays its answers in turn, then says PROVIDER_UNAVAILABLE.

    An answer may be a function, which acts (as a renewal would) before it reports.
    """

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self.answers: deque[RenewalReport | Callable[[], RenewalReport]] = deque()
        self.knocks: list[Knock] = []

    def renew(
        self, grant_id: str, *, min_ttl: timedelta, rejected: bool, for_revocation: bool = False
    ) -> RenewalReport:
        """See ports.RefreshDoor."""
        with self._happenings.call("door.renew"):
            self.knocks.append(Knock(grant_id, min_ttl, rejected, for_revocation))
            if not self.answers:
                return RenewalReport(Outcome.PROVIDER_UNAVAILABLE, retry_after=5)
            answer = self.answers.popleft()
            return answer() if callable(answer) else answer
