"""Unlinking: end our side at once, TikTok's side with the last account, and say what is true.

TikTok's revoke disconnects the app from the person's whole TikTok account
(developers.tiktok.com/docs/en/oauth-revoke-a-user-access-token, read 2026-11), so a grant that
other accounts still use is never revoked. Order: mark, revoke, delete the ciphertext. A crash in
between leaves marks that a second call picks up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tiktok_linking.accounts import Account, Grant, Status
from tiktok_linking.callers import Caller
from tiktok_linking.errors import (
    Misconfigured,
    NotFound,
    ProviderError,
    Refused,
)
from tiktok_linking.ports import Credentials, Links, Outcome, RefreshDoor, Sealing, TikTok
from tiktok_linking.registrations import ClientsToTry

logger = logging.getLogger("tiktok_linking.unlinking")

REVOKE_MARGIN = timedelta(seconds=30)
LINKED_AGAIN = "linked_again"
SHARED_GRANT = "shared_grant"
POLICY = "policy"
"""All that a caller who is held to a tenant learns of links that may be another tenant's."""
A_CALLBACK_TAKES = timedelta(seconds=60)
"""The callback's whole life and more: between its grant and its account row lies less."""


class Revocation(StrEnum):
    """What became of the grant at TikTok."""

    DONE = "true"
    NOT_DONE = "false"
    PENDING = "pending"
    NOT_NEEDED = "not_needed"


@dataclass(frozen=True, slots=True)
class Unlinked:
    """The result of unlinking; ``reason`` explains anything but a plain yes."""

    revoked_at_tiktok: Revocation
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Unlinking:
    """The use case with its ports."""

    links: Links
    sealing: Sealing
    credentials: Credentials
    tiktok: TikTok
    door: RefreshDoor
    now: Callable[[], datetime]

    def unlink(self, account_id: str, *, caller: Caller, revoke: bool) -> Unlinked:
        """Unlink one account; with the last one, disconnect the app at TikTok and forget tokens.

        Safe to repeat: a second call finishes what a first one could not.

        Raises:
            NotFound: no such account of this caller's.
            StoreUnavailable: retryable.
        """
        grant, accounts = self.links.read_partition(account_id)
        account = next((a for a in accounts if a.id == account_id), None)
        if account is None:
            raise NotFound
        caller.must_reach(account.tenant_id, account.registration)
        if account.unlinked_at is None:
            self.links.mark_unlinked(account, now=self.now())
            # Of two that unlink at once, the one that looks later finds itself the last.
            grant, accounts = self.links.read_partition(account_id)
            if any(a.unlinked_at is None for a in accounts if a.id == account_id):
                return Unlinked(Revocation.NOT_DONE, LINKED_AGAIN)
        result = self._end_if_last(grant, accounts, account_id, revoke=revoke)
        if caller.tenant is not None and result.reason in (SHARED_GRANT, LINKED_AGAIN):
            return replace(result, reason=POLICY)
        return result

    def _end_if_last(
        self, grant: Grant | None, accounts: Sequence[Account], account_id: str, *, revoke: bool
    ) -> Unlinked:
        if any(a.unlinked_at is None for a in accounts if a.id != account_id):
            return Unlinked(Revocation.NOT_DONE, SHARED_GRANT)
        if grant is None or grant.pair is None:
            return _remembered(grant)
        if _is_being_linked(grant, accounts, self.now()):
            return Unlinked(Revocation.NOT_DONE, LINKED_AGAIN)
        if not self.links.mark_revoking(grant, now=self.now()):
            # Somebody linked again in this moment: that link must live.
            return Unlinked(Revocation.NOT_DONE, LINKED_AGAIN)
        return self._end(grant, account_id, revoke=revoke)

    def _end(self, grant: Grant, account_id: str, *, revoke: bool) -> Unlinked:
        result = Unlinked(Revocation.NOT_NEEDED, grant.reason)
        if not revoke:
            result = Unlinked(Revocation.NOT_DONE, "not_requested")
        elif grant.status is not Status.REVOKED:
            grant, result = self._revoke(grant, account_id)
        if result.revoked_at_tiktok is Revocation.PENDING or result.reason == LINKED_AGAIN:
            return result
        if not self.links.forget_tokens(
            grant, revocation=result.revoked_at_tiktok.value, now=self.now()
        ):
            # A renewal in flight stored a newer pair of the same, now revoked, authorisation.
            newer, _ = self.links.read_partition(account_id)
            if newer is not None and newer.status is Status.UNLINKED:
                self.links.forget_tokens(
                    newer, revocation=result.revoked_at_tiktok.value, now=self.now()
                )
        return result

    def _revoke(self, grant: Grant, account_id: str) -> tuple[Grant, Unlinked]:
        """Revoke with a live access token, which TikTok asks for: renewing first if it is dead."""
        if not grant.is_alive(self.now(), REVOKE_MARGIN):
            if grant.status is Status.RELINK_REQUIRED or grant.is_past_deadline(self.now()):
                return grant, Unlinked(Revocation.NOT_NEEDED, grant.reason_at(self.now()))
            report = self.door.renew(
                grant.id, min_ttl=REVOKE_MARGIN, rejected=False, for_revocation=True
            )
            read, _ = self.links.read_partition(account_id)
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
                return grant, Unlinked(Revocation.NOT_NEEDED, "already_gone")
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


def _remembered(grant: Grant | None) -> Unlinked:
    """What an earlier call or TikTok itself already settled."""
    if grant is None or grant.revocation is None:
        return Unlinked(Revocation.NOT_NEEDED, grant.reason if grant else None)
    return Unlinked(Revocation(grant.revocation))
