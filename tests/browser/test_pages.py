"""Every page of the stack in Chromium, as different people see it: rendered alone, without a world.

Each is opened in every language and every theme, narrow and wide by turns, and left as a picture
in artifacts/pages. axe-core looks at them with the rules of WCAG 2.2, A and AA: in every language
and theme where pages differ in how they are made, once where they differ in their words alone.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from local.configuration import ROOT
from tests.fakes.every_page import EVERY_PAGE, PAGES
from tiktok_linking.brand import Brand
from tiktok_linking.web.catalogue import LANGUAGES, PSEUDO, language

pytestmark = pytest.mark.browser

# Shown by tests/unit/test_pages.py: variants of others, which differ by a sentence.
_VARIANTS = {
    *("connect, nameless", "connect, in a hurry", "success, nameless, to be closed"),
    *("user_cancelled", "browser_mismatch", "exchange_failed", "not completed in time"),
    *("different browser, too late to start", "expired, a day", "expired, a week"),
    *("expired, unknown", "already used, unknown"),
}
GALLERY = [name for name in EVERY_PAGE if name not in _VARIANTS]
# A title, a sentence, a button or a way back: they are made alike and differ in their words.
_PLAIN = {
    *("already used", "withdrawn", "provider_refused", "app_misconfigured", "account_mismatch"),
    *("user_mismatch", "provider_unavailable", "too many", "not found", "bad return", "defect"),
    *("cancelled", "expired", "different browser", "partial success, nameless, to be closed"),
}

PICTURES = ROOT / "artifacts" / "pages"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
LOGO = (
    # A blue square with a white A: <svg … viewBox="0 0 40 40"><rect …/><path …/></svg>
    "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHZpZXdCb3g9IjAg"
    "MCA0MCA0MCIgd2lkdGg9IjQwIiBoZWlnaHQ9IjQwIj48cmVjdCB3aWR0aD0iNDAiIGhlaWdodD0iNDAiIHJ4PSI4IiBma"
    "WxsPSIjMGI1ZmZmIi8+PHBhdGggZD0iTTExIDMxIDIwIDkgMjkgMzFNMTQgMjRoMTIiIGZpbGw9Im5vbmUiIHN0cm9rZT"
    "0iI2ZmZiIgc3Ryb2tlLXdpZHRoPSI0Ii8+PC9zdmc+"
)
LOOKS = [Brand(), Brand("#0b5fff", LOGO), Brand("#ffe600")]
SPOKEN = [*LANGUAGES, PSEUDO]
THEMES: list[dict[str, Any]] = [
    {"color_scheme": "light"},
    {"color_scheme": "dark"},
    {"color_scheme": "dark", "forced_colors": "active"},
]
THEME_NAMES = ["light", "dark", "forced"]
NARROW, WIDE = {"width": 320, "height": 640}, {"width": 1280, "height": 800}

# Contrast is the system's own where it forces its colours, and axe cannot tell.
AXE = """async ([tags, forced]) => {
    const rules = forced ? {"color-contrast": {enabled: false}} : {};
    const options = {runOnly: {type: "tag", values: tags}, rules, resultTypes: ["violations"]};
    const found = await axe.run(document, options);
    return found.violations.map(v => v.id + ": " + v.nodes.map(n => n.html).join(" | "));
}"""


class _Shown(BaseHTTPRequestHandler):
    """One page by its address, with the headers that the functions give it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        wish = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if "page" not in wish:  # a link of a page: where it leads is another test's business
            self._answer(200, {"Content-Type": "text/plain"}, "elsewhere")
            return
        pages = replace(
            PAGES, accept_language=wish["language"], brand=LOOKS[int(wish.get("look", "0"))]
        )
        response = EVERY_PAGE[wish["page"]](pages)
        self._answer(response.status, dict(response.headers), response.body)

    def _answer(self, status: int, headers: dict[str, str], body: str) -> None:
        content = body.encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a failure shows in the browser."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the pages are served, on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Shown)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Visitor:
    """One browser window in one theme, which notes what was asked and what was complained of."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.address = address
        self.page: Page = context.new_page()
        self.asked: set[str] = set()
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.add(_origin(request.url)))
        self.page.on("console", lambda message: self.note(message.text))
        self.page.on("pageerror", lambda error: self.note(str(error)))

    def note(self, text: str) -> None:
        # Chromium says so of every page that is an error; the page itself is what is looked at.
        if not text.startswith("Failed to load resource: the server responded with a status"):
            self.complaints.append(text)

    def open(self, name: str, tag: str = "en", *, look: int = 0) -> Page:
        query = urlencode({"page": name, "language": tag, "look": look}, quote_via=quote)
        self.page.goto(f"{self.address}/shown?{query}")
        return self.page


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return "data:" if parts.scheme == "data" else f"{parts.scheme}://{parts.netloc}"


@pytest.fixture(scope="module")
def visitors(browser: Browser, address: str) -> Iterator[list[Visitor]]:
    """A window for each theme, used for all pages."""
    contexts = [browser.new_context(**theme, reduced_motion="reduce") for theme in THEMES]
    yield [Visitor(context, address) for context in contexts]
    for context in contexts:
        context.close()


@functools.cache
def axe_core() -> str:
    """The script itself; it comes in by the debugger's door, which a page's policy leaves open."""
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Page, *, forced: bool = False) -> list[str]:
    """What axe-core has against a page."""
    page.evaluate(axe_core() + "; 0")
    found: list[str] = page.evaluate(AXE, [TAGS, forced])
    return found


@pytest.fixture
def visitor(browser: Browser, address: str) -> Iterator[Visitor]:
    """A window of its own."""
    context = browser.new_context(viewport=NARROW)  # type: ignore[arg-type]
    yield Visitor(context, address)
    context.close()


def overflow(page: Page) -> int:
    """By how many pixels a page is wider than its window."""
    wide: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return wide


@pytest.mark.parametrize("name", GALLERY)
def test_every_page_is_for_everybody(visitors: list[Visitor], name: str) -> None:
    """In each language and each theme, narrow and wide, by turns."""
    number = GALLERY.index(name)
    for turn, tag in enumerate(SPOKEN):
        theme = (number + turn) % len(THEMES)
        size = NARROW if tag == PSEUDO or (number + turn) % 2 else WIDE
        visitor = visitors[theme]
        visitor.page.set_viewport_size(size)  # type: ignore[arg-type]

        page = visitor.open(name, tag, look=(number // 3 + 2 * turn) % len(LOOKS))

        words = language(tag)
        assert page.locator("html").get_attribute("lang") == tag
        assert page.evaluate("getComputedStyle(document.body).direction") == words.direction
        assert page.title().startswith(page.locator("h1").inner_text())
        assert overflow(page) <= 0
        picture = f"{name}-{tag}-{THEME_NAMES[theme]}-{size['width']}"
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / (re.sub(r"\W+", "-", picture) + ".png"), full_page=True)
        if name not in _PLAIN or turn == number % len(SPOKEN):
            assert violations(page, forced=theme == 2) == [], picture
        assert visitor.asked <= {visitor.address, "data:"}
        assert visitor.complaints == [], "the policy stops something of the page itself"


def test_a_page_that_breaks_the_rules_would_be_found(visitors: list[Visitor]) -> None:
    """Else an axe that looks at nothing would be content with everything."""
    page = visitors[0].open("connect")
    page.evaluate(
        "document.querySelector('p.soft').style.setProperty('color', '#b0b0b0');"
        "document.documentElement.removeAttribute('lang');"
    )

    found = violations(page)

    assert {one.partition(":")[0] for one in found} == {"color-contrast", "html-has-lang"}


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("connect, inside another app", PSEUDO),
        ("connect, inside another app", "ar"),
        ("partial success", PSEUDO),
        ("scope_not_granted", "es"),
    ],
)
def test_four_times_enlarged_and_spaced_out_nothing_is_cut_off(
    browser: Browser, address: str, name: str, tag: str
) -> None:
    """A window of 1280 pixels at 400 % (WCAG 1.4.10), with the text spacing of 1.4.12."""
    context = browser.new_context(
        viewport={"width": 320, "height": 256}, device_scale_factor=4, reduced_motion="reduce"
    )
    page = Visitor(context, address).open(name, tag, look=1)
    page.evaluate(
        """document.querySelectorAll("body *").forEach(one => {
            for (const [name, value] of [["line-height", "1.5"], ["letter-spacing", ".12em"],
                                         ["word-spacing", ".16em"]])
                one.style.setProperty(name, value, "important");
            if (one.tagName == "P") one.style.setProperty("margin-bottom", "2em", "important");
        }); document.querySelectorAll("details").forEach(one => one.open = true)"""
    )

    cut = page.evaluate(
        """[...document.querySelectorAll("body *")].filter(one =>
            one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display != "inline"
            || one.getBoundingClientRect().right > innerWidth + 1
            || one.getBoundingClientRect().left < -1).map(one => one.outerHTML)"""
    )

    assert cut == []
    assert overflow(page) <= 0
    context.close()


@pytest.mark.parametrize(("theme", "tag"), [*zip(THEMES, ["en", "ar", "es"], strict=True)])
def test_by_keyboard_alone(browser: Browser, address: str, theme: dict[str, Any], tag: str) -> None:
    """Everything is reached in reading order, is seen to be reached, and is large enough."""
    context = browser.new_context(viewport=NARROW, **theme)  # type: ignore[arg-type]
    page = Visitor(context, address).open("connect, inside another app", tag, look=1)
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            """() => {
                const one = document.activeElement, look = getComputedStyle(one);
                const box = one.getBoundingClientRect();
                return {what: one.className || one.tagName, height: box.height,
                        line: look.outlineStyle == "solid" ? parseFloat(look.outlineWidth) : 0,
                        seen: box.top >= 0 && box.bottom <= innerHeight + 1};
            }"""
        )
        if focused["what"] == "BODY":
            break
        reached.append(focused)
        if focused["what"] == "SUMMARY":
            page.keyboard.press("Enter")  # unfolds, and the link inside it is next

    assert [one["what"] for one in reached] == ["A", "go", "back", "SUMMARY", "A"]
    assert all(one["line"] >= 2 for one in reached)
    assert all(one["seen"] for one in reached)
    assert reached[1]["height"] >= 44
    assert all(one["height"] >= 24 for one in reached if one["what"] in ("back", "SUMMARY"))
    context.close()


@pytest.mark.parametrize("name", ["connect", "partial success", "expired"])
def test_without_javascript(browser: Browser, address: str, name: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=NARROW)  # type: ignore[arg-type]
    visitor = Visitor(context, address)
    page = visitor.open(name)

    expect(page.locator("h1")).to_be_visible()
    button = page.locator("a.go").first
    if name != "expired":
        expect(button).to_be_visible()
    if name == "connect":
        fold = page.locator("details")
        page.locator("summary").click()
        expect(fold.get_by_text("Window blank?")).to_be_visible()
        button.click()
        expect(page).to_have_url(re.compile(r"/authorize\?n=.+&session=ls_"))
        page.go_back()
        expect(page.locator("h1")).to_be_visible()
    assert visitor.complaints == []
    context.close()


def test_colours_follow_the_system(visitors: list[Visitor]) -> None:
    """Light is light, dark is dark, and forced colours are the system's."""
    shades = [
        visitor.open("connect").evaluate("getComputedStyle(document.body).backgroundColor")
        for visitor in visitors
    ]

    assert shades[0] == "rgb(246, 246, 247)"
    assert shades[1] == "rgb(15, 15, 17)"
    assert shades[2] not in shades[:2]


def test_nothing_moves(visitor: Visitor) -> None:
    page = visitor.open("finishing")

    moving = page.evaluate(
        """[...document.querySelectorAll("*")].filter(one => {
            const look = getComputedStyle(one);
            return look.animationName != "none" || parseFloat(look.transitionDuration) > 0;
        }).length + document.getAnimations().length"""
    )

    assert moving == 0


def test_the_button_has_the_words_that_tiktok_asks_for_and_no_picture(visitor: Visitor) -> None:
    page = visitor.open("connect", look=1)

    expect(page.get_by_role("link", name="Continue with TikTok", exact=True)).to_be_visible()
    assert page.locator("a.go").locator("img, svg").count() == 0
    names = {path.name.lower() for path in (ROOT / "layers").rglob("*") if path.is_file()}
    assert not {name for name in names if name.endswith((".png", ".svg", ".ico", ".jpg", ".webp"))}
