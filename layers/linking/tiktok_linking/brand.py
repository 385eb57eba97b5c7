"""How a product looks on the pages of the stack: its accent colour, and its logo.

Both are checked here once, for the settings and for the pages: what gets past stands in a style
sheet and in an attribute.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_LOGO_CHARACTERS = 2048
"""All variables of a function share 4 KB, which Lambda sets."""

LEAST_TEXT_CONTRAST = 4.5  # WCAG 2.2, 1.4.3
LEAST_EDGE_CONTRAST = 3.0  # WCAG 2.2, 1.4.11

# Compiled where they are used: settings come first in every cold start, and few set a look.
COLOR = r"#[0-9a-fA-F]{6}"
LOGO = r"data:image/(png|svg\+xml|webp);base64,[A-Za-z0-9+/]+={0,2}"


def is_color(value: str) -> bool:
    """Whether this is a colour of six hexadecimal digits, such as `#0b5fff`."""
    return bool(re.fullmatch(COLOR, value))


def is_logo(value: str) -> bool:
    """Whether this is a small picture as a `data:` address, which nobody has to be asked for."""
    return len(value) <= MOST_LOGO_CHARACTERS and bool(re.fullmatch(LOGO, value))


@dataclass(frozen=True, slots=True)
class Brand:
    """What one product sets; empty means the plain look."""

    accent: str = ""
    logo: str = ""

    def __post_init__(self) -> None:
        if self.accent and not is_color(self.accent):
            raise ValueError("the accent colour is not #rrggbb")
        if self.logo and not is_logo(self.logo):
            raise ValueError("the logo is not a small picture as a data: address")

    @property
    def ink(self) -> str:
        """Black or white, whichever is read better on the accent: one of them always passes AA.

        At the worst colour, both have 4.58 : 1.
        """
        return max("#000000", "#ffffff", key=lambda ink: contrast(ink, self.accent))

    def edge(self, around: str, otherwise: str) -> str:
        """The line round a button: the accent, or what is seen where the accent is not."""
        is_seen = contrast(self.accent, around) >= LEAST_EDGE_CONTRAST
        return self.accent if is_seen else otherwise


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2, from 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    """Relative luminance as WCAG 2.2 defines it, for sRGB."""
    parts = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
