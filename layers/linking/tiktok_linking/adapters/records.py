"""How grants and accounts lie in the accounts table: short names, since names are paid for too.

One partition per grant: the grant at ``sk = "grant"``, its accounts at ``sk = "acct#…"``, so one
query finds a link. A grant of six scopes with tokens of 100 characters stays below 1,024 bytes,
which is one write unit.

========  ====================================  ========  ====================================
grant     meaning                               account   meaning
========  ====================================  ========  ====================================
r, o      registration, open_id                 r, o      registration, open_id
st, rs    status, reason                        eu, tn    end user id, tenant id
a, f      sealed access, refresh token          lb, mt    label, metadata
pi, fp    pair id, fingerprint of f             pn,pa,pu  display name, avatar, union id
wi, aw    write id, authorisation's write id    pf        profile fetched at
sc        scopes granted                        ws        scopes wanted
ai, ae    access token issued, expires          li, au    first linked, last authorised
rb, au    relink_by, authorised at              ul        unlinked at
v, ro     version, rotations                    md        wished refresh mode
md        refresh mode                          ow, os    index by owner
lx, us    last success, last used               ls, os    index of all, by tenant and shard
ds, da    due shard, due slot                   ut        unlink told of; below 0: it waits
lo,lu,it  lease owner, until, intent            ev        mark this write carries
rc        recovering since                      ns, nd    reminders: shard, day of next look
ff,fc     failing since, failure count          nt        last reminder: threshold, relink_by
fe,fl,bo  last error, log id, backoff until     gs        the grant's status, unless active
rv, ua    revocation at TikTok, ended at
pr        rv as the last authorisation met it
ej, el    ending: what is left, look again at
ev        mark this write carries
ttl       gone after, in seconds                ttl       gone after, in seconds
========  ====================================  ========  ====================================

Beside them, under the same names: ``circuit#<registration>`` (st trouble, ff since, bo pauses
until, lu probed until, lo probe's owner, fc strikes), ``plan`` (mt: shard → where it stopped) and
each account's timeline, in a partition of its own: ``pk`` the account's id, ``sk`` time and event
(st type, mt what was told).
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tiktok_linking.accounts import (
    LIST_SHARDS,
    Account,
    Ending,
    Grant,
    Profile,
    RefreshMode,
    Reminder,
    Revocation,
    SealedPair,
    Status,
    owner_key,
    split_account_id,
    tenant_key,
)
from tiktok_linking.adapters.dynamodb import Item, at_ms, from_ms, to_ms
from tiktok_linking.circuit import Circuit, Trouble
from tiktok_linking.schedule import DUE_SHARDS, REMINDER_SHARDS, first_look

CIPHERTEXT = ("a", "f")
_GRANT = (
    "r o st rs pi fp wi aw sc ai ae rb au v ro md lx us ds da"
    " lo lu it rc ff fc fe fl bo rv ua pr ej el ev ttl"
)
_ACCOUNT = "r o eu tn lb mt pn pa pu pf ws li au ul md rb ow os ls ut ns nd nt gs ev ttl"
GRANT_ATTRIBUTES = ("pk", "sk", *_GRANT.split(" "))
ACCOUNT_ATTRIBUTES = ("pk", "sk", *_ACCOUNT.split(" "))
# template.yaml repeats this list in its policies, beside CIPHERTEXT where a function saves pairs;
# tests/template holds them together.
SHOWN_ATTRIBUTES = tuple(
    name for name in dict.fromkeys((*GRANT_ATTRIBUTES, *ACCOUNT_ATTRIBUTES)) if name != "ttl"
)
"""Everything but ciphertext: what a function without the sealing key may read."""

NO_DEADLINE = "9999-12-31"


def grant_key(grant_id: str) -> dict[str, str]:
    """Where a grant lies."""
    return {"pk": grant_id, "sk": "grant"}


def account_key(account_id: str) -> dict[str, str]:
    """Where an account row lies."""
    parts = split_account_id(account_id)
    if parts is None:
        raise ValueError("not an account id")
    return {"pk": parts[0], "sk": f"acct#{parts[1]}"}


def circuit_key(registration: str) -> dict[str, str]:
    """Where the circuit of an app registration lies."""
    return {"pk": f"circuit#{registration}", "sk": "circuit"}


@dataclass(frozen=True, slots=True)
class Mark:
    """What a write carries in ``ev`` when it changes a state: what happened, when, by which row."""

    name: str
    at: datetime
    row: str = ""


def mark(name: str, at: datetime, *, row: str = "") -> str:
    """Write a mark. ``row`` names the account whose owner authorised, by the end of its id."""
    return f"{name} {to_ms(at)} {row}".rstrip()


def read_mark(value: Any) -> Mark:
    """Read what ``mark`` wrote."""
    name, moment, *row = str(value).split(" ")
    return Mark(name, at_ms(int(moment)), "".join(row))


PLAN_KEY = {"pk": "plan", "sk": "plan"}


def read_circuit(item: Item) -> Circuit:
    """Read a circuit; a closed one keeps its record."""
    return Circuit(
        registration=item["pk"].removeprefix("circuit#"),
        trouble=Trouble(item["st"]) if "st" in item else None,
        since=from_ms(item.get("ff")),
        pauses_until=from_ms(item.get("bo")),
        probed_until=from_ms(item.get("lu")),
        strikes=item.get("fc", 0),
    )


def due_shard(grant_id: str) -> str:
    """Which shard of the due index a grant belongs to."""
    return str(zlib.crc32(grant_id.encode()) % DUE_SHARDS)


def listing_key(tenant_id: str | None, shard: int) -> str:
    """The partition of the listing index."""
    return f"{tenant_key(tenant_id)}#{shard}"


def pair_item(pair: SealedPair) -> Item:
    """The attributes of a stored pair. ``rb`` is absent where TikTok told no deadline."""
    item: Item = {
        "a": pair.access,
        "f": pair.refresh,
        "pi": pair.pair_id,
        "fp": pair.fingerprint,
        "sc": ",".join(pair.scopes),
        "ai": pair.issued_at,
        "ae": pair.expires_at,
    }
    return item | ({"rb": pair.relink_by} if pair.relink_by is not None else {})


def read_grant(item: Item) -> Grant:
    """Read a grant; without ciphertext in the item its pair is None."""
    scopes = tuple(s for s in item.get("sc", "").split(",") if s)
    authorised_at = at_ms(item["au"])
    relink_by = from_ms(item.get("rb"))
    if relink_by is not None and relink_by <= authorised_at:
        relink_by = None  # a date from before the latest authorisation says nothing about it
    pair = None
    if "a" in item and "f" in item:
        pair = SealedPair(
            pair_id=item["pi"],
            access=item["a"],
            refresh=item["f"],
            fingerprint=item["fp"],
            scopes=scopes,
            issued_at=at_ms(item["ai"]),
            expires_at=at_ms(item["ae"]),
            relink_by=relink_by,
        )
    # A grant whose last account is gone counts as unlinked from the mark on, whatever lands later.
    revocation, why = _result(item.get("rv")) or (None, None)
    return Grant(
        id=item["pk"],
        registration=item["r"],
        open_id=item["o"],
        status=Status.UNLINKED if "rv" in item else Status(item["st"]),
        pair=pair,
        scopes=scopes,
        expires_at=from_ms(item.get("ae")),
        issued_at=from_ms(item.get("ai")),
        relink_by=relink_by,
        authorised_at=authorised_at,
        version=item["v"],
        rotations=item.get("ro", 0),
        reason=item.get("rs"),
        mode=RefreshMode(item.get("md", "auto")),
        last_success_at=from_ms(item.get("lx")),
        last_used_at=from_ms(item.get("us")),
        due_at=from_ms(item.get("da")),
        lease_owner=item.get("lo"),
        lease_until=from_ms(item.get("lu")),
        intent=item.get("it"),
        recovering_since=from_ms(item.get("rc")),
        failing_since=from_ms(item.get("ff")),
        failures=item.get("fc", 0),
        last_error=item.get("fe"),
        last_log_id=item.get("fl"),
        backoff_until=from_ms(item.get("bo")),
        write_id=item.get("wi"),
        revocation=revocation,
        revocation_reason=why,
        earlier_revocation=_result(item.get("pr")),
        ended_at=from_ms(item.get("ua")),
        ending=Ending(item["ej"]) if "ej" in item else None,
        look_at=from_ms(item.get("el")),
    )


def _result(words: str | None) -> tuple[str, str | None] | None:
    """What an end came to, and why; None while it is open."""
    if words is None or words == Revocation.PENDING:
        return None
    result, _, reason = words.partition(" ")
    return result, reason or None


def place_in_lists(account_id: str, relink_by: datetime | None) -> str:
    """The sort key of the lists: the day of the deadline, then the account."""
    return f"{relink_by.date().isoformat() if relink_by else NO_DEADLINE}#{account_id}"


def reminder_shard(account_id: str) -> str:
    """Which shard of the reminder index an account belongs to."""
    return str(zlib.crc32(account_id.encode()) % REMINDER_SHARDS)


def place_in_reminders(account_id: str, relink_by: datetime | None) -> Item:
    """The reminder index's attributes; without a deadline there is nothing to remind of."""
    if relink_by is None:
        return {"ns": None, "nd": None}
    return {"ns": reminder_shard(account_id), "nd": first_look(relink_by).isoformat()}


def reminder_note(reminder: Reminder) -> str:
    """Write down what was told."""
    return f"{reminder.threshold_days} {to_ms(reminder.relink_by)}"


def _read_reminder(note: str | None) -> Reminder | None:
    if note is None:
        return None
    threshold, relink_by = note.split(" ")
    return Reminder(int(threshold), at_ms(int(relink_by)))


def account_item(account: Account) -> Item:
    """The attributes of an account row as an authorisation writes them."""
    profile = account.profile
    shard = zlib.crc32(account.id.encode()) % LIST_SHARDS
    item: dict[str, Any] = {
        "r": account.registration,
        "o": account.open_id,
        "eu": account.end_user_id,
        "tn": account.tenant_id,
        "ws": ",".join(account.wanted_scopes),
        "au": account.authorised_at,
        "rb": account.relink_by,
        "ow": owner_key(account.tenant_id, account.end_user_id),
        "os": place_in_lists(account.id, account.relink_by),
        "ls": listing_key(account.tenant_id, shard),
    } | place_in_reminders(account.id, account.relink_by)
    # What this session did not give stays as an earlier one left it.
    if account.end_user_label is not None:
        item["lb"] = account.end_user_label
    if account.metadata:
        item["mt"] = dict(account.metadata)
    if profile is not None:
        item |= {
            "pn": profile.display_name,
            "pa": profile.avatar_url,
            "pu": profile.union_id,
            "pf": profile.fetched_at,
        }
    return item


def account_id_of(item: Item) -> str:
    """The account that a row is of, by its key."""
    return f"acct_{item['pk']}{item['sk'].removeprefix('acct#')}"


def read_links(items: Iterable[Item]) -> tuple[dict[str, Grant], list[Account]]:
    """Read grants, by id, and accounts. A damaged record is left out and harms no other."""
    grants: dict[str, Grant] = {}
    accounts: list[Account] = []
    for item in items:
        with contextlib.suppress(KeyError, ValueError, TypeError):
            if item["sk"] == "grant":
                grants[item["pk"]] = read_grant(item)
            else:
                accounts.append(read_account(item))
    return grants, accounts


def read_account(item: Item) -> Account:
    """Read an account row."""
    fetched_at = from_ms(item.get("pf"))
    return Account(
        id=account_id_of(item),
        grant_id=item["pk"],
        registration=item["r"],
        open_id=item["o"],
        end_user_id=item["eu"],
        tenant_id=item.get("tn"),
        end_user_label=item.get("lb"),
        metadata=item.get("mt", {}),
        profile=None
        if fetched_at is None
        else Profile(item.get("pn"), item.get("pa"), item.get("pu"), fetched_at),
        mode=RefreshMode(item.get("md", "auto")),
        wanted_scopes=tuple(s for s in item.get("ws", "").split(",") if s),
        linked_at=at_ms(item["li"]),
        authorised_at=at_ms(item["au"]),
        relink_by=from_ms(item.get("rb")),
        unlinked_at=from_ms(item.get("ul")),
        is_told="ul" in item and item.get("ut") == item["ul"],
        is_waiting="ul" in item and item.get("ut") == -item["ul"],
        is_ended="gs" in item,
        reminded=_read_reminder(item.get("nt")),
    )
