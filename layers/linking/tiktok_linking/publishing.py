"""The outbox: makes events of the changes that the tables' streams bring, and sends them.

Every change comes at least once and in the order of its item. An event is sent before it is noted
in the account's timeline, and both are safe to repeat: ``event_id`` is the same each time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tiktok_linking.accounts import Account, Grant, Status, same_day
from tiktok_linking.events import (
    FAILING_AFTER,
    GRANT_CHANGED,
    Event,
    EventType,
    event_id,
)
from tiktok_linking.ports import EventBus, Timeline
from tiktok_linking.sessions import LinkSession

logger = logging.getLogger("tiktok_linking.publishing")


@dataclass(frozen=True, slots=True)
class GrantChange:
    """A grant's item before and after a write that carries a mark."""

    mark: str
    at: datetime
    before: Grant | None
    after: Grant


@dataclass(frozen=True, slots=True)
class AccountChange:
    """An account row before and after a write that carries a mark."""

    mark: str
    at: datetime
    before: Account | None
    after: Account


@dataclass(frozen=True, slots=True)
class SessionChange:
    """A session after a write that carries a mark."""

    mark: str
    at: datetime
    session: LinkSession


@dataclass(frozen=True, slots=True)
class ProviderChange:
    """A circuit after a write that carries a mark."""

    mark: str
    at: datetime
    registration: str


Change = GrantChange | AccountChange | SessionChange | ProviderChange


@dataclass(frozen=True, slots=True)
class Publishing:
    """The use case with its ports."""

    bus: EventBus
    timeline: Timeline

    def publish(self, change: Change) -> Sequence[Event]:
        """Send what a change means, note it, and bring the accounts' index copies up to date.

        Raises:
            StoreUnavailable: the stream brings the change again.
        """
        grant: Grant | None = None
        accounts: Sequence[Account] = ()
        if isinstance(change, GrantChange):
            grant, accounts = self.timeline.read_accounts(change.after.id)
        elif isinstance(change, AccountChange):
            grant, accounts = self.timeline.read_accounts(change.after.grant_id)
        events = list(self._events(change, grant, accounts))
        if events:
            self.bus.send(events)
        for event in events:
            if event.account_id is not None:
                self.timeline.note(event)
        for account in accounts:
            if any(e.type is EventType.UNLINKED and e.account_id == account.id for e in events):
                self.timeline.mark_told(account)
        if isinstance(change, GrantChange):
            deadline = change.after.relink_by
            for account in accounts:
                if account.unlinked_at is None and not same_day(account.relink_by, deadline):
                    self.timeline.move_relink_by(account, deadline)
        logger.info("published", extra={"mark": change.mark, "events": len(events)})
        return events

    def _events(
        self, change: Change, grant: Grant | None, accounts: Sequence[Account]
    ) -> Iterator[Event]:
        match change:
            case SessionChange():
                yield _of_session(change)
            case ProviderChange():
                yield _of_provider(change)
            case AccountChange():
                yield from _of_account(change, grant, accounts)
            case GrantChange():
                yield from _of_grant(change, accounts)


# -- sessions and TikTok's health ------------------------------------------------------------------


def _of_session(change: SessionChange) -> Event:
    session = change.session
    type = EventType(change.mark)
    # No id of the session: it is the address of the connect page, which is a secret.
    detail = {
        "status": session.status.value,
        "reason": session.reason.value if session.reason else None,
        "account_id": session.account_id,
        "app_registration": session.app_registration,
        "end_user_id": session.end_user_id,
        "tenant_id": session.tenant_id,
        "relink_of": session.relink_account_id,
        "metadata": dict(session.metadata),
    }
    return _event(type, event_id(session.id, type, _moment(change.at)), change.at, detail)


def _of_provider(change: ProviderChange) -> Event:
    type = EventType(change.mark)
    name = event_id(change.registration, type, _moment(change.at))
    return _event(type, name, change.at, {"app_registration": change.registration})


# -- accounts --------------------------------------------------------------------------------------


def _of_account(
    change: AccountChange, grant: Grant | None, accounts: Sequence[Account]
) -> Iterator[Event]:
    account = change.after
    if change.mark == EventType.LINKED:
        before = change.before
        again = before is not None and before.unlinked_at is None
        type = EventType.RELINKED if again else EventType.LINKED
        yield _about(type, account, grant, change.at, _scopes(account, grant))
    elif change.mark == EventType.UNLINKED and not _is_being_revoked(account, grant, accounts):
        yield _unlinked(account, grant, accounts)


def _is_being_revoked(account: Account, grant: Grant | None, accounts: Sequence[Account]) -> bool:
    """Whether this was the last account, so that TikTok's answer is still to come.

    Its event waits for the grant's own end, which says what TikTok answered.
    """
    if grant is None or grant.revocation is not None:
        return False
    is_shared = any(a.unlinked_at is None for a in accounts if a.id != account.id)
    return not is_shared and grant.status is not Status.REVOKED


def _unlinked(account: Account, grant: Grant | None, accounts: Sequence[Account]) -> Event:
    told: dict[str, object] = {"revoked_at_tiktok": "not_needed"}
    if any(a.unlinked_at is None for a in accounts if a.id != account.id):
        told = {"revoked_at_tiktok": "false", "reason": "shared_grant"}
    elif grant is not None and grant.revocation is not None:
        told = {"revoked_at_tiktok": grant.revocation}
    at = account.unlinked_at or account.authorised_at
    return _about(EventType.UNLINKED, account, grant, at, told)


# -- grants: one event for each of its accounts ----------------------------------------------------


def _of_grant(change: GrantChange, accounts: Sequence[Account]) -> Iterator[Event]:
    grant = change.after
    if grant.revocation is not None:
        # The end of an unlink: for every account of it that has not been told yet.
        for account in accounts:
            if account.unlinked_at is not None and not account.is_told:
                yield _unlinked(account, grant, accounts)
        return
    linked = [account for account in accounts if account.unlinked_at is None]
    for type, at, told in _facts(change):
        for account in linked:
            extra = told | (_scopes(account, grant) if type is EventType.SCOPES_CHANGED else {})
            yield _about(type, account, grant, at, extra)


def _facts(change: GrantChange) -> Iterator[tuple[EventType, datetime, dict[str, object]]]:
    before, grant = change.before, change.after
    if change.mark == EventType.RELINK_REQUIRED:
        yield EventType.RELINK_REQUIRED, change.at, {"reason": grant.reason}
        return
    if change.mark == EventType.REVOKED:
        yield EventType.REVOKED, change.at, {"source": "tiktok", "reason": grant.reason}
        return
    if change.mark == EventType.REFRESH_FAILING:
        since = grant.failing_since or change.at
        yield (
            EventType.REFRESH_FAILING,
            since,
            {"failing_since": _iso(since), "error": grant.last_error},
        )
        return
    if before is None or change.mark != GRANT_CHANGED:
        return
    was_authorised = before.authorised_at != grant.authorised_at
    if not was_authorised and _is_well(grant) and _was_told_unwell(before):
        yield EventType.RECOVERED, change.at, {"failing_since": _iso(before.failing_since)}
    had_tokens = before.status in (Status.ACTIVE, Status.RELINK_REQUIRED)
    if had_tokens and set(before.scopes) != set(grant.scopes):
        yield EventType.SCOPES_CHANGED, change.at, {"before": sorted(before.scopes)}


def _is_well(grant: Grant) -> bool:
    return grant.status is Status.ACTIVE and not grant.is_in_doubt and grant.failures == 0


def _was_told_unwell(grant: Grant) -> bool:
    is_flagged = grant.status is Status.RELINK_REQUIRED or grant.is_in_doubt
    return is_flagged or grant.failures >= FAILING_AFTER


# -- forms -----------------------------------------------------------------------------------------


def _about(
    type: EventType,
    account: Account,
    grant: Grant | None,
    at: datetime,
    told: Mapping[str, object],
) -> Event:
    detail = {
        "account_id": account.id,
        "account_version": 0 if grant is None else grant.version,
        "app_registration": account.registration,
        "end_user_id": account.end_user_id,
        "tenant_id": account.tenant_id,
        "open_id": account.open_id,
        **told,
    }
    return _event(type, event_id(account.id, type, _moment(at)), at, detail, account.id)


def _event(
    type: EventType,
    name: str,
    at: datetime,
    detail: Mapping[str, object],
    account_id: str | None = None,
) -> Event:
    full = {"event_id": name, "occurred_at": _iso(at), **detail}
    return Event(type, name, at, full, account_id)


def _scopes(account: Account, grant: Grant | None) -> dict[str, object]:
    granted = () if grant is None else grant.scopes
    missing = [scope for scope in account.wanted_scopes if scope not in granted]
    return {"scopes": {"granted": sorted(granted), "missing": missing}}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
