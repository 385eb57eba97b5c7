"""The directory: which accounts are linked, how each is doing, and what a team may change."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from tiktok_linking.accounts import LIST_SHARDS, Account, Grant, RefreshMode, Status
from tiktok_linking.callers import Caller
from tiktok_linking.errors import AccountUnlinked, InvalidRequest, NotFound
from tiktok_linking.ports import Directory
from tiktok_linking.schedule import RenewalPolicy

MOST_PAGES = 10
"""Store pages one answer may read: a filter that matches little gives a short page and a cursor."""
COUNTS_AT_ONCE = 8
"""Requests that a forecast has under way."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One account with its grant, as answers show them together."""

    account: Account
    grant: Grant

    def status(self, now: datetime) -> Status:
        """``unlinked`` if the account is, else the grant's."""
        if self.account.unlinked_at is not None:
            return Status.UNLINKED
        return self.grant.status_at(now)


@dataclass(frozen=True, slots=True)
class Query:
    """What a list asks for. Unlinked accounts are listed only when asked for by status."""

    tenant_id: str | None = None
    end_user_id: str | None = None
    status: Status | None = None
    relink_within_days: int | None = None
    limit: int = 25
    registrations: tuple[str, ...] = ()
    """Set by whom the caller is, never by what it asks for; empty is all."""

    def held_to(self, caller: Caller) -> Query:
        """The same question within what its caller may touch."""
        registrations = caller.tenant.registrations if caller.tenant else ()
        return replace(
            self, tenant_id=caller.tenant_of(self.tenant_id), registrations=registrations
        )

    def accepts(self, listed: Listed, now: datetime) -> bool:
        """Whether an account belongs into the answer."""
        if self.registrations and listed.account.registration not in self.registrations:
            return False
        status = listed.status(now)
        if self.status is None and status is Status.UNLINKED:
            return False
        if self.status is not None and status is not self.status:
            return False
        if self.relink_within_days is not None:
            deadline = listed.grant.relink_by
            return deadline is not None and deadline <= now + timedelta(
                days=self.relink_within_days
            )
        return True


def list_accounts(
    directory: Directory, query: Query, *, caller: Caller, cursor: str | None, now: datetime
) -> tuple[Sequence[Listed], str | None]:
    """One page in the order of ``relink_by`` (to the day), and the cursor of the next.

    Raises:
        InvalidRequest: the cursor is not one of ours, or belongs to another question.
    """
    query = query.held_to(caller)
    after = None if cursor is None else _open_cursor(cursor, query)
    found: list[Listed] = []
    within = query.relink_within_days
    # Nothing behind the last day can be in the answer: the list ends there, and reads no further.
    until = None if within is None else (now + timedelta(days=within)).date()
    for _ in range(MOST_PAGES):
        page, after = directory.list_accounts(
            tenant_id=query.tenant_id,
            end_user_id=query.end_user_id,
            after=after,
            limit=query.limit - len(found),
            until=until,
        )
        found += [x for x in (Listed(a, g) for g, a in page) if query.accepts(x, now)]
        if after is None or len(found) >= query.limit:
            break
    return found, None if after is None else _cursor(after, query)


@dataclass(frozen=True, slots=True)
class Week:
    """How many accounts are to be linked again in one ISO week, Monday to Sunday in UTC.

    ``is_exact`` is False where there are more than were counted.
    """

    starts_on: date
    accounts: int
    is_exact: bool

    @property
    def name(self) -> str:
        """As ISO 8601 writes it, such as 2026-W48. The year is that of its Thursday."""
        year, week, _ = self.starts_on.isocalendar()
        return f"{year}-W{week:02}"


def forecast(
    directory: Directory, *, tenant_id: str | None, weeks: int, caller: Caller, now: datetime
) -> Sequence[Week]:
    """Count the relinks of this week and those after it, of active accounts, from today on.

    One count of the index for each week and shard, so its cost is known before: it reads the rows
    that it counts and no other.
    """
    query = Query(tenant_id=tenant_id).held_to(caller)
    today = now.date()
    monday = today - timedelta(days=today.weekday())
    starts = [monday + timedelta(weeks=number) for number in range(weeks)]

    def count(part: tuple[date, int]) -> tuple[int, bool]:
        start, shard = part
        return directory.count_relinks(
            tenant_id=query.tenant_id,
            registrations=query.registrations,
            shard=shard,
            first=max(start, today),
            last=start + timedelta(days=6),
        )

    parts = [(start, shard) for start in starts for shard in range(LIST_SHARDS)]
    with ThreadPoolExecutor(max_workers=COUNTS_AT_ONCE) as threads:
        counted = list(threads.map(count, parts))
    found = []
    for number, start in enumerate(starts):
        own = counted[number * LIST_SHARDS : (number + 1) * LIST_SHARDS]
        found.append(Week(start, sum(n for n, _ in own), all(exact for _, exact in own)))
    return found


def account(directory: Directory, account_id: str, *, caller: Caller) -> Listed:
    """One account of this caller's. Raises NotFound."""
    found = directory.read_account(account_id)
    if found is None:
        raise NotFound
    grant, row = found
    caller.must_reach(row.tenant_id, row.registration)
    return Listed(row, grant)


def update(
    directory: Directory,
    account_id: str,
    *,
    caller: Caller,
    metadata: Mapping[str, str] | None,
    mode: RefreshMode | None,
    policy: RenewalPolicy,
    now: datetime,
) -> Listed:
    """Change metadata or refresh mode.

    Raises:
        NotFound, AccountUnlinked.
    """
    listed = account(directory, account_id, caller=caller)
    if listed.account.unlinked_at is not None:
        raise AccountUnlinked(account_id=account_id)
    grant = listed.grant

    def due_at(eager: RefreshMode) -> datetime | None:
        if grant.status is not Status.ACTIVE or grant.issued_at is None or grant.expires_at is None:
            return None
        return policy.next_due(
            grant.id,
            mode=eager,
            last_used_at=grant.last_used_at,
            issued_at=grant.issued_at,
            expires_at=grant.expires_at,
            relink_by=grant.relink_by,
            now=now,
        )

    directory.update_account(listed.account, grant, metadata=metadata, mode=mode, due_at=due_at)
    return account(directory, account_id, caller=caller)


def _cursor(after: str, query: Query) -> str:
    """A place in a list, and the question that led there.

    It carries no power: with it a caller gets what it would get without it, later in the order. So
    no key is needed, only that a cursor of another tenant, of another question or of nobody's
    making is told from its own (docs/decisions, 017).
    """
    question = [query.tenant_id, query.registrations, query.end_user_id, query.status]
    text = json.dumps([*question, query.relink_within_days, after])
    body = hashlib.sha256(text.encode()).digest()[:16] + after.encode()
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def _open_cursor(cursor: str, query: Query) -> str:
    problem = InvalidRequest("cursor is not one that this list gave; start without a cursor")
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        after = base64.urlsafe_b64decode(padded)[16:].decode()
    except ValueError:
        raise problem from None
    # Made again and compared as a whole, so that no second spelling of it is a cursor either.
    if not after or _cursor(after, query) != cursor:
        raise problem
    return after
