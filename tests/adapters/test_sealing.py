"""Sealing: a token opens where it was sealed and nowhere else, and KMS is asked once an hour."""

from __future__ import annotations

import hmac
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import samples
from tests.fakes.aws import client
from tests.fakes.clock import NOON, Clock
from tests.fakes.happenings import Happenings
from tests.fakes.sealing import TransparentSealing
from tiktok_linking.accounts import SealedPair, Secret, token_fingerprint
from tiktok_linking.adapters.dynamodb import Table
from tiktok_linking.adapters.sealing import DataKeys, TokenSealing
from tiktok_linking.errors import SealBroken, StoreUnavailable
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.ports import Sealing
from tiktok_linking.sessions import State

PURPOSES = ("access", "refresh")
EPOCH_START = datetime(2026, 1, 1, tzinfo=UTC)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
TOKENS = TEXTS.filter(bool)
OPEN_ID = samples.OPEN_ID


def new_key() -> str:
    return str(client("kms").create_key()["KeyMetadata"]["Arn"])


def only_key() -> str:
    """The one key there is, made where there is none."""
    keys = client("kms").list_keys()["Keys"]
    return str(keys[0]["KeyArn"]) if keys else new_key()


def real(table: Table, clock: Clock, *, key: str | None = None, kms: Any = None) -> TokenSealing:
    """What one process has; another call is another process."""
    keys = DataKeys(kms or client("kms"), table, key_arn=key or new_key(), now=clock)
    return TokenSealing(keys, epoch_days=90)


@pytest.fixture(params=["fake", "moto"])
def sealing(request: pytest.FixtureRequest, clock: Clock) -> Sealing:
    """The port Sealing, prepared."""
    made: Sealing
    if request.param == "fake":
        made = TransparentSealing(Happenings())
    else:
        made = real(request.getfixturevalue("accounts_table"), clock)
    made.prepare(*PURPOSES, now=NOON)
    return made


def seal(sealing: Sealing, answer: TokenAnswer | None = None) -> SealedPair:
    return sealing.seal_pair(answer or samples.answer(), registration="default", now=NOON)


def opened(sealing: Sealing, pair: SealedPair, **where: str) -> tuple[str, str]:
    place = {"registration": "default", "open_id": OPEN_ID} | where
    access = sealing.open_access(pair, **place)
    refresh = sealing.open_refresh(pair, **place)
    return access.reveal(), refresh.reveal()


# -- the port -----------------------------------------------------------------------------------


def test_a_sealed_pair_opens(sealing: Sealing) -> None:
    answer = samples.answer()
    assert answer.refresh_token is not None

    pair = seal(sealing, answer)

    assert opened(sealing, pair) == (answer.access_token.reveal(), answer.refresh_token.reveal())
    assert pair.fingerprint == token_fingerprint(answer.refresh_token, pair.pair_id)
    assert (pair.issued_at, pair.expires_at) == (answer.issued_at, answer.expires_at)
    assert (pair.scopes, pair.relink_by) == (answer.scopes, answer.relink_by)


class OneKey:
    """A KMS that has one data key, which the test has too."""

    plain = bytes(range(32))

    def generate_data_key(self, **_: Any) -> dict[str, bytes]:
        return {"Plaintext": self.plain, "CiphertextBlob": b"wrapped"}


def test_what_an_earlier_version_sealed_opens(accounts_table: Table, clock: Clock) -> None:
    """The stored format, made here a second time: change it under a new version byte alone."""
    sealing = real(accounts_table, clock, key="a-key", kms=OneKey())
    sealing.prepare(*PURPOSES, now=NOON)
    pair_id, epoch = b"sixteen bytes id", ((NOON - EPOCH_START).days // 90).to_bytes(2, "big")

    def sealed(field: str, token: str) -> bytes:
        key = hmac.digest(OneKey.plain, field.encode() + b"|" + pair_id, "sha256")
        parts = (b"default", OPEN_ID.encode(), field.encode(), pair_id)
        bound_to = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
        nonce = b"twelve bytes"
        return b"\x01" + epoch + nonce + AESGCM(key).encrypt(nonce, token.encode(), bound_to)

    pair = replace(
        seal(sealing),
        pair_id=pair_id,
        access=sealed("access", "act.earlier"),
        refresh=sealed("refresh", "rft.earlier"),
    )

    assert opened(sealing, pair) == ("act.earlier", "rft.earlier")


def test_a_parked_code_opens_for_its_own_attempt_alone(sealing: Sealing) -> None:
    sealing.prepare("parked_code", now=NOON)
    session = samples.link_session()
    state, other = State.new(session.id), State.new(session.id)
    sealed = sealing.seal_code(Secret("2-vF*1!4608.va"), state, now=NOON)

    def opened_for(key: str, attempt: str) -> str:
        return sealing.open_code(sealed, session_key=key, attempt_key=attempt).reveal()

    assert opened_for(state.session_key, state.attempt_key) == "2-vF*1!4608.va"
    for key, attempt in (
        (state.session_key, other.attempt_key),
        (State.new("ls_other").session_key, state.attempt_key),
    ):
        with pytest.raises(SealBroken):
            opened_for(key, attempt)


def test_a_token_does_not_open_as_a_code(sealing: Sealing) -> None:
    sealing.prepare("parked_code", now=NOON)

    with pytest.raises(SealBroken):
        sealing.open_code(seal(sealing).access, session_key="default", attempt_key=OPEN_ID)


def test_a_pair_opens_in_its_own_row_alone(sealing: Sealing) -> None:
    pair = seal(sealing)

    for where in ({"open_id": "another"}, {"registration": "sandbox"}):
        with pytest.raises(SealBroken):
            sealing.open_access(pair, **({"registration": "default", "open_id": OPEN_ID} | where))
        with pytest.raises(SealBroken):
            sealing.open_refresh(pair, **({"registration": "default", "open_id": OPEN_ID} | where))


def test_a_field_opens_as_itself_alone(sealing: Sealing) -> None:
    pair = seal(sealing)
    swapped = replace(pair, access=pair.refresh, refresh=pair.access)

    with pytest.raises(SealBroken):
        sealing.open_access(swapped, registration="default", open_id=OPEN_ID)
    with pytest.raises(SealBroken):
        sealing.open_refresh(swapped, registration="default", open_id=OPEN_ID)


def test_a_token_opens_with_its_own_pair_alone(sealing: Sealing) -> None:
    """An older refresh token of the same grant must not come back to life."""
    old, new = seal(sealing), seal(sealing)

    with pytest.raises(SealBroken):
        sealing.open_refresh(
            replace(new, refresh=old.refresh), registration="default", open_id=OPEN_ID
        )


@pytest.mark.parametrize("blob", [b"", b"x", b"\x02" * 60, b"\x01\x00\x00"])
def test_what_was_never_sealed_does_not_open(sealing: Sealing, blob: bytes) -> None:
    with pytest.raises(SealBroken):
        sealing.open_access(
            replace(seal(sealing), access=blob), registration="default", open_id=OPEN_ID
        )


def test_every_pair_has_a_name_of_its_own(sealing: Sealing) -> None:
    assert len({seal(sealing).pair_id for _ in range(20)}) == 20


def test_a_pair_without_a_refresh_token_is_a_defect(sealing: Sealing) -> None:
    with pytest.raises(ValueError, match="refresh token"):
        seal(sealing, replace(samples.answer(), refresh_token=None))


# -- the ciphers --------------------------------------------------------------------------------


@pytest.fixture
def table(accounts_table: Table) -> Table:
    return accounts_table


def test_no_token_is_in_its_ciphertext_or_in_any_text(table: Table, clock: Clock) -> None:
    sealing = real(table, clock)
    sealing.prepare(*PURPOSES, now=NOON)
    answer = samples.answer()

    pair = seal(sealing, answer)

    assert answer.access_token.reveal().encode() not in pair.access
    assert answer.access_token.reveal() not in f"{pair!r} {sealing!r}"
    assert repr(pair.access)[2:12] not in repr(pair)


def test_equal_tokens_have_unequal_ciphertexts(table: Table, clock: Clock) -> None:
    sealing = real(table, clock)
    sealing.prepare(*PURPOSES, now=NOON)
    answer = samples.answer()

    first, second = seal(sealing, answer), seal(sealing, answer)

    assert first.access != second.access
    assert first.fingerprint != second.fingerprint, "each stored pair has a name of its own"


@pytest.mark.parametrize("place", [0, 2, 10, 20, -1])
def test_a_single_changed_byte_does_not_open(table: Table, clock: Clock, place: int) -> None:
    sealing = real(table, clock)
    sealing.prepare(*PURPOSES, now=NOON)
    pair = seal(sealing)
    damaged = bytearray(pair.refresh)
    damaged[place] ^= 1

    with pytest.raises(SealBroken):
        sealing.open_refresh(
            replace(pair, refresh=bytes(damaged)), registration="default", open_id=OPEN_ID
        )


@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # one process for all examples
)
@given(TOKENS, TEXTS)
def test_any_token_of_anybody_comes_back_as_it_was(
    table: Table, clock: Clock, token: str, open_id: str
) -> None:
    sealing = real(table, clock, key=only_key())
    sealing.prepare(*PURPOSES, now=NOON)
    answer = replace(
        samples.answer(), access_token=Secret(token), refresh_token=Secret(token), open_id=open_id
    )

    pair = sealing.seal_pair(answer, registration="default", now=NOON)

    assert opened(sealing, pair, open_id=open_id) == (token, token)


# -- the data keys ------------------------------------------------------------------------------


class CountingKms:
    """moto's KMS with a count of what it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.contexts: list[dict[str, str]] = []

    def __getattr__(self, operation: str) -> Any:
        def ask(**arguments: Any) -> Any:
            self.asked[operation] += 1
            self.contexts.append(arguments["EncryptionContext"])
            return getattr(client("kms"), operation)(**arguments)

        return ask


def test_kms_calls_do_not_grow_with_the_number_of_accounts(table: Table, clock: Clock) -> None:
    kms = CountingKms()
    sealing = real(table, clock, kms=kms)

    for number in range(50):
        sealing.prepare(*PURPOSES, now=NOON)
        answer = samples.answer(open_id=f"open-{number}")
        pair = seal(sealing, answer)
        opened(sealing, pair, open_id=f"open-{number}")

    assert kms.asked == {"generate_data_key": 2}


def test_the_context_names_service_purpose_and_epoch_and_nobody(table: Table, clock: Clock) -> None:
    kms = CountingKms()

    real(table, clock, kms=kms).prepare(*PURPOSES, now=NOON)

    assert kms.contexts == [
        {"service": "tiktok-link", "purpose": "access", "epoch": "3"},
        {"service": "tiktok-link", "purpose": "refresh", "epoch": "3"},
    ]


@pytest.mark.parametrize(("minutes", "decrypts"), [(59, 0), (60, 1), (61, 1)])
def test_keys_stay_in_memory_for_an_hour_at_most(
    table: Table, clock: Clock, minutes: int, decrypts: int
) -> None:
    kms = CountingKms()
    sealing = real(table, clock, kms=kms)
    sealing.prepare("access", now=clock.now)
    clock.advance(minutes=minutes)

    sealing.prepare("access", now=clock.now)

    assert kms.asked["decrypt"] == decrypts


def test_sealing_itself_never_waits_for_a_key(table: Table, clock: Clock) -> None:
    """Between TikTok's answer and the save there is no KMS, however long the answer took."""
    kms = CountingKms()
    sealing = real(table, clock, kms=kms)
    sealing.prepare(*PURPOSES, now=NOON)
    before = kms.asked.total()
    clock.advance(hours=3)

    seal(sealing)

    assert kms.asked.total() == before


def test_another_process_opens_what_this_one_sealed(table: Table, clock: Clock) -> None:
    key = new_key()
    here = real(table, clock, key=key)
    here.prepare(*PURPOSES, now=NOON)
    answer = samples.answer()
    pair = seal(here, answer)

    assert opened(real(table, clock, key=key), pair)[0] == answer.access_token.reveal()


def test_two_that_make_the_first_key_at_once_agree_on_one(table: Table, clock: Clock) -> None:
    key = new_key()
    late = real(table, clock, key=key)

    class Raced(CountingKms):
        """While one asks KMS for a key, the other has stored its own."""

        def __getattr__(self, operation: str) -> Any:
            if operation == "generate_data_key":
                late.prepare("access", now=NOON)
            return super().__getattr__(operation)

    early = real(table, clock, key=key, kms=Raced())
    early.prepare("access", now=NOON)
    answer = samples.answer()
    early.prepare("refresh", now=NOON)
    late.prepare("refresh", now=NOON)

    pair = seal(early, answer)

    assert opened(late, pair)[0] == answer.access_token.reveal()
    rows = client("dynamodb").scan(TableName=table.name)["Items"]
    assert sorted(row["pk"]["S"] for row in rows) == ["key#access", "key#refresh"]


def test_a_new_epoch_brings_a_new_key_and_the_old_one_still_opens(
    table: Table, clock: Clock
) -> None:
    key = new_key()
    sealing = real(table, clock, key=key)
    sealing.prepare(*PURPOSES, now=NOON)
    old = seal(sealing)
    clock.advance(days=90)
    sealing.prepare(*PURPOSES, now=clock.now)

    new = sealing.seal_pair(samples.answer(), registration="default", now=clock.now)

    assert old.access[1:3] != new.access[1:3]
    assert opened(real(table, clock, key=key), old)
    assert opened(real(table, clock, key=key), new)


def test_an_epoch_that_begins_between_preparing_and_sealing_loses_nothing(
    table: Table, clock: Clock
) -> None:
    kms = CountingKms()
    sealing = real(table, clock, kms=kms)
    sealing.prepare(*PURPOSES, now=NOON)
    before = kms.asked.total()

    pair = sealing.seal_pair(
        samples.answer(), registration="default", now=NOON + timedelta(days=90)
    )

    assert kms.asked.total() == before
    assert opened(sealing, pair)


def test_what_is_stored_is_wrapped_and_bound_to_its_context(table: Table, clock: Clock) -> None:
    """A wrapped access key does not unwrap as a refresh key, so IAM can grant one alone."""
    key = new_key()
    sealing = real(table, clock, key=key)
    sealing.prepare("access", now=NOON)
    wrapped = table.get({"pk": "key#access", "sk": "00003"})
    assert wrapped is not None

    def unwrap(purpose: str) -> bytes:
        context = {"service": "tiktok-link", "purpose": purpose, "epoch": "3"}
        return bytes(
            client("kms").decrypt(
                KeyId=key, CiphertextBlob=wrapped["w"], EncryptionContext=context
            )["Plaintext"]
        )

    assert unwrap("access") not in wrapped["w"]
    with pytest.raises(ClientError, match="InvalidCiphertext"):
        unwrap("refresh")


def test_a_wrapped_key_that_was_moved_to_another_purpose_does_not_serve(
    table: Table, clock: Clock
) -> None:
    key = new_key()
    real(table, clock, key=key).prepare("access", now=NOON)
    wrapped = table.get({"pk": "key#access", "sk": "00003"})
    assert wrapped is not None
    table.put_new({"pk": "key#refresh", "sk": "00003", "w": wrapped["w"]})

    with pytest.raises(StoreUnavailable):
        real(table, clock, key=key).prepare("refresh", now=NOON)


def test_opening_never_makes_a_key(table: Table, clock: Clock) -> None:
    """A function that only opens may not put items."""
    sealing = real(table, clock)
    sealing.prepare(*PURPOSES, now=NOON)
    pair = seal(sealing)
    client("dynamodb").delete_item(
        TableName=table.name, Key={"pk": {"S": "key#access"}, "sk": {"S": "00003"}}
    )
    stranger = real(table, clock)

    with pytest.raises(SealBroken):
        stranger.open_access(pair, registration="default", open_id=OPEN_ID)
    assert table.get({"pk": "key#access", "sk": "00003"}) is None


class Down:
    """A KMS that is down."""

    def __getattr__(self, operation: str) -> Any:
        def fail(**_: Any) -> Any:
            error = {"Code": "KMSInternalException", "Message": "canary"}
            raise ClientError({"Error": error}, operation)  # type: ignore[typeddict-item]

        return fail


def test_an_outage_of_kms_is_told_without_a_word_of_the_library(table: Table, clock: Clock) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        real(table, clock, kms=Down(), key="arn").prepare("access", now=NOON)

    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None


class Ending:
    """A KMS that works until ``is_down``."""

    is_down = False

    def __getattr__(self, operation: str) -> Any:
        return getattr(Down() if self.is_down else client("kms"), operation)


def test_an_outage_of_kms_is_not_noticed_within_the_hour(table: Table, clock: Clock) -> None:
    kms = Ending()
    sealing = real(table, clock, kms=kms)
    sealing.prepare(*PURPOSES, now=NOON)
    pair = seal(sealing)
    kms.is_down = True
    clock.advance(minutes=59)

    assert opened(sealing, pair)
    clock.advance(minutes=2)
    with pytest.raises(StoreUnavailable):
        opened(sealing, pair)
