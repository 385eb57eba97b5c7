"""`python -m tests.browser.picture`: takes the README's picture from a running world.

The sample product with two connected TikTok accounts, beside it the pop-up for the next one.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

from local.configuration import ROOT
from local.testing import running_world
from tests.browser.conftest import launch_args
from tests.browser.product import Product
from tests.flows.journey import Journey

PICTURE = ROOT / "docs" / "images" / "linking.png"
PERSON = "sam@example.com"
PRODUCT: ViewportSize = {"width": 580, "height": 740}
POP_UP: ViewportSize = {"width": 420, "height": 740}
SCALE = 1.5  # of even numbers, so that no line falls between two pixels
COLOURS = 256

_TABLE = """<!doctype html><title>Picture</title><style>
  body { margin: 0; padding: 24px; width: 1032px; display: flex; gap: 24px; background: #dfe3ea; }
  figure { margin: 0; border: 2px solid #aab2c0; border-radius: 10px; overflow: hidden; }
  figure::before { content: ""; display: block; height: 26px; border-bottom: 2px solid #d3d8e0;
    background: radial-gradient(circle at 18px 13px, #b4bcc9 5px, #0000 5.5px),
      radial-gradient(circle at 36px 13px, #b4bcc9 5px, #0000 5.5px),
      radial-gradient(circle at 54px 13px, #b4bcc9 5px, #0000 5.5px), #eef0f4; }
  img { display: block; }
</style>"""
_PIXELS = """async (picture) => {
  const image = await createImageBitmap(await (await fetch(picture)).blob());
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  return [image.width, image.height, new Uint8Array(data.buffer).toBase64()];
}"""


def take(picture: Path) -> None:
    """Link two accounts, begin to link a third, and lay the two windows side by side."""
    with running_world(SCOPES_OPTIONAL="video.list") as world, sync_playwright() as playwright:
        journey = Journey(world)
        people = ("ada", "Ada Lovelace", 180), ("grace", "Grace Hopper", 7)
        for user, name, days in people:
            journey.tiktok.control("POST", "/users", {"user": user, "display_name": name})
            journey.tiktok.set(refresh_seconds=days * 86_400 + 600)
            journey.link(PERSON, user)
        browser = playwright.chromium.launch(**launch_args())
        context = browser.new_context(viewport=PRODUCT, device_scale_factor=SCALE)
        product = Product(journey, context.new_page(), PERSON)
        product.sign_in()
        product.account("Grace Hopper").wait_for()
        pop_up = product.open_pop_up()
        pop_up.set_viewport_size(POP_UP)
        table = browser.new_context(device_scale_factor=SCALE).new_page()
        windows = (product.page, PRODUCT), (pop_up, POP_UP)
        table.set_content(
            _TABLE
            + "".join(
                f'<figure><img alt="" width="{size["width"]}" src="{_data(page.screenshot())}">'
                "</figure>"
                for page, size in windows
            )
        )
        picture.parent.mkdir(exist_ok=True)
        picture.write_bytes(_in_few_colours(table, table.locator("body").screenshot()))
        browser.close()


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _in_few_colours(page: Page, png: bytes) -> bytes:
    """The same at a third of the size: a palette, in which the rare shades take the nearest one."""
    width, height, encoded = page.evaluate(_PIXELS, _data(png))
    pixels = memoryview(base64.b64decode(encoded)).cast("I")
    shades = {number: number.to_bytes(4, "little")[:3] for number in set(pixels)}
    palette = [shades[number] for number, _ in Counter(pixels).most_common(COLOURS)]

    def nearest(shade: bytes) -> int:
        def distance(place: int) -> int:
            return sum((a - b) ** 2 for a, b in zip(shade, palette[place], strict=True))

        return min(range(len(palette)), key=distance)

    places = {number: nearest(shade) for number, shade in shades.items()}
    indexed = bytes(places[number] for number in pixels)
    lines = b"".join(b"\0" + indexed[at : at + width] for at in range(0, len(indexed), width))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            (b"PLTE", b"".join(palette)),
            (b"IDAT", zlib.compress(lines, 9)),
            (b"IEND", b""),
        )
    )


if __name__ == "__main__":
    take(PICTURE)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size} bytes")
