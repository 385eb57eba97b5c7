"""Lists and single accounts: filters, pages, cursors that answer only their own question."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.fakes import samples
from tests.unit.stage import Stage
from tiktok_linking.accounts import Account, RefreshMode, RelinkReason, Status
from tiktok_linking.directory import MOST_PAGES, Listed, Query, account, list_accounts, update
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


def listed(stage: Stage, query: Query, cursor: str | None = None) -> tuple[list[str], str | None]:
    found, following = list_accounts(stage.accounts, query, cursor=cursor, now=stage.clock.now)
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


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "%%%",
        "é",
        "bm90IGpzb24",
        encoded([]),
        encoded(["a"]),
        encoded({"a": 1, "b": 2}),
        encoded(7),
        encoded(None),
        encoded([Query().fingerprint(), 7]),
        encoded([Query().fingerprint(), None]),
        encoded([Query().fingerprint(), "x" * 201]),
        encoded([Query().fingerprint(), "x", "y"]),
    ],
)
def test_what_is_no_cursor_of_ours_is_refused(stage: Stage, cursor: str) -> None:
    link_many(stage, 1)

    with pytest.raises(InvalidRequest, match="cursor"):
        listed(stage, Query(), cursor)


# -- one account --------------------------------------------------------------------------------


def test_an_account_is_shown_with_its_grant_and_without_ciphertext(stage: Stage) -> None:
    linked = stage.link()

    found = account(stage.accounts, linked.id)

    assert found.account.id == linked.id
    assert found.grant.pair is None
    assert found.status(stage.clock.now) is Status.ACTIVE


def test_an_unknown_account_is_not_found(stage: Stage) -> None:
    with pytest.raises(NotFound):
        account(stage.accounts, "acct_" + "a" * 48)


# -- changes ------------------------------------------------------------------------------------


def change(
    stage: Stage,
    linked: Account,
    *,
    metadata: dict[str, str] | None = None,
    mode: RefreshMode | None = None,
) -> Listed:
    return update(
        stage.accounts,
        linked.id,
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
