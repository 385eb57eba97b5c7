"""Where a browser may be sent: exactly the listed origins, however an address is dressed up."""

from __future__ import annotations

from itertools import product
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.disguises import ORIGINS, candidates, origin_candidates
from tiktok_linking.return_urls import is_allowed, is_origin, origin_of, with_result

ORIGIN = ORIGINS[0]


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


# What stays on its origin although it looks odd: a path or a query can hold anything.
STAYS = {
    *("", "/", "/settings", "/settings?tab=links&x=%2F", "?tab=links", "/#/route"),
    *("/a/../b", "/a//b", "/a/..//b", "/%2f%2fevil.example", "/%5cevil.example", "/%00", "/%ff"),
    *("/@evil.example", "/.evil.example", "/;@evil.example", "/https://evil.example/", "/..;/"),
    *("?next=https://evil.example", "?@evil.example", "/#@evil.example", "/:"),
    *("/%0d%0aSet-Cookie:%20a=b", "/%2e%2e/%2e%2e/"),
    *("/evil.example", "/evil.example/", "?evil.example", "?evil.example/", "/@evil.example/"),
    *(
        "?@evil.example/",
        "/https://evil.example",
        "?https://evil.example",
        "?https://evil.example/",
    ),
}


def test_the_origin_of_an_allowed_address_is_the_listed_one() -> None:
    for url in candidates():
        if is_allowed(url, ORIGINS):
            assert url.startswith(origin_of(url) or "-")
            assert origin_of(url) in ORIGINS, url


def test_the_origin_of_anything_else_is_one_that_could_be_listed_or_none() -> None:
    """A header and a message name it: never a star, a user, a path or half of a host."""
    named = {origin_of(url) for url in candidates()}

    assert None in named
    assert all(is_origin(origin) for origin in named - {None} if origin)
    for url in (None, "", "*", "null", f"{ORIGIN}@evil.example/", f"{ORIGIN}\\@evil.example/"):
        assert origin_of(url) is None
    assert origin_of(f"{ORIGIN}.evil.example/") == f"{ORIGIN}.evil.example"


def test_of_all_disguises_only_those_are_allowed_that_stay() -> None:
    allowed = {url for url in candidates() if is_allowed(url, ORIGINS)}

    assert allowed == {origin + rest for origin in ORIGINS for rest in STAYS}
    assert len(candidates()) > 3000


def test_an_allowed_origin_allows_no_other() -> None:
    """Not even where both are of the same site, host or port."""
    others = tuple(origin for origin in origin_candidates() if is_origin(origin))

    for origin in ORIGINS:
        assert [other for other in others if is_allowed(f"{other}/", (origin,))] == [origin]
    assert len(others) > 100


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
        ("https://192.0.2.1", True),
        ("https://app.example.com:65535", True),
        ("https://app.example.com:999999", False),
        ("https://app.example.com:65536", False),
        ("https://app.example.com:443", False),
        ("https://app.example.com:08443", False),
        ("http://localhost:80", False),
        ("https://127.1", False),
        ("https://192.0.02.1", False),
        ("https://a..example", False),
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


def test_bytes_that_are_no_text_stay_as_they_were() -> None:
    made = with_result(f"{ORIGIN}/?x=%ff%00&%fe=1", link_session="ls_1")

    assert made == f"{ORIGIN}/?x=%FF%00&%FE=1&link_session=ls_1"


def test_encoded_line_breaks_stay_encoded() -> None:
    made = with_result(f"{ORIGIN}/?x=%0d%0aSet-Cookie:%20a", link_session="ls_1")

    assert "\r" not in made
    assert "\n" not in made
    assert "%0D%0ASet-Cookie" in made
