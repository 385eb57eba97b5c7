"""What the pages say, in each language: texts/<language>.json, of which English is the pattern.

Only the language that is read is loaded. A text is plain, never markup; `{name}` in it takes a
value. A text that depends on a number has one form for each plural category of its language.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

TEXTS = Path(__file__).parent / "texts"
MOST_HEADER_CHARACTERS = 512
PSEUDO = "en-XA"
"""English made strange and 40 % longer, for whoever builds a page and asks for it."""

PLACEHOLDER = re.compile(r"\{(\w+)\}")
_QUALITY = r"(?i:q)=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)"
_PADDING = "lorem ipsum dolor sit amet consectetur "
_ACCENTS = str.maketrans("aceinouyACEINOUY", "áçéíñóúýÁÇÉÍÑÓÚÝ")

Texts = Mapping[str, str | Mapping[str, str]]


def _one_or_other(count: int) -> str:
    return "one" if count == 1 else "other"


def _arabic(count: int) -> str:
    """Plural categories of Arabic, as CLDR has them."""
    if count <= 2:
        return ("zero", "one", "two")[count]
    if 3 <= count % 100 <= 10:
        return "few"
    return "many" if count % 100 >= 11 else "other"


LANGUAGES: dict[str, tuple[str, Callable[[int], str]]] = {
    "en": ("ltr", _one_or_other),
    "es": ("ltr", _one_or_other),  # "many" is for millions, which no page counts
    "ar": ("rtl", _arabic),
}
"""Direction and plural category of each; the first is spoken to whoever reads none of them."""

DEFAULT = next(iter(LANGUAGES))


@dataclass(frozen=True, slots=True)
class Language:
    """One language with its texts. ``tag`` and ``direction`` stand on the page itself."""

    tag: str
    direction: str
    category: Callable[[int], str] = field(repr=False)
    texts: Texts = field(repr=False)

    def say(self, key: str, **values: str) -> str:
        """A text as HTML. ``values`` are HTML already; the text is escaped here."""
        text = self.texts[key]
        if not isinstance(text, str):
            raise TypeError(f"{key} needs a number")
        return _filled(text, values)

    def count(self, key: str, number: int, **values: str) -> str:
        """A text as HTML in the form that goes with ``number``, which is its `{n}`."""
        forms = self.texts[key]
        if isinstance(forms, str):
            raise TypeError(f"{key} takes no number")
        return _filled(forms[self.category(number)], values | {"n": str(number)})

    def has(self, key: str) -> bool:
        """Whether there are words for this, as for most of TikTok's scopes."""
        return key in self.texts


def language_for(locale: str | None, accept_language: str) -> Language:
    """The language that the session names, else the best of the browser's, else English."""
    tag = _known(locale or "") or _preferred(accept_language) or DEFAULT
    return language(tag)


@functools.cache
def language(tag: str) -> Language:
    """Load one language, once. Raises KeyError for one that there is not."""
    if tag == PSEUDO:
        direction, category = LANGUAGES[DEFAULT]
        return Language(tag, direction, category, _stretched(_read(DEFAULT)))
    direction, category = LANGUAGES[tag]
    return Language(tag, direction, category, _read(tag))


def _read(tag: str) -> Texts:
    texts: Texts = json.loads((TEXTS / f"{tag}.json").read_text(encoding="utf-8"))
    return texts


def _known(tag: str) -> str | None:
    """Ours for a BCP 47 tag: `es-MX` is Spanish."""
    if tag.lower() == PSEUDO.lower():
        return PSEUDO
    primary = tag.partition("-")[0].lower()
    return primary if primary in LANGUAGES else None


def _preferred(header: str) -> str | None:
    """The best of Accept-Language (RFC 9110 12.5.4) that we speak; nothing of it is an error."""
    best, best_quality = None, 0.0
    for part in header[:MOST_HEADER_CHARACTERS].split(","):
        tag, *parameters = (piece.strip() for piece in part.split(";"))
        quality = 1.0
        if parameters:
            found = re.fullmatch(_QUALITY, parameters[0])
            quality = float(found[1]) if found else 0.0
        known = DEFAULT if tag == "*" else _known(tag)
        if known is not None and quality > best_quality:
            best, best_quality = known, quality
    return best


def _filled(text: str, values: Mapping[str, str]) -> str:
    # One pass: a value that looks like a placeholder stays as it is.
    return PLACEHOLDER.sub(lambda found: values[found[1]], escape(text, quote=False))


def _stretched(texts: Texts) -> Texts:
    return {
        key: _longer(text)
        if isinstance(text, str)
        else {category: _longer(form) for category, form in text.items()}
        for key, text in texts.items()
    }


def _longer(text: str) -> str:
    parts = PLACEHOLDER.split(text)  # every second one is a placeholder's name
    accented = "".join(
        f"{{{part}}}" if number % 2 else part.translate(_ACCENTS)
        for number, part in enumerate(parts)
    )
    more = -(-len(text) * 2 // 5)
    padding = (_PADDING * (more // len(_PADDING) + 1))[:more].rstrip()
    return f"[{accented} {padding}]"
