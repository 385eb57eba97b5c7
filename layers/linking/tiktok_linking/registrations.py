"""App registrations: which credentials to try, in which order, while a secret is being rotated."""

from __future__ import annotations

from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.oauth import ClientCredentials
from tiktok_linking.ports import Credentials


class ClientsToTry:
    """One registration's credentials: current, previous, pending, with one fresh look.

    TikTok's ``invalid_client`` can mean that the secret was rotated since it was cached, so it
    never counts against an account.
    """

    def __init__(self, credentials: Credentials, registration: str) -> None:
        self._credentials = credentials
        self._registration = registration
        self._tried: list[str] = []
        self._reread = False
        self.current: ClientCredentials = credentials.candidates(registration)[0]

    def advance(self) -> bool:
        """TikTok refused the current one: move to the next that was not tried, if there is one."""
        self._tried.append(self.current.client_secret.reveal())
        if not self._reread:
            self._credentials.reread()
            self._reread = True
        try:
            candidates = self._credentials.candidates(self._registration)
        except StoreUnavailable:
            return False  # TikTok's refusal stands until the secret can be read again
        for candidate in candidates:
            if candidate.client_secret.reveal() not in self._tried:
                self.current = candidate
                return True
        return False
