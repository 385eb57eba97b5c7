"""Debian's Chromium in front of the world, and a folder for what it saw."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Response, expect

from local.configuration import ROOT

SCREENSHOTS = ROOT / "artifacts" / "screenshots"
PATIENCE_MILLISECONDS = 20_000  # for a machine that does other things too
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def chromium() -> str:
    """The browser of this machine; Playwright's own download is not needed."""
    for name in CHROMIUM_NAMES:
        if found := shutil.which(name):
            return found
    pytest.fail(f"these tests need Chromium: none of {', '.join(CHROMIUM_NAMES)} is on PATH")


def launch_args() -> dict[str, Any]:
    """How it is launched: no sandbox for root in a container, and no talk of its own."""
    return {
        "executable_path": chromium(),
        "args": [
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
        ],
    }


@pytest.fixture(scope="session")
def base_url() -> None:
    """Replaces pytest-playwright's, which pytest 9 warns of: a session fixture in a class."""


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """Replaces pytest-playwright's."""
    return launch_args()


@pytest.fixture
def context(context: BrowserContext) -> Iterator[BrowserContext]:
    """A browser of one person, in which no answer may be a server's failure."""
    failures: list[str] = []

    def note(answer: Response) -> None:
        if answer.status >= 500:
            failures.append(f"{answer.status} {answer.url.partition('?')[0]}")

    context.on("response", note)
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    yield context
    assert failures == []


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keep what a page looks like, under the test's name, numbered."""
    test = re.sub(r"\W+", "-", request.node.originalname.removeprefix("test_")).strip("-")
    taken = 0

    def take(page: Page, what: str) -> None:
        nonlocal taken
        taken += 1
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{test}-{taken:02}-{what}.png", full_page=True)

    return take
