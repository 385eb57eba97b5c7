"""Vending and renewal over HTTP: what is renewed, what is not, and what a bad TikTok costs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.flows.journey import Journey, Json

MOST_TRIES = 8


def refreshes(journey: Journey) -> int:
    """How many refresh requests TikTok has seen."""
    return journey.tiktok.calls()["token.refresh_token"]


def rotations(journey: Journey, account_id: str) -> int:
    return int(journey.backend.account(account_id)["refresh"]["rotations"])


def vend_when_told(journey: Journey, account_id: str, **wishes: Any) -> requests.Response:
    """Do as a good backend does: wait as long as a 503 says, and ask again."""
    for _ in range(MOST_TRIES):
        answer = journey.backend.vend(account_id, **wishes)
        if answer.status_code != 503:
            return answer
        problem = answer.json()
        assert problem["code"] in {
            "provider_unavailable",
            "refresh_backoff",
            "refresh_in_progress",
            "refresh_outcome_unknown",
        }
        assert problem["action_by"] == "nobody"
        assert answer.headers["Retry-After"] == str(problem["retry_after"])
        journey.world.advance(seconds=problem["retry_after"])
    raise AssertionError(f"still 503 after {MOST_TRIES} tries: {problem}")


@pytest.fixture
def account_id(journey: Journey, end_user: str, person: str) -> str:
    """An account that was linked just now."""
    return journey.link(end_user, person).account_id


@pytest.fixture
def expired(journey: Journey, account_id: str) -> str:
    """An account whose access token has expired."""
    journey.world.advance(hours=2, seconds=1)
    return account_id


def test_the_schedule_renews_what_is_used_and_leaves_the_rest_alone(
    journey: Journey, end_user: str, new_person: Callable[[], str]
) -> None:
    used = journey.link(f"{end_user}_used", new_person()).account_id
    idle = journey.link(f"{end_user}_idle", new_person()).account_id
    journey.backend.token(used)
    journey.world.advance(hours=2, seconds=1)
    fresh = journey.link(f"{end_user}_fresh", new_person()).account_id
    journey.backend.token(fresh)

    journey.run_schedule()

    assert [rotations(journey, a) for a in (used, idle, fresh)] == [1, 0, 0]
    assert journey.backend.account(used)["refresh"]["last_success_at"]
    journey.world.forget_calls()
    token = journey.backend.token(used, min_ttl_seconds=3_600)
    assert token["expires_in"] >= 3_600
    assert token["refreshed"] is False
    assert journey.calls_of("refresh") == {}


def test_a_second_run_of_the_schedule_renews_nothing_again(
    journey: Journey, account_id: str
) -> None:
    journey.backend.token(account_id)
    journey.world.advance(hours=2)
    journey.run_schedule()
    before = refreshes(journey)

    journey.world.invoke("RefreshFunction")
    journey.world.invoke("RefreshFunction")
    journey.world.settle()

    assert refreshes(journey) == before
    assert rotations(journey, account_id) == 1


def test_an_idle_account_has_its_health_checked_within_a_week(
    journey: Journey, account_id: str
) -> None:
    journey.world.advance(days=7)

    journey.run_schedule()

    assert rotations(journey, account_id) == 1


def test_an_access_removed_in_silence_is_found_by_the_health_check(
    journey: Journey, account_id: str
) -> None:
    open_id = journey.backend.account(account_id)["open_id"]
    journey.tiktok.set(webhook_delivery="off")
    journey.tiktok.control("POST", f"/users/{open_id}/remove", {"reason": 1})
    journey.world.advance(days=7)

    journey.run_schedule()

    account = journey.backend.account(account_id)
    assert (account["status"], account["action_by"]) == ("relink_required", "end_user")


def test_a_vend_renews_when_too_little_is_left(journey: Journey, account_id: str) -> None:
    journey.world.advance(minutes=110)
    assert journey.backend.token(account_id)["refreshed"] is False

    token = journey.backend.token(account_id, min_ttl_seconds=3_600)

    assert token["refreshed"] is True
    assert token["expires_in"] >= 3_600
    assert token["warning"] is None
    assert journey.tiktok.is_alive(token["access_token"])


def test_fifty_vends_of_an_expired_token_make_one_refresh(journey: Journey, expired: str) -> None:
    before = refreshes(journey)

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: journey.backend.vend(expired), range(50)))

    assert [answer.status_code for answer in answers] == [200] * 50
    tokens: list[Json] = [answer.json() for answer in answers]
    assert len({token["access_token"] for token in tokens}) == 1
    assert all(token["expires_in"] > 7_000 for token in tokens)
    assert refreshes(journey) == before + 1
    assert rotations(journey, expired) == 1


def test_a_token_that_tiktok_rejected_is_renewed_at_most_once_a_minute(
    journey: Journey, account_id: str
) -> None:
    journey.world.advance(minutes=2)
    first = journey.backend.token(account_id)["access_token"]

    second = journey.backend.token(account_id, rejected=True)
    third = journey.backend.token(account_id, rejected=True)

    assert second["refreshed"] is True
    assert second["access_token"] != first
    assert third["access_token"] == second["access_token"]
    assert rotations(journey, account_id) == 1


@pytest.mark.parametrize("status", [200, 400])
def test_a_dead_link_is_told_whatever_the_http_status(
    journey: Journey, account_id: str, status: int
) -> None:
    open_id = journey.backend.account(account_id)["open_id"]
    journey.tiktok.set(error_status=status, webhook_delivery="off")
    journey.tiktok.control("POST", f"/users/{open_id}/remove", {"reason": 1})
    journey.world.advance(hours=2, seconds=1)

    refused = journey.backend.vend(account_id)

    assert (refused.status_code, refused.json()["code"]) == (409, "relink_required")
    assert refused.json()["reason"] == "refresh_token_rejected"
    assert refused.json()["action_by"] == "end_user"
    assert journey.backend.account(account_id)["status"] == "relink_required"


@pytest.mark.parametrize("status", [200, 400])
def test_a_wrong_client_secret_harms_no_account(
    journey: Journey, expired: str, status: int
) -> None:
    journey.tiktok.set(error_status=status)
    right = journey.tiktok.control("GET", "/apps")["apps"][0]["name"]
    secret = f"local-secret-of-{journey.tiktok.control('GET', '/apps')['apps'][0]['client_key']}"
    journey.tiktok.control("POST", f"/apps/{right}", {"client_secret": "rotated in the portal"})
    try:
        refused = journey.backend.vend(expired)
    finally:
        journey.tiktok.control("POST", f"/apps/{right}", {"client_secret": secret})

    assert (refused.status_code, refused.json()["code"]) == (502, "client_credentials_invalid")
    assert refused.json()["action_by"] == "operator"
    assert journey.backend.account(expired)["status"] == "active"
    assert vend_when_told(journey, expired).status_code == 200


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("html", {}),
        ("html", {"commit": True}),
        ("500_before", {}),
        ("429", {"retry_after": 7}),
        ("refuse", {}),
    ],
    ids=lambda value: str(value),
)
def test_an_outage_is_not_taken_for_a_revocation(
    journey: Journey, expired: str, kind: str, more: dict[str, Any]
) -> None:
    if more.get("commit"):  # TikTok rotated before its gateway failed: only a grace can save that
        journey.tiktok.set(rotation="grace", grace_seconds=600)
    # `refuse` breaks the connection, which is repeated at once, twice.
    journey.tiktok.fail("token", kind, times=3 if kind == "refuse" else 1, **more)

    first = journey.backend.vend(expired)

    assert first.status_code == 503, first.text
    assert journey.backend.account(expired)["status"] == "active"
    assert journey.backend.account(expired)["refresh"]["failing_since"] is not None
    if kind == "429":
        assert first.json()["retry_after"] >= 7
    assert vend_when_told(journey, expired).status_code == 200
    assert journey.backend.account(expired)["refresh"]["failing_since"] is None
    assert rotations(journey, expired) == 1


def test_a_living_token_is_handed_out_during_an_outage(journey: Journey, account_id: str) -> None:
    journey.world.advance(minutes=70)
    journey.tiktok.fail("token", "429", times=1)

    token = journey.backend.token(account_id, min_ttl_seconds=3_600)

    assert token["warning"] == "provider_unavailable"
    assert token["refreshed"] is False
    assert journey.tiktok.is_alive(token["access_token"])


def test_one_lost_reply_is_survived_where_tiktok_answers_again(
    journey: Journey, expired: str
) -> None:
    journey.tiktok.set(rotation="grace", grace_seconds=60)
    journey.tiktok.fail("token", "drop_after_commit")

    token = journey.backend.token(expired)

    assert token["refreshed"] is True
    assert journey.tiktok.is_alive(token["access_token"])


def test_lost_replies_are_recovered_later_where_tiktok_answers_again(
    journey: Journey, expired: str
) -> None:
    journey.tiktok.set(rotation="grace", grace_seconds=600)
    journey.tiktok.fail("token", "drop_after_commit", times=3)

    unknown = journey.backend.vend(expired)
    assert (unknown.status_code, unknown.json()["code"]) == (503, "refresh_outcome_unknown")
    answer = vend_when_told(journey, expired)

    assert answer.status_code == 200
    assert journey.tiktok.is_alive(answer.json()["access_token"])


@pytest.mark.parametrize("lost", [1, 3])
def test_a_lost_reply_under_strict_rotation_is_told_as_what_it_is(
    journey: Journey, expired: str, lost: int
) -> None:
    journey.tiktok.fail("token", "drop_after_commit", times=lost)

    refused = vend_when_told(journey, expired)

    assert (refused.status_code, refused.json()["code"]) == (409, "relink_required")
    assert refused.json()["reason"] == "rotation_lost"
    account = journey.backend.account(expired)
    assert (account["status"], account["action_by"]) == ("relink_required", "end_user")


def test_after_a_lost_rotation_the_living_token_is_still_handed_out(
    journey: Journey, account_id: str
) -> None:
    journey.world.advance(minutes=70)
    journey.tiktok.fail("token", "drop_after_commit")

    token = journey.backend.token(account_id, min_ttl_seconds=3_600)

    assert token["warning"] == "relink_required"
    assert journey.tiktok.is_alive(token["access_token"])
    assert journey.backend.account(account_id)["status"] == "relink_required"


def test_a_relink_mends_a_lost_rotation(
    journey: Journey, expired: str, end_user: str, person: str
) -> None:
    journey.tiktok.fail("token", "drop_after_commit")
    assert vend_when_told(journey, expired).status_code == 409

    assert journey.link(end_user, person).account_id == expired

    assert journey.backend.account(expired)["status"] == "active"
    assert journey.backend.token(expired)["expires_in"] > 7_000


def test_numbers_as_strings_are_numbers_in_a_refresh_too(journey: Journey, expired: str) -> None:
    journey.tiktok.set(numbers_as_strings=True)

    assert journey.backend.token(expired)["expires_in"] > 7_000


def test_a_refresh_without_a_date_keeps_the_old_one(journey: Journey, expired: str) -> None:
    before = journey.backend.account(expired)["relink_by"]
    journey.tiktok.set(omit_refresh_expires_in=True)

    journey.backend.token(expired)

    assert rotations(journey, expired) == 1
    assert journey.backend.account(expired)["relink_by"] == before


def test_a_fixed_deadline_is_not_moved_by_renewing(journey: Journey, expired: str) -> None:
    before = journey.backend.account(expired)["relink_by"]

    journey.backend.token(expired)

    assert journey.backend.account(expired)["relink_by"] == before


def test_a_sliding_deadline_moves_with_the_latest_answer(journey: Journey, expired: str) -> None:
    journey.tiktok.set(deadline="sliding")
    before = journey.backend.account(expired)["relink_by"]

    journey.backend.token(expired)

    assert journey.backend.account(expired)["relink_by"] > before


def test_a_refresh_without_a_new_refresh_token_keeps_the_old_one(
    journey: Journey, expired: str
) -> None:
    journey.tiktok.set(omit_refresh_token=True)
    journey.backend.token(expired)
    journey.tiktok.set(omit_refresh_token=False)
    journey.world.advance(hours=2, seconds=1)

    assert journey.backend.token(expired)["refreshed"] is True


def test_a_pair_of_somebody_else_is_not_stored(journey: Journey, expired: str) -> None:
    open_id = journey.backend.account(expired)["open_id"]
    journey.tiktok.set(other_open_id_on_refresh=True)

    refused = journey.backend.vend(expired)

    assert refused.status_code == 503
    account = journey.backend.account(expired)
    assert account["open_id"] == open_id
    assert rotations(journey, expired) == 0


def test_a_person_who_narrows_the_permissions_is_believed(journey: Journey, expired: str) -> None:
    open_id = journey.backend.account(expired)["open_id"]
    journey.tiktok.control("POST", f"/users/{open_id}/scopes", {"scopes": ["user.info.basic"]})

    token = journey.backend.token(expired)

    assert token["scopes"] == ["user.info.basic"]
    assert "video.list" in journey.backend.account(expired)["scopes"]["missing"]


def test_no_answer_shows_a_refresh_token_and_no_log_shows_any_token(
    journey: Journey, expired: str
) -> None:
    token = journey.backend.token(expired)["access_token"]

    account = journey.backend.call("GET", f"/v1/accounts/{expired}").text
    logs = journey.world.log_text()

    assert "rft." not in account
    assert "act." not in account
    assert token not in logs
    assert "rft." not in logs
