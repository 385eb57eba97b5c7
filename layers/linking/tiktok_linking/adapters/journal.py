"""The journal: a sealed pair in the function's own temporary folder, before anything can fail.

One file per spent token. It helps where the execution environment outlives a failed save, which
Lambda keeps warm between invocations; it is no substitute for the rescue queue. Nothing is synced
to the disk: what a process wrote outlives it, and the folder does not outlive its machine.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tiktok_linking.adapters.parcels import pack_renewed, unpack
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.ports import RenewedPair


class FileJournal:
    """Implements the port Journal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with contextlib.suppress(OSError):  # then ``append`` says so
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def append(self, renewed: RenewedPair) -> None:
        """See ports.Journal. Written aside and renamed, so that a torn file is never found."""
        path = self._path(renewed.grant_id, renewed.spent)
        aside = path.with_suffix(".part")
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                data = pack_renewed(renewed).encode()
                while data:
                    data = data[os.write(descriptor, data) :]
            finally:
                os.close(descriptor)
            aside.rename(path)
        except OSError as error:
            raise StoreUnavailable(f"journal {error.strerror}") from None

    def find(self, grant_id: str, spent: bytes) -> RenewedPair | None:
        """See ports.Journal."""
        try:
            found = unpack(self._path(grant_id, spent).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, RenewedPair) else None

    def forget(self, renewed: RenewedPair) -> None:
        """See ports.Journal. What stays behind can only be saved again, which changes nothing."""
        with contextlib.suppress(OSError):
            self._path(renewed.grant_id, renewed.spent).unlink(missing_ok=True)

    def _path(self, grant_id: str, spent: bytes) -> Path:
        return self._folder / f"{grant_id}-{spent.hex()}.json"
