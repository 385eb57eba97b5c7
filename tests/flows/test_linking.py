"""Linking by HTTP alone: every way that it ends, and what is left behind."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
import requests

from local.configuration import ROOT
from tests.flows.http_browser import HttpBrowser, Page
from tests.flows.journey import Journey, consent, query_of, to_consent
from tests.flows.link_once import link_once

RETURN_URL = "/tiktok/return"  # at the sample product, whose origin the world allows
OPTIONAL = ["user.info.profile", "user.info.stats", "video.list"]


def return_url(journey: Journey) -> str:
    return journey.world.endpoints["app"] + RETURN_URL


def depart(journey: Journey, url: str, browser: HttpBrowser) -> requests.Response:
    """Press the button of a connect page, and stop at the redirect to TikTok."""
    return browser.send("GET", browser.open(url).link("Continue with TikTok"))


def consented(journey: Journey, departure: requests.Response, person: str) -> str:
    """The address to which TikTok sends a browser after a full consent."""
    return str(
        journey.tiktok.control(
            "POST",
            "/consent",
            {"authorize_url": departure.headers["Location"], "user": person},
        )["redirect"]
    )


def token_calls(journey: Journey) -> int:
    return journey.tiktok.calls()["token"]


def test_the_whole_flow_by_http_alone(journey: Journey, end_user: str, person: str) -> None:
    account = link_once(
        journey.world.endpoints, end_user=end_user, person=person, off=["video.list"]
    )

    assert account["status"] == "active"
    assert account["action_by"] == "nobody"
    assert account["scopes"]["missing"] == ["video.list"]
    assert account["days_until_relink"] == 179  # 180 days less the seconds since
    assert not journey.tiktok.has_grant(account["open_id"])


def test_the_script_does_it_for_a_person_and_shows_no_token(journey: Journey) -> None:
    endpoints = journey.world.directory / "local" / "endpoints.json"

    run = subprocess.run(
        [sys.executable, "-m", "tests.flows.link_once", "--endpoints", endpoints],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.returncode == 0, run.stderr
    assert "revoked at TikTok: True" in run.stdout
    assert "act." not in run.stdout


def test_authorize_answers_302_to_tiktok_and_binds_the_browser(
    journey: Journey, end_user: str
) -> None:
    begun = journey.backend.begin(end_user)

    answer = depart(journey, begun["url"], HttpBrowser())

    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(f"{journey.tiktok.url}/v2/auth/authorize/?")
    asked = query_of(answer.headers["Location"])
    assert asked["client_key"]
    assert asked["response_type"] == "code"
    assert asked["scope"] == "user.info.basic,user.info.profile,user.info.stats,video.list"
    assert asked["redirect_uri"] == f"{journey.world.endpoints['gateway']}/callback"
    assert len(asked["state"]) >= 43
    # Loopback is TikTok's desktop flavour: a hex challenge.
    assert re.fullmatch("[0-9a-f]{64}", asked["code_challenge"])
    assert asked["code_challenge_method"] == "S256"
    cookie = answer.headers["Set-Cookie"]
    assert re.match(r"__Host-ttl_[0-9a-f]{8}=[\w-]{43};", cookie)
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes
    assert not any(part.startswith("domain") for part in attributes)


def test_nothing_of_the_browsers_query_reaches_tiktok(journey: Journey, end_user: str) -> None:
    begun = journey.backend.begin(end_user)
    browser = HttpBrowser()
    link = browser.open(begun["url"]).link("Continue with TikTok")
    forged = {"client_key": "evil", "redirect_uri": "https://evil.example/", "scope": "x"}

    answer = browser.send("GET", f"{link}&{urlencode(forged)}")

    if answer.status_code == 302:  # refusing the request is as good
        asked = query_of(answer.headers["Location"])
        assert all(asked[name] != value for name, value in forged.items())
    else:
        assert answer.status_code == 400


def test_the_product_learns_the_result_at_its_return_address(
    journey: Journey, end_user: str, person: str
) -> None:
    begun = journey.backend.begin(end_user, return_url=return_url(journey))
    browser = HttpBrowser()
    departure = depart(journey, begun["url"], browser)

    arrival = browser.send("GET", consented(journey, departure, person))

    assert arrival.status_code == 303
    assert arrival.headers["Location"].split("?")[0] == return_url(journey)
    assert query_of(arrival.headers["Location"]) == {"link_session": begun["id"]}


def test_a_permission_that_is_switched_off_is_named_as_missing(
    journey: Journey, end_user: str, person: str
) -> None:
    linked = journey.link(end_user, person, off=["user.info.stats", "video.list"])

    account = journey.backend.account(linked.account_id)
    assert account["status"] == "active"
    assert sorted(account["scopes"]["granted"]) == ["user.info.basic", "user.info.profile"]
    assert sorted(account["scopes"]["missing"]) == ["user.info.stats", "video.list"]
    token = journey.backend.token(linked.account_id)
    assert sorted(token["missing_scopes"]) == ["user.info.stats", "video.list"]
    refused = journey.backend.vend(linked.account_id, required_scopes=["video.list"])
    assert refused.status_code == 403
    assert refused.json()["code"] == "scope_not_granted"


def test_without_a_return_address_the_result_page_tells_the_outcome(
    journey: Journey, end_user: str, new_person: Callable[[], str]
) -> None:
    whole, part = new_person(), new_person()

    all_of_it = journey.link(end_user, whole)
    some_of_it = journey.link(end_user, part, off=["video.list"])

    assert "TikTok connected" in all_of_it.page.text
    assert whole in all_of_it.page.text
    assert "some permissions are off" in some_of_it.page.text
    assert "Your public videos" in some_of_it.page.text
    again = some_of_it.browser.open(some_of_it.page.url)
    assert again.text == some_of_it.page.text
    stranger = HttpBrowser().open(some_of_it.page.url)
    assert "already finished" in stranger.text
    assert part not in stranger.text


def test_without_a_required_permission_nothing_is_linked_or_left_at_tiktok(
    journey: Journey, end_user: str, person: str
) -> None:
    wanted = {"required": ["user.info.basic", "video.list"], "optional": []}

    linked = journey.link(end_user, person, off=["video.list"], scopes=wanted)

    assert linked.session["status"] == "failed"
    assert linked.session["reason"] == "scope_not_granted"
    assert linked.session["action_by"] == "end_user"
    assert linked.page.status == 200
    assert journey.backend.accounts_of(end_user) == []
    assert not any(journey.tiktok.has_grant(open_id) for open_id in open_ids(journey, person))


def open_ids(journey: Journey, person: str) -> list[str]:
    """A TikTok user's id at each registered app."""
    people = journey.tiktok.control("GET", "/users")["users"]
    (found,) = [one for one in people if one["user"] == person]
    return list(found["open_ids"].values())


def test_cancelling_at_tiktok_links_nothing_and_can_be_tried_again(
    journey: Journey, end_user: str, person: str
) -> None:
    begun = journey.backend.begin(end_user, return_url=return_url(journey))
    browser = HttpBrowser()
    asked = to_consent(browser, begun["url"])
    calls = token_calls(journey)

    cancelled = browser.press(asked, "Cancel")

    back = [answer for answer in cancelled.trail if answer.url.startswith(return_url(journey))]
    assert query_of(back[0].url) == {"link_session": begun["id"], "error": "cancelled"}
    session = journey.backend.session(begun["id"])
    assert (session["status"], session["reason"]) == ("cancelled", "user_cancelled")
    assert session["action_by"] == "end_user"
    assert token_calls(journey) == calls
    assert journey.backend.accounts_of(end_user) == []

    again = browser.click(browser.open(begun["url"]), "Try again")
    consent(browser, again, person)

    assert journey.backend.session(begun["id"])["status"] == "completed"


@pytest.mark.parametrize(
    ("error", "reason", "action_by"),
    [
        ({"error": "access_denied", "error_type": "user_not_eligible"}, "provider_refused", None),
        (
            {"error": "access_denied", "error_type": "non_sandbox_target"},
            "app_misconfigured",
            "operator",
        ),
        (
            {"error": "unauthorized_client", "error_type": "client_key"},
            "app_misconfigured",
            "operator",
        ),
        ({"error": "invalid_scope"}, "app_misconfigured", "operator"),
        ({"error": "server_error"}, "provider_unavailable", None),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_each_error_of_tiktok_has_its_reason_and_page(
    journey: Journey, end_user: str, error: dict[str, str], reason: str, action_by: str | None
) -> None:
    begun = journey.backend.begin(end_user)
    browser = HttpBrowser()
    state = query_of(depart(journey, begun["url"], browser).headers["Location"])["state"]
    calls = token_calls(journey)

    told = {**error, "error_description": "<b>words of TikTok</b>", "state": state}
    page = browser.open(f"{journey.world.endpoints['gateway']}/callback?{urlencode(told)}")

    session = journey.backend.session(begun["id"])
    assert (session["status"], session["reason"]) == ("failed", reason)
    if action_by:
        assert session["action_by"] in (action_by, "developer")
    assert [answer.status_code for answer in page.trail] == [303]
    assert page.status == 200
    assert "words of TikTok" not in page.answer.text
    assert "Nothing" in page.text or "try again" in page.text.lower() or "support" in page.text
    assert token_calls(journey) == calls


def test_a_person_whom_tiktok_does_not_allow_is_told_so(journey: Journey, end_user: str) -> None:
    linked = journey.link(end_user, "robin")

    assert linked.session["reason"] == "provider_refused"
    assert "TikTok did not allow this account" in linked.page.text


def test_a_link_works_until_it_expires(journey: Journey, end_user: str) -> None:
    begun = journey.backend.begin(end_user, expires_in=60)
    browser = HttpBrowser()
    link = browser.open(begun["url"]).link("Continue with TikTok")

    journey.world.advance(seconds=61)

    page = browser.open(begun["url"])
    assert page.status == 410
    assert "expired" in page.text
    assert browser.open(link).status == 410
    assert journey.backend.session(begun["id"])["status"] == "expired"


def test_an_attempt_ends_after_ten_minutes_without_asking_tiktok(
    journey: Journey, end_user: str, person: str
) -> None:
    begun = journey.backend.begin(end_user)
    browser = HttpBrowser()
    callback = consented(journey, depart(journey, begun["url"], browser), person)
    calls = token_calls(journey)

    journey.world.advance(seconds=601)
    page = browser.open(callback)

    assert page.status < 500
    assert token_calls(journey) == calls
    assert journey.backend.session(begun["id"])["status"] in ("pending", "started")
    assert journey.backend.accounts_of(end_user) == []


def test_an_attempt_that_began_in_time_may_finish_after_the_sessions_expiry(
    journey: Journey, end_user: str, person: str
) -> None:
    begun = journey.backend.begin(end_user, expires_in=60)
    browser = HttpBrowser()
    callback = consented(journey, depart(journey, begun["url"], browser), person)

    journey.world.advance(seconds=120)
    browser.open(callback)

    assert journey.backend.session(begun["id"])["status"] == "completed"


def test_a_callback_that_comes_twice_gives_the_first_result(
    journey: Journey, end_user: str, person: str
) -> None:
    begun = journey.backend.begin(end_user, return_url=return_url(journey))
    browser = HttpBrowser()
    callback = consented(journey, depart(journey, begun["url"], browser), person)
    calls = token_calls(journey)

    first = browser.send("GET", callback)
    second = browser.send("GET", callback)

    assert first.status_code == second.status_code == 303
    assert first.headers["Location"] == second.headers["Location"]
    assert token_calls(journey) == calls + 1


def test_twenty_callbacks_at_once_make_one_exchange(
    journey: Journey, end_user: str, person: str
) -> None:
    begun = journey.backend.begin(end_user)
    browser = HttpBrowser()
    callback = consented(journey, depart(journey, begun["url"], browser), person)
    calls = token_calls(journey)

    def deliver(_: int) -> int:
        clone = HttpBrowser()
        clone.cookies = dict(browser.cookies)
        return clone.send("GET", callback).status_code

    with ThreadPoolExecutor(20) as threads:
        statuses = set(threads.map(deliver, range(20)))

    assert statuses == {303}
    assert token_calls(journey) == calls + 1
    assert journey.backend.session(begun["id"])["status"] == "completed"


def test_a_browser_without_the_cookie_exchanges_nothing(
    journey: Journey, end_user: str, person: str
) -> None:
    begun = journey.backend.begin(end_user, return_url=return_url(journey))
    browser, other = HttpBrowser(), HttpBrowser()
    callback = consented(journey, depart(journey, begun["url"], browser), person)
    calls = token_calls(journey)

    page = other.open(callback)

    assert token_calls(journey) == calls
    assert "browser" in page.text.lower()
    assert journey.backend.session(begun["id"])["status"] != "completed"
    assert journey.backend.accounts_of(end_user) == []


def test_starting_again_in_another_browser_names_the_app_user_first(
    journey: Journey, end_user: str, person: str
) -> None:
    """Somebody who was sent here by a stranger must see for whom he would link his account."""
    begun = journey.backend.begin(end_user, end_user_label=end_user)
    callback = consented(journey, depart(journey, begun["url"], HttpBrowser()), person)
    other = HttpBrowser()
    page = other.open(callback)

    for words, _ in page.links:
        if "again" in words:
            assert end_user in other.click(page, words).text
    assert not any("/authorize" in address for _, address in page.links)


@pytest.mark.parametrize("state", ["", "x", "A" * 22 + "." + "B" * 43], ids=["none", "bad", "new"])
def test_an_unknown_state_is_told_so_and_costs_nothing_at_tiktok(
    journey: Journey, state: str
) -> None:
    calls = token_calls(journey)

    query = urlencode({"code": "abc", **({"state": state} if state else {})})
    page = HttpBrowser().open(f"{journey.world.endpoints['gateway']}/callback?{query}")

    assert page.status == 400
    assert token_calls(journey) == calls


@pytest.mark.parametrize("encoding", ["percent", "literal"])
def test_a_code_with_a_star_and_an_exclamation_mark_arrives_whole(
    journey: Journey, end_user: str, person: str, encoding: str
) -> None:
    journey.tiktok.set(code_encoding=encoding)

    linked = journey.link(end_user, person)

    sent = [answer.url for answer in linked.page.trail if "/callback?" in answer.url]
    assert ("%2A1%21" if encoding == "percent" else "*1!") in sent[0]
    assert linked.session["status"] == "completed"


def test_numbers_as_strings_are_numbers(journey: Journey, end_user: str, person: str) -> None:
    journey.tiktok.set(numbers_as_strings=True)

    linked = journey.link(end_user, person)

    assert journey.backend.account(linked.account_id)["days_until_relink"] == 179
    assert 7_100 < journey.backend.token(linked.account_id)["expires_in"] <= 7_200


def test_without_a_date_from_tiktok_none_is_made_up(
    journey: Journey, end_user: str, person: str
) -> None:
    journey.tiktok.set(omit_refresh_expires_in=True)

    account = journey.backend.account(journey.link(end_user, person).account_id)

    assert account["status"] == "active"
    assert account["relink_by"] is None
    assert account["days_until_relink"] is None


def test_a_profile_that_tiktok_does_not_give_does_not_cost_the_link(
    journey: Journey, end_user: str, person: str
) -> None:
    journey.tiktok.fail("user_info", "500_before")

    account = journey.backend.account(journey.link(end_user, person).account_id)

    assert account["status"] == "active"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("html", "provider_unavailable"), ("429", "provider_unavailable")],
)
def test_a_tiktok_that_fails_at_the_exchange_can_be_tried_again(
    journey: Journey, end_user: str, person: str, kind: str, reason: str
) -> None:
    journey.tiktok.fail("token", kind)

    linked = journey.link(end_user, person)

    assert (linked.session["status"], linked.session["reason"]) == ("failed", reason)
    assert journey.backend.accounts_of(end_user) == []


def test_an_error_under_200_at_the_exchange_links_nothing(
    journey: Journey, end_user: str, person: str
) -> None:
    begun = journey.backend.begin(end_user)
    browser = HttpBrowser()
    departure = depart(journey, begun["url"], browser)
    callback = consented(journey, departure, person)
    sent = query_of(callback)

    forged = urlencode({"code": "never*issued!", "scopes": sent["scopes"], "state": sent["state"]})
    page = browser.open(f"{callback.split('?')[0]}?{forged}")

    session = journey.backend.session(begun["id"])
    assert (session["status"], session["reason"]) == ("failed", "exchange_failed")
    assert page.status == 200
    assert journey.backend.accounts_of(end_user) == []


def test_two_end_users_share_one_grant_until_the_last_unlinks(
    journey: Journey, end_user: str, person: str
) -> None:
    first = journey.link(end_user, person).account_id
    second = journey.link(f"{end_user}_too", person).account_id
    open_id = journey.backend.account(first)["open_id"]
    assert first != second
    one = journey.backend.token(first)["access_token"]
    assert journey.backend.token(second)["access_token"] == one

    report = journey.backend.unlink(first)

    assert report["status"] == "unlinked"
    assert report["revoked_at_tiktok"] is False
    assert report["reason"]
    assert journey.tiktok.has_grant(open_id)
    assert journey.backend.token(second)["access_token"] == one
    assert journey.backend.vend(first).json()["code"] == "account_unlinked"

    assert journey.backend.unlink(second)["revoked_at_tiktok"] is True
    assert not journey.tiktok.has_grant(open_id)
    assert journey.backend.vend(second).status_code == 410
    assert journey.backend.account(second)["status"] == "unlinked"


def test_unlinking_twice_tells_the_same(journey: Journey, end_user: str, person: str) -> None:
    account_id = journey.link(end_user, person).account_id

    assert journey.backend.unlink(account_id)["revoked_at_tiktok"] is True
    assert journey.backend.unlink(account_id)["status"] == "unlinked"


def test_unlinking_with_a_dead_access_token_renews_in_order_to_revoke(
    journey: Journey, end_user: str, person: str
) -> None:
    account_id = journey.link(end_user, person).account_id
    open_id = journey.backend.account(account_id)["open_id"]
    journey.world.advance(hours=3)

    assert journey.backend.unlink(account_id)["revoked_at_tiktok"] is True
    assert not journey.tiktok.has_grant(open_id)


def test_unlinking_tells_the_truth_when_tiktok_is_down(
    journey: Journey, end_user: str, person: str
) -> None:
    account_id = journey.link(end_user, person).account_id
    open_id = journey.backend.account(account_id)["open_id"]
    journey.tiktok.fail("revoke", "500_before")

    report = journey.backend.unlink(account_id)

    assert report["revoked_at_tiktok"] == "pending"
    assert journey.tiktok.has_grant(open_id)
    assert journey.backend.vend(account_id).json()["code"] == "account_unlinked"
    assert journey.backend.unlink(account_id)["revoked_at_tiktok"] is True
    assert not journey.tiktok.has_grant(open_id)


def test_linking_again_after_an_unlink_gives_the_same_account(
    journey: Journey, end_user: str, person: str
) -> None:
    account_id = journey.link(end_user, person).account_id
    journey.backend.unlink(account_id)

    assert journey.link(end_user, person).account_id == account_id

    assert journey.backend.account(account_id)["status"] == "active"
    assert journey.backend.token(account_id)["expires_in"] > 7_000


def test_a_relink_keeps_the_account_and_adds_what_was_missing(
    journey: Journey, end_user: str, person: str
) -> None:
    account_id = journey.link(end_user, person, off=["video.list"]).account_id

    begun = journey.backend.call("POST", f"/v1/accounts/{account_id}/relink", {}).json()
    browser = HttpBrowser()
    consent(browser, to_consent(browser, begun["url"]), person)

    session = journey.backend.session(begun["id"])
    assert (session["status"], session["account_id"]) == ("completed", account_id)
    account = journey.backend.account(account_id)
    assert account["scopes"]["missing"] == []
    assert account["relinked_at"] is not None


def test_a_relink_refuses_another_tiktok_account_and_harms_nothing(
    journey: Journey, end_user: str, new_person: Callable[[], str]
) -> None:
    account_id = journey.link(end_user, new_person()).account_id
    before = journey.backend.token(account_id)["access_token"]
    begun = journey.backend.call("POST", f"/v1/accounts/{account_id}/relink", {}).json()
    browser = HttpBrowser()

    other = new_person()
    page: Page = consent(browser, to_consent(browser, begun["url"]), other)

    session = journey.backend.session(begun["id"])
    assert (session["status"], session["reason"]) == ("failed", "account_mismatch")
    assert "different TikTok account" in page.text
    assert journey.backend.token(account_id)["access_token"] == before
    assert [a["id"] for a in journey.backend.accounts_of(end_user)] == [account_id]
    assert not any(journey.tiktok.has_grant(open_id) for open_id in open_ids(journey, other))


def test_each_app_registration_has_its_own_grant(
    journey: Journey, end_user: str, person: str
) -> None:
    first = journey.link(end_user, person).account_id
    second = journey.link(end_user, person, app_registration="second").account_id

    one, two = journey.backend.account(first), journey.backend.account(second)
    assert (one["app_registration"], two["app_registration"]) == ("default", "second")
    assert one["open_id"] != two["open_id"]
    assert journey.backend.unlink(second)["revoked_at_tiktok"] is True
    assert journey.tiktok.has_grant(one["open_id"])
    token = journey.backend.token(first)["access_token"]
    assert journey.tiktok.user_info(token, ["open_id"]).status_code == 200


def test_dates_are_utc_and_agree_with_the_days(
    journey: Journey, end_user: str, person: str
) -> None:
    journey.tiktok.set(refresh_seconds=5 * 86_400)

    account = journey.backend.account(journey.link(end_user, person).account_id)

    relink_by = datetime.fromisoformat(account["relink_by"])
    assert relink_by.tzinfo == UTC
    assert account["days_until_relink"] == 4
    linked_at = datetime.fromisoformat(account["linked_at"])
    assert abs(relink_by - linked_at - timedelta(days=5)) < timedelta(minutes=1)


def test_past_the_date_the_account_needs_its_owner(
    journey: Journey, end_user: str, person: str
) -> None:
    journey.tiktok.set(refresh_seconds=3_600, access_seconds=600)
    account_id = journey.link(end_user, person).account_id

    journey.world.advance(seconds=3_601)

    account = journey.backend.account(account_id)
    assert (account["status"], account["action_by"]) == ("relink_required", "end_user")
    assert account["days_until_relink"] == 0
    refused = journey.backend.vend(account_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "relink_required")
