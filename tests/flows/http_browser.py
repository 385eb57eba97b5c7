"""A browser made of HTTP alone: cookies, redirects, links and forms by hand.

Cookies are kept here and not by `requests`, because Python's jar withholds Secure cookies from
http, while browsers send them to loopback. Ports do not part cookies, as in a browser.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urljoin, urlsplit

import requests

MOST_REDIRECTS = 10
REDIRECTS = {301, 302, 303, 307, 308}


@dataclass(slots=True)
class Form:
    """A form as it stands: what sending it would send, and what could be ticked or pressed."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[tuple[str, str, str]] = field(default_factory=list)  # words, name, value


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []
        self.text: list[str] = []
        self._form: Form | None = None
        self._words: list[str] | None = None
        self._target: tuple[str, str] = ("", "")
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in ("script", "style"):
            self._unseen += 1
        elif tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._form)
        elif tag == "input" and self._form and "name" in given:
            kind = given.get("type", "text")
            if kind not in ("checkbox", "radio") or "checked" in given:
                default = "on" if kind == "checkbox" else ""
                self._form.fields.append((given["name"], given.get("value", default)))
        elif tag in ("a", "button"):
            self._words = []
            key = "href" if tag == "a" else "value"
            self._target = (given.get("name", ""), given.get(key, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._unseen -= 1
        elif tag == "form":
            self._form = None
        elif tag in ("a", "button") and self._words is not None:
            words = " ".join("".join(self._words).split())
            name, value = self._target
            if tag == "a":
                self.links.append((words, value))
            elif self._form:
                self._form.buttons.append((words, name, value))
            self._words = None

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.text.append(data)
            if self._words is not None:
                self._words.append(data)


class Page:
    """What a browser shows: an answer that is no redirect, and how it was reached."""

    def __init__(self, answer: requests.Response, trail: list[requests.Response]) -> None:
        self.answer = answer
        self.trail = trail  # the redirects before it, oldest first
        reader = _Reader()
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            reader.feed(answer.text)
        self.forms = reader.forms
        self.links = reader.links
        self.text = " ".join("".join(reader.text).split())

    @property
    def url(self) -> str:
        return self.answer.url

    @property
    def status(self) -> int:
        return self.answer.status_code

    def link(self, words: str) -> str:
        """The address behind a link."""
        for shown, href in self.links:
            if shown.startswith(words):
                return urljoin(self.url, href)
        raise AssertionError(f"no link {words!r} on {self.text[:400]!r}, only {self.links}")

    def form(self, button: str) -> tuple[Form, tuple[str, str]]:
        """The form that has this button, and what pressing it adds."""
        for form in self.forms:
            for shown, name, value in form.buttons:
                if shown.startswith(button):
                    return form, (name, value)
        raise AssertionError(f"no button {button!r} on {self.text[:400]!r}")


class HttpBrowser:
    """One person's browser."""

    def __init__(self) -> None:
        self.cookies: dict[tuple[str, str], str] = {}  # by (host, name)
        self._http = requests.Session()
        self._http.trust_env = False

    def open(self, url: str) -> Page:
        return self._follow(self.send("GET", url))

    def click(self, page: Page, words: str) -> Page:
        return self.open(page.link(words))

    def press(
        self,
        page: Page,
        button: str,
        *,
        fill: Mapping[str, str] | None = None,
        off: Collection[str] = (),
    ) -> Page:
        """Send the form of a button; `fill` sets fields by name, `off` unticks values."""
        form, pressed = page.form(button)
        filled = fill or {}
        fields = [(n, v) for n, v in form.fields if n not in filled and v not in off]
        fields += filled.items()
        if pressed[0]:
            fields.append(pressed)
        target = urljoin(page.url, form.action)
        if form.method == "post":
            return self._follow(self.send("POST", target, fields))
        query = requests.PreparedRequest()
        query.prepare_url(target, fields)
        return self.open(str(query.url))

    def send(
        self, method: str, url: str, fields: list[tuple[str, str]] | None = None
    ) -> requests.Response:
        """Send one request with this browser's cookies; redirects are answers like any other."""
        host = urlsplit(url).hostname or ""
        kept = "; ".join(f"{n}={v}" for (where, n), v in self.cookies.items() if where == host)
        answer = self._http.request(
            method,
            url,
            data=fields,
            headers={"Accept": "text/html", **({"Cookie": kept} if kept else {})},
            allow_redirects=False,
            timeout=35,
        )
        self._http.cookies.clear()
        for line in answer.raw.headers.getlist("Set-Cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0" or not morsel.value:
                    self.cookies.pop((host, name), None)
                else:
                    self.cookies[host, name] = morsel.value
        return answer

    def _follow(self, answer: requests.Response) -> Page:
        trail: list[requests.Response] = []
        while answer.status_code in REDIRECTS:
            trail.append(answer)
            assert len(trail) <= MOST_REDIRECTS, [a.headers["Location"] for a in trail]
            answer = self.send("GET", urljoin(answer.url, answer.headers["Location"]))
        return Page(answer, trail)
