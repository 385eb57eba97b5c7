"""Chromium's own word on return addresses: where each of them leads, by the browser's reading.

RFC 3986 and the URL Standard, which browsers follow, disagree about many of these. What counts is
where a person ends up.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from playwright.sync_api import Page

from tests.unit.disguises import ORIGINS, candidates, origin_candidates
from tiktok_linking.return_urls import is_allowed, is_origin, with_result

pytestmark = pytest.mark.browser

OURS = "https://link.example.com"
# As a browser reads a Location: against the address of the page that sent it.
_ORIGINS_OF = """([base, addresses]) => addresses.map(address => {
  try {
    const url = new URL(address, base);
    return url.origin === "null" ? url.protocol : url.origin;
  } catch { return null; }
})"""


def origins_in(page: Page, addresses: Sequence[str]) -> dict[str, str | None]:
    """The origin that Chromium sees in each address; None where it sees no address."""
    found = page.evaluate(_ORIGINS_OF, [f"{OURS}/connect/ls_x", list(addresses)])
    return dict(zip(addresses, found, strict=True))


def test_no_address_that_leaves_the_allowed_origins_in_chromium_is_allowed(page: Page) -> None:
    seen = origins_in(page, candidates())
    leaving = [url for url, origin in seen.items() if origin not in (None, OURS, *ORIGINS)]

    assert [url for url in leaving if is_allowed(url, ORIGINS)] == []
    assert len(seen) > 3000
    assert len(leaving) > 1000, "the corpus has lost its teeth"


def test_every_allowed_address_stays_on_its_origin_in_chromium(page: Page) -> None:
    allowed = [url for url in candidates() if is_allowed(url, ORIGINS)]
    landed = {url: with_result(url, link_session="ls_x", error="cancelled") for url in allowed}

    seen = origins_in(page, [*landed, *landed.values()])

    assert len(allowed) > 40
    for url, with_a_result in landed.items():
        (origin,) = [origin for origin in ORIGINS if is_allowed(url, (origin,))]
        assert (seen[url], seen[with_a_result]) == (origin, origin), url


def test_an_origin_is_written_as_chromium_writes_it(page: Page) -> None:
    """Else a browser's own Origin header would never equal what is in the list."""
    accepted = [origin for origin in origin_candidates() if is_origin(origin)]

    seen = origins_in(page, accepted)

    assert len(accepted) > 100
    assert {url: origin for url, origin in seen.items() if origin != url} == {}
