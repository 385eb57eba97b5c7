"""The refresh function behind its door: a renewal of its own, for which the caller waits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tests.fakes.clock import Clock
from tiktok_linking.ports import RenewalReport
from tiktok_linking.renewal import Ask, Renewal


class OpenDoor:
    """Implements the port RefreshDoor by the real use case, made anew for each knock."""

    def __init__(self, renewal: Callable[[], Renewal], clock: Clock) -> None:
        self._renewal = renewal
        self._clock = clock

    def renew(
        self, grant_id: str, *, min_ttl: timedelta, rejected: bool, for_revocation: bool = False
    ) -> RenewalReport:
        """See ports.RefreshDoor."""
        ask = Ask(min_ttl=min_ttl, rejected=rejected, for_revocation=for_revocation)
        deadline = self._clock.now + timedelta(seconds=30)
        return self._renewal().renew(grant_id, ask, deadline=deadline)
