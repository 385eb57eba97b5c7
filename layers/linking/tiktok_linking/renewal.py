"""Renewal: the only code that spends a refresh token.

TikTok's refresh tokens rotate: the old one dies as the new one is issued
(developers.tiktok.com/docs/en/oauth-refresh-a-user-access-token, read 2026-11), so between
TikTok's answer and our table a crash, a race or a failed write can lose a customer's link.
The order of ``Renewal.renew`` is what keeps that from happening; docs/architecture.md has the
reasons and the experiment behind it:

1. All that can fail comes first; the last step before the request is one conditional write that
   takes the lease and records the intent, and so proves that the table takes writes.
2. One spender at a time. A loser never sends a request of its own.
3. An unknown outcome is repeated inside the lease, at most twice, never two at a time.
4. Save first: seal, journal, then one conditional write on the spent token's fingerprint.
5. A crash leaves the intent behind; recovery tells "we lost it" from "it was revoked".
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tiktok_linking.accounts import Grant, RelinkReason, SealedPair, Secret, Status, same_day
from tiktok_linking.answer_classes import TREATMENTS, AnswerClass, Treatment, class_of
from tiktok_linking.breaker import Breaker, Refusal
from tiktok_linking.circuit import Trouble
from tiktok_linking.deadlines import (
    REVOKE_TIME,
    has_time_for,
    has_time_to_spend,
    persist,
    read_timeout,
)
from tiktok_linking.errors import (
    NoAnswer,
    ProviderError,
    RecordBroken,
    StoreUnavailable,
    Unavailable,
)
from tiktok_linking.events import FAILING_AFTER
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.ports import (
    Batch,
    Credentials,
    Envelope,
    Failure,
    Grants,
    Journal,
    Outcome,
    RenewalReport,
    RenewedPair,
    RescueQueue,
    Saved,
    Sealing,
    TikTok,
)
from tiktok_linking.registrations import ClientsToTry
from tiktok_linking.schedule import RenewalPolicy, is_at_once, renewal_floor, slot_of

logger = logging.getLogger("tiktok_linking.renewal")

LEASE_MARGIN = timedelta(seconds=5)
"""The lease outlives its holder's own deadline by this much, so a holder past it is dead."""
MOST_REPEATS = 2
RECOVERY_WAIT = timedelta(seconds=30)
"""Rescue queue visibility (10 s) + 20 s: by then a rescued pair has landed, and no replay can
kill a pair that lies in the queue. tests/template holds the template to these numbers."""
REJECTED_AT_MOST_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Ask:
    """What the caller needs: a token that lives ``min_ttl`` longer, or whatever is due."""

    min_ttl: timedelta = timedelta(0)
    rejected: bool = False
    scheduled: bool = False
    for_revocation: bool = False


@dataclass(frozen=True, slots=True)
class Renewal:
    """The use case with its ports. ``now``, ``pause`` and ``chance`` are time and luck."""

    grants: Grants
    breaker: Breaker
    tiktok: TikTok
    sealing: Sealing
    credentials: Credentials
    journal: Journal
    rescue: RescueQueue
    policy: RenewalPolicy
    now: Callable[[], datetime]
    pause: Callable[[float], None]
    chance: Callable[[], float]

    def renew(self, grant_id: str, ask: Ask, *, deadline: datetime) -> RenewalReport:
        """Renew one grant by id; see ``renew_grant``.

        Raises:
            StoreUnavailable: before anything was sent; safe to retry.
            RecordBroken, SealBroken: nothing was sent, and no retry helps.
        """
        batch = self.read_batch([grant_id])
        if batch.unreadable:
            raise RecordBroken(grant_id)
        grant = batch.grants.get(grant_id)
        if grant is None:
            return RenewalReport(Outcome.ENDED)
        return self.renew_grant(grant, ask, deadline=deadline)

    def read_batch(self, grant_ids: Sequence[str]) -> Batch:
        """Read grants and, in the same request, whether TikTok may be asked at all."""
        batch = self.grants.read_batch(grant_ids, self.breaker.registrations)
        self.breaker.learn(batch.circuits)
        return batch

    def renew_grant(self, grant: Grant, ask: Ask, *, deadline: datetime) -> RenewalReport:
        """Trade the refresh token for the next pair and store it before anyone can see it.

        ``grant`` is a consistent read; ``deadline`` is when this process will be stopped.

        Raises:
            StoreUnavailable: before anything was sent; safe to retry.
        """
        report = self._why_not(grant, ask) or self._recover(grant, deadline)
        if report is not None:
            return report
        pair = grant.pair
        if pair is None or not has_time_to_spend(self.now(), deadline):
            return RenewalReport(Outcome.BACKOFF, retry_after=1)

        # All that can fail comes first.
        if not self.credentials.candidates(grant.registration):
            return RenewalReport(Outcome.MISCONFIGURED)
        clients = ClientsToTry(self.credentials, grant.registration)
        self.sealing.prepare("access", "refresh", now=self.now())
        envelope = self.sealing.envelope(
            registration=grant.registration, open_id=grant.open_id, now=self.now()
        )
        refresh_token = self.sealing.open_refresh(
            pair, registration=grant.registration, open_id=grant.open_id
        )
        refusal = self.breaker.refusal(grant.registration, is_scheduled=ask.scheduled)
        if refusal is not None:
            return _held_back(refusal)
        owner = secrets.token_hex(8)
        if not self.grants.take_lease(
            grant, owner=owner, until=deadline + LEASE_MARGIN, now=self.now()
        ):
            return RenewalReport(Outcome.IN_PROGRESS, retry_after=1)

        return self._spend(
            grant, pair.fingerprint, refresh_token, envelope, clients, owner, deadline
        )

    # -- before the request ---------------------------------------------------------------------

    def _why_not(self, grant: Grant, ask: Ask) -> RenewalReport | None:
        """Say why no renewal shall happen now, or None to go on."""
        now = self.now()
        if grant.status is not Status.ACTIVE and ask.scheduled:
            self.grants.postpone(grant, None)
        if grant.pair is None:
            return RenewalReport(Outcome.ENDED)
        if grant.status is Status.UNLINKED and ask.for_revocation:
            return None if not grant.is_leased(now) else _in_progress(grant, now)
        if grant.status is Status.RELINK_REQUIRED:
            return RenewalReport(Outcome.RELINK_REQUIRED)
        if grant.status is not Status.ACTIVE:
            return RenewalReport(Outcome.ENDED)
        if grant.is_past_deadline(now):
            self.grants.require_relink(grant, RelinkReason.REFRESH_TOKEN_EXPIRED, now=now)
            return RenewalReport(Outcome.RELINK_REQUIRED)
        if not self._is_needed(grant, ask, now):
            return RenewalReport(Outcome.FRESH)
        if grant.is_leased(now):
            return _in_progress(grant, now)
        if grant.backoff_until is not None and grant.backoff_until > now:
            return RenewalReport(Outcome.BACKOFF, retry_after=_seconds(grant.backoff_until - now))
        return None

    def _is_needed(self, grant: Grant, ask: Ask, now: datetime) -> bool:
        pair = grant.pair
        if pair is None:
            return False
        if ask.scheduled:
            return self._is_due(grant, now)
        if grant.is_in_doubt:
            return True
        age = now - pair.issued_at
        if ask.rejected:
            return age >= REJECTED_AT_MOST_EVERY or not grant.is_alive(now)
        return not grant.is_alive(now, ask.min_ttl) and age >= renewal_floor(
            pair.issued_at, pair.expires_at
        )

    def _is_due(self, grant: Grant, now: datetime) -> bool:
        """Whether a scheduled renewal is due; moves the slot of a grant that cooled down.

        Duplicate, late and overlapping events end here: a renewed grant is not due.
        """
        if grant.due_at is None or grant.pair is None:
            return False
        if grant.is_in_doubt or is_at_once(grant.due_at):
            return True
        due_at = self._next_due(grant, grant.pair.issued_at, grant.pair.expires_at)
        if due_at is not None and due_at <= now:
            return True
        if due_at is None or slot_of(due_at) != grant.due_at:
            self.grants.postpone(grant, due_at)
        return False

    def _next_due(self, grant: Grant, issued_at: datetime, expires_at: datetime) -> datetime | None:
        return self.policy.next_due(
            grant.id,
            mode=grant.mode,
            last_used_at=grant.last_used_at,
            issued_at=issued_at,
            expires_at=expires_at,
            relink_by=grant.relink_by,
            now=self.now(),
        )

    def _recover(self, grant: Grant, deadline: datetime) -> RenewalReport | None:
        """Deal with an intent that a dead holder left: its request may have rotated the token.

        Journal first. Then nobody replays until a pair that lies in the rescue queue has had its
        time to land: a replay could kill it, and a queue cannot be searched.
        """
        if grant.intent is None or grant.pair is None or grant.intent != grant.pair.fingerprint:
            return None
        found = self.journal.find(grant.id, grant.intent)
        if found is not None:
            return self._store(grant, found, deadline)
        now = self.now()
        since = grant.recovering_since
        if since is None:
            if not self.grants.mark_recovering(grant, now=now):
                return RenewalReport(Outcome.IN_PROGRESS, retry_after=1)
            since = now
        if since + RECOVERY_WAIT > now:
            return RenewalReport(Outcome.UNKNOWN, retry_after=_seconds(since + RECOVERY_WAIT - now))
        return None

    # -- the request ----------------------------------------------------------------------------

    def _spend(
        self,
        grant: Grant,
        spent: bytes,
        refresh_token: Secret,
        envelope: Envelope,
        clients: ClientsToTry,
        owner: str,
        deadline: datetime,
    ) -> RenewalReport:
        """Send the request, at most twice more where the connection breaks, and act on it."""
        # An intent that was there before means: an earlier request may have rotated this token.
        unanswered = grant.intent == spent
        if not has_time_to_spend(self.now(), deadline):
            # Frozen since the lease was taken: by now somebody else may hold it.
            self._release(grant, owner, Failure(None, None, None, keeps_intent=unanswered))
            return RenewalReport(Outcome.BACKOFF, retry_after=1)
        repeats = 0
        while True:
            try:
                answer = self.tiktok.refresh(
                    clients.current,
                    refresh_token,
                    read_timeout=read_timeout(self.now(), deadline),
                )
                break
            except ProviderError as error:
                treatment = TREATMENTS[class_of(error)]
                if error.error == "invalid_client" and clients.advance():
                    continue
                if treatment.flags_account:
                    return self._refused(grant, lost=unanswered)
                unanswered = unanswered or treatment.may_have_rotated or _may_have_acted(error)
                repeats += 1
                if (
                    treatment.repeats
                    and repeats <= MOST_REPEATS
                    and has_time_to_spend(self.now(), deadline)
                ):
                    continue
                return self._failed(grant, owner, error, treatment, keeps_intent=unanswered)
        if answer.open_id != grant.open_id:
            # Another person's pair must not land here; what ours became is unknown.
            foreign = Unavailable("foreign_open_id", may_have_acted=True)
            treatment = TREATMENTS[AnswerClass.FOREIGN_ANSWER]
            return self._failed(grant, owner, foreign, treatment, keeps_intent=True)

        # From here to the journal: no network, no KMS, no log line.
        renewed = RenewedPair(
            grant_id=grant.id,
            spent=spent,
            write_id=secrets.token_bytes(8),
            pair=envelope.seal(_completed(answer, grant, refresh_token)),
        )
        with contextlib.suppress(StoreUnavailable):
            self.journal.append(renewed)  # a help, not a gate: the table comes next in any case
        report = self._save(grant, renewed, deadline)
        self.breaker.answered(grant.registration)
        return report

    # -- after the answer -----------------------------------------------------------------------

    def _save(self, grant: Grant, renewed: RenewedPair, deadline: datetime) -> RenewalReport:
        """Write until it is written or time runs out, then hand the sealed pair to rescue."""
        try:
            return persist(
                lambda: self._store(grant, renewed, deadline),
                deadline=deadline,
                now=self.now,
                pause=self.pause,
                chance=self.chance,
            )
        except StoreUnavailable:
            pass
        try:
            self.rescue.put_renewed(renewed)
        except StoreUnavailable:
            logger.error("renewed pair is in the journal alone", extra={"grant": grant.id})
        return RenewalReport(Outcome.UNKNOWN, retry_after=_seconds(RECOVERY_WAIT))

    def _store(self, grant: Grant, renewed: RenewedPair, deadline: datetime) -> RenewalReport:
        pair = renewed.pair
        saved = self.grants.save_renewed(
            renewed,
            due_at=self._next_due(grant, pair.issued_at, pair.expires_at),
            now=self.now(),
            settles_doubt=grant.is_in_doubt,
            is_news=_is_news(grant, pair),
        )
        self.journal.forget(renewed)
        if saved is Saved.REVIVED:
            self._doubt(grant, authorised_at=None)
            return RenewalReport(Outcome.UNKNOWN, retry_after=1)
        if saved is Saved.ENDED and has_time_for(REVOKE_TIME, self.now(), deadline):
            self._revoke_homeless(grant, renewed)
        if saved is Saved.STORED:
            before = grant.pair.issued_at if grant.pair is not None else pair.issued_at
            return RenewalReport(Outcome.RENEWED, replaced_after=pair.issued_at - before)
        return RenewalReport(Outcome.FRESH if saved is Saved.NEWER else Outcome.ENDED)

    def _revoke_homeless(self, grant: Grant, renewed: RenewedPair) -> None:
        """The grant ended while we renewed it: nobody may hold the fresh pair."""
        token = self.sealing.open_access(
            renewed.pair, registration=grant.registration, open_id=grant.open_id
        )
        try:
            for client in self.credentials.candidates(grant.registration)[:1]:
                self.tiktok.revoke(client, token)
        except (ProviderError, StoreUnavailable) as error:
            logger.warning("late pair not revoked", extra={"grant": grant.id, "why": str(error)})

    def _refused(self, grant: Grant, *, lost: bool) -> RenewalReport:
        """A definite ``invalid_grant``: flag the link, if our token is still the stored one.

        Only our own intent tells a lost rotation from a person's removal.
        """
        now = self.now()
        reason = RelinkReason.ROTATION_LOST if lost else RelinkReason.REFRESH_TOKEN_REJECTED
        if is_at_once(grant.due_at):
            reason = RelinkReason.REVOKED_BY_USER  # TikTok told of a removal, and now confirms it
        if grant.is_in_doubt and grant.reason is not None:
            reason = RelinkReason(grant.reason)  # the flag was right after all
        # TikTok was asked because of a contradiction or a removal, and refuses the newest token
        # that we have: whatever else looks alive of this grant is not to be relied on either.
        ends_access = grant.is_in_doubt or is_at_once(grant.due_at)
        is_flagged = self.grants.require_relink(grant, reason, now=now, ends_access=ends_access)
        self.breaker.answered(grant.registration)
        if not is_flagged:
            # We sent a token that somebody else had spent. Where reuse ends a grant at TikTok, that
            # has killed the newer pair, unless it came with an authorisation of its own.
            self._doubt(grant, authorised_at=grant.authorised_at)
            return RenewalReport(Outcome.FRESH)
        logger.warning("relink required", extra={"grant": grant.id, "reason": reason.value})
        is_lost = reason is RelinkReason.ROTATION_LOST
        return RenewalReport(Outcome.RELINK_REQUIRED, is_lost=is_lost)

    def _failed(
        self,
        grant: Grant,
        owner: str,
        error: ProviderError,
        treatment: Treatment,
        *,
        keeps_intent: bool,
    ) -> RenewalReport:
        """Do what the class of the answer asks for: to this grant, and to its registration."""
        retry_after = error.retry_after if isinstance(error, Unavailable) else None
        if treatment.backoff is None:
            # No account is at fault, so none is marked as failing.
            self._release(grant, owner, Failure(None, None, None, keeps_intent))
            self._tell_breaker(grant, Trouble.MISCONFIGURED, treatment, None)
            return RenewalReport(Outcome.MISCONFIGURED)
        wait = treatment.backoff.wait(
            grant.failures,
            chance=self.chance(),
            retry_after=retry_after,
            at_least=RECOVERY_WAIT if keeps_intent else timedelta(0),
        )
        failure = Failure(
            error.error,
            error.log_id,
            self.now() + wait,
            keeps_intent,
            is_news=grant.failures + 1 == FAILING_AFTER,
        )
        self._release(grant, owner, failure)
        logger.warning("renewal postponed", extra={"grant": grant.id, "why": error.error})
        if treatment.quarantines:
            self._quarantine(grant, error.error)
        self._tell_breaker(grant, Trouble.UNAVAILABLE, treatment, retry_after)
        silent = isinstance(error, NoAnswer) or treatment.quarantines
        outcome = Outcome.UNKNOWN if silent else Outcome.PROVIDER_UNAVAILABLE
        return RenewalReport(outcome, retry_after=max(1, _seconds(wait)))

    def _tell_breaker(
        self, grant: Grant, trouble: Trouble, treatment: Treatment, retry_after: int | None
    ) -> None:
        if treatment.opens_after is None:
            self.breaker.answered(grant.registration)
        else:
            self.breaker.failed(
                grant.registration,
                trouble,
                opens_after=treatment.opens_after,
                retry_after=retry_after,
            )

    def _quarantine(self, grant: Grant, error: str) -> None:
        with contextlib.suppress(StoreUnavailable):  # then the next answer does it
            self.grants.quarantine(grant.id, error, now=self.now())
            logger.error("grant quarantined", extra={"grant": grant.id, "why": error})

    def _doubt(self, grant: Grant, *, authorised_at: datetime | None) -> None:
        """Two answers of TikTok contradict each other: it must say which is true."""
        logger.warning("grant in doubt", extra={"grant": grant.id})
        with contextlib.suppress(StoreUnavailable):
            self.grants.doubt(grant.id, authorised_at=authorised_at, now=self.now())

    def _release(self, grant: Grant, owner: str, failure: Failure) -> None:
        try:
            self.grants.release(grant.id, owner=owner, failure=failure, now=self.now())
        except StoreUnavailable:
            # The lease runs out by itself; the intent it leaves is the careful reading.
            logger.warning("lease not released", extra={"grant": grant.id})


def _completed(answer: TokenAnswer, grant: Grant, refresh_token: Secret) -> TokenAnswer:
    """Fill in what TikTok left out with what we have: nothing overwrites something.

    A deadline that moved by less than an hour is the same deadline, counted twice.
    """
    relink_by = answer.relink_by
    if relink_by is None or (
        grant.relink_by is not None and abs(relink_by - grant.relink_by) <= timedelta(hours=1)
    ):
        relink_by = grant.relink_by
    return replace(
        answer,
        refresh_token=answer.refresh_token or refresh_token,
        scopes=answer.scopes if answer.scopes is not None else grant.scopes,
        relink_by=relink_by,
    )


def _is_news(grant: Grant, pair: SealedPair) -> bool:
    """Whether this renewal changes more than the tokens: what the team is told, or lists show."""
    return (
        grant.is_in_doubt
        or grant.failures >= FAILING_AFTER
        or grant.scopes != pair.scopes
        or not same_day(grant.relink_by, pair.relink_by)
    )


def _may_have_acted(error: ProviderError) -> bool:
    return isinstance(error, Unavailable) and error.may_have_acted


def _held_back(refusal: Refusal) -> RenewalReport:
    """What a renewal reports that did not go out, because none of its registration's does."""
    if refusal.trouble is Trouble.MISCONFIGURED:
        return RenewalReport(Outcome.MISCONFIGURED)
    return RenewalReport(Outcome.PROVIDER_UNAVAILABLE, retry_after=_seconds(refusal.retry_after))


def _in_progress(grant: Grant, now: datetime) -> RenewalReport:
    left = timedelta(0) if grant.lease_until is None else grant.lease_until - now
    return RenewalReport(Outcome.IN_PROGRESS, retry_after=_seconds(left))


def _seconds(span: timedelta) -> int:
    return max(1, int(span.total_seconds()) + 1)
