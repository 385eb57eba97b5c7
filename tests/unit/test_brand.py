"""The product's colour and logo: read on any colour, and nothing but a colour and a picture."""

from __future__ import annotations

import base64

import pytest

from tiktok_linking.brand import (
    LEAST_EDGE_CONTRAST,
    LEAST_TEXT_CONTRAST,
    MOST_LOGO_CHARACTERS,
    Brand,
    contrast,
    is_color,
    is_logo,
)
from tiktok_linking.web.frame import DARK, LIGHT, style

SVG = "data:image/svg+xml;base64," + base64.b64encode(b"<svg/>").decode()


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        # https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio: the ends of the scale, and known pairs.
        ("#000000", "#ffffff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#777777", "#ffffff", 4.48),
        ("#767676", "#ffffff", 4.54),
        ("#0000ff", "#ffffff", 8.59),
    ],
)
def test_contrast_is_that_of_wcag(one: str, other: str, ratio: float) -> None:
    assert contrast(one, other) == pytest.approx(ratio, abs=0.005)
    assert contrast(other, one) == contrast(one, other)


def test_the_text_on_any_colour_passes_aa() -> None:
    greys = [f"#{grey:02x}{grey:02x}{grey:02x}" for grey in range(256)]
    steps = range(0, 256, 17)
    colours = greys + [f"#{r:02x}{g:02x}{b:02x}" for r in steps for g in steps for b in steps]

    poor = [c for c in colours if contrast(Brand(c).ink, c) < LEAST_TEXT_CONTRAST]

    assert poor == []


@pytest.mark.parametrize(
    "accent", ["#ffffff", "#fefefe", "#1b1b1f", "#000000", "#0b5fff", "#ffe600"]
)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_button_is_seen_on_its_page(accent: str, theme: dict[str, str]) -> None:
    edge = Brand(accent).edge(theme["card"], theme["soft"])

    assert contrast(edge, theme["card"]) >= LEAST_EDGE_CONTRAST


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_our_own_colours_pass_aa(theme: dict[str, str]) -> None:
    for ink in ("ink", "soft", "ok", "warn"):
        assert contrast(theme[ink], theme["card"]) >= LEAST_TEXT_CONTRAST, ink
    assert contrast(theme["ink"], theme["bg"]) >= LEAST_TEXT_CONTRAST


def test_the_colour_is_in_light_and_dark() -> None:
    light, dark = style(Brand("#0B5FFF")).split("prefers-color-scheme:dark", 1)

    for theme in (light, dark):
        assert "--go:#0B5FFF" in theme
        assert "--go-ink:#ffffff" in theme


@pytest.mark.parametrize(
    "value",
    [
        *("", "0b5fff", "#fff", "#0b5ffg", "#0b5fff;", "red", "#0b5fff\n", "#٠١٢٣٤٥"),
        *("#0b5fff}body{display:none", "url(//evil.example)"),
    ],
)
def test_what_is_no_colour_never_reaches_a_style_sheet(value: str) -> None:
    assert not is_color(value)
    if value:
        with pytest.raises(ValueError, match="accent"):
            Brand(accent=value)


@pytest.mark.parametrize("kind", ["png", "svg+xml", "webp"])
def test_a_small_picture_is_a_logo(kind: str) -> None:
    assert is_logo(f"data:image/{kind};base64,AAAA")
    assert is_logo(
        (f"data:image/{kind};base64," + "A" * MOST_LOGO_CHARACTERS)[:MOST_LOGO_CHARACTERS]
    )


@pytest.mark.parametrize(
    "value",
    [
        "",
        "https://cdn.example.com/logo.svg",
        "data:image/svg+xml;base64,",
        "data:image/svg+xml,<svg onload=alert(1)>",
        "data:text/html;base64,AAAA",
        'data:image/png;base64,AAAA" onerror="alert(1)',
        "data:image/png;base64,AAAA\n",
        "data:image/png;base64,A=AA",
        SVG + "A" * MOST_LOGO_CHARACTERS,
        "javascript:alert(1)",
    ],
)
def test_what_is_no_small_picture_never_reaches_a_page(value: str) -> None:
    assert not is_logo(value)
    if value:
        with pytest.raises(ValueError, match="logo"):
            Brand(logo=value)
