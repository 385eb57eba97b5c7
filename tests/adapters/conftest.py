"""Each port's fake and its real adapter, by the same name, for the same tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from benchmarks.renewal.aws import Aws, Schema
from benchmarks.renewal.in_process import Client
from tests.fakes.accounts import AccountsInMemory
from tests.fakes.aws import aws, client, create_table, template
from tests.fakes.clock import Clock
from tests.fakes.happenings import Happenings
from tests.fakes.schedule import ScheduleInMemory
from tests.fakes.sessions import SessionsInMemory
from tiktok_linking.adapters.account_table import AccountTable
from tiktok_linking.adapters.dynamodb import Table
from tiktok_linking.adapters.reminder_table import ReminderTable
from tiktok_linking.adapters.schedule_table import ScheduleTable
from tiktok_linking.adapters.session_table import SessionTable
from tiktok_linking.adapters.timeline_table import TimelineTable


@pytest.fixture
def clock() -> Clock:
    """Noon of a day in November 2026."""
    return Clock()


@pytest.fixture
def in_aws() -> Iterator[None]:
    """AWS in this process."""
    with aws():
        yield


@pytest.fixture
def accounts_table(in_aws: None) -> Table:
    """The accounts table of the template."""
    return Table(client("dynamodb"), create_table("AccountsTable"))


@pytest.fixture
def sessions_table(in_aws: None) -> Table:
    """The sessions table of the template."""
    return Table(client("dynamodb"), create_table("SessionsTable"))


@pytest.fixture
def counted_table() -> Table:
    """The same table in the stand-in that the benchmark counts by."""
    schema = Schema.of(template()["Resources"]["AccountsTable"]["Properties"])
    return Table(Client(Aws({"AccountsTable": schema}, {}), "dynamodb"), "AccountsTable")


@pytest.fixture(params=["fake", "moto", "counted"])
def accounts(request: pytest.FixtureRequest) -> AccountsInMemory | AccountTable:
    """Grants, Links, Authorisations and Directory."""
    if request.param == "fake":
        return AccountsInMemory(Happenings())
    if request.param == "counted":
        return AccountTable(request.getfixturevalue("counted_table"))
    return AccountTable(request.getfixturevalue("accounts_table"))


@pytest.fixture
def schedule(
    request: pytest.FixtureRequest, accounts: AccountsInMemory | AccountTable
) -> ScheduleInMemory | ScheduleTable:
    """Schedule and Circuits, over the same table as ``accounts``."""
    if isinstance(accounts, AccountsInMemory):
        return ScheduleInMemory(Happenings(), accounts)
    kind = request.node.callspec.params["accounts"]
    table = "counted_table" if kind == "counted" else "accounts_table"
    return ScheduleTable(request.getfixturevalue(table))


@pytest.fixture
def reminders(
    request: pytest.FixtureRequest, accounts: AccountsInMemory | AccountTable
) -> AccountsInMemory | ReminderTable:
    """Reminders, over the same table as ``accounts``."""
    if isinstance(accounts, AccountsInMemory):
        return accounts
    kind = request.node.callspec.params["accounts"]
    table = "counted_table" if kind == "counted" else "accounts_table"
    return ReminderTable(request.getfixturevalue(table))


@pytest.fixture
def copies(
    request: pytest.FixtureRequest, accounts: AccountsInMemory | AccountTable
) -> AccountsInMemory | TimelineTable:
    """What the outbox copies from grants into account rows, over the same table."""
    if isinstance(accounts, AccountsInMemory):
        return accounts
    kind = request.node.callspec.params["accounts"]
    table = "counted_table" if kind == "counted" else "accounts_table"
    return TimelineTable(request.getfixturevalue(table), kept_for=timedelta(days=90))


@pytest.fixture(params=["fake", "moto", "counted"])
def sessions(request: pytest.FixtureRequest) -> SessionsInMemory | SessionTable:
    """The port Sessions."""
    if request.param == "fake":
        return SessionsInMemory(Happenings())
    if request.param == "counted":
        schema = Schema.of(template()["Resources"]["SessionsTable"]["Properties"])
        stand_in = Client(Aws({"SessionsTable": schema}, {}), "dynamodb")
        return SessionTable(Table(stand_in, "SessionsTable"))
    return SessionTable(request.getfixturevalue("sessions_table"))
