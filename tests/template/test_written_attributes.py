"""Marks are written under a condition on attributes, which no emulator checks.

On AWS an update that names one attribute more than its statement does is refused. So the real
adapter writes into a client that only listens, and what it names is compared with the template.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.template.test_powers import statement_of
from tiktok_linking.accounts import (
    RefreshMode,
    Reminder,
    RevokedReason,
    account_id,
    grant_id,
)
from tiktok_linking.adapters.account_table import AccountTable
from tiktok_linking.adapters.dynamodb import Item, Table, encode
from tiktok_linking.adapters.records import read_account, read_grant
from tiktok_linking.adapters.reminder_table import ReminderTable
from tiktok_linking.adapters.timeline_table import TimelineTable
from tiktok_linking.events import Event, EventType
from tiktok_linking.ports import AuthorisedPair, Look, NewAccount

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
GRANT: Item = {
    "pk": grant_id("default", "an open id"),
    "sk": "grant",
    "r": "default",
    "o": "an open id",
    "st": "active",
    "v": 3,
    "au": NOON_MS,
    "ai": NOON_MS,
    "ae": NOON_MS + 86_400_000,
    "rb": NOON_MS + 86_400_000,
    "a": b"sealed",
    "f": b"sealed",
    "pi": b"pair",
    "fp": b"fingerprint",
    "sc": "user.info.basic",
}
ACCOUNT: Item = {
    "pk": GRANT["pk"],
    "sk": "acct#" + account_id("default", "an open id", None, "u_42")[29:],
    "r": "default",
    "o": "an open id",
    "eu": "u_42",
    "li": NOON_MS,
    "au": NOON_MS,
}


class ListeningClient:
    """Takes every update for done and keeps the names in it."""

    def __init__(self) -> None:
        self.named: set[str] = set()
        self.returned: set[str] = set()
        self.put: Item = {}

    def update_item(self, **request: Any) -> dict[str, Any]:
        self.named |= set(request["Key"])
        names = request.get("ExpressionAttributeNames", {})
        for expression in ("UpdateExpression", "ConditionExpression"):
            # Not `:values`, not `functions(`, not the language's own words in capitals.
            words = re.findall(r"(?<![:#\w])#?[a-z]\w*\b(?!\()", request.get(expression, ""))
            self.named |= {names.get(word, word) for word in words}
        self.returned.add(request.get("ReturnValues", "NONE"))
        return {}

    def put_item(self, **request: Any) -> dict[str, Any]:
        self.put = request["Item"]
        return {}

    def query(self, **request: Any) -> dict[str, Any]:
        return {"Items": [encode(ACCOUNT)]}


def test_vending_names_no_attribute_that_it_may_not_write(plain: dict[str, Any]) -> None:
    client = ListeningClient()
    table = AccountTable(Table(client, "accounts"))
    grant = read_grant(GRANT)

    table.mark_used(grant, due_at=NOON, now=NOON)
    table.mark_used(grant, due_at=None, now=NOON)
    table.pass_deadline(grant, now=NOON)

    _is_covered(client, statement_of(plain, "tokens", "MarkUseAndPassedDeadline"))


def test_changing_an_account_names_no_attribute_that_it_may_not_write(
    plain: dict[str, Any],
) -> None:
    client = ListeningClient()
    table = AccountTable(Table(client, "accounts"))

    def change(due_at: datetime | None) -> None:
        table.update_account(
            read_account(ACCOUNT),
            read_grant(GRANT),
            metadata={"plan": "pro"},
            mode=RefreshMode.ALWAYS,
            due_at=lambda _mode: due_at,
        )

    change(NOON)
    change(None)

    _is_covered(client, statement_of(plain, "accounts", "ChangeMetadataAndMode"))


def test_linking_names_no_attribute_that_it_may_not_write(plain: dict[str, Any]) -> None:
    """And asks for no answer: reading one costs more than sealing the pair."""
    client = ListeningClient()
    table = AccountTable(Table(client, "accounts"))
    account = read_account(ACCOUNT)
    pair = read_grant(GRANT).pair
    assert pair is not None

    for new in (None, NewAccount(account, "a session", (), ())):
        made = AuthorisedPair("default", "an open id", NOON, b"write-id", pair, new)
        table.save_authorised(made, due_at=NOON, only_existing=new is None)
    table.save_account(account)

    assert client.returned == {"NONE"}
    _is_covered(client, statement_of(plain, "callback", "SaveGrantsAndAccounts"))


def test_the_webhook_names_no_attribute_that_it_may_not_write(plain: dict[str, Any]) -> None:
    client = ListeningClient()
    table = AccountTable(Table(client, "accounts"))

    table.mark_revoked(GRANT["pk"], RevokedReason.REVOKED_BY_USER, authorised_before=NOON, now=NOON)
    table.ask_at_once(GRANT["pk"], authorised_by=NOON, renewed_by=NOON, now=NOON)

    _is_covered(client, statement_of(plain, "webhook", "MarkGrants"))


def test_publishing_names_no_attribute_that_it_may_not_write(plain: dict[str, Any]) -> None:
    client = ListeningClient()
    table = TimelineTable(Table(client, "accounts"), kept_for=timedelta(days=90))
    account = read_account(ACCOUNT | {"ul": NOON_MS})

    for waits in (True, False):
        table.mark_told(account, waits=waits)
    for deadline in (NOON, None):
        table.copy_grant(account, replace(read_grant(GRANT), relink_by=deadline))

    allowed = statement_of(plain, "publish", "MoveIndexCopies")["Condition"]
    assert {"pk", "sk", "ut", "os", "ev"} <= client.named  # it did listen
    assert client.named <= set(allowed["ForAllValues:StringEquals"]["dynamodb:Attributes"])


def test_a_timeline_row_has_the_attributes_that_may_be_put(plain: dict[str, Any]) -> None:
    client = ListeningClient()
    table = TimelineTable(Table(client, "accounts"), kept_for=timedelta(days=90))
    account = read_account(ACCOUNT)

    table.note(Event(EventType.LINKED, "evt_" + "0" * 32, NOON, {}, account.id))

    condition = statement_of(plain, "publish", "NoteInTimelines")["Condition"]
    assert client.put.keys() == set(condition["ForAllValues:StringEquals"]["dynamodb:Attributes"])
    assert client.put["pk"]["S"].startswith("acct_")


def test_reminding_names_no_attribute_that_it_may_not_write(plain: dict[str, Any]) -> None:
    client = ListeningClient()
    table = ReminderTable(Table(client, "accounts"))
    account = read_account(ACCOUNT)
    look = Look(account.id, NOON.date())

    table.remind(account, Reminder(30, NOON), look, then=NOON.date(), now=NOON)
    table.look_again(look, account, then=NOON.date())
    table.look_again(look, account, then=None)
    table.end_at_deadline(read_grant(GRANT), now=NOON)

    _is_covered(client, statement_of(plain, "remind", "MarkRemindersAndPassedDeadlines"))


def _is_covered(client: ListeningClient, statement: dict[str, Any]) -> None:
    condition = statement["Condition"]
    allowed = condition["ForAllValues:StringEquals"]["dynamodb:Attributes"]

    assert {"pk", "sk", "v", "ev"} <= client.named  # it did listen
    assert client.named <= set(allowed)
    assert client.returned <= set(condition["StringEqualsIfExists"]["dynamodb:ReturnValues"])
