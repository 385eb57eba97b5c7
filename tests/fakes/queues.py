"""The two queues as lists."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes.happenings import Happenings
from tiktok_linking.ports import AuthorisedPair, RenewedPair


class MemoryRescueQueue:
    """Implements the port RescueQueue."""

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self.parcels: list[RenewedPair | AuthorisedPair] = []

    def put_renewed(self, renewed: RenewedPair) -> None:
        """See ports.RescueQueue."""
        with self._happenings.call("rescue.put_renewed"):
            self.parcels.append(renewed)

    def put_authorised(self, authorised: AuthorisedPair) -> None:
        """See ports.RescueQueue."""
        with self._happenings.call("rescue.put_authorised"):
            self.parcels.append(authorised)

    def waiting(self) -> int:
        """See ports.RescueQueue."""
        return len(self.parcels)


class MemoryGrantQueue:
    """Implements the port GrantQueue."""

    def __init__(self, happenings: Happenings, name: str = "renewals") -> None:
        self._happenings = happenings
        self._name = name
        self.batches: list[tuple[str, ...]] = []
        self.backlog = 0
        """What waits beside what these tests sent."""

    def put(self, grant_ids: Sequence[str]) -> None:
        """See ports.GrantQueue."""
        with self._happenings.call(f"{self._name}.put"):
            self.batches.append(tuple(grant_ids))

    def waiting(self) -> int:
        """See ports.GrantQueue."""
        return self.backlog

    @property
    def grant_ids(self) -> list[str]:
        """All that was sent, in order."""
        return [grant_id for batch in self.batches for grant_id in batch]
