"""Addresses that look as if they led to an allowed origin, put together from the known tricks.

Each trick is written once and combined with the others, so that nobody has to think of every
pair. Most lead elsewhere, some nowhere, and few are what they seem: which, tests say.
"""

from __future__ import annotations

from itertools import product

GOOD = "app.example.com"
EVIL = "evil.example"
ORIGINS = (f"https://{GOOD}", "http://localhost:3002")

_SCHEMES = (
    *("https:", "HTTPS:", "hTtPs:", "http:", "", "ftp:", "ws:", "wss:", "file:", "blob:https:"),
    *("javascript:", "data:text/html,", "view-source:https:", "https::", ":https:", "https;"),
    *("https%3a", "\uff48ttps:", "https\uff1a", "ht\ntps:", "//https:"),
)
# What a browser takes for the two slashes before a host is more than two slashes.
_SLASHES = (
    *("//", "", "/", "///", "////", "\\\\", "/\\", "\\/", "//\\", "\\\\\\", "/\t/", "\t//", "/\n/"),
    *("//\r", "/ /", "/./", "/.//", "//./", "/..//", "%2f%2f", "/%2f", "%5c%5c", "/%5c", "/%09/"),
    *("/%00/", "\uff0f\uff0f", "/\uff0f", "\u2044\u2044", "\x00//", "//\x00", "/;/"),
)
# Between the host that is allowed and one that is not: user, port, path, or a name of one's own.
_JOINTS = (
    *(
        "@",
        ":@",
        ":443@",
        ":password@",
        "%40",
        "\\@",
        "\\\\@",
        "/@",
        "//@",
        "#@",
        "?@",
        "%23@",
        "%5c@",
    ),
    *(
        "/https://",
        "?https://",
        "#https://",
        "%00.",
        "%2f@",
        "%00@",
        "@@",
        "#",
        "?",
        "/",
        "//",
        "/\\",
        "\\",
        "\\\\",
        "\\.",
        ".",
        "..",
        "%2e",
    ),
    *("-", "_", ",", ";", "&", "!", "$", "'", "(", ")", "*", "+", "=", "~", "|", "`", "^", "{"),
    *("}", "[", "]", "<", ">", '"', " ", "\t", "\n", "\r", "\0", "%00", "%09", "%0a", "%0d%0a"),
    *("%20", "%5c", "%2f", "%23", "%3f", "%3a", ":", ":443", ":443.", ":80\\", "%", "%zz", "%ff"),
    # Dots, slashes and signs that become others when a host is normalised.
    *("\u3002", "\uff0e", "\uff61", "\u2024", "\u2025", "\uff0f", "\u2044", "\u2215", "\uff3c"),
    *("\uff20", "\ufe6b", "\uff1f", "\uff03", "\uff1a", "\u2100", "\u2101", "\u2105", "\u2047"),
    # Characters that cannot be seen, or that turn the text around them.
    *("\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u202e", "\u2028", "\u00a0"),
)
_PAIRS = ((GOOD, EVIL), (EVIL, GOOD), ("localhost:3002", EVIL))
_UNSEEN = (
    *(chr(code) for code in range(33)),
    *("\x7f", "\x80", "\x85", "\x9f", "\xa0", "\u1680", "\u2003", "\u2028", "\u202f", "\u3000"),
    *("\ufeff", "\u200b", "\u202e", "\u2066", "\ud800", "\U000e0001"),
)
_PORTS = (
    *(":443", ":0443", ":00443", ":80", ":", ":0", ":1", ":8443", ":3002", ":3003", ":30020"),
    *(":65535", ":65536", ":99999", ":443443", ":-1", ":+443", ":4 43", ":4\t43", ":0x1bb"),
    *(":\uff14\uff14\uff13", ":443a", ":443:443", ":%34%34%33", ":443\\", ":443@evil.example"),
)
_HOSTS = (
    *(
        "APP.example.com",
        "app.Example.com",
        "app.example.com.",
        "app.example.com..",
        "app..example.com",
    ),
    *(".app.example.com", "www.app.example.com", "xapp.example.com", "example.com", "com", "a", ""),
    *("app.example.co", "app.example.comm", "app-example.com", "app.example.com.evil.example"),
    *("app.example.comevil.example", "evil.example", "user@app.example.com", ":@app.example.com"),
    # The same letters, to the eye or to the rules by which a host is normalised.
    *(
        "\u0430pp.example.com",
        "app.ex\u0430mple.com",
        "app.example.c\u043em",
        "\uff41pp.example.com",
    ),
    *(
        "\U0001d41app.example.com",
        "\u24d0pp.example.com",
        "a\u00adpp.example.com",
        "a\u200dpp.example.com",
    ),
    *(
        "app.example.\u212aom",
        "app\u3002example\u3002com",
        "app\u2024example.com",
        "app\uff0eexample.com",
        "%61pp.example.com",
    ),
    *(
        "app%2eexample%2ecom",
        "xn--pp-7cd.example.com",
        "xn--.example.com",
        "stra\u00dfe.example.com",
    ),
    # Loopback and its many spellings.
    *("localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1"),
    *("0x7f000001", "0177.0.0.1", "0", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"),
    *("[::ffff:7f00:1]", "[::1%25lo]", "[v1.x]", "[", "]", "%5b::1%5d", "\u2460\u2461\u2466.0.0.1"),
    *("app.localhost", "localhost.evil.example", "127.0.0.1.evil.example", "-app.example.com"),
    *("app_x.example.com", "1.2.3", "1.2.3.4", "01.2.3.4", "a.1", "a.0x1", "256.1.1.1"),
)
_RESTS = (
    *("/", "/settings", "/settings?tab=links&x=%2F", "?tab=links", "/#/route", "/a/../b", "/a//b"),
    *("/a/..//b", "/%2f%2fevil.example", "/%5cevil.example", "/@evil.example", "/.evil.example"),
    *("/;@evil.example", "/https://evil.example/", "?next=https://evil.example", "?@evil.example"),
    *(
        "/#@evil.example",
        "/%0d%0aSet-Cookie:%20a=b",
        "/%00",
        "/%ff",
        "/%2e%2e/%2e%2e/",
        "/..;/",
        "/:",
    ),
    *("//", "//evil.example", "//evil.example/..", "///evil.example", "/\\evil.example", "\\evil"),
    *(
        "#",
        "#@evil.example",
        "#//evil.example",
        "/a b",
        "/a\tb",
        "/a\r\nSet-Cookie: a=b",
        "/\u00e9",
    ),
    *("/<script>", '/"', "/{}", "/|", "/^", "/`", "/a\\b", "/[", "/" + "a" * 2048),
)
# Read against an address of ours, as a browser reads a Location.
_RELATIVE = (
    *("", ".", "..", "?", "#", "/", "settings", "./settings", "../settings", "?@evil.example"),
    *(
        "#//evil.example",
        "/settings",
        "evil.example",
        ".evil.example",
        "@evil.example",
        ":443/",
        "%2f%2f",
    ),
)


def candidates() -> tuple[str, ...]:
    """Every combination, each once."""
    found = [
        *("".join(parts) for parts in product(_SCHEMES, _SLASHES, (GOOD, EVIL, ""), ("", "/"))),
        *(
            f"{scheme}//{first}{joint}{second}{end}"
            for scheme, (first, second), joint, end in product(
                ("https:", "http:"), _PAIRS, _JOINTS, ("", "/")
            )
        ),
        *(
            address
            for unseen, origin in product(_UNSEEN, ORIGINS)
            for address in (
                f"{unseen}{origin}/",
                f"{origin}{unseen}",
                f"{origin}/{unseen}",
                origin.replace("//", f"/{unseen}/"),
                origin.replace("//", f"//{unseen}"),
                origin.replace("o", f"o{unseen}"),
            )
        ),
        *(
            f"{scheme}://{host}{port}{end}"
            for scheme, host, port, end in product(
                ("https", "http"), (GOOD, "localhost"), _PORTS, ("", "/")
            )
        ),
        *(
            f"{scheme}://{host}{port}/"
            for scheme, host, port in product(("https", "http"), _HOSTS, ("", ":3002"))
        ),
        *(origin + rest for origin, rest in product(ORIGINS, _RESTS)),
        *ORIGINS,
        *_RELATIVE,
    ]
    return tuple(dict.fromkeys(found))


def origin_candidates() -> tuple[str, ...]:
    """What somebody could write where an origin is wanted."""
    return tuple(
        dict.fromkeys(
            f"{scheme}://{host}{port}"
            for scheme, host, port in product(
                ("https", "http"), (GOOD, *_HOSTS), ("", *_PORTS, "/", "/a", "?", "#")
            )
        )
    )
