"""A journal in memory. Hand the same one to two workers: the environment survived the first."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes.happenings import Happenings
from tiktok_linking.ports import AuthorisedPair, RenewedPair


class MemoryJournal:
    """Implements the port Journal."""

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self._entries: dict[tuple[str, bytes], RenewedPair | AuthorisedPair] = {}

    def append(self, pair: RenewedPair | AuthorisedPair) -> None:
        """See ports.Journal."""
        with self._happenings.call("journal.append"):
            self._entries[_place(pair)] = pair

    def find(self, grant_id: str, spent: bytes) -> RenewedPair | None:
        """See ports.Journal."""
        with self._happenings.call("journal.find"):
            found = self._entries.get((grant_id, spent))
            return found if isinstance(found, RenewedPair) else None

    def leftovers(self) -> Sequence[AuthorisedPair]:
        """See ports.Journal."""
        with self._happenings.call("journal.leftovers"):
            return [pair for pair in self._entries.values() if isinstance(pair, AuthorisedPair)]

    def forget(self, pair: RenewedPair | AuthorisedPair) -> None:
        """See ports.Journal."""
        with self._happenings.call("journal.forget"):
            self._entries.pop(_place(pair), None)

    def __len__(self) -> int:
        return len(self._entries)


def _place(pair: RenewedPair | AuthorisedPair) -> tuple[str, bytes]:
    if isinstance(pair, RenewedPair):
        return pair.grant_id, pair.spent
    return "authorised", pair.write_id
