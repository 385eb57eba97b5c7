"""The accounts table in memory. The contract suite in tests/adapters holds it to the real one."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from tests.fakes.happenings import Happenings
from tiktok_linking.accounts import (
    ENDING_TAKES,
    LIST_SHARDS,
    Account,
    Ending,
    Grant,
    RefreshMode,
    RelinkReason,
    Reminder,
    RevokedReason,
    SealedPair,
    Status,
    most_eager,
    same_day,
    split_account_id,
)
from tiktok_linking.circuit import Circuit
from tiktok_linking.events import FAILING_AFTER
from tiktok_linking.ports import (
    AuthorisedPair,
    Batch,
    Due,
    Ended,
    Failure,
    Look,
    LookPage,
    RenewedPair,
    Saved,
)
from tiktok_linking.schedule import (
    DUE_SHARDS,
    REMINDER_SHARDS,
    at_once,
    first_look,
    is_at_once,
    slot_of,
)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A grant as written, beside what no reader is shown."""

    grant: Grant
    authorisation: bytes
    is_revoking: bool = False
    ended_at: datetime | None = None

    @property
    def is_ended(self) -> bool:
        return self.is_revoking or self.grant.revocation is not None

    def read(self) -> Grant:
        if self.is_ended:
            return replace(self.grant, ended_at=self.ended_at, status=Status.UNLINKED)
        if self.grant.ended_at == self.ended_at:
            return self.grant  # months of reading would be months of copying
        return replace(self.grant, ended_at=self.ended_at)


class AccountsInMemory:
    """Implements the ports Grants, Links, Removals, Authorisations, Directory and Reminders."""

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self._grants: dict[str, _Stored] = {}
        self._accounts: dict[str, Account] = {}
        self.looks: dict[str, date] = {}
        """Accounts in the reminder index, and their days there."""
        self.circuits: dict[str, Circuit] = {}
        self.unreadable: set[str] = set()
        """Grants whose records make no sense."""

    # -- for tests ------------------------------------------------------------------------------

    def grant(self, grant_id: str) -> Grant:
        """Look without being counted."""
        return self._grants[grant_id].read()

    def account(self, account_id: str) -> Account:
        """Look without being counted."""
        return self._accounts[account_id]

    def change(self, grant_id: str, **fields: object) -> None:
        """Set facts of a grant directly, for a start that no sequence of calls reaches quickly."""
        stored = self._grants[grant_id]
        self._grants[grant_id] = replace(stored, grant=replace(stored.grant, **fields))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._grants)

    # -- Grants ---------------------------------------------------------------------------------

    def read_batch(self, grant_ids: Iterable[str], registrations: Iterable[str]) -> Batch:
        """See ports.Grants."""
        with self._happenings.call("grants.read_batch"):
            ids = list(dict.fromkeys(grant_ids))
            return Batch(
                grants={
                    id: self._grants[id].read()
                    for id in ids
                    if id in self._grants and id not in self.unreadable
                },
                unreadable=tuple(id for id in ids if id in self.unreadable),
                circuits={
                    name: self.circuits[name] for name in registrations if name in self.circuits
                },
            )

    def take_lease(self, grant: Grant, *, owner: str, until: datetime, now: datetime) -> bool:
        """See ports.Grants."""
        with self._happenings.call("grants.take_lease"):
            stored = self._grants[grant.id]
            kept = stored.grant
            if grant.pair is None or kept.pair is None:
                return False
            if kept.is_leased(now):
                return kept.lease_owner == owner
            if kept.pair.fingerprint != grant.pair.fingerprint or kept.intent != grant.intent:
                return False
            if stored.is_ended != (grant.status is Status.UNLINKED):
                return False
            if not stored.is_ended and kept.status is not Status.ACTIVE:
                return False
            self._write(
                stored,
                lease_owner=owner,
                lease_until=until,
                intent=grant.pair.fingerprint,
                recovering_since=None,
            )
            return True

    def save_renewed(
        self,
        renewed: RenewedPair,
        *,
        due_at: datetime | None,
        now: datetime,
        settles_doubt: bool = False,
        is_news: bool = True,
    ) -> Saved:
        """See ports.Grants."""
        with self._happenings.call("grants.save_renewed"):
            stored = self._grants.get(renewed.grant_id)
            if stored is None or stored.grant.pair is None:
                return Saved.ENDED
            if stored.grant.pair.fingerprint != renewed.spent:
                if stored.grant.write_id == renewed.write_id:
                    return Saved.REVIVED if stored.grant.is_in_doubt else Saved.STORED
                return Saved.NEWER
            before = stored.grant
            settled = _settled(before, renewed.pair, due_at, before.authorised_at)
            self._write(
                stored,
                **settled | {"reason": None if settles_doubt else before.reason},
                last_success_at=now,
                write_id=renewed.write_id,
                version=before.version + 1,
                rotations=before.rotations + 1,
            )
            was_flagged = before.status is Status.RELINK_REQUIRED
            return Saved.REVIVED if was_flagged and not settles_doubt else Saved.STORED

    def release(self, grant_id: str, *, owner: str, failure: Failure, now: datetime) -> None:
        """See ports.Grants."""
        with self._happenings.call("grants.release"):
            stored = self._grants[grant_id]
            kept = stored.grant
            if kept.lease_owner != owner:
                return
            since = (kept.recovering_since or now) if failure.keeps_intent else None
            self._write(
                stored,
                lease_owner=None,
                lease_until=None,
                intent=kept.intent if failure.keeps_intent else None,
                recovering_since=since,
            )
            if failure.error is None:
                return
            self._write(
                self._grants[grant_id],
                failing_since=kept.failing_since or now,
                failures=kept.failures + 1,
                last_error=failure.error,
                last_log_id=failure.log_id,
                backoff_until=failure.backoff_until,
            )

    def mark_recovering(self, grant: Grant, *, now: datetime) -> bool:
        """See ports.Grants."""
        with self._happenings.call("grants.mark_recovering"):
            stored = self._grants[grant.id]
            kept = stored.grant
            if kept.intent is None or kept.intent != grant.intent or kept.pair is None:
                return False
            if kept.pair.fingerprint != kept.intent or kept.is_leased(now):
                return False
            if kept.recovering_since is not None:
                return False
            self._write(stored, recovering_since=now)
            return True

    def require_relink(
        self, grant: Grant, reason: RelinkReason, *, now: datetime, ends_access: bool = False
    ) -> bool:
        """See ports.Grants."""
        with self._happenings.call("grants.require_relink"):
            stored = self._grants[grant.id]
            kept = stored.grant
            if grant.pair is None or kept.pair is None:
                return False
            if kept.pair.fingerprint != grant.pair.fingerprint:
                return False
            if kept.status is Status.RELINK_REQUIRED:
                return True
            expires_at = now if ends_access else kept.expires_at
            self._write(
                stored,
                status=Status.RELINK_REQUIRED,
                expires_at=expires_at,
                pair=replace(kept.pair, expires_at=expires_at or kept.pair.expires_at),
                reason=reason.value,
                lease_owner=None,
                lease_until=None,
                intent=None,
                recovering_since=None,
                backoff_until=None,
                due_at=None,
                failing_since=kept.failing_since or now,
                version=kept.version + 1,
            )
            return True

    def postpone(self, grant: Grant, due_at: datetime | None) -> None:
        """See ports.Grants."""
        with self._happenings.call("grants.postpone"):
            stored = self._grants[grant.id]
            if grant.due_at is not None and stored.grant.due_at == grant.due_at:
                self._write(stored, due_at=_slot(due_at))

    def doubt(self, grant_id: str, *, authorised_at: datetime | None = None, now: datetime) -> None:
        """See ports.Grants."""
        with self._happenings.call("grants.doubt"):
            stored = self._grants[grant_id]
            kept = stored.grant
            if kept.status is not Status.ACTIVE or kept.pair is None:
                return
            if authorised_at in (None, kept.authorised_at):
                reason = kept.reason or RelinkReason.ROTATION_LOST.value
                self._write(stored, due_at=_slot(now), reason=reason)

    def quarantine(self, grant_id: str, error: str, *, now: datetime) -> None:
        """See ports.Grants."""
        with self._happenings.call("grants.quarantine"):
            stored = self._grants.get(grant_id)
            if stored is not None:
                self._write(
                    stored,
                    due_at=None,
                    last_error=error,
                    failing_since=stored.grant.failing_since or now,
                    failures=stored.grant.failures + FAILING_AFTER,
                )

    def due_grants(self, shard: int, *, now: datetime) -> list[Due]:
        """For ScheduleInMemory: what is due in a shard, oldest first."""
        found = sorted(
            (stored.grant.due_at, grant_id)
            for grant_id, stored in self._grants.items()
            if _shard(grant_id) == shard
            and stored.grant.due_at is not None
            and stored.grant.due_at <= now
        )
        return [Due(grant_id, due_at) for due_at, grant_id in found]

    # -- Links ----------------------------------------------------------------------------------

    def read_link(self, account_id: str) -> tuple[Grant, Account] | None:
        """See ports.Links."""
        with self._happenings.call("links.read_link"):
            return self._link(account_id)

    def read_partition(self, account_id: str) -> tuple[Grant | None, Sequence[Account]]:
        """See ports.Links."""
        with self._happenings.call("links.read_partition"):
            parts = split_account_id(account_id)
            return (None, ()) if parts is None else self._whole(parts[0])

    def read_whole(self, grant_id: str) -> tuple[Grant | None, Sequence[Account]]:
        """See ports.Links."""
        with self._happenings.call("links.read_whole"):
            return self._whole(grant_id)

    def _whole(self, grant_id: str) -> tuple[Grant | None, Sequence[Account]]:
        stored = self._grants.get(grant_id)
        return (None if stored is None else stored.read()), self._accounts_of(grant_id)

    def mark_used(self, grant: Grant, *, due_at: datetime | None, now: datetime) -> None:
        """See ports.Links."""
        with self._happenings.call("links.mark_used"):
            stored = self._grants[grant.id]
            if stored.grant.due_at != grant.due_at:
                return
            if _fingerprint(stored.grant) == _fingerprint(grant) is not None:
                self._write(stored, last_used_at=now, due_at=_slot(due_at))

    def pass_deadline(self, grant: Grant, *, now: datetime) -> Grant:
        """See ports.Links."""
        with self._happenings.call("links.pass_deadline"):
            stored = self._grants[grant.id]
            if stored.grant.version == grant.version and stored.grant.is_past_deadline(now):
                self._write(
                    stored,
                    status=Status.RELINK_REQUIRED,
                    reason=RelinkReason.REFRESH_TOKEN_EXPIRED.value,
                    due_at=None,
                    version=grant.version + 1,
                )
            return self._grants[grant.id].read()

    def mark_unlinked(
        self,
        account: Account,
        *,
        now: datetime,
        ending: Ending = Ending.REVOKE,
        erases: bool = False,
    ) -> None:
        """See ports.Links."""
        with self._happenings.call("links.begin_ending"):
            if (stored := self._grants.get(account.grant_id)) is not None:
                self._write(stored, version=stored.grant.version + 1, **_begun(ending, now))
        with self._happenings.call("links.mark_unlinked"):
            row = self._accounts[account.id]
            row = replace(row, unlinked_at=row.unlinked_at or now)
            if erases:
                row = replace(row, end_user_label=None, metadata={}, profile=None)
            self._accounts[account.id] = row
            self.looks.pop(account.id, None)

    def mark_revoking(self, grant: Grant, *, now: datetime, ending: Ending = Ending.REVOKE) -> bool:
        """See ports.Links."""
        with self._happenings.call("links.mark_revoking"):
            stored = self._grants[grant.id]
            kept = stored.grant
            if grant.pair is None or kept.authorised_at != grant.authorised_at:
                return False
            if kept.pair is None:
                return False
            self._write(stored, due_at=None, version=kept.version + 1, **_begun(ending, now))
            self._grants[grant.id] = replace(
                self._grants[grant.id], is_revoking=True, ended_at=stored.ended_at or now
            )
            return True

    def look_later(self, grant: Grant, *, at: datetime) -> bool:
        """See ports.Links."""
        with self._happenings.call("links.look_later"):
            stored = self._grants[grant.id]
            if stored.grant.look_at is None or stored.grant.look_at != grant.look_at:
                return False
            self._write(stored, look_at=at)
            return True

    def leave_ending(self, grant: Grant, *, now: datetime) -> None:
        """See ports.Links."""
        with self._happenings.call("links.leave_ending"):
            stored = self._grants[grant.id]
            kept = stored.grant
            if (kept.look_at, kept.authorised_at) == (grant.look_at, grant.authorised_at):
                self._write(stored, ending=None, look_at=None)

    def follow_wishes(self, grant: Grant, mode: RefreshMode) -> None:
        """See ports.Links."""
        with self._happenings.call("links.follow_wishes"):
            stored = self._grants[grant.id]
            if stored.grant.mode is grant.mode:
                self._write(stored, mode=mode)

    def forget_tokens(
        self, grant: Grant, *, revocation: str, now: datetime, reason: str | None = None
    ) -> bool:
        """See ports.Links."""
        with self._happenings.call("links.forget_tokens"):
            stored = self._grants[grant.id]
            is_pending = stored.is_revoking and stored.grant.revocation is None
            if _fingerprint(stored.grant) != _fingerprint(grant) or not is_pending:
                return stored.grant.pair is None
            self._write(
                stored,
                **_no_lease(),
                status=Status.UNLINKED,
                revocation=revocation,
                revocation_reason=reason,
                pair=None,
                due_at=None,
                ending=None,
                look_at=None,
                version=stored.grant.version + 1,
            )
            return True

    def accounts_of(
        self, tenant_id: str | None, end_user_id: str, *, after: str | None
    ) -> tuple[Sequence[Account], str | None]:
        """See ports.Links."""
        with self._happenings.call("links.accounts_of"):
            rows = sorted(
                (
                    row
                    for row in self._accounts.values()
                    if (row.tenant_id, row.end_user_id) == (tenant_id, end_user_id)
                    and _place(row) > (after or "")
                ),
                key=_place,
            )
            page = rows[:100]
            return page, _place(page[-1]) if len(rows) > len(page) else None

    def unfinished(self, ending: Ending, *, now: datetime) -> list[Due]:
        """For ScheduleInMemory: whose time to look has come, oldest first."""
        found = sorted(
            (stored.grant.look_at, grant_id)
            for grant_id, stored in self._grants.items()
            if stored.grant.ending is ending
            and stored.grant.look_at is not None
            and stored.grant.look_at <= now
        )
        return [Due(grant_id, look_at) for look_at, grant_id in found]

    # -- Removals -------------------------------------------------------------------------------

    def mark_revoked(
        self, grant_id: str, reason: RevokedReason, *, authorised_before: datetime, now: datetime
    ) -> Ended:
        """See ports.Removals."""
        with self._happenings.call("removals.mark_revoked"):
            stored = self._grants.get(grant_id)
            if stored is None:
                return Ended.UNKNOWN
            if stored.grant.pair is None or stored.is_ended:
                return Ended.ALREADY
            if stored.grant.authorised_at >= authorised_before:
                return Ended.NOT_BEFORE
            self._write(
                replace(stored, ended_at=authorised_before),
                **_no_lease()
                | {
                    "status": Status.REVOKED,
                    "reason": reason.value,
                    "pair": None,
                    "due_at": None,
                    "version": stored.grant.version + 1,
                },
            )
            return Ended.NOW

    def ask_at_once(
        self, grant_id: str, *, authorised_by: datetime, renewed_by: datetime, now: datetime
    ) -> bool:
        """See ports.Removals."""
        with self._happenings.call("removals.ask_at_once"):
            stored = self._grants.get(grant_id)
            if stored is None or stored.grant.pair is None or stored.is_ended:
                return False
            kept = stored.grant
            if kept.status is not Status.ACTIVE or kept.authorised_at > authorised_by:
                return False
            if kept.last_success_at is None or kept.last_success_at > renewed_by:
                return False
            self._write(stored, due_at=at_once(now))
            return True

    # -- Authorisations -------------------------------------------------------------------------

    def save_authorised(
        self, authorised: AuthorisedPair, *, due_at: datetime | None, only_existing: bool
    ) -> Saved:
        """See ports.Authorisations."""
        saved, _ = self.save_and_show(authorised, due_at=due_at, only_existing=only_existing)
        return saved

    def save_and_show(
        self, authorised: AuthorisedPair, *, due_at: datetime | None, only_existing: bool
    ) -> tuple[Saved, Grant | None]:
        """See ports.Authorisations."""
        saved = self._save(authorised, due_at, only_existing=only_existing)
        stored = self._grants[authorised.grant_id].read() if saved is Saved.STORED else None
        return saved, stored

    def _save(
        self, authorised: AuthorisedPair, due_at: datetime | None, *, only_existing: bool
    ) -> Saved:
        with self._happenings.call("authorisations.save_authorised"):
            stored = self._grants.get(authorised.grant_id)
            if stored is not None and stored.authorisation == authorised.write_id:
                return Saved.STORED
            has_home = stored is not None and stored.grant.pair is not None and not stored.is_ended
            if only_existing and not has_home:
                return Saved.ENDED
            ended_at = None if stored is None else stored.ended_at
            if ended_at is not None and ended_at >= authorised.authorised_at:
                return Saved.ENDED
            if stored is not None and stored.grant.authorised_at >= authorised.authorised_at:
                return Saved.NEWER if has_home else Saved.ENDED
            self._grants[authorised.grant_id] = _Stored(
                _authorised(authorised, None if stored is None else stored.grant, due_at),
                authorised.write_id,
            )
            return Saved.STORED

    def save_account(self, account: Account) -> None:
        """See ports.Authorisations."""
        self.save_account_and_show(account)

    def save_account_and_show(self, account: Account) -> Account:
        """See ports.Authorisations."""
        with self._happenings.call("authorisations.save_account"):
            before = self._accounts.get(account.id)
            if before is None:
                self._accounts[account.id] = account
                self._place_look(account)
            elif before.authorised_at < account.authorised_at and (
                before.unlinked_at is None or before.unlinked_at < account.authorised_at
            ):
                self._accounts[account.id] = replace(
                    account,
                    linked_at=before.linked_at,
                    mode=before.mode,
                    profile=account.profile or before.profile,
                    metadata=account.metadata or before.metadata,
                    end_user_label=account.end_user_label or before.end_user_label,
                    unlinked_at=None,
                    reminded=before.reminded,
                )
                self._place_look(account)
            return self._accounts[account.id]

    # -- Directory ------------------------------------------------------------------------------

    def read_account(self, account_id: str) -> tuple[Grant, Account] | None:
        """See ports.Directory."""
        with self._happenings.call("directory.read_account"):
            found = self._link(account_id)
            return None if found is None else (replace(found[0], pair=None), found[1])

    def list_accounts(
        self,
        *,
        tenant_id: str | None,
        end_user_id: str | None,
        after: str | None,
        limit: int,
        until: date | None = None,
    ) -> tuple[Sequence[tuple[Grant, Account]], str | None]:
        """See ports.Directory."""
        with self._happenings.call("directory.list_accounts"):
            rows = sorted(
                (_place(row), row)
                for row in self._accounts.values()
                if row.tenant_id == tenant_id
                and end_user_id in (None, row.end_user_id)
                and (after is None or _place(row) > after)
                and (until is None or _place(row)[:10] <= until.isoformat())
            )
            page = rows[:limit]
            found = [
                (replace(self._grants[row.grant_id].read(), pair=None), row) for _, row in page
            ]
            return found, page[-1][0] if len(rows) > limit else None

    def count_relinks(
        self,
        *,
        tenant_id: str | None,
        registrations: Sequence[str],
        shard: int,
        first: date,
        last: date,
    ) -> tuple[int, bool]:
        """See ports.Directory."""
        with self._happenings.call("directory.count_relinks"):
            found = [
                row
                for row in self._accounts.values()
                if row.tenant_id == tenant_id
                and (not registrations or row.registration in registrations)
                and zlib.crc32(row.id.encode()) % LIST_SHARDS == shard
                and row.unlinked_at is None
                and not row.is_ended
                and row.relink_by is not None
                and first <= row.relink_by.date() <= last
            ]
            return len(found), True

    def update_account(
        self,
        account: Account,
        grant: Grant,
        *,
        metadata: Mapping[str, str] | None,
        mode: RefreshMode | None,
        due_at: Callable[[RefreshMode], datetime | None],
    ) -> None:
        """See ports.Directory."""
        with self._happenings.call("directory.update_account"):
            row = self._accounts[account.id]
            self._accounts[account.id] = replace(
                row,
                metadata=row.metadata if metadata is None else dict(metadata),
                mode=mode or row.mode,
            )
            stored = self._grants[grant.id]
            self._write(stored, version=stored.grant.version + 1)
            if mode is not None:
                eager = most_eager(self._accounts_of(grant.id), otherwise=mode)
                slot = grant.due_at if is_at_once(grant.due_at) else _slot(due_at(eager))
                self._write(self._grants[grant.id], mode=eager, due_at=slot)

    # -- the outbox's copies ----------------------------------------------------------------------

    def copy_grant(self, account: Account, grant: Grant) -> None:
        """See ports.Timeline."""
        row = self._accounts[account.id]
        if row.authorised_at != account.authorised_at:
            return
        is_moved = not same_day(row.relink_by, grant.relink_by)
        changed = replace(row, is_ended=grant.status is not Status.ACTIVE)
        if is_moved:
            changed = replace(changed, relink_by=grant.relink_by)
            self._place_look(changed)
        self._accounts[account.id] = changed

    # -- Reminders ------------------------------------------------------------------------------

    def to_look_at(self, shard: int, *, today: date, limit: int, after: Look | None) -> LookPage:
        """See ports.Reminders."""
        with self._happenings.call("reminders.to_look_at"):
            found = sorted(
                ((day, id) for id, day in self.looks.items() if _reminder_shard(id) == shard),
            )
            due = [Look(id, day) for day, id in found if day <= today]
            if after is not None:
                due = [x for x in due if (x.day, x.account_id) > (after.day, after.account_id)]
            page = tuple(due[:limit])
            return LookPage(page, page[-1] if len(due) > limit else None)

    def read_links(self, account_ids: Sequence[str]) -> Mapping[str, tuple[Grant, Account]]:
        """See ports.Reminders."""
        with self._happenings.call("reminders.read_links"):
            links = {id: self._link(id) for id in account_ids}
            return {
                id: (replace(link[0], pair=None), link[1])
                for id, link in links.items()
                if link is not None and link[0].id not in self.unreadable
            }

    def remind(
        self, account: Account, reminder: Reminder, look: Look, *, then: date, now: datetime
    ) -> bool:
        """See ports.Reminders."""
        with self._happenings.call("reminders.remind"):
            row = self._accounts[account.id]
            if (
                self.looks.get(account.id) != look.day
                or row.authorised_at != account.authorised_at
                or row.unlinked_at is not None
            ):
                return False
            self._accounts[account.id] = replace(row, reminded=reminder)
            self.looks[account.id] = then
            return True

    def look_again(self, look: Look, account: Account | None, *, then: date | None) -> None:
        """See ports.Reminders."""
        with self._happenings.call("reminders.look_again"):
            row = self._accounts.get(look.account_id)
            is_same = account is None or (
                row is not None and row.authorised_at == account.authorised_at
            )
            if self.looks.get(look.account_id) != look.day or not is_same:
                return
            if then is None:
                del self.looks[look.account_id]
            else:
                self.looks[look.account_id] = then

    def end_at_deadline(self, grant: Grant, *, now: datetime) -> bool:
        """See ports.Reminders."""
        stored = self._grants[grant.id]
        if stored.grant.version != grant.version or not stored.grant.is_past_deadline(now):
            return False
        self.pass_deadline(grant, now=now)
        return True

    # -- inside ---------------------------------------------------------------------------------

    def _write(self, stored: _Stored, **fields: object) -> None:
        changed = replace(stored.grant, **fields)  # type: ignore[arg-type]
        self._grants[changed.id] = replace(stored, grant=changed)

    def _place_look(self, account: Account) -> None:
        self.looks.pop(account.id, None)
        if account.relink_by is not None:
            self.looks[account.id] = first_look(account.relink_by)

    def _accounts_of(self, grant_id: str) -> list[Account]:
        return [row for row in self._accounts.values() if row.grant_id == grant_id]

    def _link(self, account_id: str) -> tuple[Grant, Account] | None:
        row = self._accounts.get(account_id)
        stored = None if row is None else self._grants.get(row.grant_id)
        return None if row is None or stored is None else (stored.read(), row)


def _reminder_shard(account_id: str) -> int:
    return zlib.crc32(account_id.encode()) % REMINDER_SHARDS


def _authorised(authorised: AuthorisedPair, before: Grant | None, due_at: datetime | None) -> Grant:
    pair = authorised.pair
    if before is None:
        before = Grant(
            id=authorised.grant_id,
            registration=authorised.registration,
            open_id=authorised.open_id,
            status=Status.ACTIVE,
            pair=None,
            scopes=(),
            expires_at=None,
            issued_at=None,
            relink_by=None,
            authorised_at=authorised.authorised_at,
            version=0,
        )
    fields = _settled(before, pair, before.due_at or due_at, authorised.authorised_at) | {
        "authorised_at": authorised.authorised_at,
        "last_success_at": pair.issued_at,
        "write_id": authorised.write_id,
        "revocation": None,
        "revocation_reason": None,
        "earlier_revocation": (before.revocation, before.revocation_reason)
        if before.revocation is not None
        else None,
        "version": before.version + 1,
    }
    return replace(before, **fields)  # type: ignore[arg-type]


def _settled(
    before: Grant, pair: SealedPair, due_at: datetime | None, authorised_at: datetime
) -> dict[str, object]:
    """What every stored pair settles."""
    relink_by = before.relink_by if pair.relink_by is None else pair.relink_by
    if relink_by is not None and relink_by <= authorised_at:
        relink_by = None  # a date from before this authorisation says nothing about it
    return _no_lease() | {
        "status": Status.ACTIVE,
        "pair": replace(pair, relink_by=relink_by),
        "scopes": pair.scopes,
        "issued_at": pair.issued_at,
        "expires_at": pair.expires_at,
        "relink_by": relink_by,
        "due_at": _slot(due_at),
    }


def _no_lease() -> dict[str, object]:
    """No lease, no intent, no record of failures."""
    return {
        "reason": None,
        "lease_owner": None,
        "lease_until": None,
        "intent": None,
        "recovering_since": None,
        "failing_since": None,
        "failures": 0,
        "last_error": None,
        "last_log_id": None,
        "backoff_until": None,
    }


def _begun(ending: Ending, now: datetime) -> dict[str, object]:
    """An end that has begun."""
    return {"ending": ending, "look_at": now + ENDING_TAKES}


def _fingerprint(grant: Grant) -> bytes | None:
    return None if grant.pair is None else grant.pair.fingerprint


def _slot(due_at: datetime | None) -> datetime | None:
    return None if due_at is None else slot_of(due_at)


def _shard(grant_id: str) -> int:
    return sum(grant_id.encode()) % DUE_SHARDS


def _place(row: Account) -> str:
    day = "9999-12-31" if row.relink_by is None else row.relink_by.date().isoformat()
    return f"{day}#{row.id}"
