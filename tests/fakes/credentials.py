"""The app registrations' credentials, as a test sets them."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes.happenings import Happenings
from tiktok_linking.accounts import Secret
from tiktok_linking.oauth import ClientCredentials

CLIENT_KEY = "awtest0000000001"


class KnownCredentials:
    """Implements the port Credentials. ``rotated`` is what a fresh look finds."""

    def __init__(self, happenings: Happenings, *secrets: str) -> None:
        self._happenings = happenings
        self.secrets: Sequence[str] = secrets or ("current-secret",)
        self.rotated: Sequence[str] | None = None

    def candidates(self, registration: str) -> Sequence[ClientCredentials]:
        """See ports.Credentials."""
        with self._happenings.call("credentials.candidates"):
            return [ClientCredentials(CLIENT_KEY, Secret(text)) for text in self.secrets]

    def reread(self) -> None:
        """See ports.Credentials."""
        with self._happenings.call("credentials.reread"):
            if self.rotated is not None:
                self.secrets = self.rotated
