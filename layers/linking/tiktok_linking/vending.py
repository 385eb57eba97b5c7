"""Vending: hand the team's backend an access token that works for as long as it asked.

A live token is vended with a warning rather than refused; a dead one never is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tiktok_linking.accounts import (
    Account,
    Grant,
    SealedPair,
    Secret,
    Status,
    action_on_revoked,
)
from tiktok_linking.callers import Caller
from tiktok_linking.errors import (
    AccountRevoked,
    AccountUnlinked,
    ClientCredentialsInvalid,
    LinkingError,
    NotFound,
    ProviderUnavailable,
    RefreshBackoff,
    RefreshInProgress,
    RefreshOutcomeUnknown,
    RelinkRequired,
    ScopeNotGranted,
    StoreUnavailable,
)
from tiktok_linking.ports import Links, Outcome, RefreshDoor, RenewalReport, Sealing
from tiktok_linking.schedule import USED_MARK_EVERY, RenewalPolicy, is_at_once

logger = logging.getLogger("tiktok_linking.vending")

LOSER_WAITS = timedelta(seconds=3)
"""How long a vend waits for another worker's renewal before it says so."""


@dataclass(frozen=True, slots=True)
class VendedToken:
    """What the backend gets. ``warning`` says that something needs attention, or None."""

    account: Account
    grant: Grant
    access_token: Secret
    expires_at: datetime
    expires_in: int
    scopes: tuple[str, ...]
    missing_scopes: tuple[str, ...]
    refreshed: bool
    warning: str | None


@dataclass(frozen=True, slots=True)
class Vending:
    """The use case with its ports."""

    links: Links
    sealing: Sealing
    door: RefreshDoor
    policy: RenewalPolicy
    now: Callable[[], datetime]
    pause: Callable[[float], None]
    chance: Callable[[], float]

    def access_token_for(
        self,
        account_id: str,
        *,
        caller: Caller,
        min_ttl: timedelta,
        required_scopes: tuple[str, ...] = (),
        rejected: bool = False,
    ) -> VendedToken:
        """Give a token that lives ``min_ttl`` longer, renewing it first where that is needed.

        Raises:
            NotFound, AccountUnlinked, AccountRevoked, RelinkRequired, ScopeNotGranted: final.
            ProviderUnavailable, RefreshInProgress, RefreshBackoff, RefreshOutcomeUnknown: no live
                token is left; retry after ``retry_after`` seconds.
        """
        grant, account = self._read(account_id, caller)
        missing = tuple(s for s in required_scopes if s not in grant.scopes)
        if missing:
            raise ScopeNotGranted(missing_scopes=list(missing), account_id=account_id)
        grant = self._with_deadline_passed(grant)

        needs_renewal = rejected or not grant.is_alive(self.now(), min_ttl)
        before = grant.pair
        report: RenewalReport | None = None
        if needs_renewal and grant.status is Status.ACTIVE:
            grant, account, report = self._renewed(grant, account, caller, min_ttl, rejected)

        now = self.now()
        pair = grant.pair
        if pair is None or not grant.is_alive(now):
            raise _no_token(grant, report, now)
        renewed = _is_newer(pair, before)
        is_enough = grant.is_alive(now, min_ttl) and (renewed or not rejected)
        warning = None if is_enough else _warning(report)
        if grant.status is Status.RELINK_REQUIRED:
            warning = "relink_required"
        token = self.sealing.open_access(
            pair, registration=grant.registration, open_id=grant.open_id
        )
        self._mark_used(grant, pair, now)
        return VendedToken(
            account=account,
            grant=grant,
            access_token=token,
            expires_at=pair.expires_at,
            expires_in=int((pair.expires_at - now).total_seconds()),
            scopes=grant.scopes,
            missing_scopes=tuple(s for s in account.wanted_scopes if s not in grant.scopes),
            refreshed=renewed,
            warning=warning,
        )

    def _read(self, account_id: str, caller: Caller) -> tuple[Grant, Account]:
        found = self.links.read_link(account_id)
        if found is None:
            raise NotFound
        grant, account = found
        caller.must_reach(account.tenant_id, account.registration)
        if account.unlinked_at is not None or grant.status is Status.UNLINKED:
            raise AccountUnlinked(account_id=account_id)
        if grant.status is Status.REVOKED:
            raise AccountRevoked(
                account_id=account_id,
                reason=grant.reason,
                action_by=action_on_revoked(grant.reason),
            )
        return grant, account

    def _with_deadline_passed(self, grant: Grant) -> Grant:
        """Write down a deadline that has passed, so that lists and events know of it too."""
        now = self.now()
        if grant.status is Status.ACTIVE and grant.is_past_deadline(now):
            return self.links.pass_deadline(grant, now=now)
        return grant

    def _renewed(
        self, grant: Grant, account: Account, caller: Caller, min_ttl: timedelta, rejected: bool
    ) -> tuple[Grant, Account, RenewalReport]:
        """Go through the one door; a loser of a race waits for the winner's token."""
        before = grant.pair
        report = _cooling_down(grant, self.now()) or self.door.renew(
            grant.id, min_ttl=min_ttl, rejected=rejected
        )
        give_up_at = self.now() + LOSER_WAITS
        while True:
            grant, account = self._read(account.id, caller)
            done = grant.status is not Status.ACTIVE or _is_newer(grant.pair, before)
            if report.outcome is not Outcome.IN_PROGRESS or done or self.now() >= give_up_at:
                return grant, account, report
            self.pause(0.05 + 0.25 * self.chance())

    def _mark_used(self, grant: Grant, pair: SealedPair, now: datetime) -> None:
        """Keep used accounts warm; at most one write in six hours, and never worth an error."""
        if grant.last_used_at is not None and grant.last_used_at + USED_MARK_EVERY > now:
            return
        if is_at_once(grant.due_at):
            return  # TikTok is about to be asked whether there is anything to keep warm
        due_at = None
        if grant.status is Status.ACTIVE:
            due_at = self.policy.next_due(
                grant.id,
                mode=grant.mode,
                last_used_at=now,
                issued_at=pair.issued_at,
                expires_at=pair.expires_at,
                relink_by=grant.relink_by,
                now=now,
            )
        try:
            self.links.mark_used(grant, due_at=due_at, now=now)
        except StoreUnavailable:
            logger.warning("last use not marked", extra={"grant": grant.id})


def _cooling_down(grant: Grant, now: datetime) -> RenewalReport | None:
    """What the door would say of a grant that rests after a failure, without asking it."""
    if grant.backoff_until is None or grant.backoff_until <= now or grant.is_leased(now):
        return None
    left = int((grant.backoff_until - now).total_seconds()) + 1
    return RenewalReport(Outcome.BACKOFF, retry_after=left)


def _warning(report: RenewalReport | None) -> str:
    """Why the token is not what was asked for, in the words of the contract."""
    outcome = report.outcome if report else None
    if outcome in (Outcome.IN_PROGRESS, Outcome.UNKNOWN):
        return "refresh_in_progress"
    if outcome in (Outcome.PROVIDER_UNAVAILABLE, Outcome.BACKOFF, Outcome.MISCONFIGURED):
        return "provider_unavailable"
    return "min_ttl_not_met"


def _is_newer(pair: SealedPair | None, before: SealedPair | None) -> bool:
    return pair is not None and before is not None and pair.pair_id != before.pair_id


def _no_token(grant: Grant, report: RenewalReport | None, now: datetime) -> LinkingError:
    """The error that tells who must act, now that no live token is left."""
    if grant.status is Status.RELINK_REQUIRED:
        return RelinkRequired(reason=grant.reason)
    wait = report.retry_after if report else None
    outcome = report.outcome if report else None
    errors: dict[Outcome | None, type[LinkingError]] = {
        Outcome.IN_PROGRESS: RefreshInProgress,
        Outcome.UNKNOWN: RefreshOutcomeUnknown,
        Outcome.BACKOFF: RefreshBackoff,
    }
    if outcome is Outcome.RELINK_REQUIRED:
        return RelinkRequired(reason=grant.reason)
    if outcome is Outcome.MISCONFIGURED:
        return ClientCredentialsInvalid()
    return errors.get(outcome, ProviderUnavailable)(retry_after=wait or 5)
