"""Ids that never collide, spans that never lie, secrets that never show."""

from __future__ import annotations

import json
import pickle
import unicodedata
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.fakes import samples
from tests.fakes.clock import NOON
from tests.fakes.happenings import Happenings
from tests.fakes.sealing import TransparentSealing
from tiktok_linking.accounts import (
    LIST_SHARDS,
    Grant,
    Secret,
    Status,
    account_id,
    days_until,
    grant_id,
    owner_key,
    split_account_id,
    tenant_key,
    token_fingerprint,
)
from tiktok_linking.adapters.records import account_key, grant_key, listing_key
from tiktok_linking.errors import InvalidRequest
from tiktok_linking.web.bodies import read_session_request

# Separators, NUL, bidi and combining characters: what joins and normalisations confuse.
NASTY = "|#:/.-+\x00\n\u202e\u200b\u0301éé/acct_ls_ "
TEXTS = st.text(st.one_of(st.sampled_from(NASTY), st.characters(exclude_categories=["Cs"])))
TENANTS = st.none() | TEXTS


def grant() -> Grant:
    pair = TransparentSealing(Happenings()).seal_pair(
        samples.answer(), registration="default", now=NOON
    )
    return Grant(
        id=samples.GRANT_ID,
        registration="default",
        open_id=samples.OPEN_ID,
        status=Status.ACTIVE,
        pair=pair,
        scopes=samples.SCOPES,
        expires_at=NOON + timedelta(hours=24),
        issued_at=NOON,
        relink_by=NOON + timedelta(days=180),
        authorised_at=NOON,
        version=1,
    )


# -- ids ----------------------------------------------------------------------------------------


@given(st.tuples(TEXTS, TEXTS), st.tuples(TEXTS, TEXTS))
@example(("a", "bc"), ("ab", "c"))
@example(("a\x00", "b"), ("a", "\x00b"))
@example(("", "ab"), ("ab", ""))
def test_two_grants_never_share_an_id(one: tuple[str, str], other: tuple[str, str]) -> None:
    assume(one != other)

    assert grant_id(*one) != grant_id(*other)


@given(st.tuples(TEXTS, TEXTS, TENANTS, TEXTS), st.tuples(TEXTS, TEXTS, TENANTS, TEXTS))
@example(("r", "o", "", "u"), ("r", "o", None, "u"))
@example(("r", "o", "-", "u"), ("r", "o", None, "u"))
@example(("r", "o", None, "\u00e9"), ("r", "o", None, "e\u0301"))
@example(("r", "o", "t", "u#1"), ("r", "o", "t#u", "1"))
def test_two_accounts_never_share_an_id(
    one: tuple[str, str, str | None, str], other: tuple[str, str, str | None, str]
) -> None:
    assume(one != other)

    assert account_id(*one) != account_id(*other)


@given(st.tuples(TENANTS, TEXTS), st.tuples(TENANTS, TEXTS))
@example(("", "u"), (None, "u"))
def test_two_owners_never_share_an_index_key(
    one: tuple[str | None, str], other: tuple[str | None, str]
) -> None:
    assume(one != other)

    assert owner_key(*one) != owner_key(*other)


@given(TENANTS, TENANTS)
@example("", None)
@example("-", None)
def test_two_tenants_never_share_an_index_key(one: str | None, other: str | None) -> None:
    assume(one != other)

    assert tenant_key(one) != tenant_key(other)


PAIRS = ("registration", "open_id"), ("open_id", "tenant"), ("tenant", "end_user")
TWINS = {"a": "\u0430", "e": "\u0435", "o": "\u043e", "i": "\u0456", "c": "\u0441"}
"""Latin letters and Cyrillic ones that look the same."""


def look_alikes(value: str) -> list[str]:
    """What a person, a database or a library might take for the same id."""
    forms = [unicodedata.normalize(form, value) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    return [
        *forms,
        value.casefold(),
        value.upper(),
        value.strip(),
        quote(value),
        quote(quote(value)),
        unquote(value),
        value + "\x00",
        value.partition("\x00")[0],
        "\u202e" + value,
        value + "\u200b",
        value + " ",
        "".join(TWINS.get(letter, letter) for letter in value),
        value[:255],
        value + "a" * 256,
    ]


@given(
    st.fixed_dictionaries(
        {"registration": TEXTS, "open_id": TEXTS, "tenant": TEXTS, "end_user": TEXTS}
    ),
    st.sampled_from(["registration", "open_id", "tenant", "end_user"]),
    st.sampled_from(PAIRS),
    st.data(),
)
def test_no_look_alike_and_no_moved_border_leads_to_another_tenants_keys(
    owner: dict[str, str], field: str, pair: tuple[str, str], data: st.DataObject
) -> None:
    """Whatever stands in one of the four, by whoever chose it, only the same four meet."""
    first, second = pair
    joined = owner[first] + owner[second]
    cut = data.draw(st.integers(min_value=0, max_value=len(joined)))
    others = [owner | {field: twin} for twin in look_alikes(owner[field])]
    others.append(owner | {first: joined[:cut], second: joined[cut:]})
    others.append(owner | {first: owner[second], second: owner[first]})

    for other in others:
        same = other == owner
        assert (keys(other)["account"] == keys(owner)["account"]) is same
        is_same_owner = [other[n] == owner[n] for n in ("tenant", "end_user")]
        assert (keys(other)["owner"] == keys(owner)["owner"]) is all(is_same_owner)
        assert (keys(other)["listing"] & keys(owner)["listing"] != set()) is is_same_owner[0]
        is_same_grant = [other[n] == owner[n] for n in ("registration", "open_id")]
        assert (keys(other)["grant"] == keys(owner)["grant"]) is all(is_same_grant)


def keys(owner: dict[str, str]) -> dict[str, Any]:
    """Every key under which this account is stored or found."""
    registration, open_id = owner["registration"], owner["open_id"]
    account = account_id(registration, open_id, owner["tenant"], owner["end_user"])
    return {
        "account": tuple(account_key(account).values()),
        "grant": tuple(grant_key(grant_id(registration, open_id)).values()),
        "owner": owner_key(owner["tenant"], owner["end_user"]),
        "listing": {listing_key(owner["tenant"], shard) for shard in range(LIST_SHARDS)},
    }


@given(
    tenant=st.one_of(TEXTS, st.text(st.sampled_from(NASTY), max_size=300)),
    end_user=st.one_of(TEXTS, st.text(st.sampled_from(NASTY), max_size=300)),
)
def test_what_a_caller_writes_as_an_id_is_kept_to_the_byte_or_refused(
    tenant: str, end_user: str
) -> None:
    body = {"tenant_id": tenant, "end_user_id": end_user}
    fits = all(1 <= len(text.encode()) <= 256 for text in body.values())
    if not fits:
        with pytest.raises(InvalidRequest):
            read_session_request(body)
        return

    read = read_session_request(body)

    assert read.tenant_id is not None
    assert (read.tenant_id.encode(), read.end_user_id.encode()) == (
        tenant.encode(),
        end_user.encode(),
    )


@given(TEXTS, TEXTS, TENANTS, TEXTS)
def test_an_account_id_is_steady_and_carries_its_grants_id(
    registration: str, open_id: str, tenant_id: str | None, end_user_id: str
) -> None:
    made = account_id(registration, open_id, tenant_id, end_user_id)

    parts = split_account_id(made)

    assert made == account_id(registration, open_id, tenant_id, end_user_id)
    assert parts is not None
    assert parts[0] == grant_id(registration, open_id)
    assert made == f"acct_{parts[0]}{parts[1]}"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "acct_",
        "acct_" + "a" * 47,
        "acct_" + "a" * 49,
        "acct_" + "A" * 48,
        "acct_" + "a" * 47 + "1",
        "acct_" + "a" * 47 + "é",
        "a" * 53,
        "ACCT_" + "a" * 48,
        "acct_" + "a" * 47 + "\n",
        "acct_acct_" + "a" * 43,
    ],
)
def test_what_is_no_account_id_is_known_without_a_look_up(value: str) -> None:
    assert split_account_id(value) is None


# -- spans --------------------------------------------------------------------------------------


@given(st.integers(min_value=-(10**9), max_value=10**9))
def test_days_left_are_whole_and_never_negative(seconds: int) -> None:
    days = days_until(NOON + timedelta(seconds=seconds), NOON)

    assert days == max(0, seconds // 86_400)


def test_days_left_are_unknown_where_tiktok_told_no_deadline() -> None:
    assert days_until(None, NOON) is None


def test_an_access_token_is_alive_until_its_last_second_but_not_in_it() -> None:
    ends = NOON + timedelta(hours=24)

    assert grant().is_alive(ends - timedelta(seconds=1))
    assert not grant().is_alive(ends)
    assert not grant().is_alive(NOON, margin=timedelta(hours=24))
    assert not replace(grant(), expires_at=None).is_alive(NOON)


def test_past_its_deadline_an_active_grant_needs_its_owner() -> None:
    day = NOON + timedelta(days=180)

    assert grant().status_at(day - timedelta(seconds=1)) is Status.ACTIVE
    assert grant().status_at(day) is Status.RELINK_REQUIRED
    assert grant().reason_at(day) == "refresh_token_expired"


def test_a_deadline_changes_no_other_status() -> None:
    revoked = replace(grant(), status=Status.REVOKED, reason="revoked_by_user")

    assert revoked.status_at(NOON + timedelta(days=999)) is Status.REVOKED
    assert revoked.reason_at(NOON + timedelta(days=999)) == "revoked_by_user"


def test_a_lease_ends_at_its_time() -> None:
    leased = replace(grant(), lease_owner="w", lease_until=NOON)

    assert leased.is_leased(NOON - timedelta(seconds=1))
    assert not leased.is_leased(NOON)


def test_an_account_counts_as_relinked_only_after_a_later_authorisation() -> None:
    first = samples.account()

    assert first.relinked_at is None
    assert replace(first, authorised_at=NOON + timedelta(days=1)).relinked_at == (
        NOON + timedelta(days=1)
    )


# -- secrets ------------------------------------------------------------------------------------

CANARY = "act.canary!0001"


def test_a_secret_never_prints() -> None:
    secret = Secret(CANARY)
    texts = [str(secret), repr(secret), f"{secret}", f"{secret!r:>40}", repr([secret])]

    assert not [text for text in texts if "canary" in text]
    assert secret.reveal() == CANARY


def test_a_secret_cannot_be_serialised() -> None:
    with pytest.raises(TypeError):
        json.dumps({"token": Secret(CANARY)})
    with pytest.raises(TypeError):
        pickle.dumps(Secret(CANARY))


def test_a_secret_shows_no_attribute_to_those_who_dump_objects() -> None:
    with pytest.raises(TypeError):
        vars(Secret(CANARY))


def test_a_sealed_pair_shows_neither_ciphertext_nor_token() -> None:
    shown = repr(grant())

    assert "bound" not in shown
    assert "rft." not in shown


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_fingerprint_names_its_token_and_no_other(one: str, other: str) -> None:
    assume(not any("\ud800" <= c <= "\udfff" for c in one + other))

    pair = b"pair"
    same = token_fingerprint(Secret(one), pair) == token_fingerprint(Secret(other), pair)

    assert same == (one == other)
    assert len(token_fingerprint(Secret(one), pair)) == 16
    assert token_fingerprint(Secret(one), b"another") != token_fingerprint(Secret(one), pair)
