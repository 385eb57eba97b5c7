"""The sample product in a real browser: what a person does there, by the words on the page."""

from __future__ import annotations

from collections.abc import Collection

from playwright.sync_api import Locator, Page, expect

from tests.flows.journey import Journey


class Product:
    """One person's way through the sample product."""

    def __init__(self, journey: Journey, page: Page, user: str, *, url: str = "") -> None:
        self.url = url or journey.world.endpoints["app"]
        self.page = page
        self.user = user

    def sign_in(self) -> None:
        self.page.goto(self.url)
        self.page.get_by_label("User name").fill(self.user)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("heading", name="Your TikTok accounts")).to_be_visible()

    def start_connecting(self) -> None:
        self.page.get_by_role("button", name="Connect TikTok").click()
        expect(heading(self.page)).to_have_text("Connect your TikTok account")

    def go_to_tiktok(self) -> None:
        self.start_connecting()
        continue_to_tiktok(self.page)

    def open_pop_up(self) -> Page:
        """Press the second button and get the window that opens, on the stack's page."""
        with self.page.expect_popup() as opened:
            self.page.get_by_role("button", name="Connect in a pop-up").click()
        expect(heading(opened.value)).to_have_text("Connect your TikTok account")
        return opened.value

    def account(self, name: str) -> Locator:
        return self.page.get_by_role("article", name=name)

    def nothing_connected(self) -> Locator:
        """What the list says without accounts; its own words are there too, and not shown."""
        return self.page.get_by_text("No TikTok account is connected yet.").filter(visible=True)

    def notice(self) -> Locator:
        return self.page.get_by_role("status")


def heading(page: Page) -> Locator:
    return page.get_by_role("heading", level=1)


def continue_to_tiktok(page: Page) -> None:
    page.get_by_role("link", name="Continue with TikTok").click()
    expect(heading(page)).to_contain_text("would like to access your TikTok account")


def authorize(page: Page, person: str, *, off: Collection[str] = ()) -> None:
    """Be this TikTok user on the consent page, switch permissions off, and authorize."""
    page.get_by_label("Account").select_option(person)
    for scope in off:
        page.get_by_role("checkbox", name=scope).uncheck()
    page.get_by_role("button", name="Authorize").click()
