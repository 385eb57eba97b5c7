"""connect.js in Chromium: every way in which an attempt ends, and what must not end it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, Playwright, expect

from tests.browser.three_hosts import SESSION, STATIC, ThreeHosts, three_hosts
from tests.docs.reading import Document, name_in
from tests.fakes import every_page
from tiktok_linking.sessions import SessionReason, SessionStatus
from tiktok_linking.web.http import Response

pytestmark = pytest.mark.browser

DOCUMENT = Document.read("docs/connect-js.md")
SOURCE = (STATIC / "connect.js").read_text(encoding="utf-8")
TYPES = (STATIC / "connect.d.ts").read_text(encoding="utf-8")
ERROR_CODES = re.findall(r'^  "(\w+)", //', SOURCE, re.MULTILINE)
# Cross-Origin-Opener-Policy of product, stack and TikTok.
POLICIES = [
    ("", "", ""),
    ("", "", "same-origin"),
    ("", "", "same-origin-allow-popups"),
    ("", "same-origin", ""),
    ("", "same-origin-allow-popups", ""),
    ("same-origin", "", ""),
    ("same-origin-allow-popups", "", ""),
    ("same-origin", "", "same-origin"),
    ("same-origin-allow-popups", "same-origin", "same-origin"),
]
SEVERED = POLICIES[1:6] + POLICIES[7:]
"""Where `closed` becomes true of a window that is open."""


@pytest.fixture
def hosts() -> Iterator[ThreeHosts]:
    with three_hosts() as hosts:
        yield hosts


class Product:
    """The product's page: a button, and what the script told it."""

    def __init__(self, page: Page, hosts: ThreeHosts) -> None:
        self.page = page
        self.hosts = hosts

    def open(self, before: str = "", **options: object) -> None:
        self.page.goto(self.hosts.url("app"))
        self.wait_until("ready", "true")
        self.page.evaluate("given => { globalThis.options = given }", options)
        if before:
            self.page.evaluate(f"() => {{ globalThis.before = () => {{ {before} }} }}")

    def click(self) -> None:
        self.page.get_by_role("button").click()

    def connect(self) -> Page:
        """Press the button and get the window that opens, on the stack's page."""
        with self.page.expect_popup() as opened:
            self.click()
        expect(opened.value).to_have_title("Link")
        return opened.value

    def outcome(self) -> dict[str, Any]:
        self.wait_until("outcomes", re.compile("[1-9]"))
        found: dict[str, Any] = self.page.evaluate("outcomes[0]")
        return found

    def outcomes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.page.evaluate("outcomes")
        return found

    def told(self) -> list[str]:
        found: list[str] = self.page.evaluate("told")
        return found

    def wait_for(self, event: str) -> None:
        self.wait_until("told", re.compile(rf"\b{event}\b"))

    def pass_time(self, milliseconds: int) -> None:
        """Let the page's clock run; where it has asked, its answer comes in real time."""
        for _ in range(0, milliseconds, 1000):
            self.page.clock.run_for(1000)
            self.settle()

    def settle(self) -> None:
        """Wait for what is asked at this moment."""
        self.wait_until("under-way", "0")

    def wait_until(self, name: str, value: str | re.Pattern[str]) -> None:
        expect(self.page.locator("body")).to_have_attribute(f"data-{name}", value)


@pytest.fixture
def product(page: Page, hosts: ThreeHosts) -> Product:
    return Product(page, hosts)


@pytest.fixture
def timed(product: Product) -> Product:
    """With a clock that moves when it is told to."""
    product.page.clock.install(time="2026-01-01T00:00:00Z")
    product.page.clock.pause_at("2026-01-01T00:00:01Z")
    return product


@pytest.mark.parametrize("announces", [True, False], ids=["by message", "by asking alone"])
@pytest.mark.parametrize("policies", POLICIES, ids="/".join)
def test_every_combination_of_opener_policies_resolves(
    timed: Product, hosts: ThreeHosts, policies: tuple[str, str, str], announces: bool
) -> None:
    hosts.policies = dict(zip(("app", "link", "tiktok"), policies, strict=True))
    hosts.announces = announces
    timed.open()
    pop_up = timed.connect()
    pop_up.get_by_role("link", name="Continue").click()
    expect(pop_up).to_have_title("TikTok")
    timed.pass_time(2000)
    timed.wait_for("started")
    assert ("window_closed" in timed.told()) is (policies in SEVERED)

    pop_up.get_by_role("link", name="Authorize").click()
    if not announces:
        expect(pop_up).to_have_title("Connected")
        timed.pass_time(3000)

    assert timed.outcome() == {"status": "completed", "missing": [], "sessionId": SESSION}


@pytest.mark.parametrize(
    ("status", "result"),
    [
        ({"status": "completed", "missing_scopes": ["video.list"]}, {"missing": ["video.list"]}),
        ({"status": "cancelled", "reason": "user_cancelled"}, {"reason": "user_cancelled"}),
        ({"status": "failed", "reason": "of a later version"}, {"reason": "of a later version"}),
        ({"status": "expired"}, {"reason": None}),
    ],
    ids=["completed", "cancelled", "failed", "expired"],
)
def test_it_resolves_with_the_stacks_word(
    timed: Product, hosts: ThreeHosts, status: dict[str, Any], result: dict[str, Any]
) -> None:
    timed.open()
    pop_up = timed.connect()
    hosts.status = {"status": "a later version's"}
    timed.pass_time(2000)
    timed.wait_for("a later version's")

    hosts.status = status
    timed.pass_time(3000)

    assert timed.outcome() == {"status": status["status"], "sessionId": SESSION} | result
    # What went wrong is said in the window, which stays to be read.
    assert pop_up.is_closed() is (status["status"] in ("completed", "cancelled"))


def test_a_closed_window_ends_nothing(timed: Product, hosts: ThreeHosts) -> None:
    timed.open()
    pop_up = timed.connect()
    hosts.status = {"status": "started"}
    timed.pass_time(2000)
    timed.wait_for("started")

    pop_up.close()
    timed.pass_time(8000)
    assert timed.told()[-1] == "window_closed"
    asked = hosts.asked_for_the_status()
    timed.pass_time(50_000)
    assert hosts.asked_for_the_status() - asked >= 20, "not asked every two seconds"
    timed.pass_time(12_000)
    assert timed.told()[-1] == "still_waiting"
    assert timed.outcomes() == []

    hosts.status = {"status": "completed"}
    timed.pass_time(6000)

    assert timed.outcome()["status"] == "completed"
    assert [one for one in timed.told() if one.endswith(("closed", "waiting"))] == [
        "window_closed",
        "still_waiting",
    ]


def test_asking_slows_down_and_stops_while_nobody_looks(timed: Product, hosts: ThreeHosts) -> None:
    timed.open()
    timed.connect()
    timed.pass_time(30_000)
    asked = hosts.asked_for_the_status()
    timed.pass_time(20_000)
    assert 4 <= hosts.asked_for_the_status() - asked <= 5

    look = "state => { Object.defineProperty(document, 'visibilityState', { value: state,"
    look += " configurable: true }); document.dispatchEvent(new Event('visibilitychange')) }"
    timed.page.evaluate(look, "hidden")
    asked = hosts.asked_for_the_status()
    timed.pass_time(60_000)
    assert hosts.asked_for_the_status() == asked

    hosts.status = {"status": "completed"}
    timed.page.evaluate(look, "visible")
    assert timed.outcome()["status"] == "completed"


def test_a_second_call_brings_the_window_to_the_front(product: Product) -> None:
    product.open()
    product.connect()

    product.click()
    product.wait_for("focused")

    assert product.told().count("opened") == 1
    assert product.told().count("session_created") == 1


def test_only_the_window_and_its_origins_are_listened_to(
    timed: Product, hosts: ThreeHosts, context: BrowserContext
) -> None:
    """A message says no more than that it is time to ask, and not everybody may say it."""
    timed.open()
    pop_up = timed.connect()
    message = {"type": "tiktok-link", "session": SESSION, "status": "completed"}
    post = "message => { opener.postMessage(message, '*') }"
    timed.page.evaluate("message => { postMessage(message, '*') }", message)
    pop_up.evaluate(post, message | {"session": "ls_other"})
    pop_up.evaluate(post, message | {"type": "other"})
    pop_up.get_by_role("link", name="Continue").click()
    expect(pop_up).to_have_title("TikTok")
    pop_up.evaluate(post, message)
    timed.settle()
    assert hosts.asked_for_the_status() == 0

    pop_up.evaluate("url => { location = url }", hosts.url("link", f"/connect/{SESSION}"))
    expect(pop_up).to_have_title("Link")
    pop_up.evaluate(post, message)

    timed.wait_for("started")
    assert timed.outcomes() == []
    assert hosts.asked_for_the_status() == 1


def test_a_stranger_who_opens_the_return_page_hears_nothing(page: Page, hosts: ThreeHosts) -> None:
    page.goto(hosts.url("tiktok"))
    page.evaluate("() => { globalThis.heard = []; onmessage = ({ data }) => heard.push(data) }")
    with page.expect_popup() as opened:
        page.evaluate("url => { open(url) }", hosts.url("app", f"/return?link_session={SESSION}"))
    if not opened.value.is_closed():
        opened.value.wait_for_event("close")

    assert page.evaluate("heard") == []


class TestResultPages:
    """The stack's own pages tell the product that it is time to ask; they post it themselves."""

    @pytest.fixture
    def failed(self, hosts: ThreeHosts) -> Response:
        """How an attempt of this session ended, as the stack says it in the window."""
        return result_page(hosts.url("app", "/return"), SESSION)

    def open(self, pop_up: Page, hosts: ThreeHosts, page: Response, host: str = "link") -> None:
        """Lead the window to a page of that host."""
        hosts.pages[host, "/result"] = page
        pop_up.evaluate("url => { location = url }", hosts.url(host, "/result"))
        expect(pop_up).to_have_title(re.compile("^Signed in as someone else"))

    def test_the_promise_settles_at_once(
        self, timed: Product, hosts: ThreeHosts, failed: Response
    ) -> None:
        """No time passes here, so nothing but the message can have made it ask."""
        timed.open()
        pop_up = timed.connect()
        hosts.status = {"status": "failed", "reason": "provider_refused"}

        self.open(pop_up, hosts, failed)

        ended = {"status": "failed", "reason": "provider_refused", "sessionId": SESSION}
        assert timed.outcome() == ended
        assert hosts.asked_for_the_status() == 1
        assert not pop_up.is_closed()

    def test_the_page_decides_nothing(
        self, timed: Product, hosts: ThreeHosts, failed: Response
    ) -> None:
        """It only makes the script ask, and the stack's word may be another."""
        timed.open()
        pop_up = timed.connect()
        hosts.status = {"status": "started"}

        self.open(pop_up, hosts, failed)

        timed.wait_for("started")
        assert timed.outcomes() == []

    def test_of_another_session_it_is_ignored(self, timed: Product, hosts: ThreeHosts) -> None:
        timed.open()
        pop_up = timed.connect()
        hear(timed.page)

        self.open(pop_up, hosts, result_page(hosts.url("app", "/return"), "ls_" + "O" * 43))

        assert heard(timed.page) == [{"type": "tiktok-link", "session": "ls_" + "O" * 43}]
        timed.settle()
        assert hosts.asked_for_the_status() == 0

    def test_of_another_origin_it_is_ignored(
        self, timed: Product, hosts: ThreeHosts, failed: Response
    ) -> None:
        timed.open()
        pop_up = timed.connect()
        hear(timed.page)

        self.open(pop_up, hosts, failed, host="tiktok")

        assert heard(timed.page) == [{"type": "tiktok-link", "session": SESSION}]
        timed.settle()
        assert hosts.asked_for_the_status() == 0

    def test_where_the_tie_is_cut_it_says_nothing_and_nothing_breaks(
        self, timed: Product, hosts: ThreeHosts, failed: Response
    ) -> None:
        hosts.policies = {"app": "same-origin"}
        timed.open()
        pop_up = timed.connect()
        said: list[str] = []
        pop_up.on("pageerror", lambda error: said.append(str(error)))
        hosts.status = {"status": "failed", "reason": "provider_refused"}
        self.open(pop_up, hosts, failed)

        timed.pass_time(2000)

        assert timed.outcome()["status"] == "failed"
        assert said == []


def result_page(return_url: str, session_id: str) -> Response:
    """A page of the stack that says how an attempt ended."""
    ended = every_page.session(
        SessionStatus.FAILED,
        reason=SessionReason.USER_MISMATCH,
        id=session_id,
        return_url=return_url,
    )
    return every_page.PAGES.of_session(ended, every_page.COOKIES)


def hear(page: Page) -> None:
    """Note every message that this window gets."""
    page.evaluate(
        """() => { globalThis.heard = []; addEventListener("message", ({ data }) => {
            document.body.dataset.heard = heard.push(data);
        }) }"""
    )


def heard(page: Page, number: int = 1) -> list[Any]:
    """What it got, once it is so many."""
    expect(page.locator("body")).to_have_attribute("data-heard", str(number))
    found: list[Any] = page.evaluate("heard")
    return found


def test_a_stranger_who_opens_a_result_page_hears_nothing(page: Page, hosts: ThreeHosts) -> None:
    """Nor does a page of another port of the product's host, which is another origin."""
    hosts.pages["link", "/result"] = result_page(hosts.url("app", "/return"), SESSION)
    hosts.pages["link", "/elsewhere"] = result_page("http://tiktok.localhost:1/", SESSION)
    page.goto(hosts.url("tiktok"))
    hear(page)
    for number, path in enumerate(("/result", "/elsewhere"), 1):
        with page.expect_popup() as opened:
            page.evaluate("url => { open(url) }", hosts.url("link", path))
        expect(opened.value).to_have_title(re.compile("^Signed in as someone else"))
        opened.value.evaluate("url => { opener.postMessage('last', url) }", hosts.url("tiktok"))
        assert heard(page, number) == ["last"] * number


class TestErrorCodes:
    """Each code of the list, by what leads to it."""

    def test_the_list_is_the_same_everywhere(self, product: Product) -> None:
        product.open()
        listed = product.page.evaluate("TikTokLink.ERROR_CODES")

        assert listed == ERROR_CODES
        union = TYPES.partition("export type ErrorCode =")[2].partition(";")[0]
        assert re.findall(r'"(\w+)"', union) == ERROR_CODES
        told = DOCUMENT.section("What comes of it").rows()
        codes = [name_in(row[0]) for row in told if len(row) == 3]
        assert codes == ERROR_CODES
        tried = {name.removeprefix("test_") for name in vars(type(self)) if name[:5] == "test_"}
        assert set(ERROR_CODES) <= tried
        assert product.page.evaluate("Object.isFrozen(TikTokLink.ERROR_CODES)")

    def test_popup_blocked(self, blocking: Callable[..., Any], hosts: ThreeHosts) -> None:
        with blocking() as page:
            product = Product(page, hosts)
            product.open("window.open('/return', 'other')", mode="popup")
            product.click()

            assert product.outcome()["code"] == "popup_blocked"
            assert product.outcome()["url"] == hosts.url("link", f"/connect/{SESSION}")
            assert product.told()[:2] == ["blocked", "session_created"]
            expect(page).to_have_title("Acme")

    def test_session_expired(self, timed: Product, hosts: ThreeHosts) -> None:
        timed.open()
        pop_up = timed.connect()
        hosts.status_code = 404

        with pop_up.expect_event("close"):
            timed.pass_time(2000)

        assert timed.outcome()["code"] == "session_expired"

    def test_user_mismatch(self, timed: Product, hosts: ThreeHosts) -> None:
        timed.open()
        timed.connect()
        hosts.status = {"status": "failed", "reason": "user_mismatch"}

        timed.pass_time(2000)

        assert timed.outcome()["code"] == "user_mismatch"

    def test_network(self, timed: Product, hosts: ThreeHosts) -> None:
        """Where no answer comes for a while it goes on, and at the session's end it gives up."""
        hosts.status_code = 429
        hosts.session = {
            "url": hosts.url("link", f"/connect/{SESSION}"),
            "expires_at": "2025-12-31T23:49:30Z",  # ten and a half minutes ago
        }
        timed.open()
        timed.connect()
        timed.pass_time(15_000)
        timed.wait_for("status_unreachable")
        assert timed.outcomes() == []

        timed.pass_time(25_000)

        assert timed.outcome()["code"] == "network"

    @pytest.mark.parametrize("how", ["throw new Error('no')", "return Promise.reject('no')"])
    def test_session_failed(self, product: Product, how: str) -> None:
        product.open()
        product.page.evaluate(f"() => {{ options.createSession = () => {{ {how} }} }}")
        with product.page.expect_popup() as opened:
            product.click()

        assert product.outcome()["code"] == "session_failed"
        assert product.outcome()["cause"].endswith("no")
        assert opened.value.is_closed()

    def test_invalid_session(self, product: Product) -> None:
        """Nothing, no address, a relative one, a script, one without TLS, another page."""
        wrong: tuple[dict[str, str] | None, ...] = (
            None,
            {},
            {"url": "/connect/ls_x"},
            {"url": "javascript:alert(1)//connect/ls_x"},
            {"url": "http://link.example.com/connect/ls_x"},
            {"url": "https://link.example.com/other"},
        )
        product.open()
        for number, given in enumerate(wrong, 1):
            product.page.evaluate("given => { options.createSession = () => given }", given)
            product.click()
            product.wait_until("outcomes", str(number))

        assert [one["code"] for one in product.outcomes()] == ["invalid_session"] * len(wrong)

    @pytest.mark.parametrize("when", ["before", "while the session is made", "at TikTok"])
    def test_aborted(self, timed: Product, hosts: ThreeHosts, when: str) -> None:
        timed.open()
        timed.page.evaluate(
            "() => { globalThis.stop = new AbortController(); options.signal = stop.signal }"
        )
        abort = "() => { stop.abort('enough') }"
        if when == "before":
            timed.page.evaluate(abort)
            timed.click()
        elif when == "at TikTok":
            pop_up = timed.connect()
            with pop_up.expect_event("close"):
                timed.page.evaluate(abort)
        else:
            timed.page.evaluate("() => { options.createSession = () => new Promise(() => {}) }")
            with timed.page.expect_popup():
                timed.click()
            timed.page.evaluate(abort)

        ended = {"name": "AbortError", "code": "aborted", "url": None, "cause": "enough"}
        assert timed.outcome() == ended
        asked = hosts.asked_for_the_status()
        timed.pass_time(6000)
        assert hosts.asked_for_the_status() == asked

    def test_a_wrong_call_is_a_type_error(self, product: Product) -> None:
        product.open(mode="modal")
        product.click()

        assert product.outcome()["name"] == "TypeError"
        assert product.told() == []


class TestFullPage:
    """Where there is no second window."""

    def test_a_window_that_is_really_blocked_becomes_the_full_page(
        self, blocking: Callable[..., Any], hosts: ThreeHosts
    ) -> None:
        """The click's one window is used up by another, so the browser blocks ours."""
        with blocking() as page:
            product = Product(page, hosts)
            product.open("window.open('/return', 'other')")
            product.click()

            expect(page).to_have_title("Link")
            page.get_by_role("link", name="Continue").click()
            page.get_by_role("link", name="Authorize").click()
            expect(page).to_have_title("Connected")
            assert hosts.asked_for_the_status() == 0

    def test_a_window_that_opens_in_the_click_is_not_blocked(
        self, blocking: Callable[..., Any], hosts: ThreeHosts
    ) -> None:
        """Although the session comes later than any browser would wait."""
        with blocking() as page:
            product = Product(page, hosts)
            product.open()
            pop_up = product.connect()
            pop_up.get_by_role("link", name="Continue").click()
            pop_up.get_by_role("link", name="Authorize").click()

            assert product.outcome()["status"] == "completed"

    def test_a_phone_gets_the_full_page(
        self, playwright: Playwright, browser: Browser, hosts: ThreeHosts
    ) -> None:
        for name in ("Pixel 7", "iPhone 13 landscape"):
            context = browser.new_context(**playwright.devices[name])
            product = Product(context.new_page(), hosts)
            product.open()
            product.click()

            expect(product.page).to_have_title("Link")
            assert len(context.pages) == 1
            context.close()

    def test_coming_back_by_the_back_button_asks_again(
        self, blocking: Callable[..., Any], hosts: ThreeHosts
    ) -> None:
        """Chromium keeps the page as it was, with a promise that nobody would keep."""
        with blocking() as page:
            product = Product(page, hosts)
            product.open(mode="redirect")
            product.click()
            expect(page).to_have_title("Link")
            page.go_back(wait_until="commit")
            product.wait_for("still_waiting")
            product.click()  # not the first promise again, which waits for the first session
            expect(page).to_have_title("Link")
            hosts.status = {"status": "cancelled", "reason": "user_cancelled"}

            page.go_back(wait_until="commit")

            product.wait_until("outcomes", "2")
            assert product.outcome()["status"] == "cancelled"


@pytest.fixture
def blocking(
    browser_type: BrowserType, browser_type_launch_args: dict[str, Any]
) -> Callable[..., Any]:
    """A browser as people have it: with its pop-up blocker, and its cache for going back."""
    as_people_have_it = ["--disable-popup-blocking", "--disable-back-forward-cache"]

    @contextmanager
    def launched() -> Iterator[Page]:
        browser = browser_type.launch(
            **browser_type_launch_args, ignore_default_args=as_people_have_it
        )
        yield browser.new_page()
        browser.close()

    return launched


def test_the_document_names_this_very_file() -> None:
    """A changed file needs its new hash, and its version, in the document."""
    digest = base64.b64encode(hashlib.sha384(SOURCE.encode()).digest()).decode()
    told = {row[0]: row[1] for row in DOCUMENT.section("Where to load it from").rows()[-3:]}

    assert told == {
        "`VERSION`": "`" + re.findall(r'VERSION = "([\d.]+)"', SOURCE)[0] + "`",
        "`?v=`": f"`{hashlib.sha256(SOURCE.encode()).hexdigest()[:16]}`",
        "`integrity`": f"`sha384-{digest}`",
    }


def test_every_event_and_export_has_its_type_and_its_line() -> None:
    sent = set(re.findall(r'emit\("(\w+)"', SOURCE))
    union = TYPES.partition("type:")[2].partition("(string")[0]
    told = {name_in(row[0]) for row in DOCUMENT.section("Events").rows()}

    assert sent == set(re.findall(r'"(\w+)"', union)) == told
    exported = set(re.findall(r"^export (?:const|class|function) (\w+)", SOURCE, re.MULTILINE))
    typed = set(re.findall(r"^export (?:const|class|function) (\w+)", TYPES, re.MULTILINE))
    assert exported == typed


def test_it_keeps_nothing_and_runs_no_text() -> None:
    forbidden = (
        r"localStorage|sessionStorage|indexedDB|document\.cookie|eval\(|Function\(|innerHTML"
    )

    assert re.findall(forbidden, SOURCE) == []
    assert len(SOURCE.encode()) < 12_000
