"""A stack of short-lived processes over one table, in which anything may fail, and its book-keeper.

The use cases are the real ones. Each runs as an invocation: with a deadline at which it is stopped,
with faults at the calls it makes, and with others who act in the middle of it. The book-keeper
knows TikTok's side too and writes down what must not be; ``test_lives`` looks after every step.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit

from tests.fakes import samples
from tests.fakes.accounts import AccountsInMemory
from tests.fakes.credentials import CLIENT_KEY, KnownCredentials
from tests.fakes.happenings import Happenings, Killed
from tests.fakes.journal import MemoryJournal
from tests.fakes.queues import MemoryGrantQueue, MemoryRescueQueue
from tests.fakes.rotating_tiktok import Ending, RotatingTikTok, Rules
from tests.fakes.schedule import ScheduleInMemory
from tests.fakes.sealing import TransparentSealing
from tests.fakes.sessions import SessionsInMemory
from tests.unit.stage import Stage
from tiktok_linking.accounts import (
    Account,
    Grant,
    RefreshMode,
    RelinkReason,
    Revocation,
    SealedPair,
    Status,
    grant_id,
)
from tiktok_linking.authorizing import start
from tiktok_linking.directory import Listed, update
from tiktok_linking.errors import (
    AccountRevoked,
    AccountUnlinked,
    LinkingError,
    NoAnswer,
    NotFound,
    RelinkRequired,
    StoreUnavailable,
    Unavailable,
)
from tiktok_linking.linking import Answer
from tiktok_linking.ports import AuthorisedPair, Outcome, RenewalReport, RenewedPair, Saved
from tiktok_linking.renewal import Ask, Renewal
from tiktok_linking.runs import work
from tiktok_linking.sessions import State
from tiktok_linking.unlinking import Unlinked, Unlinking

VISIBLE_AGAIN = timedelta(seconds=10)
"""The rescue queue gives a message that was not deleted to its consumer again after this."""
CLEAN_RUNS = 2
BETWEEN_CLEAN_RUNS = timedelta(minutes=6)
"""More than the longest backoff, the lease and the wait of a recovery."""
BETWEEN_LOOKS = timedelta(minutes=61)
"""More than the longest wait until somebody looks again whether an unlink has ended."""
ENVIRONMENTS = 2
TIKTOK = ("tiktok.refresh", "tiktok.exchange", "tiktok.revoke")
TABLE = ("grants", "links", "authorisations", "directory", "sessions", "endings")


class Kind(StrEnum):
    """What goes wrong at a call."""

    KILLED = "killed"
    FAILED = "failed"
    """The call fails; after it took effect, its reply is lost."""
    ERROR = "error"
    """TikTok answers 500, which does not tell whether it acted."""
    REFUSED = "refused"
    """TikTok takes no connection."""
    OUTAGE = "outage"
    """The tables fail from this call to the end of the invocation."""
    SLOW = "slow"
    RENEWED = "meanwhile another worker renews"
    LEASED = "meanwhile another worker takes the lease and dies"
    VENDED = "meanwhile a token is asked for"
    LINKED = "meanwhile the person links again"
    UNLINKED = "meanwhile the account is unlinked"
    REMOVED = "meanwhile the person removes the app"
    RESCUED = "meanwhile the rescue queue is delivered"


MEANWHILE = (
    Kind.RENEWED,
    Kind.LEASED,
    Kind.VENDED,
    Kind.LINKED,
    Kind.UNLINKED,
    Kind.REMOVED,
    Kind.RESCUED,
)


@dataclass(frozen=True)
class Fault:
    """What goes wrong once, before or after the first use of ``call`` takes effect."""

    call: str
    kind: Kind
    is_after: bool = False

    def __repr__(self) -> str:
        return f"<{self.kind.name} {'after' if self.is_after else 'before'} {self.call}>"


def faults_at(call: str) -> list[Fault]:
    """Everything that can go wrong at a call."""
    kinds = [Kind.KILLED, Kind.FAILED]
    if call in TIKTOK:
        kinds += [Kind.ERROR, Kind.SLOW]
    found = [Fault(call, kind, is_after) for kind in kinds for is_after in (False, True)]
    return [*found, Fault(call, Kind.REFUSED if call in TIKTOK else Kind.OUTAGE)]


def interferences_at(call: str) -> list[Fault]:
    """Everybody who can act in the middle, right before and right after a call."""
    return [Fault(call, kind, is_after) for kind in MEANWHILE for is_after in (False, True)]


@dataclass(eq=False)
class Invocation:
    """One process at work on one person's link."""

    name: str
    open_id: str
    deadline: datetime
    environment: int
    faults: list[Fault]
    is_disturbed: bool = False
    is_in_outage: bool = False
    is_exposed: bool = False
    """Whether a fresh pair has nothing durable but the table: no journal keeps it."""
    cannot_keep: bool = False
    """Whether what else could have kept or ended a fresh pair has failed too."""
    is_interfered: bool = False
    live_before: str | None = None
    stored_before: str | None = None
    leased: set[str] = field(default_factory=set)
    """The refresh tokens for which it took the lease."""


@dataclass(eq=False)
class Parcel:
    """A message of the rescue queue."""

    content: RenewedPair | AuthorisedPair
    visible_at: datetime
    times_left: int = 1


def refresh_token(pair: SealedPair) -> str:
    """The refresh token of a pair that TransparentSealing sealed."""
    return str(json.loads(pair.refresh)["token"])


class Processes(Happenings):
    """What all fakes share: it stops, fails and interrupts the invocation that calls."""

    def __init__(self, strike: Callable[[str, bool], None]) -> None:
        super().__init__()
        self._strike = strike

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """See Happenings."""
        self._strike(name, False)
        yield
        self._strike(name, True)


class OpenJournal(MemoryJournal):
    """A journal that can be looked into."""

    def tokens(self) -> set[str]:
        """The refresh tokens of the pairs in it."""
        return {refresh_token(renewed.pair) for renewed in self._entries.values()}


class WatchedTable(AccountsInMemory):
    """The accounts table. Whoever takes a lease and each renewed pair it takes is written down."""

    def __init__(
        self,
        happenings: Happenings,
        running: Sequence[Invocation],
        expect: Callable[[bool, str], None],
    ) -> None:
        super().__init__(happenings)
        self._expect = expect
        self._running = running
        self.holders: dict[str, Invocation] = {}
        self.renewals: Counter[str] = Counter()
        self._pair_ids: dict[str, bytes] = {}

    def take_lease(self, grant: Grant, *, owner: str, until: datetime, now: datetime) -> bool:
        """See ports.Grants."""
        before = self.grant(grant.id)
        try:
            return super().take_lease(grant, owner=owner, until=until, now=now)
        finally:
            kept = self.grant(grant.id)
            if kept.lease_owner == owner and kept.pair is not None:
                self._expect(not before.is_leased(now), f"took a live lease of {grant.open_id}")
                self.holders[grant.id] = self._running[-1]
                self._running[-1].leased.add(refresh_token(kept.pair))

    def note_stored(self, *, is_renewal: bool) -> None:
        """A save took effect: count what it stored."""
        for grant in self.grants():
            pair_id = grant.pair.pair_id if grant.pair else None
            if pair_id is not None and pair_id != self._pair_ids.get(grant.id):
                self._pair_ids[grant.id] = pair_id
                self.renewals[grant.id] += is_renewal

    def grants(self) -> list[Grant]:
        """All of them."""
        return [self.grant(id) for id in self._grants]

    def rows(self) -> list[Account]:
        """All accounts."""
        return list(self._accounts.values())


class Stack:
    """Everything of one life: the stage, its processes, TikTok, and the book of what went wrong."""

    def __init__(self, rules: Rules) -> None:
        self.running: list[Invocation] = []
        self.wrongs: list[str] = []
        """What must not happen, as it happened."""
        self.lost: dict[str, str] = {}
        """Refresh tokens that were read and could not be kept, and what explains it."""
        self.troubled: set[str] = set()
        """Refresh tokens under whose lease something went wrong."""
        self.parcels: list[Parcel] = []
        self.landed: list[RenewedPair | AuthorisedPair] = []
        self.rescue_lag = timedelta(0)
        """How long the rescue queue's consumer is in coming; the design allows for 30 s."""
        self.is_table_down = False
        self._versions: dict[str, int] = {}

        self.stage = Stage()
        self.clock = self.stage.clock
        processes = Processes(self._strike)
        self.table = WatchedTable(processes, self.running, self.expect)
        self.stage.happenings = processes
        self.stage.accounts = self.table
        self.stage.schedule = ScheduleInMemory(processes, self.table)
        self.stage.sessions = SessionsInMemory(processes)
        self.stage.sealing = TransparentSealing(processes)
        self.stage.credentials = KnownCredentials(processes)
        self.stage.rescue = MemoryRescueQueue(processes)
        self.stage.renewals = MemoryGrantQueue(processes)
        self.stage.revocations = MemoryGrantQueue(processes, "revocations")
        self.journals = [OpenJournal(processes) for _ in range(ENVIRONMENTS)]
        self.processes = processes
        self.tiktok = RotatingTikTok(processes, self.clock, rules)
        self.tiktok.on_refresh = self._watch_spending

    # -- what people and processes do -----------------------------------------------------------

    def link(
        self,
        open_id: str,
        end_user_id: str,
        *,
        faults: Sequence[Fault] = (),
        scopes: tuple[str, ...] = samples.SCOPES,
        relink_of: str | None = None,
    ) -> None:
        """A person goes through TikTok's consent and comes back."""
        if self.is_table_down:
            return
        self.clock.advance(seconds=2)  # nobody is faster
        session = samples.link_session(
            end_user_id=end_user_id, at=self.clock.now, relink_account_id=relink_of
        )
        self.stage.sessions.create(session, idempotency=None)
        departure = start(
            self.stage.sessions,
            session_id=session.id,
            nonce=session.page_nonce,
            authorize_base="https://tiktok.test/",
            client_keys={samples.REGISTRATION: CLIENT_KEY},
            redirect_uri="https://link.example.com/callback",
            now=self.clock.now,
        )
        state = State.parse(parse_qs(urlsplit(departure.url).query)["state"][0])
        assert state is not None
        code = self.tiktok.consent(open_id, scopes)
        cookies = {departure.cookie_name: departure.cookie_value.reveal()}
        with self.invocation("callback", open_id, faults, seconds=28):
            replace(self.stage.linking(), tiktok=self.tiktok).finish(
                Answer(state, code, None, None), cookies, deadline=self.running[-1].deadline
            )

    def vend(
        self,
        account: Account,
        *,
        min_ttl: timedelta = timedelta(minutes=5),
        rejected: bool = False,
        faults: Sequence[Fault] = (),
        refresh_faults: Sequence[Fault] = (),
        environment: int = 0,
    ) -> None:
        """The team asks for a token; ``refresh_faults`` strike the renewal that it may need."""
        was_unlinked = self.table.account(account.id).unlinked_at is not None
        open_id = account.open_id
        with self.invocation("tokens", open_id, faults, seconds=28) as run:
            vending = replace(self.stage.vending(), door=Door(self, environment, refresh_faults))
            try:
                vended = vending.access_token_for(
                    account.id, caller=samples.BACKEND, min_ttl=min_ttl, rejected=rejected
                )
            except RelinkRequired:
                if self.stage.grant(account.grant_id).status_at(self.clock.now) is Status.ACTIVE:
                    # A relink in the middle may have repaired it since.
                    self.expect(run.is_disturbed, "relink asked for while the link is active")
                return
            except AccountUnlinked:
                self.expect(was_unlinked or run.is_disturbed, "a linked account told as unlinked")
                return
            except LinkingError as error:
                self.expect(not isinstance(error, (NotFound, AccountRevoked)), repr(error))
                return
            token = vended.access_token.reveal()
            self.expect(vended.expires_at > self.clock.now, f"vended an expired token {token}")
            self.expect(f".{open_id}." in token, f"vended another person's token {token}")
            self.expect(
                not was_unlinked or run.is_disturbed, "vended a token of an unlinked account"
            )

    def renew(
        self,
        grant: Grant,
        ask: Ask,
        *,
        faults: Sequence[Fault] = (),
        environment: int = 0,
    ) -> RenewalReport | None:
        """The refresh function renews one grant; None where it died."""
        reports: list[RenewalReport] = []
        with self.invocation("refresh", grant.open_id, faults, environment=environment) as run:
            renewal = self._renewal(environment)
            reports.append(renewal.renew(grant.id, ask, deadline=run.deadline))
        stored = self.stored(grant.open_id)
        if reports and not run.is_interfered and stored not in (None, run.stored_before):
            told = reports[0].outcome
            self.expect(told is Outcome.RENEWED, f"stored {stored} and told {told}")
        return reports[0] if reports else None

    def run_schedule(self, *, faults: Sequence[Fault] = (), environment: int = 0) -> None:
        """Plan and work; the faults strike the first grant that is due."""
        with self.invocation("refresh", "", ()) as run:
            self.stage.plan(until=run.deadline)
            self.stage.plan_endings()
        due = sorted(set(self.stage.renewals.grant_ids))
        self.stage.renewals.batches.clear()
        for id in due:
            open_id = self.stage.grant(id).open_id
            # One at a time: with threads, lives would not be the same in every run.
            with self.invocation("refresh", open_id, faults, environment=environment) as run:
                worked = work(self._renewal(environment), [id], deadline=run.deadline)
                self.expect(not worked.failed or run.is_disturbed, "a worker failed by itself")
            faults = ()
        self.finish_unlinks(environment=environment)

    def finish_unlinks(self, faults: Sequence[Fault] = (), *, environment: int = 0) -> None:
        """The unlink function gets what the queue brings: unlinks that may not have ended."""
        sent = sorted(set(self.stage.revocations.grant_ids))
        self.stage.revocations.batches.clear()
        for id in sent:
            with self.invocation("unlink", self.stage.grant(id).open_id, faults, seconds=28):
                self._unlinking(environment, ()).finish(id)
            faults = ()

    def unlink(
        self,
        account: Account,
        *,
        faults: Sequence[Fault] = (),
        refresh_faults: Sequence[Fault] = (),
        environment: int = 0,
    ) -> Unlinked | None:
        """The team ends one account; None where the function died."""
        results: list[Unlinked] = []
        with self.invocation("unlink", account.open_id, faults, seconds=28):
            unlinking = self._unlinking(environment, refresh_faults)
            results.append(unlinking.unlink(account.id, caller=samples.BACKEND, revoke=True))
        return results[0] if results else None

    def _unlinking(self, environment: int, refresh_faults: Sequence[Fault]) -> Unlinking:
        door = Door(self, environment, refresh_faults)
        return replace(self.stage.unlinking(), tiktok=self.tiktok, door=door)

    def deliver_rescue(self, faults: Sequence[Fault] = (), *, is_last_first: bool = False) -> None:
        """Give the rescue function every message that is visible."""
        visible = [parcel for parcel in self.parcels if parcel.visible_at <= self.clock.now]
        for parcel in reversed(visible) if is_last_first else visible:
            landed = False
            with self.invocation("rescue", "", faults, seconds=5):
                self._land(parcel.content)
                landed = True
            faults = ()
            parcel.visible_at = self.clock.now + VISIBLE_AGAIN
            if landed:
                parcel.times_left -= 1
                self.landed.append(parcel.content)
            if parcel.times_left == 0:
                self.parcels.remove(parcel)

    def redrive(self, content: RenewedPair | AuthorisedPair) -> None:
        """Somebody sends an old message again."""
        with self.invocation("rescue", "", (), seconds=5):
            self._land(content)

    def set_mode(self, account: Account, mode: RefreshMode) -> None:
        """The team changes how eagerly the account is kept warm."""
        with self.invocation("accounts", account.open_id, ()):
            try:
                update(
                    self.table,
                    account.id,
                    caller=samples.BACKEND,
                    metadata=None,
                    mode=mode,
                    policy=self.stage.policy,
                    now=self.clock.now,
                )
            except AccountUnlinked:
                return

    def lose_environment(self, environment: int) -> None:
        """Lambda takes a new machine: what was only in its temporary folder is gone."""
        old = self.journals[environment]
        self.journals[environment] = OpenJournal(self.processes)
        for token in old.tokens():
            if not self.is_held(token):
                self.lost.setdefault(token, "the environment with the journal is gone")

    def let_pass(self, span: timedelta) -> None:
        """Time passes; meanwhile the rescue queue does its work, as far as the table lets it."""
        end = self.clock.now + span
        while not self.is_table_down and self.parcels:
            first = min(parcel.visible_at for parcel in self.parcels)
            if first > end:
                break
            self.clock.now = max(self.clock.now, first)
            self.deliver_rescue()
        self.clock.now = max(self.clock.now, end)
        for parcel in self.parcels:
            if parcel.visible_at <= end:  # tried in vain, again and again
                parcel.visible_at = end + VISIBLE_AGAIN

    def lose_the_table(self, span: timedelta) -> None:
        """The table is away for a while, and everybody meets it."""
        self.is_table_down = True
        self.run_schedule()
        for row in self.table.rows():
            self.vend(row)
        self.let_pass(span)
        self.is_table_down = False

    def lose_the_registration(self) -> None:
        """TikTok does not know our secret for a while, and everybody meets it."""
        self.tiktok.knows_us = False
        for grant in self.table.grants():
            self.renew(grant, Ask(rejected=True))
        self.run_schedule()
        self.tiktok.knows_us = True

    def meet_again(self) -> None:
        """Two clean runs with the clock moved: nothing fails, and nobody interferes."""
        self.tiktok.oddities.clear()
        for _ in range(CLEAN_RUNS):
            self.let_pass(BETWEEN_CLEAN_RUNS)
            for grant in self.table.grants():
                self.renew(grant, Ask(rejected=True))
        for _ in range(CLEAN_RUNS):
            self.let_pass(BETWEEN_LOOKS)
            self.run_schedule()
        for row in self.table.rows():
            if row.unlinked_at is not None:
                self._hear_how_it_ended(row)

    def _hear_how_it_ended(self, row: Account) -> None:
        """Ends come by themselves: a second call is told the result, and does nothing."""
        result = self.unlink(row)
        is_known = result is not None and result.revoked_at_tiktok is not Revocation.PENDING
        self.expect(is_known, f"{row.id}: its end has not come: {result}")

    # -- what the book-keeper sees --------------------------------------------------------------

    def expect(self, is_right: bool, wrong: str) -> None:
        """Write down what must not be."""
        if not is_right:
            self.wrongs.append(wrong)

    def linked(self) -> list[Account]:
        """The accounts that were not unlinked."""
        return [row for row in self.table.rows() if row.unlinked_at is None]

    def shown(self, account: Account) -> Status:
        """The status that an answer shows."""
        return Listed(account, self.stage.grant(account.grant_id)).status(self.clock.now)

    def stored(self, open_id: str) -> str | None:
        """The refresh token in the table."""
        id = grant_id(samples.REGISTRATION, open_id)
        grant = next((grant for grant in self.table.grants() if grant.id == id), None)
        return refresh_token(grant.pair) if grant and grant.pair else None

    def is_rescued(self, token: str) -> bool:
        """Whether a pair lies in the rescue queue."""
        self._collect_parcels()
        return any(refresh_token(parcel.content.pair) == token for parcel in self.parcels)

    def is_held(self, token: str) -> bool:
        """Whether a pair is in the table, in the rescue queue or in a journal."""
        stored = (refresh_token(g.pair) for g in self.table.grants() if g.pair)
        return (
            token in stored
            or self.is_rescued(token)
            or any(token in journal.tokens() for journal in self.journals)
        )

    def is_explained(self, token: str) -> bool:
        """Whether it was TikTok's answer itself that was lost, or what no order can save."""
        return token in self.tiktok.unheard or token in self.lost

    def audit(self) -> list[str]:
        """What is wrong now."""
        wrongs = list(self.wrongs)
        for grant in self.table.grants():
            wrongs += [f"{grant.open_id}: {wrong}" for wrong in self._audit_grant(grant)]
        for row in self.table.rows():
            grant = self.stage.grant(row.grant_id)
            if row.unlinked_at is not None and self.shown(row) is not Status.UNLINKED:
                wrongs.append(f"{row.id}: unlinked, and shown as {self.shown(row)}")
            if row.unlinked_at is None and grant.status is Status.UNLINKED:
                wrongs.append(f"{row.id}: linked to a grant that has ended")
            if row.unlinked_at is None and grant.pair is None:
                wrongs.append(f"{row.id}: linked, and its tokens are gone")
        return wrongs

    def _audit_grant(self, grant: Grant) -> Iterator[str]:
        live = self.tiktok.live(grant.open_id)
        token = refresh_token(grant.pair) if grant.pair else None
        before = self._versions.get(grant.id, 0)
        self._versions[grant.id] = grant.version
        if grant.version < before:
            yield f"version went from {before} to {grant.version}"
        if grant.rotations != self.table.renewals[grant.id]:
            yield f"{grant.rotations} rotations, {self.table.renewals[grant.id]} pairs stored"
        if token is not None and f".{grant.open_id}." not in token:
            yield f"holds another person's token {token}"
        if live is not None and not self.is_held(live) and not self.is_explained(live):
            yield f"{live} is lost"
        if token is not None and grant.status is Status.RELINK_REQUIRED:
            yield from self._audit_relink(grant, token, live)

    def _audit_relink(self, grant: Grant, token: str, live: str | None) -> Iterator[str]:
        """Why the owner is asked: only for what is true."""
        authorisation = self.tiktok.of(token)
        assert authorisation is not None
        newest = authorisation.tokens[-1]
        slack = timedelta(hours=1) if self.tiktok.rules.is_sliding else timedelta(0)
        is_over = authorisation.deadline - slack <= self.clock.now
        if token == live:
            yield f"relink for {grant.reason}, while {token} works"
        elif newest == live and not self.is_explained(newest):
            yield f"relink for {grant.reason}, while we hold {newest}"
        if grant.reason == RelinkReason.REFRESH_TOKEN_EXPIRED and not is_over:
            yield "told as expired before its deadline"
        ended_by_them = authorisation.ending not in (None, Ending.REUSED)
        if grant.reason == RelinkReason.REFRESH_TOKEN_REJECTED and not (ended_by_them or is_over):
            yield "told as rejected, and the person did nothing"
        if grant.reason == RelinkReason.ROTATION_LOST:
            if token not in self.troubled and not self.is_explained(newest):
                yield f"told as our loss, and nothing ever went wrong with {token}"
            if not (ended_by_them or is_over or self.is_explained(newest)):
                yield f"told as our loss, and no answer was lost: {newest}"

    def audit_after_clean_runs(self) -> list[str]:
        """What is wrong once nothing is open any more: every link works, or its owner is asked."""
        wrongs = self.audit()
        for grant in self.table.grants():
            live = self.tiktok.live(grant.open_id)
            status = grant.status_at(self.clock.now)
            rows = [row for row in self.table.rows() if row.grant_id == grant.id]
            if status is Status.ACTIVE and self.stored(grant.open_id) != live:
                wrongs.append(f"{grant.open_id}: shown as active, and its token is dead")
            is_kept = live is not None and self.is_held(live) and not self.is_explained(live)
            if status is Status.RELINK_REQUIRED and is_kept:
                wrongs.append(f"{grant.open_id}: relink, while we hold {live}")
            # Past the deadline nobody acts on an intent, and who vends may not take it away.
            is_open = (
                grant.intent is not None and grant.reason != RelinkReason.REFRESH_TOKEN_EXPIRED
            )
            if is_open or grant.is_leased(self.clock.now):
                wrongs.append(f"{grant.open_id}: an intent or a lease is left")
            if grant.ending is not None:
                wrongs.append(f"{grant.open_id}: somebody shall still look whether it has ended")
            if rows and all(row.unlinked_at for row in rows):
                if grant.pair is not None:
                    wrongs.append(f"{grant.open_id}: unlinked, and tokens are kept")
                if live is not None and not self.is_explained(live):
                    wrongs.append(f"{grant.open_id}: unlinked, and TikTok's grant lives")
        return wrongs

    # -- processes ------------------------------------------------------------------------------

    @contextmanager
    def invocation(
        self,
        name: str,
        open_id: str,
        faults: Sequence[Fault],
        *,
        seconds: float = 30,
        environment: int = 0,
    ) -> Iterator[Invocation]:
        """One process: it may be killed, or end with a failure of a store, and time goes on."""
        if not self.running and not self.is_table_down and name != "rescue":
            self._deliver_overdue()
        deadline = self.clock.now + timedelta(seconds=seconds)
        run = Invocation(name, open_id, deadline, environment, list(faults))
        run.live_before = self.tiktok.live(open_id)
        run.stored_before = self.stored(open_id)
        self.running.append(run)
        try:
            yield run
        except (Killed, StoreUnavailable):
            run.is_disturbed = run.cannot_keep = True
        finally:
            self.running.pop()
            self._collect_parcels()
            self._explain(run)
            self._check_kept(run)
            if run.is_disturbed:
                self.troubled |= run.leased
                for outer in self.running:
                    outer.is_disturbed = True

    def _land(self, content: RenewedPair | AuthorisedPair) -> None:
        saved = self.stage.rescuing().land(content)
        token = refresh_token(content.pair)
        if saved is Saved.ENDED and self.tiktok.is_live(token):
            # The rescue function does not talk to TikTok: a pair of an authorisation that the
            # unlink did not know is dropped, and TikTok's side of it lives on.
            self.lost.setdefault(token, "it landed after its grant had ended")

    def _renewal(self, environment: int) -> Renewal:
        return self.stage.renewal(tiktok=self.tiktok, journal=self.journals[environment])

    def _strike(self, name: str, is_after: bool) -> None:
        """What happens to whoever makes this call."""
        if not self.running:
            return
        run = self.running[-1]
        if is_after and name in ("grants.save_renewed", "authorisations.save_authorised"):
            self.table.note_stored(is_renewal=name == "grants.save_renewed")
        if self.clock.now > run.deadline:
            self._kill(run, name, is_after)
        port = name.partition(".")[0]
        if port in TABLE and not is_after and (self.is_table_down or run.is_in_outage):
            run.is_disturbed = True
            raise StoreUnavailable("down")
        for fault in [f for f in run.faults if f.call == name and f.is_after == is_after]:
            run.faults.remove(fault)
            run.is_disturbed = True
            self._suffer(run, fault.kind, name, is_after)

    def _suffer(self, run: Invocation, kind: Kind, name: str, is_after: bool) -> None:
        port = name.partition(".")[0]
        if kind is Kind.KILLED:
            self._kill(run, name, is_after)
        elif kind is Kind.SLOW:
            self.clock.advance(seconds=12)
            run.cannot_keep |= run.name == "callback"  # no time to give a refused pair back
        elif kind is Kind.OUTAGE:
            run.is_in_outage = True
            if port in TABLE:
                raise StoreUnavailable("down")
        elif kind in (Kind.FAILED, Kind.ERROR, Kind.REFUSED):
            self._fail(run, kind, name, is_after)
        elif len(self.running) < 3 and run.open_id:
            run.is_interfered = True
            self._interfere(kind, run.open_id)

    def _kill(self, run: Invocation, name: str, is_after: bool) -> None:
        # The one window that no order of calls closes lies between the answer and the first
        # durable byte: of the journal, or, where there is none, of the table.
        first = ("journal.append", "authorisations.save_authorised")
        run.is_exposed |= name == "sealing.seal_pair" or (name in first and not is_after)
        run.is_disturbed = True
        raise Killed(f"{run.name} at {name}")

    def _fail(self, run: Invocation, kind: Kind, name: str, is_after: bool) -> None:
        port = name.partition(".")[0]
        if name in TIKTOK:
            run.cannot_keep |= name == "tiktok.revoke"
            if kind is Kind.FAILED:
                raise NoAnswer
            raise Unavailable("server_error", may_have_acted=kind is Kind.ERROR)
        no_other = ("journal.append", "rescue.put_authorised")
        run.is_exposed |= name in no_other and not is_after
        run.cannot_keep |= port == "rescue" and not is_after
        if port in (*TABLE, "rescue", "credentials", "renewals", "revocations") or name in (
            "sealing.prepare",
            "journal.append",
        ):
            raise StoreUnavailable("down")

    def _interfere(self, kind: Kind, open_id: str) -> None:
        """Somebody else acts in the middle of the invocation, on the same person's link."""
        rows = [row for row in self.table.rows() if row.open_id == open_id]
        other = (self.running[-1].environment + 1) % ENVIRONMENTS
        if kind is Kind.REMOVED:
            self.tiktok.remove(open_id)
        elif kind is Kind.LINKED:
            self.link(open_id, rows[0].end_user_id if rows else "u_1")
            self.clock.advance(seconds=2)  # two answers of TikTok's never have the same date
        elif kind is Kind.RESCUED:
            self.deliver_rescue()
        elif rows and kind in (Kind.RENEWED, Kind.LEASED):
            grant = self.stage.grant(rows[0].grant_id)
            faults = [Fault("tiktok.refresh", Kind.KILLED)] if kind is Kind.LEASED else []
            self.renew(grant, Ask(rejected=True), faults=faults, environment=other)
        elif rows and kind is Kind.VENDED:
            self.vend(rows[0], min_ttl=timedelta(hours=1), environment=other)
        elif rows and kind is Kind.UNLINKED:
            self.unlink(rows[0], environment=other)

    def _explain(self, run: Invocation) -> None:
        """Write down a pair that nobody could keep, so that its loss is no surprise."""
        live = self.tiktok.live(run.open_id)
        if live is None or not run.cannot_keep or self.is_held(live):
            return
        id = grant_id(samples.REGISTRATION, run.open_id)
        has_ended = all(g.status is Status.UNLINKED for g in self.table.grants() if g.id == id)
        if run.is_exposed or has_ended:
            self.lost.setdefault(live, f"{run.name} was stopped before anything durable")

    def _check_kept(self, run: Invocation) -> None:
        """Whoever lives to the end leaves a fresh pair in the table or in the rescue queue."""
        live = self.tiktok.live(run.open_id)
        is_its_own = run.name == "refresh" and live != run.live_before
        if live is None or not is_its_own or run.cannot_keep or self.is_explained(live):
            return
        is_kept = live == self.stored(run.open_id) or self.is_rescued(live)
        self.expect(is_kept, f"{live} was left to the journal alone")

    def _deliver_overdue(self) -> None:
        """What the consumer has got long since, although no time was let pass on purpose."""
        if any(p.visible_at + VISIBLE_AGAIN <= self.clock.now for p in self.parcels):
            self.deliver_rescue()

    def _collect_parcels(self) -> None:
        queue = self.stage.rescue
        visible_at = self.clock.now + self.rescue_lag
        self.parcels += [Parcel(content, visible_at) for content in queue.parcels]
        queue.parcels.clear()

    def _watch_spending(self, open_id: str, token: str) -> None:
        """Judge a refresh request as it leaves: who sends it, and whether it may be a replay."""
        run = self.running[-1]
        id = grant_id(samples.REGISTRATION, open_id)
        if self.stored(open_id) == token:
            self.expect(self.table.holders.get(id) is run, f"{token} spent under another's lease")
            is_leased = self.stage.grant(id).is_leased(self.clock.now)
            self.expect(is_leased, f"{token} spent without a lease")
            self.expect(open_id not in self.tiktok.in_flight, f"{token} in flight twice")
        authorisation = self.tiktok.of(token)
        assert authorisation is not None
        newest = authorisation.tokens[-1]
        if authorisation.ending or newest == token or self.is_explained(newest):
            return
        # A replay, although TikTok's answer was read.
        in_table = newest == self.stored(open_id)
        in_own = newest in self.journals[run.environment].tokens()
        if in_table or in_own or self.is_rescued(newest):
            self.wrongs.append(f"{token} sent again while we hold {newest}")
        elif self.is_held(newest):
            self.lost[newest] = "only the journal of another environment had it"
        else:
            self.wrongs.append(f"{token} sent again, and {newest} is nowhere")


class Door:
    """The refresh function as ``tokens`` and ``unlink`` reach it: another process that may die."""

    def __init__(self, stack: Stack, environment: int, faults: Sequence[Fault]) -> None:
        self._stack = stack
        self._environment = environment
        self._faults = faults

    def renew(
        self, grant_id: str, *, min_ttl: timedelta, rejected: bool, for_revocation: bool = False
    ) -> RenewalReport:
        """See ports.RefreshDoor."""
        ask = Ask(min_ttl=min_ttl, rejected=rejected, for_revocation=for_revocation)
        grant = self._stack.stage.grant(grant_id)
        faults, self._faults = self._faults, ()
        report = self._stack.renew(grant, ask, faults=faults, environment=self._environment)
        return report or RenewalReport(Outcome.UNKNOWN, retry_after=5)
