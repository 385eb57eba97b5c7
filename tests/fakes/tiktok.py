"""TikTok behind its port, twice: one that plays a script, one that keeps TikTok's strict rules."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from tests.fakes.happenings import Happenings
from tests.fakes.samples import OPEN_ID, SCOPES
from tiktok_linking.accounts import Profile, Secret
from tiktok_linking.errors import ProviderError, Refused
from tiktok_linking.oauth import ClientCredentials, TokenAnswer

Scripted = TokenAnswer | BaseException | Callable[[], TokenAnswer]


class ScriptedTikTok:
    """Implements the port TikTok: gives ``answers`` in turn and writes down what was sent."""

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self.answers: deque[Scripted] = deque()
        self.revocations: deque[ProviderError] = deque()
        self.shown_profile: Profile | None = None
        self.sent: list[str] = []
        """Codes and refresh tokens, in the order they were sent."""
        self.secrets: list[str] = []
        """The client secret of each request."""
        self.redirect_uris: list[str] = []
        self.code_verifiers: list[str | None] = []
        self.read_timeouts: list[timedelta] = []
        self.revoked: list[str] = []

    def exchange(
        self,
        client: ClientCredentials,
        *,
        code: Secret,
        redirect_uri: str,
        code_verifier: str | None,
        read_timeout: timedelta,
    ) -> TokenAnswer:
        """See ports.TikTok."""
        with self._happenings.call("tiktok.exchange"):
            self.redirect_uris.append(redirect_uri)
            self.code_verifiers.append(code_verifier)
            return self._play(client, code, read_timeout)

    def refresh(
        self, client: ClientCredentials, refresh_token: Secret, *, read_timeout: timedelta
    ) -> TokenAnswer:
        """See ports.TikTok."""
        with self._happenings.call("tiktok.refresh"):
            return self._play(client, refresh_token, read_timeout)

    def revoke(self, client: ClientCredentials, access_token: Secret) -> None:
        """See ports.TikTok."""
        with self._happenings.call("tiktok.revoke"):
            self.secrets.append(client.client_secret.reveal())
            if self.revocations:
                raise self.revocations.popleft()
            self.revoked.append(access_token.reveal())

    def profile(self, access_token: Secret, *, now: datetime) -> Profile | None:
        """See ports.TikTok."""
        with self._happenings.call("tiktok.profile"):
            return self.shown_profile

    def _play(
        self, client: ClientCredentials, sent: Secret, read_timeout: timedelta
    ) -> TokenAnswer:
        self.sent.append(sent.reveal())
        self.secrets.append(client.client_secret.reveal())
        self.read_timeouts.append(read_timeout)
        answer = self.answers.popleft()
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer


class StrictTikTok:
    """Implements the port TikTok with strict rotation: a refresh token works exactly once.

    ``live`` is the one refresh token that would be accepted next; None once the person removed the
    app. Losing an answer after it was committed is a fault planned in ``Happenings``.
    """

    def __init__(self, happenings: Happenings, now: Callable[[], datetime]) -> None:
        self._happenings = happenings
        self._now = now
        self._numbers = itertools.count(1)
        self._deadline = now() + timedelta(days=180)
        self.live: str | None = None
        self.rotations = 0
        self.refused = 0

    def authorise(self) -> TokenAnswer:
        """Give a first pair, as an exchange does."""
        return self._issue()

    def remove(self) -> None:
        """The person removes the app in TikTok's settings."""
        self.live = None

    def exchange(
        self,
        client: ClientCredentials,
        *,
        code: Secret,
        redirect_uri: str,
        code_verifier: str | None,
        read_timeout: timedelta,
    ) -> TokenAnswer:
        """See ports.TikTok."""
        with self._happenings.call("tiktok.exchange"):
            return self._issue()

    def refresh(
        self, client: ClientCredentials, refresh_token: Secret, *, read_timeout: timedelta
    ) -> TokenAnswer:
        """See ports.TikTok."""
        with self._happenings.call("tiktok.refresh"):
            if refresh_token.reveal() != self.live:
                self.refused += 1
                raise Refused("invalid_grant")
            self.rotations += 1
            return self._issue()

    def revoke(self, client: ClientCredentials, access_token: Secret) -> None:
        """See ports.TikTok."""
        with self._happenings.call("tiktok.revoke"):
            self.live = None

    def profile(self, access_token: Secret, *, now: datetime) -> Profile | None:
        """See ports.TikTok."""
        with self._happenings.call("tiktok.profile"):
            return None

    def _issue(self) -> TokenAnswer:
        number = next(self._numbers)
        self.live = f"rft.strict{number}"
        now = self._now()
        return TokenAnswer(
            access_token=Secret(f"act.strict{number}"),
            refresh_token=Secret(self.live),
            open_id=OPEN_ID,
            scopes=SCOPES,
            issued_at=now,
            expires_at=now + timedelta(hours=2),
            relink_by=self._deadline,
        )
