"""The sample product by HTTP alone, so without its script: what it shows, and whom it believes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import requests

from local.app.settings import Settings
from local.app.tiktok import profile_of
from local.configuration import ROOT
from local.testing import free_ports
from tests.flows.http_browser import HttpBrowser, Page
from tests.flows.journey import Journey, consent
from tiktok_linking_client import LinkingClient, Token


class Product:
    """The sample product, as one person uses it."""

    def __init__(self, journey: Journey, user: str) -> None:
        self.url = journey.world.endpoints["app"]
        self.journey = journey
        self.user = user
        self.browser = HttpBrowser()

    def home(self) -> Page:
        return self.browser.open(self.url)

    def sign_in(self) -> Page:
        return self.browser.press(self.home(), "Sign in", fill={"user": self.user})

    def at_tiktok(self) -> Page:
        """Press "Connect TikTok", go through the stack's page, and be asked by TikTok."""
        connecting = self.browser.press(self.home(), "Connect TikTok")
        return self.browser.click(connecting, "Continue with TikTok")

    def connect(self, person: str, off: tuple[str, ...] = ()) -> Page:
        return consent(self.browser, self.at_tiktok(), person, off=off)

    def account_ids(self) -> list[str]:
        return [account["id"] for account in self.journey.backend.accounts_of(self.user)]


@pytest.fixture
def product(journey: Journey, end_user: str) -> Product:
    product = Product(journey, end_user)
    product.sign_in()
    return product


def test_it_asks_who_you_are_first(journey: Journey, end_user: str) -> None:
    product = Product(journey, end_user)

    assert "Sign in to Acme" in product.home().text
    assert end_user in product.sign_in().text
    assert "No TikTok account is connected yet" in product.home().text


def test_a_connected_account_is_shown_with_what_is_missing_and_its_date(
    product: Product, person: str
) -> None:
    page = product.connect(person, off=("video.list",))

    assert page.url == product.url + "/"  # a clean address: a reload repeats nothing
    assert "TikTok connected." in page.text
    assert "Active" in page.text
    assert person in page.text
    assert re.search(r"Missing permissions\s*Public videos", page.text)
    assert re.search(r"in 179 days by \d{1,2} \w+ \d{4}", page.text)
    assert "TikTok connected." not in product.home().text


def test_the_profile_comes_from_tiktok_and_the_token_stays_on_the_server(
    product: Product, person: str
) -> None:
    page = product.browser.press(product.connect(person), "Fetch my profile")

    assert re.search(rf"TikTok says: {person}, [\d,]+ followers", page.text)
    assert "act." not in page.answer.text
    everything = page.answer.text + str(product.browser.cookies)
    assert product.journey.backend.token(product.account_ids()[0])["access_token"] not in everything


def test_a_token_that_tiktok_refuses_is_reported_and_replaced(
    journey: Journey, end_user: str, person: str
) -> None:
    account_id = journey.link(end_user, person).account_id
    told: list[bool] = []

    class StackWithStaleToken(LinkingClient):
        def get_token(self, account_id: str, *, rejected: bool = False, **wishes: Any) -> Token:
            told.append(rejected)
            token = super().get_token(account_id, rejected=rejected, **wishes)
            return token if rejected else replace(token, access_token="act.refused")

    settings = Settings.from_env({"GATEWAY_URL": journey.world.endpoints["gateway"]})
    stack = StackWithStaleToken(
        settings.gateway_url, region=settings.region, credentials=settings.credentials
    )

    profile = profile_of(stack, account_id, journey.tiktok.url)

    assert profile["display_name"] == person
    assert told == [False, True]


def test_without_the_statistics_the_profile_still_comes(product: Product, person: str) -> None:
    page = product.connect(person, off=("user.info.stats",))

    page = product.browser.press(page, "Fetch my profile")

    assert f"TikTok says: {person}." in page.text


def test_cancelling_is_told(product: Product) -> None:
    page = product.browser.press(product.at_tiktok(), "Cancel")

    assert page.url == product.url + "/"
    assert "You cancelled. Nothing was connected." in page.text


def test_going_back_from_the_connect_page_is_told(product: Product) -> None:
    connecting = product.browser.press(product.home(), "Connect TikTok")

    page = product.browser.click(connecting, "Cancel and go back to")

    assert page.status == 200
    assert page.url == product.url + "/"


def test_disconnecting_asks_first_and_tells_what_happened(product: Product, person: str) -> None:
    page = product.connect(person)
    open_id = product.journey.backend.account(product.account_ids()[0])["open_id"]

    asking = product.browser.click(page, "Disconnect")
    assert f"Disconnect {person}?" in asking.text
    assert product.journey.tiktok.has_grant(open_id)
    page = product.browser.press(asking, "Disconnect")

    assert "Acme no longer has access at TikTok either" in page.text
    assert "No TikTok account is connected yet" in page.text
    assert not product.journey.tiktok.has_grant(open_id)


def test_disconnecting_survives_an_outage_of_tiktok(product: Product, person: str) -> None:
    page = product.connect(person)
    product.journey.tiktok.fail("revoke", "500_before")

    page = product.browser.press(product.browser.click(page, "Disconnect"), "Disconnect")

    assert "TikTok could not be told yet" in page.text
    assert "No TikTok account is connected yet" in page.text


def test_a_link_that_is_lost_can_be_reconnected(product: Product, person: str) -> None:
    product.connect(person)
    account_id = product.account_ids()[0]
    open_id = product.journey.backend.account(account_id)["open_id"]
    product.journey.tiktok.set(webhook_delivery="off")
    product.journey.tiktok.control("POST", f"/users/{open_id}/remove", {"reason": 1})
    product.journey.world.advance(hours=3)
    refused = product.browser.press(product.home(), "Fetch my profile")
    assert "connect this TikTok account again" in refused.text
    assert "Support code" in refused.text
    assert (refused.status, refused.url) == (200, product.url + "/")  # a reload sends no form again

    page = product.home()
    assert "Needs reconnecting" in page.text
    connecting = product.browser.press(page, "Reconnect")
    at_tiktok = product.browser.click(connecting, "Continue with TikTok")
    page = consent(product.browser, at_tiktok, person)

    assert "TikTok connected." in page.text
    assert "Active" in page.text
    assert product.account_ids() == [account_id]


def test_a_link_session_of_somebody_else_shows_nothing(
    product: Product, journey: Journey, end_user: str
) -> None:
    foreign = journey.backend.begin(f"{end_user}_else", return_url=f"{product.url}/tiktok/return")

    for path in ("/tiktok/return", "/tiktok/return/pop-up"):
        page = product.browser.open(f"{product.url}{path}?link_session={foreign['id']}")
        assert page.status == 403
        assert "not started here" in page.text


def test_an_error_in_the_address_is_not_believed(product: Product, person: str) -> None:
    page = product.connect(person)
    returned = next(a.url for a in page.trail if a.url.startswith(f"{product.url}/tiktok/return"))

    page = product.browser.open(f"{returned}&error=cancelled")

    assert "TikTok connected." in page.text


def test_an_account_of_somebody_else_is_out_of_reach(
    product: Product, journey: Journey, end_user: str, person: str
) -> None:
    foreign = journey.link(f"{end_user}_else", person).account_id
    csrf = dict(product.home().forms[0].fields)["csrf"]

    for action in ("profile", "reconnect", "disconnect"):
        url = f"{product.url}/accounts/{foreign}/{action}"
        answer = product.browser.send("POST", url, [("csrf", csrf)])
        assert answer.status_code == 404
    assert product.browser.open(f"{product.url}/accounts/{foreign}/disconnect").status == 404
    assert journey.backend.account(foreign)["status"] == "active"


@pytest.mark.parametrize("path", ["/connect", "/sign-in", "/sign-out"])
@pytest.mark.parametrize("csrf", [None, "guessed"])
def test_a_form_from_another_site_is_refused(product: Product, path: str, csrf: str | None) -> None:
    fields = [("user", "mallory")] + ([("csrf", csrf)] if csrf else [])

    assert product.browser.send("POST", product.url + path, fields).status_code == 400

    assert product.user in product.home().text


def test_signed_out_nothing_is_shown_or_done(product: Product, person: str) -> None:
    product.connect(person)
    account_id = product.account_ids()[0]

    page = product.browser.press(product.home(), "Sign out")

    assert "Sign in to Acme" in page.text
    assert "Sign in to Acme" in product.browser.open(f"{product.url}/tiktok/return").text
    asked = product.browser.open(f"{product.url}/accounts/{account_id}/disconnect")
    assert "Sign in to Acme" in asked.text


def test_its_answers_carry_the_headers_of_a_careful_site(product: Product) -> None:
    for path in ("/", "/nowhere", "/tiktok/return"):
        headers = product.browser.send("GET", product.url + path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_its_cookie_is_its_own_and_not_for_scripts(journey: Journey) -> None:
    answer = requests.get(journey.world.endpoints["app"], timeout=10)

    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("acme_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_another_host_name_leads_to_its_own(product: Product) -> None:
    port = product.url.rpartition(":")[2]

    page = HttpBrowser().open(f"http://localhost:{port}/tiktok/return?link_session=x")

    assert page.trail[0].headers["Location"].rstrip("/") == product.url


def test_a_stack_that_is_down_is_an_outage_and_no_crash() -> None:
    with running_product(GATEWAY_URL="http://127.0.0.1:9") as (url, _):
        browser = HttpBrowser()

        page = browser.press(browser.open(url), "Sign in", fill={"user": "ada"})

        assert page.status == 502
        assert "try again in a few minutes" in page.text


@contextmanager
def running_product(**env: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start the product as `python -m local.app` starts it, and wait for its ready line."""
    port = free_ports()["APP_PORT"]
    with subprocess.Popen(
        [sys.executable, "-m", "local.app"],
        cwd=ROOT,
        env={"APP_PORT": port, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"Acme is ready on http://127.0.0.1:{port}\n"
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.kill()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly(how: signal.Signals) -> None:
    with running_product() as (url, process):
        requests.get(url, timeout=10)

        process.send_signal(how)

        assert process.wait(timeout=10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_taken_port_is_named() -> None:
    with running_product() as (url, _):
        port = url.rpartition(":")[2]

        second = subprocess.run(
            [sys.executable, "-m", "local.app"],
            cwd=ROOT,
            env={"APP_PORT": port},
            capture_output=True,
            text=True,
            timeout=20,
        )

        assert second.returncode != 0
        assert port in second.stderr
        assert "Traceback" not in second.stderr


def test_addresses_with_link_sessions_are_not_logged() -> None:
    with running_product() as (url, process):
        requests.get(f"{url}/tiktok/return?link_session=ls_secret", timeout=10)
        process.terminate()

        out, err = process.communicate(timeout=10)

        assert "ls_secret" not in out + err
