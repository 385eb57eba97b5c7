"""A TikTok of many people behind its port, with its lifetimes and its rotation as settings.

It keeps a ledger, so that a test can say whose token was spent when, which answer nobody heard, and
which refresh token would be accepted next.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from tests.fakes.happenings import Happenings
from tests.fakes.samples import SCOPES
from tiktok_linking.accounts import Profile, Secret
from tiktok_linking.errors import Misconfigured, Refused
from tiktok_linking.oauth import ClientCredentials, TokenAnswer

WRONG_PERSON = "somebody-else"


class Rotation(StrEnum):
    """What happens to a refresh token that was spent before."""

    STRICT = "strict"
    """It is refused."""
    GRACE = "grace"
    """For a while it gets the answer that was given for it, until the next token is spent."""
    FAMILY = "family"
    """It is refused, and the whole authorisation ends with it."""


class Ending(StrEnum):
    """Why an authorisation is no more."""

    REMOVED = "removed by the person"
    REPLACED = "replaced by a newer one"
    REVOKED = "revoked by us"
    REUSED = "a spent token was sent again"


@dataclass(frozen=True, slots=True)
class Rules:
    """How this TikTok behaves."""

    access_for: timedelta = timedelta(hours=2)
    refresh_for: timedelta = timedelta(days=180)
    is_sliding: bool = False
    rotation: Rotation = Rotation.STRICT
    grace_for: timedelta = timedelta(minutes=2)


@dataclass(slots=True)
class Authorisation:
    """What one person allowed once: a line of refresh tokens, of which the last one is live."""

    open_id: str
    scopes: tuple[str, ...]
    deadline: datetime
    tokens: list[str] = field(default_factory=list)
    ending: Ending | None = None
    last_answer: TokenAnswer | None = None
    last_spent_at: datetime | None = None

    def live(self, now: datetime) -> str | None:
        """The refresh token that would be accepted next."""
        return None if self.ending or now >= self.deadline else self.tokens[-1]


@dataclass(frozen=True, slots=True)
class Sent:
    """One refresh request as it arrived. ``was_live`` is False for a token spent before."""

    open_id: str
    token: str
    at: datetime
    was_live: bool


class RotatingTikTok:
    """Implements the port TikTok. Faults on the wire are planned in ``Happenings``.

    ``on_refresh`` is told the open id and the token of each refresh request as it is sent, before
    anything happens to it.
    """

    def __init__(
        self, happenings: Happenings, now: Callable[[], datetime], rules: Rules | None = None
    ) -> None:
        self._happenings = happenings
        self._now = now
        self._numbers = itertools.count(1)
        self._codes: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._by_token: dict[str, Authorisation] = {}
        self._ends_at: dict[str, datetime] = {}
        self.rules = rules or Rules()
        self.authorisations: dict[str, list[Authorisation]] = {}
        self.sent: list[Sent] = []
        self.in_flight: list[str] = []
        """The open ids of the refresh requests that are not answered yet."""
        self.unheard: set[str] = set()
        """Refresh tokens whose answer did not reach the one who asked."""
        self.knows_us = True
        """False: our client secret is refused."""
        self.oddities: deque[str] = deque()
        """What the next refreshes answer in another way: ``no refresh token``, ``wrong person``."""
        self.on_refresh: Callable[[str, str], None] = lambda open_id, token: None

    # -- people ---------------------------------------------------------------------------------

    def consent(self, open_id: str, scopes: tuple[str, ...] = SCOPES) -> Secret:
        """A person says yes: the code that comes back."""
        code = f"code.{next(self._numbers)}"
        self._codes[code] = (open_id, scopes)
        return Secret(code)

    def remove(self, open_id: str) -> None:
        """The person removes the app in TikTok's settings."""
        self._end(open_id, Ending.REMOVED)

    def latest(self, open_id: str) -> Authorisation | None:
        """What the person allowed last, alive or not."""
        line = self.authorisations.get(open_id)
        return line[-1] if line else None

    def of(self, token: str) -> Authorisation | None:
        """The authorisation that a token, access or refresh, belongs to."""
        return self._by_token.get(token)

    def live(self, open_id: str) -> str | None:
        """The refresh token that would be accepted next, or None."""
        latest = self.latest(open_id)
        return latest.live(self._now()) if latest else None

    def is_live(self, token: str) -> bool:
        """Whether this refresh token would be accepted."""
        return self._by_token[token].live(self._now()) == token

    # -- the port -------------------------------------------------------------------------------

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
        with self._answering("tiktok.exchange") as answers:
            self._check_client()
            known = self._codes.pop(code.reveal(), None)
            if known is None:
                raise Refused("invalid_grant")
            open_id, scopes = known
            self._end(open_id, Ending.REPLACED)
            authorisation = Authorisation(open_id, scopes, self._now() + self.rules.refresh_for)
            self.authorisations.setdefault(open_id, []).append(authorisation)
            answers.append(self._issue(authorisation))
        return answers[0]

    def refresh(
        self, client: ClientCredentials, refresh_token: Secret, *, read_timeout: timedelta
    ) -> TokenAnswer:
        """See ports.TikTok."""
        token = refresh_token.reveal()
        open_id = self._by_token[token].open_id
        self.on_refresh(open_id, token)
        self.in_flight.append(open_id)
        try:
            with self._answering("tiktok.refresh") as answers:
                self._check_client()
                answers.append(self._refreshed(self._by_token[token], token))
            return answers[0]
        finally:
            self.in_flight.remove(open_id)

    def revoke(self, client: ClientCredentials, access_token: Secret) -> None:
        """See ports.TikTok."""
        with self._happenings.call("tiktok.revoke"):
            self._check_client()
            token = access_token.reveal()
            if self._by_token[token].ending or self._ends_at[token] <= self._now():
                raise Refused("invalid_grant")
            self._end(self._by_token[token].open_id, Ending.REVOKED)

    def profile(self, access_token: Secret, *, now: datetime) -> Profile | None:
        """See ports.TikTok."""
        with self._happenings.call("tiktok.profile"):
            return None

    # -- inside ---------------------------------------------------------------------------------

    @contextmanager
    def _answering(self, name: str) -> Iterator[list[TokenAnswer]]:
        """One use of the port; an answer that does not get through is written down."""
        answers: list[TokenAnswer] = []
        was_heard = False
        try:
            with self._happenings.call(name):
                yield answers
            was_heard = True
        finally:
            if not was_heard:
                self.unheard.update(
                    a.refresh_token.reveal() for a in answers if a.refresh_token is not None
                )

    def _check_client(self) -> None:
        if not self.knows_us:
            raise Misconfigured("invalid_client")

    def _refreshed(self, authorisation: Authorisation, token: str) -> TokenAnswer:
        now = self._now()
        live = authorisation.live(now)
        self.sent.append(Sent(authorisation.open_id, token, now, token == live))
        if live is None:
            raise Refused("invalid_grant")
        if token != live:
            return self._replayed(authorisation, token)
        oddity = self.oddities.popleft() if self.oddities else None
        if self.rules.is_sliding:
            authorisation.deadline = now + self.rules.refresh_for
        if oddity == "no refresh token":
            return self._answer(authorisation, None)
        authorisation.last_spent_at = now
        answer = self._issue(authorisation)
        if oddity == "wrong person":
            self.unheard.add(authorisation.tokens[-1])
            return self._answer(authorisation, Secret(WRONG_PERSON), open_id=WRONG_PERSON)
        return answer

    def _replayed(self, authorisation: Authorisation, token: str) -> TokenAnswer:
        rotation, spent_at = self.rules.rotation, authorisation.last_spent_at
        if rotation is Rotation.FAMILY:
            authorisation.ending = Ending.REUSED
        is_last = len(authorisation.tokens) > 1 and token == authorisation.tokens[-2]
        if (
            rotation is not Rotation.GRACE
            or not is_last
            or authorisation.last_answer is None
            or spent_at is None
            or self._now() >= spent_at + self.rules.grace_for
        ):
            raise Refused("invalid_grant")
        self.unheard.discard(authorisation.tokens[-1])
        return authorisation.last_answer

    def _issue(self, authorisation: Authorisation) -> TokenAnswer:
        token = f"rft.{authorisation.open_id}.{next(self._numbers)}"
        authorisation.tokens.append(token)
        self._by_token[token] = authorisation
        authorisation.last_answer = self._answer(authorisation, Secret(token))
        return authorisation.last_answer

    def _answer(
        self, authorisation: Authorisation, refresh_token: Secret | None, open_id: str | None = None
    ) -> TokenAnswer:
        now = self._now()
        access_token = f"act.{authorisation.open_id}.{next(self._numbers)}"
        self._by_token[access_token] = authorisation
        self._ends_at[access_token] = now + self.rules.access_for
        return TokenAnswer(
            access_token=Secret(access_token),
            refresh_token=refresh_token,
            open_id=open_id or authorisation.open_id,
            scopes=authorisation.scopes,
            issued_at=now,
            expires_at=now + self.rules.access_for,
            relink_by=authorisation.deadline,
        )

    def _end(self, open_id: str, ending: Ending) -> None:
        for authorisation in self.authorisations.get(open_id, ()):
            authorisation.ending = authorisation.ending or ending
