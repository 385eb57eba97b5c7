"""The frame of every page: its headers, its one style, and the policy that allows nothing else.

Directions are logical (start, end), sizes follow the reader's font, colours follow the system.
Nothing moves, so there is nothing to switch off for people who asked for less motion. A page that
says how an attempt ended has one line of script, for a product that waits; all else works without.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from html import escape

from tiktok_linking.brand import Brand
from tiktok_linking.web.catalogue import Language
from tiktok_linking.web.http import NOTHING_IS_LOADED, Response

HEADERS = {
    # Nothing keeps a page, so there is no copy that `Vary: Accept-Language` could keep apart.
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # A page in a pop-up must stay reachable for the window that opened it.
    "Cross-Origin-Opener-Policy": "unsafe-none",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}

_TELL = (
    "const{session,origin}=document.currentScript.dataset;"
    'window.opener?.postMessage({type:"tiktok-link",session},origin)'
)
"""Always the same: what it tells stands in attributes, so nothing from outside becomes script."""

LIGHT = {
    "bg": "#f6f6f7",
    "card": "#ffffff",
    "ink": "#18181b",
    "soft": "#52525b",
    "line": "#d4d4d8",
    "ok": "#15803d",
    "warn": "#a16207",
}
DARK = {
    "bg": "#0f0f11",
    "card": "#1b1b1f",
    "ink": "#f4f4f5",
    "soft": "#a1a1aa",
    "line": "#3f3f46",
    "ok": "#4ade80",
    "warn": "#facc15",
}

_STYLE = """
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1rem;
overflow-wrap:anywhere}
main{background:var(--card);border:1px solid var(--line);border-radius:1rem;
padding:2rem clamp(1rem,6vw,1.75rem);width:100%;max-width:27rem}
h1{font-size:1.375rem;line-height:1.3;margin:0 0 .75rem;text-wrap:balance}
h2{font-size:.875rem;margin:1.25rem 0 .25rem;color:var(--soft);font-weight:600}
p{margin:.5rem 0}ul{margin:.25rem 0 1rem;padding-inline-start:1.25rem}li{margin:.125rem 0}
.soft{color:var(--soft);font-size:.9375rem}
.note{border:1px solid var(--line);border-inline-start:4px solid var(--warn);border-radius:.5rem;
padding:.5rem .75rem;margin-top:1.25rem}
.logo{display:block;max-width:100%;height:2.5rem;margin-bottom:1.25rem}
.mark{display:inline-flex;align-items:center;justify-content:center;width:3rem;height:3rem;
border-radius:50%;border:2px solid currentColor;font-size:1.375rem;margin-bottom:1rem}
.who{font-weight:600;font-size:1.125rem;margin-inline-end:-.625rem;background:var(--bg);
border-color:var(--line)}
.who+.mark{width:1.5rem;height:1.5rem;font-size:.875rem;font-weight:700;background:var(--card);
vertical-align:bottom}
.ok{color:var(--ok)}.warn{color:var(--warn)}
a{color:inherit;text-underline-offset:.2em}
a.go,a.or{display:block;text-align:center;text-decoration:none;font-weight:600;
border:2px solid var(--edge);border-radius:.625rem;padding:.625rem 1rem;min-height:2.75rem;
margin-top:1.5rem}
a.go{background:var(--go);color:var(--go-ink)}
a.or{border-color:var(--soft);margin-top:.75rem}
a.back{display:inline-block;margin-top:1rem;padding:.25rem 0;min-height:1.5rem}
a:focus-visible,summary:focus-visible{outline:3px solid var(--ink);outline-offset:3px;
border-radius:.25rem}
a.go:focus-visible,a.or:focus-visible{border-radius:.625rem}
details{margin-top:1.5rem;border-top:1px solid var(--line);padding-top:1rem}
summary{cursor:pointer;font-size:.9375rem;color:var(--soft);padding:.25rem 0;min-height:1.5rem}
footer{margin-top:1.25rem;font-size:.8125rem;color:var(--soft)}
@media(forced-colors:active){a.go{forced-color-adjust:none;background:LinkText;color:Canvas;
border-color:LinkText}a:focus-visible,summary:focus-visible{outline-color:Highlight}}
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who may have opened this window and waits: told that it is time to ask, and nothing else.

    A window of any other origin hears nothing (RFC 9700 4.17).
    """

    origin: str
    session_id: str


def page(
    status: int,
    *,
    title: str,
    body: str,
    app: str,
    language: Language,
    brand: Brand,
    waiting: Waiting | None = None,
) -> Response:
    """One page. ``title`` and ``body`` are HTML, ``app`` is the name as it was given."""
    nonce = secrets.token_urlsafe(16)
    name = escape(app)
    logo = f'<img class=logo src="{escape(brand.logo)}" alt="{name}">' if brand.logo else ""
    html = (
        f'<!doctype html><html lang="{language.tag}" dir="{language.direction}">'
        '<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="robots" content="noindex">'
        f'<title>{title} · {name}</title><style nonce="{nonce}">{style(brand)}</style></head>'
        f"<body><main>{logo}{body}</main>{_tell(waiting, nonce)}</body></html>"
    )
    policy = f"{NOTHING_IS_LOADED}; style-src 'nonce-{nonce}'"
    if waiting is not None:
        policy += f"; script-src 'nonce-{nonce}'"
    if brand.logo:
        policy += "; img-src data:"  # the logo is in the page itself: still nobody is asked
    headers = HEADERS | {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
    }
    return Response(status, html, headers)


def _tell(waiting: Waiting | None, nonce: str) -> str:
    if waiting is None:
        return ""
    to = f'data-origin="{escape(waiting.origin)}" data-session="{escape(waiting.session_id)}"'
    return f'<script nonce="{nonce}" {to}>{_TELL}</script>'


def style(brand: Brand) -> str:
    """The style sheet in the product's colour, light and dark."""
    light, dark = (_colors(theme, brand) for theme in (LIGHT, DARK))
    return (
        f"\n:root{{color-scheme:light dark;{light}}}"
        f"\n@media(prefers-color-scheme:dark){{:root{{{dark}}}}}{_STYLE}"
    )


def _colors(theme: dict[str, str], brand: Brand) -> str:
    button = {"go": theme["ink"], "go-ink": theme["card"], "edge": theme["ink"]}
    if brand.accent:
        edge = brand.edge(theme["card"], theme["soft"])
        button = {"go": brand.accent, "go-ink": brand.ink, "edge": edge}
    return ";".join(f"--{name}:{color}" for name, color in (theme | button).items())
