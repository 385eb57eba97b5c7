"""The life of a link up to TikTok's date and past it, with every event in its order, once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.flows.http_browser import HttpBrowser
from tests.flows.journey import Journey, consent, to_consent

Told = list[tuple[str, int | str | None]]


@pytest.fixture
def account_id(journey: Journey, end_user: str, person: str) -> str:
    """An account that was linked just now."""
    return journey.link(end_user, person).account_id


def run(journey: Journey) -> None:
    result = journey.world.invoke("RemindFunction")
    assert result["error"] is None, result


def days_pass(journey: Journey, days: int) -> None:
    """The daily run, once a day; on the last its events are out."""
    for _ in range(days):
        journey.world.advance(days=1)
        run(journey)
    journey.world.settle()


def events_of(journey: Journey, account_id: str) -> list[dict[str, Any]]:
    return [
        event for event in journey.world.events() if event["detail"].get("account_id") == account_id
    ]


def told(journey: Journey, account_id: str) -> Told:
    """What was told of an account after it was linked: threshold or reason, in the bus's order."""
    return [
        (
            event["detail-type"].removeprefix("account."),
            event["detail"].get("threshold_days", event["detail"].get("reason")),
        )
        for event in events_of(journey, account_id)
        if event["detail-type"].startswith("account.") and event["detail-type"] != "account.linked"
    ]


def test_180_days_bring_four_reminders_and_the_end_in_order_and_once(
    journey: Journey, account_id: str
) -> None:
    journey.world.advance(days=148)
    days_pass(journey, 34)
    run(journey)  # a second event of the schedule on the same day
    journey.world.settle()

    assert told(journey, account_id) == [
        ("relink_due", 30),
        ("relink_due", 14),
        ("relink_due", 7),
        ("relink_due", 1),
        ("relink_required", "refresh_token_expired"),
    ]
    events = events_of(journey, account_id)
    assert len({event["detail"]["event_id"] for event in events}) == len(events)
    for event in events:
        if event["detail-type"] == "account.relink_due":
            detail = event["detail"]
            relink_by = datetime.fromisoformat(detail["relink_by"])
            at = datetime.fromisoformat(detail["occurred_at"])
            assert (relink_by.date() - at.date()).days == detail["threshold_days"]
            # The event's moments are cut to seconds, what is counted is not.
            cut = timedelta(seconds=1)
            least, most = ((relink_by - at + by) // timedelta(days=1) for by in (-cut, cut))
            assert least <= detail["days_until_relink"] <= most
            assert detail["action_by"] == "end_user"
    account = journey.backend.account(account_id)
    assert (account["status"], account["reason"]) == ("relink_required", "refresh_token_expired")
    timeline = journey.backend.get(f"/v1/accounts/{account_id}/events")["items"]
    assert [item["type"] for item in timeline].count("account.relink_due") == 4


def test_after_ten_silent_days_the_nearest_threshold_alone_is_told(
    journey: Journey, account_id: str
) -> None:
    journey.world.advance(days=149)
    days_pass(journey, 2)
    journey.world.advance(days=10)  # the schedule is silent
    days_pass(journey, 7)
    journey.world.advance(days=10)
    days_pass(journey, 3)

    assert told(journey, account_id) == [
        ("relink_due", 30),
        ("relink_due", 14),
        ("relink_due", 1),
        ("relink_required", "refresh_token_expired"),
    ]


def test_a_relink_moves_the_reminders_and_keeps_the_account(
    journey: Journey, account_id: str, person: str
) -> None:
    journey.world.advance(days=149)
    days_pass(journey, 3)
    before = journey.backend.account(account_id)
    begun = journey.backend.call("POST", f"/v1/accounts/{account_id}/relink", {}).json()
    browser = HttpBrowser()
    consent(browser, to_consent(browser, begun["url"]), person)
    days_pass(journey, 29)

    after = journey.backend.account(account_id)
    assert (after["status"], after["linked_at"]) == ("active", before["linked_at"])
    assert after["relink_by"] > before["relink_by"]
    assert told(journey, account_id) == [("relink_due", 30), ("relinked", None)]
    types = [
        item["type"] for item in journey.backend.get(f"/v1/accounts/{account_id}/events")["items"]
    ]
    assert types == ["account.relinked", "account.relink_due", "account.linked"]


def test_a_relink_that_is_cancelled_or_runs_out_changes_nothing(
    journey: Journey, account_id: str
) -> None:
    before = journey.backend.account(account_id)
    path = f"/v1/accounts/{account_id}/relink"
    withdrawn = journey.backend.call("POST", path, {}).json()["id"]
    refused = journey.backend.call("POST", path, {}).json()
    forgotten = journey.backend.call("POST", path, {"expires_in": 60}).json()["id"]

    journey.backend.call("DELETE", f"/v1/link-sessions/{withdrawn}")
    browser = HttpBrowser()
    browser.press(to_consent(browser, refused["url"]), "Cancel")
    journey.world.advance(seconds=61)

    statuses = [journey.backend.session(x)["status"] for x in (withdrawn, refused["id"], forgotten)]
    assert statuses == ["cancelled", "cancelled", "expired"]
    assert journey.backend.account(account_id) == before


def test_nobody_is_reminded_of_a_link_that_was_unlinked_or_removed(
    journey: Journey, end_user: str, new_person: Callable[[], str]
) -> None:
    unlinked = journey.link(end_user, new_person()).account_id
    removed = journey.link(f"{end_user}_2", new_person()).account_id
    journey.backend.unlink(unlinked)
    open_id = journey.backend.account(removed)["open_id"]
    journey.world.advance(days=1)
    journey.world.tiktok("POST", f"/users/{open_id}/remove", {"reason": 1})
    journey.world.settle()
    journey.world.advance(days=172)
    days_pass(journey, 10)

    assert [event for event, _ in told(journey, unlinked)] == ["unlinked"]
    assert [event for event, _ in told(journey, removed)] == ["revoked"]


def test_the_forecast_counts_the_week_of_the_date(journey: Journey, account_id: str) -> None:
    relink_by = datetime.fromisoformat(journey.backend.account(account_id)["relink_by"])
    year, week, _ = relink_by.isocalendar()
    name = f"{year}-W{week:02}"

    def counted() -> int:
        weeks = journey.backend.get("/v1/forecast/relinks")["weeks"]
        assert all(week["is_exact"] for week in weeks)
        return int({week["week"]: week["accounts"] for week in weeks}.get(name, 0))

    before = counted()
    journey.backend.unlink(account_id)

    assert before >= 1
    assert counted() == before - 1


@pytest.mark.parametrize("life", [180, 365])
@pytest.mark.parametrize(("deadline", "moves"), [("fixed", 0), ("sliding", 10)])
def test_the_date_and_its_place_in_lists_follow_each_token_answer(
    journey: Journey, end_user: str, person: str, deadline: str, moves: int, life: int
) -> None:
    journey.tiktok.set(deadline=deadline, refresh_seconds=life * 86_400)
    account_id = journey.link(end_user, person).account_id
    first = datetime.fromisoformat(journey.backend.account(account_id)["relink_by"])
    journey.world.advance(days=10)

    journey.backend.token(account_id)  # the access token is dead: it is renewed
    journey.world.settle()

    account = journey.backend.account(account_id)
    relink_by = datetime.fromisoformat(account["relink_by"])
    assert abs(relink_by - first - timedelta(days=moves)) < timedelta(minutes=1)
    left = account["days_until_relink"]
    assert left in (life - 10 + moves - 1, life - 10 + moves)
    within = {
        days: [
            item["id"]
            for item in journey.backend.get(
                "/v1/accounts", end_user_id=end_user, relink_within_days=str(days), sort="relink_by"
            )["items"]
        ]
        for days in (left, left + 1)
    }
    assert within == {left: [], left + 1: [account_id]}
