"""What the tables really hold and cost: sizes, names, requests, and nothing that opens anything."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

from tests.fakes import samples
from tests.fakes.aws import client, template
from tests.fakes.clock import NOON, Clock
from tiktok_linking.accounts import Grant, RelinkReason, RevokedReason
from tiktok_linking.adapters.account_table import AccountTable
from tiktok_linking.adapters.dynamodb import ConditionFailed, Table, Update
from tiktok_linking.adapters.records import (
    ACCOUNT_ATTRIBUTES,
    CIPHERTEXT,
    GRANT_ATTRIBUTES,
    SHOWN_ATTRIBUTES,
    grant_key,
)
from tiktok_linking.adapters.sealing import DataKeys, TokenSealing
from tiktok_linking.adapters.session_table import SessionTable
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.ports import AuthorisedPair, Failure, Idempotency, RenewedPair, Saved
from tiktok_linking.sessions import Attempt, State, secret_hash

SIX_SCOPES = (
    "user.info.basic",
    "user.info.profile",
    "user.info.stats",
    "video.list",
    "video.publish",
    "video.upload",
)


def item_bytes(item: dict[str, Any]) -> int:
    """Count as DynamoDB does: developerguide, "DynamoDB item sizes and formats" (read 2026-11).

    Zeros at the end of a number cost nothing there; here they count, since times seldom end so.
    """
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: dict[str, Any]) -> int:
    ((kind, inner),) = value.items()
    if kind in ("S", "B"):
        return len(inner.encode() if isinstance(inner, str) else inner)
    if kind == "N":
        return (len(inner) + 1) // 2 + 1
    if kind == "BOOL":
        return 1
    if kind == "M":
        return 3 + item_bytes(inner) + len(inner)
    raise AssertionError(f"no item of ours has a {kind}")


def test_sizes_are_counted_as_documented() -> None:
    assert item_bytes({"ab": {"S": "é"}}) == 4
    assert item_bytes({"n": {"N": "1795262400000"}}) == 1 + 8
    assert item_bytes({"b": {"B": b"xyz"}, "t": {"BOOL": True}}) == 6
    assert item_bytes({"m": {"M": {"k": {"S": "v"}}}}) == 1 + 3 + 2 + 1


@pytest.fixture
def sealing(accounts_table: Table, clock: Clock) -> TokenSealing:
    """The real ciphers, since their overhead counts."""
    key = client("kms").create_key()["KeyMetadata"]["Arn"]
    sealing = TokenSealing(
        DataKeys(client("kms"), accounts_table, key_arn=key, now=clock), epoch_days=90
    )
    sealing.prepare("access", "refresh", now=NOON)
    return sealing


def long_answer(*, characters: int = 100) -> TokenAnswer:
    return samples.answer(
        access_token="act." + "a" * (characters - 4),
        refresh_token="rft." + "r" * (characters - 4),
        scopes=SIX_SCOPES,
    )


def authorise(accounts: AccountTable, sealing: TokenSealing, answer: TokenAnswer) -> Grant:
    made = AuthorisedPair(
        registration="default",
        open_id=answer.open_id,
        authorised_at=answer.issued_at,
        write_id=b"auth-001",
        pair=sealing.seal_pair(answer, registration="default", now=NOON),
        account=None,
    )
    accounts.save_authorised(made, due_at=NOON + timedelta(days=6), only_existing=False)
    accounts.save_account(samples.account(profile=samples.profile()))
    grant = read(accounts, samples.GRANT_ID)
    assert grant is not None
    return grant


def read(accounts: AccountTable, grant_id: str) -> Grant | None:
    return accounts.read_batch([grant_id], ()).grants.get(grant_id)


def stored(table: Table) -> dict[str, Any]:
    key = {name: {"S": value} for name, value in grant_key(samples.GRANT_ID).items()}
    item = client("dynamodb").get_item(TableName=table.name, Key=key)["Item"]
    return dict(item)


def in_use(accounts: AccountTable, sealing: TokenSealing, *, characters: int = 100) -> Grant:
    """A grant that was renewed and vended, as most are."""
    grant = authorise(accounts, sealing, long_answer(characters=characters))
    assert grant.pair is not None
    pair = sealing.seal_pair(long_answer(characters=characters), registration="default", now=NOON)
    renewed = RenewedPair(grant.id, grant.pair.fingerprint, b"renew-01", pair)
    accounts.save_renewed(renewed, due_at=NOON + timedelta(hours=20), now=NOON)
    after = read(accounts, grant.id)
    assert after is not None
    accounts.mark_used(after, due_at=NOON + timedelta(hours=20), now=NOON)
    return after


def test_a_grant_in_use_costs_one_write_unit(accounts_table: Table, sealing: TokenSealing) -> None:
    """Tokens of 100 characters and six scopes; most writes find the item so."""
    accounts = AccountTable(accounts_table)
    in_use(accounts, sealing)

    assert item_bytes(stored(accounts_table)) <= 1024


def test_a_grant_under_a_lease_costs_one_write_unit(
    accounts_table: Table, sealing: TokenSealing
) -> None:
    """DynamoDB charges the larger of before and after, so the lease must fit too."""
    accounts = AccountTable(accounts_table)
    grant = in_use(accounts, sealing)

    accounts.take_lease(grant, owner="0123456789abcdef", until=NOON, now=NOON)

    assert item_bytes(stored(accounts_table)) <= 1024


def test_a_grant_that_fails_costs_one_write_unit(
    accounts_table: Table, sealing: TokenSealing
) -> None:
    accounts = AccountTable(accounts_table)
    grant = in_use(accounts, sealing)
    accounts.take_lease(grant, owner="0123456789abcdef", until=NOON, now=NOON)
    failure = Failure("temporarily_unavailable", "2" * 34, NOON, keeps_intent=True)
    accounts.release(grant.id, owner="0123456789abcdef", failure=failure, now=NOON)

    accounts.take_lease(grant, owner="fedcba9876543210", until=NOON, now=NOON)

    assert item_bytes(stored(accounts_table)) <= 1024


def test_longer_tokens_work_and_cost_more(accounts_table: Table, sealing: TokenSealing) -> None:
    accounts = AccountTable(accounts_table)

    grant = in_use(accounts, sealing, characters=2048)

    assert grant.pair is not None
    opened = sealing.open_refresh(grant.pair, registration="default", open_id=grant.open_id)
    assert len(opened.reveal()) == 2048
    assert item_bytes(stored(accounts_table)) > 4096


# -- names --------------------------------------------------------------------------------------


def test_a_grant_has_no_attribute_that_the_roles_do_not_know(
    accounts_table: Table, sealing: TokenSealing
) -> None:
    """IAM lists the attributes by name: one that is missing there breaks a function."""
    accounts = AccountTable(accounts_table)
    grant = in_use(accounts, sealing)
    accounts.take_lease(grant, owner="w", until=NOON, now=NOON - timedelta(seconds=1))
    failure = Failure("server_error", "L" * 32, NOON, keeps_intent=True)
    accounts.release(grant.id, owner="w", failure=failure, now=NOON)
    accounts.require_relink(grant, RelinkReason.ROTATION_LOST, now=NOON)
    accounts.mark_revoking(grant, now=NOON)
    account = samples.account(tenant_id="t_1", metadata={"k": "v"}, profile=samples.profile())
    accounts.save_account(account)
    accounts.mark_unlinked(account, now=NOON)

    for item in client("dynamodb").scan(TableName=accounts_table.name)["Items"]:
        kind = item["sk"]["S"].partition("#")[0]
        known = {
            "grant": {*GRANT_ATTRIBUTES, *CIPHERTEXT},
            "acct": set(ACCOUNT_ATTRIBUTES),
        }.get(kind, {"pk", "sk", "w", "k"})
        assert set(item) <= known, kind


def test_what_is_shown_never_names_the_ciphertext() -> None:
    assert not set(SHOWN_ATTRIBUTES) & set(CIPHERTEXT)


def test_no_name_in_an_expression_is_a_reserved_word() -> None:
    reserved = set(ReservedKeywords.get_reserved_keywords())

    assert not {name.upper() for name in (*SHOWN_ATTRIBUTES, *CIPHERTEXT)} & reserved


def test_an_account_row_has_no_ciphertext_and_a_grant_no_index_of_people(
    accounts_table: Table, sealing: TokenSealing
) -> None:
    authorise(AccountTable(accounts_table), sealing, samples.answer())

    items = client("dynamodb").scan(TableName=accounts_table.name)["Items"]
    grant = next(item for item in items if item["sk"]["S"] == "grant")
    row = next(item for item in items if item["sk"]["S"].startswith("acct#"))
    assert not set(row) & {*CIPHERTEXT, "ds", "da"}
    assert not set(grant) & {"ow", "ls", "os"}


# -- requests -----------------------------------------------------------------------------------


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the requests that the client sends, by operation."""
    calls: Counter[str] = Counter()

    def count(model: Any, **_: Any) -> None:
        calls[model.name] += 1

    events = client("dynamodb").meta.events
    events.register("before-call.dynamodb", count)
    try:
        yield calls
    finally:
        events.unregister("before-call.dynamodb", count)


def test_a_vend_reads_once_and_consistently(accounts_table: Table, sealing: TokenSealing) -> None:
    accounts = AccountTable(accounts_table)
    authorise(accounts, sealing, samples.answer())

    with counted() as calls:
        assert accounts.read_link(samples.account().id) is not None

    assert calls == {"Query": 1}


def test_an_id_that_cannot_be_one_costs_nothing(accounts_table: Table) -> None:
    accounts = AccountTable(accounts_table)

    with counted() as calls:
        accounts.read_link("acct_x")
        accounts.read_partition("../../etc")
        accounts.read_account("")

    assert calls == {}


def test_a_batch_of_grants_and_the_circuits_are_one_read(
    accounts_table: Table, sealing: TokenSealing
) -> None:
    accounts = AccountTable(accounts_table)
    authorise(accounts, sealing, samples.answer())

    with counted() as calls:
        accounts.read_batch([samples.GRANT_ID, *(f"{n:024d}" for n in range(9))], ["default"])

    assert calls == {"BatchGetItem": 1}


def test_a_list_reads_index_pages_and_its_grants_at_once(
    accounts_table: Table, sealing: TokenSealing
) -> None:
    accounts = AccountTable(accounts_table)
    authorise(accounts, sealing, samples.answer())

    with counted() as calls:
        accounts.list_accounts(tenant_id=None, end_user_id="u_42", after=None, limit=25)

    assert calls == {"Query": 1, "BatchGetItem": 1}


def test_an_unknown_session_or_state_costs_one_request(sessions_table: Table) -> None:
    sessions = SessionTable(sessions_table)
    session = samples.link_session()

    with counted() as calls:
        sessions.read(session.id)
    assert calls == {"GetItem": 1}

    with counted() as calls, pytest.raises(Exception, match="attempt to link"):
        sessions.consume(State.new(session.id), None, now=NOON)
    assert calls == {"UpdateItem": 1}


# -- sessions at rest ---------------------------------------------------------------------------


def test_a_session_at_rest_holds_neither_state_nor_cookie(sessions_table: Table) -> None:
    sessions = SessionTable(sessions_table)
    session = sessions.create(samples.link_session(), idempotency=Idempotency("k", "b"))
    state = State.new(session.id)
    cookie = "cookie-canary"
    attempt = Attempt(secret_hash(cookie), "https://l/callback", NOON + timedelta(minutes=10))

    sessions.start(session.id, session.page_nonce, state.attempt_key, attempt, now=NOON)

    dump = str(client("dynamodb").scan(TableName=sessions_table.name)["Items"])
    assert state.secret.reveal() not in dump
    assert cookie not in dump


def test_what_is_left_of_an_unlinked_account_goes_by_itself(
    accounts_table: Table, sealing: TokenSealing
) -> None:
    """And nothing of one that is linked, or linked again."""
    kept_for = timedelta(days=45)
    accounts = AccountTable(accounts_table, tombstone=kept_for)
    ttl = template()["Resources"]["AccountsTable"]["Properties"]["TimeToLiveSpecification"]

    def ends() -> dict[str, int | None]:
        items = client("dynamodb").scan(TableName=accounts_table.name)["Items"]
        ours = [item for item in items if item["pk"]["S"] == samples.GRANT_ID]
        found = {item["sk"]["S"][:5]: item.get(ttl["AttributeName"]) for item in ours}
        return {name: int(value["N"]) if value else None for name, value in found.items()}

    authorise(accounts, sealing, samples.answer())
    grant, rows = accounts.read_whole(samples.GRANT_ID)
    assert grant is not None
    accounts.mark_unlinked(rows[0], now=NOON)
    gone = int((NOON + kept_for).timestamp())
    assert ends() == {"grant": None, "acct#": gone}

    accounts.mark_revoking(grant, now=NOON)
    accounts.forget_tokens(grant, revocation="true", now=NOON)
    assert ends() == {"grant": gone, "acct#": gone}

    later = NOON + timedelta(days=1)
    authorise(accounts, sealing, samples.answer(issued_at=later))
    accounts.save_account(samples.account(at=later))
    assert ends() == {"grant": None, "acct#": None}


def test_a_grant_that_tiktok_ended_goes_when_its_last_account_is_unlinked(
    accounts_table: Table, sealing: TokenSealing
) -> None:
    accounts = AccountTable(accounts_table)
    authorise(accounts, sealing, samples.answer())
    _, rows = accounts.read_whole(samples.GRANT_ID)
    later = NOON + timedelta(hours=1)
    accounts.mark_revoked(
        samples.GRANT_ID, RevokedReason.REVOKED_BY_USER, authorised_before=later, now=later
    )
    accounts.mark_unlinked(rows[0], now=later)
    grant, _ = accounts.read_whole(samples.GRANT_ID)
    assert grant is not None

    accounts.leave_ending(grant, now=later)

    item = accounts_table.get(grant_key(samples.GRANT_ID)) or {}
    assert item["ttl"] == int((later + timedelta(days=30)).timestamp())
    assert not {"ej", "el"} & set(item)


def test_sessions_and_their_keys_go_by_themselves(sessions_table: Table) -> None:
    kept_for = timedelta(days=3)
    sessions = SessionTable(sessions_table, kept_for=kept_for)
    session = sessions.create(samples.link_session(), idempotency=Idempotency("k", "b"))
    ttl = template()["Resources"]["SessionsTable"]["Properties"]["TimeToLiveSpecification"]

    items = client("dynamodb").scan(TableName=sessions_table.name)["Items"]

    ends = {item["pk"]["S"][0]: int(item[ttl["AttributeName"]]["N"]) for item in items}
    assert ends == {
        "s": int((session.expires_at + kept_for).timestamp()),
        "i": int((session.created_at + timedelta(days=1)).timestamp()),
    }


def test_a_repeat_after_a_crash_between_its_two_writes_finishes_the_first(
    sessions_table: Table,
) -> None:
    sessions = SessionTable(sessions_table)
    first = sessions.create(samples.link_session(), idempotency=Idempotency("k", "b"))
    key = {"pk": {"S": "s#" + State.new(first.id).session_key}}
    client("dynamodb").delete_item(TableName=sessions_table.name, Key=key)

    again = sessions.create(samples.link_session(), idempotency=Idempotency("k", "b"))

    assert again.id == first.id
    assert sessions.read(first.id) == again


# -- the skin over the client -------------------------------------------------------------------


def test_a_failed_condition_shows_the_item_as_it_is(accounts_table: Table) -> None:
    key = {"pk": "p", "sk": "s"}
    accounts_table.put_new(
        key | {"t": "text", "n": 7, "b": b"\x00\xff", "f": True, "m": {"a": "1"}}
    )

    with pytest.raises(ConditionFailed) as refused:
        accounts_table.update(key, Update(sets={"n": 8}), condition="n = :n", values={":n": 6})

    assert refused.value.old == key | {
        "t": "text",
        "n": 7,
        "b": b"\x00\xff",
        "f": True,
        "m": {"a": "1"},
    }
    with pytest.raises(ConditionFailed):
        accounts_table.put_new(key)


def test_a_condition_on_nothing_shows_nothing(accounts_table: Table) -> None:
    with pytest.raises(ConditionFailed) as refused:
        accounts_table.update(
            {"pk": "p", "sk": "s"}, Update(sets={"n": 8}), condition="n = :n", values={":n": 6}
        )

    assert refused.value.old == {}


class Failing:
    """A DynamoDB client whose every request fails, or that leaves keys unread."""

    def __init__(self, *answers: Exception | dict[str, Any]) -> None:
        self._answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def __getattr__(self, operation: str) -> Any:
        def ask(**arguments: Any) -> dict[str, Any]:
            self.asked.append(arguments)
            answer = self._answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask


def throttled() -> ClientError:
    error = {"Code": "ProvisionedThroughputExceededException", "Message": "canary: token act.1"}
    return ClientError({"Error": error}, "UpdateItem")  # type: ignore[typeddict-item]


def unreachable() -> EndpointConnectionError:
    return EndpointConnectionError(endpoint_url="https://canary")


@pytest.mark.parametrize("failure", [throttled, unreachable])
def test_a_failure_is_told_without_a_word_of_the_library(failure: Any) -> None:
    table = Table(Failing(failure()), "t")

    with pytest.raises(StoreUnavailable) as refused:
        table.get({"pk": "p"})

    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


class Repeating:
    """The SDK after a lost reply: each write is sent twice, and the second answer is what counts.

    The first was committed, so a conditional write now fails its own condition.
    """

    def __getattr__(self, operation: str) -> Any:
        ask = getattr(client("dynamodb"), operation)
        if operation not in ("put_item", "update_item"):
            return ask

        def twice(**arguments: Any) -> Any:
            with suppress(ClientError):
                ask(**arguments)
            return ask(**arguments)

        return twice


def test_a_grants_own_writes_are_recognised_when_the_sdk_repeats_them(
    accounts_table: Table, sealing: TokenSealing
) -> None:
    accounts = AccountTable(Table(Repeating(), accounts_table.name))
    grant = authorise(accounts, sealing, samples.answer())
    assert grant.pair is not None
    pair = sealing.seal_pair(samples.answer(), registration="default", now=NOON)
    renewed = RenewedPair(grant.id, grant.pair.fingerprint, b"renew-01", pair)
    later = NOON + timedelta(minutes=1)

    assert accounts.take_lease(grant, owner="w", until=NOON + timedelta(seconds=35), now=NOON)
    leased = read(accounts, grant.id)
    assert leased is not None
    assert accounts.mark_recovering(leased, now=later)
    assert accounts.save_renewed(renewed, due_at=None, now=NOON) is Saved.STORED
    after = read(accounts, grant.id)
    assert after is not None
    assert (after.version, after.rotations) == (2, 1)
    assert accounts.require_relink(after, RelinkReason.ROTATION_LOST, now=NOON)


def test_a_sessions_own_writes_are_recognised_when_the_sdk_repeats_them(
    sessions_table: Table,
) -> None:
    """Else a person would be told that the link is used, by the very request that used it."""
    sessions = SessionTable(Table(Repeating(), sessions_table.name))
    session = samples.link_session()
    state = State.new(session.id)
    attempt = Attempt(secret_hash("c"), "https://l/callback", NOON + timedelta(minutes=10))

    assert sessions.create(session, idempotency=Idempotency("k", "b")) == session
    started = sessions.start(session.id, session.page_nonce, state.attempt_key, attempt, now=NOON)
    found, used = sessions.consume(state, secret_hash("c"), now=NOON)

    assert len(started.attempts) == 1
    assert (found.id, used.used_at) == (session.id, NOON)


def test_a_partition_of_many_pages_is_read_whole() -> None:
    dynamodb = Failing(
        {"Items": [{"pk": {"S": "1"}}], "LastEvaluatedKey": {"pk": {"S": "1"}}},
        {"Items": [{"pk": {"S": "2"}}]},
    )

    found = Table(dynamodb, "t").query_all("pk = :pk", {":pk": "p"})

    assert found == [{"pk": "1"}, {"pk": "2"}]
    assert dynamodb.asked[1]["ExclusiveStartKey"] == {"pk": {"S": "1"}}


def test_what_a_batch_left_unread_is_asked_for_again() -> None:
    left = {"t": {"Keys": [{"pk": {"S": "2"}}], "ConsistentRead": True}}
    dynamodb = Failing(
        {"Responses": {"t": [{"pk": {"S": "1"}}]}, "UnprocessedKeys": left},
        {"Responses": {"t": [{"pk": {"S": "2"}}]}, "UnprocessedKeys": {}},
    )

    found = Table(dynamodb, "t").batch_get([{"pk": "1"}, {"pk": "2"}])

    assert found == [{"pk": "1"}, {"pk": "2"}]
    assert dynamodb.asked[1]["RequestItems"] == left


def test_a_batch_that_is_never_read_whole_fails() -> None:
    left = {"t": {"Keys": [{"pk": {"S": "2"}}]}}
    answers = [{"Responses": {"t": []}, "UnprocessedKeys": left} for _ in range(50)]

    with pytest.raises(StoreUnavailable):
        Table(Failing(*answers), "t").batch_get([{"pk": "2"}])


def test_only_types_of_ours_are_written() -> None:
    with pytest.raises(TypeError, match="float"):
        Table(Failing(), "t").put_new({"pk": "p", "x": 1.5})


def test_an_update_with_a_none_removes() -> None:
    expression, values = Update(
        sets={"a": 1, "b": None}, removes=("c",), adds={"v": 1}
    ).expression()

    assert re.fullmatch(r"SET a = :\w+ REMOVE c, b ADD v :\w+", expression)
    assert sorted(values.values()) == [1, 1]


# -- repeats -------------------------------------------------------------------------------------


class Flaky:
    """A client whose calls fail so often before they work."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = 0

    def get_item(self, **_arguments: Any) -> dict[str, Any]:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return {}


def refused(code: str, status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetItem")


def patient(flaky: Flaky) -> Table:
    return Table(flaky, "t", tries=3, pause=lambda _seconds: None)


PASSING = [
    refused("InternalServerError", 500),
    refused("ProvisionedThroughputExceededException"),
    refused("ThrottlingException"),
    EndpointConnectionError(endpoint_url="http://127.0.0.1"),
    ConnectTimeoutError(endpoint_url="http://127.0.0.1"),
    ReadTimeoutError(endpoint_url="http://127.0.0.1"),
    ConnectionClosedError(endpoint_url="http://127.0.0.1"),
]
by_error = pytest.mark.parametrize("error", PASSING, ids=lambda e: type(e).__name__)


@by_error
def test_what_passes_is_tried_three_times(error: Exception) -> None:
    client = Flaky(error, error)

    assert patient(client).get({"pk": "x", "sk": "y"}) is None
    assert client.calls == 3


@by_error
def test_what_does_not_pass_in_time_is_told(error: Exception) -> None:
    client = Flaky(error, error, error)

    with pytest.raises(StoreUnavailable):
        patient(client).get({"pk": "x", "sk": "y"})
    assert client.calls == 3


@by_error
def test_a_save_is_tried_once_since_its_caller_repeats(error: Exception) -> None:
    client = Flaky(error)

    with pytest.raises(StoreUnavailable):
        Table(client, "t").get({"pk": "x", "sk": "y"})
    assert client.calls == 1


@pytest.mark.parametrize(
    "error",
    [
        refused("ValidationException"),
        refused("AccessDeniedException"),
        NoCredentialsError(),
    ],
    ids=str,
)
def test_what_will_not_pass_is_not_repeated(error: Exception) -> None:
    client = Flaky(error)

    with pytest.raises(StoreUnavailable):
        patient(client).get({"pk": "x", "sk": "y"})
    assert client.calls == 1
