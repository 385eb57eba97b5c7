"""`python -m tests.browser.picture`: takes the README's picture from a running world.

The sample product with one TikTok account, and before it the pop-up that is to connect another.
"""

from __future__ import annotations

import base64
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright

from local.configuration import ROOT
from local.testing import running_world
from tests.browser.conftest import launch_args
from tests.browser.product import Product
from tests.flows.journey import Journey

PICTURE = ROOT / "docs" / "images" / "linking.png"
PRODUCT: ViewportSize = {"width": 840, "height": 600}
POP_UP: ViewportSize = {"width": 420, "height": 668}
SCALE = 1.5

# Two windows as they lie on a screen. Flat, because gradients and shadows make a large file.
_TABLE = """<!doctype html><title>Picture</title><style>
  body { margin: 0; width: 1040px; height: 740px; position: relative; background: #dfe3ea; }
  figure { position: absolute; margin: 0; border: 1px solid #9aa3b2; border-radius: 10px;
    overflow: hidden; background: #eef0f4; }
  figure::before { content: ""; display: block; height: 26px; border-bottom: 1px solid #c9cfd9;
    background: radial-gradient(circle at 18px 13px, #b4bcc9 5px, #0000 5.5px),
      radial-gradient(circle at 36px 13px, #b4bcc9 5px, #0000 5.5px),
      radial-gradient(circle at 54px 13px, #b4bcc9 5px, #0000 5.5px); }
  img { display: block; }
  .product { left: 24px; top: 24px; }
  .pop-up { right: 24px; bottom: 20px; border-color: #5d6678; }
</style>"""


def take(picture: Path) -> None:
    """Link one account, begin to link another, and lay the two windows on a table."""
    with running_world() as world, sync_playwright() as playwright:
        journey = Journey(world)
        person = {"user": "ada", "display_name": "Ada Lovelace"}
        journey.tiktok.control("POST", "/users", person)
        journey.link("sam@example.com", person["user"])
        browser = playwright.chromium.launch(**launch_args())
        context = browser.new_context(viewport=PRODUCT, device_scale_factor=SCALE)
        product = Product(journey, context.new_page(), "sam@example.com")
        product.sign_in()
        product.account("Ada Lovelace").wait_for()
        pop_up = product.open_pop_up()
        pop_up.set_viewport_size(POP_UP)
        table = browser.new_context(device_scale_factor=SCALE).new_page()
        figures = [
            f'<figure class="{name}"><img alt="" width="{size["width"]}" '
            f'src="data:image/png;base64,{base64.b64encode(page.screenshot()).decode()}"></figure>'
            for name, page, size in (
                ("product", product.page, PRODUCT),
                ("pop-up", pop_up, POP_UP),
            )
        ]
        table.set_content(_TABLE + "".join(figures))
        picture.parent.mkdir(exist_ok=True)
        table.locator("body").screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    take(PICTURE)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size} bytes")
