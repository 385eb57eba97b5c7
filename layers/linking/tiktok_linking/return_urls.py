"""Return addresses: where a browser may be sent after linking. An exact allow-list of origins.

RFC 9700 2.1 and 4.11: a client must not be an open redirector. The checks are strict on purpose;
browsers and URL parsers disagree about everything else.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

MOST_CHARACTERS = 2048
_ALLOWED = re.compile(r"[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%]+")
_ADDRESS = re.compile(r"([a-z]+://[^/?#]*)")
_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
# A host whose last label begins with a digit is an address, and browsers spell addresses anew.
_HOST = rf"(({_LABEL}\.)*(?=[a-z]){_LABEL}|{_OCTET}(\.{_OCTET}){{3}})"
_ORIGIN = re.compile(
    rf"(https://{_HOST}(?!:443$)|http://(localhost|127\.0\.0\.1|{_LABEL}\.localhost)(?!:80$))"
    r"(:(?P<port>[1-9][0-9]{0,4}))?"
)


def is_origin(value: str) -> bool:
    """Whether this may stand in the allow-list: https, or http on loopback; no path, no user.

    Only as a browser itself writes it, without the port that goes without saying: what is compared
    byte for byte must have one spelling.
    """
    found = _ORIGIN.fullmatch(value)
    return found is not None and int(found["port"] or 1) <= 65_535


def is_allowed(url: str, origins: tuple[str, ...]) -> bool:
    """Whether a browser that opens ``url`` lands on one of ``origins``, compared byte for byte."""
    if len(url) > MOST_CHARACTERS or not _ALLOWED.fullmatch(url):
        return False
    for origin in origins:
        rest = url.removeprefix(origin)
        if rest != url and (rest == "" or rest[0] in "/?") and not rest.startswith("//"):
            return True
    return False


def origin_of(url: str | None) -> str | None:
    """The origin of an address, to be named in a header or a message; None where it has none."""
    found = _ADDRESS.match(url or "")
    return found[1] if found and is_origin(found[1]) else None


def with_result(url: str, **result: str) -> str:
    """Append result parameters; what the query held stays, a fragment goes."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True, errors="surrogateescape")
    query = [(k, v) for k, v in query if k not in ("link_session", "error", "completion_code")]
    joined = urlencode([*query, *result.items()], errors="surrogateescape")
    return urlunsplit(parts._replace(query=joined, fragment=""))
