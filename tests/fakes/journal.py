"""A journal in memory. Hand the same one to two workers: the environment survived the first."""

from __future__ import annotations

from tests.fakes.happenings import Happenings
from tiktok_linking.ports import RenewedPair


class MemoryJournal:
    """Implements the port Journal."""

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self._entries: dict[tuple[str, bytes], RenewedPair] = {}

    def append(self, renewed: RenewedPair) -> None:
        """See ports.Journal."""
        with self._happenings.call("journal.append"):
            self._entries[renewed.grant_id, renewed.spent] = renewed

    def find(self, grant_id: str, spent: bytes) -> RenewedPair | None:
        """See ports.Journal."""
        with self._happenings.call("journal.find"):
            return self._entries.get((grant_id, spent))

    def forget(self, renewed: RenewedPair) -> None:
        """See ports.Journal."""
        with self._happenings.call("journal.forget"):
            self._entries.pop((renewed.grant_id, renewed.spent), None)

    def __len__(self) -> int:
        return len(self._entries)
