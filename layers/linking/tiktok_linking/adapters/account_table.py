"""The accounts table: grants and account rows, each write with the one condition it needs."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from tiktok_linking.accounts import (
    ENDING_TAKES,
    LIST_SHARDS,
    Account,
    Ending,
    Grant,
    RefreshMode,
    RelinkReason,
    Revocation,
    RevokedReason,
    Status,
    most_eager,
    owner_key,
    split_account_id,
)
from tiktok_linking.adapters.dynamodb import (
    ConditionFailed,
    Item,
    Table,
    Update,
    decode,
    encode,
    to_ms,
    to_ttl,
)
from tiktok_linking.adapters.records import (
    SHOWN_ATTRIBUTES,
    account_item,
    account_key,
    circuit_key,
    due_shard,
    grant_key,
    listing_key,
    mark,
    pair_item,
    read_account,
    read_circuit,
    read_grant,
)
from tiktok_linking.circuit import Circuit
from tiktok_linking.events import FAILING_AFTER, GRANT_CHANGED, EventType
from tiktok_linking.ports import AuthorisedPair, Batch, Ended, Failure, RenewedPair, Saved
from tiktok_linking.schedule import at_once, is_at_once, slot_of

# What every stored pair settles: the lease, the intent and the record of failures.
_ANSWERED = ("lo", "lu", "it", "rc", "ff", "fc", "fe", "fl", "bo")
# And what a new authorisation or an end settles: why the owner was asked for.
_SETTLED = (*_ANSWERED, "rs")
_NO_LIVE_LEASE = "(attribute_not_exists(lu) OR lu <= :now)"
MOST_PAGES_COUNTED = 5
"""Pages of a megabyte, some thousand accounts each, that are counted of one shard and week."""
_PERSONAL = ("lb", "mt", "pn", "pa", "pu", "pf")


class AccountTable:
    """Implements the ports Grants, Links, Removals, Authorisations and Directory on one table.

    Which of these a function can really use is decided by its role in template.yaml.
    """

    def __init__(
        self,
        table: Table,
        urgent: Table | None = None,
        *,
        tombstone: timedelta = timedelta(days=30),
    ) -> None:
        """``urgent`` is the same table for writes of a fresh pair, which are given up quickly.

        ``tombstone`` is how long an ended account or grant stays, without its tokens.
        """
        self._table = table
        self._urgent = urgent or table
        self._tombstone = tombstone

    # -- Grants ---------------------------------------------------------------------------------

    def read_batch(self, grant_ids: Iterable[str], registrations: Iterable[str]) -> Batch:
        """See ports.Grants."""
        keys = [grant_key(grant_id) for grant_id in dict.fromkeys(grant_ids)]
        keys += [circuit_key(registration) for registration in registrations]
        grants: dict[str, Grant] = {}
        unreadable: list[str] = []
        circuits: dict[str, Circuit] = {}
        for item in self._table.batch_get(keys) if keys else []:
            if item["sk"] == "circuit":
                circuit = read_circuit(item)
                circuits[circuit.registration] = circuit
                continue
            try:
                grants[item["pk"]] = read_grant(item)
            except (KeyError, ValueError, TypeError):  # one damaged record harms no other
                unreadable.append(item["pk"])
        return Batch(grants, tuple(unreadable), circuits)

    def take_lease(self, grant: Grant, *, owner: str, until: datetime, now: datetime) -> bool:
        """See ports.Grants. The same write records the intent and proves the table writable."""
        if grant.pair is None:
            return False
        ended = (
            "attribute_exists(rv)"
            if grant.status is Status.UNLINKED
            else ("attribute_not_exists(rv) AND st = :active")
        )
        # An intent that came since the read is a request whose outcome nobody knows yet.
        intent = "attribute_not_exists(it)" if grant.intent is None else "it = :it"
        values: Item = {":fp": grant.pair.fingerprint, ":now": now, ":it": grant.intent}
        if grant.status is not Status.UNLINKED:
            values[":active"] = Status.ACTIVE.value
        try:
            self._table.update(
                grant_key(grant.id),
                Update(
                    sets={"lo": owner, "lu": until, "it": grant.pair.fingerprint},
                    removes=("rc", "ev"),
                ),
                condition=f"fp = :fp AND {_NO_LIVE_LEASE} AND {intent} AND {ended}",
                values=values,
            )
        except ConditionFailed as failed:
            return failed.old.get("lo") == owner
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
        """See ports.Grants. The one condition: the stored token is still the one we spent."""
        news = mark(GRANT_CHANGED, now) if is_news else None
        update = Update(
            sets=pair_item(renewed.pair)
            | {"wi": renewed.write_id, "lx": now, "st": Status.ACTIVE.value, "ev": news}
            | _due(renewed.grant_id, due_at),
            # A reason that a flag left stays, unless TikTok has just answered for it.
            removes=_SETTLED if settles_doubt else _ANSWERED,
            adds={"v": 1, "ro": 1},
        )
        try:
            before = self._urgent.update(
                grant_key(renewed.grant_id),
                update,
                condition="fp = :spent",
                values={":spent": renewed.spent},
                returns_old=True,
            )
        except ConditionFailed as failed:
            if failed.old.get("wi") == renewed.write_id:
                return Saved.REVIVED if "rs" in failed.old else Saved.STORED
            return Saved.NEWER if "fp" in failed.old else Saved.ENDED
        was_flagged = before.get("st") == Status.RELINK_REQUIRED.value
        return Saved.REVIVED if was_flagged and not settles_doubt else Saved.STORED

    def release(self, grant_id: str, *, owner: str, failure: Failure, now: datetime) -> None:
        """See ports.Grants."""
        first = [*(["ff"] if failure.error else []), *(["rc"] if failure.keeps_intent else [])]
        failed: Item = {}
        if failure.error:
            failed = {"fe": failure.error, "fl": failure.log_id, "bo": failure.backoff_until}
        failed["ev"] = mark(EventType.REFRESH_FAILING, now) if failure.is_news else None
        removes = ["lo", "lu"] + ([] if failure.keeps_intent else ["it", "rc"])
        try:
            self._table.update(
                grant_key(grant_id),
                Update(
                    sets=failed,
                    first=dict.fromkeys(first, now),
                    removes=removes,
                    adds={"fc": 1} if failure.error else {},
                ),
                condition="lo = :owner",
                values={":owner": owner},
            )
        except ConditionFailed:
            return

    def mark_recovering(self, grant: Grant, *, now: datetime) -> bool:
        """See ports.Grants."""
        try:
            self._table.update(
                grant_key(grant.id),
                Update(sets={"rc": now}, removes=("ev",)),
                condition="it = :it AND fp = :it AND attribute_not_exists(rc)"
                f" AND {_NO_LIVE_LEASE}",
                values={":it": grant.intent, ":now": now},
            )
        except ConditionFailed as failed:
            return failed.old.get("rc") == to_ms(now)
        return True

    def require_relink(
        self, grant: Grant, reason: RelinkReason, *, now: datetime, ends_access: bool = False
    ) -> bool:
        """See ports.Grants."""
        if grant.pair is None:
            return False
        try:
            self._table.update(
                grant_key(grant.id),
                Update(
                    sets={
                        "st": Status.RELINK_REQUIRED.value,
                        "rs": reason.value,
                        "ev": mark(EventType.RELINK_REQUIRED, now),
                    }
                    | ({"ae": now} if ends_access else {}),
                    removes=("lo", "lu", "it", "rc", "bo", "ds", "da"),
                    adds={"v": 1},
                    first={"ff": now},
                ),
                condition="fp = :fp AND st <> :flagged",
                values={
                    ":fp": grant.pair.fingerprint,
                    ":flagged": Status.RELINK_REQUIRED.value,
                },
            )
        except ConditionFailed as failed:
            return failed.old.get("fp") == grant.pair.fingerprint  # flagged already, by us perhaps
        return True

    def postpone(self, grant: Grant, due_at: datetime | None) -> None:
        """See ports.Grants."""
        if grant.due_at is None:
            return
        try:
            self._table.update(
                grant_key(grant.id),
                Update(sets=_due(grant.id, due_at), removes=("ev",)),
                condition="da = :da",
                values={":da": grant.due_at},
            )
        except ConditionFailed:
            return

    def doubt(self, grant_id: str, *, authorised_at: datetime | None = None, now: datetime) -> None:
        """See ports.Grants. A reason beside the status ``active`` is the doubt."""
        condition = "st = :active AND attribute_exists(fp)"
        if authorised_at is not None:
            condition += " AND au = :au"
        with contextlib.suppress(ConditionFailed):
            self._table.update(
                grant_key(grant_id),
                Update(
                    sets=_due(grant_id, now),
                    first={"rs": RelinkReason.ROTATION_LOST.value},
                    removes=("ev",),
                ),
                condition=condition,
                values={":active": Status.ACTIVE.value, ":au": authorised_at},
            )

    def quarantine(self, grant_id: str, error: str, *, now: datetime) -> None:
        """See ports.Grants. Reads nothing, since the record may be what is broken."""
        with contextlib.suppress(ConditionFailed):
            self._table.update(
                grant_key(grant_id),
                Update(
                    sets={"fe": error, "ev": mark(EventType.REFRESH_FAILING, now)},
                    first={"ff": now},
                    removes=("ds", "da"),
                    adds={"fc": FAILING_AFTER},  # nobody comes here again by himself: that is news
                ),
                condition="attribute_exists(pk)",
            )

    # -- Links ----------------------------------------------------------------------------------

    def read_link(self, account_id: str) -> tuple[Grant, Account] | None:
        """See ports.Links."""
        parts = split_account_id(account_id)
        if parts is None:
            return None
        items = self._table.query_all(
            "pk = :pk AND sk BETWEEN :account AND :grant",
            {":pk": parts[0], ":account": f"acct#{parts[1]}", ":grant": "grant"},
        )
        return _link(account_id, items)

    def read_partition(self, account_id: str) -> tuple[Grant | None, Sequence[Account]]:
        """See ports.Links."""
        parts = split_account_id(account_id)
        return (None, ()) if parts is None else self.read_whole(parts[0])

    def read_whole(self, grant_id: str) -> tuple[Grant | None, Sequence[Account]]:
        """See ports.Links."""
        return _partition(self._table.query_all("pk = :pk", {":pk": grant_id}))

    def mark_used(self, grant: Grant, *, due_at: datetime | None, now: datetime) -> None:
        """See ports.Links. A renewal that came in between has marked better than we could."""
        if grant.pair is None:
            return
        # A slot that moved was moved by somebody who knew more.
        slot = "attribute_not_exists(da)" if grant.due_at is None else "da = :da"
        try:
            self._table.update(
                grant_key(grant.id),
                Update(sets={"us": now} | _due(grant.id, due_at), removes=("ev",)),
                condition=f"fp = :fp AND {slot}",
                values={":fp": grant.pair.fingerprint, ":da": grant.due_at},
            )
        except ConditionFailed:
            return

    def pass_deadline(self, grant: Grant, *, now: datetime) -> Grant:
        """See ports.Links."""
        if not write_passed_deadline(self._table, grant, now=now):
            items, _ = self._table.query(
                "pk = :pk AND sk = :grant", {":pk": grant.id, ":grant": "grant"}
            )
            return read_grant(items[0]) if items else grant
        return replace(
            grant,
            status=Status.RELINK_REQUIRED,
            reason=RelinkReason.REFRESH_TOKEN_EXPIRED.value,
            version=grant.version + 1,
        )

    def mark_unlinked(
        self,
        account: Account,
        *,
        now: datetime,
        ending: Ending = Ending.REVOKE,
        erases: bool = False,
    ) -> None:
        """See ports.Links. The grant comes first: a crash after the row is found through it."""
        with contextlib.suppress(ConditionFailed):  # an account can outlive its grant's record
            self._table.update(
                grant_key(account.grant_id),
                Update(sets=_begun(ending, now), removes=("ev",), adds={"v": 1}),
                condition="attribute_exists(pk)",
            )
        with contextlib.suppress(ConditionFailed):  # its time as a tombstone was over
            self._table.update(
                account_key(account.id),
                Update(
                    first={"ul": now, "ttl": self._gone_after(now)},
                    sets={"ev": mark(EventType.UNLINKED, now)},
                    removes=("ns", "nd", *(_PERSONAL if erases else ())),
                ),
                condition="attribute_exists(pk)",
            )

    def mark_revoking(self, grant: Grant, *, now: datetime, ending: Ending = Ending.REVOKE) -> bool:
        """See ports.Links."""
        if grant.pair is None:
            return False
        try:
            self._table.update(
                grant_key(grant.id),
                Update(
                    sets={"rv": Revocation.PENDING.value} | _begun(ending, now),
                    first={"ua": now},
                    removes=("ds", "da", "ev"),
                    adds={"v": 1},
                ),
                condition="au = :au AND attribute_exists(fp)",
                values={":au": grant.authorised_at},
            )
        except ConditionFailed:
            return False
        return True

    def look_later(self, grant: Grant, *, at: datetime) -> bool:
        """See ports.Links."""
        try:
            self._table.update(
                grant_key(grant.id),
                Update(sets={"el": at}, removes=("ev",)),
                condition="el = :el",
                values={":el": grant.look_at},
            )
        except ConditionFailed as failed:
            return failed.old.get("el") == to_ms(at)  # ours, repeated
        return True

    def leave_ending(self, grant: Grant, *, now: datetime) -> None:
        """See ports.Links."""
        sets = {"ttl": self._gone_after(now)} if grant.is_over else {}
        with contextlib.suppress(ConditionFailed):
            self._table.update(
                grant_key(grant.id),
                Update(first=sets, removes=("ej", "el", "ev")),
                condition="el = :el AND au = :au",
                values={":el": grant.look_at, ":au": grant.authorised_at},
            )

    def follow_wishes(self, grant: Grant, mode: RefreshMode) -> None:
        """See ports.Links. The slot stays: a worker that comes too early moves it."""
        with contextlib.suppress(ConditionFailed):
            self._table.update(
                grant_key(grant.id),
                Update(sets={"md": mode.value}, removes=("ev",)),
                condition="md = :md",
                values={":md": grant.mode.value},
            )

    def forget_tokens(
        self, grant: Grant, *, revocation: str, now: datetime, reason: str | None = None
    ) -> bool:
        """See ports.Links."""
        # Without a pair, the one that was to be revoked ended otherwise: its result is still due.
        is_there = "attribute_not_exists(fp)" if grant.pair is None else "fp = :fp"
        values: Item = {":pending": Revocation.PENDING.value}
        if grant.pair is not None:
            values[":fp"] = grant.pair.fingerprint
        try:
            self._table.update(
                grant_key(grant.id),
                Update(
                    sets={
                        "st": Status.UNLINKED.value,
                        "rv": revocation if reason is None else f"{revocation} {reason}",
                        "ttl": self._gone_after(now),
                        "ev": mark(GRANT_CHANGED, now),
                    },
                    removes=("a", "f", "fp", "pi", "ds", "da", "ej", "el", *_SETTLED),
                    adds={"v": 1},
                ),
                condition=f"{is_there} AND rv = :pending",
                values=values,
            )
        except ConditionFailed as failed:
            return "fp" not in failed.old
        return True

    def accounts_of(
        self, tenant_id: str | None, end_user_id: str, *, after: str | None
    ) -> tuple[Sequence[Account], str | None]:
        """See ports.Links."""
        items, start = self._table.query(
            "ow = :key AND os > :after",
            {":key": owner_key(tenant_id, end_user_id), ":after": after or " "},
            index="owner",
            limit=100,
        )
        return [read_account(item) for item in items], items[-1]["os"] if items and start else None

    def _gone_after(self, moment: datetime) -> int:
        return to_ttl(moment + self._tombstone)

    # -- Removals -------------------------------------------------------------------------------

    def mark_revoked(
        self, grant_id: str, reason: RevokedReason, *, authorised_before: datetime, now: datetime
    ) -> Ended:
        """See ports.Removals. An unlink that has begun keeps the end of its grant to itself."""
        settled = [name for name in _SETTLED if name != "rs"]
        try:
            self._table.update(
                grant_key(grant_id),
                Update(
                    sets={
                        "st": Status.REVOKED.value,
                        "rs": reason.value,
                        "ua": authorised_before,
                        "ev": mark(EventType.REVOKED, now),
                    },
                    removes=("a", "f", "fp", "pi", "ds", "da", *settled),
                    adds={"v": 1},
                ),
                condition="attribute_exists(fp) AND attribute_not_exists(rv) AND au < :before",
                values={":before": authorised_before},
            )
        except ConditionFailed as failed:
            if not failed.old:
                return Ended.UNKNOWN
            is_ended = "rv" in failed.old or "fp" not in failed.old
            return Ended.ALREADY if is_ended else Ended.NOT_BEFORE
        return Ended.NOW

    def ask_at_once(
        self, grant_id: str, *, authorised_by: datetime, renewed_by: datetime, now: datetime
    ) -> bool:
        """See ports.Removals."""
        try:
            self._table.update(
                grant_key(grant_id),
                Update(sets={"ds": due_shard(grant_id), "da": at_once(now)}, removes=("ev",)),
                condition="attribute_exists(fp) AND attribute_not_exists(rv) AND st = :active"
                " AND au <= :authorised AND lx <= :renewed",
                values={
                    ":active": Status.ACTIVE.value,
                    ":authorised": authorised_by,
                    ":renewed": renewed_by,
                },
            )
        except ConditionFailed:
            return False
        return True

    # -- Authorisations -------------------------------------------------------------------------

    def save_authorised(
        self, authorised: AuthorisedPair, *, due_at: datetime | None, only_existing: bool
    ) -> Saved:
        """See ports.Authorisations. The newest authorisation wins, and each lands once."""
        saved, _ = self._save_authorised(authorised, due_at, only_existing, shows=False)
        return saved

    def save_and_show(
        self, authorised: AuthorisedPair, *, due_at: datetime | None, only_existing: bool
    ) -> tuple[Saved, Grant | None]:
        """See ports.Authorisations. Shows what the write itself returns; nothing is read."""
        return self._save_authorised(authorised, due_at, only_existing, shows=True)

    def _save_authorised(
        self, authorised: AuthorisedPair, due_at: datetime | None, only_existing: bool, shows: bool
    ) -> tuple[Saved, Grant | None]:
        key = grant_key(authorised.grant_id)
        # An unlink that came after this authorisation wins over its late pair.
        condition = (
            "(attribute_not_exists(au) OR au < :au) AND (attribute_not_exists(ua) OR ua < :au)"
        )
        if only_existing:
            condition += " AND attribute_exists(fp) AND attribute_not_exists(rv)"
        sets = pair_item(authorised.pair) | {
            "r": authorised.registration,
            "o": authorised.open_id,
            "st": Status.ACTIVE.value,
            "au": authorised.authorised_at,
            "aw": authorised.write_id,
            "wi": authorised.write_id,
            "lx": authorised.pair.issued_at,
            "ev": mark(GRANT_CHANGED, authorised.authorised_at, row=_row_of(authorised)),
        }
        # A slot or a mode that is there was set by somebody who knew.
        first = {"md": RefreshMode.AUTO.value}
        first |= {} if due_at is None else _due(authorised.grant_id, due_at)
        try:
            item = self._urgent.update(
                key,
                Update(
                    sets=sets,
                    first=first,
                    removes=(*_SETTLED, "rv", "ua", "ttl"),
                    adds={"v": 1, "ro": 0},  # named, so that it is shown
                    copies={"pr": ("rv", Revocation.PENDING.value)},
                ),
                condition=condition,
                values={":au": authorised.authorised_at},
                returns_updated=shows,
            )
        except ConditionFailed as failed:
            if failed.old.get("aw") == authorised.write_id:
                return Saved.STORED, read_grant(failed.old)
            ended = "rv" in failed.old or "fp" not in failed.old
            return (Saved.ENDED if ended else Saved.NEWER), None
        if not shows:
            return Saved.STORED, None
        return Saved.STORED, read_grant(_plain(first | sets) | item | key)

    def save_account(self, account: Account) -> None:
        """See ports.Authorisations. A repeat of the same write changes nothing."""
        self._save_account(account)

    def save_account_and_show(self, account: Account) -> Account:
        """See ports.Authorisations. Shows what the write itself returns; nothing is read."""
        return read_account(self._save_account(account, shows=True))

    def _save_account(self, account: Account, *, shows: bool = False) -> Item:
        key = account_key(account.id)
        sets = account_item(account)
        first: Item = {"li": account.linked_at} | ({} if "mt" in sets else {"mt": {}})
        try:
            item = self._urgent.update(
                key,
                Update(
                    sets=sets | {"ev": mark(EventType.LINKED, account.authorised_at)},
                    first=first,
                    removes=("ul", "ut", "gs", "ttl"),
                ),
                condition="(attribute_not_exists(au) OR au < :au)"
                " AND (attribute_not_exists(ul) OR ul < :au)",
                values={":au": account.authorised_at},
                returns_updated=shows,
            )
        except ConditionFailed as failed:
            return failed.old
        return _plain(first | sets) | item | key if shows else {}

    # -- Directory ------------------------------------------------------------------------------

    def read_account(self, account_id: str) -> tuple[Grant, Account] | None:
        """See ports.Directory."""
        if split_account_id(account_id) is None:
            return None
        key = account_key(account_id)
        items = self._table.batch_get([key, grant_key(key["pk"])], attributes=SHOWN_ATTRIBUTES)
        return _link(account_id, items)

    def list_accounts(
        self,
        *,
        tenant_id: str | None,
        end_user_id: str | None,
        after: str | None,
        limit: int,
        until: date | None = None,
    ) -> tuple[Sequence[tuple[Grant, Account]], str | None]:
        """See ports.Directory. Shards of a tenant are merged in order, so one cursor serves all."""
        if end_user_id is not None:
            parts = [("owner", "ow", owner_key(tenant_id, end_user_id))]
        else:
            parts = [("listing", "ls", listing_key(tenant_id, n)) for n in range(LIST_SHARDS)]
        pages = []
        more = False
        # BETWEEN has its ends in it: "!" follows the place that was last, "~" the ids of a day.
        places = {
            ":from": f"{after}!" if after else " ",
            ":to": f"{until.isoformat()}#~" if until else "~",
        }
        for index, name, value in parts:
            items, start = self._table.query(
                f"{name} = :key AND os BETWEEN :from AND :to",
                {":key": value} | places,
                index=index,
                limit=limit,
            )
            pages.append(items)
            more = more or start is not None
        merged = list(heapq.merge(*pages, key=lambda item: str(item["os"])))
        more = more or len(merged) > limit
        rows = merged[:limit]
        grants = self._grants_of(rows)
        found = [(grants[row["pk"]], read_account(row)) for row in rows if row["pk"] in grants]
        return found, rows[-1]["os"] if rows and more else None

    def count_relinks(
        self,
        *,
        tenant_id: str | None,
        registrations: Sequence[str],
        shard: int,
        first: date,
        last: date,
    ) -> tuple[int, bool]:
        """See ports.Directory. Reads that part of the index alone, and fetches none of it."""
        values: Item = {
            ":key": listing_key(tenant_id, shard),
            ":from": f"{first.isoformat()}#",
            ":to": f"{last.isoformat()}#~",
        } | {f":r{number}": name for number, name in enumerate(registrations)}
        where = "attribute_not_exists(ul) AND attribute_not_exists(gs)"
        if registrations:
            where += f" AND ({' OR '.join(f'r = :r{n}' for n in range(len(registrations)))})"
        total, start = 0, None
        for _ in range(MOST_PAGES_COUNTED):
            found, start = self._table.count(
                "ls = :key AND os BETWEEN :from AND :to",
                values,
                index="listing",
                where=where,
                start=start,
            )
            total += found
            if start is None:
                return total, True
        return total, False

    def update_account(
        self,
        account: Account,
        grant: Grant,
        *,
        metadata: Mapping[str, str] | None,
        mode: RefreshMode | None,
        due_at: Callable[[RefreshMode], datetime | None],
    ) -> None:
        """See ports.Directory. A shared grant follows the most eager of its accounts."""
        changed: dict[str, Any] = {}
        if metadata is not None:
            changed["mt"] = dict(metadata)
        if mode is not None:
            changed["md"] = mode.value
        self._table.update(
            account_key(account.id),
            Update(sets=changed, removes=("ev",)),
            condition="attribute_exists(pk)",
        )
        sets: dict[str, Any] = {}
        if mode is not None:
            rows = self._table.query_all(
                "pk = :pk AND begins_with(sk, :acct)",
                {":pk": grant.id, ":acct": "acct#"},
                attributes=SHOWN_ATTRIBUTES,
            )
            eager = most_eager((read_account(row) for row in rows), otherwise=mode)
            sets = {"md": eager.value}
            if not is_at_once(grant.due_at):
                sets |= _due(grant.id, due_at(eager))
        self._table.update(
            grant_key(grant.id),
            Update(sets=sets, removes=("ev",), adds={"v": 1}),
            condition="attribute_exists(pk)",
        )

    def _grants_of(self, rows: Sequence[Item]) -> Mapping[str, Grant]:
        keys = [grant_key(grant_id) for grant_id in dict.fromkeys(row["pk"] for row in rows)]
        if not keys:
            return {}
        items = self._table.batch_get(keys, attributes=SHOWN_ATTRIBUTES)
        return {item["pk"]: read_grant(item) for item in items}


def write_passed_deadline(table: Table, grant: Grant, *, now: datetime) -> bool:
    """Flag a grant whose date has passed; False where anything about it has changed since.

    Leases and intents stay: a function that only vends may not write them, and past the deadline
    nobody acts on them.
    """
    try:
        table.update(
            grant_key(grant.id),
            Update(
                sets={
                    "st": Status.RELINK_REQUIRED.value,
                    "rs": RelinkReason.REFRESH_TOKEN_EXPIRED.value,
                    "ev": mark(EventType.RELINK_REQUIRED, now),
                },
                removes=("ds", "da"),
                adds={"v": 1},
            ),
            condition="v = :v AND rb <= :now",
            values={":v": grant.version, ":now": now},
        )
    except ConditionFailed:
        return False
    return True


def _plain(written: Item) -> Item:
    """What a write set, as it would be read; some emulators return only what it changed."""
    return decode(encode(written))


def _row_of(authorised: AuthorisedPair) -> str:
    """The account that this authorisation is for: its own row tells of it, the others' do not."""
    parts = split_account_id(authorised.account.account.id) if authorised.account else None
    return "" if parts is None else parts[1]


def _begun(ending: Ending, now: datetime) -> Item:
    """The attributes of an end that has begun."""
    return {"ej": ending.value, "el": now + ENDING_TAKES}


def _due(grant_id: str, due_at: datetime | None) -> dict[str, Any]:
    """The due index's attributes; None takes the grant out of the index."""
    if due_at is None:
        return {"ds": None, "da": None}
    return {"ds": due_shard(grant_id), "da": slot_of(due_at)}


def _partition(items: Sequence[Item]) -> tuple[Grant | None, Sequence[Account]]:
    grant = next((read_grant(item) for item in items if item["sk"] == "grant"), None)
    return grant, [read_account(item) for item in items if item["sk"].startswith("acct#")]


def _link(account_id: str, items: Sequence[Item]) -> tuple[Grant, Account] | None:
    grant, accounts = _partition(items)
    account = next((a for a in accounts if a.id == account_id), None)
    return None if grant is None or account is None else (grant, account)
