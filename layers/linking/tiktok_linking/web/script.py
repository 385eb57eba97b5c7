"""connect.js as it is served: one file, named here and by nobody's request."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from tiktok_linking.web.api import HEADERS
from tiktok_linking.web.http import Response

_FILE = Path(__file__).with_name("static") / "connect.js"
_HEADERS = HEADERS | {
    "Content-Type": "text/javascript; charset=utf-8",
    # A product on another origin loads it: browsers ask for CORS where a script is a module.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def connect_script(wanted: str) -> Response:
    """The script; for ever where ``wanted`` names this very one, else for five minutes."""
    age = "max-age=31536000, immutable" if wanted == script_version() else "max-age=300"
    return Response(200, _content(), _HEADERS | {"Cache-Control": f"public, {age}"})


@cache
def script_version() -> str:
    """What stands behind ``?v=``: it changes with every byte."""
    return hashlib.sha256(_content().encode()).hexdigest()[:16]


@cache
def _content() -> str:
    return _FILE.read_text(encoding="utf-8")
