"""The directory: which accounts are linked, how each is doing, and what a team may change."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tiktok_linking.accounts import Account, Grant, RefreshMode, Status
from tiktok_linking.errors import AccountUnlinked, InvalidRequest, NotFound
from tiktok_linking.ports import Directory
from tiktok_linking.schedule import RenewalPolicy

MOST_PAGES = 10
"""Store pages one answer may read: a filter that matches little gives a short page and a cursor."""


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

    def fingerprint(self) -> str:
        """Names the question, so that a cursor answers only the question it came from."""
        parts = json.dumps([self.tenant_id, self.end_user_id, self.status, self.relink_within_days])
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    def accepts(self, listed: Listed, now: datetime) -> bool:
        """Whether an account belongs into the answer."""
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
    directory: Directory, query: Query, *, cursor: str | None, now: datetime
) -> tuple[Sequence[Listed], str | None]:
    """One page in the order of ``relink_by`` (to the day), and the cursor of the next.

    Raises:
        InvalidRequest: the cursor is not one of ours, or belongs to another question.
    """
    after = _open_cursor(cursor, query) if cursor else None
    found: list[Listed] = []
    for _ in range(MOST_PAGES):
        page, after = directory.list_accounts(
            tenant_id=query.tenant_id,
            end_user_id=query.end_user_id,
            after=after,
            limit=query.limit - len(found),
        )
        found += [x for x in (Listed(a, g) for g, a in page) if query.accepts(x, now)]
        if after is None or len(found) >= query.limit:
            break
    return found, None if after is None else _cursor(after, query)


def account(directory: Directory, account_id: str) -> Listed:
    """One account. Raises NotFound."""
    found = directory.read_account(account_id)
    if found is None:
        raise NotFound
    grant, row = found
    return Listed(row, grant)


def update(
    directory: Directory,
    account_id: str,
    *,
    metadata: Mapping[str, str] | None,
    mode: RefreshMode | None,
    policy: RenewalPolicy,
    now: datetime,
) -> Listed:
    """Change metadata or refresh mode.

    Raises:
        NotFound, AccountUnlinked.
    """
    listed = account(directory, account_id)
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
    return account(directory, account_id)


def _cursor(after: str, query: Query) -> str:
    body = json.dumps([query.fingerprint(), after]).encode()
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def _open_cursor(cursor: str, query: Query) -> str:
    problem = InvalidRequest("cursor is not one that this list gave; start without a cursor")
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        question, after = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, TypeError):
        raise problem from None
    if question != query.fingerprint() or not isinstance(after, str) or len(after) > 200:
        raise problem
    return after
