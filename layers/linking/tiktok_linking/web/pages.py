"""The few pages that a person sees, from one small template: no third party, no need of script.

Texts follow one rule: a title, one sentence of cause, one thing to do; the catalogue has them in
each language. Everything that came from outside is escaped here and nowhere else. Headers are the
same on every page and redirect.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from html import escape
from urllib.parse import urlencode

from tiktok_linking.accounts import Secret
from tiktok_linking.brand import Brand
from tiktok_linking.return_urls import origin_of, with_result
from tiktok_linking.sessions import MOST_ATTEMPTS, LinkSession, SessionReason, SessionStatus
from tiktok_linking.web import frame
from tiktok_linking.web.catalogue import Language, language_for
from tiktok_linking.web.http import NOTHING_IS_LOADED, Response, cookie

PAGE_COOKIE = "__Host-tlpage"
PAGE_COOKIE_SECONDS = 3600
SCOPES_MISSING = "scopes_missing"
"""Stands as `error` where a person who is linked asks to switch on what is off."""

_FINISHING_TAKES = timedelta(seconds=35)
"""Longer than the callback lives: after that nobody is finishing any more."""
_HURRY = timedelta(minutes=5)
_MOST_NAME_CHARACTERS = 200
_MOST_AGENT_CHARACTERS = 512
_IN_APP = (
    r"FBA[NV]|FB_IAB|Instagram|\bLine/|MicroMessenger|Snapchat|Pinterest|LinkedInApp|Twitter"
    r"|TikTok|musical_ly|BytedanceWebview|KAKAOTALK|; wv\)|\((iPhone|iPad)(?!.* Safari/)"
)
"""What browsers inside other apps say of themselves. A guess: it adds a hint, never takes away."""

_FAILURES = {
    SessionReason.PROVIDER_REFUSED: ("refused", "refused.again"),
    SessionReason.APP_MISCONFIGURED: ("misconfigured", None),
    SessionReason.SCOPE_NOT_GRANTED: ("permission", "partial.fix"),
    SessionReason.ACCOUNT_MISMATCH: ("other_account", "again"),
    SessionReason.USER_MISMATCH: ("other_user", None),
}
"""Which texts tell of a failure, and what its button says, if trying again helps."""


@dataclass(frozen=True, slots=True)
class Pages:
    """Renders pages for one app; ``request_id`` is the support code on error pages."""

    app_name: str
    request_id: str
    now: datetime
    browser: Secret = field(default_factory=lambda: Secret(secrets.token_urlsafe(32)))
    """What this browser is known by, from its page cookie: buttons work in no other."""
    brand: Brand = field(default_factory=Brand)
    accept_language: str = ""
    user_agent: str = field(default="", repr=False)

    # -- where a session stands -----------------------------------------------------------------

    def of_session(
        self, session: LinkSession, cookies: Mapping[str, str], *, anew: bool = False
    ) -> Response:
        """The one page of a session: connect, or how this browser's attempt ended.

        Opening it changes nothing, so link previews and scanners are harmless. ``anew`` asks for
        the connect page where this browser's attempt ended without a link.
        """
        attempt = session.attempt_of(cookies)
        status = session.status_at(self.now)
        is_its_own = session.was_ended_by(cookies)
        if status is SessionStatus.COMPLETED:
            return self._success(session) if is_its_own else self.already_used(session)
        if attempt is not None and attempt.used_at is not None and not is_its_own:
            attempt = None  # what happened since is another browser's
        if session.reason is SessionReason.CANCELLED_BY_TEAM:
            return self._problem(410, "withdrawn", session)
        is_under_way = status in (SessionStatus.STARTED, SessionStatus.AWAITING_COMPLETION)
        if session.expires_at <= self.now and not is_under_way:
            return self.expired(session)
        if anew and session.can_start(self.now):
            return self._connect(session)
        if attempt is None:
            elsewhere = session.was_brought_back_by(cookies)
            if elsewhere and status is SessionStatus.EXPIRED:
                return self.expired(session)
            release = session.completion_code_of(cookies)
            return (
                self._different_browser(session, release) if elsewhere else self._connect(session)
            )
        release = session.completion_code_of(cookies)
        if release is not None and status is SessionStatus.AWAITING_COMPLETION:
            return self._to_be_completed(session, release)
        if attempt.used_at is None or attempt.result_cookie_hash is not None:
            # Not back from TikTok, or handed to another browser: here the button starts again.
            late = attempt.expires_at <= self.now
            return self.expired(session) if late else self._connect(session)
        if status is SessionStatus.EXPIRED:
            return self.expired(session)
        if status is SessionStatus.CANCELLED:
            return self._problem(200, "cancelled", session, again="again")
        if status is SessionStatus.FAILED:
            return self._failed(session)
        if attempt.used_at + _FINISHING_TAKES < self.now:
            return self._failed(session)
        return self._finishing(session)

    def _connect(self, session: LinkSession) -> Response:
        if len(session.attempts) >= MOST_ATTEMPTS:
            return self.too_many(session)  # the button would only lead there
        words = self._words(session)
        whose = words.say("connect.whose")
        if session.end_user_label:
            whose = words.say("connect.whose_as", label=_name(masked(session.end_user_label)))
        left = session.expires_at - self.now
        hurry = ""
        if left < _HURRY:
            minutes = max(1, int(left.total_seconds() // 60))
            hurry = f"<p class=soft>{words.count('connect.minutes_left', minutes)}</p>"
        body = (
            f"<h1>{words.say('connect.title')}</h1><p>{whose}</p>"
            + words.scopes("connect.needs", session.scopes_required)
            + words.scopes("connect.may_refuse", session.scopes_optional)
            + f"<p class=soft>{words.say('connect.password')}</p>"
            + hurry
            + (self._in_app_hint(session, words) if self.is_in_app else "")
            + _go(authorize_path(session, self.browser), words.say("connect.continue"))
            + _back(session, words.say("connect.cancel"), error="cancelled")
            + _trouble(words, session)
        )
        return self._page(200, "connect", body, words)

    @property
    def is_in_app(self) -> bool:
        """Whether this looks like the browser inside another app."""
        agent = self.user_agent[:_MOST_AGENT_CHARACTERS]
        return bool(re.search(_IN_APP, agent))

    def _in_app_hint(self, session: LinkSession, words: _Words) -> str:
        """A way out for those whom TikTok may bring back elsewhere; the button stays."""
        title = f"<p><b>{words.say('in_app.title')}</b></p>"
        return _to_copy(session, words, words.say("in_app.why"), title=title)

    def _success(self, session: LinkSession) -> Response:
        words = self._words(session)
        is_partial = bool(session.missing_scopes)
        page = "partial" if is_partial else "success"
        done = words.say(f"{page}.done")
        if session.display_name:
            done = words.say(f"{page}.done_as", name=_name(session.display_name))
        body = (
            _who(session.display_name)
            + (_mark("warn", "!") if is_partial else _mark("ok", "✓"))
            + _said(words, page, done)
            + words.scopes("partial.off", session.missing_scopes)
            + words.scopes("success.allowed", session.granted_scopes)
        )
        if not session.return_url:
            hint = f"<p>{words.say('partial.how')}</p>" if is_partial else ""
            body += f"{hint}<p class=soft>{words.say('success.close')}</p>"
            return self._page(200, page, body, words)
        url = with_result(session.return_url, link_session=session.id)
        if is_partial:
            # Only the product can make a session that relinks: it is told what is wished.
            fix = with_result(session.return_url, link_session=session.id, error=SCOPES_MISSING)
            body += _go(fix, words.say("partial.fix"))
            body += _or(url, words.say("partial.go_on"))
        else:
            body += _go(url, words.say("success.continue"))
        return self._page(200, page, body, words, session)

    def _finishing(self, session: LinkSession) -> Response:
        words = self._words(session)
        body = _said(words, "finishing") + _go(
            f"/connect/{session.id}", words.say("finishing.continue")
        )
        return self._page(200, "finishing", body, words)

    def _to_be_completed(self, session: LinkSession, release: Secret) -> Response:
        """Back from TikTok in the right browser; the product has not finished yet."""
        words = self._words(session)
        body = _said(words, "step") + self._to_the_product(session, release, words)
        return self._page(200, "step", body, words, session)

    def _different_browser(self, session: LinkSession, release: Secret | None) -> Response:
        words = self._words(session)
        # Through the connect page: whoever starts here must read whose link this is.
        again = f"/connect/{session.id}?anew=1" if session.can_start(self.now) else None
        here = words.say("start_again_here")
        # The address that this browser shows already: TikTok's code and ours are nowhere in it.
        copy = _to_copy(session, words, words.say("elsewhere.copy")) if again else ""
        if release is not None:
            return self._problem(
                400,
                "elsewhere",
                session,
                why=words.say("elsewhere.continue"),
                extra=self._to_the_product(session, release, words)
                + (f'<a class=back href="{escape(again)}">{here}</a>' if again else "")
                + copy,
                leads_back=False,
            )
        return self._problem(
            400,
            "elsewhere",
            session,
            why=words.say("elsewhere.go_back" if again else "elsewhere.only_back"),
            extra=_go(again, here) + copy if again else "",
        )

    def _to_the_product(self, session: LinkSession, release: Secret, words: _Words) -> str:
        """The one link that carries a completion code: to the product, on a click."""
        if session.return_url is None:
            return ""
        code = release.reveal()
        url = with_result(session.return_url, link_session=session.id, completion_code=code)
        return _go(url, words.say("continue_in"))

    def _failed(self, session: LinkSession) -> Response:
        reason = session.reason or SessionReason.PROVIDER_UNAVAILABLE
        page, again = _FAILURES.get(reason, ("tiktok", "again"))
        missing = ""
        if reason is SessionReason.SCOPE_NOT_GRANTED:
            missing = self._words(session).scopes("partial.off", session.missing_scopes)
        return self._problem(200, page, session, again=again, extra=missing)

    # -- pages without a session's trust --------------------------------------------------------

    def expired(self, session: LinkSession | None = None) -> Response:
        """The time to start is over."""
        words = self._words(session)
        why = words.say("expired.why")
        if session is not None:
            minutes = round((session.expires_at - session.created_at) / timedelta(minutes=1))
            if minutes:
                unit, number = _in_words(minutes)
                why = f"{words.count(f'expired.{unit}', number)} {why}"
        return self._problem(410, "expired", session, why=why, again="again")

    def already_used(self, session: LinkSession | None = None) -> Response:
        """Finished, and this browser was not the one that did it."""
        return self._problem(409, "used", session)

    def too_many(self, session: LinkSession | None = None) -> Response:
        """More attempts than one session allows."""
        return self._problem(429, "too_many", session)

    def not_found(self) -> Response:
        """No such session."""
        return self._problem(404, "not_found")

    def bad_return(self) -> Response:
        """A callback that belongs to no attempt of ours."""
        return self._problem(400, "bad_return")

    def defect(self) -> Response:
        """Something of ours broke."""
        return self._problem(500, "defect")

    # -- the frame ------------------------------------------------------------------------------

    def _words(self, session: LinkSession | None) -> _Words:
        locale = session.locale if session is not None else None
        return _Words(language_for(locale, self.accept_language), _isolated(self.app_name))

    def _problem(
        self,
        status: int,
        page: str,
        session: LinkSession | None = None,
        *,
        why: str | None = None,
        extra: str = "",
        again: str | None = None,
        leads_back: bool = True,
    ) -> Response:
        """What went wrong, one thing to do, and the way back. ``why`` and ``extra`` are HTML."""
        words = self._words(session)
        retry = ""
        if again is not None and session is not None and session.can_start(self.now):
            retry = _go(authorize_path(session, self.browser), words.say(again))
        error = None
        if session is not None and session.reason is not None:
            cancelled = session.reason is SessionReason.USER_CANCELLED
            error = "cancelled" if cancelled else session.reason.value
        body = (
            _mark("warn", "!")
            + _said(words, page, why, role="alert")
            + extra
            + retry
            + (_back(session, words.say("back"), error=error) if leads_back else "")
            + _trouble(words, session)
            + f"<footer>{words.say('support_code', code=_isolated(self.request_id))}</footer>"
        )
        return self._page(status, page, body, words, session)

    def _page(
        self, status: int, page: str, body: str, words: _Words, ended: LinkSession | None = None
    ) -> Response:
        """``ended``: the session whose attempt is over, for a product that waits for that."""
        origin = origin_of(ended.return_url) if ended is not None else None
        waiting = frame.Waiting(origin, ended.id) if origin and ended is not None else None
        response = frame.page(
            status,
            title=words.say(f"{page}.title"),
            body=body,
            app=self.app_name,
            language=words.language,
            brand=self.brand,
            waiting=waiting,
        )
        if "/authorize?" not in body:
            return response
        known = cookie(PAGE_COOKIE, self.browser.reveal(), max_age_seconds=PAGE_COOKIE_SECONDS)
        return replace(response, cookies=(known,))


@dataclass(frozen=True, slots=True)
class _Words:
    """One language, and the product's name for every text that has it."""

    language: Language
    app: str

    def say(self, key: str, **values: str) -> str:
        return self.language.say(key, app=self.app, **values)

    def count(self, key: str, number: int) -> str:
        return self.language.count(key, number)

    def scopes(self, title: str, scopes: tuple[str, ...]) -> str:
        """What TikTok is asked for, in plain words where there are some."""
        if not scopes:
            return ""
        items = "".join(f"<li>{self._scope(scope)}</li>" for scope in scopes)
        return f"<h2>{self.say(title)}</h2><ul>{items}</ul>"

    def _scope(self, scope: str) -> str:
        key = f"scope.{scope}"
        return self.say(key) if self.language.has(key) else _isolated(scope)


def redirect(location: str, *, status: int = 303, cookies: tuple[str, ...] = ()) -> Response:
    """Send the browser on; 303 turns whatever came in into a clean GET."""
    headers = frame.HEADERS | {
        "Location": location,
        "Content-Security-Policy": NOTHING_IS_LOADED,
    }
    return Response(status, "", headers, cookies)


def authorize_path(session: LinkSession, browser: Secret) -> str:
    """Where the button leads; the nonce shows that this browser came through our page."""
    nonce = f"{session.page_nonce}.{page_proof(session.id, browser)}"
    return "/authorize?" + urlencode({"n": nonce, "session": session.id})


def page_proof(session_id: str, browser: Secret) -> str:
    """Ties a button to the browser that was shown it.

    Without it, a button's address could be sent to somebody else, who would then go to TikTok
    without having read whose link it is.
    """
    proof = hmac.new(browser.reveal().encode(), session_id.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(proof[:16]).rstrip(b"=").decode()


def browser_of(cookies: Mapping[str, str]) -> Secret | None:
    """What the page cookie says, if this browser has one of ours."""
    value = cookies.get(PAGE_COOKIE, "")
    return Secret(value) if len(value) == 43 and value.isascii() else None


def masked(label: str) -> str:
    """Shorten an e-mail address so that a forwarded page gives away little."""
    name, at, domain = label.partition("@")
    return f"{name[:1]}•••@{domain}" if at and name and domain else label


def initials(name: str) -> str:
    """One or two letters for a name; two only in scripts with capitals, where that is the custom.

    Empty for a name without a letter or digit.
    """
    letters = [next((one for one in word if one.isalnum()), "") for word in name.split()]
    found = [one for one in letters if one]
    has_capitals = bool(found) and all(one.lower() != one.upper() for one in found)
    chosen = found[:1] + (found[-1:] if len(found) > 1 and has_capitals else [])
    return "".join(one.upper() for one in chosen)


def _isolated(text: str) -> str:
    """Words from outside, kept from turning the direction of the sentence around them."""
    return f"<bdi>{escape(text)}</bdi>"


def _name(text: str) -> str:
    return f"<b>{_isolated(text[:_MOST_NAME_CHARACTERS])}</b>"


def _who(name: str | None) -> str:
    """Initials, since a picture would be asked of TikTok's servers."""
    short = initials(name or "")
    return f'<div class="mark who" aria-hidden=true>{escape(short)}</div>' if short else ""


def _said(words: _Words, page: str, why: str | None = None, *, role: str = "status") -> str:
    """What is announced: the page's title, and ``why``, which is HTML, or the page's own words."""
    title = words.say(f"{page}.title")
    return f"<div role={role}><h1>{title}</h1><p>{why or words.say(f'{page}.why')}</p></div>"


def _in_words(minutes: int) -> tuple[str, int]:
    """In days, hours or minutes: the largest unit that is at most an eighth beside the truth."""
    for unit, size in (("days", 24 * 60), ("hours", 60)):
        number = round(minutes / size)
        if number >= 2 and abs(minutes - number * size) * 8 <= minutes:
            return unit, number
    return "minutes", minutes


def _to_copy(session: LinkSession, words: _Words, why: str, *, title: str = "") -> str:
    """The session's own address, for another browser. ``why`` and ``title`` are HTML."""
    address = f'<a href="/connect/{escape(session.id)}">{words.say("address")}</a>'
    return f"<div class=note>{title}<p class=soft>{why} {address}</p></div>"


def _back(session: LinkSession | None, text: str, *, error: str | None) -> str:
    if session is None or not session.return_url:
        return ""
    result = {"link_session": session.id} | ({"error": error} if error else {})
    url = with_result(session.return_url, **result)
    return f'<a class=back href="{escape(url)}">{text}</a>'


def _trouble(words: _Words, session: LinkSession | None) -> str:
    """The known troubles, folded away; it opens without a script."""
    full_page = ""
    if session is not None:
        full_page = (
            f' <a href="/connect/{escape(session.id)}" target=_blank rel=noopener>'
            f"{words.say('trouble.full_page')}</a>"
        )
    parts = "".join(
        f"<p class=soft><b>{words.say(f'trouble.{one}')}</b>"
        f" {words.say(f'trouble.{one}_help')}{full_page if one == 'blank' else ''}</p>"
        for one in ("blank", "login", "disconnects")
    )
    return f"<details><summary>{words.say('trouble.title')}</summary>{parts}</details>"


def _go(url: str, text: str) -> str:
    return f'<a class=go href="{escape(url)}">{text}</a>'


def _or(url: str, text: str) -> str:
    return f'<a class=or href="{escape(url)}">{text}</a>'


def _mark(kind: str, sign: str) -> str:
    return f'<div class="mark {kind}" aria-hidden=true>{sign}</div>'
