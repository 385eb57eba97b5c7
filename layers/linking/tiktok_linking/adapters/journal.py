"""The journal: a sealed pair in the function's own temporary folder, before anything can fail.

One file for each pair. It helps where the execution environment outlives a failed save, which
Lambda keeps warm between invocations; it is no substitute for the rescue queue. Nothing is synced
to the disk: what a process wrote outlives it, and the folder does not outlive its machine.
Written by the operating system's own calls, which take half the time of pathlib's: somebody waits.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from tiktok_linking.adapters.parcels import pack_authorised, pack_renewed, unpack
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.ports import AuthorisedPair, RenewedPair


class FileJournal:
    """Implements the port Journal."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        with contextlib.suppress(OSError):  # then ``append`` says so
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def append(self, pair: RenewedPair | AuthorisedPair) -> None:
        """See ports.Journal. Written aside and renamed, so that a torn file is never found."""
        path = self._place_of(pair)
        aside = f"{path}.part"
        text = pack_renewed(pair) if isinstance(pair, RenewedPair) else pack_authorised(pair)
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                data = text.encode()
                while data:
                    data = data[os.write(descriptor, data) :]
            finally:
                os.close(descriptor)
            os.rename(aside, path)
        except OSError as error:
            raise StoreUnavailable(f"journal {error.strerror}") from None

    def find(self, grant_id: str, spent: bytes) -> RenewedPair | None:
        """See ports.Journal."""
        found = _read(self._place(grant_id, spent))
        return found if isinstance(found, RenewedPair) else None

    def leftovers(self) -> Sequence[AuthorisedPair]:
        """See ports.Journal."""
        try:
            names = sorted(os.listdir(self._folder))
        except OSError:
            return ()
        # One of ``append``'s that is still aside ends otherwise.
        own = [name for name in names if name.startswith("authorised-") and name.endswith(".json")]
        found = [_read(f"{self._folder}/{name}") for name in own]
        return [pair for pair in found if isinstance(pair, AuthorisedPair)]

    def forget(self, pair: RenewedPair | AuthorisedPair) -> None:
        """See ports.Journal. What stays behind can only be saved again, which changes nothing."""
        with contextlib.suppress(OSError):
            os.unlink(self._place_of(pair))

    def _place_of(self, pair: RenewedPair | AuthorisedPair) -> str:
        if isinstance(pair, RenewedPair):
            return self._place(pair.grant_id, pair.spent)
        return f"{self._folder}/authorised-{pair.write_id.hex()}.json"

    def _place(self, grant_id: str, spent: bytes) -> str:
        return f"{self._folder}/{grant_id}-{spent.hex()}.json"


def _read(path: str) -> RenewedPair | AuthorisedPair | None:
    try:
        return unpack(Path(path).read_text())
    except (OSError, ValueError):
        return None
