"""The product's own login decides: whole journeys, and what an attacker would try with them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest
import requests

from local.testing import WorldHandle
from tests.flows.http_browser import HttpBrowser, Page
from tests.flows.journey import Journey, query_of, to_consent
from tests.flows.test_linking import consented, depart, return_url, token_calls
from tests.flows.test_sample_product import Product


class Attempt:
    """Somebody's attempt to link, begun in a browser."""

    def __init__(self, journey: Journey, user: str, person: str, **wishes: object) -> None:
        self.journey = journey
        self.user = user
        self.browser = HttpBrowser()
        self.begun = journey.backend.begin(user, return_url=return_url(journey), **wishes)
        departure = depart(journey, self.begun["url"], self.browser)
        self.callback = consented(journey, departure, person)

    def come_back(self, browser: HttpBrowser | None = None) -> requests.Response:
        return (browser or self.browser).send("GET", self.callback)

    def complete(self, code: str, user: str | None = None) -> requests.Response:
        body = {"completion_code": code, "end_user_id": user or self.user}
        path = f"/v1/link-sessions/{self.begun['id']}/complete"
        return self.journey.backend.call("POST", path, body)

    @property
    def session(self) -> dict[str, Any]:
        return self.journey.backend.session(self.begun["id"])


def code_of(answer: requests.Response) -> str:
    return query_of(answer.headers["Location"])["completion_code"]


@pytest.fixture
def attempt(journey: Journey, end_user: str, person: str) -> Attempt:
    return Attempt(journey, end_user, person, completion="app")


def test_nothing_is_exchanged_before_the_product_says_who_is_there(attempt: Attempt) -> None:
    before = token_calls(attempt.journey)

    arrival = attempt.come_back()

    assert arrival.status_code == 303
    assert arrival.headers["Location"].startswith(return_url(attempt.journey))
    assert query_of(arrival.headers["Location"]).keys() == {"link_session", "completion_code"}
    assert token_calls(attempt.journey) == before
    assert attempt.session["status"] == "awaiting_completion"
    answer = attempt.complete(code_of(arrival))
    assert (answer.status_code, answer.json()["end_user_id"]) == (200, attempt.user)
    assert attempt.session["account_id"] == answer.json()["id"]
    assert attempt.journey.backend.token(answer.json()["id"])["warning"] is None


def test_twenty_callbacks_and_twenty_completions_are_one_exchange(attempt: Attempt) -> None:
    before = token_calls(attempt.journey)
    with ThreadPoolExecutor(20) as threads:
        arrivals = list(threads.map(lambda _: attempt.come_back(), range(20)))
        codes = {code_of(a) for a in arrivals if "completion_code" in a.headers["Location"]}
        (code,) = codes
        answers = list(threads.map(lambda _: attempt.complete(code), range(20)))

    assert {a.status_code for a in answers} <= {200, 409}
    assert any(a.status_code == 200 for a in answers)
    assert all(a.json()["retry_after"] for a in answers if a.status_code == 409)
    assert attempt.complete(code).status_code == 200
    assert token_calls(attempt.journey) == before + 1


def test_an_attacker_who_has_a_victim_finish_his_attempt_gets_nothing(
    journey: Journey, person: str
) -> None:
    """His session, his state; the victim consents, in a browser where the victim is signed in."""
    attack = Attempt(journey, "u_attacker", person, completion="app")
    before = token_calls(journey)
    victims = HttpBrowser()

    page = victims.open(attack.callback)
    code = query_of(page.link("Continue in Acme"))["completion_code"]
    refused = attack.complete(code, user="u_victim")

    assert page.status == 400
    assert (refused.status_code, refused.json()["code"]) == (409, "user_mismatch")
    assert attack.complete(code).json()["code"] == "user_mismatch"
    assert attack.session["reason"] == "user_mismatch"
    assert token_calls(journey) == before
    assert journey.backend.accounts_of("u_attacker") == []


@pytest.mark.parametrize("completion", ["browser", "app"])
def test_without_the_cookie_either_mode_leads_to_the_products_login_alone(
    journey: Journey, end_user: str, person: str, completion: str
) -> None:
    attempt = Attempt(journey, end_user, person, completion=completion)
    before = token_calls(journey)

    page = HttpBrowser().open(attempt.callback)

    assert page.status == 400
    assert "Finish in the browser you started in" in page.text
    assert token_calls(journey) == before
    assert attempt.session["status"] == "awaiting_completion"
    link = page.link("Continue in Acme")
    assert link.startswith(return_url(journey))
    assert attempt.complete(query_of(link)["completion_code"]).status_code == 200


def test_five_minutes_later_it_is_over_and_can_be_started_again(
    attempt: Attempt, new_person: Callable[[], str]
) -> None:
    code = code_of(attempt.come_back())
    attempt.journey.world.advance(minutes=5)

    refused = attempt.complete(code)

    assert (refused.status_code, refused.json()["code"]) == (410, "link_session_expired")
    assert attempt.session["status"] == "expired"
    page = attempt.browser.open(attempt.begun["url"])
    assert page.status == 410
    again = attempt.browser.send("GET", page.link("Try again"))
    arrival = attempt.browser.send("GET", consented(attempt.journey, again, new_person()))
    assert attempt.complete(code_of(arrival)).status_code == 200


def test_the_code_is_told_nowhere_else(attempt: Attempt) -> None:
    code = code_of(attempt.come_back())
    journey = attempt.journey

    told = [
        str(attempt.session),
        journey.world.get(f"/connect/{attempt.begun['id']}/status").text,
        HttpBrowser().open(attempt.begun["url"]).answer.text,
        journey.world.log_text(),
    ]

    assert not any(code in text for text in told)


# -- the sample product -------------------------------------------------------------------------


def test_the_product_completes_where_its_user_comes_back_in_another_browser(
    journey: Journey, end_user: str, person: str
) -> None:
    product, elsewhere = Product(journey, end_user), Product(journey, end_user)
    product.sign_in()
    page = product.at_tiktok()
    query = {"authorize_url": page.url, "user": person}
    callback = str(journey.tiktok.control("POST", "/consent", query)["redirect"])

    page = elsewhere.browser.click(elsewhere.browser.open(callback), "Continue in Acme")
    assert "Please sign in first" in page.text
    page = elsewhere.browser.press(page, "Sign in", fill={"user": end_user})

    assert "TikTok connected." in page.text
    assert len(product.account_ids()) == 1


def test_the_product_shows_a_foreign_attempt_to_nobody(
    journey: Journey, end_user: str, person: str
) -> None:
    attack = Attempt(journey, "u_attacker", person, completion="app")
    victim = Product(journey, end_user)
    victim.sign_in()

    page: Page = victim.browser.open(attack.come_back().headers["Location"])

    assert page.status == 403
    assert "This connection was not started here by you" in page.text
    assert attack.session["status"] == "awaiting_completion"


def test_a_stack_that_enforces_it_and_its_product(
    world_factory: Callable[..., AbstractContextManager[WorldHandle]],
) -> None:
    with world_factory(COMPLETION="app") as world:
        journey = Journey(world)
        refused = journey.backend.call(
            "POST",
            "/v1/link-sessions",
            {"end_user_id": "u", "completion": "browser", "return_url": return_url(journey)},
        )
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
        nowhere = journey.backend.call("POST", "/v1/link-sessions", {"end_user_id": "u"})
        assert nowhere.status_code == 400
        person = journey.tiktok.control("POST", "/users", {"user": "grace"})["user"]
        product = Product(journey, "ada")
        product.sign_in()

        page = product.connect(person)

        assert page.url == product.url + "/", "the code does not stay in the address"
        assert "TikTok connected." in page.text
        (account,) = product.account_ids()
        begun = journey.backend.call(
            "POST", f"/v1/accounts/{account}/relink", {"return_url": return_url(journey)}
        )
        assert begun.json()["completion"] == "app"
        made = world.calls()["callback"]
        assert made["dynamodb.UpdateItem"] <= 6
        assert to_consent(HttpBrowser(), begun.json()["url"]).status == 200
