"""Reload, Back and Forward on the stack's own pages, in Chromium with its real history.

Nothing is sent twice: TikTok is asked for no second pair, the session stays as it ended, and no
answer is a server's failure, which the `context` fixture would note.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.product import authorize, continue_to_tiktok, heading
from tests.flows.journey import Journey, query_of

pytestmark = pytest.mark.browser


class Person:
    """Somebody who opens the address of a session, without any product around it."""

    def __init__(self, journey: Journey, page: Page, end_user: str) -> None:
        self.journey = journey
        self.page = page
        self.end_user = end_user
        self.session_id = ""

    def open(self, begun: dict[str, Any]) -> None:
        self.session_id = begun["id"]
        self.page.goto(begun["url"])
        expect(heading(self.page)).to_have_text("Connect your TikTok account")

    def begin(self, **wishes: Any) -> None:
        self.open(self.journey.backend.begin(self.end_user, **wishes))

    def go_to_tiktok(self, **wishes: Any) -> None:
        self.begin(**wishes)
        continue_to_tiktok(self.page)

    def be_sent_back(self, **answer: str) -> None:
        """TikTok's answer to the page that is open now."""
        asked = query_of(self.page.url)
        answered = urlencode({**answer, "state": asked["state"]})
        self.page.goto(f"{asked['redirect_uri']}?{answered}")

    def stands(self) -> tuple[Any, ...]:
        """What a page that is only shown again must not change."""
        session = self.journey.backend.session(self.session_id)
        tokens = self.journey.tiktok.calls().get("token.authorization_code", 0)
        accounts = [one["id"] for one in self.journey.backend.accounts_of(self.end_user)]
        return session["status"], session.get("reason"), accounts, tokens


@pytest.fixture
def somebody(journey: Journey, page: Page, end_user: str) -> Person:
    return Person(journey, page, end_user)


def linked_in_part(person: Person, tiktok_user: str) -> None:
    person.go_to_tiktok()
    authorize(person.page, tiktok_user, off=["video.list"])


def cancelled(person: Person, tiktok_user: str) -> None:
    person.go_to_tiktok()
    person.page.get_by_role("button", name="Cancel").click()


def failed(person: Person, tiktok_user: str) -> None:
    person.go_to_tiktok()
    person.be_sent_back(code="never-issued")


def a_permission_is_missing(person: Person, tiktok_user: str) -> None:
    person.go_to_tiktok(scopes={"required": ["video.list"], "optional": []})
    authorize(person.page, tiktok_user, off=["video.list"])


def another_account(person: Person, tiktok_user: str) -> None:
    bound = person.journey.link(person.end_user, tiktok_user)
    other = f"other_{tiktok_user}"
    person.journey.tiktok.control("POST", "/users", {"user": other, "display_name": other})
    # Linked by somebody else, so TikTok knows its consent and would not ask for it again.
    person.journey.link(f"{person.end_user} too", other)
    again = person.journey.backend.call("POST", f"/v1/accounts/{bound.account_id}/relink", {})
    person.open(again.json())
    continue_to_tiktok(person.page)
    authorize(person.page, other)


def expired(person: Person, tiktok_user: str) -> None:
    person.begin(expires_in=60)
    person.journey.world.advance(seconds=61)
    person.page.reload()


def answered_to_nobody(person: Person, tiktok_user: str) -> None:
    person.begin()
    gateway = person.journey.world.endpoints["gateway"]
    person.page.goto(f"{gateway}/callback?code=c&state=old")


ENDINGS: dict[str, Callable[[Person, str], None]] = {
    "Connected, but some permissions are off": linked_in_part,
    "You cancelled": cancelled,
    "TikTok had a problem": failed,
    "A needed permission is off": a_permission_is_missing,
    "That is a different TikTok account": another_account,
    "This link has expired": expired,
    "This answer belongs to no link": answered_to_nobody,
}
"""Where the history differs; tests/functions/test_browser.py opens the rest again and again."""
ASKED_AGAIN = {
    "A needed permission is off": "Fix permissions",
    "That is a different TikTok account": "Try again",
}


@pytest.mark.parametrize("title", ENDINGS)
def test_reload_back_and_forward_change_nothing(somebody: Person, person: str, title: str) -> None:
    ENDINGS[title](somebody, person)
    page = somebody.page
    expect(heading(page)).to_have_text(title)
    before = somebody.stands()

    page.reload()
    expect(heading(page)).to_have_text(title)
    page.go_back()
    page.reload()
    page.go_forward()

    expect(heading(page)).to_have_text(title)
    page.reload()
    expect(heading(page)).to_have_text(title)
    assert somebody.stands() == before
    if button := ASKED_AGAIN.get(title):
        # TikTok would send somebody who consented before straight back, if it were not asked.
        page.get_by_role("link", name=button).click()
        expect(heading(page)).to_contain_text("would like to access your TikTok account")
        authorize(page, person)
        expect(heading(page)).to_have_text("TikTok connected")


def test_so_does_the_browser_that_tiktok_brought_somebody_back_in(
    somebody: Person, person: str, browser: Browser
) -> None:
    app = somebody.journey.world.endpoints["app"]
    somebody.go_to_tiktok(return_url=f"{app}/tiktok/return")
    context = browser.new_context()
    answers: list[int] = []
    context.on("response", lambda answer: answers.append(answer.status))
    other = context.new_page()
    other.goto(somebody.page.url)
    authorize(other, person)
    expect(heading(other)).to_have_text("Finish in the browser you started in")
    before = somebody.stands()

    other.reload()
    other.go_back()
    other.go_forward()
    expect(heading(other)).to_have_text("Finish in the browser you started in")

    assert somebody.stands() == before
    assert max(answers) < 500
    # The address to copy opens the page with the button in the browser that started.
    copied = other.get_by_role("link", name="address of this page").evaluate("one => one.href")
    assert "code" not in copied
    context.close()
    somebody.page.goto(copied)
    continue_to_tiktok(somebody.page)
    authorize(somebody.page, person)
    expect(somebody.page).to_have_url(re.compile("^" + re.escape(app)))
    assert somebody.journey.backend.session(somebody.session_id)["status"] == "completed"
