"""The journal: a sealed pair in the function's own temporary folder, before anything can fail.

One file per spent token. It helps where the execution environment outlives a failed save, which
Lambda keeps warm between invocations; it is no substitute for the rescue queue.
"""

from __future__ import annotations

import os
from pathlib import Path

from tiktok_linking.adapters.parcels import pack_renewed, unpack
from tiktok_linking.ports import RenewedPair


class FileJournal:
    """Implements the port Journal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def append(self, renewed: RenewedPair) -> None:
        """See ports.Journal. Written aside and renamed, so that a torn file is never found."""
        path = self._path(renewed.grant_id, renewed.spent)
        aside = path.with_suffix(".part")
        data = pack_renewed(renewed).encode()
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        aside.rename(path)

    def find(self, grant_id: str, spent: bytes) -> RenewedPair | None:
        """See ports.Journal."""
        try:
            found = unpack(self._path(grant_id, spent).read_text())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, RenewedPair) else None

    def forget(self, renewed: RenewedPair) -> None:
        """See ports.Journal."""
        self._path(renewed.grant_id, renewed.spent).unlink(missing_ok=True)

    def _path(self, grant_id: str, spent: bytes) -> Path:
        return self._folder / f"{grant_id}-{spent.hex()}.json"
