"""The built-in TikTok's pages in Chromium: what a person can do there, and for whom they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from local.tiktok import App, TikTokServer
from local.tiktok.portal import Platform
from tests.browser.product import heading
from tests.browser.test_pages import overflow, violations
from tests.flows.journey import query_of
from tests.local.tiktok.client import Client

pytestmark = pytest.mark.browser

SCOPES = ("user.info.basic", "user.info.profile", "user.info.stats", "video.list")
# The way back leads to TikTok's own server, which has nothing there: what counts is the address.
ACME = App(
    *("acme", "awacme", "secret-of-acme", Platform.WEB, ("http://127.0.0.1:*/callback",), SCOPES),
    title="Acme",
    any_redirect=True,
)
BACK = re.compile("/callback[?]")


@pytest.fixture(scope="module")
def running_tiktok() -> Iterator[TikTokServer]:
    with TikTokServer([ACME]) as tiktok:
        yield tiktok


@pytest.fixture
def tiktok(running_tiktok: TikTokServer) -> TikTokServer:
    running_tiktok.reset()
    return running_tiktok


@pytest.fixture
def url(tiktok: TikTokServer) -> str:
    """Where an app sends its user; the page is shown even to who has consented before."""
    asked = {
        "client_key": ACME.client_key,
        "response_type": "code",
        "scope": ",".join(SCOPES),
        "redirect_uri": f"{tiktok.base_url}/callback",
        "state": "state-1",
        "disable_auto_auth": "1",
    }
    return f"{tiktok.authorize_url}?{urlencode(asked)}"


def press(page: Page, button: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()


def test_permissions_are_named_and_all_but_the_required_can_be_switched_off(
    url: str, page: Page
) -> None:
    page.goto(url)
    expect(heading(page)).to_have_text("Acme would like to access your TikTok account")
    access = page.get_by_role("group", name="Edit access")
    expect(access.get_by_role("checkbox")).to_have_count(len(SCOPES))
    required = access.get_by_role("checkbox", name="(required)")
    expect(required).to_be_checked()
    expect(required).to_be_disabled()

    access.get_by_role("checkbox", name="video.list").focus()
    page.keyboard.press("Space")
    access.get_by_role("checkbox", name="user.info.stats").click()
    press(page, "Authorize")

    expect(page).to_have_url(BACK)
    back = query_of(page.url)
    assert (back["scopes"], back["state"]) == ("user.info.basic,user.info.profile", "state-1")
    assert back["code"]


def test_cancelling(url: str, page: Page) -> None:
    page.goto(url)

    press(page, "Cancel")

    expect(page).to_have_url(BACK)
    back = query_of(page.url)
    assert (back["error"], back["state"]) == ("access_denied", "state-1")
    assert "code" not in back


def test_another_account_can_be_chosen_and_stays_the_browsers(
    url: str, page: Page, tiktok: TikTokServer
) -> None:
    page.goto(url)
    account = page.get_by_label("Account")
    expect(account).to_have_value("mina")

    account.select_option(label="Jonas Weber (@jonasweber.bikes), business account")
    press(page, "Authorize")

    expect(page).to_have_url(BACK)
    page.goto(url)
    expect(account).to_have_value("jonas")
    press(page, "Authorize")
    expect(page).to_have_url(BACK)
    callback = f"{tiktok.base_url}/callback"
    answer = Client(tiktok, ACME).exchange(query_of(page.url)["code"], redirect_uri=callback)
    assert answer.json()["open_id"] == tiktok.open_id("jonas", ACME.client_key)


def test_somebody_who_is_not_logged_in_logs_in_first(
    url: str, page: Page, tiktok: TikTokServer
) -> None:
    tiktok.settings(login="required")
    page.goto(url)
    expect(heading(page)).to_have_text("Log in to TikTok")
    press(page, "Cancel")
    expect(page).to_have_url(BACK)

    page.goto(url)
    page.get_by_role("radio", name="Amara Okafor").check()
    press(page, "Log in")
    expect(page.get_by_label("Account")).to_have_value("amara")
    press(page, "Log out of TikTok")
    expect(heading(page)).to_have_text("Log in to TikTok")
    page.get_by_role("radio", name="Jonas Weber").check()
    press(page, "Log in")
    press(page, "Authorize")

    expect(page).to_have_url(BACK)
    assert query_of(page.url)["scopes"] == ",".join(SCOPES)


@pytest.mark.parametrize("scheme", ["light", "dark"])
class TestLook:
    """Each page in both colours, on the narrowest screen, without a script."""

    @pytest.fixture
    def browser_context_args(self, scheme: str) -> dict[str, object]:
        return {"color_scheme": scheme, "viewport": {"width": 320, "height": 800}}

    def test_each_page_of_the_simulation(
        self,
        url: str,
        tiktok: TikTokServer,
        page: Page,
        shoot: Callable[[Page, str], None],
        scheme: str,
    ) -> None:
        ways = {
            "consent": ("assumed", url),
            "log-in": ("required", url),
            "refused": ("assumed", url.replace("response_type=code", "response_type=token")),
        }
        tiktok.add_user("long", "Wolfeschlegelsteinhausenbergerdorff, the Elder")
        for name, (login, address) in ways.items():
            tiktok.settings(login=login)
            page.goto(address)

            expect(page.get_by_role("note")).to_contain_text("Simulation. This is not TikTok")
            assert "simulated TikTok" in page.title()
            assert page.locator("script, img, svg").count() == 0
            assert overflow(page) <= 0
            assert violations(page) == [], name
            shoot(page, f"{name}-{scheme}")
