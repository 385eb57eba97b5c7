"""The reminder index, its looks and the outbox's copies: fake and table behave alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from tests.adapters.test_accounts_contract import Accounts, link, read
from tests.fakes import samples
from tests.fakes.accounts import AccountsInMemory
from tests.fakes.clock import NOON
from tiktok_linking.accounts import LIST_SHARDS, Account, RelinkReason, Reminder, Status
from tiktok_linking.adapters.reminder_table import ReminderTable
from tiktok_linking.adapters.timeline_table import TimelineTable
from tiktok_linking.ports import Look
from tiktok_linking.schedule import REMINDER_SHARDS, first_look

Reminders = AccountsInMemory | ReminderTable
Copies = AccountsInMemory | TimelineTable
DEADLINE = NOON + timedelta(days=180)
FAR = date(2030, 1, 1)
REMINDER = Reminder(30, DEADLINE)
LATER = NOON + timedelta(hours=1)


def looks(reminders: Reminders, today: date = FAR) -> list[Look]:
    """Everything in the index up to a day."""
    return [
        look
        for shard in range(REMINDER_SHARDS)
        for look in reminders.to_look_at(shard, today=today, limit=50, after=None).items
    ]


def row(reminders: Reminders, account: Account) -> Account:
    return reminders.read_links([account.id])[account.id][1]


def the_look(reminders: Reminders) -> Look:
    (look,) = looks(reminders)
    return look


ACCOUNT = samples.account()


def test_a_linked_account_is_looked_at_ahead_of_every_threshold(
    accounts: Accounts, reminders: Reminders
) -> None:
    link(accounts)

    first = first_look(DEADLINE)
    assert looks(reminders, first) == [Look(ACCOUNT.id, first)]
    assert looks(reminders, first - timedelta(days=1)) == []


def test_an_account_without_a_date_is_not_in_the_index(
    accounts: Accounts, reminders: Reminders
) -> None:
    link(accounts, relink_in=None)

    assert looks(reminders) == []


def test_pages_of_the_index_follow_one_another(accounts: Accounts, reminders: Reminders) -> None:
    for number in range(30):
        days = timedelta(days=100 + number)
        link(accounts, f"u_{number}", open_id=f"open-{number}", relink_in=days)
    found = []
    for shard in range(REMINDER_SHARDS):
        after: Look | None = None
        while True:
            page = reminders.to_look_at(shard, today=FAR, limit=2, after=after)
            assert [x.day for x in page.items] == sorted(x.day for x in page.items)
            found += list(page.items)
            assert len(found) == len(set(found)), "a page came again"
            after = page.after
            if after is None:
                break

    assert sorted(found, key=str) == sorted(looks(reminders), key=str)
    assert len(found) == 30


def test_accounts_are_read_with_their_grants_and_without_ciphertext(
    accounts: Accounts, reminders: Reminders
) -> None:
    link(accounts)
    unknown = samples.account(end_user_id="nobody")

    found = reminders.read_links([ACCOUNT.id, unknown.id])

    assert list(found) == [ACCOUNT.id]
    grant, account = found[ACCOUNT.id]
    assert (grant.pair, grant.relink_by) == (None, DEADLINE)
    assert account.end_user_id == "u_42"
    assert reminders.read_links([]) == {}


def test_a_reminder_is_noted_with_its_next_look(accounts: Accounts, reminders: Reminders) -> None:
    link(accounts)
    then = (DEADLINE - timedelta(days=14)).date()

    done = reminders.remind(ACCOUNT, REMINDER, the_look(reminders), then=then, now=LATER)

    assert done
    assert row(reminders, ACCOUNT).reminded == REMINDER
    assert looks(reminders) == [Look(ACCOUNT.id, then)]


def test_of_two_reminders_at_once_one_is_noted(accounts: Accounts, reminders: Reminders) -> None:
    link(accounts)
    look = the_look(reminders)
    then = (DEADLINE - timedelta(days=14)).date()

    first = reminders.remind(ACCOUNT, REMINDER, look, then=then, now=LATER)
    second = reminders.remind(
        ACCOUNT, REMINDER, look, then=then, now=LATER + timedelta(milliseconds=1)
    )

    assert (first, second) == (True, False)


def test_who_has_been_unlinked_since_is_not_reminded(
    accounts: Accounts, reminders: Reminders
) -> None:
    link(accounts)
    look = the_look(reminders)
    accounts.mark_unlinked(ACCOUNT, now=LATER)

    assert looks(reminders) == []
    assert not reminders.remind(ACCOUNT, REMINDER, look, then=FAR, now=LATER)
    assert row(reminders, ACCOUNT).reminded is None


def test_who_has_linked_again_since_is_not_reminded_and_not_forgotten(
    accounts: Accounts, reminders: Reminders
) -> None:
    link(accounts)
    look = the_look(reminders)
    link(accounts, at=LATER, relink_in=timedelta(days=180) - timedelta(hours=1))

    assert not reminders.remind(ACCOUNT, REMINDER, look, then=FAR, now=LATER)
    reminders.look_again(look, ACCOUNT, then=None)

    assert looks(reminders) == [look]


def test_a_link_begins_the_looks_anew(accounts: Accounts, reminders: Reminders) -> None:
    link(accounts)
    reminders.look_again(the_look(reminders), ACCOUNT, then=None)
    assert looks(reminders) == []

    link(accounts, at=NOON + timedelta(days=200))

    assert the_look(reminders).day == first_look(DEADLINE + timedelta(days=200))


def test_a_look_goes_to_another_day_or_out(accounts: Accounts, reminders: Reminders) -> None:
    link(accounts)
    look = the_look(reminders)

    reminders.look_again(look, ACCOUNT, then=FAR)
    reminders.look_again(look, ACCOUNT, then=None)  # it is no longer there

    assert looks(reminders) == [Look(ACCOUNT.id, FAR)]
    reminders.look_again(Look(ACCOUNT.id, FAR), None, then=None)
    assert looks(reminders) == []


def test_a_passed_date_is_written_if_nothing_else_has_changed(
    accounts: Accounts, reminders: Reminders
) -> None:
    link(accounts)
    grant = read(accounts)
    late = DEADLINE + timedelta(hours=1)

    assert not reminders.end_at_deadline(grant, now=DEADLINE - timedelta(hours=1))
    assert not reminders.end_at_deadline(replace(grant, version=grant.version - 1), now=late)
    assert reminders.end_at_deadline(grant, now=late)
    assert not reminders.end_at_deadline(grant, now=late)

    after = read(accounts)
    assert (after.status, after.reason) == (
        Status.RELINK_REQUIRED,
        RelinkReason.REFRESH_TOKEN_EXPIRED,
    )
    assert (after.version, after.due_at) == (grant.version + 1, None)


# -- the outbox's copies --------------------------------------------------------------------------


@pytest.mark.parametrize("relink_by", [DEADLINE + timedelta(days=3), None])
def test_a_date_that_moved_moves_lists_and_looks(
    accounts: Accounts, reminders: Reminders, copies: Copies, relink_by: datetime | None
) -> None:
    link(accounts)
    account, grant = row(reminders, ACCOUNT), read(accounts)

    copies.copy_grant(account, replace(grant, relink_by=relink_by))

    assert row(reminders, ACCOUNT).relink_by == relink_by
    expected = [] if relink_by is None else [Look(ACCOUNT.id, first_look(relink_by))]
    assert looks(reminders) == expected
    # The list that ends with the old day has it no more.
    listed, _ = accounts.list_accounts(
        tenant_id=None, end_user_id=None, after=None, limit=2, until=DEADLINE.date()
    )
    assert listed == []


def test_a_status_is_copied_without_touching_the_looks(
    accounts: Accounts, reminders: Reminders, copies: Copies
) -> None:
    link(accounts)
    look = the_look(reminders)
    reminders.look_again(look, ACCOUNT, then=FAR)
    grant = read(accounts)

    copies.copy_grant(ACCOUNT, replace(grant, status=Status.REVOKED))
    was_ended = row(reminders, ACCOUNT).is_ended
    copies.copy_grant(ACCOUNT, grant)

    assert (was_ended, row(reminders, ACCOUNT).is_ended) == (True, False)
    assert looks(reminders) == [Look(ACCOUNT.id, FAR)]


def test_a_copy_for_an_older_authorisation_comes_too_late(
    accounts: Accounts, reminders: Reminders, copies: Copies
) -> None:
    link(accounts)
    before, grant = row(reminders, ACCOUNT), read(accounts)
    link(accounts, at=LATER)

    copies.copy_grant(before, replace(grant, relink_by=None, status=Status.REVOKED))

    after = row(reminders, ACCOUNT)
    assert (after.is_ended, after.relink_by) == (False, DEADLINE + timedelta(hours=1))


# -- counts ---------------------------------------------------------------------------------------


def count(
    accounts: Accounts,
    first: date,
    last: date,
    *,
    tenant_id: str | None = None,
    registrations: tuple[str, ...] = (),
) -> int:
    counted = [
        accounts.count_relinks(
            tenant_id=tenant_id, registrations=registrations, shard=shard, first=first, last=last
        )
        for shard in range(LIST_SHARDS)
    ]
    assert all(exact for _, exact in counted)
    return sum(number for number, _ in counted)


def test_relinks_are_counted_by_the_day_with_both_ends(accounts: Accounts) -> None:
    for number in range(10):
        days = timedelta(days=100 + number)
        link(accounts, f"u_{number}", open_id=f"open-{number}", relink_in=days)
    first = (NOON + timedelta(days=102)).date()

    assert count(accounts, first, first) == 1
    assert count(accounts, first, first + timedelta(days=4)) == 5
    assert count(accounts, first + timedelta(days=8), FAR) == 0


def test_only_what_is_active_is_counted(accounts: Accounts, copies: Copies) -> None:
    link(accounts, "u_1", open_id="open-1")
    link(accounts, "u_2", open_id="open-2")
    grant = link(accounts, "u_3", open_id="open-3")
    link(accounts, "u_4", open_id="open-4", relink_in=None)
    accounts.mark_unlinked(samples.account(end_user_id="u_2", open_id="open-2"), now=LATER)
    third = samples.account(end_user_id="u_3", open_id="open-3")
    copies.copy_grant(third, replace(grant, status=Status.REVOKED))

    assert count(accounts, NOON.date(), FAR) == 1


def test_a_tenant_and_its_registrations_are_counted_alone(accounts: Accounts) -> None:
    for registration, tenant in [("default", "t_1"), ("second", "t_1"), ("default", None)]:
        accounts.save_account(samples.account(registration=registration, tenant_id=tenant))

    today = NOON.date()
    assert count(accounts, today, FAR, tenant_id="t_1") == 2
    assert count(accounts, today, FAR, tenant_id="t_1", registrations=("second",)) == 1
    assert count(accounts, today, FAR, tenant_id="t_1", registrations=("third", "second")) == 1
    assert count(accounts, today, FAR) == 1


def test_a_list_ends_with_its_last_day(accounts: Accounts) -> None:
    for number in range(5):
        days = timedelta(days=100 + number)
        link(accounts, f"u_{number}", open_id=f"open-{number}", relink_in=days)
    until = (NOON + timedelta(days=102)).date()
    found: list[str] = []
    after: str | None = None
    while True:
        page, after = accounts.list_accounts(
            tenant_id=None, end_user_id=None, after=after, limit=2, until=until
        )
        found += [account.end_user_id for _, account in page]
        if after is None:
            break

    assert found == ["u_0", "u_1", "u_2"]
