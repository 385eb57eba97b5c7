"""From a write of a table to what the team is told: every mark, read back from the stream's images.

The writes are the real ones, into moto; a stream record is made of each as DynamoDB does it, from
the item before and after. Each record can be delivered again, and publishing can die anywhere.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from benchmarks.renewal.aws import Aws, Schema
from benchmarks.renewal.in_process import Client
from tests.fakes import samples
from tests.fakes.aws import client, template
from tests.fakes.clock import NOON
from tests.fakes.happenings import Happenings, Killed
from tests.fakes.outbox import SCHEMAS, MemoryBus
from tests.fakes.sealing import TransparentSealing
from tiktok_linking.accounts import (
    Account,
    RelinkReason,
    Reminder,
    RevokedReason,
    SealedPair,
    Status,
)
from tiktok_linking.adapters.account_table import AccountTable
from tiktok_linking.adapters.changes import read_change
from tiktok_linking.adapters.dynamodb import Table, Update
from tiktok_linking.adapters.records import grant_key
from tiktok_linking.adapters.reminder_table import ReminderTable
from tiktok_linking.adapters.schedule_table import ScheduleTable
from tiktok_linking.adapters.session_table import SessionTable
from tiktok_linking.adapters.timeline_table import TimelineTable
from tiktok_linking.circuit import Circuit, Trouble
from tiktok_linking.errors import RecordBroken, StoreUnavailable
from tiktok_linking.events import EventType
from tiktok_linking.ports import (
    AuthorisedPair,
    Failure,
    Look,
    NewAccount,
    RenewedPair,
    Saved,
)
from tiktok_linking.publishing import Publishing
from tiktok_linking.requesting import RelinkLinks, Stack
from tiktok_linking.schedule import first_look
from tiktok_linking.sessions import Completion, SessionReason, SessionStatus, session_key

LATER = NOON + timedelta(hours=1)
GRANT = samples.GRANT_ID

_sealing = TransparentSealing(Happenings())
Json = dict[str, Any]


class _Streaming:
    """A DynamoDB client that keeps what the table's stream would bring."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.records: list[Json] = []

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)
        if name not in ("put_item", "update_item", "delete_item"):
            return call

        def write(**arguments: Any) -> Any:
            key = arguments.get("Key") or {
                part: arguments["Item"][part] for part in ("pk", "sk") if part in arguments["Item"]
            }
            before = self._look(arguments["TableName"], key)
            answer = call(**arguments)
            after = self._look(arguments["TableName"], key)
            images = {"OldImage": before, "NewImage": after}
            change = {name: image for name, image in images.items() if image}
            if before != after and "ev" in change.get("NewImage", {}):  # the mapping's filter
                number = str(len(self.records))
                self.records.append({"dynamodb": _as_text(change) | {"SequenceNumber": number}})
            return answer

        return write

    def _look(self, table: str, key: Json) -> Json:
        found = self._inner.get_item(TableName=table, Key=key, ConsistentRead=True)
        return dict(found.get("Item", {}))


def _as_text(value: Any) -> Any:
    """Binary values come as base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: _as_text(inner) for name, inner in value.items()}
    return value


class Outbox:
    """Tables whose writes reach ``publish`` when the test says so."""

    def __init__(self, inner: Any) -> None:
        self.client = _Streaming(inner)
        self.table = Table(self.client, "AccountsTable")
        self.accounts = AccountTable(self.table)
        self.schedule = ScheduleTable(self.table)
        self.sessions = SessionTable(Table(self.client, "SessionsTable"))
        self.timeline = TimelineTable(self.table, kept_for=timedelta(days=90))
        self.happenings = Happenings()
        self.bus = MemoryBus(self.happenings)
        self._publishing = Publishing(bus=self.bus, timeline=self.timeline)
        self._done = 0

    def put_links_into_reminders(self, *, at: datetime, completion: Completion) -> None:
        links = RelinkLinks(
            sessions=self.sessions,
            stack=Stack(("default",), samples.SCOPES, (), (), completion),
            base_url="https://link.example.com",
            now=lambda: at,
        )
        self._publishing = replace(self._publishing, links=links)

    def publish(self, *, again: bool = False) -> list[str]:
        """Deliver what was written since; what ``publish`` writes itself carries no mark."""
        sent = len(self.bus.sent)
        if again:
            self._done = 0
        while self._done < len(self.client.records):
            change = read_change(self.client.records[self._done])
            assert change is not None
            self._publishing.publish(change)
            self._done += 1
        return self.bus.types[sent:]

    def detail(self, number: int = -1) -> Json:
        return dict(self.bus.sent[number].detail)

    def told(self, account: Account) -> list[str]:
        """An account's timeline, oldest first."""
        return [row["st"] for row in self.table.query_all("pk = :pk", {":pk": account.id})]

    # -- what happens ----------------------------------------------------------------------------

    def link(self, user: str = "u_42", *, at: datetime = NOON, **changes: Any) -> Account:
        """A callback: the grant, then the account row."""
        answer = samples.answer(issued_at=at, **changes)
        account = samples.account(
            end_user_id=user, open_id=answer.open_id, at=at, relink_by=answer.relink_by
        )
        pair = _sealing.seal_pair(answer, registration="default", now=at)
        authorised = AuthorisedPair(
            registration="default",
            open_id=answer.open_id,
            authorised_at=at,
            write_id=pair.pair_id[-8:],
            pair=pair,
            account=NewAccount(account, "session-key", pair.scopes, ()),
        )
        assert (
            self.accounts.save_authorised(authorised, due_at=at, only_existing=False)
            is Saved.STORED
        )
        self.accounts.save_account(account)
        return account

    def renew(self, *, at: datetime = LATER, is_news: bool = True, **changes: Any) -> Saved:
        grant = self.grant()
        assert grant.pair is not None
        pair: SealedPair = _sealing.seal_pair(
            samples.answer(issued_at=at, **changes), registration="default", now=at
        )
        if "relink_in" not in changes:
            pair = replace(pair, relink_by=grant.relink_by)
        renewed = RenewedPair(grant.id, grant.pair.fingerprint, pair.pair_id[-8:], pair)
        return self.accounts.save_renewed(
            renewed, due_at=None, now=at, settles_doubt=grant.is_in_doubt, is_news=is_news
        )

    def fail(self, *, at: datetime = LATER) -> None:
        """A renewal that fails, as renewal.py tells of it."""
        grant = self.grant()
        taken = self.accounts.take_lease(
            grant, owner="worker", until=at + timedelta(seconds=35), now=at
        )
        assert taken
        failure = Failure(
            "unavailable", "log-1", at, keeps_intent=False, is_news=grant.failures + 1 == 3
        )
        self.accounts.release(GRANT, owner="worker", failure=failure, now=at)

    def unlink(self, account: Account, *, at: datetime = LATER) -> None:
        self.accounts.mark_unlinked(account, now=at)

    def end(self, revocation: str, reason: str | None = None, *, at: datetime = LATER) -> None:
        """The last account is gone: what TikTok answered, and the tokens are deleted."""
        assert self.accounts.mark_revoking(self.grant(), now=at)
        assert self.accounts.forget_tokens(
            self.grant(), revocation=revocation, reason=reason, now=at
        )

    def grant(self) -> Any:
        return self.accounts.read_batch([GRANT], ()).grants[GRANT]


def in_process() -> Outbox:
    """Over the stand-in that answers as DynamoDB does; the contract suite holds it to that."""
    schemas = {
        name: Schema.of(template()["Resources"][name]["Properties"])
        for name in ("AccountsTable", "SessionsTable")
    }
    return Outbox(Client(Aws(schemas, {}), "dynamodb"))


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    """Nobody is linked."""
    outbox = in_process()
    yield outbox
    # Whatever a test did: what comes again says the same.
    before = [(event.type, event.event_id) for event in outbox.bus.sent]
    outbox.publish(again=True)
    again = [(event.type, event.event_id) for event in outbox.bus.sent[len(before) :]]
    assert set(again) <= set(before)


@pytest.fixture
def outbox_in_aws(accounts_table: Table, sessions_table: Table) -> Outbox:
    """The same over moto, for what the stand-in does not know."""
    return Outbox(client("dynamodb"))


# -- links -----------------------------------------------------------------------------------------


def test_a_link_is_told_once(outbox: Outbox) -> None:
    account = outbox.link()

    assert outbox.publish() == ["account.linked"]
    assert outbox.detail() == {
        "event_id": outbox.bus.sent[0].event_id,
        "occurred_at": "2026-11-21T12:00:00Z",
        "account_id": account.id,
        "account_version": 1,
        "app_registration": "default",
        "end_user_id": "u_42",
        "tenant_id": None,
        "open_id": samples.OPEN_ID,
        "scopes": {"granted": ["user.info.basic", "video.list"], "missing": []},
    }
    assert outbox.told(account) == ["account.linked"]


def test_a_second_end_user_of_the_same_tiktok_account_is_no_news_to_the_first(
    outbox: Outbox,
) -> None:
    first = outbox.link("ada")
    second = outbox.link("bob", at=LATER)

    assert outbox.publish() == ["account.linked", "account.linked"]
    assert [outbox.told(a) for a in (first, second)] == [["account.linked"]] * 2


def test_linking_again_is_a_relink_and_after_an_unlink_a_link(outbox: Outbox) -> None:
    account = outbox.link()
    outbox.link(at=LATER)
    outbox.publish()
    outbox.unlink(account, at=LATER + timedelta(hours=1))
    outbox.end("true")
    outbox.link(at=LATER + timedelta(hours=2))
    outbox.publish()

    assert outbox.bus.types == [
        "account.linked",
        "account.relinked",
        "account.unlinked",
        "account.linked",
    ]
    assert outbox.told(account) == outbox.bus.types


def test_a_relink_with_other_scopes_tells_both(outbox: Outbox) -> None:
    outbox.link()
    outbox.publish()

    outbox.link(at=LATER, scopes=("user.info.basic",))

    assert outbox.publish() == ["account.scopes_changed", "account.relinked"]
    assert outbox.detail(-2)["before"] == ["user.info.basic", "video.list"]
    assert outbox.detail(-2)["scopes"] == {
        "granted": ["user.info.basic"],
        "missing": ["video.list"],
    }


# -- renewals --------------------------------------------------------------------------------------


def test_a_renewal_that_changes_nothing_but_tokens_wakes_nobody(outbox: Outbox) -> None:
    outbox.link()
    outbox.publish()
    before = len(outbox.client.records)

    outbox.renew(is_news=False)

    assert len(outbox.client.records) == before


def test_the_third_failure_in_a_row_is_told_and_so_is_the_end_of_it(outbox: Outbox) -> None:
    account = outbox.link()
    outbox.publish()

    for hours in (1, 2, 3, 4):
        outbox.fail(at=NOON + timedelta(hours=hours))
    assert outbox.publish() == ["account.refresh_failing"]
    assert outbox.detail()["failing_since"] == "2026-11-21T13:00:00Z"
    assert outbox.detail()["occurred_at"] == "2026-11-21T15:00:00Z"
    assert outbox.detail()["error"] == "unavailable"

    outbox.renew(at=NOON + timedelta(hours=5))
    outbox.renew(at=NOON + timedelta(hours=6))
    assert outbox.publish() == ["account.recovered"]
    assert outbox.detail()["failing_since"] == "2026-11-21T13:00:00Z"
    assert outbox.told(account)[1:] == ["account.refresh_failing", "account.recovered"]


def test_two_failures_are_no_news_and_neither_is_their_end(outbox: Outbox) -> None:
    outbox.link()
    outbox.publish()

    outbox.fail()
    outbox.fail()
    outbox.renew()

    assert outbox.publish() == []


@pytest.mark.parametrize("failures", [0, 1, 2, 3, 4])
def test_a_quarantine_is_told_once_and_so_is_its_end(outbox: Outbox, failures: int) -> None:
    outbox.link()
    for _ in range(failures):
        outbox.fail()
    outbox.accounts.quarantine(GRANT, "foreign_open_id", now=LATER)
    outbox.accounts.quarantine(GRANT, "foreign_open_id", now=LATER + timedelta(hours=1))
    outbox.renew(at=LATER + timedelta(hours=2))

    assert outbox.publish() == ["account.linked", "account.refresh_failing", "account.recovered"]


def test_a_required_relink_is_told_once_for_each_account(outbox: Outbox) -> None:
    accounts = [outbox.link("ada"), outbox.link("bob", at=LATER)]
    gone = outbox.link("cy", at=LATER + timedelta(seconds=1))
    outbox.unlink(gone)
    outbox.publish()

    for _ in range(2):
        outbox.accounts.require_relink(
            outbox.grant(), RelinkReason.REFRESH_TOKEN_REJECTED, now=LATER
        )

    assert outbox.publish() == ["account.relink_required"] * 2
    assert {e.account_id for e in outbox.bus.sent[-2:]} == {account.id for account in accounts}
    assert len({e.event_id for e in outbox.bus.sent}) == len(outbox.bus.sent)
    assert (outbox.detail()["reason"], outbox.detail()["action_by"]) == (
        "refresh_token_rejected",
        "end_user",
    )


def test_a_passed_deadline_is_told(outbox: Outbox) -> None:
    outbox.link(relink_in=timedelta(minutes=30))
    outbox.publish()

    outbox.accounts.pass_deadline(outbox.grant(), now=LATER)

    assert outbox.publish() == ["account.relink_required"]
    assert outbox.detail()["reason"] == "refresh_token_expired"


def test_who_shares_a_grant_hears_that_another_owner_mended_it(outbox: Outbox) -> None:
    ada, bob = outbox.link("ada"), outbox.link("bob", at=NOON + timedelta(seconds=1))
    outbox.accounts.require_relink(outbox.grant(), RelinkReason.ROTATION_LOST, now=LATER)
    outbox.publish()

    outbox.link("bob", at=LATER + timedelta(hours=1))

    assert outbox.publish() == ["account.recovered", "account.relinked"]
    assert outbox.told(ada)[-1] == "account.recovered"
    assert outbox.told(bob)[-1] == "account.relinked"


def test_a_late_pair_is_told_when_tiktok_has_confirmed_it(outbox: Outbox) -> None:
    outbox.link()
    outbox.accounts.require_relink(outbox.grant(), RelinkReason.ROTATION_LOST, now=LATER)
    assert outbox.renew() is Saved.REVIVED
    assert outbox.publish() == ["account.linked", "account.relink_required"]

    outbox.renew(at=LATER + timedelta(hours=1))

    assert outbox.publish() == ["account.recovered"]


# -- ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", RevokedReason)
def test_a_removal_at_tiktok_says_who_can_act(outbox: Outbox, reason: RevokedReason) -> None:
    outbox.link()
    outbox.publish()

    outbox.accounts.mark_revoked(GRANT, reason, authorised_before=LATER, now=LATER)

    assert outbox.publish() == ["account.revoked"]
    assert (outbox.detail()["source"], outbox.detail()["reason"]) == ("tiktok", reason.value)


@pytest.mark.parametrize(
    ("stored", "told", "why"),
    [("true", True, None), ("false", False, "not_requested"), ("not_needed", "not_needed", None)],
)
def test_the_last_unlink_waits_for_tiktoks_answer(
    outbox: Outbox, stored: str, told: object, why: str | None
) -> None:
    account = outbox.link()
    outbox.publish()

    outbox.unlink(account)
    assert outbox.publish() == []
    outbox.end(stored, why)

    assert outbox.publish() == ["account.unlinked"]
    assert (outbox.detail()["revoked_at_tiktok"], outbox.detail()["reason"]) == (told, why)


def test_an_unlink_that_leaves_others_is_told_at_once(outbox: Outbox) -> None:
    first, second = outbox.link("ada"), outbox.link("bob", at=LATER)
    outbox.publish()

    outbox.unlink(first)
    outbox.unlink(first)

    assert outbox.publish() == ["account.unlinked"]
    assert outbox.detail()["account_id"] == first.id
    assert (outbox.detail()["revoked_at_tiktok"], outbox.detail()["reason"]) == (
        False,
        "shared_grant",
    )
    outbox.unlink(second)
    outbox.end("true")
    assert outbox.publish() == ["account.unlinked"]
    assert outbox.detail()["account_id"] == second.id


def test_a_removal_that_overtakes_an_unlink_lets_it_be_told(outbox: Outbox) -> None:
    account = outbox.link()
    outbox.publish()
    outbox.unlink(account)
    assert outbox.publish() == []

    outbox.accounts.mark_revoked(
        GRANT, RevokedReason.REVOKED_BY_USER, authorised_before=LATER, now=LATER
    )

    assert outbox.publish() == ["account.unlinked"]
    assert outbox.detail()["revoked_at_tiktok"] == "not_needed"
    assert outbox.detail()["reason"] == "revoked_by_user"


def test_an_unlink_that_another_link_overtakes_is_told(outbox: Outbox) -> None:
    """Another person links the same TikTok account before anybody asked TikTok to revoke."""
    account = outbox.link("ada")
    outbox.publish()
    outbox.unlink(account)
    assert outbox.publish() == []

    outbox.link("bob", at=LATER + timedelta(hours=1))

    assert sorted(outbox.publish()) == ["account.linked", "account.unlinked"]
    assert outbox.told(account)[-1] == "account.unlinked"


def test_an_unlink_whose_owner_came_back_first_is_told_before_the_link(outbox: Outbox) -> None:
    account = outbox.link()
    outbox.publish()
    outbox.unlink(account)
    assert outbox.publish() == []

    outbox.link(at=LATER + timedelta(hours=1))

    assert outbox.publish() == ["account.unlinked", "account.linked"]
    assert outbox.detail(-2)["reason"] == "linked_again"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("true", (True, None)),
        ("false", (False, "not_requested")),
        ("not_needed", ("not_needed", None)),
    ],
)
def test_what_tiktok_answered_is_told_although_the_owner_is_back(
    outbox: Outbox, answer: str, told: tuple[object, str | None]
) -> None:
    account = outbox.link()
    outbox.publish()
    outbox.unlink(account)
    outbox.end(answer, told[1])
    outbox.link(at=LATER + timedelta(hours=1))

    assert outbox.publish() == ["account.unlinked", "account.linked"]
    assert (outbox.detail(-2)["revoked_at_tiktok"], outbox.detail(-2)["reason"]) == told


def test_an_unlink_is_told_once_although_the_owner_is_back_before_that_is_marked(
    outbox: Outbox,
) -> None:
    account = outbox.link()
    outbox.publish()
    outbox.unlink(account)
    outbox.end("true")
    outbox.happenings.after("bus.send", lambda: outbox.link(at=LATER + timedelta(hours=1)))

    assert outbox.publish() == ["account.unlinked", "account.linked"]
    assert outbox.told(account) == ["account.linked", "account.unlinked", "account.linked"]


def test_versions_never_fall_however_late_the_events_are(outbox: Outbox) -> None:
    """A row's event is told when the grant has moved on, whose own next one is yet to come."""
    outbox.link()
    outbox.publish()
    outbox.link(at=LATER)
    revoked_at = LATER + timedelta(hours=1)
    outbox.accounts.mark_revoked(
        GRANT, RevokedReason.REVOKED_BY_USER, authorised_before=revoked_at, now=revoked_at
    )
    outbox.link(at=revoked_at + timedelta(hours=1))

    assert outbox.publish() == ["account.relinked", "account.revoked", "account.relinked"]
    versions = [dict[str, Any](event.detail)["account_version"] for event in outbox.bus.sent]
    assert versions == sorted(versions)


# -- reminders -------------------------------------------------------------------------------------


def remind(outbox: Outbox, account: Account, *, at: datetime) -> None:
    """The daily run finds the account 30 days before its date."""
    assert account.relink_by is not None
    reminders = ReminderTable(outbox.table)
    look = Look(account.id, first_look(account.relink_by))
    told = Reminder(30, account.relink_by)
    then = at.date() + timedelta(days=16)
    assert reminders.remind(account, told, look, then=then, now=at)


IN_MAY = NOON + timedelta(days=150)


def test_a_reminder_carries_no_link_unless_the_stack_is_told_to(outbox: Outbox) -> None:
    account = outbox.link()
    remind(outbox, account, at=IN_MAY)

    assert outbox.publish() == ["account.linked", "account.relink_due"]
    assert "relink_url" not in outbox.detail()


def test_a_reminders_link_is_the_owners_and_the_same_however_often_it_is_told(
    outbox: Outbox,
) -> None:
    outbox.put_links_into_reminders(at=IN_MAY, completion=Completion.BROWSER)
    account = outbox.link()
    outbox.publish()
    remind(outbox, account, at=IN_MAY)

    assert outbox.publish() == ["account.relink_due"]
    url = outbox.detail()["relink_url"]
    outbox.publish(again=True)
    assert outbox.detail()["relink_url"] == url
    session = outbox.sessions.read(url.removeprefix("https://link.example.com/connect/"))
    assert session is not None
    assert (session.relink_account_id, session.end_user_id) == (account.id, "u_42")
    assert session.expires_at == IN_MAY + timedelta(days=7)
    noted = outbox.table.query_all("pk = :pk", {":pk": account.id})
    assert "relink_url" not in str(noted)


def test_a_link_lives_no_longer_than_the_date(outbox: Outbox) -> None:
    at = NOON + timedelta(days=178)
    outbox.put_links_into_reminders(at=at, completion=Completion.BROWSER)
    account = outbox.link()
    remind(outbox, account, at=at)
    outbox.publish()

    session = outbox.sessions.read(outbox.detail()["relink_url"].rpartition("/")[2])
    assert session is not None
    assert session.expires_at == account.relink_by


@pytest.mark.parametrize("case", ["date passed", "unlinked since", "ends in the app"])
def test_a_reminder_is_told_without_a_link_where_none_helps(outbox: Outbox, case: str) -> None:
    outbox.put_links_into_reminders(
        at=NOON + timedelta(days=181) if case == "date passed" else IN_MAY,
        completion=Completion.APP if case == "ends in the app" else Completion.BROWSER,
    )
    account = outbox.link()
    outbox.publish()
    remind(outbox, account, at=IN_MAY)
    if case == "unlinked since":
        outbox.unlink(account, at=IN_MAY)

    assert "account.relink_due" in outbox.publish()
    (reminder,) = [event for event in outbox.bus.sent if event.type is EventType.RELINK_DUE]
    assert "relink_url" not in reminder.detail


# -- sessions and TikTok's health ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (SessionStatus.COMPLETED, None),
        (SessionStatus.CANCELLED, SessionReason.USER_CANCELLED),
        *((SessionStatus.FAILED, reason) for reason in SessionReason if "cancelled" not in reason),
    ],
)
def test_the_end_of_a_session_is_told_without_its_id(
    outbox_in_aws: Outbox, status: SessionStatus, reason: SessionReason | None
) -> None:
    session = samples.link_session(metadata={"order": "7"})
    outbox_in_aws.sessions.create(session, idempotency=None)

    outbox_in_aws.sessions.finish(session_key(session.id), status, now=LATER, reason=reason)

    assert outbox_in_aws.publish() == [f"link_session.{status}"]
    assert outbox_in_aws.detail()["metadata"] == {"order": "7"}
    assert session.id not in json.dumps(outbox_in_aws.detail())


def test_a_session_that_the_team_cancels_is_told(outbox_in_aws: Outbox) -> None:
    session = samples.link_session()
    outbox_in_aws.sessions.create(session, idempotency=None)

    outbox_in_aws.sessions.cancel(session.id, caller=samples.BACKEND, now=LATER)

    assert outbox_in_aws.publish() == ["link_session.cancelled"]
    assert (outbox_in_aws.detail()["reason"], outbox_in_aws.detail()["action_by"]) == (
        "cancelled_by_team",
        "nobody",
    )


def circuit(trouble: Trouble, *, minutes: int, strikes: int = 1) -> Circuit:
    at = NOON + timedelta(minutes=minutes)
    return Circuit(
        "default",
        trouble=trouble,
        since=at,
        pauses_until=at + timedelta(seconds=30),
        strikes=strikes,
    )


def test_an_outage_has_one_beginning_and_one_end(outbox: Outbox) -> None:
    schedule = outbox.schedule
    down = [circuit(Trouble.UNAVAILABLE, minutes=n, strikes=n + 1) for n in range(3)]
    for n, opened in enumerate(down):
        assert schedule.open(opened, now=NOON + timedelta(minutes=n))
    schedule.close(down[-1], now=LATER)
    schedule.close(down[-1], now=LATER)

    assert outbox.publish() == ["provider.down", "provider.recovered"]
    assert outbox.detail()["app_registration"] == "default"


def test_a_refused_registration_is_no_outage_and_ends_one(outbox: Outbox) -> None:
    schedule = outbox.schedule
    for n, trouble in enumerate([Trouble.MISCONFIGURED, Trouble.UNAVAILABLE] * 2):
        schedule.open(circuit(trouble, minutes=n), now=NOON + timedelta(minutes=n))
    schedule.close(circuit(Trouble.MISCONFIGURED, minutes=9), now=LATER)

    assert outbox.publish() == ["provider.down", "provider.recovered"] * 2


# -- publishing that comes late --------------------------------------------------------------------


def test_a_life_that_is_published_late_is_told_as_it_was(outbox: Outbox) -> None:
    """What publish reads is the end of it; what it tells is each step, for who was there."""
    ada = outbox.link("ada")
    outbox.accounts.require_relink(outbox.grant(), RelinkReason.ROTATION_LOST, now=LATER)
    bob = outbox.link("bob", at=LATER + timedelta(hours=1), scopes=("user.info.basic",))
    outbox.unlink(ada, at=LATER + timedelta(hours=2))
    outbox.accounts.mark_revoked(
        GRANT,
        RevokedReason.REVOKED_BY_USER,
        authorised_before=LATER + timedelta(hours=3),
        now=LATER + timedelta(hours=3),
    )
    outbox.unlink(bob, at=LATER + timedelta(hours=4))

    outbox.publish()

    assert outbox.told(ada) == [
        "account.linked",
        "account.relink_required",
        *sorted(["account.recovered", "account.scopes_changed"], key=outbox.told(ada).index),
        "account.unlinked",
    ]
    assert outbox.told(bob) == ["account.linked", "account.revoked", "account.unlinked"]
    of_ada = [e.type.value for e in outbox.bus.sent if e.account_id == ada.id]
    assert (of_ada[0], of_ada[-1]) == ("account.linked", "account.unlinked")


def test_linking_again_and_again_is_told_in_order_however_late(outbox: Outbox) -> None:
    for n in range(3):
        account = outbox.link(at=NOON + timedelta(hours=2 * n))
        outbox.unlink(account, at=NOON + timedelta(hours=2 * n + 1))
    outbox.end("true")

    outbox.publish()

    assert outbox.told(account) == ["account.linked", "account.unlinked"] * 3
    assert outbox.bus.types == outbox.told(account)


# -- lists and timelines ---------------------------------------------------------------------------


def test_lists_follow_a_deadline_to_the_day(outbox_in_aws: Outbox) -> None:
    outbox_in_aws.link("ada")
    outbox_in_aws.link("bob", at=LATER)
    outbox_in_aws.renew(at=LATER, relink_in=timedelta(days=300))
    outbox_in_aws.publish()

    rows, _ = outbox_in_aws.accounts.list_accounts(
        tenant_id=None, end_user_id="ada", after=None, limit=5
    )
    ((_, row),) = rows
    assert row.relink_by == LATER + timedelta(days=300)


def test_a_timeline_is_read_in_pages_newest_first(outbox_in_aws: Outbox) -> None:
    account = outbox_in_aws.link()
    for hours in range(1, 5):
        outbox_in_aws.link(at=NOON + timedelta(hours=hours))
    outbox_in_aws.publish()

    pages, place = [], None
    while True:
        page, place = outbox_in_aws.timeline.events_of(account.id, before=place, limit=2)
        pages.append([item["occurred_at"][11:13] for item in page])
        if place is None:
            break

    assert pages == [["16", "15"], ["14", "13"], ["12"]]


def test_a_timeline_forgets(outbox_in_aws: Outbox) -> None:
    account = outbox_in_aws.link()
    outbox_in_aws.publish()

    rows = outbox_in_aws.table.query_all("pk = :pk", {":pk": account.id})

    assert [row["ttl"] for row in rows] == [int((NOON + timedelta(days=90)).timestamp())]


# -- crashes ---------------------------------------------------------------------------------------


def happen(outbox: Outbox) -> Account:
    """A life with everything that publish has to write down."""
    account = outbox.link("ada")
    other = outbox.link("bob", at=NOON + timedelta(seconds=1))
    outbox.renew(relink_in=timedelta(days=300), scopes=("user.info.basic",))
    outbox.unlink(other)
    outbox.unlink(account)
    outbox.end("true")
    return account


def life(number: int = -1, moment: str = "", died: BaseException | None = None) -> Json:
    """Publish a life, dying at one call; the stream brings the change again."""
    outbox = in_process()
    account = happen(outbox)
    dying = _Dying(outbox, number, moment, died)
    while True:
        with contextlib.suppress(Killed, StoreUnavailable):
            outbox.publish()
            break
    return {
        "ids": {event.event_id for event in outbox.bus.sent},
        "told": outbox.told(account),
        "calls": dying.calls,
    }


@pytest.mark.parametrize("died", [Killed(), StoreUnavailable("throttled")], ids=["dead", "refused"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_wherever_publish_dies_nothing_is_lost_and_ids_stay(
    moment: str, died: BaseException
) -> None:
    """At every call of it in turn."""
    whole = life()
    calls = whole.pop("calls")
    assert calls > 20

    for number in range(calls):
        again = life(number, moment, died)
        assert again.pop("calls") > calls, number  # it did die
        assert again["ids"] == whole["ids"], number
        assert again["told"] == whole["told"], number


class _Dying:
    """Counts the calls that publish makes of the table and the bus, and fails at one of them."""

    def __init__(
        self, outbox: Outbox, number: int, moment: str, error: BaseException | None
    ) -> None:
        self.calls = 0
        self._at, self._moment, self._error = number, moment, error or Killed()
        for name in ("read_accounts", "note", "mark_told", "copy_grant"):
            self._wrap(outbox.timeline, name)
        self._wrap(outbox.bus, "send")

    def _wrap(self, target: Any, name: str) -> None:
        inner = getattr(target, name)

        def call(*arguments: Any, **named: Any) -> Any:
            is_it = self.calls == self._at
            self.calls += 1
            if is_it and self._moment == "before":
                raise self._error
            answer = inner(*arguments, **named)
            if is_it:
                raise self._error
            return answer

        setattr(target, name, call)


# -- what makes no sense ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "images",
    [
        {"NewImage": {"ev": {"S": "grant.changed 1"}}},
        {"NewImage": {"ev": {"S": "grant.changed"}, "pk": {"S": "g"}, "sk": {"S": "grant"}}},
        {"NewImage": {"ev": {"N": "7"}, "pk": {"S": "g"}, "sk": {"S": "grant"}}},
    ],
)
def test_an_item_that_makes_no_sense_is_said_to_be_broken(images: Json) -> None:
    with pytest.raises(RecordBroken):
        read_change({"dynamodb": images})


def test_what_carries_no_mark_or_is_gone_means_nothing() -> None:
    assert read_change({"dynamodb": {"NewImage": {"pk": {"S": "x"}}}}) is None
    assert read_change({"dynamodb": {"OldImage": {"pk": {"S": "x"}}}}) is None


def test_a_damaged_grant_holds_back_no_event_of_its_accounts(outbox: Outbox) -> None:
    account = outbox.link()
    outbox.table.update(grant_key(GRANT), Update(sets={"st": "no such status"}, removes=["ev"]))
    outbox.unlink(account)

    assert outbox.publish() == ["account.linked", "account.unlinked"]


# -- schemas ---------------------------------------------------------------------------------------


def test_there_is_a_schema_for_each_type_and_none_more() -> None:
    assert {file.stem for file in SCHEMAS.glob("*.json")} == {type.value for type in EventType}


def test_statuses_are_the_ones_that_this_file_knows() -> None:
    """A new status needs its events."""
    assert {status.value for status in Status} == {
        "active",
        "relink_required",
        "revoked",
        "unlinked",
    }
