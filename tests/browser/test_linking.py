"""Linking in Chromium, from the sample product's first page to unlinking."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.product import Product, authorize, continue_to_tiktok, heading
from tests.browser.test_pages import overflow, violations
from tests.docs.reading import Document
from tests.flows.journey import Journey, query_of

pytestmark = pytest.mark.browser

Shoot = Callable[[Page, str], None]


@pytest.fixture
def product(journey: Journey, page: Page, end_user: str) -> Product:
    """The sample product with a person signed in."""
    product = Product(journey, page, end_user)
    product.sign_in()
    return product


@pytest.fixture
def ada(new_person: Callable[..., str]) -> str:
    """A TikTok user whose display name is Ada Lovelace."""
    return new_person("Ada Lovelace")


def test_link_use_and_unlink(
    journey: Journey, page: Page, end_user: str, ada: str, shoot: Shoot
) -> None:
    product = Product(journey, page, end_user)
    page.goto(product.url)
    shoot(page, "sign-in")
    product.sign_in()
    shoot(page, "nothing-connected")

    product.start_connecting()
    expect(page.get_by_text(end_user)).to_be_visible()
    shoot(page, "connect-page")
    continue_to_tiktok(page)
    page.get_by_label("Account").select_option(ada)
    page.get_by_role("checkbox", name="video.list").uncheck()
    shoot(page, "consent")
    page.get_by_role("button", name="Authorize").click()

    expect(page).to_have_url(product.url + "/")
    expect(product.notice()).to_contain_text("TikTok connected.")
    card = product.account("Ada Lovelace")
    expect(card).to_contain_text("Active")
    expect(card.locator("dd.missing")).to_have_text("Public videos")
    expect(card).to_contain_text(re.compile(r"in 179 days by \w+ \d+, \d{4}"))
    shoot(page, "connected")

    # Meanwhile the team's backend, with its own credentials:
    (account,) = journey.backend.accounts_of(end_user)
    assert account["scopes"]["missing"] == ["video.list"]
    token = journey.backend.token(account["id"])
    told = journey.tiktok.user_info(token["access_token"], ["display_name", "follower_count"])
    assert told.json()["data"]["user"]["display_name"] == "Ada Lovelace"

    # The product's own button stands in a slot of the card: in the list, but none of its elements.
    page.get_by_role("button", name="Fetch my profile").click()
    expect(product.notice()).to_contain_text("TikTok says: Ada Lovelace, 120 followers.")
    assert token["access_token"] not in page.content()
    shoot(page, "profile")

    card.get_by_role("button", name="Disconnect").click()
    asking = page.get_by_role("group", name="Disconnect Ada Lovelace?")
    expect(asking).to_contain_text("Acme deletes its access to this TikTok account.")
    expect(asking).to_contain_text("Security and login > Manage app permissions")
    expect(asking.get_by_role("button", name="Keep it connected")).to_be_focused()
    shoot(page, "disconnect")
    assert journey.tiktok.has_grant(account["open_id"])
    asking.get_by_role("button", name="Disconnect").click()
    expect(product.notice()).to_contain_text("no longer has access at TikTok")
    expect(product.nothing_connected()).to_be_visible()
    shoot(page, "disconnected")
    assert not journey.tiktok.has_grant(account["open_id"])


def test_cancelling_at_tiktok(product: Product, ada: str, shoot: Shoot) -> None:
    page = product.page
    product.go_to_tiktok()

    page.get_by_role("button", name="Cancel").click()

    expect(page).to_have_url(product.url + "/")
    expect(product.notice()).to_contain_text("You cancelled. Nothing was connected.")
    shoot(page, "back-at-the-product")
    page.reload()
    expect(product.notice()).to_be_empty()
    expect(product.nothing_connected()).to_be_visible()

    # Back leads to TikTok's page; what it sends now belongs to an attempt that is over.
    page.go_back()
    expect(heading(page)).to_contain_text("would like to access")
    page.go_back()
    expect(heading(page)).to_have_text("You cancelled")
    shoot(page, "back-at-the-connect-page")
    page.reload()
    page.get_by_role("link", name="Try again").click()
    authorize(page, ada)
    expect(product.account("Ada Lovelace")).to_contain_text("Active")


def test_reload_and_back_at_every_step(
    journey: Journey, product: Product, ada: str, shoot: Shoot
) -> None:
    page = product.page
    page.reload()
    expect(heading(page)).to_have_text("Your TikTok accounts")

    product.start_connecting()
    page.reload()
    expect(heading(page)).to_have_text("Connect your TikTok account")
    page.go_back()
    expect(heading(page)).to_have_text("Your TikTok accounts")
    page.go_forward()
    expect(heading(page)).to_have_text("Connect your TikTok account")

    continue_to_tiktok(page)
    page.reload()
    expect(heading(page)).to_contain_text("would like to access")
    page.go_back()
    expect(heading(page)).to_have_text("Connect your TikTok account")
    continue_to_tiktok(page)  # a second attempt of the same session

    exchanges = journey.tiktok.calls()["token.authorization_code"]
    authorize(page, ada)
    expect(product.account("Ada Lovelace")).to_contain_text("Active")
    page.reload()
    expect(product.account("Ada Lovelace")).to_contain_text("Active")

    # TikTok knows the answer by now and sends the browser on: the first result, no second exchange.
    page.go_back()
    expect(page).to_have_url(product.url + "/")
    expect(product.account("Ada Lovelace")).to_contain_text("Active")
    assert journey.tiktok.calls()["token.authorization_code"] == exchanges + 1

    page.go_back()
    expect(heading(page)).to_have_text("TikTok connected")
    shoot(page, "result-page")
    page.reload()
    expect(heading(page)).to_have_text("TikTok connected")
    page.get_by_role("link", name="Continue to Acme").click()
    expect(product.account("Ada Lovelace")).to_contain_text("Active")

    (account,) = journey.backend.accounts_of(product.user)
    page.goto(f"{product.url}/accounts/{account['id']}/disconnect")  # as without JavaScript
    page.reload()
    page.go_back()
    expect(product.account("Ada Lovelace")).to_contain_text("Active")
    page.go_forward()
    page.get_by_role("button", name="Disconnect").click()
    expect(product.nothing_connected()).to_be_visible()
    page.reload()
    page.go_back()
    expect(heading(page)).to_have_text("That did not work")  # there is nothing left to disconnect
    assert len(journey.backend.accounts_of(product.user)) <= 1


def test_the_history_keeps_no_code(product: Product, ada: str) -> None:
    page = product.page
    product.go_to_tiktok()
    authorize(page, ada)
    expect(product.account("Ada Lovelace")).to_be_visible()

    history = page.context.new_cdp_session(page).send("Page.getNavigationHistory")

    addresses = [entry["url"] for entry in history["entries"]]
    assert not [address for address in addresses if "code=" in address or "/callback" in address]


def test_nothing_is_asked_of_strangers(journey: Journey, product: Product, ada: str) -> None:
    page = product.page
    asked: set[str] = set()
    said: list[str] = []
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))

    product.go_to_tiktok()
    authorize(page, ada)
    expect(product.account("Ada Lovelace")).to_be_visible()

    known = {
        urlsplit(journey.world.endpoints[name]).netloc for name in ("app", "gateway", "tiktok")
    }
    assert asked <= known
    assert said == [], "a policy of ours stops something of our own pages"


def reach(page: Page, role: Literal["button", "combobox", "link", "textbox"], name: str) -> None:
    """Go there by Tab alone, and see that one can see where one is."""
    wanted = page.get_by_role(role, name=name)
    wanted.wait_for()
    for _ in range(20):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one.getRootNode().activeElement === one"):
            assert wanted.evaluate("one => getComputedStyle(one).outlineStyle") == "solid", name
            return
    pytest.fail(f"no way to {name} by Tab")


def test_the_whole_way_by_keyboard_alone(
    journey: Journey, page: Page, end_user: str, new_person: Callable[..., str]
) -> None:
    product = Product(journey, page, end_user)
    name = f"Zora{new_person()}"  # a name that can be typed ahead
    new_person(name)
    page.goto(product.url)
    reach(page, "textbox", "User name")
    page.keyboard.type(end_user)
    page.keyboard.press("Enter")
    reach(page, "button", "Connect TikTok")
    page.keyboard.press("Enter")
    reach(page, "link", "Continue with TikTok")
    page.keyboard.press("Enter")
    reach(page, "combobox", "Account")
    page.keyboard.type(name)
    reach(page, "button", "Authorize")
    page.keyboard.press("Enter")
    expect(product.account(name)).to_contain_text("Active")

    reach(page, "button", "Disconnect")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Keep it connected")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")

    expect(product.nothing_connected()).to_be_visible()


@pytest.mark.parametrize("first", [0, 1], ids=["first first", "second first"])
def test_two_tabs_may_finish_in_any_order(
    journey: Journey,
    product: Product,
    new_person: Callable[..., str],
    context: BrowserContext,
    first: int,
) -> None:
    tabs = [product, Product(journey, context.new_page(), product.user)]
    people = [new_person("First Tab"), new_person("Second Tab")]
    tabs[1].page.goto(product.url)
    for tab in tabs:
        tab.go_to_tiktok()

    for number in (first, 1 - first):
        authorize(tabs[number].page, people[number])
        expect(tabs[number].notice()).to_contain_text("TikTok connected.")

    for name in ("First Tab", "Second Tab"):
        expect(tabs[1 - first].account(name)).to_contain_text("Active")


def test_another_browser_cannot_finish(
    journey: Journey, product: Product, ada: str, browser: Browser, shoot: Shoot
) -> None:
    product.go_to_tiktok()
    exchanges = journey.tiktok.calls()["token.authorization_code"]
    other = browser.new_context().new_page()
    other.goto(product.page.url)

    authorize(other, ada)

    expect(heading(other)).to_have_text("Finish in the browser you started in")
    shoot(other, "other-browser")
    assert journey.tiktok.calls()["token.authorization_code"] == exchanges
    assert journey.backend.accounts_of(product.user) == []
    other.get_by_role("link", name="Continue in Acme").click()
    other.get_by_label("User name").fill(product.user)
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("status")).to_contain_text("TikTok connected.")
    expect(other).to_have_url(product.url + "/")
    assert len(journey.backend.accounts_of(product.user)) == 1
    other.context.close()


def test_another_user_in_another_browser_gets_nothing(
    journey: Journey, product: Product, ada: str, browser: Browser
) -> None:
    product.go_to_tiktok()
    other = browser.new_context().new_page()
    other.goto(product.page.url)
    authorize(other, ada)

    other.get_by_role("link", name="Continue in Acme").click()
    other.get_by_label("User name").fill("somebody else")
    other.get_by_role("button", name="Sign in").click()

    expect(other.get_by_text("This connection was not started here by you.")).to_be_visible()
    assert journey.backend.accounts_of(product.user) == []
    assert journey.backend.accounts_of("somebody else") == []
    other.context.close()


@pytest.mark.parametrize(
    ("error", "title"),
    [
        ("error=access_denied&error_type=user_not_eligible", "TikTok did not allow this account"),
        ("error=unauthorized_client&error_type=client_key", "This app is not set up right"),
        ("error=server_error", "TikTok had a problem"),
        ("code=never-issued", "TikTok had a problem"),
    ],
    ids=["refused", "misconfigured", "outage", "wrong-code"],
)
def test_what_a_person_must_read_leads_back_to_the_product(
    product: Product, shoot: Shoot, error: str, title: str
) -> None:
    page = product.page
    product.go_to_tiktok()
    asked = query_of(page.url)

    page.goto(f"{asked['redirect_uri']}?{error}&state={asked['state']}")

    expect(heading(page)).to_have_text(title)
    shoot(page, error.rpartition("=")[2])
    page.reload()
    expect(heading(page)).to_have_text(title)
    page.get_by_role("link", name="Back to Acme").click()
    expect(page).to_have_url(product.url + "/")
    expect(product.notice()).to_contain_text(re.compile("Nothing was connected|try again"))


def test_a_link_that_expired_leads_back_to_the_product(
    journey: Journey, product: Product, shoot: Shoot
) -> None:
    page = product.page
    product.start_connecting()
    journey.world.advance(minutes=31)

    page.reload()

    expect(heading(page)).to_have_text("This link has expired")
    shoot(page, "expired")
    page.get_by_role("link", name="Back to Acme").click()
    expect(product.notice()).to_contain_text("This link has expired. Please start again.")


def test_any_origin_loads_the_script_from_the_stack(journey: Journey, page: Page) -> None:
    """As a module and by a script tag, by its version and with the documented hash."""
    told = Document.read("docs/connect-js.md").section("Where to load it from").rows()
    version, integrity = (row[1].strip("`") for row in told[-2:])
    source = f"{journey.world.endpoints['gateway']}/connect.js?v={version}"
    page.set_content("<title>A page of an origin of its own</title>")

    page.evaluate(
        """([src, integrity]) => new Promise((done, failed) => {
          const script = Object.assign(document.createElement("script"), {
            type: "module", crossOrigin: "anonymous", src, integrity, onload: done, onerror: failed,
          });
          document.head.append(script);
        })""",
        [source, integrity],
    )

    assert page.evaluate("typeof TikTokLink.connect") == "function"
    names = page.evaluate("async src => Object.keys(await import(src))", source)
    assert sorted(names) == ["ERROR_CODES", "LinkError", "VERSION", "connect", "returned"]


class TestInAPopUp:
    """The second button: a window of its own, watched by the page that opened it."""

    def test_connecting(self, product: Product, ada: str, shoot: Shoot) -> None:
        page = product.page
        pop_up = product.open_pop_up()
        expect(product.notice()).to_contain_text("Continue in the window that has opened.")
        shoot(page, "waiting")
        shoot(pop_up, "pop-up")

        continue_to_tiktok(pop_up)
        with pop_up.expect_event("close"):
            authorize(pop_up, ada)

        expect(product.notice()).to_contain_text("TikTok connected.")
        expect(product.account("Ada Lovelace")).to_contain_text("Active")
        expect(page).to_have_url(product.url + "/")

    def test_cancelling(self, product: Product) -> None:
        pop_up = product.open_pop_up()
        continue_to_tiktok(pop_up)

        with pop_up.expect_event("close"):
            pop_up.get_by_role("button", name="Cancel").click()

        expect(product.notice()).to_contain_text("You cancelled. Nothing was connected.")

    def test_closing_the_window(self, product: Product, shoot: Shoot) -> None:
        product.open_pop_up().close()

        expect(product.notice()).to_contain_text("If its window is closed, start again.")
        shoot(product.page, "closed")

    def test_a_blocked_window_becomes_the_full_page(self, product: Product, ada: str) -> None:
        page = product.page
        page.evaluate("window.open = () => null")

        page.get_by_role("button", name="Connect in a pop-up").click()

        expect(heading(page)).to_have_text("Connect your TikTok account")
        continue_to_tiktok(page)
        authorize(page, ada)
        expect(product.account("Ada Lovelace")).to_contain_text("Active")


class TestWithoutJavaScript:
    """Everything but the pop-up works."""

    @pytest.fixture
    def browser_context_args(self) -> dict[str, bool]:
        return {"java_script_enabled": False}

    def test_link_and_unlink(self, product: Product, ada: str) -> None:
        page = product.page
        expect(page.get_by_role("button", name="Connect in a pop-up")).to_be_hidden()
        product.go_to_tiktok()
        authorize(page, ada)
        expect(product.account("Ada Lovelace")).to_contain_text("Active")

        product.account("Ada Lovelace").get_by_role("link", name="Disconnect").click()
        page.get_by_role("button", name="Disconnect").click()

        expect(product.nothing_connected()).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
class TestLook:
    """Pages in both colours, on the narrowest screen and a wide one."""

    @pytest.fixture
    def browser_context_args(self, scheme: str, width: int) -> dict[str, object]:
        return {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}

    def test_look(
        self,
        product: Product,
        new_person: Callable[..., str],
        journey: Journey,
        shoot: Shoot,
        scheme: str,
        width: int,
    ) -> None:
        page = product.page
        journey.tiktok.set(refresh_seconds=3 * 86_400)
        soon = new_person("Grace Brewster Murray Hopper of the Navy")
        journey.link(product.user, soon, off=["user.info.stats", "video.list"])
        journey.tiktok.set(refresh_seconds=15_552_000)
        gone = journey.link(product.user, new_person("Katherine Johnson")).account_id
        open_id = journey.backend.account(gone)["open_id"]
        journey.tiktok.set(webhook_delivery="off")
        journey.tiktok.control("POST", f"/users/{open_id}/remove", {"reason": 1})
        journey.world.advance(hours=3)
        journey.backend.vend(gone)
        journey.link(product.user, new_person("Ada Lovelace"))

        page.goto(product.url)
        expect(product.account("Ada Lovelace")).to_contain_text("Active")
        expect(product.account("Grace")).to_contain_text("Expires in 2 days")
        expect(product.account("Katherine Johnson")).to_contain_text("Needs reconnecting")

        shoot(page, f"accounts-{scheme}-{width}")
        assert overflow(page) <= 0
        assert violations(page) == []
        if width == 320:
            self.look_at_the_small_pages(product, f"/accounts/{gone}/disconnect")
        product.start_connecting()
        shoot(page, f"connect-page-{scheme}-{width}")
        assert overflow(page) <= 0

    def look_at_the_small_pages(self, product: Product, *paths: str) -> None:
        """Those that have one form or one sentence."""
        page = product.page
        for path in (*paths, "/nowhere"):
            page.goto(product.url + path)
            assert overflow(page) <= 0
            assert violations(page) == [], path
        page.get_by_role("button", name="Sign out").click()
        expect(heading(page)).to_have_text("Sign in to Acme")
        assert overflow(page) <= 0
        assert violations(page) == []
        product.sign_in()
