"""Sealed pairs as text: what goes to the journal and the rescue queue comes back whole."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import samples
from tests.fakes.clock import NOON
from tiktok_linking.accounts import Profile, SealedPair
from tiktok_linking.adapters.parcels import pack_authorised, pack_renewed, unpack
from tiktok_linking.ports import AuthorisedPair, NewAccount, RenewedPair

STEADY = settings(max_examples=60, derandomize=True, deadline=None)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
MOMENTS = st.integers(0, 10**12).map(lambda ms: NOON + timedelta(milliseconds=ms))
BYTES = st.binary(max_size=80)
SCOPES = st.lists(st.sampled_from(samples.SCOPES), unique=True).map(tuple)

PAIRS = st.builds(
    SealedPair,
    pair_id=BYTES,
    access=BYTES,
    refresh=BYTES,
    fingerprint=BYTES,
    scopes=SCOPES,
    issued_at=MOMENTS,
    expires_at=MOMENTS,
    relink_by=st.none() | MOMENTS,
)
PROFILES = st.builds(
    Profile,
    display_name=st.none() | TEXTS,
    avatar_url=st.none() | TEXTS,
    union_id=st.none() | TEXTS,
    fetched_at=MOMENTS,
)


@STEADY
@given(st.builds(RenewedPair, grant_id=TEXTS, spent=BYTES, write_id=BYTES, pair=PAIRS))
def test_a_renewed_pair_comes_back_whole(renewed: RenewedPair) -> None:
    assert unpack(pack_renewed(renewed)) == renewed


@STEADY
@given(PAIRS, TEXTS, TEXTS, MOMENTS, BYTES)
def test_a_refused_authorisation_comes_back_whole(
    pair: SealedPair, registration: str, open_id: str, at: datetime, write_id: bytes
) -> None:
    authorised = AuthorisedPair(registration, open_id, at, write_id, pair, None)

    assert unpack(pack_authorised(authorised)) == authorised


@STEADY
@given(
    PAIRS,
    TEXTS,
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.dictionaries(TEXTS, TEXTS, max_size=3),
    st.none() | PROFILES,
    SCOPES,
    SCOPES,
)
def test_an_authorisation_comes_back_with_its_account(
    pair: SealedPair,
    end_user_id: str,
    tenant_id: str | None,
    label: str | None,
    metadata: dict[str, str],
    profile: Profile | None,
    granted: tuple[str, ...],
    missing: tuple[str, ...],
) -> None:
    account = samples.account(
        end_user_id=end_user_id,
        tenant_id=tenant_id,
        label=label,
        metadata=metadata,
        profile=profile,
        wanted_scopes=granted + missing,
        relink_by=pair.relink_by,
    )
    authorised = AuthorisedPair(
        registration=account.registration,
        open_id=account.open_id,
        authorised_at=NOON,
        write_id=b"write-01",
        pair=pair,
        account=NewAccount(account, "session-key", granted, missing),
    )

    assert unpack(pack_authorised(authorised)) == authorised


RENEWED = RenewedPair(
    grant_id=samples.GRANT_ID,
    spent=b"s" * 16,
    write_id=b"w" * 8,
    pair=SealedPair(
        pair_id=b"i" * 16,
        access=b"a" * 100,
        refresh=b"r" * 100,
        fingerprint=b"f" * 16,
        scopes=samples.SCOPES,
        issued_at=NOON,
        expires_at=NOON + timedelta(hours=24),
        relink_by=None,
    ),
)


AUTHORISED = AuthorisedPair(
    registration="default",
    open_id=samples.OPEN_ID,
    authorised_at=NOON,
    write_id=b"auth-001",
    pair=RENEWED.pair,
    account=None,
)


def test_a_parcel_is_one_line_far_below_what_a_queue_takes() -> None:
    """SQS takes 256 KiB; tokens of 4,096 characters and the largest metadata must fit."""
    pair = replace(RENEWED.pair, access=b"a" * 4200, refresh=b"r" * 4200)
    account = samples.account(metadata={f"k{n}": "v" * 100 for n in range(20)})
    authorised = AuthorisedPair(
        "default", "open", NOON, b"w", pair, NewAccount(account, "s", samples.SCOPES, ())
    )

    text = pack_authorised(authorised)

    assert "\n" not in text
    assert len(text.encode()) < 32 * 1024


def _without(name: str) -> str:
    body = json.loads(pack_renewed(RENEWED))
    del body[name]
    return json.dumps(body)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "7",
        '"text"',
        "not json",
        pack_renewed(RENEWED)[:-20],
        pack_renewed(RENEWED) * 2,
        _without("pair"),
        _without("kind"),
        _without("spent"),
        pack_renewed(RENEWED).replace("2026-11-21", "yesterday"),
        pack_renewed(RENEWED).replace('"pair":{', '"pair":{"id":7,"x":{'),
        json.dumps({"kind": "renewed", "pair": "x"}),
        json.dumps({"kind": "renewed", "pair": None}),
        json.dumps({"kind": "other", "pair": json.loads(pack_renewed(RENEWED))["pair"]}),
    ],
)
def test_anything_else_is_no_parcel(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own and ours are both fine
        unpack(text)
