"""What the use cases need from the world. Adapters implement these; tests have fakes for them.

Every method that touches the network may raise ``StoreUnavailable`` (our stores) or a
``ProviderError`` (TikTok).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from tiktok_linking.accounts import (
    Account,
    Ending,
    Grant,
    Profile,
    RefreshMode,
    RelinkReason,
    Reminder,
    RevokedReason,
    SealedPair,
    Secret,
    grant_id,
)
from tiktok_linking.callers import Caller
from tiktok_linking.circuit import Circuit
from tiktok_linking.events import Event
from tiktok_linking.oauth import ClientCredentials, TokenAnswer
from tiktok_linking.sessions import (
    Attempt,
    LinkSession,
    ParkedCode,
    SessionReason,
    SessionStatus,
    State,
)


class Saved(StrEnum):
    """How a conditional save of a token pair ended."""

    STORED = "stored"
    NEWER = "newer"
    """Another pair is stored: a relink or another renewal came first. It stays."""
    ENDED = "ended"
    """The grant is unlinked or revoked, or there is none: the pair has no home."""
    REVIVED = "revived"
    """Stored over a flag that asked for the owner: the grant is active and in doubt."""


@dataclass(frozen=True, slots=True)
class RenewedPair:
    """A fresh pair on its way to the table: what the journal and the rescue queue carry.

    ``spent`` is the fingerprint of the token that bought it, the save's one condition.
    """

    grant_id: str
    spent: bytes
    write_id: bytes
    pair: SealedPair


@dataclass(frozen=True, slots=True)
class NewAccount:
    """The account row that hangs on an authorisation, and the session that asked for it."""

    account: Account
    session_key: str
    granted_scopes: tuple[str, ...]
    missing_scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuthorisedPair:
    """A pair from an exchange on its way to the table.

    ``account`` is None where the link itself was refused; the pair is then saved to a grant that
    exists and never makes a new one.
    """

    registration: str
    open_id: str
    authorised_at: datetime
    write_id: bytes
    pair: SealedPair
    account: NewAccount | None

    @property
    def grant_id(self) -> str:
        """The grant that this pair belongs to."""
        return grant_id(self.registration, self.open_id)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a renewal did not happen, without a word from outside.

    ``error`` is None where the grant itself is not failing: it is only given back.
    """

    error: str | None
    log_id: str | None
    backoff_until: datetime | None
    keeps_intent: bool
    is_news: bool = False
    """Whether the team is to be told that this account's renewals fail."""


class Grants(Protocol):
    """The grants of the accounts table, as renewal needs them."""

    def read_batch(self, grant_ids: Iterable[str], registrations: Iterable[str]) -> Batch:
        """One consistent request: up to 90 grants with ciphertext, and the circuits."""

    def take_lease(self, grant: Grant, *, owner: str, until: datetime, now: datetime) -> bool:
        """Take the lease and record the intent to spend the grant's refresh token."""

    def save_renewed(
        self,
        renewed: RenewedPair,
        *,
        due_at: datetime | None,
        now: datetime,
        settles_doubt: bool = False,
        is_news: bool = True,
    ) -> Saved:
        """Replace the pair, if the stored refresh token is still the one that was spent.

        A relink flag goes, its reason stays as a doubt unless this answer settles it. Without
        ``is_news`` nothing is different but the tokens, and nobody is told.
        """

    def release(self, grant_id: str, *, owner: str, failure: Failure, now: datetime) -> None:
        """Give back an own lease after a failure. A lease taken over meanwhile is left alone."""

    def mark_recovering(self, grant: Grant, *, now: datetime) -> bool:
        """Write that recovery of an unknown outcome began; False if the grant moved on."""

    def require_relink(
        self, grant: Grant, reason: RelinkReason, *, now: datetime, ends_access: bool = False
    ) -> bool:
        """Flag the grant; False if another refresh token is stored than the one in ``grant``.

        With ``ends_access`` its access token counts as dead from now on, whatever its date.
        """

    def doubt(self, grant_id: str, *, authorised_at: datetime | None = None, now: datetime) -> None:
        """Have TikTok asked about an active grant before anyone relies on it: due at once.

        With ``authorised_at``, only if nobody has authorised anew since.
        """

    def postpone(self, grant: Grant, due_at: datetime | None) -> None:
        """Move the due slot of a grant that needs no renewal yet."""

    def quarantine(self, grant_id: str, error: str, *, now: datetime) -> None:
        """Take a grant out of the schedule, whatever its record looks like."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request read. ``unreadable`` are records that are there and make no sense."""

    grants: Mapping[str, Grant]
    unreadable: tuple[str, ...]
    circuits: Mapping[str, Circuit]


class Circuits(Protocol):
    """What all workers share about TikTok's health, one record for each app registration."""

    def open(self, circuit: Circuit, *, now: datetime) -> bool:
        """Stop renewals until ``pauses_until``; False if somebody else has just done so."""

    def take_probe(self, registration: str, *, owner: str, until: datetime, now: datetime) -> bool:
        """Be the one that asks after a pause; False if somebody else is."""

    def close(self, circuit: Circuit, *, now: datetime) -> None:
        """Let renewals go out again."""


class Schedule(Protocol):
    """The due index, and how far the planner has come in it."""

    def read_plan(self, registrations: Iterable[str]) -> Plan:
        """One consistent request: where the last run stopped, and the circuits."""

    def keep_plan(self, stopped_at: Mapping[int, Due]) -> None:
        """Write where this run stopped; an empty mapping means that it came to the end."""

    def due(self, shard: int, *, now: datetime, limit: int, after: Due | None) -> DuePage:
        """One page of grants whose due slot has come, oldest first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a planner run starts from."""

    stopped_at: Mapping[int, Due]
    circuits: Mapping[str, Circuit]


@dataclass(frozen=True, slots=True)
class Due:
    """A place in the due index: a grant and its slot."""

    grant_id: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class DuePage:
    """Due grants, oldest first, and where to go on; ``after`` is None on the last page."""

    items: tuple[Due, ...]
    after: Due | None


class Links(Protocol):
    """Grants and accounts together, as vending, unlinking and listing need them."""

    def read_link(self, account_id: str) -> tuple[Grant, Account] | None:
        """One consistent request: the account and its grant with ciphertext."""

    def read_partition(self, account_id: str) -> tuple[Grant | None, Sequence[Account]]:
        """One consistent request: the grant and every account that shares it."""

    def read_whole(self, grant_id: str) -> tuple[Grant | None, Sequence[Account]]:
        """The same, by the grant."""

    def mark_used(self, grant: Grant, *, due_at: datetime | None, now: datetime) -> None:
        """Move the last-used mark and, with it, the due slot."""

    def pass_deadline(self, grant: Grant, *, now: datetime) -> Grant:
        """Write down that ``relink_by`` has passed, and give the grant as it is then."""

    def mark_unlinked(
        self,
        account: Account,
        *,
        now: datetime,
        ending: Ending = Ending.REVOKE,
        erases: bool = False,
    ) -> None:
        """End our side of one account, having noted first that its grant may be at its end.

        Somebody else looks after ``ENDING_TAKES`` whether that was seen to. ``erases`` takes label,
        metadata and profile out of the row as well.
        """

    def mark_revoking(self, grant: Grant, *, now: datetime, ending: Ending = Ending.REVOKE) -> bool:
        """End a grant whose last account is gone; its ciphertext stays until TikTok answered.

        False where somebody authorised anew, or the grant has ended otherwise. Somebody else looks
        after ``ENDING_TAKES`` whether it is finished.
        """

    def look_later(self, grant: Grant, *, at: datetime) -> bool:
        """Move the time to look whether the end was finished; False if somebody else did."""

    def leave_ending(self, grant: Grant, *, now: datetime) -> None:
        """Nothing is left to be done for this grant's end, unless somebody began one anew.

        One that is over becomes a tombstone.
        """

    def follow_wishes(self, grant: Grant, mode: RefreshMode) -> None:
        """Bring the mode of a shared grant to what those still want who are left."""

    def forget_tokens(
        self, grant: Grant, *, revocation: str, now: datetime, reason: str | None = None
    ) -> bool:
        """Delete the ciphertext and keep the result, unless a newer pair is stored."""

    def accounts_of(
        self, tenant_id: str | None, end_user_id: str, *, after: str | None
    ) -> tuple[Sequence[Account], str | None]:
        """A page of one end user's rows, unlinked ones too, and where to go on."""


class Authorisations(Protocol):
    """What the callback writes: it may not read stored tokens.

    Only the two ``…_and_show`` ask what they left: reading that answer takes as long as sealing a
    dozen pairs, and a browser's callback has no use for it.
    """

    def save_authorised(
        self, authorised: AuthorisedPair, *, due_at: datetime | None, only_existing: bool
    ) -> Saved:
        """Store a pair from an exchange, unless a newer authorisation is stored."""

    def save_and_show(
        self, authorised: AuthorisedPair, *, due_at: datetime | None, only_existing: bool
    ) -> tuple[Saved, Grant | None]:
        """As ``save_authorised``, with the grant as this write left it where it was stored."""

    def save_account(self, account: Account) -> None:
        """Put or revive one account row."""

    def save_account_and_show(self, account: Account) -> Account:
        """As ``save_account``, with the row as this write left it."""


class Ended(StrEnum):
    """What a removal at TikTok met here."""

    NOW = "now"
    """It ended the grant, with this call."""
    NOT_BEFORE = "not_before"
    """The stored authorisation is not older than asked for; nothing was written."""
    ALREADY = "already_ended"
    UNKNOWN = "unknown_account"


class Removals(Protocol):
    """What the webhook writes: it reads nothing."""

    def mark_revoked(
        self, grant_id: str, reason: RevokedReason, *, authorised_before: datetime, now: datetime
    ) -> Ended:
        """End a grant that was authorised before then, and delete its ciphertext.

        A pair in flight finds no home; one authorised before then does not land any more.
        """

    def ask_at_once(
        self, grant_id: str, *, authorised_by: datetime, renewed_by: datetime, now: datetime
    ) -> bool:
        """Make an active grant due, unless it was authorised or renewed after those times."""


class Directory(Protocol):
    """Lists, without ciphertext."""

    def read_account(self, account_id: str) -> tuple[Grant, Account] | None:
        """One account and its grant, without ciphertext."""

    def list_accounts(
        self,
        *,
        tenant_id: str | None,
        end_user_id: str | None,
        after: str | None,
        limit: int,
        until: date | None = None,
    ) -> tuple[Sequence[tuple[Grant, Account]], str | None]:
        """A page in order of ``relink_by``, to the day ``until``, and where to go on."""

    def count_relinks(
        self,
        *,
        tenant_id: str | None,
        registrations: Sequence[str],
        shard: int,
        first: date,
        last: date,
    ) -> tuple[int, bool]:
        """Count active accounts of one shard that are to be linked again in these days.

        False beside the number where counting stopped before the end.
        """

    def update_account(
        self,
        account: Account,
        grant: Grant,
        *,
        metadata: Mapping[str, str] | None,
        mode: RefreshMode | None,
        due_at: Callable[[RefreshMode], datetime | None],
    ) -> None:
        """Change what the team may change.

        A shared grant follows the most eager of its accounts, and its due slot that mode.
        """


@dataclass(frozen=True, slots=True)
class Look:
    """A place in the reminder index: an account, and the day on which it is to be looked at."""

    account_id: str
    day: date


@dataclass(frozen=True, slots=True)
class LookPage:
    """Accounts to look at, oldest first, and where to go on; ``after`` is None on the last page."""

    items: tuple[Look, ...]
    after: Look | None


class Reminders(Protocol):
    """What the reminders read and write, without ciphertext."""

    def to_look_at(self, shard: int, *, today: date, limit: int, after: Look | None) -> LookPage:
        """One page of accounts whose day has come."""

    def read_links(self, account_ids: Sequence[str]) -> Mapping[str, tuple[Grant, Account]]:
        """Accounts with their grants, up to 50; what cannot be read is left out."""

    def remind(
        self, account: Account, reminder: Reminder, look: Look, *, then: date, now: datetime
    ) -> bool:
        """Note a reminder in the write that carries its event, and when to look again.

        False where the account has been looked at, linked again or unlinked since it was read.
        """

    def look_again(self, look: Look, account: Account | None, *, then: date | None) -> None:
        """Say when to look again, or never, unless somebody else has said so since."""

    def end_at_deadline(self, grant: Grant, *, now: datetime) -> bool:
        """Write down that ``relink_by`` has passed; False where the grant has changed since."""


class Timeline(Protocol):
    """What the outbox reads and writes in the accounts table, without ciphertext."""

    def read_accounts(self, grant_id: str) -> tuple[Grant | None, Sequence[Account]]:
        """One consistent request: the grant and every account that shares it."""

    def note(self, event: Event) -> None:
        """Put an event into its account's timeline; the same event twice is one row."""

    def is_noted(self, event: Event) -> bool:
        """Whether its account's timeline has this event, by one consistent request."""

    def mark_told(self, account: Account, *, waits: bool) -> None:
        """Write down that the event of this unlink was sent, or that it waits for its result."""

    def copy_grant(self, account: Account, grant: Grant) -> None:
        """Bring an account's copy of status and date up to date.

        Lists are ordered by them, counts and reminders made. A new date begins its reminders anew.
        """


class PastEvents(Protocol):
    """Timelines, for reading."""

    def events_of(
        self, account_id: str, *, before: str | None, limit: int
    ) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        """A page of an account's events, newest first, and the place of its last."""


class ReadyLinks(Protocol):
    """Where the stack is told to: links that an owner can follow at once."""

    def for_owner(self, account: Account, reminder: Reminder, *, named: str) -> str | None:
        """The address of a relink session, the same for the same ``named``; None if none can be.

        Raises:
            StoreUnavailable: safe to repeat.
        """


class EventBus(Protocol):
    """Where events go out."""

    def send(self, events: Sequence[Event]) -> None:
        """Send all of them, or raise StoreUnavailable: some may have gone."""


class Sessions(Protocol):
    """Link sessions. Each arrow of the state machine is one conditional update."""

    def create(self, session: LinkSession, *, idempotency: Idempotency | None) -> LinkSession:
        """Store a new session, or give back the one that the same key made before."""

    def read(self, session_id: str) -> LinkSession | None:
        """One consistent read."""

    def start(
        self, session_id: str, nonce: str, attempt_key: str, attempt: Attempt, *, now: datetime
    ) -> LinkSession:
        """Add an attempt.

        Raises: LinkSessionExpired, LinkSessionUsed, LinkSessionCancelled, NotFound, RateLimited.
        """

    def consume(
        self, state: State, cookie_hash: str | None, *, now: datetime
    ) -> tuple[LinkSession, Attempt]:
        """Use an attempt up, once.

        Raises: StateMismatch (unknown), and ``AttemptNotUsable`` for all else.
        """

    def remember_browser(self, state: State, cookie_hash: str, *, now: datetime) -> None:
        """Give the browser that came back without its cookie a result page of its own."""

    def park(
        self, state: State, parked: ParkedCode, *, cookie_hash: str | None, now: datetime
    ) -> bool:
        """Keep a code until the team completes; False where the session is over or busy.

        ``cookie_hash`` is of the browser that came back without its cookie, and uses the attempt
        up; None where ``consume`` has used it.
        """

    def claim(
        self, session_id: str, completion_hash: str, *, caller: Caller, now: datetime
    ) -> tuple[LinkSession, Attempt, ParkedCode]:
        """Take what is parked in a session of this caller's, once.

        Raises: NotFound, and ``NotClaimable`` for all else.
        """

    def finish(
        self,
        session_key: str,
        status: SessionStatus,
        *,
        now: datetime,
        reason: SessionReason | None = None,
        account_id: str | None = None,
        granted: tuple[str, ...] = (),
        missing: tuple[str, ...] = (),
        display_name: str | None = None,
        answer: str | None = None,
        switch_account: bool = False,
    ) -> None:
        """Write the result and forget what was parked. A completed session is never overwritten.

        ``switch_account``: from now on TikTok is to ask, whatever the session said before.
        """

    def cancel(self, session_id: str, *, caller: Caller, now: datetime) -> LinkSession:
        """Cancel a session of this caller's for the team.

        Raises: NotFound, LinkSessionUsed.
        """


@dataclass(frozen=True, slots=True)
class Idempotency:
    """An Idempotency-Key within its caller's scope and the hash of the body it came with."""

    key: str
    body_hash: str


class Envelope(Protocol):
    """All that sealing one pair needs but its tokens: no network is left, and microseconds."""

    def seal(self, answer: TokenAnswer) -> SealedPair:
        """Seal a whole pair. An envelope serves once."""


class Sealing(Protocol):
    """Ciphers for tokens. ``prepare`` fetches keys, so that sealing itself cannot fail."""

    def prepare(self, *purposes: str, now: datetime) -> None:
        """Have this epoch's keys for these purposes in memory."""

    def envelope(self, *, registration: str, open_id: str, now: datetime) -> Envelope:
        """Draw and derive everything for one pair of this grant. ``prepare`` comes first."""

    def seal_pair(self, answer: TokenAnswer, *, registration: str, now: datetime) -> SealedPair:
        """Seal a whole pair under the current epoch: no network, microseconds."""

    def seal_code(self, code: Secret, state: State, *, now: datetime) -> bytes:
        """Seal an authorisation code to its attempt; ``prepare("parked_code")`` comes first."""

    def open_code(self, sealed: bytes, *, session_key: str, attempt_key: str) -> Secret:
        """Open a parked code. Raises SealBroken where it does not belong."""

    def open_access(self, pair: SealedPair, *, registration: str, open_id: str) -> Secret:
        """Open the access token of a pair. Raises SealBroken where it does not belong."""

    def open_refresh(self, pair: SealedPair, *, registration: str, open_id: str) -> Secret:
        """Open the refresh token of a pair. Raises SealBroken where it does not belong."""


class Credentials(Protocol):
    """The app registrations' client credentials."""

    def candidates(self, registration: str) -> Sequence[ClientCredentials]:
        """What to authenticate with, in the order to try: current, previous, pending."""

    def reread(self) -> None:
        """Drop what is cached: TikTok refused it."""


class TikTok(Protocol):
    """TikTok's endpoints. Each call is one request; nothing is retried inside."""

    def exchange(
        self,
        client: ClientCredentials,
        *,
        code: Secret,
        redirect_uri: str,
        code_verifier: str | None,
        read_timeout: timedelta,
    ) -> TokenAnswer:
        """Trade a code for a pair."""

    def refresh(
        self, client: ClientCredentials, refresh_token: Secret, *, read_timeout: timedelta
    ) -> TokenAnswer:
        """Spend a refresh token."""

    def revoke(self, client: ClientCredentials, access_token: Secret) -> None:
        """Disconnect the app from the person's account."""

    def profile(self, access_token: Secret, *, now: datetime) -> Profile | None:
        """Fetch the decoration; None when there is none to be had. Never raises."""


class Journal(Protocol):
    """Durable bytes within this execution environment, for what is not yet in the table."""

    def append(self, pair: RenewedPair | AuthorisedPair) -> None:
        """Write before anything else may fail. Raises StoreUnavailable where the disk is full."""

    def find(self, grant_id: str, spent: bytes) -> RenewedPair | None:
        """The pair bought with that token, if this environment holds it."""

    def leftovers(self) -> Sequence[AuthorisedPair]:
        """Pairs from exchanges whose invocation died here before it had saved them."""

    def forget(self, pair: RenewedPair | AuthorisedPair) -> None:
        """It is in the table, or has no home. Never raises."""


class RescueQueue(Protocol):
    """Where a sealed pair goes when the table does not take it."""

    def put_renewed(self, renewed: RenewedPair) -> None:
        """Hand a renewed pair to the rescue function."""

    def put_authorised(self, authorised: AuthorisedPair) -> None:
        """Hand a pair from an exchange to the rescue function."""

    def waiting(self) -> int:
        """How many pairs wait for the table, about."""


class GrantQueue(Protocol):
    """Grants on their way to those who renew, or finish, them: ids only."""

    def put(self, grant_ids: Sequence[str]) -> None:
        """Send up to 10 ids in one request."""

    def waiting(self) -> int:
        """How many messages wait, about."""


class Endings(Protocol):
    """Where the planner finds grants whose end may not be finished."""

    def unfinished(
        self, ending: Ending, *, now: datetime, limit: int, after: Due | None
    ) -> DuePage:
        """One page of those whose time to look has come, oldest first."""


class RefreshDoor(Protocol):
    """The refresh function as others see it: asks for a renewal, never sees a refresh token."""

    def renew(
        self, grant_id: str, *, min_ttl: timedelta, rejected: bool, for_revocation: bool = False
    ) -> RenewalReport:
        """Have one grant renewed and wait for the outcome."""


class Outcome(StrEnum):
    """How a renewal ended, as the one door reports it. Never a token."""

    RENEWED = "renewed"
    FRESH = "fresh"
    IN_PROGRESS = "refresh_in_progress"
    UNKNOWN = "refresh_outcome_unknown"
    BACKOFF = "refresh_backoff"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    MISCONFIGURED = "client_credentials_invalid"
    RELINK_REQUIRED = "relink_required"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class RenewalReport:
    """An outcome and, where waiting helps, the seconds to wait.

    ``replaced_after`` is the age of the pair that a renewal replaced; ``is_lost`` says that this
    renewal found its grant lost to an answer of TikTok's that never came.
    """

    outcome: Outcome
    retry_after: int | None = None
    replaced_after: timedelta | None = None
    is_lost: bool = False
