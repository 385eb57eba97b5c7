"""TikTok's signature and its events, from bytes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktok_linking.accounts import RevokedReason, Secret
from tiktok_linking.webhook import (
    MOST_HEADER_CHARACTERS,
    Event,
    read_event,
    read_removal,
    read_signature,
)

# Made outside of this code; the odd space in the content is TikTok's.
SECRET = Secret("test_client_secret")
TIMESTAMP = 1793836805
DIGEST = "642bce83d7a050e24dc20dd2859431a8984aa9f33ae29c02425ea1d208a74cbf"
BODY = (
    b'{"client_key":"awtest0000000001","event":"authorization.removed","create_time":1793836800,'
    b'"user_openid":"afd97af1-b87b-48b9-ac98-410aghda5344","content":"{\\"reason\\": 1 }"}'
)
HEADER = f"t={TIMESTAMP},s={DIGEST}"
SIGNED_AT = datetime.fromtimestamp(TIMESTAMP, UTC)


def event(**changes: object) -> Event:
    found = read_event(json.dumps(json.loads(BODY) | changes).encode())
    assert found is not None
    return found


@pytest.mark.parametrize(
    "header",
    [
        HEADER,
        f"s={DIGEST},t={TIMESTAMP}",
        f" t={TIMESTAMP} , s={DIGEST} ",
        f"t={TIMESTAMP},v=2,s={DIGEST}",
        f"t={TIMESTAMP},s={DIGEST.upper()}",
    ],
)
def test_a_signature_of_tiktoks_is_accepted(header: str) -> None:
    signature = read_signature(header)

    assert signature is not None
    assert signature.signed_at == SIGNED_AT
    assert signature.is_by(SECRET, BODY)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(json.loads(BODY)).encode(),
        json.dumps(json.loads(BODY), separators=(",", ":")).encode().replace(b"1 }", b"1}"),
        BODY + b"\n",
        BODY.replace(b"1 }", b"5 }"),
        b"",
    ],
)
def test_a_signature_is_on_the_raw_bytes(body: bytes) -> None:
    signature = read_signature(HEADER)

    assert signature is not None
    assert not signature.is_by(SECRET, body)


def test_a_signature_is_by_one_secret_and_of_one_time() -> None:
    signature = read_signature(HEADER)
    later = read_signature(f"t={TIMESTAMP + 1},s={DIGEST}")

    assert signature is not None
    assert later is not None
    assert not signature.is_by(Secret("another secret"), BODY)
    assert not later.is_by(SECRET, BODY)


@pytest.mark.parametrize(
    "header",
    [
        "",
        DIGEST,
        f"s={DIGEST}",
        f"t={TIMESTAMP}",
        f"t=,s={DIGEST}",
        f"t=nan,s={DIGEST}",
        f"t=-1,s={DIGEST}",
        f"t=1.5,s={DIGEST}",
        f"t=+1,s={DIGEST}",
        f"t=\u0661,s={DIGEST}",
        f"t={'9' * 40},s={DIGEST}",
        f"t={TIMESTAMP},s=",
        f"t={TIMESTAMP},s={DIGEST[:-1]}",
        f"t={TIMESTAMP},s={DIGEST}0",
        f"t={TIMESTAMP},s={'x' * 64}",
        f"t={TIMESTAMP};s={DIGEST}",
        f"{HEADER},{HEADER}",
        f"t={TIMESTAMP},t={TIMESTAMP},s={DIGEST}",
        f"t={TIMESTAMP},s={DIGEST},s={'0' * 64}",
        f"t={TIMESTAMP},s={DIGEST},alone",
        f"{HEADER},x={'y' * MOST_HEADER_CHARACTERS}",
    ],
)
def test_an_unclear_header_is_no_signature(header: str) -> None:
    assert read_signature(header) is None


@given(st.text(max_size=200))
def test_no_header_is_too_odd_to_be_refused(header: str) -> None:
    signature = read_signature(header)

    assert signature is None or not signature.is_by(SECRET, BODY)


@pytest.mark.parametrize("seconds", [-300, -1, 0, 300])
def test_a_span_reaches_both_ways(seconds: int) -> None:
    signature = read_signature(HEADER)
    now = SIGNED_AT + timedelta(seconds=seconds)

    assert signature is not None
    assert signature.is_within(timedelta(seconds=300), now)
    assert not signature.is_within(timedelta(seconds=300), now + timedelta(seconds=601))
    assert not signature.is_within(timedelta(seconds=300), now - timedelta(seconds=601))


def test_a_removal_says_who_when_and_why() -> None:
    found = read_event(BODY)

    assert found is not None
    assert (found.client_key, found.name) == ("awtest0000000001", "authorization.removed")
    removal = read_removal(found)
    assert removal is not None
    assert removal.open_id == "afd97af1-b87b-48b9-ac98-410aghda5344"
    assert removal.removed_at == datetime.fromtimestamp(1793836800, UTC)
    assert removal.reason is RevokedReason.REVOKED_BY_USER


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"reason": 0 }', RevokedReason.REMOVED_AT_TIKTOK),
        ('{"reason": 1 }', RevokedReason.REVOKED_BY_USER),
        ('{"reason": 2 }', RevokedReason.TIKTOK_ACCOUNT_DELETED),
        ('{"reason": 3 }', RevokedReason.TIKTOK_AGE_CHANGED),
        ('{"reason": 4 }', RevokedReason.TIKTOK_ACCOUNT_BANNED),
        ('{"reason": 5 }', RevokedReason.REVOKED_BY_DEVELOPER),
        ({"reason": 4}, RevokedReason.TIKTOK_ACCOUNT_BANNED),
        *[
            (content, RevokedReason.REMOVED_AT_TIKTOK)
            for content in ('{"reason": 6}', '{"reason": -1}', '{"reason": true}', "{", "[]", None)
        ],
    ],
)
def test_a_reason_that_cannot_be_read_keeps_no_removal_from_being_one(
    content: object, reason: RevokedReason
) -> None:
    removal = read_removal(event(content=content))

    assert removal is not None
    assert removal.reason is reason


@pytest.mark.parametrize(
    "changes",
    [
        {"user_openid": None},
        {"user_openid": ""},
        {"user_openid": 7},
        {"user_openid": "\ud800"},
        {"user_openid": "x" * 5000},
        {"create_time": None},
        {"create_time": "1793836800"},
        {"create_time": True},
        {"create_time": 1.5},
        {"create_time": 10**15},
        {"create_time": -(10**15)},
    ],
)
def test_a_removal_without_a_person_or_a_date_is_none(changes: dict[str, object]) -> None:
    assert read_removal(event(**changes)) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"event": "x"}',
        b'{"client_key": "x"}',
        b'{"client_key": 7, "event": "x"}',
        b'{"client_key": "x", "event": ["x"]}',
    ],
)
def test_what_is_no_event_is_none(body: bytes) -> None:
    assert read_event(body) is None


def test_the_name_of_an_event_is_kept_only_in_the_form_of_a_word() -> None:
    """It goes into the log."""
    assert event(event="video.publish.completed").name == "video.publish.completed"
    assert event(event="act.secret!token").name == "unreadable"
    assert event(event="x" * 65).name == "unreadable"
