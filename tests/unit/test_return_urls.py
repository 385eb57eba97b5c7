"""Where a browser may be sent: exactly the listed origins, however an address is dressed up."""

from __future__ import annotations

from itertools import product
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktok_linking.return_urls import is_allowed, is_origin, with_result

ORIGIN = "https://app.example.com"
ORIGINS = (ORIGIN, "http://localhost:3002")


@pytest.mark.parametrize(
    "url",
    [
        ORIGIN,
        f"{ORIGIN}/",
        f"{ORIGIN}/settings/links",
        f"{ORIGIN}/settings?tab=links&x=%2F",
        f"{ORIGIN}?tab=links",
        f"{ORIGIN}/a/../b",
        f"{ORIGIN}/#/route",
        f"{ORIGIN}/a//b",
        f"{ORIGIN}/next=https://evil.example/",
        "http://localhost:3002/done",
    ],
)
def test_an_address_on_a_listed_origin_is_allowed(url: str) -> None:
    assert is_allowed(url, ORIGINS)


# Written for this test: each is read differently by at least one parser or browser.
DISGUISES = [
    "",
    "/",
    "//",
    "///evil.example",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "https://",
    "https:evil.example",
    "https:/app.example.com/",
    "https:///app.example.com/",
    "https:\\\\app.example.com/",
    "https://evil.example",
    "https://evil.example/https://app.example.com/",
    "https://evil.example?https://app.example.com/",
    "https://evil.example#https://app.example.com/",
    "https://app.example.com.evil.example/",
    "https://app.example.comevil.example/",
    "https://app.example.com@evil.example/",
    "https://app.example.com:443@evil.example/",
    "https://app.example.com:password@evil.example/",
    "https://user@app.example.com/",
    "https://evil.example\\@app.example.com/",
    "https://app.example.com\\.evil.example/",
    "https://app.example.com\\@evil.example/",
    "https://app.example.com%2eevil.example/",
    "https://app.example.com%00.evil.example/",
    "https://app.example.com%40evil.example/",
    "https://app.example.com;evil.example/",
    "https://app.example.com,evil.example/",
    "https://app.example.com&evil.example/",
    "https://app.example.com!evil.example/",
    "https://app.example.com-evil.example/",
    "https://app.example.com#@evil.example/",
    "https://app.example.com#",
    "https://app.example.com//evil.example",
    "https://app.example.com:8443/",
    "https://app.example.com:443/",
    "https://app.example.com:/",
    "https://app.example.com./",
    "https://APP.example.com/",
    "HTTPS://app.example.com/",
    "http://app.example.com/",
    "ftp://app.example.com/",
    "https://xapp.example.com/",
    "https://example.com/",
    "https://www.app.example.com/",
    "https://\u0430pp.example.com/",
    "https://app.example.com\u3002evil.example/",
    "https://app\u2024example.com/",
    "https://app.example.com\uff0fevil.example/",
    "https://app.example.com/\u202e",
    "https://[::1]/",
    "https://app.example.com[evil.example]/",
    "http://localhost:3003/",
    "http://localhost:30020/",
    "http://localhost/",
    "https://localhost:3002/",
    "http://127.0.0.1:3002/",
    "http://localhost:3002.evil.example/",
    "http://localhost:3002@evil.example/",
]


@pytest.mark.parametrize("url", DISGUISES)
def test_an_address_that_leads_elsewhere_is_refused(url: str) -> None:
    assert not is_allowed(url, ORIGINS)


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [
        *product(["\t", "\n", "\r", " ", "\x00", "\x01", "\x1f", "\xa0", "\ufeff"], [""]),
        *product([""], ["\t", "\n", "\r", " ", "\x00", "\r\nSet-Cookie: a=b", "\x7f", "\x85"]),
    ],
)
def test_control_characters_and_spaces_are_refused_anywhere(prefix: str, suffix: str) -> None:
    inside = f"{ORIGIN}/a{prefix or suffix}b"

    assert not is_allowed(f"{prefix}{ORIGIN}/{suffix}", ORIGINS)
    assert not is_allowed(inside, ORIGINS)


# Much of it is refused, and enough is allowed to be worth looking at.
RESTS = st.builds(
    str.__add__,
    st.sampled_from(["/", "?", "/?", "/%2F", "//", "#", "@", ".", ":", "", "\\", "/\t"]),
    st.text(st.sampled_from("ab./?#@:%25&=;,+-_~!$'()*\\ \n\u3002"), max_size=30),
)


@given(RESTS)
def test_whatever_follows_an_origin_its_browser_stays_there(rest: str) -> None:
    url = ORIGIN + rest
    if not is_allowed(url, ORIGINS):
        return

    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("https", "app.example.com")
    assert not parts.path.startswith("//")
    assert not set(url) & set(' \t\r\n\\"<>^`{|}\x00')


@given(st.text(max_size=40), st.text(max_size=20))
def test_nothing_before_the_origin_is_allowed(before: str, after: str) -> None:
    if before:
        assert not is_allowed(f"{before}{ORIGIN}/{after}", ORIGINS)


def test_an_address_has_at_most_2048_characters() -> None:
    room = 2048 - len(ORIGIN) - 1

    assert is_allowed(f"{ORIGIN}/{'a' * room}", ORIGINS)
    assert not is_allowed(f"{ORIGIN}/{'a' * (room + 1)}", ORIGINS)


def test_without_a_list_nothing_is_allowed() -> None:
    assert not is_allowed(f"{ORIGIN}/", ())
    assert not is_allowed(f"{ORIGIN}/", ("",))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://app.example.com", True),
        ("https://app.example.com:8443", True),
        ("http://localhost:3002", True),
        ("http://127.0.0.1:3002", True),
        ("http://acme.localhost:3002", True),
        ("https://app.example.com/", False),
        ("https://app.example.com/path", False),
        ("https://App.example.com", False),
        ("https://user@app.example.com", False),
        ("https://app.example.com:999999", False),
        ("https://*.example.com", False),
        ("https://app.example.com.", False),
        ("http://app.example.com", False),
        ("http://localhost.evil.example", False),
        ("http://evil-localhost:1", False),
        ("acme://done", False),
        ("https://", False),
        ("", False),
        ("https://app.example.com\n", False),
    ],
)
def test_an_origin_is_https_or_http_on_loopback(value: str, expected: bool) -> None:
    assert is_origin(value) is expected


# -- what is appended ---------------------------------------------------------------------------


def test_a_result_joins_the_query_that_was_there() -> None:
    url = with_result(f"{ORIGIN}/s?tab=links&empty=", link_session="ls_1", error="cancelled")

    assert url == f"{ORIGIN}/s?tab=links&empty=&link_session=ls_1&error=cancelled"


def test_a_fragment_goes() -> None:
    assert with_result(f"{ORIGIN}/#/route", link_session="ls_1") == f"{ORIGIN}/?link_session=ls_1"


def test_a_result_replaces_what_was_forged_into_the_address() -> None:
    forged = f"{ORIGIN}/?link_session=ls_forged&error=x&completion_code=y&keep=1"

    query = parse_qsl(urlsplit(with_result(forged, link_session="ls_1")).query)

    assert query == [("keep", "1"), ("link_session", "ls_1")]


@given(RESTS)
def test_a_result_never_moves_an_allowed_address_elsewhere(rest: str) -> None:
    url = ORIGIN + rest
    if not is_allowed(url, ORIGINS):
        return

    made = with_result(url, link_session="ls_1")

    assert urlsplit(made)[:2] == ("https", "app.example.com")
    assert not set(made) & set(" \r\n\t\x00")
    assert ("link_session", "ls_1") in parse_qsl(urlsplit(made).query)


def test_encoded_line_breaks_stay_encoded() -> None:
    made = with_result(f"{ORIGIN}/?x=%0d%0aSet-Cookie:%20a", link_session="ls_1")

    assert "\r" not in made
    assert "\n" not in made
    assert "%0D%0ASet-Cookie" in made
