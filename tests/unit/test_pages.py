"""The pages that people see: nothing from outside becomes markup, and nobody else is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from html import escape
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fakes.clock import NOON
from tests.fakes.every_page import (
    COMPLETED,
    COOKIES,
    EVERY_PAGE,
    PAGES,
    RETURN_URL,
    of,
    session,
    waiting,
)
from tiktok_linking.accounts import Secret
from tiktok_linking.brand import Brand
from tiktok_linking.sessions import (
    ATTEMPT_LIFETIME,
    COOKIE_PREFIX,
    MOST_ATTEMPTS,
    LinkSession,
    SessionReason,
    SessionStatus,
    completion_code,
    is_session_id,
    secret_hash,
    session_key,
)
from tiktok_linking.web.catalogue import DEFAULT, LANGUAGES, PLACEHOLDER, PSEUDO, language
from tiktok_linking.web.http import Response
from tiktok_linking.web.pages import (
    PAGE_COOKIE,
    SCOPES_MISSING,
    Pages,
    browser_of,
    initials,
    masked,
    page_proof,
    redirect,
)

CANARY = "\"'><svg onload=alert(1)>&lt;{app}%s"


class Page(HTMLParser):
    """A page as a browser reads it: tags with attributes, links, and the visible text."""

    def __init__(self, response: Response) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.links: list[str] = []
        self.text = ""
        self.title = ""
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(response.body)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "a":
            self.links.append(dict(attrs)["href"] or "")

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title += data
        elif self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


_ELSEWHERE = session(SessionStatus.STARTED, result_cookie="cookie")


def shown(made: LinkSession, *, own: bool = True, anew: bool = False) -> Page:
    return Page(PAGES.of_session(made, COOKIES if own else {}, anew=anew))


# -- every page ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*EVERY_PAGE, "redirect"])
def test_every_page_and_redirect_carries_the_security_headers(name: str) -> None:
    response = EVERY_PAGE[name](PAGES) if name in EVERY_PAGE else redirect("/connect/ls_1")

    headers = response.headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Opener-Policy"] == "unsafe-none"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert headers["Permissions-Policy"]
    policy = headers["Content-Security-Policy"]
    for directive in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert directive in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not [name for name in headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_every_page_is_html_without_form_or_third_party(name: str) -> None:
    response = EVERY_PAGE[name](PAGES)
    page = Page(response)

    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    names = {tag for tag, _ in page.tags}
    assert not names & {"img", "iframe", "form", "object", "link", "svg", "input"}
    (html,) = [attrs for tag, attrs in page.tags if tag == "html"]
    assert html == {"lang": "en", "dir": "ltr"}
    assert page.title.endswith(" · Acme")
    assert page.text.count(" · Acme") == 0
    for attrs in (attrs for _, attrs in page.tags):
        assert not [name for name in attrs if name.startswith("on") or name in ("style", "src")]


def test_the_style_is_allowed_by_a_nonce_of_its_own() -> None:
    first, second = PAGES.not_found(), PAGES.not_found()

    nonces = []
    for response in (first, second):
        (style,) = [attrs for tag, attrs in Page(response).tags if tag == "style"]
        nonce = style["nonce"]
        assert nonce is not None
        assert len(nonce) >= 22
        assert f"style-src 'nonce-{nonce}'" in response.headers["Content-Security-Policy"]
        nonces.append(nonce)
    assert nonces[0] != nonces[1]


# Nothing has ended yet, or nobody is known who could wait for it.
SILENT = {
    *("connect", "connect, nameless", "connect, in a hurry", "connect, inside another app"),
    *("finishing", "success, nameless, to be closed", "partial success, nameless, to be closed"),
    *("expired, unknown", "already used, unknown", "too many", "not found", "bad return", "defect"),
}


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_how_it_ended_is_a_hint_to_the_product_that_waits_and_to_nobody_else(name: str) -> None:
    """One fixed line of script, which names the one origin that may hear it."""
    response = EVERY_PAGE[name](PAGES)
    page = Page(response)

    scripts = [attrs for tag, attrs in page.tags if tag == "script"]

    policy = response.headers["Content-Security-Policy"]
    if name in SILENT:
        assert scripts == []
        assert "script-src" not in policy
        return
    (style,) = [attrs for tag, attrs in page.tags if tag == "style"]
    (script,) = scripts
    session_id = script.pop("data-session")
    assert session_id is not None
    assert is_session_id(session_id)
    assert script == {"nonce": style["nonce"], "data-origin": "https://app.example.com"}
    assert policy.endswith(f"; script-src 'nonce-{style['nonce']}'")
    assert page.scripts == [
        "const{session,origin}=document.currentScript.dataset;"
        'window.opener?.postMessage({type:"tiktok-link",session},origin)'
    ]


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ('https://app.example.com/"></script><svg onload=x>', "https://app.example.com"),
        ("https://app.example.com?x='+alert(1)+'", "https://app.example.com"),
        ("http://127.0.0.1:3002/#</script>", "http://127.0.0.1:3002"),
        ('https://app.example.com"></script><svg onload=x>', None),
        ("https://app.example.com@evil.example/", None),
        ("https://app.example.com\\@evil.example/", None),
        ("https://app.example.com\n.evil.example/", None),
        ("https://*", None),
        ("*", None),
        ("//app.example.com/", None),
        ("/", None),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("null", None),
    ],
)
def test_a_hint_goes_to_a_whole_origin_or_to_none(address: str, origin: str | None) -> None:
    """The validator refuses most of these; the page does not rely on it."""
    made = session(SessionStatus.FAILED, reason=SessionReason.USER_MISMATCH, return_url=address)

    response = PAGES.of_session(made, COOKIES)

    page = Page(response)
    assert [attrs["data-origin"] for tag, attrs in page.tags if tag == "script"] == (
        [origin] if origin else []
    )
    assert len(page.scripts) == bool(origin)
    assert "</script" not in "".join(page.scripts)
    assert not [tag for tag, _ in page.tags if tag == "svg"]
    assert ("script-src" in response.headers["Content-Security-Policy"]) is bool(origin)


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_an_app_name_from_outside_stays_text(name: str) -> None:
    render = EVERY_PAGE[name]

    hostile = Page(render(Pages(app_name=CANARY, request_id=CANARY, now=NOON)))
    harmless = Page(render(PAGES))

    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in harmless.tags]
    assert [sorted(a) for _, a in hostile.tags] == [sorted(a) for _, a in harmless.tags]
    assert CANARY in hostile.title


HOSTILE = {
    "end_user_label": CANARY,
    "display_name": CANARY,
    "scopes_required": ("user.info.basic", CANARY),
    "scopes_optional": (CANARY,),
    "granted_scopes": (CANARY,),
    "missing_scopes": (CANARY,),
    "end_user_id": CANARY,
    "tenant_id": CANARY,
    "metadata": {CANARY: CANARY},
    "locale": CANARY,
}


@pytest.mark.parametrize("field", HOSTILE)
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (SessionStatus.PENDING, None),
        (SessionStatus.COMPLETED, None),
        (SessionStatus.FAILED, SessionReason.SCOPE_NOT_GRANTED),
        (SessionStatus.FAILED, SessionReason.ACCOUNT_MISMATCH),
        (SessionStatus.CANCELLED, SessionReason.USER_CANCELLED),
    ],
)
def test_whatever_a_session_holds_stays_text(
    field: str, status: SessionStatus, reason: SessionReason | None
) -> None:
    used = status is not SessionStatus.PENDING
    plain = session(status, reason=reason, used=used)
    hostile = replace(plain, **{field: HOSTILE[field]})  # type: ignore[arg-type]

    response = PAGES.of_session(hostile, COOKIES)

    page = Page(response)
    assert "<svg" not in response.body
    assert "onload" not in {name for _, attrs in page.tags for name in attrs}
    assert not [tag for tag, _ in page.tags if tag == "svg"]


def test_hostile_texts_are_shown_as_they_were_given() -> None:
    """Escaping once, not twice: the person reads what the team wrote."""
    page = shown(session(used=False, end_user_label=CANARY))
    done = shown(replace(COMPLETED, display_name=CANARY))

    assert CANARY in page.text
    assert CANARY in done.text


def test_a_return_address_stays_inside_its_attribute() -> None:
    """The validator refuses such an address; the page does not rely on it."""
    hostile = session(used=False, return_url='https://app.example.com/"><svg onload=x>')

    page = shown(hostile)

    assert not [tag for tag, _ in page.tags if tag == "svg"]


# -- every language -----------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [*LANGUAGES, PSEUDO])
@pytest.mark.parametrize("name", EVERY_PAGE)
def test_every_page_is_whole_and_light_in_every_language(name: str, tag: str) -> None:
    """As many attempts, as long a name and as big a logo as may be: below 30 KB."""
    words = language(tag)
    branded = Brand("#0b5fff", ("data:image/png;base64," + "A" * 2048)[:2048])
    pages = replace(PAGES, accept_language=tag, brand=branded, app_name="Ä" * 60)
    spoken = EVERY_PAGE[name](pages)

    page, plain = Page(spoken), Page(EVERY_PAGE[name](PAGES))

    (html,) = [attrs for kind, attrs in page.tags if kind == "html"]
    assert html == {"lang": tag, "dir": words.direction}
    assert len(spoken.body.encode()) < 30 * 1024
    assert "{" not in page.text
    assert [t for t, _ in page.tags if t not in ("img", "bdi", "b")] == [
        t for t, _ in plain.tags if t not in ("bdi", "b")
    ]
    assert spoken.status == EVERY_PAGE[name](PAGES).status


def test_every_text_of_the_catalogue_is_on_some_page() -> None:
    """A text that nobody reads would be translated for nothing."""
    said = " ".join(render(PAGES).body for render in EVERY_PAGE.values())

    unread = []
    for key, text in language(DEFAULT).texts.items():
        for form in [text] if isinstance(text, str) else [text["other"]]:
            parts = PLACEHOLDER.split(form)[::2]
            unread += [key] if not all(escape(part, quote=False) in said for part in parts) else []
    assert unread == []


def test_the_sessions_language_comes_before_the_browsers() -> None:
    made = session(used=False, locale="ar-EG")
    pages = replace(PAGES, accept_language="es")

    assert '<html lang="ar" dir="rtl">' in pages.of_session(made, {}).body
    assert '<html lang="es" dir="ltr">' in pages.of_session(session(used=False), {}).body
    assert '<html lang="es" dir="ltr">' in pages.not_found().body


def test_names_from_outside_do_not_turn_the_sentence_around_them() -> None:
    """In Arabic, a Latin name; in English, an Arabic one; and one that ends in brackets."""
    made = replace(COMPLETED, display_name="ليلى (1)", locale="en")
    page = PAGES.of_session(made, COOKIES).body
    connect = PAGES.of_session(session(used=False, locale="ar", end_user_label="Ada!"), {}).body

    assert "<bdi>ليلى (1)</bdi>" in page
    assert "<bdi>Ada!</bdi>" in connect
    assert "<bdi>Acme</bdi>" in connect


# -- the product's look -------------------------------------------------------------------------


LOGO = "data:image/svg+xml;base64,PHN2Zy8+"


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_a_logo_is_part_of_the_page(name: str) -> None:
    response = EVERY_PAGE[name](replace(PAGES, brand=Brand(logo=LOGO)))

    (img,) = [attrs for tag, attrs in Page(response).tags if tag == "img"]
    assert img == {"class": "logo", "src": LOGO, "alt": "Acme"}
    assert response.headers["Content-Security-Policy"].endswith("; img-src data:")


def test_without_a_logo_the_policy_allows_no_picture() -> None:
    assert "img-src" not in PAGES.not_found().headers["Content-Security-Policy"]


# -- connect ------------------------------------------------------------------------------------


def test_the_connect_page_says_who_asks_whom_and_what_for() -> None:
    page = shown(session(), own=False)

    assert "You are linking TikTok to Acme as a•••@example.com." in page.text
    assert "Not you? Close this page." in page.text
    assert "Your display name and profile picture" in page.text
    assert "Your public videos" in page.text


def test_the_button_carries_the_nonce_of_its_page_and_nothing_else_of_the_session() -> None:
    made = session()

    (button,) = [link for link in shown(made, own=False).links if link.startswith("/authorize")]

    (nonce,) = parse_qs(urlsplit(button).query).pop("n")
    assert parse_qs(urlsplit(button).query) == {"n": [nonce], "session": [made.id]}
    page, _, proof = nonce.partition(".")
    assert page == made.page_nonce
    assert proof not in ("", page_proof(made.id, Secret("another browser's cookie")))


def test_a_page_with_a_button_knows_its_browser_again() -> None:
    response = PAGES.of_session(session(), {})

    (line,) = response.cookies
    assert line.startswith("__Host-tlpage=")
    assert line.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")
    known = browser_of({PAGE_COOKIE: line.partition(";")[0].partition("=")[2]})
    assert known is not None
    assert known.reveal() not in response.body


def test_a_page_without_a_button_sets_no_cookie() -> None:
    assert PAGES.not_found().cookies == ()
    assert PAGES.of_session(COMPLETED, COOKIES).cookies == ()


def test_a_button_is_bound_to_its_browser_and_its_session() -> None:
    one, other = Secret("a" * 43), Secret("b" * 43)

    proofs = {page_proof(id_, browser) for id_ in ("ls_1", "ls_2") for browser in (one, other)}

    assert len(proofs) == 4
    assert page_proof("ls_1", one) == page_proof("ls_1", one)
    assert min(len(proof) for proof in proofs) >= 22


@pytest.mark.parametrize("value", ["", "a" * 42, "a" * 44, "é" * 43])
def test_a_page_cookie_that_is_none_of_ours_is_nobodys(value: str) -> None:
    assert browser_of({PAGE_COOKIE: value}) is None


def test_the_way_back_is_the_teams_own_address() -> None:
    made = session()

    (back,) = [link for link in shown(made, own=False).links if link.startswith("https://")]

    assert back == f"{RETURN_URL}&link_session={made.id}&error=cancelled"


def test_without_a_return_address_there_is_no_way_back() -> None:
    assert not [link for link in shown(session(return_url=None)).links if "://" in link]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (1, "1 more minute."),
        (119, "1 more minute."),
        (120, "2 more minutes."),
        (299, "4 more minutes."),
        (300, None),
        (7 * 86_400, None),
    ],
)
def test_the_last_minutes_are_told(seconds: int, told: str | None) -> None:
    """Rounded down: nobody is told of time that is not there, and the last one counts."""
    made = session(expires_at=NOON + timedelta(seconds=seconds))

    page = shown(made, own=False)

    assert ("This link works for" in page.text) is (told is not None)
    assert (told or "Continue with TikTok") in page.text


IN_APP = [
    # What browsers inside other apps say of themselves, cut to what tells.
    "Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UD1A; wv) AppleWebKit/537.36 Chrome/120 Mobile"
    " Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like"
    " Gecko) Mobile/15E148 Instagram 309.0.0.28.111",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
    " [FBAN/FBIOS;FBAV/441.0]",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/21B91",
    "Mozilla/5.0 (Linux; Android 13) Chrome/119 Mobile Safari/537.36 musical_ly_2023 TikTok 32.5",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 16_6) AppleWebKit/605.1.15 Safari/604.1 Line/13.16.0",
]
REAL_BROWSERS = [
    "",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/120 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 Version/17.1"
    " Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 CriOS/120"
    " Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:120.0) Gecko/20100101 Firefox/120.0",
    "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 Version/16.6 Safari/604.1",
    "Outline/1 newline/2",
    "x" * 600 + "Instagram",
]


@pytest.mark.parametrize("agent", [*IN_APP, *REAL_BROWSERS])
def test_a_browser_inside_another_app_gets_a_hint_and_the_same_button(agent: str) -> None:
    made = session(used=False)

    page = Page(replace(PAGES, user_agent=agent).of_session(made, {}))

    assert ("Opened inside another app?" in page.text) is (agent in IN_APP)
    assert page.links.count(f"/connect/{made.id}") == (2 if agent in IN_APP else 1)
    assert "Continue with TikTok" in page.text
    assert any(link.startswith("/authorize") for link in page.links)


def test_the_known_troubles_are_told_before_and_after() -> None:
    for response in (PAGES.of_session(session(used=False), {}), PAGES.not_found()):
        page = Page(response)
        assert "details" in {tag for tag, _ in page.tags}
        for said in ("Window blank?", "TikTok says the login is wrong?", "Keeps disconnecting?"):
            assert said in page.text


def test_a_link_that_was_started_too_often_says_so_before_the_button_does() -> None:
    own = session(used=False).attempts["a"]
    tried = {
        f"a{n}": replace(own, expires_at=NOON + ATTEMPT_LIFETIME) for n in range(MOST_ATTEMPTS)
    }

    response = PAGES.of_session(session(used=False, attempts=tried), {})

    assert response.status == 429
    page = Page(response)
    assert "Too many tries" in page.text
    assert [link for link in page.links if link.startswith(RETURN_URL)]
    assert not [link for link in page.links if link.startswith("/authorize")]


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("ada@example.com", "a•••@example.com"),
        ("Ada Lovelace", "Ada Lovelace"),
        ("@ada", "@ada"),
        ("ada@", "ada@"),
        ("a@b", "a•••@b"),
    ],
)
def test_an_address_in_a_label_is_shortened(label: str, text: str) -> None:
    assert masked(label) == text


# -- how an attempt ended -----------------------------------------------------------------------


def test_the_browser_that_finished_sees_the_success() -> None:
    page = shown(COMPLETED)

    assert "Connected as Mina Park." in page.text
    assert page.links == [f"{RETURN_URL}&link_session={COMPLETED.id}"]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("Mina Park", "MP"),
        ("mina", "M"),
        ("Ada King Lovelace", "AL"),
        ("ليلى حداد", "ل"),
        ("李 小龙", "李"),
        ("42 Things", "4"),
        ("\u202e(evil) <b>", "EB"),
        ("straße ßa", "SSS"),
        ("🎵 ☆", ""),
        ("", ""),
    ],
)
def test_initials_stand_where_a_picture_would(name: str, short: str) -> None:
    assert initials(name) == short

    page = shown(replace(COMPLETED, display_name=name))

    circles = [attrs for _, attrs in page.tags if attrs.get("class") == "mark who"]
    assert len(circles) == bool(short)
    assert all(attrs["aria-hidden"] == "true" for attrs in circles)


def test_a_long_name_is_cut() -> None:
    page = shown(replace(COMPLETED, display_name="x" * 5000))

    assert "x" * 200 in page.text
    assert "x" * 201 not in page.text


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_how_it_ended_is_announced(name: str) -> None:
    """By a role, not by colour: the sign before it is hidden from those who do not see."""
    page = Page(EVERY_PAGE[name](PAGES))

    roles = [attrs["role"] for _, attrs in page.tags if "role" in attrs]
    title = page.title.removesuffix(" · Acme")
    good = ("TikTok connected", "Connected, but", "Finishing up", "One more step")
    expected = ["status"] if title.startswith(good) else ["alert"]
    assert roles == ([] if title.startswith("Connect your") else expected)
    assert title in page.text


def test_without_a_return_address_the_window_may_be_closed() -> None:
    page = shown(replace(COMPLETED, return_url=None))

    assert "You can close this window." in page.text
    assert page.links == []


def test_any_other_browser_learns_only_that_it_is_over() -> None:
    response = PAGES.of_session(COMPLETED, {})

    assert response.status == 409
    assert "Mina" not in response.body


def test_a_browser_that_came_back_without_its_cookie_sees_nobodys_success() -> None:
    """It holds a result cookie for its own attempt; the session was finished by another one."""
    own = session(result_cookie="cookie").attempts["a"]
    other = session().attempts["a"]
    made = replace(COMPLETED, attempts={"a": replace(other, cookie_hash="x"), "b": own})

    response = PAGES.of_session(made, COOKIES)

    assert response.status == 409
    assert "Mina" not in response.body


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (COMPLETED, "already finished"),
        (session(SessionStatus.FAILED, reason=SessionReason.SCOPE_NOT_GRANTED), "Connect your"),
        (session(SessionStatus.STARTED), "Connect your"),
    ],
)
def test_who_tried_before_does_not_see_how_it_ended_for_another(
    ended: LinkSession, said: str
) -> None:
    """An address that leaked: its thief cancels at TikTok, then its owner goes through with it."""
    thiefs = replace(ended.attempts["a"], used_at=NOON - timedelta(minutes=1))
    owners = replace(ended.attempts["a"], cookie_hash=secret_hash("owner"), used_at=NOON)
    made = replace(ended, missing_scopes=("video.list",), attempts={"a": thiefs, "b": owners})

    page = shown(made)

    assert said in page.text
    assert "Mina" not in page.text
    assert "Switched off" not in page.text
    owner = Page(PAGES.of_session(made, {f"{COOKIE_PREFIX}12345678": "owner"}))
    assert said not in owner.text


def test_of_two_tabs_of_one_browser_the_earlier_may_have_finished() -> None:
    unused = replace(COMPLETED.attempts["a"], cookie_hash=secret_hash("second"), used_at=None)
    later = replace(unused, expires_at=unused.expires_at + timedelta(minutes=1))
    made = replace(COMPLETED, attempts={**COMPLETED.attempts, "b": later})

    page = Page(PAGES.of_session(made, COOKIES | {f"{COOKIE_PREFIX}87654321": "second"}))

    assert "Mina Park" in page.text


def test_permissions_that_are_off_are_named() -> None:
    page = shown(replace(COMPLETED, missing_scopes=("video.list",)))

    assert "Connected, but some permissions are off" in page.text
    assert "Your public videos" in page.text
    back = f"{RETURN_URL}&link_session={COMPLETED.id}"
    assert page.links == [f"{back}&error={SCOPES_MISSING}", back]
    assert "Fix permissions" in page.text
    assert "Continue anyway" in page.text


def test_without_a_return_address_permissions_are_switched_on_in_the_product() -> None:
    page = shown(replace(COMPLETED, missing_scopes=("video.list",), return_url=None))

    assert "To switch them on, connect again in Acme." in page.text
    assert page.links == []


@pytest.mark.parametrize(
    ("reason", "text", "retries"),
    [
        (SessionReason.PROVIDER_REFUSED, "TikTok did not allow this account", True),
        (SessionReason.APP_MISCONFIGURED, "This app is not set up right", False),
        (SessionReason.SCOPE_NOT_GRANTED, "A needed permission is off", True),
        (SessionReason.ACCOUNT_MISMATCH, "That is a different TikTok account", True),
        (SessionReason.USER_MISMATCH, "Signed in as someone else", False),
        (SessionReason.EXCHANGE_FAILED, "TikTok had a problem", True),
        (SessionReason.PROVIDER_UNAVAILABLE, "TikTok had a problem", True),
    ],
)
def test_a_failure_says_what_happened_and_what_to_do(
    reason: SessionReason, text: str, retries: bool
) -> None:
    page = shown(session(SessionStatus.FAILED, reason=reason))

    assert text in page.text
    assert any(link.startswith("/authorize") for link in page.links) is retries
    assert any(link.startswith(RETURN_URL) for link in page.links)
    assert "Support code: request-1" in page.text


def test_a_failure_is_shown_to_its_own_browser_alone() -> None:
    made = session(SessionStatus.FAILED, reason=SessionReason.SCOPE_NOT_GRANTED)

    assert "Connect your TikTok account" in shown(made, own=False).text


def test_a_cancelled_attempt_can_be_tried_again() -> None:
    page = shown(session(SessionStatus.CANCELLED, reason=SessionReason.USER_CANCELLED))

    assert "You cancelled" in page.text
    assert any(link.startswith("/authorize") for link in page.links)
    assert any("error=cancelled" in link for link in page.links)


def test_an_attempt_at_work_shows_that_it_is() -> None:
    assert "Finishing up" in shown(session(SessionStatus.STARTED)).text


def test_an_attempt_whose_callback_must_be_dead_is_no_longer_at_work() -> None:
    """Else the person would wait in front of a page that never changes."""
    made = session(SessionStatus.STARTED)
    later = replace(PAGES, now=NOON + timedelta(minutes=2))

    page = Page(later.of_session(made, COOKIES))

    assert "Finishing up" not in page.text
    assert any(link.startswith("/authorize") for link in page.links)


def test_a_link_withdrawn_by_the_team_is_gone() -> None:
    made = session(SessionStatus.CANCELLED, reason=SessionReason.CANCELLED_BY_TEAM)
    response = PAGES.of_session(made, COOKIES)

    assert response.status == 410
    assert not [link for link in Page(response).links if link.startswith("/authorize")]


def test_an_expired_link_is_gone() -> None:
    made = session(used=False, expires_at=NOON)
    response = PAGES.of_session(made, {})

    assert response.status == 410
    assert "Links work for 0 minutes" not in response.body
    assert not [link for link in Page(response).links if link.startswith("/authorize")]


@pytest.mark.parametrize(
    ("lasted", "told"),
    [
        (timedelta(seconds=20), ""),
        (timedelta(minutes=1), "1 minute."),
        (timedelta(minutes=30), "30 minutes."),
        (timedelta(hours=1), "60 minutes."),
        (timedelta(minutes=90), "90 minutes."),
        (timedelta(hours=2), "2 hours."),
        (timedelta(minutes=150), "150 minutes."),
        (timedelta(hours=24), "24 hours."),
        (timedelta(hours=36), "36 hours."),
        (timedelta(hours=47, minutes=59), "2 days."),
        (timedelta(days=2), "2 days."),
        (timedelta(days=2, hours=12), "60 hours."),
        # The link of a reminder: until the date, or for a week.
        (timedelta(days=4, hours=12), "4 days."),
        (timedelta(days=6, hours=3, minutes=17), "6 days."),
        (timedelta(days=7) - timedelta(milliseconds=1), "7 days."),
        (timedelta(days=7), "7 days."),
    ],
)
def test_an_expired_link_says_how_long_links_work_in_a_figure_that_reads_well(
    lasted: timedelta, told: str
) -> None:
    made = session(created_at=NOON - lasted, expires_at=NOON)

    page = Page(PAGES.expired(made))

    said = f"Links work for {told} " if told else ""
    assert f"This link has expired{said}Go back to Acme and start again." in page.text


@pytest.mark.parametrize(
    ("tag", "days", "told"),
    [
        ("en", 7, "Links work for 7 days."),
        ("es", 7, "Los enlaces funcionan durante 7 días."),
        ("ar", 2, "تعمل الروابط ليومين."),
        ("ar", 7, "تعمل الروابط لمدة 7 أيام."),
        (PSEUDO, 7, "Líñks wórk fór 7 dáýs."),
    ],
)
def test_days_have_the_form_that_each_language_has_for_their_number(
    tag: str, days: int, told: str
) -> None:
    made = session(created_at=NOON - timedelta(days=days), expires_at=NOON, locale=tag)

    assert told in Page(PAGES.expired(made)).text


def test_starting_again_in_another_browser_leads_past_the_page_that_names_the_app_user() -> None:
    made = session(SessionStatus.STARTED, result_cookie="cookie")

    page = shown(made)

    assert "Finish in the browser you started in" in page.text
    assert not [link for link in page.links if link.startswith("/authorize")]
    assert f"/connect/{made.id}?anew=1" in page.links
    assert "You are linking TikTok to Acme" in shown(made, anew=True).text


@pytest.mark.parametrize(
    "made", [waiting(result_cookie="cookie"), _ELSEWHERE], ids=["parked", "not parked"]
)
def test_another_browser_is_given_the_address_for_the_one_that_started(made: LinkSession) -> None:
    """The address that it shows already, of which no code is a part; while it is of use."""
    page = shown(made)
    copy = "Or copy this address and open it in the browser you started in:"

    assert copy in page.text
    assert page.links.count(f"/connect/{made.id}") == 2  # there, and as a full page in the fold
    late = replace(PAGES, now=made.expires_at)
    assert copy not in Page(late.of_session(made, COOKIES)).text
    # There, it is the page with the button: what came back elsewhere says nothing of this browser.
    other = Page(PAGES.of_session(made, {f"{COOKIE_PREFIX}87654321": "other"}))
    assert "You are linking TikTok to Acme" in other.text
    assert "completion_code" not in "".join(other.links)


def test_a_redirect_is_a_clean_get() -> None:
    response = redirect("/connect/ls_1", cookies=("a=b",))

    assert (response.status, response.body) == (303, "")
    assert response.headers["Location"] == "/connect/ls_1"
    assert response.cookies == ("a=b",)


@pytest.mark.parametrize("result_cookie", [None, "cookie"])
def test_the_browser_that_came_back_takes_the_code_to_the_product_on_a_click(
    result_cookie: str | None,
) -> None:
    made = waiting(result_cookie=result_cookie)
    release = completion_code(Secret("cookie"), session_key(made.id)).reveal()

    page = Page(of(made)(PAGES))

    (link,) = [link for link in page.links if "completion_code" in link]
    query = parse_qs(urlsplit(link).query)
    assert link.startswith(RETURN_URL.partition("?")[0])
    assert (query["link_session"], query["completion_code"]) == ([made.id], [release])
    assert "Continue in" in page.text


@pytest.mark.parametrize("result_cookie", [None, "cookie"])
def test_no_other_browser_is_shown_the_code(result_cookie: str | None) -> None:
    made = waiting(result_cookie=result_cookie)

    for cookies in ({}, {"__Host-ttl_00000000": "guessed"}, {"other": "cookie"}):
        assert "completion_code" not in PAGES.of_session(made, cookies).body


def test_after_five_minutes_the_code_is_shown_no_more() -> None:
    for result_cookie in (None, "cookie"):
        body = of(waiting(result_cookie=result_cookie, until=timedelta(0)))(PAGES).body
        assert "completion_code" not in body
        assert "expired" in body or "Continue with TikTok" in body
