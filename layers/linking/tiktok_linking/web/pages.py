"""The few pages that a person sees, from one small template: no script, no third party.

Texts follow one rule: a title, one sentence of cause, one thing to do. Everything that came from
outside is escaped here and nowhere else. Headers are the same on every page and redirect.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import escape
from urllib.parse import urlencode

from tiktok_linking.accounts import Secret
from tiktok_linking.return_urls import with_result
from tiktok_linking.sessions import LinkSession, SessionReason, SessionStatus
from tiktok_linking.web.http import NOTHING_IS_LOADED, Response, cookie

_HEADERS = {
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

PAGE_COOKIE = "__Host-tlpage"
PAGE_COOKIE_SECONDS = 3600
_FINISHING_TAKES = timedelta(seconds=35)
"""Longer than the callback lives: after that nobody is finishing any more."""

SCOPE_NAMES = {
    "user.info.basic": "Your display name and profile picture",
    "user.info.profile": "Your bio, profile links and verification badge",
    "user.info.stats": "Your follower, like and video counts",
    "video.list": "Your public videos",
    "video.publish": "Posting videos to your profile",
    "video.upload": "Sending drafts to your TikTok inbox",
}

_STYLE = """
:root{color-scheme:light dark;--bg:#f6f6f7;--card:#fff;--ink:#18181b;--soft:#52525b;
--line:#d4d4d8;--go:#18181b;--go-ink:#fff;--ok:#15803d;--warn:#a16207}
@media(prefers-color-scheme:dark){:root{--bg:#0f0f11;--card:#1b1b1f;--ink:#f4f4f5;--soft:#a1a1aa;
--line:#3f3f46;--go:#f4f4f5;--go-ink:#18181b;--ok:#4ade80;--warn:#facc15}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1rem}
main{background:var(--card);border:1px solid var(--line);border-radius:1rem;padding:2rem 1.75rem;
width:100%;max-width:27rem}
h1{font-size:1.375rem;line-height:1.25;margin:0 0 .75rem;text-wrap:balance}
h2{font-size:.875rem;margin:1.25rem 0 .25rem;color:var(--soft);font-weight:600}
p{margin:.5rem 0}ul{margin:.25rem 0 1rem;padding-inline-start:1.25rem}li{margin:.125rem 0}
.soft{color:var(--soft);font-size:.9375rem}
.mark{display:inline-flex;align-items:center;justify-content:center;width:3rem;height:3rem;
border-radius:50%;border:2px solid currentColor;font-size:1.375rem;margin-bottom:1rem}
.ok{color:var(--ok)}.warn{color:var(--warn)}
a{color:inherit;text-underline-offset:.2em}
a.go{display:block;text-align:center;text-decoration:none;font-weight:600;background:var(--go);
color:var(--go-ink);border:2px solid var(--go);border-radius:.625rem;padding:.75rem 1rem;
min-height:2.75rem;margin-top:1.5rem}
a.back{display:inline-block;margin-top:1rem;padding:.25rem 0;min-height:1.5rem}
a:focus-visible{outline:3px solid var(--ink);outline-offset:3px}
details{margin-top:1.5rem;border-top:1px solid var(--line);padding-top:1rem}
summary{cursor:pointer;font-size:.9375rem;color:var(--soft);padding:.25rem 0}
footer{margin-top:1.25rem;font-size:.8125rem;color:var(--soft)}
@media(forced-colors:active){a.go{forced-color-adjust:none;background:LinkText;color:Canvas}}
"""

_TROUBLE = (
    "<details><summary>Having trouble?</summary>"
    "<p class=soft><b>Window blank?</b> Ad or pop-up blockers can stop TikTok's page. Allow pop-ups"
    " for this site, pause the blocker, or use the full-page link.</p>"
    "<p class=soft><b>TikTok says the login is wrong?</b> Log in at tiktok.com in a new tab first,"
    " then come back and try again. {app} cannot see or change your password.</p></details>"
)


@dataclass(frozen=True, slots=True)
class Pages:
    """Renders pages for one app; ``request_id`` is the support code on error pages."""

    app_name: str
    request_id: str
    now: datetime
    browser: Secret = field(default_factory=lambda: Secret(secrets.token_urlsafe(32)))
    """What this browser is known by, from its page cookie: buttons work in no other."""

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
            return self._problem(
                410, "This link was withdrawn", f"{self._app()} has cancelled it.", back=session
            )
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
            return self._problem(
                200, "You cancelled", "Nothing was connected.", retry=session, back=session
            )
        if status is SessionStatus.FAILED:
            return self._failed(session)
        if attempt.used_at + _FINISHING_TAKES < self.now:
            return self._failed(session)
        return self._finishing(session)

    def _connect(self, session: LinkSession) -> Response:
        app = self._app()
        label = session.end_user_label
        whom = f" as {_name(masked(label))}" if label else ""
        left = session.expires_at - self.now
        hurry = ""
        if left < timedelta(minutes=5):
            minutes = max(1, int(left.total_seconds() // 60))
            unit = "minute" if minutes == 1 else "minutes"
            hurry = f"<p class=soft>This link works for {minutes} more {unit}.</p>"
        body = (
            f"<h1>Connect your TikTok account</h1>"
            f"<p>You are linking TikTok to <b>{app}</b>{whom}. Not you? Close this page.</p>"
            + _scope_list(f"{app} needs", session.scopes_required)
            + _scope_list("You can switch off", session.scopes_optional)
            + f"<p class=soft>TikTok will ask you to log in. {app} never sees your TikTok"
            " password.</p>"
            + hurry
            + _go(authorize_path(session, self.browser), "Continue with TikTok")
            + self._back(session, "Cancel and go back to", error="cancelled")
            + _TROUBLE.format(app=app)
        )
        return self._page(200, "Connect your TikTok account", body)

    def _success(self, session: LinkSession) -> Response:
        name = (
            f" as <b><bdi>{escape(session.display_name)}</bdi></b>" if session.display_name else ""
        )
        granted = _scope_list("Allowed", session.granted_scopes)
        if session.missing_scopes:
            body = (
                _mark("warn", "!")
                + "<h1>Connected, but some permissions are off</h1>"
                + f"<p>TikTok is connected{name}.</p>"
                + _scope_list("Switched off", session.missing_scopes)
                + granted
            )
            title = "Connected, but some permissions are off"
        else:
            body = _mark("ok", "✓") + f"<h1>TikTok connected</h1><p>Connected{name}.</p>" + granted
            title = "TikTok connected"
        if session.return_url:
            url = with_result(session.return_url, link_session=session.id)
            body += _go(url, f"Continue to {self._app()}")
        else:
            body += "<p class=soft>You can close this window.</p>"
        return self._page(200, title, body)

    def _finishing(self, session: LinkSession) -> Response:
        body = (
            "<h1>Finishing up…</h1><p>TikTok has answered and your account is being connected.</p>"
            + _go(f"/connect/{session.id}", "Continue")
        )
        return self._page(200, "Finishing up…", body)

    def _to_be_completed(self, session: LinkSession, release: Secret) -> Response:
        """Back from TikTok in the right browser; the product has not finished yet."""
        body = (
            "<h1>One more step</h1>"
            f"<p>TikTok has answered. {self._app()} finishes the connection.</p>"
            + self._to_the_product(session, release)
        )
        return self._page(200, "One more step", body)

    def _different_browser(self, session: LinkSession, release: Secret | None) -> Response:
        # Through the connect page: whoever starts here must read whose link this is.
        again = f"/connect/{session.id}?anew=1" if session.can_start(self.now) else None
        if release is not None:
            return self._problem(
                400,
                "Finish in the browser you started in",
                "TikTok brought you back in another browser or app. Continue in"
                f" {self._app()}; you may need to sign in there.",
                extra=self._to_the_product(session, release)
                + (f'<a class=back href="{escape(again)}">Start again here</a>' if again else ""),
            )
        return self._problem(
            400,
            "Finish in the browser you started in",
            "TikTok brought you back in another browser or app. Go back to the one you started in,"
            " or start again here.",
            extra=_go(again, "Start again here") if again else "",
            back=session,
        )

    def _to_the_product(self, session: LinkSession, release: Secret) -> str:
        """The one link that carries a completion code: to the product, on a click."""
        if session.return_url is None:
            return ""
        code = release.reveal()
        url = with_result(session.return_url, link_session=session.id, completion_code=code)
        return _go(url, f"Continue in {self._app()}")

    def _failed(self, session: LinkSession) -> Response:
        app = self._app()
        texts = {
            SessionReason.PROVIDER_REFUSED: (
                "TikTok did not allow this account",
                "TikTok decides this by country, age and account. Nothing was connected.",
                "Try another TikTok account",
            ),
            SessionReason.APP_MISCONFIGURED: (
                "This app is not set up right",
                f"Please tell {app} support. Nothing was connected.",
                "",
            ),
            SessionReason.SCOPE_NOT_GRANTED: (
                "A needed permission is off",
                f"{app} cannot work without it, so nothing was connected.",
                "Fix permissions",
            ),
            SessionReason.ACCOUNT_MISMATCH: (
                "That is a different TikTok account",
                "This connection belongs to another account, which is unchanged. Switch account in"
                " TikTok and try again.",
                "Try again",
            ),
            SessionReason.USER_MISMATCH: (
                "Signed in as someone else",
                f"This request was started for another {app} account. Nothing was connected.",
                "",
            ),
        }
        title, cause, again = texts.get(
            session.reason or SessionReason.PROVIDER_UNAVAILABLE,
            ("TikTok had a problem", "Wait a few minutes and try again.", "Try again"),
        )
        missing = (
            _scope_list("Switched off", session.missing_scopes)
            if session.reason is SessionReason.SCOPE_NOT_GRANTED
            else ""
        )
        return self._problem(
            200,
            title,
            cause,
            extra=missing,
            retry=session if again else None,
            retry_text=again,
            back=session,
        )

    # -- pages without a session's trust --------------------------------------------------------

    def expired(self, session: LinkSession | None = None) -> Response:
        """The time to start is over."""
        how_long = ""
        if session is not None:
            minutes = int((session.expires_at - session.created_at).total_seconds() // 60)
            how_long = f"Links work for {minutes} minutes. " if minutes else ""
        return self._problem(
            410,
            "This link has expired",
            f"{how_long}Go back to {self._app()} and start again.",
            retry=session,
            back=session,
        )

    def already_used(self, session: LinkSession | None = None) -> Response:
        """Finished, and this browser was not the one that did it."""
        return self._problem(
            409,
            "This is already finished",
            f"There is nothing more to do here. Go back to {self._app()}.",
            back=session,
        )

    def too_many(self, session: LinkSession | None = None) -> Response:
        """More attempts than one session allows."""
        return self._problem(
            429, "Too many tries", f"Go back to {self._app()} and start again.", back=session
        )

    def not_found(self) -> Response:
        """No such session."""
        return self._problem(
            404, "This link is not valid", f"Go back to {self._app()} and start again."
        )

    def bad_return(self) -> Response:
        """A callback that belongs to no attempt of ours."""
        return self._problem(
            400,
            "This answer belongs to no link",
            f"It may be old or incomplete. Go back to {self._app()} and start again.",
        )

    def defect(self) -> Response:
        """Something of ours broke."""
        return self._problem(
            500, "Something went wrong", "Wait a moment and try again. Nothing was lost."
        )

    # -- the frame ------------------------------------------------------------------------------

    def _app(self) -> str:
        return escape(self.app_name)

    def _back(self, session: LinkSession | None, text: str, *, error: str | None = None) -> str:
        if session is None or not session.return_url:
            return ""
        result = {"link_session": session.id} | ({"error": error} if error else {})
        url = with_result(session.return_url, **result)
        return f'<a class=back href="{escape(url)}">{text} {self._app()}</a>'

    def _problem(
        self,
        status: int,
        title: str,
        cause: str,
        *,
        extra: str = "",
        retry: LinkSession | None = None,
        retry_text: str = "Try again",
        back: LinkSession | None = None,
    ) -> Response:
        """``title`` and ``cause`` are our own words, with names already escaped."""
        again = ""
        if retry is not None and retry.can_start(self.now):
            again = _go(authorize_path(retry, self.browser), retry_text)
        error = None
        if back is not None and back.reason is not None:
            cancelled = back.reason is SessionReason.USER_CANCELLED
            error = "cancelled" if cancelled else back.reason.value
        body = (
            _mark("warn", "!")
            + f"<h1>{title}</h1><p>{cause}</p>"
            + extra
            + again
            + self._back(back, "Back to", error=error)
            + f"<footer>Support code: {escape(self.request_id)}</footer>"
        )
        return self._page(status, title, body)

    def _page(self, status: int, title: str, body: str) -> Response:
        nonce = secrets.token_urlsafe(16)
        html = (
            '<!doctype html><html lang="en" dir="ltr"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            '<meta name="robots" content="noindex">'
            f'<title>{title} · {self._app()}</title><style nonce="{nonce}">{_STYLE}</style></head>'
            f"<body><main>{body}</main></body></html>"
        )
        headers = _HEADERS | {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": f"{NOTHING_IS_LOADED}; style-src 'nonce-{nonce}'",
        }
        known = cookie(PAGE_COOKIE, self.browser.reveal(), max_age_seconds=PAGE_COOKIE_SECONDS)
        return Response(status, html, headers, (known,) if "/authorize?" in body else ())


def redirect(location: str, *, status: int = 303, cookies: tuple[str, ...] = ()) -> Response:
    """Send the browser on; 303 turns whatever came in into a clean GET."""
    headers = _HEADERS | {
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


def _name(text: str) -> str:
    """A name from outside, kept from turning the direction of the sentence around it."""
    return f"<b><bdi>{escape(text)}</bdi></b>"


def _scope_list(title: str, scopes: tuple[str, ...]) -> str:
    if not scopes:
        return ""
    items = "".join(f"<li>{escape(SCOPE_NAMES.get(scope, scope))}</li>" for scope in scopes)
    return f"<h2>{title}</h2><ul>{items}</ul>"


def _go(url: str, text: str) -> str:
    return f'<a class=go href="{escape(url)}">{text}</a>'


def _mark(kind: str, sign: str) -> str:
    return f'<div class="mark {kind}" aria-hidden=true>{sign}</div>'
