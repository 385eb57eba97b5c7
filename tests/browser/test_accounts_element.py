"""<tiktok-accounts> in Chromium, under a policy that allows no inline style and no other host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.three_hosts import STATIC, ThreeHosts, three_hosts
from tests.docs.reading import Document

pytestmark = pytest.mark.browser

NOW = "2026-11-22T23:30:00Z"
SOURCE = (STATIC / "tiktok-accounts.js").read_text(encoding="utf-8")
PICTURE = "https://p16-sign-va.tiktokcdn.com/ada.jpeg?x-expires=1"


def account(**changes: Any) -> dict[str, Any]:
    return {
        "id": "acct_1",
        "status": "active",
        "profile": {"display_name": "Ada Lovelace", "avatar_url": PICTURE},
        "scopes": {"granted": ["user.info.basic"], "missing": []},
        "relink_by": "2027-05-21T10:00:00Z",
        "refresh": {"failing_since": None},
    } | changes


class Element:
    """The element on its page."""

    def __init__(self, page: Page, hosts: ThreeHosts) -> None:
        self.page = page
        self.said: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.clock.set_fixed_time(NOW)
        page.goto(hosts.url("app", "/accounts"))
        expect(page.locator("tiktok-accounts")).to_contain_text("No TikTok account is connected")
        page.evaluate(
            """() => {
              globalThis.list = document.querySelector("tiktok-accounts");
              globalThis.wanted = [];
              for (const type of ["reconnect", "disconnect"])
                document.addEventListener(type, ({ detail }) => wanted.push([type, detail.id]));
            }"""
        )

    def show(self, *accounts: dict[str, Any]) -> None:
        self.page.evaluate("accounts => { list.accounts = accounts }", accounts)

    def card(self, name: str = "Ada Lovelace") -> Locator:
        return self.page.get_by_role("article", name=name)

    def press(self, name: str) -> None:
        self.card().get_by_role("button", name=name).click()

    def wanted(self) -> list[list[str]]:
        found: list[list[str]] = self.page.evaluate("wanted")
        return found


@pytest.fixture
def element(page: Page) -> Iterator[Element]:
    with three_hosts() as hosts:
        yield Element(page, hosts)


def test_each_state_is_told_in_words_and_by_a_sign(element: Element) -> None:
    states: list[tuple[dict[str, Any], str]] = [
        ({}, "✓ Active"),
        ({"relink_by": None}, "✓ Active"),
        ({"relink_by": "2026-12-06T00:10:00Z"}, "! Expires in 14 days"),
        ({"relink_by": "2026-11-23T00:10:00Z"}, "! Expires tomorrow"),  # in forty minutes
        ({"relink_by": "2026-11-22T23:40:00Z"}, "! Expires today"),
        ({"days_until_relink": 3}, "! Expires in 3 days"),  # the stack's clock counts
        ({"relink_by": "2026-11-22T00:10:00Z"}, "! Expires today"),
        ({"relink_by": "2026-11-21T23:50:00Z"}, "! Needs reconnecting"),
        ({"status": "relink_required"}, "! Needs reconnecting"),
        ({"status": "revoked"}, "✕ Access removed in TikTok"),
        ({"refresh": {"failing_since": NOW}}, "↻ Trouble reaching TikTok"),
        ({"status": "of a later stack"}, "? State not known"),
    ]
    element.show(*(account(id=f"acct_{n}", **change) for n, (change, _) in enumerate(states)))

    told = element.page.locator("tiktok-accounts .status").all_inner_texts()

    assert told == [words for _, words in states]
    assert element.page.locator(".status [aria-hidden=true]").count() == len(states)


def test_dates_are_days_of_the_utc_calendar(element: Element) -> None:
    element.show(account())
    expect(element.card()).to_contain_text("in 180 days by May 21, 2027")

    element.show(account(relink_by="2026-11-21T23:50:00Z"))
    expect(element.card()).to_contain_text("was due by November 21, 2026")


def test_what_is_missing_can_be_mended(element: Element) -> None:
    element.show(account(scopes={"granted": [], "missing": ["video.list", "of.tomorrow"]}))

    expect(element.card().locator("dd.missing")).to_have_text("Public videos, of.tomorrow")
    element.press("Fix permissions")
    element.show(account(status="revoked"))
    element.press("Reconnect")

    assert element.wanted() == [["reconnect", "acct_1"]] * 2
    element.show(account())
    expect(element.card().get_by_role("button")).to_have_text(["Disconnect"])


def test_disconnecting_asks_once_and_says_what_follows(element: Element) -> None:
    element.show(account(), account(id="acct_2", profile=None))
    element.press("Disconnect")
    asking = element.page.get_by_role("group", name="Disconnect Ada Lovelace?")

    expect(asking).to_contain_text("Acme deletes its access to this TikTok account.")
    expect(asking).to_contain_text("Profile > menu > Security and login > Manage app permissions")
    expect(asking.get_by_role("button", name="Keep it connected")).to_be_focused()
    element.page.keyboard.press("Escape")
    expect(asking).to_have_count(0)
    expect(element.card().get_by_role("button", name="Disconnect")).to_be_focused()
    assert element.wanted() == []

    element.page.keyboard.press("Enter")
    asking.get_by_role("button", name="Disconnect").click()
    expect(asking.get_by_role("button", name="Disconnect")).to_be_disabled()
    assert element.wanted() == [["disconnect", "acct_1"]]
    expect(element.card("TikTok account")).to_be_visible()


def test_pictures_are_initials_unless_asked_for_and_then_tiktoks_alone(element: Element) -> None:
    asked: list[tuple[str, str | None]] = []

    def serve(route: Route) -> None:
        asked.append((route.request.url, route.request.headers.get("referer")))
        route.abort()

    element.page.route(re.compile("^https://"), serve)
    element.show(account())
    expect(element.card()).to_contain_text("AL")
    elsewhere = [
        "https://tiktokcdn.com.evil.example/a.jpg",
        "https://eviltiktokcdn.com/a.jpg",
        "http://p16.tiktokcdn.com/a.jpg",
        "https://p16.tiktokcdn.com:8443/a.jpg",
        "javascript:alert(1)",
        "nothing",
        None,
    ]
    find = "async address => (await import('/static/tiktok-accounts.js')).pictureOf(address)"
    for address in elsewhere:
        shown = {"profile": {"display_name": "Ada", "avatar_url": address}}
        assert element.page.evaluate(find, shown) is None, address
    assert element.page.evaluate(find, account()) == PICTURE
    assert asked == []

    said = len(element.said)
    element.page.evaluate("() => list.setAttribute('avatars', '')")
    element.page.evaluate("() => new Promise((done) => setTimeout(done, 0))")

    # This page's policy allows no picture: it stays with the initials, and says which it refused.
    expect(element.card()).to_contain_text("AL")
    assert any("p16-sign-va.tiktokcdn.com" in line for line in element.said[said:])
    element.said.clear()


def test_texts_looks_and_what_is_inside_are_the_products(element: Element) -> None:
    element.page.evaluate(
        """account => {
          list.texts = { active: "Aktiv", "user.info.basic": "Name und Bild" };
          list.style.setProperty("--tta-card", "rgb(1, 2, 3)");
          list.insertAdjacentHTML("beforeend", '<button slot="acct_1">Post a video</button>');
          list.accounts = [account];
        }""",
        account(),
    )

    expect(element.card()).to_contain_text("Aktiv")
    expect(element.card()).to_contain_text("Name und Bild")
    expect(element.card()).to_have_css("background-color", "rgb(1, 2, 3)")
    expect(element.page.get_by_role("button", name="Post a video")).to_be_visible()
    expect(element.page.get_by_text("Without a script")).to_be_hidden()
    name = '<svg onload="alert(1)">'
    element.show(account(profile={"display_name": name}))
    expect(element.card(name)).to_be_visible()
    assert element.said == [], "its page's policy stops something of it"


def test_it_calls_nobody_and_its_document_has_every_knob() -> None:
    section = Document.read("docs/connect-js.md").section("tiktok-accounts: the list").text

    assert (
        re.findall(r"fetch\(|XMLHttpRequest|innerHTML|localStorage|document\.cookie", SOURCE) == []
    )
    base = {name.removesuffix("-back") for name in re.findall(r"var\((--tta-[\w-]+)", SOURCE)}
    assert base == set(re.findall(r"--tta-\w+(?:-accent)?", section))
    parts = set(" ".join(re.findall(r'part: "([\w ]+)"', SOURCE)).split())
    assert parts <= set(re.findall(r"\w+", section))
