"""Unlinking: end our side at once, TikTok's side with the last account, and say what is true.

TikTok's revoke disconnects the app from the person's whole TikTok account
(developers.tiktok.com/docs/en/oauth-revoke-a-user-access-token, read 2026-11), so a grant that
other accounts still use is never revoked. Order: mark, revoke, delete the ciphertext.

The first mark is one on the grant, before the account's own: look here after a minute. So wherever
an unlink stops, by a crash or because TikTok cannot be asked, ``finish`` comes and goes on, until
it has an end; docs/decisions, 019.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tiktok_linking.accounts import (
    ENDING_TAKES,
    LINKED_AGAIN,
    SHARED_GRANT,
    Account,
    Ending,
    Grant,
    Revocation,
    Status,
    most_eager,
)
from tiktok_linking.callers import Caller
from tiktok_linking.deadlines import REVOKE_TIME
from tiktok_linking.errors import (
    Misconfigured,
    NotFound,
    ProviderError,
    Refused,
    StoreUnavailable,
)
from tiktok_linking.ports import (
    Credentials,
    GrantQueue,
    Links,
    Outcome,
    RefreshDoor,
    Sealing,
    TikTok,
)
from tiktok_linking.registrations import ClientsToTry

logger = logging.getLogger("tiktok_linking.unlinking")

REVOKE_MARGIN = timedelta(seconds=30)
ALREADY_GONE = "already_gone"
POLICY = "policy"
"""All that a caller who is held to a tenant learns of links that may be another tenant's."""
QUEUED = "queued"
"""There was no time left to ask TikTok in the same call."""
A_CALLBACK_TAKES = timedelta(seconds=60)
"""The callback's whole life and more: between its grant and its account row lies less."""
FIRST_RETRY = timedelta(minutes=5)
LAST_RETRY = timedelta(hours=1)
"""Between these a retry waits as long as the end has been waited for already."""
LONGEST_TRY = timedelta(days=30)
ERASING_TAKES = timedelta(seconds=26)
"""Of the 28 s that the function has: what is not begun by then is left to the next call."""


@dataclass(frozen=True, slots=True)
class Unlinked:
    """The result of unlinking; ``reason`` explains anything but a plain yes."""

    revoked_at_tiktok: Revocation
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Erased:
    """What became of each account of one end user; not ``is_complete`` if time ran out."""

    accounts: Sequence[tuple[str, Unlinked]]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Unlinking:
    """The use case with its ports. ``tombstone`` is how long an ended account stays to be told."""

    links: Links
    sealing: Sealing
    credentials: Credentials
    tiktok: TikTok
    door: RefreshDoor
    queue: GrantQueue
    tombstone: timedelta
    now: Callable[[], datetime]

    def unlink(self, account_id: str, *, caller: Caller, revoke: bool) -> Unlinked:
        """Unlink one account; with the last one, disconnect the app at TikTok and forget tokens.

        Safe to repeat: a second call finishes what a first one could not.

        Raises:
            NotFound: no such account of this caller's.
            StoreUnavailable: retryable.
        """
        ending = Ending.REVOKE if revoke else Ending.FORGET
        grant, accounts = self.links.read_partition(account_id)
        account = next((a for a in accounts if a.id == account_id), None)
        if account is None:
            raise NotFound
        caller.must_reach(account.tenant_id, account.registration)
        if account.unlinked_at is None:
            self.links.mark_unlinked(account, ending=ending, now=self.now())
            # Of two that unlink at once, the one that looks later finds itself the last.
            grant, accounts = self.links.read_partition(account_id)
            if any(a.unlinked_at is None for a in accounts if a.id == account_id):
                return _to_caller(Unlinked(Revocation.NOT_DONE, LINKED_AGAIN), caller)
        return _to_caller(self._end_if_last(grant, accounts, ending), caller)

    def erase(self, end_user_id: str, *, tenant_id: str | None, caller: Caller) -> Erased:
        """Unlink every account of one end user and take out of its row what is told of a person.

        First all rows, then TikTok: what there is no time for finishes by itself. Safe to repeat.

        Raises:
            StoreUnavailable: retryable.
        """
        until = self.now() + ERASING_TAKES
        found: list[Account] = []
        after: str | None = None
        is_complete = True
        while is_complete:
            page, after = self.links.accounts_of(
                caller.tenant_of(tenant_id), end_user_id, after=after
            )
            for account in page:
                if not caller.may_touch(account.tenant_id, account.registration):
                    continue
                if self.now() + REVOKE_TIME > until:
                    is_complete = False
                    break
                if account.unlinked_at is None or account.is_personal:
                    self.links.mark_unlinked(account, erases=True, now=self.now())
                found.append(account)
            if after is None:
                break
        results = [(account.id, self._end_in_time(account, caller, until)) for account in found]
        return Erased(results, is_complete)

    def _end_in_time(self, account: Account, caller: Caller, until: datetime) -> Unlinked:
        if self.now() + REVOKE_TIME > until:
            return Unlinked(Revocation.PENDING, QUEUED)
        try:
            return self.unlink(account.id, caller=caller, revoke=True)
        except NotFound:  # a tombstone whose time was over
            return Unlinked(Revocation.NOT_NEEDED)

    def finish(self, grant_id: str) -> Unlinked | None:
        """See whether an unlink left something to be done, and do it; None where it did not.

        One write takes the turn, so a message that comes twice asks TikTok once.

        Raises:
            StoreUnavailable: retryable.
        """
        now = self.now()
        grant, accounts = self.links.read_whole(grant_id)
        if grant is None or grant.ending is None or grant.look_at is None or grant.look_at > now:
            return None
        if any(account.unlinked_at is None for account in accounts):
            # Whoever began an end since the last look has moved it, and keeps this from counting.
            self.links.leave_ending(grant, now=now)
            return None
        if not self.links.look_later(grant, at=now + ENDING_TAKES):
            return None
        taken = replace(grant, look_at=now + ENDING_TAKES)
        return self._end_if_last(taken, accounts, grant.ending, is_retry=True)

    def _end_if_last(
        self,
        grant: Grant | None,
        accounts: Sequence[Account],
        ending: Ending,
        *,
        is_retry: bool = False,
    ) -> Unlinked:
        left = [account for account in accounts if account.unlinked_at is None]
        if left:
            if grant is not None and (mode := most_eager(left, grant.mode)) is not grant.mode:
                self.links.follow_wishes(grant, mode)
            return Unlinked(Revocation.NOT_DONE, SHARED_GRANT)
        if grant is None:
            return Unlinked(Revocation.NOT_NEEDED)
        if grant.pair is None:
            if grant.status is Status.UNLINKED and not grant.is_over:
                self._forget(grant, Unlinked(Revocation.NOT_NEEDED, ALREADY_GONE))
            elif grant.ending is not None:
                self.links.leave_ending(grant, now=self.now())
            return _remembered(grant)
        if _is_being_linked(grant, accounts, self.now()):
            return Unlinked(Revocation.NOT_DONE, LINKED_AGAIN)
        if not (is_retry and grant.status is Status.UNLINKED):
            now = self.now()
            if not self.links.mark_revoking(grant, ending=ending, now=now):
                # Somebody linked again in this moment: that link must live. Or TikTok was first.
                newer, _ = self.links.read_whole(grant.id)
                if newer is not None and newer.is_over:
                    return _remembered(newer)
                return Unlinked(Revocation.NOT_DONE, LINKED_AGAIN)
            grant = replace(
                grant, look_at=now + ENDING_TAKES, ended_at=grant.ended_at or now, ending=ending
            )
        return self._end(grant, ending, is_retry=is_retry)

    def _end(self, grant: Grant, ending: Ending, *, is_retry: bool) -> Unlinked:
        result = Unlinked(Revocation.NOT_DONE, "not_requested")
        if ending is Ending.REVOKE and grant.status is Status.REVOKED:
            result = Unlinked(Revocation.NOT_NEEDED, grant.reason)
        elif ending is Ending.REVOKE:
            grant, result = self._revoke(grant)
        if result.reason == LINKED_AGAIN:
            return result
        if result.revoked_at_tiktok is Revocation.PENDING:
            if self._is_worth_trying(grant):
                self._leave_for_later(grant, is_retry=is_retry)
                return result
            result = Unlinked(Revocation.NOT_DONE, result.reason)
        if not self._forget(grant, result):
            # A renewal in flight stored a newer pair of the same, now revoked, authorisation.
            newer, _ = self.links.read_whole(grant.id)
            if newer is not None and newer.status is Status.UNLINKED:
                self._forget(newer, result)
        return result

    def _forget(self, grant: Grant, result: Unlinked) -> bool:
        return self.links.forget_tokens(
            grant,
            revocation=result.revoked_at_tiktok.value,
            reason=result.reason,
            now=self.now(),
        )

    def _is_worth_trying(self, grant: Grant) -> bool:
        """Whether TikTok will be asked again: no longer than the tombstone is there to be told."""
        tries_for = min(LONGEST_TRY, self.tombstone - timedelta(days=1))
        return grant.ended_at is None or self.now() < grant.ended_at + tries_for

    def _leave_for_later(self, grant: Grant, *, is_retry: bool) -> None:
        """Have somebody look again: at once by the queue after a call, then ever more seldom."""
        now = self.now()
        waited = timedelta(0) if grant.ended_at is None else now - grant.ended_at
        wait = min(max(waited, FIRST_RETRY), LAST_RETRY) if is_retry else timedelta(0)
        # Where this fails, the look that was agreed on when the end began does the same.
        with suppress(StoreUnavailable):
            if self.links.look_later(grant, at=now + wait) and not is_retry:
                self.queue.put([grant.id])

    def _revoke(self, grant: Grant) -> tuple[Grant, Unlinked]:
        """Revoke with a live access token, which TikTok asks for: renewing first if it is dead."""
        if not grant.is_alive(self.now(), REVOKE_MARGIN):
            if grant.status is Status.RELINK_REQUIRED or grant.is_past_deadline(self.now()):
                return grant, Unlinked(Revocation.NOT_NEEDED, grant.reason_at(self.now()))
            report = self.door.renew(
                grant.id, min_ttl=REVOKE_MARGIN, rejected=False, for_revocation=True
            )
            read, _ = self.links.read_whole(grant.id)
            grant = read or grant
            if grant.status is not Status.UNLINKED:
                return grant, Unlinked(Revocation.NOT_DONE, LINKED_AGAIN)
            if report.outcome is Outcome.RELINK_REQUIRED:
                return grant, Unlinked(Revocation.NOT_NEEDED, grant.reason)
            if grant.pair is None or not grant.is_alive(self.now()):
                return grant, Unlinked(Revocation.PENDING, report.outcome.value)
        if grant.pair is None:
            return grant, _remembered(grant)
        token = self.sealing.open_access(
            grant.pair, registration=grant.registration, open_id=grant.open_id
        )
        if not self.credentials.candidates(grant.registration):
            return grant, Unlinked(Revocation.PENDING, "client_credentials_invalid")
        clients = ClientsToTry(self.credentials, grant.registration)
        while True:
            try:
                self.tiktok.revoke(clients.current, token)
                return grant, Unlinked(Revocation.DONE)
            except Refused:
                # TikTok does not know the token any more: nothing is left to revoke.
                return grant, Unlinked(Revocation.NOT_NEEDED, ALREADY_GONE)
            except Misconfigured as error:
                if error.error == "invalid_client" and clients.advance():
                    continue
                return grant, Unlinked(Revocation.PENDING, "client_credentials_invalid")
            except ProviderError as error:
                logger.warning("revocation pending", extra={"grant": grant.id, "why": error.error})
                return grant, Unlinked(Revocation.PENDING, "provider_unavailable")


def _is_being_linked(grant: Grant, accounts: Sequence[Account], now: datetime) -> bool:
    """Whether a callback has stored its pair and is about to write its account row."""
    newest = max((account.authorised_at for account in accounts), default=grant.authorised_at)
    return newest < grant.authorised_at and now - grant.authorised_at < A_CALLBACK_TAKES


def _remembered(grant: Grant) -> Unlinked:
    """What an earlier call or TikTok itself already settled."""
    if grant.revocation is None:
        return Unlinked(Revocation.NOT_NEEDED, grant.reason)
    return Unlinked(Revocation(grant.revocation), grant.revocation_reason)


def _to_caller(result: Unlinked, caller: Caller) -> Unlinked:
    if caller.tenant is not None and result.reason in (SHARED_GRANT, LINKED_AGAIN):
        return replace(result, reason=POLICY)
    return result
