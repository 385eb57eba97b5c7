"""Another KMS key, a new epoch, a restored table: tokens open, links live, and nobody is told."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

# Before any test reads what is printed: their loggers keep the stream that they find.
import functions.callback.app
import functions.refresh.app
import functions.tokens.app
import functions.unlink.app  # noqa: F401
from local import restoring, rewrapping
from tests.fakes import samples
from tests.fakes.aws import ROOT, client, template
from tests.fakes.clock import NOON
from tests.fakes.loopback import Answer
from tests.functions.stack import (
    ACCOUNT_ID,
    RunningStack,
    body_of,
    event,
)
from tests.functions.test_events import grant
from tiktok_linking import bootstrap
from tiktok_linking.accounts import RelinkReason, Status
from tiktok_linking.adapters.dynamodb import Table
from tiktok_linking.adapters.sealing import PURPOSES, encryption_context
from tiktok_linking.errors import AccountUnlinked
from tiktok_linking.sessions import LinkSession

FOURTH_EPOCH = datetime(2026, 12, 27, tzinfo=UTC)
OLD = "arn:aws:kms:us-east-1:123456789012:key/{}"


def new_kms_key() -> str:
    return str(client("kms").create_key()["KeyMetadata"]["Arn"])


def first_kms_key(stack: RunningStack) -> str:
    return OLD.format(stack.physical_ids["SealingKey"])


def accounts() -> Table:
    return Table(client("dynamodb"), "AccountsTable")


def wrapped_keys() -> dict[str, dict[str, Any]]:
    """The rows of data keys, by purpose and epoch."""
    rows = {
        f"{purpose} {row['sk']}": row
        for purpose in PURPOSES
        for row in accounts().query_all("pk = :pk", {":pk": f"key#{purpose}"})
    }
    assert rows
    return rows


def vend(stack: RunningStack) -> str:
    """A hand-out that must not fail, in whichever state the keys are."""
    answer = stack.invoke("tokens", event("tokens-vend"))
    assert answer["statusCode"] == 200, answer["body"]
    return str(body_of(answer)["access_token"])


def renew(stack: RunningStack, number: int) -> None:
    """A renewal that must not fail; the token that comes out of it is number ``number``."""
    stack.clock.advance(hours=25)
    stack.tiktok.script.append(Answer(stack.pair(number)))
    assert vend(stack) == f"act.event{number}!0001"


def documented(module: str, **given: str) -> list[str]:
    """The command's arguments as docs/operations.md tells them, without its dry run."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    lines = {line.strip() for line in text.splitlines() if f"python -m {module} " in line}
    (line,) = (line for line in lines if "--dry-run" not in line)
    return [given.get(word, word) for word in shlex.split(line)[3:]]


def run(old: str, new: str, *more: str) -> int:
    keys = {"OLD_KEY_ARN": old, "NEW_KEY_ARN": new}
    told = documented("local.rewrapping", ACCOUNTS_TABLE="AccountsTable", **keys)
    return rewrapping.main([*told, *more])


# -- another KMS key -----------------------------------------------------------------------------


def test_the_kms_key_changes_without_a_failed_hand_out(
    stack: RunningStack, linked: LinkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/operations.md, "Changing the KMS key", step by step."""
    old, new = first_kms_key(stack), new_kms_key()
    before = wrapped_keys()
    # A process that is warm, as most are, lives through all of it.
    stack.become("tokens")
    warm = bootstrap.vending()

    def works(number: int) -> None:
        renew(stack, number)
        vended = warm.access_token_for(ACCOUNT_ID, caller=samples.BACKEND, min_ttl=timedelta(0))
        assert vended.access_token.reveal() == f"act.event{number}!0001"

    # 1. OtherSealingKeyArn: no function's variables change, its role does.
    works(2)
    # 2. The command.
    assert run(old, new, "--dry-run") == rewrapping.DONE
    assert wrapped_keys() == before
    assert run(old, new) == rewrapping.DONE
    assert {row["k"] for row in wrapped_keys().values()} == {new}
    works(3)
    # 3. The two parameters change places.
    stack.deploy(SEALING_KEY_ARN=new)
    works(4)
    stack.clock.advance(days=90)
    works(5)
    assert len(wrapped_keys()) > len(before), "a new epoch"
    # 4. The command once more, for an epoch that began between 2 and 3.
    assert run(old, new) == rewrapping.DONE
    assert "All" in capsys.readouterr().out.splitlines()[-1]
    # 5. The old key is not named any more.
    assert {row["k"] for row in wrapped_keys().values()} == {new}
    works(6)


def test_what_is_wrapped_anew_is_the_same_key_in_the_same_context(
    stack: RunningStack, linked: LinkSession
) -> None:
    old, new = first_kms_key(stack), new_kms_key()
    before = wrapped_keys()

    run(old, new)

    for name, row in wrapped_keys().items():
        purpose, epoch = name.split(" ")
        assert row["w"] != before[name]["w"]
        assert opened(row["w"], new, purpose, epoch) == opened(
            before[name]["w"], old, purpose, epoch
        )
        with pytest.raises(ClientError):
            opened(row["w"], new, "another", epoch)


def opened(wrapped: bytes, key: str, purpose: str, epoch: str) -> bytes:
    context = encryption_context(purpose, int(epoch))
    answer = client("kms").decrypt(KeyId=key, CiphertextBlob=wrapped, EncryptionContext=context)
    return bytes(answer["Plaintext"])


def test_a_row_from_before_rows_named_their_key_opens_and_is_wrapped_anew(
    stack: RunningStack, linked: LinkSession
) -> None:
    old, new = first_kms_key(stack), new_kms_key()
    for row in wrapped_keys().values():
        key = {"pk": {"S": row["pk"]}, "sk": {"S": row["sk"]}}
        client("dynamodb").update_item(
            TableName="AccountsTable", Key=key, UpdateExpression="REMOVE k"
        )

    renew(stack, 2)
    assert run(old, new) == rewrapping.DONE
    stack.deploy(SEALING_KEY_ARN=new)

    renew(stack, 3)


class Kms:
    """KMS as whoever runs the command has it: one right, and a say about each call."""

    def __init__(self, before: Callable[[int], None] = lambda number: None) -> None:
        self._before = before
        self.calls = 0

    def re_encrypt(self, **arguments: Any) -> Any:
        self.calls += 1
        self._before(self.calls)
        return client("kms").re_encrypt(**arguments)


def refuse_at(number: int) -> Callable[[int], None]:
    def refuse(call: int) -> None:
        if call == number:
            error = {"Code": "InvalidCiphertextException", "Message": "no"}
            raise ClientError({"Error": error}, "ReEncrypt")  # type: ignore[typeddict-item]

    return refuse


def test_the_command_needs_no_right_to_decrypt(stack: RunningStack, linked: LinkSession) -> None:
    """No data key leaves KMS in the clear, so whoever runs it cannot open a token."""
    old, new = first_kms_key(stack), new_kms_key()

    lines = list(rewrapping.rewrap(accounts(), Kms(), old=old, new=new, dry_run=False))

    assert len(lines) == len(wrapped_keys())
    assert all(line.endswith("wrapped anew and opens") for line in lines)


def test_a_wrapping_that_does_not_open_takes_no_place(
    stack: RunningStack, linked: LinkSession
) -> None:
    """The second call is the proof."""
    before = wrapped_keys()
    kms = Kms(refuse_at(2))

    with pytest.raises(ClientError):
        list(
            rewrapping.rewrap(
                accounts(), kms, old=first_kms_key(stack), new=new_kms_key(), dry_run=False
            )
        )

    assert wrapped_keys() == before


def test_a_run_that_was_stopped_goes_on(stack: RunningStack, linked: LinkSession) -> None:
    old, new = first_kms_key(stack), new_kms_key()
    with pytest.raises(ClientError):
        list(rewrapping.rewrap(accounts(), Kms(refuse_at(3)), old=old, new=new, dry_run=False))
    assert sorted(row["k"] for row in wrapped_keys().values()) == sorted([old, new])
    renew(stack, 2)

    assert run(old, new) == rewrapping.DONE

    assert {row["k"] for row in wrapped_keys().values()} == {new}
    renew(stack, 3)


def test_a_row_that_somebody_else_changed_is_left_and_told(
    stack: RunningStack, linked: LinkSession
) -> None:
    """Two operators at once: nothing is written over what was not read."""
    old, new = first_kms_key(stack), new_kms_key()

    def be_overtaken(call: int) -> None:
        if call == 2:
            list(rewrapping.rewrap(accounts(), Kms(), old=old, new=new, dry_run=False))

    lines = list(rewrapping.rewrap(accounts(), Kms(be_overtaken), old=old, new=new, dry_run=False))

    assert "LEFT" in lines[0]
    assert run(old, new) == rewrapping.DONE
    renew(stack, 2)


def test_a_key_that_nobody_named_is_told(
    stack: RunningStack, linked: LinkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(new_kms_key(), new_kms_key()) == rewrapping.LEFT

    assert first_kms_key(stack) in capsys.readouterr().out


def test_the_wrong_table_is_told(stack: RunningStack, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(first_kms_key(stack), new_kms_key()) == rewrapping.LEFT

    assert "holds no data key" in capsys.readouterr().err


def test_an_outage_is_told_without_a_trace(
    stack: RunningStack, linked: LinkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(first_kms_key(stack), OLD.format("gone")) == rewrapping.LEFT

    assert capsys.readouterr().err.startswith("stopped: ")


# -- epochs --------------------------------------------------------------------------------------


def test_a_new_epoch_is_noticed_by_nobody(stack: RunningStack, linked: LinkSession) -> None:
    """Rows name their epoch: the old one serves until the next renewal seals under the new one."""
    stack.clock.now = FOURTH_EPOCH - timedelta(hours=1)
    stack.tiktok.script.append(Answer(stack.pair(2)))
    vend(stack)
    stack.become("tokens")
    warm = bootstrap.vending()
    assert warm.access_token_for(ACCOUNT_ID, caller=samples.BACKEND, min_ttl=timedelta(0))
    stack.clock.advance(hours=1, minutes=30)

    token = warm.access_token_for(ACCOUNT_ID, caller=samples.BACKEND, min_ttl=timedelta(0))
    assert token.access_token.reveal() == vend(stack) == "act.event2!0001"
    assert epochs_in_use() == (3, 3), "nothing was sealed since"
    renew(stack, 3)

    assert epochs_in_use() == (4, 4)
    again = warm.access_token_for(ACCOUNT_ID, caller=samples.BACKEND, min_ttl=timedelta(0))
    assert again.access_token.reveal() == "act.event3!0001"


def epochs_in_use() -> tuple[int, int]:
    pair = grant().pair
    assert pair is not None
    return int.from_bytes(pair.access[1:3], "big"), int.from_bytes(pair.refresh[1:3], "big")


def test_no_token_is_kept_in_a_warm_process(stack: RunningStack, linked: LinkSession) -> None:
    """S70: whatever was handed out a moment ago, an unlinked account gives nothing."""
    stack.become("tokens")
    warm = bootstrap.vending()
    assert warm.access_token_for(ACCOUNT_ID, caller=samples.BACKEND, min_ttl=timedelta(0))
    stack.tiktok.script.append(Answer({}))
    unlinked = stack.invoke("unlink", event("unlink-account"))
    assert body_of(unlinked) == {"status": "unlinked", "revoked_at_tiktok": True}

    with pytest.raises(AccountUnlinked):
        warm.access_token_for(ACCOUNT_ID, caller=samples.BACKEND, min_ttl=timedelta(0))


# -- a restored table ----------------------------------------------------------------------------


@pytest.fixture
def restored(stack: RunningStack, linked: LinkSession) -> str:
    """What point-in-time recovery gives: a table of its own with everything as it was."""
    name = "RestoredTable"
    properties = template()["Resources"]["AccountsTable"]["Properties"]
    wanted = ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "BillingMode")
    made = client("dynamodb")
    if name in made.list_tables()["TableNames"]:
        made.delete_table(TableName=name)
    made.create_table(TableName=name, **{key: properties[key] for key in wanted})
    for row in stack.items("AccountsTable")["AccountsTable"]:
        made.put_item(TableName=name, Item=row)
    return name


def restore(name: str, *more: str) -> int:
    tables = {"RESTORED_TABLE": name, "ACCOUNTS_TABLE": "AccountsTable"}
    return restoring.main([*documented("local.restoring", **tables), *more])


def lose(stack: RunningStack, *sort_keys: str) -> None:
    """The rows whose sort key begins so are gone; all, if none is named."""
    for row in stack.items("AccountsTable")["AccountsTable"]:
        if not sort_keys or row["sk"]["S"].startswith(sort_keys):
            client("dynamodb").delete_item(
                TableName="AccountsTable", Key={"pk": row["pk"], "sk": row["sk"]}
            )


def test_a_restored_account_asks_tiktok_before_it_gives_a_token(
    stack: RunningStack, restored: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lose(stack)

    assert restore(restored) == restoring.DONE
    assert capsys.readouterr().out.splitlines() == [
        "1 accounts copied",
        "2 data keys copied",
        "1 grants copied",
    ]

    found = grant()
    assert found.is_in_doubt
    assert not found.is_alive(stack.clock.now), "though its access token has not expired"
    stack.tiktok.script.append(Answer(stack.pair(2)))
    assert vend(stack) == "act.event2!0001"
    assert not grant().is_in_doubt


def test_a_restored_account_whose_token_was_renewed_since_is_flagged_as_our_loss(
    stack: RunningStack, restored: str
) -> None:
    """Its refresh token is dead: nobody is told that the account works."""
    lose(stack)
    restore(restored)
    stack.tiktok.script.append(Answer({"error": "invalid_grant"}))

    answer = body_of(stack.invoke("tokens", event("tokens-vend")))

    assert answer["code"] == "relink_required"
    assert (grant().status, grant().reason) == (
        Status.RELINK_REQUIRED,
        RelinkReason.ROTATION_LOST,
    )


def test_restored_accounts_are_found_by_the_schedule(stack: RunningStack, restored: str) -> None:
    lose(stack)
    restore(restored)
    stack.clock.now = max(stack.clock.now, NOON) + timedelta(days=30)  # the command took real time

    assert stack.invoke("refresh", {})["planned"] == 1


def test_what_the_table_has_stays_as_it_is(stack: RunningStack, restored: str) -> None:
    """A newer pair, an unlinked account: what is there is what happened since."""
    renew(stack, 2)
    stack.tiktok.script.append(Answer({}))
    stack.invoke("unlink", event("unlink-account"))
    before = stack.items("AccountsTable")

    assert restore(restored) == restoring.DONE

    assert stack.items("AccountsTable") == before
    assert stack.invoke("tokens", event("tokens-vend"))["statusCode"] == 410


def test_only_what_is_missing_comes_back(stack: RunningStack, restored: str) -> None:
    renew(stack, 2)
    lose(stack, "acct#")

    restore(restored)

    assert not grant().is_in_doubt
    assert vend(stack) == "act.event2!0001"


def test_leases_failures_and_told_events_do_not_come_back(
    stack: RunningStack, restored: str
) -> None:
    made = client("dynamodb")
    (row,) = (item for item in made.scan(TableName=restored)["Items"] if item["sk"]["S"] == "grant")
    stale = {"lo": {"S": "w"}, "lu": {"N": "9999999999999"}, "bo": {"N": "9999999999999"}}
    made.put_item(TableName=restored, Item=row | stale | {"it": row["fp"], "fc": {"N": "3"}})
    lose(stack)

    restore(restored)

    found = grant()
    assert (found.lease_until, found.intent, found.backoff_until, found.failures) == (
        None,
        None,
        None,
        0,
    )
    assert not any("ev" in item for item in stack.items("AccountsTable")["AccountsTable"])


def test_a_dry_run_changes_nothing_and_a_second_run_goes_on(
    stack: RunningStack, restored: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lose(stack)
    assert restore(restored, "--dry-run") == restoring.DONE
    assert stack.items("AccountsTable") == {"AccountsTable": []}
    assert "1 grants that would be copied" in capsys.readouterr().out
    restore(restored)
    lose(stack, "acct#")

    assert restore(restored) == restoring.DONE

    assert "1 grants already there" in capsys.readouterr().out
    stack.tiktok.script.append(Answer(stack.pair(2)))
    assert vend(stack) == "act.event2!0001"


def test_a_table_with_data_keys_of_its_own_is_left_alone(
    stack: RunningStack, restored: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is restored would not open with them."""
    lose(stack)
    stack.become("refresh")
    bootstrap.sealing().prepare("access", now=stack.clock.now)
    before = stack.items("AccountsTable")

    assert restore(restored) == restoring.FAILED

    assert stack.items("AccountsTable") == before
    assert "data key of its own (key#access" in capsys.readouterr().err


def test_data_keys_that_were_wrapped_anew_since_are_the_same(
    stack: RunningStack, restored: str
) -> None:
    new = new_kms_key()
    run(first_kms_key(stack), new)
    stack.deploy(SEALING_KEY_ARN=new)
    lose(stack, "grant", "acct#")

    assert restore(restored) == restoring.DONE

    stack.tiktok.script.append(Answer(stack.pair(2)))
    assert vend(stack) == "act.event2!0001"


def test_a_table_that_is_not_there_is_told(
    stack: RunningStack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore("NoSuchTable") == restoring.FAILED

    assert capsys.readouterr().err.startswith("stopped: ")
