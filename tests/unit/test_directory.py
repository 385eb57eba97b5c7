"""Lists and single accounts: filters, pages, cursors that answer only their own question."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import samples
from tests.unit.stage import Stage
from tiktok_linking.accounts import Account, RefreshMode, RelinkReason, Status
from tiktok_linking.callers import Caller, Tenant
from tiktok_linking.directory import (
    MOST_PAGES,
    Listed,
    Query,
    account,
    forecast,
    list_accounts,
    update,
)
from tiktok_linking.errors import AccountUnlinked, InvalidRequest, NotFound


def link_many(stage: Stage, count: int) -> list[Account]:
    """Accounts of people of their own, the first the nearest to its deadline."""
    return [
        stage.link(
            f"u_{number}",
            answer=samples.answer(
                open_id=f"open-{number}", relink_in=timedelta(days=100 + 10 * number)
            ),
        )
        for number in range(count)
    ]


def ids(found: Sequence[Listed]) -> list[str]:
    return [listed.account.id for listed in found]


def listed(
    stage: Stage, query: Query, cursor: str | None = None, caller: Caller = samples.BACKEND
) -> tuple[list[str], str | None]:
    found, following = list_accounts(
        stage.accounts, query, caller=caller, cursor=cursor, now=stage.clock.now
    )
    return ids(found), following


# -- lists --------------------------------------------------------------------------------------


def test_accounts_are_listed_in_the_order_in_which_they_need_their_owner(stage: Stage) -> None:
    linked = link_many(stage, 3)

    assert listed(stage, Query()) == ([a.id for a in linked], None)


def test_pages_follow_one_another_without_gap_or_repeat(stage: Stage) -> None:
    linked = link_many(stage, 7)
    query = Query(limit=3)

    pages: list[str] = []
    cursor: str | None = None
    while True:
        page, cursor = listed(stage, query, cursor)
        pages += page
        if cursor is None:
            break

    assert pages == [a.id for a in linked]


def test_one_persons_accounts_are_listed_alone(stage: Stage) -> None:
    linked = link_many(stage, 3)

    assert listed(stage, Query(end_user_id="u_1")) == ([linked[1].id], None)


def test_a_tenant_sees_its_own(stage: Stage) -> None:
    link_many(stage, 2)
    own = replace(
        samples.account(tenant_id="t_1", open_id="open-0"), relink_by=None, end_user_id="u_0"
    )
    stage.accounts.save_account(own)

    assert listed(stage, Query(tenant_id="t_1")) == ([own.id], None)
    assert len(listed(stage, Query())[0]) == 2


def test_unlinked_accounts_are_listed_only_when_asked_for(stage: Stage) -> None:
    linked = link_many(stage, 2)
    stage.accounts.mark_unlinked(linked[0], now=stage.clock.now)

    assert listed(stage, Query())[0] == [linked[1].id]
    assert listed(stage, Query(status=Status.UNLINKED))[0] == [linked[0].id]


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.RELINK_REQUIRED, Status.REVOKED])
def test_a_status_filters(stage: Stage, status: Status) -> None:
    linked = link_many(stage, 3)
    stage.accounts.require_relink(
        stage.grant(linked[1].grant_id), RelinkReason.ROTATION_LOST, now=stage.clock.now
    )
    stage.accounts.change(linked[2].grant_id, status=Status.REVOKED)
    expected = {
        Status.ACTIVE: linked[0].id,
        Status.RELINK_REQUIRED: linked[1].id,
        Status.REVOKED: linked[2].id,
    }

    assert listed(stage, Query(status=status))[0] == [expected[status]]


def test_a_passed_deadline_counts_in_lists_before_anybody_wrote_it_down(stage: Stage) -> None:
    linked = link_many(stage, 2)
    stage.clock.advance(days=100)

    assert listed(stage, Query(status=Status.RELINK_REQUIRED))[0] == [linked[0].id]


@pytest.mark.parametrize(("days", "count"), [(0, 0), (99, 0), (100, 1), (110, 2), (400, 3)])
def test_the_nearest_deadlines_can_be_asked_for(stage: Stage, days: int, count: int) -> None:
    link_many(stage, 3)

    assert len(listed(stage, Query(relink_within_days=days))[0]) == count


def test_a_filter_that_matches_little_reads_a_bounded_number_of_pages(stage: Stage) -> None:
    link_many(stage, MOST_PAGES + 5)
    query = Query(status=Status.REVOKED, limit=1)

    found, cursor = listed(stage, query)

    assert found == []
    assert cursor is not None
    assert stage.calls.count("directory.list_accounts") == MOST_PAGES


def test_an_empty_list_is_empty(stage: Stage) -> None:
    assert listed(stage, Query()) == ([], None)


# -- cursors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        Query(limit=2, tenant_id="t_1"),
        Query(limit=2, end_user_id="u_1"),
        Query(limit=2, status=Status.ACTIVE),
        Query(limit=2, relink_within_days=30),
    ],
)
def test_a_cursor_answers_only_the_question_it_came_from(stage: Stage, other: Query) -> None:
    link_many(stage, 5)
    _, cursor = listed(stage, Query(limit=2))
    assert cursor is not None

    with pytest.raises(InvalidRequest):
        listed(stage, other, cursor)


def test_the_size_of_a_page_may_change_on_the_way(stage: Stage) -> None:
    linked = link_many(stage, 5)
    _, cursor = listed(stage, Query(limit=2))

    assert listed(stage, Query(limit=50), cursor)[0] == [a.id for a in linked[2:]]


def cursor_of(stage: Stage, query: Query, caller: Caller = samples.BACKEND) -> str:
    _, cursor = listed(stage, query, caller=caller)
    assert cursor is not None
    return cursor


def pieces(cursor: str) -> tuple[bytes, bytes]:
    """What binds a cursor, and the place that it names."""
    body = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    return body[:16], body[16:]


def encoded(body: bytes) -> str:
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "%%%",
        "\u00e9",
        "A",
        "=",
        "bm90IGpzb24",
        encoded(b""),
        encoded(b"s" * 16),
        encoded(b"s" * 16 + b"2027-02-28#acct_" + b"a" * 48),
        encoded(b"s" * 16 + b"\xff\xfe"),
        encoded(b'["a", "b"]'),
        "A" * 1024,
    ],
)
def test_what_is_no_cursor_of_ours_is_refused(stage: Stage, cursor: str) -> None:
    link_many(stage, 1)

    with pytest.raises(InvalidRequest, match="cursor"):
        listed(stage, Query(), cursor)


def test_a_cursor_that_names_another_place_is_refused(stage: Stage) -> None:
    link_many(stage, 3)
    bound, place = pieces(cursor_of(stage, Query(limit=1)))
    _, next_place = pieces(cursor_of(stage, Query(limit=2)))
    assert place != next_place

    for forged in (next_place, place[:-1] + b"a", place + b"a", place[:-1], b"0" + place[1:]):
        with pytest.raises(InvalidRequest):
            listed(stage, Query(limit=1), encoded(bound + forged))


def test_a_cursor_has_one_spelling(stage: Stage) -> None:
    """Base64 as Python reads it passes over letters that it does not know."""
    link_many(stage, 2)
    cursor = cursor_of(stage, Query(limit=1))

    for spelled in (
        cursor[:8] + "!!!!" + cursor[8:],
        "." * 4 + cursor,
        cursor + "====",
        cursor + "=",
    ):
        with pytest.raises(InvalidRequest):
            listed(stage, Query(limit=1), spelled)


@given(position=st.integers(min_value=0), letter=st.characters(max_codepoint=0x2FF))
def test_a_cursor_of_which_one_letter_was_changed_is_refused(position: int, letter: str) -> None:
    stage = Stage()
    link_many(stage, 2)
    cursor = cursor_of(stage, Query(limit=1))
    at = position % (len(cursor) + 1)

    for altered in (cursor[:at] + letter + cursor[at + 1 :], cursor[:at] + letter + cursor[at:]):
        if altered != cursor:
            with pytest.raises(InvalidRequest):
                listed(stage, Query(limit=1), altered)


def test_a_cursor_of_another_tenant_is_refused_whoever_brings_it(stage: Stage) -> None:
    for tenant in ("t_1", "t_2"):
        for number in range(2):
            link_in(stage, tenant, f"open-{tenant}-{number}")
    one, other = (Caller(name, Tenant(name)) for name in ("t_1", "t_2"))

    cursor = cursor_of(stage, Query(limit=1), one)

    assert len(listed(stage, Query(limit=1), cursor, one)[0]) == 1
    for caller in (other, samples.BACKEND, Caller("t_1", Tenant("t_1", ("default",)))):
        with pytest.raises(InvalidRequest):
            listed(stage, Query(limit=1), cursor, caller)
    assert listed(stage, Query(limit=1, tenant_id="t_1"), cursor)[0], "the same question"


# -- a caller that is held to a tenant ----------------------------------------------------------


def link_in(
    stage: Stage, tenant: str | None, open_id: str, registration: str = "default"
) -> Account:
    grant = stage.link(f"u_{open_id}", answer=samples.answer(open_id=open_id))
    if tenant is None:
        return grant
    row = samples.account(tenant_id=tenant, open_id=open_id, registration=registration)
    row = replace(row, grant_id=grant.grant_id)
    stage.accounts.save_account(row)
    return row


ONE = Caller("backend-of-1", Tenant("t_1"))


@pytest.mark.parametrize("asked", [None, "t_1", "t_2", ""])
def test_a_mapped_caller_lists_its_own_whatever_it_asks_for(
    stage: Stage, asked: str | None
) -> None:
    own = link_in(stage, "t_1", "open-1")
    link_in(stage, "t_2", "open-2")
    link_in(stage, None, "open-3")

    assert listed(stage, Query(tenant_id=asked), caller=ONE) == ([own.id], None)


def test_a_caller_with_registrations_of_its_own_lists_no_other(stage: Stage) -> None:
    link_in(stage, "t_1", "open-1")
    own = link_in(stage, "t_1", "open-2", registration="second")
    caller = Caller("backend-of-1", Tenant("t_1", ("second",)))

    assert listed(stage, Query(), caller=caller) == ([own.id], None)


def test_anothers_account_is_not_found_and_not_changed(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = link_in(stage, "t_2", "open-2")
    nobodys = link_in(stage, None, "open-3")

    for row in (foreign, nobodys):
        with pytest.raises(NotFound):
            account(stage.accounts, row.id, caller=ONE)
        with pytest.raises(NotFound):
            change(stage, row, metadata={"a": "1"}, caller=ONE)

        assert stage.accounts.account(row.id).metadata == {}
    assert {vars(record)["event"] for record in caplog.records} == {"tenant_denied"}
    assert foreign.id not in caplog.text


# -- one account --------------------------------------------------------------------------------


def test_an_account_is_shown_with_its_grant_and_without_ciphertext(stage: Stage) -> None:
    linked = stage.link()

    found = account(stage.accounts, linked.id, caller=samples.BACKEND)

    assert found.account.id == linked.id
    assert found.grant.pair is None
    assert found.status(stage.clock.now) is Status.ACTIVE


def test_an_unknown_account_is_not_found(stage: Stage) -> None:
    with pytest.raises(NotFound):
        account(stage.accounts, "acct_" + "a" * 48, caller=samples.BACKEND)


# -- changes ------------------------------------------------------------------------------------


def change(
    stage: Stage,
    linked: Account,
    *,
    metadata: dict[str, str] | None = None,
    mode: RefreshMode | None = None,
    caller: Caller = samples.BACKEND,
) -> Listed:
    return update(
        stage.accounts,
        linked.id,
        caller=caller,
        metadata=metadata,
        mode=mode,
        policy=stage.policy,
        now=stage.clock.now,
    )


def test_metadata_is_replaced_as_a_whole(stage: Stage) -> None:
    linked = stage.link()
    change(stage, linked, metadata={"a": "1", "b": "2"})

    assert change(stage, linked, metadata={"c": "3"}).account.metadata == {"c": "3"}
    assert change(stage, linked, metadata={}).account.metadata == {}


def test_a_mode_leaves_the_metadata_and_moves_the_due_time(stage: Stage) -> None:
    linked = stage.link()
    change(stage, linked, metadata={"a": "1"})

    shown = change(stage, linked, mode=RefreshMode.ALWAYS)

    assert shown.account.metadata == {"a": "1"}
    assert shown.grant.mode is RefreshMode.ALWAYS
    assert shown.grant.due_at is not None
    assert shown.grant.due_at < stage.clock.now + timedelta(hours=24)


def test_on_demand_takes_the_grant_off_the_schedule(stage: Stage) -> None:
    linked = stage.link()

    assert change(stage, linked, mode=RefreshMode.ON_DEMAND).grant.due_at is None


def test_a_change_moves_the_version(stage: Stage) -> None:
    linked = stage.link()
    before = stage.grant().version

    assert change(stage, linked, metadata={"a": "1"}).grant.version == before + 1


def test_a_shared_grant_follows_its_most_eager_account(stage: Stage) -> None:
    """One account's wish for less must not stop the renewals that the other asked for."""
    first = stage.link("u_1")
    stage.clock.advance(minutes=1)
    second = stage.link("u_2", answer=samples.answer(issued_at=stage.clock.now))
    change(stage, first, mode=RefreshMode.ALWAYS)

    shown = change(stage, second, mode=RefreshMode.ON_DEMAND)

    assert shown.account.mode is RefreshMode.ON_DEMAND
    assert shown.grant.mode is RefreshMode.ALWAYS
    assert shown.grant.due_at is not None
    assert shown.grant.due_at < stage.clock.now + timedelta(hours=24)


def test_an_unlinked_account_is_not_changed(stage: Stage) -> None:
    linked = stage.link()
    stage.accounts.mark_unlinked(linked, now=stage.clock.now)

    with pytest.raises(AccountUnlinked):
        change(stage, linked, metadata={"a": "1"})


# -- the forecast -------------------------------------------------------------------------------


def forecasted(
    stage: Stage, weeks: int = 27, *, caller: Caller = samples.BACKEND, tenant: str | None = None
) -> dict[str, int]:
    found = forecast(
        stage.accounts, tenant_id=tenant, weeks=weeks, caller=caller, now=stage.clock.now
    )
    assert len(found) == weeks
    assert all(week.is_exact for week in found)
    return {week.name: week.accounts for week in found if week.accounts}


def test_relinks_are_forecast_by_iso_week(stage: Stage) -> None:
    """From Saturday, 2026-11-21: 100, 110 and 120 days on are a Monday, a Thursday, a Sunday."""
    link_many(stage, 3)

    assert forecasted(stage) == {"2027-W09": 1, "2027-W10": 1, "2027-W11": 1}


def test_a_fresh_link_is_in_the_forecast_whatever_the_day(stage: Stage) -> None:
    for _ in range(7):
        stage.link(answer=samples.answer(issued_at=stage.clock.now))
        assert sum(forecasted(stage).values()) == 1
        stage.clock.advance(days=1)


def test_the_last_week_of_a_year_has_the_name_that_iso_gives_it(stage: Stage) -> None:
    """Friday, 2027-01-01 is in the 53rd week of 2026."""
    stage.link(answer=samples.answer(relink_in=timedelta(days=41)))

    assert forecasted(stage, 7) == {"2026-W53": 1}


def test_the_forecast_begins_today_and_counts_what_is_active(stage: Stage) -> None:
    ended, unlinked, alive = (
        stage.link(open_id, answer=samples.answer(open_id=open_id, relink_in=timedelta(days=9)))
        for open_id in ("open-0", "open-1", "open-2")
    )
    stage.accounts.change(ended.grant_id, status=Status.REVOKED)
    stage.accounts.copy_grant(ended, stage.grant(ended.grant_id))
    stage.accounts.mark_unlinked(unlinked, now=stage.clock.now)
    assert forecasted(stage, 4) == {"2026-W49": 1}

    stage.clock.advance(days=10)

    assert forecasted(stage, 4) == {}
    assert alive.relink_by is not None


def test_a_mapped_caller_forecasts_its_own_whatever_it_asks_for(stage: Stage) -> None:
    for registration, tenant in [("default", "t_1"), ("second", "t_1"), ("default", None)]:
        row = samples.account(registration=registration, tenant_id=tenant)
        stage.accounts.save_account(row)
    held = Caller("agency", Tenant("t_1", ("second",)))

    assert sum(forecasted(stage, caller=held, tenant="t_2").values()) == 1
    assert sum(forecasted(stage, tenant="t_1").values()) == 2
    assert sum(forecasted(stage).values()) == 1


def test_a_forecast_asks_once_for_each_week_and_shard(stage: Stage) -> None:
    link_many(stage, 3)

    forecasted(stage, 53)

    assert stage.calls.count("directory.count_relinks") == 53 * 4
    assert len(stage.calls) == 53 * 4
