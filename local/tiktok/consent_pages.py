"""The pages that a browser sees: logging in, consenting, and what TikTok refuses by itself.

They work without JavaScript and say on every page that they are a simulation. The form is posted
to the address of the page, so any HTTP client can consent with the authorize URL alone.
"""

import secrets

from flask import Blueprint, Response, make_response, redirect, render_template, request

from local.tiktok.authorization import AuthorizeRequest, CallbackRefused, PageRefused
from local.tiktok.portal import BASIC_SCOPE, SCOPES
from local.tiktok.simulation import TikTok

# Cookies do not know ports: the name keeps apart what runs on the same loopback host.
_COOKIE = "tiktok_simulation_browser"


def consent_pages(tiktok: TikTok) -> Blueprint:
    pages = Blueprint("consent_pages", __name__, template_folder="templates")

    @pages.get("/v2/auth/authorize/", strict_slashes=False)
    def ask() -> Response:
        tiktok.count("authorize")
        browser = request.cookies.get(_COOKIE)
        person = tiktok.who_is_logged_in(browser)
        has_session = tiktok.has_session(browser)
        asked = AuthorizeRequest.from_query(request.args.to_dict())
        try:
            app = tiktok.check(asked, person if has_session else None)
            if person is None:
                return _page("login.html", people=tiktok.people())
            if has_session and tiktok.skips_consent(asked, app, person):
                return _sent_to(tiktok.approve(asked, app, person, asked.scopes))
        except PageRefused as refused:
            return _refusal(refused)
        except CallbackRefused as refused:
            return _sent_to(tiktok.send_back(asked, refused.reason))
        return _page(
            "consent.html",
            app=app,
            person=person,
            people=tiktok.people(),
            required=[scope for scope in asked.scopes if scope == BASIC_SCOPE],
            optional=[scope for scope in asked.scopes if scope != BASIC_SCOPE],
            words=SCOPES,
        )

    @pages.post("/v2/auth/authorize/", strict_slashes=False)
    def answer() -> Response:
        browser = request.cookies.get(_COOKIE)
        asked = AuthorizeRequest.from_query(request.args.to_dict())
        decision = request.form.get("decision", "authorize")
        try:
            app = tiktok.check(asked)
            if decision == "cancel":
                return _sent_to(tiktok.send_back(asked))
            if decision == "log_out":
                return _with_cookie(_again(), tiktok.log_in(None, browser))
            name = request.form.get("user")
            person = tiktok.person(name) if name else tiktok.who_is_logged_in(browser)
            if person is None:
                raise PageRefused("user", "There is no such user in this simulation.")
            if decision == "log_in":
                return _with_cookie(_again(), tiktok.log_in(person, browser))
            if decision != "authorize":
                raise PageRefused("decision", "It is authorize, cancel, log_in or log_out.")
            # The page always sends the required scope; a form without any is a client that posts
            # the bare consent and means all of it.
            wanted = request.form.getlist("scope") or asked.scopes
            sent_to = _sent_to(tiktok.approve(asked, app, person, wanted))
            return _with_cookie(sent_to, tiktok.log_in(person, browser))
        except PageRefused as refused:
            return _refusal(refused)
        except CallbackRefused as refused:
            return _sent_to(tiktok.send_back(asked, refused.reason))

    @pages.after_request
    def add_opener_policy(answer: Response) -> Response:
        if policy := tiktok.settings.opener_policy:
            answer.headers["Cross-Origin-Opener-Policy"] = policy
        return answer

    return pages


def _page(template: str, *, status: int = 200, **values: object) -> Response:
    nonce = secrets.token_urlsafe(16)
    page = make_response(render_template(template, nonce=nonce, **values), status)
    # No form-action: Chromium applies it to the redirect that follows the form, too, and the whole
    # point of this form is a redirect to the app.
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; frame-ancestors 'none'"
    )
    page.headers["Cache-Control"] = "no-store"
    page.headers["Referrer-Policy"] = "same-origin"
    page.headers["X-Content-Type-Options"] = "nosniff"
    return page


def _refusal(refused: PageRefused) -> Response:
    return _page("refused.html", status=400, field=refused.field, explanation=refused.explanation)


def _sent_to(url: str) -> Response:
    # The header is set by hand: redirect() would rewrite the encoding that a switch chose.
    answer = make_response("", 302)
    answer.headers["Location"] = url
    answer.headers["Cache-Control"] = "no-store"
    answer.autocorrect_location_header = False
    return answer


def _again() -> Response:
    """Back to the page that the form was on."""
    return make_response(redirect(f"/v2/auth/authorize/?{request.query_string.decode('ascii')}"))


def _with_cookie(answer: Response, browser: str) -> Response:
    answer.set_cookie(_COOKIE, browser, httponly=True, samesite="Lax", path="/v2/auth/")
    return answer
