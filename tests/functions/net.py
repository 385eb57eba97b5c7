"""The net: finds a secret in a text, however it was spelled on its way there."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote, quote_plus

Canaries = Mapping[str, Sequence[str]]
"""Kind of secret → each value of it that there was."""


def half_of(value: str) -> str:
    """Half of a secret is a leak too; its first characters say only what kind it is."""
    return value[4 : 4 + len(value) // 2]


def spellings(value: str) -> set[str]:
    """A text as it is, quoted for URL, JSON (once and twice), HTML, as Base64 and as hex."""
    data = value.encode()
    escaped = json.dumps(value)[1:-1]
    return {
        value,
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
        escaped,
        json.dumps(escaped)[1:-1],
        repr(value)[1:-1],
        html.escape(value),
        data.hex(),
        *_in_base64(data),
    }


def _in_base64(data: bytes) -> Iterator[str]:
    """Base64 depends on where in a longer text the value stands: three ways, ends cut off."""
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * shift + data).decode().rstrip("=")
            yield encoded[4 if shift else 0 : -4]


class Net:
    """Knows every secret of a run, and looks for any of them in a text."""

    def __init__(self, canaries: Canaries) -> None:
        self._spellings = {
            kind: {one for value in values for one in spellings(half_of(value))}
            for kind, values in canaries.items()
        }

    def caught(self, text: str) -> set[str]:
        """Which kinds of secret stand in a text."""
        return {
            kind for kind, wanted in self._spellings.items() if any(one in text for one in wanted)
        }
