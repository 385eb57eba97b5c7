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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tiktok_linking.accounts import Grant, RelinkReason, Secret, Status
from tiktok_linking.deadlines import (
    REVOKE_TIME,
    has_time_for,
    has_time_to_spend,
    persist,
    read_timeout,
)
from tiktok_linking.errors import (
    Misconfigured,
    NoAnswer,
    ProviderError,
    Refused,
    StoreUnavailable,
    Unavailable,
)
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.ports import (
    Credentials,
    Failure,
    Grants,
    Journal,
    Outcome,
    RenewalQueue,
    RenewalReport,
    RenewedPair,
    RescueQueue,
    Saved,
    Sealing,
    TikTok,
)
from tiktok_linking.registrations import ClientsToTry
from tiktok_linking.schedule import DUE_SHARDS, RenewalPolicy, renewal_floor, slot_of

logger = logging.getLogger("tiktok_linking.renewal")

LEASE_MARGIN = timedelta(seconds=5)
"""The lease outlives its holder's own deadline by this much, so a holder past it is dead."""
MOST_REPEATS = 2
RECOVERY_WAIT = timedelta(seconds=30)
"""Rescue queue visibility (10 s) + 20 s: by then a rescued pair has landed, and no replay can
kill a pair that lies in the queue. tests/template holds the template to these numbers."""
REJECTED_AT_MOST_EVERY = timedelta(minutes=1)
BACKOFF_BASE = timedelta(seconds=15)
BACKOFF_CAP = timedelta(minutes=5)


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
        """Renew one grant by id; see ``renew_grant``."""
        grant = self.grants.read(grant_id)
        if grant is None:
            return RenewalReport(Outcome.ENDED)
        return self.renew_grant(grant, ask, deadline=deadline)

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
        refresh_token = self.sealing.open_refresh(
            pair, registration=grant.registration, open_id=grant.open_id
        )
        owner = secrets.token_hex(8)
        if not self.grants.take_lease(
            grant, owner=owner, until=deadline + LEASE_MARGIN, now=self.now()
        ):
            return RenewalReport(Outcome.IN_PROGRESS, retry_after=1)

        return self._spend(grant, pair.fingerprint, refresh_token, clients, owner, deadline)

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
            except NoAnswer as error:
                unanswered = True
                repeats += 1
                if repeats > MOST_REPEATS or not has_time_to_spend(self.now(), deadline):
                    return self._not_now(grant, owner, error.error, None, keeps_intent=True)
            except Refused:
                return self._refused(grant, lost=unanswered)
            except Misconfigured as error:
                if error.error == "invalid_client" and clients.advance():
                    continue
                # No account is at fault, so none is marked as failing.
                self._release(grant, owner, Failure(None, None, None, keeps_intent=unanswered))
                logger.error("app registration refused", extra={"registration": grant.registration})
                return RenewalReport(Outcome.MISCONFIGURED)
            except Unavailable as error:
                keeps = unanswered or error.may_have_acted
                return self._not_now(
                    grant, owner, error.error, error.log_id, error.retry_after, keeps_intent=keeps
                )
        if answer.open_id != grant.open_id:
            # Another person's pair must not land here; what ours became is unknown.
            logger.error("refresh answered another open_id", extra={"grant": grant.id})
            return self._not_now(grant, owner, "foreign_open_id", None, keeps_intent=True)

        # From here to the journal: no network, no KMS, no log line.
        renewed = RenewedPair(
            grant_id=grant.id,
            spent=spent,
            write_id=secrets.token_bytes(8),
            pair=self.sealing.seal_pair(
                _completed(answer, grant, refresh_token),
                registration=grant.registration,
                now=self.now(),
            ),
        )
        with contextlib.suppress(StoreUnavailable):
            self.journal.append(renewed)  # a help, not a gate: the table comes next in any case
        return self._save(grant, renewed, deadline)

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
            renewed, due_at=self._next_due(grant, pair.issued_at, pair.expires_at), now=self.now()
        )
        self.journal.forget(renewed)
        if saved is Saved.ENDED and has_time_for(REVOKE_TIME, self.now(), deadline):
            self._revoke_homeless(grant, renewed)
        if saved is Saved.STORED:
            return RenewalReport(Outcome.RENEWED)
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
        if self.grants.require_relink(grant, reason, now=now):
            logger.warning("relink required", extra={"grant": grant.id, "reason": reason.value})
            return RenewalReport(Outcome.RELINK_REQUIRED)
        return RenewalReport(Outcome.FRESH)

    def _not_now(
        self,
        grant: Grant,
        owner: str,
        error: str,
        log_id: str | None,
        retry_after: int | None = None,
        *,
        keeps_intent: bool,
    ) -> RenewalReport:
        """Back off with full jitter, or as long as TikTok asked."""
        ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2 ** min(grant.failures, 10))
        wait = max(timedelta(seconds=retry_after or 0), ceiling * self.chance())
        if keeps_intent:
            wait = max(wait, RECOVERY_WAIT)
        self._release(grant, owner, Failure(error, log_id, self.now() + wait, keeps_intent))
        logger.warning("renewal postponed", extra={"grant": grant.id, "why": error})
        silent = error in ("no_answer", "foreign_open_id")
        outcome = Outcome.UNKNOWN if silent else Outcome.PROVIDER_UNAVAILABLE
        return RenewalReport(outcome, retry_after=max(1, _seconds(wait)))

    def _release(self, grant: Grant, owner: str, failure: Failure) -> None:
        try:
            self.grants.release(grant.id, owner=owner, failure=failure, now=self.now())
        except StoreUnavailable:
            # The lease runs out by itself; the intent it leaves is the careful reading.
            logger.warning("lease not released", extra={"grant": grant.id})


@dataclass(frozen=True, slots=True)
class Worked:
    """What became of a batch: ``failed`` are to be delivered again."""

    outcomes: Mapping[str, Outcome]
    failed: tuple[str, ...]


def work(renewal: Renewal, grant_ids: Sequence[str], *, deadline: datetime) -> Worked:
    """Renew a batch of due grants at once, each on its own: one's failure is not another's.

    One batch read serves all. One grant of each app registration goes first: if TikTok refuses
    the registration, the rest of its grants are left alone, since no account is at fault.
    """
    grants = renewal.grants.read_many(grant_ids)
    outcomes: dict[str, Outcome] = {}
    failed: list[str] = []
    stopped: set[str] = set()

    def one(grant: Grant) -> None:
        if grant.registration in stopped:
            outcomes[grant.id] = Outcome.MISCONFIGURED
            return
        try:
            report = renewal.renew_grant(grant, Ask(scheduled=True), deadline=deadline)
        except Exception as error:  # one grant's defect is not another's: it goes to the DLQ
            logger.error("renewal failed", extra={"grant": grant.id, "why": type(error).__name__})
            failed.append(grant.id)
            return
        outcomes[grant.id] = report.outcome
        if report.outcome is Outcome.MISCONFIGURED:
            stopped.add(grant.registration)

    first = {grant.registration: grant for grant in grants.values()}.values()
    rest = [grant for grant in grants.values() if grant not in first]
    with ThreadPoolExecutor(max_workers=max(1, len(grants))) as threads:
        for group in (first, rest):
            for done in [threads.submit(one, grant) for grant in group]:
                done.result()
    return Worked(outcomes, tuple(failed))


def plan(
    grants: Grants,
    queue: RenewalQueue,
    *,
    now: Callable[[], datetime],
    until: datetime,
    most_pages: int = 50,
) -> int:
    """Send every due grant to the workers, oldest first; say how many.

    Bounded in pages and time: what is left is still due at the next run. Sending a grant twice
    is harmless, since a worker renews only what is due when it looks.
    """
    sent = 0
    cursors: dict[int, object | None] = dict.fromkeys(range(DUE_SHARDS))
    for _ in range(most_pages):
        for shard in list(cursors):
            if now() >= until:
                return sent
            page = grants.due(shard, now=now(), limit=100, after=cursors[shard])
            for start in range(0, len(page.grant_ids), 10):
                queue.put(page.grant_ids[start : start + 10])
            sent += len(page.grant_ids)
            cursors[shard] = page.after
            if page.after is None:
                del cursors[shard]
        if not cursors:
            break
    return sent


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


def _in_progress(grant: Grant, now: datetime) -> RenewalReport:
    left = timedelta(0) if grant.lease_until is None else grant.lease_until - now
    return RenewalReport(Outcome.IN_PROGRESS, retry_after=_seconds(left))


def _seconds(span: timedelta) -> int:
    return max(1, int(span.total_seconds()) + 1)
