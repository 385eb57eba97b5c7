"""Everything that a use case needs, from fakes, with one clock and one record of what happened."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.fakes import samples
from tests.fakes.accounts import AccountsInMemory
from tests.fakes.clock import Clock
from tests.fakes.credentials import CLIENT_KEY, KnownCredentials
from tests.fakes.door import ScriptedDoor
from tests.fakes.happenings import Happenings
from tests.fakes.journal import MemoryJournal
from tests.fakes.queues import MemoryGrantQueue, MemoryRescueQueue
from tests.fakes.schedule import ScheduleInMemory
from tests.fakes.sealing import TransparentSealing
from tests.fakes.sessions import SessionsInMemory
from tests.fakes.tiktok import ScriptedTikTok
from tiktok_linking.accounts import Account, Grant, RefreshMode, SealedPair
from tiktok_linking.breaker import Breaker
from tiktok_linking.linking import Linking
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.ports import AuthorisedPair, Journal, Saved, TikTok
from tiktok_linking.removing import Removing
from tiktok_linking.renewal import Renewal
from tiktok_linking.rescuing import Rescuing
from tiktok_linking.runs import Planned, plan, plan_endings
from tiktok_linking.schedule import RenewalPolicy
from tiktok_linking.unlinking import Unlinking
from tiktok_linking.vending import Vending


class Stage:
    """The ports of one stack. Use cases made from it share everything but what is given."""

    def __init__(self) -> None:
        self.happenings = Happenings()
        self.clock = Clock()
        self.accounts = AccountsInMemory(self.happenings)
        self.schedule = ScheduleInMemory(self.happenings, self.accounts)
        self.sessions = SessionsInMemory(self.happenings)
        self.sealing = TransparentSealing(self.happenings)
        self.credentials = KnownCredentials(self.happenings)
        self.journal = MemoryJournal(self.happenings)
        self.rescue = MemoryRescueQueue(self.happenings)
        self.renewals = MemoryGrantQueue(self.happenings)
        self.revocations = MemoryGrantQueue(self.happenings, "revocations")
        self.door = ScriptedDoor(self.happenings)
        self.tiktok = ScriptedTikTok(self.happenings)
        self.policy = RenewalPolicy()
        self.luck = 0.5

    @property
    def calls(self) -> list[str]:
        """What the ports were asked since the stage was set."""
        return self.happenings.calls

    def deadline(self, seconds: float = 30) -> datetime:
        """When the invocation ends."""
        return self.clock.now + timedelta(seconds=seconds)

    # -- use cases ------------------------------------------------------------------------------

    def renewal(self, *, tiktok: TikTok | None = None, journal: Journal | None = None) -> Renewal:
        """A worker; one with a journal of its own lives in another execution environment."""
        return Renewal(
            grants=self.accounts,
            breaker=self.breaker(),
            tiktok=tiktok or self.tiktok,
            sealing=self.sealing,
            credentials=self.credentials,
            journal=self.journal if journal is None else journal,
            rescue=self.rescue,
            policy=self.policy,
            now=self.clock,
            pause=self.clock.pause,
            chance=lambda: self.luck,
        )

    def breaker(self) -> Breaker:
        """A worker's view of the circuits that all share."""
        return Breaker(self.schedule, (samples.REGISTRATION,), self.clock, lambda: self.luck)

    def plan(
        self,
        *,
        registrations: tuple[str, ...] = (samples.REGISTRATION,),
        until: datetime | None = None,
        most_pages: int = 50,
    ) -> Planned:
        """One run of the planner, with half a minute if nothing else is said."""
        return plan(
            self.schedule,
            self.renewals,
            registrations,
            now=self.clock,
            until=until or self.deadline(),
            most_pages=most_pages,
        )

    def vending(self) -> Vending:
        """The tokens function's use case."""
        return Vending(
            links=self.accounts,
            sealing=self.sealing,
            door=self.door,
            policy=self.policy,
            now=self.clock,
            pause=self.clock.pause,
            chance=lambda: self.luck,
        )

    def unlinking(self) -> Unlinking:
        """The unlink function's use case."""
        return Unlinking(
            links=self.accounts,
            sealing=self.sealing,
            credentials=self.credentials,
            tiktok=self.tiktok,
            door=self.door,
            queue=self.revocations,
            tombstone=timedelta(days=30),
            now=self.clock,
        )

    def plan_endings(self) -> list[str]:
        """One run of the planner for ends that may not be finished: whom it sent."""
        before = len(self.revocations.grant_ids)
        plan_endings(self.schedule, self.revocations, now=self.clock, until=self.deadline())
        return self.revocations.grant_ids[before:]

    def removing(self) -> Removing:
        """The webhook function's use case."""
        return Removing(
            removals=self.accounts,
            credentials=self.credentials,
            client_keys={samples.REGISTRATION: CLIENT_KEY},
            now=self.clock,
        )

    def linking(self) -> Linking:
        """The callback's use case."""
        return Linking(
            sessions=self.sessions,
            authorisations=self.accounts,
            tiktok=self.tiktok,
            sealing=self.sealing,
            credentials=self.credentials,
            journal=self.journal,
            rescue=self.rescue,
            policy=self.policy,
            client_keys={samples.REGISTRATION: CLIENT_KEY},
            now=self.clock,
            pause=self.clock.pause,
            chance=lambda: 0.5,
        )

    def rescuing(self) -> Rescuing:
        """The rescue function's use case."""
        return Rescuing(
            grants=self.accounts,
            authorisations=self.accounts,
            sessions=self.sessions,
            policy=self.policy,
            now=self.clock,
        )

    # -- a start --------------------------------------------------------------------------------

    def link(
        self,
        end_user_id: str = "u_42",
        *,
        answer: TokenAnswer | None = None,
        mode: RefreshMode = RefreshMode.AUTO,
    ) -> Account:
        """Link an account without counting it; a second end user shares the grant."""
        answer = answer or samples.answer(issued_at=self.clock.now)
        account = samples.account(
            end_user_id=end_user_id,
            open_id=answer.open_id,
            at=answer.issued_at,
            relink_by=answer.relink_by,
        )
        self.authorise(answer)
        self.accounts.save_account(account)
        if mode is not RefreshMode.AUTO:
            grant = self.accounts.grant(account.grant_id)
            self.accounts.update_account(
                account, grant, metadata=None, mode=mode, due_at=lambda _: None
            )
        pair = self.pair(account.grant_id)
        due_at = self.policy.next_due(
            account.grant_id,
            mode=mode,
            last_used_at=None,
            issued_at=pair.issued_at,
            expires_at=pair.expires_at,
            relink_by=pair.relink_by,
            now=self.clock.now,
        )
        self.accounts.change(account.grant_id, due_at=due_at)
        self.happenings.forget()
        return account

    def authorise(self, answer: TokenAnswer) -> Saved:
        """Store a pair as the callback does."""
        sealed = self.sealing.seal_pair(
            answer, registration=samples.REGISTRATION, now=self.clock.now
        )
        authorised = AuthorisedPair(
            registration=samples.REGISTRATION,
            open_id=answer.open_id,
            authorised_at=answer.issued_at,
            write_id=sealed.pair_id[-8:],
            pair=sealed,
            account=None,
        )
        return self.accounts.save_authorised(authorised, due_at=None, only_existing=False)

    # -- what is stored -------------------------------------------------------------------------

    def grant(self, grant_id: str = samples.GRANT_ID) -> Grant:
        """The grant as a reader sees it."""
        return self.accounts.grant(grant_id)

    def pair(self, grant_id: str = samples.GRANT_ID) -> SealedPair:
        """Its stored pair."""
        pair = self.grant(grant_id).pair
        assert pair is not None
        return pair

    def refresh_token(self, grant_id: str = samples.GRANT_ID) -> str:
        """The stored refresh token."""
        grant = self.grant(grant_id)
        token = TransparentSealing(Happenings()).open_refresh(
            self.pair(grant_id), registration=grant.registration, open_id=grant.open_id
        )
        return token.reveal()
