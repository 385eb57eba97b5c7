"""The outbox: makes events of the changes that the tables' streams bring, and sends them.

Every change comes at least once and in the order of its item. An event is sent before it is noted
in the account's timeline, and both are safe to repeat: ``event_id`` is the same each time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tiktok_linking.accounts import (
    LINKED_AGAIN,
    SHARED_GRANT,
    Account,
    Grant,
    Reminder,
    Revocation,
    Status,
    action_on_revoked,
    days_until,
    instant,
    same_day,
)
from tiktok_linking.circuit import Circuit, Trouble
from tiktok_linking.errors import ActionBy
from tiktok_linking.events import FAILING_AFTER, Event, EventType, event_id
from tiktok_linking.ports import EventBus, ReadyLinks, Timeline
from tiktok_linking.sessions import ACTION_BY, LinkSession

logger = logging.getLogger("tiktok_linking.publishing")


@dataclass(frozen=True, slots=True)
class GrantChange:
    """A grant's item before and after a write that carries a mark.

    ``row`` names the account whose owner authorised with it, by the end of its id.
    """

    mark: str
    at: datetime
    before: Grant | None
    after: Grant
    row: str = ""


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
    """A circuit before and after a write that carries a mark."""

    mark: str
    at: datetime
    before: Circuit | None
    after: Circuit


Change = GrantChange | AccountChange | SessionChange | ProviderChange


@dataclass(frozen=True, slots=True)
class Publishing:
    """The use case with its ports."""

    bus: EventBus
    timeline: Timeline
    links: ReadyLinks | None = None
    """Only where reminders shall carry a link."""

    def publish(self, change: Change) -> Sequence[Event]:
        """Send what a change means, note it, and bring the accounts' index copies up to date.

        Raises:
            StoreUnavailable: the stream brings the change again.
        """
        match change:
            case SessionChange():
                events = [_of_session(change)]
                self.bus.send(events)
            case ProviderChange():
                events = list(_of_provider(change))
                self.bus.send(events)
            case AccountChange() | GrantChange():
                events = self._publish_link(change)
        logger.info("published", extra={"mark": change.mark, "events": len(events)})
        return events

    def _publish_link(self, change: AccountChange | GrantChange) -> list[Event]:
        """The order matters: an unlink counts as told only when its event is out and noted."""
        grant, accounts = self.timeline.read_accounts(_grant_of(change))
        ended = [account for account in accounts if _has_ended(account, change)]
        tellable = [account for account in ended if _has_result(grant, accounts)]
        events: list[Event] = []
        if isinstance(change, AccountChange):
            events += [e for e in _of_account(change, grant) if not self._is_over(e)]
        else:
            events += _of_grant(change, grant, [a for a in accounts if a not in ended])
        events += [_unlinked(account, grant, accounts) for account in tellable]
        self.bus.send([self._with_link(event, change, accounts) for event in events])
        for event in events:
            self.timeline.note(event)  # without a link: whoever reads a timeline is not its owner
        for account in ended:
            if account in tellable or not account.is_waiting:
                self.timeline.mark_told(account, waits=account not in tellable)
        for account in accounts:
            if grant is not None and account.unlinked_at is None and _is_behind(account, grant):
                self.timeline.copy_grant(account, grant)
        return events

    def _is_over(self, event: Event) -> bool:
        """Whether an unlink was told before its owner came back, but too late to be marked so.

        The timeline knows: changes of one link come one after the other.
        """
        return event.type is EventType.UNLINKED and self.timeline.is_noted(event)

    def _with_link(
        self, event: Event, change: AccountChange | GrantChange, accounts: Sequence[Account]
    ) -> Event:
        """A reminder with the link that its owner follows, where the stack is told to make one."""
        if self.links is None or event.type is not EventType.RELINK_DUE:
            return event
        account = next((a for a in accounts if a.id == event.account_id), None)
        reminder = change.after.reminded if isinstance(change, AccountChange) else None
        if account is None or reminder is None or account.unlinked_at is not None:
            return event
        url = self.links.for_owner(account, reminder, named=event.event_id)
        return replace(event, detail={**event.detail, "relink_url": url}) if url else event


def _is_behind(account: Account, grant: Grant) -> bool:
    is_ended = grant.status is not Status.ACTIVE
    return account.is_ended != is_ended or not same_day(account.relink_by, grant.relink_by)


# -- sessions and TikTok's health ------------------------------------------------------------------


def _of_session(change: SessionChange) -> Event:
    session = change.session
    type = EventType(change.mark)
    # No id of the session: it is the address of the connect page, which is a secret.
    detail = {
        "status": session.status.value,
        "reason": session.reason.value if session.reason else None,
        "action_by": ACTION_BY[session.reason] if session.reason else ActionBy.NOBODY.value,
        "account_id": session.account_id,
        "app_registration": session.app_registration,
        "end_user_id": session.end_user_id,
        "tenant_id": session.tenant_id,
        "relink_of": session.relink_account_id,
        "metadata": dict(session.metadata),
    }
    return _event(type, event_id(session.id, type, _moment(change.at)), change.at, detail)


def _of_provider(change: ProviderChange) -> Iterator[Event]:
    """Down is what ends by itself; a registration that TikTok refuses is an operator's alarm."""
    was_down = change.before is not None and change.before.trouble is Trouble.UNAVAILABLE
    is_down = change.after.trouble is Trouble.UNAVAILABLE
    if was_down == is_down:
        return
    type = EventType.PROVIDER_DOWN if is_down else EventType.PROVIDER_RECOVERED
    registration = change.after.registration
    name = event_id(registration, type, _moment(change.at))
    yield _event(type, name, change.at, {"app_registration": registration})


# -- accounts --------------------------------------------------------------------------------------


def _of_account(change: AccountChange, grant: Grant | None) -> Iterator[Event]:
    if change.mark == EventType.RELINK_DUE and change.after.reminded is not None:
        yield _reminder(change.after, change.after.reminded, grant, change.at)
    if change.mark != EventType.LINKED:
        return  # an unlink is told with whatever else can be told by now
    account, before = change.after, change.before
    if before is not None and before.unlinked_at is not None and not before.is_told:
        # Its owner came back before it was told, and perhaps before TikTok had answered.
        result = grant.earlier_revocation if grant is not None else None
        told = _told_of(*(result or (Revocation.NOT_DONE, LINKED_AGAIN)))
        yield _about(EventType.UNLINKED, before, grant, before.unlinked_at, told)
    again = before is not None and before.unlinked_at is None
    type = EventType.RELINKED if again else EventType.LINKED
    yield _about(type, account, grant, change.at, _scopes(account, grant))


def _grant_of(change: AccountChange | GrantChange) -> str:
    return change.after.id if isinstance(change, GrantChange) else change.after.grant_id


def _has_ended(account: Account, change: AccountChange | GrantChange) -> bool:
    """Whether an unlink is still to be told, and this change does not come before it.

    What is read may be newer than the change: an account whose own unlink comes later in the
    stream was linked when this happened.
    """
    if account.unlinked_at is None or account.is_told:
        return False
    is_it = (
        isinstance(change, AccountChange)
        and change.after.id == account.id
        and change.after.unlinked_at == account.unlinked_at
    )
    return account.is_waiting or is_it


def _has_result(grant: Grant | None, accounts: Sequence[Account]) -> bool:
    """Whether it is known what became of the grant at TikTok.

    For all but the last account of a grant nothing does; the last one's event waits for the
    grant's own end, which says what TikTok answered.
    """
    if grant is None or grant.revocation is not None or grant.status is Status.REVOKED:
        return True
    return any(account.unlinked_at is None for account in accounts)


def _unlinked(account: Account, grant: Grant | None, accounts: Sequence[Account]) -> Event:
    told = _told_of(Revocation.NOT_NEEDED, None)
    if any(other.unlinked_at is None for other in accounts):
        told = _told_of(Revocation.NOT_DONE, SHARED_GRANT)
    elif grant is not None and grant.revocation is not None:
        told = _told_of(grant.revocation, grant.revocation_reason)
    elif grant is not None and grant.status is Status.REVOKED:
        told = _told_of(Revocation.NOT_NEEDED, grant.reason)
    at = account.unlinked_at or account.authorised_at
    return _about(EventType.UNLINKED, account, grant, at, told)


def _told_of(revocation: str, reason: str | None) -> dict[str, object]:
    """What became of the grant at TikTok, as an event says it."""
    return {"revoked_at_tiktok": Revocation(revocation).shown, "reason": reason}


def _reminder(account: Account, told: Reminder, grant: Grant | None, at: datetime) -> Event:
    """Named by the deadline and the threshold: told again, it is the same event."""
    name = event_id(
        account.id, EventType.RELINK_DUE, told.relink_by.date().isoformat(), told.threshold_days
    )
    facts = {
        "threshold_days": told.threshold_days,
        "relink_by": instant(told.relink_by),
        "days_until_relink": days_until(told.relink_by, at),
        "action_by": ActionBy.END_USER.value,
    }
    return _about(EventType.RELINK_DUE, account, grant, at, facts, name)


# -- grants: one event for each of its accounts ----------------------------------------------------


def _of_grant(
    change: GrantChange, now: Grant | None, accounts: Sequence[Account]
) -> Iterator[Event]:
    """``now`` gives the version, as it does for account rows: so it never falls."""
    before, grant = change.before, change.after
    was_authorised = before is None or before.authorised_at != grant.authorised_at
    # Who was linked before: a newcomer's first event is that it is linked.
    known = [
        account
        for account in accounts
        if not account.is_told
        and (
            account.linked_at < grant.authorised_at
            or (account.linked_at == grant.authorised_at and not was_authorised)
        )
    ]
    for type, told in _facts(change):
        for account in known:
            if type is EventType.RECOVERED and change.row and account.id.endswith(change.row):
                continue  # its owner has linked it again, which its own row tells
            extra = told | (_scopes(account, grant) if type is EventType.SCOPES_CHANGED else {})
            yield _about(type, account, now or grant, change.at, extra)


def _facts(change: GrantChange) -> Iterator[tuple[EventType, dict[str, object]]]:
    before, grant = change.before, change.after
    if change.mark == EventType.RELINK_REQUIRED:
        yield (
            EventType.RELINK_REQUIRED,
            {"reason": grant.reason, "action_by": ActionBy.END_USER.value},
        )
    elif change.mark == EventType.REVOKED:
        yield (
            EventType.REVOKED,
            {
                "source": "tiktok",
                "reason": grant.reason,
                "action_by": action_on_revoked(grant.reason).value,
            },
        )
    elif before is None or grant.status is Status.UNLINKED:
        return
    elif change.mark == EventType.REFRESH_FAILING:
        if before.failures < FAILING_AFTER <= grant.failures:
            yield (
                EventType.REFRESH_FAILING,
                {
                    "failing_since": instant(grant.failing_since or change.at),
                    "error": grant.last_error,
                    "action_by": ActionBy.NOBODY.value,
                },
            )
    else:
        if _is_well(grant) and _was_told_unwell(before):
            yield EventType.RECOVERED, {"failing_since": instant(before.failing_since)}
        had_tokens = before.status in (Status.ACTIVE, Status.RELINK_REQUIRED)
        if had_tokens and set(before.scopes) != set(grant.scopes):
            yield EventType.SCOPES_CHANGED, {"before": sorted(before.scopes)}


def _is_well(grant: Grant) -> bool:
    return grant.status is Status.ACTIVE and not grant.is_in_doubt and grant.failures == 0


def _was_told_unwell(grant: Grant) -> bool:
    is_ended = grant.status in (Status.RELINK_REQUIRED, Status.REVOKED)
    return is_ended or grant.is_in_doubt or grant.failures >= FAILING_AFTER


# -- hand-outs -------------------------------------------------------------------------------------


def handed_out(
    account: Account,
    grant: Grant,
    *,
    caller: str,
    purpose: str | None,
    refreshed: bool,
    warning: str | None,
    request_id: str,
    now: datetime,
) -> Event:
    """Say that a token was handed out, and to whom: never the token."""
    told = {"caller": caller, "purpose": purpose, "refreshed": refreshed, "warning": warning}
    # Two hand-outs at one moment are two.
    name = event_id(account.id, EventType.TOKEN_VENDED, _moment(now), request_id)
    return _about(EventType.TOKEN_VENDED, account, grant, now, told, name)


# -- forms -----------------------------------------------------------------------------------------


def _about(
    type: EventType,
    account: Account,
    grant: Grant | None,
    at: datetime,
    told: Mapping[str, object],
    name: str | None = None,
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
    name = name or event_id(account.id, type, _moment(at))
    return _event(type, name, at, detail, account.id)


def _event(
    type: EventType,
    name: str,
    at: datetime,
    detail: Mapping[str, object],
    account_id: str | None = None,
) -> Event:
    full = {"event_id": name, "occurred_at": instant(at), **detail}
    return Event(type, name, at, full, account_id)


def _scopes(account: Account, grant: Grant | None) -> dict[str, object]:
    granted = () if grant is None else grant.scopes
    missing = [scope for scope in account.wanted_scopes if scope not in granted]
    return {"scopes": {"granted": sorted(granted), "missing": missing}}


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
