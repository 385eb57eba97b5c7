"""Return addresses: where a browser may be sent after linking. An exact allow-list of origins.

RFC 9700 2.1 and 4.11: a client must not be an open redirector. The checks are strict on purpose;
browsers and URL parsers disagree about everything else.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

MOST_CHARACTERS = 2048
_ALLOWED = re.compile(r"[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%]+")
_ORIGIN = re.compile(
    r"(https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?"
    r"|http://(localhost|127\.0\.0\.1|[a-z0-9-]+\.localhost)(:[0-9]{1,5})?)"
)


def is_origin(value: str) -> bool:
    """Whether this may stand in the allow-list: https, or http on loopback; no path, no user."""
    return bool(_ORIGIN.fullmatch(value))


def is_allowed(url: str, origins: tuple[str, ...]) -> bool:
    """Whether a browser that opens ``url`` lands on one of ``origins``, compared byte for byte."""
    if len(url) > MOST_CHARACTERS or not _ALLOWED.fullmatch(url):
        return False
    for origin in origins:
        rest = url.removeprefix(origin)
        if rest != url and (rest == "" or rest[0] in "/?") and not rest.startswith("//"):
            return True
    return False


def with_result(url: str, **result: str) -> str:
    """Append result parameters; what the query held stays, a fragment goes."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    query = [(k, v) for k, v in query if k not in ("link_session", "error", "completion_code")]
    return urlunsplit(parts._replace(query=urlencode([*query, *result.items()]), fragment=""))
