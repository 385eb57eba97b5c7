"""Linking where product, stack and TikTok are three sites, as a browser tells sites apart.

Elsewhere they are three ports of one host, and ports part no sites: every cookie would come along.
Here the product is app.localhost, the stack localhost and TikTok 127.0.0.1, and completing is left
to the product's login, which is for every product with more than one user.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, Playwright, expect
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from local.app.__main__ import QuietRequestHandler
from local.app.settings import Settings
from local.app.web import create_app
from local.testing import WorldHandle, free_ports
from local.tiktok import TikTokServer
from tests.browser.product import Product, authorize, continue_to_tiktok, heading
from tests.flows.journey import Journey

pytestmark = pytest.mark.browser

Shoot = Callable[[Page, str], None]
CLIENT_KEY, CLIENT_SECRET = "awacrosssites", "secret-across-sites"


@dataclass
class Sites:
    """The three, and the one header that is tried on two of them."""

    journey: Journey
    tiktok: TikTokServer
    product_url: str
    product_policy: str = ""

    def product(self, page: Page) -> Product:
        """The product with somebody signed in whom nobody has seen before."""
        product = Product(self.journey, page, f"u_{secrets.token_hex(4)}", url=self.product_url)
        product.sign_in()
        return product

    def new_person(self) -> str:
        """A new TikTok user, Ada Lovelace by her display name."""
        name = f"person_{secrets.token_hex(4)}"
        self.tiktok.add_user(name, "Ada Lovelace")
        return name


@pytest.fixture(scope="module")
def all_sites(
    world_factory: Callable[..., AbstractContextManager[WorldHandle]],
) -> Iterator[Sites]:
    ports, app_port = free_ports(), free_ports()["APP_PORT"]
    stack = f"http://localhost:{ports['GATEWAY_PORT']}"
    both = {"COMPLETION": "app", "PUBLIC_BASE_URL": stack}
    registered = {
        "name": "across sites",
        "client_key": CLIENT_KEY,
        "client_secret": CLIENT_SECRET,
        "platform": "desktop",
        "redirect_uris": [f"{stack}/callback"],
        "scopes": ["user.info.basic", "user.info.profile", "user.info.stats", "video.list"],
        "title": "Acme",
    }
    with (
        TikTokServer([registered]) as tiktok,
        world_factory(
            **ports,
            **both,
            RETURN_ORIGINS=f"http://app.localhost:{app_port}",
            TIKTOK_AUTHORIZE_URL=tiktok.authorize_url,
            TIKTOK_API_BASE_URL=tiktok.base_url,
            TIKTOK_CLIENT_KEY=CLIENT_KEY,
            TIKTOK_CLIENT_SECRET=CLIENT_SECRET,
        ) as world,
    ):
        own = {"APP_HOST": "app.localhost", "APP_PORT": app_port}
        settings = Settings.from_env({**both, **own, "GATEWAY_URL": world.endpoints["gateway"]})
        sites = Sites(Journey(world), tiktok, settings.origin)
        with serving(settings, sites):
            yield sites


@contextmanager
def serving(settings: Settings, sites: Sites) -> Iterator[None]:
    """Serve the sample product as it is, with a header that its own server would add."""
    app = create_app(settings)

    @app.after_request
    def add_opener_policy(answer: Response) -> Response:
        if sites.product_policy:
            answer.headers["Cross-Origin-Opener-Policy"] = sites.product_policy
        return answer

    server = make_server(
        "127.0.0.1", settings.port, app, threaded=True, request_handler=QuietRequestHandler
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def sites(all_sites: Sites) -> Iterator[Sites]:
    yield all_sites
    all_sites.product_policy = ""
    all_sites.tiktok.settings(opener_policy="")


@pytest.mark.parametrize(
    ("product_policy", "tiktok_policy"),
    [
        ("", ""),
        ("", "same-origin"),
        ("", "same-origin-allow-popups"),
        ("same-origin", ""),
        ("same-origin", "same-origin"),
    ],
    ids=["none", "TikTok", "TikTok, pop-ups", "product", "both"],
)
def test_the_page_shows_the_account_under_every_opener_policy(
    sites: Sites, page: Page, shoot: Shoot, product_policy: str, tiktok_policy: str
) -> None:
    sites.product_policy = product_policy
    sites.tiktok.settings(opener_policy=tiktok_policy)
    product, ada = sites.product(page), sites.new_person()
    pop_up = product.open_pop_up()
    continue_to_tiktok(pop_up)
    severed = bool(product_policy or tiktok_policy)
    assert pop_up.evaluate("opener === null") is severed
    if severed:  # and seems to be closed, which must end nothing
        expect(product.notice()).to_contain_text("Waiting for TikTok…")

    with pop_up.expect_event("close"):
        authorize(pop_up, ada)

    expect(product.notice()).to_contain_text("TikTok connected.")
    expect(product.account("Ada Lovelace")).to_contain_text("Active")
    expect(page).to_have_url(product.url + "/")


def test_where_the_products_login_decides(sites: Sites, page: Page, shoot: Shoot) -> None:
    product, ada = sites.product(page), sites.new_person()
    product.go_to_tiktok()

    authorize(page, ada)

    expect(page).to_have_url(product.url + "/")
    expect(product.account("Ada Lovelace")).to_contain_text("Active")
    shoot(page, "completed-by-the-product")
    visited = page.context.new_cdp_session(page).send("Page.getNavigationHistory")
    addresses = [entry["url"] for entry in visited["entries"]]
    assert not any("code=" in address for address in addresses)


@pytest.mark.parametrize("java_script", [True, False], ids=["with a script", "without"])
class TestOnAPhone:
    """A small touch screen: the full page is chosen, and leads back."""

    @pytest.fixture
    def browser_context_args(self, playwright: Playwright, java_script: bool) -> dict[str, object]:
        return {**playwright.devices["Pixel 7"], "java_script_enabled": java_script}

    def test_the_whole_way(self, sites: Sites, page: Page, shoot: Shoot, java_script: bool) -> None:
        product, ada = sites.product(page), sites.new_person()
        button, seen = (
            ("Connect in a pop-up", "script") if java_script else ("Connect TikTok", "no-script")
        )
        page.get_by_role("button", name=button).tap()
        expect(heading(page)).to_have_text("Connect your TikTok account")
        shoot(page, f"{seen}-connect-page")
        continue_to_tiktok(page)
        shoot(page, f"{seen}-consent")

        authorize(page, ada)

        expect(page).to_have_url(product.url + "/")
        expect(product.notice()).to_contain_text("TikTok connected.")
        expect(product.account("Ada Lovelace")).to_contain_text("Active")
        assert len(page.context.pages) == 1
        shoot(page, f"{seen}-back-in-the-product")
