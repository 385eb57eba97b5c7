"""Accounts to renew, from a seed, written by the product's own code in its own format.

Who they are and their dates come from the seed. Keys, pair ids and ciphertext are random, as they
are in the product.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from benchmarks.renewal.tiktok import ACCESS_LIVES, REFRESH_LIVES, SCOPES, first_pair
from tiktok_linking import bootstrap
from tiktok_linking.accounts import Account, Profile, RefreshMode, account_id, grant_id
from tiktok_linking.ports import AuthorisedPair

REGISTRATION = "default"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody's TikTok account, linked by one end user."""

    open_id: str
    grant_id: str
    account: Account
    issued_at: datetime
    last_used_at: datetime | None


def people(number: int, *, seed: int, due: bool, now: datetime) -> Iterator[Person]:
    """Make up people whose renewal is due, or is not yet (every third of these: never)."""
    luck = random.Random(seed)  # noqa: S311 - made-up people need no secrecy
    for count in range(number):
        open_id = f"-000{luck.getrandbits(180):045x}"[:40]
        # Warm grants come between 65 % and 85 % of their life.
        share = luck.uniform(0.86, 0.98) if due else luck.uniform(0.01, 0.6)
        issued_at = _to_ms(now - ACCESS_LIVES * share)
        used = due or count % 3 != 0
        end_user_id = f"u_{luck.getrandbits(40):010x}"
        account = Account(
            id=account_id(REGISTRATION, open_id, None, end_user_id),
            grant_id=grant_id(REGISTRATION, open_id),
            registration=REGISTRATION,
            open_id=open_id,
            end_user_id=end_user_id,
            tenant_id=None,
            end_user_label=f"person{count}@example.com",
            metadata={"plan": luck.choice(("free", "team", "agency"))},
            profile=Profile(
                display_name=f"Person {count}",
                avatar_url=f"https://p16.example.com/{luck.getrandbits(128):032x}.jpeg",
                union_id=f"{luck.getrandbits(128):032x}",
                fetched_at=issued_at,
            ),
            mode=RefreshMode.AUTO,
            wanted_scopes=SCOPES,
            linked_at=issued_at,
            authorised_at=issued_at,
            relink_by=issued_at + REFRESH_LIVES,
        )
        last_used_at = _to_ms(now - timedelta(hours=luck.uniform(0.1, 5))) if used else None
        yield Person(open_id, account.grant_id, account, issued_at, last_used_at)


def move_in(person: Person, *, pair: Any = None) -> Any:
    """Store a person as the callback and a first vend would; answers the sealed pair.

    A sealed ``pair`` that is given is stored as it is: it cannot be opened under another name, so
    it serves for those whom nobody renews.
    """
    accounts = bootstrap.accounts()
    if pair is None:
        sealing = bootstrap.sealing()
        sealing.prepare("access", "refresh", now=person.issued_at)
        pair = sealing.seal_pair(
            first_pair(person.open_id, person.issued_at),
            registration=REGISTRATION,
            now=person.issued_at,
        )
    accounts.save_authorised(
        AuthorisedPair(
            registration=REGISTRATION,
            open_id=person.open_id,
            authorised_at=person.issued_at,
            write_id=pair.pair_id[:8],
            pair=pair,
            account=None,
        ),
        due_at=None,
        only_existing=False,
    )
    accounts.save_account(person.account)
    grant = accounts.read_batch([person.grant_id], ()).grants.get(person.grant_id)
    if grant is not None and person.last_used_at is not None:
        due_at = bootstrap.policy().next_due(
            grant.id,
            mode=grant.mode,
            last_used_at=person.last_used_at,
            issued_at=person.issued_at,
            expires_at=person.issued_at + ACCESS_LIVES,
            relink_by=grant.relink_by,
            now=person.last_used_at,
        )
        accounts.mark_used(grant, due_at=due_at, now=person.last_used_at)
    return pair


def _to_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
