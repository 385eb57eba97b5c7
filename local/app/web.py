"""The product: pages for signing in, connecting, using and ending connections."""

from __future__ import annotations

import secrets
from contextlib import suppress
from urllib.parse import urlsplit

import requests
from flask import (
    Flask,
    abort,
    flash,
    redirect,
    render_template,
    request,
    send_from_directory,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from local.app.settings import BROWSER_FILES, Settings
from local.app.tiktok import profile_of
from local.app.wording import REVOKED_AT_TIKTOK, WHO_ACTS, as_card, as_shown, outcome_text
from tiktok_linking_client import Account, LinkSession, StackRefused, StackUnreachable


def create_app(settings: Settings) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=secrets.token_bytes(32),  # a restart signs everybody out, which a sample may do
        SESSION_COOKIE_NAME="acme_session",  # cookies ignore ports: the stack's share this host
        SESSION_COOKIE_SECURE=False,  # True wherever the product has https, which loopback has not
        SESSION_COOKIE_SAMESITE="Lax",  # Strict would be missing on the way back from TikTok
        MAX_CONTENT_LENGTH=16_384,
    )
    stack = settings.stack()
    # Whose link sessions are whose, on the server: a user may come back in another browser. A real
    # product has a table for this.
    started: dict[str, list[str]] = {}
    link_pages = urlsplit(settings.link_pages_url)

    def current_user() -> str:
        if "user" not in session:
            if request.endpoint == "came_back":
                # Back in a browser where nobody is signed in: after the sign-in it goes on here.
                session["after_sign_in"] = request.full_path
            flash("Please sign in first.", "bad")
            abort(redirect(url_for("dashboard"), 303))
        return str(session["user"])

    def own_accounts() -> list[Account]:
        linked = stack.list_accounts(end_user_id=current_user())
        return [account for account in linked if account.status != "unlinked"]

    def own_account(account_id: str) -> Account:
        """Find the account among the signed-in user's: an id from a browser opens nobody else's."""
        accounts = {account.id: account for account in own_accounts()}
        return accounts[account_id] if account_id in accounts else abort(404)

    def own_link_session() -> str:
        """Accept what the signed-in user started: a link that somebody else made ends here."""
        link_session = request.args.get("link_session", "")
        return link_session if link_session in started.get(current_user(), []) else abort(403)

    def go(link_session: LinkSession) -> ResponseReturnValue:
        """Send the browser to the session's page, or tell its address to the page's script."""
        # A few, because people open several tabs.
        started[current_user()] = [*started.get(current_user(), [])[-4:], link_session.id]
        if "mode" in request.form:
            return {"url": link_session.url, "expires_at": link_session.expires_at.isoformat()}
        return redirect(str(link_session.url), 303)

    def finish() -> tuple[str, str]:
        """Complete where the stack left that to our login, and tell how it ended.

        The stack's word counts, not the query's: anybody can write `error=` into an address.
        """
        link_session = own_link_session()
        completion_code = request.args.get("completion_code")
        if completion_code:
            # What went wrong is the session's reason; trying it again is for people.
            with suppress(StackRefused):
                stack.complete_link_session(link_session, completion_code, current_user())
        return outcome_text(stack.link_session(link_session))

    def wishes() -> dict[str, str]:
        """What every session of this product asks for, and where it comes back to."""
        in_pop_up = request.form.get("mode") == "popup"
        endpoint = "came_back_in_pop_up" if in_pop_up else "came_back"
        # From the settings, not from what the browser says our host is.
        return {
            "end_user_label": current_user(),
            "return_url": settings.origin + url_for(endpoint),
            "completion": settings.completion,
        }

    @app.before_request
    def check_where_it_comes_from() -> Response | None:
        if request.host != urlsplit(settings.origin).netloc:
            return redirect(settings.origin)  # one host name, because the session cookie has one
        if request.method == "POST":
            sent, expected = request.form.get("csrf", ""), session.get("csrf", "")
            if not expected or not secrets.compare_digest(sent.encode(), expected.encode()):
                abort(400)
        return None

    @app.context_processor
    def for_every_page() -> dict[str, str | None]:
        session.setdefault("csrf", secrets.token_urlsafe(32))
        return {"csrf": session["csrf"], "user": session.get("user")}

    @app.after_request
    def add_security_headers(answer: Response) -> Response:
        # connect.js asks the stack for the status. Browsers apply form-action to redirects too:
        # "Connect" posts here and ends at the stack.
        stack_origin = f"{link_pages.scheme}://{link_pages.netloc}"
        answer.headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self'; "
            f"connect-src 'self' {stack_origin}; form-action 'self' {stack_origin}; "
            "img-src data:; base-uri 'none'; frame-ancestors 'none'"
        )
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        if request.endpoint != "static":
            answer.headers["Cache-Control"] = "no-store"
        return answer

    def sorry(text: str, status: int, support_code: str = "") -> ResponseReturnValue:
        page = render_template(
            "message.html", title="That did not work", text=text, support_code=support_code
        )
        return page, status

    def did_not_work(text: str, support_code: str = "") -> ResponseReturnValue:
        if request.method == "POST" and "mode" not in request.form:
            # Told on the list: somebody who reloads a form's answer would send the form again.
            flash(f"{text} Support code: {support_code}" if support_code else text, "bad")
            return redirect(url_for("dashboard"), 303)
        return sorry(text, 502, support_code)

    @app.errorhandler(StackRefused)
    def explain_refusal(refusal: StackRefused) -> ResponseReturnValue:
        text = WHO_ACTS.get(refusal.action_by, "Please tell Acme support.")
        return did_not_work(text, refusal.request_id)

    @app.errorhandler(StackUnreachable)
    @app.errorhandler(requests.RequestException)
    def explain_outage(_: Exception) -> ResponseReturnValue:
        return did_not_work("A service could not be reached. Please try again in a few minutes.")

    @app.errorhandler(400)
    def explain_stale_form(_: Exception) -> ResponseReturnValue:
        return sorry("This page was open for too long. Please go back and try again.", 400)

    @app.errorhandler(403)
    def explain_foreign_link_session(_: Exception) -> ResponseReturnValue:
        return sorry("This connection was not started here by you. Nothing is shown.", 403)

    @app.errorhandler(404)
    def explain_not_found(_: Exception) -> ResponseReturnValue:
        return sorry("There is nothing here.", 404)

    # Signing in. A real product has a password here; the rest does not depend on how.

    @app.get("/")
    def dashboard() -> ResponseReturnValue:
        if "user" not in session:
            return render_template("sign_in.html")
        accounts = own_accounts()
        return render_template(
            "dashboard.html",
            accounts=[as_card(account) for account in accounts],
            shown=[as_shown(account) for account in accounts],
        )

    @app.post("/sign-in")
    def sign_in() -> ResponseReturnValue:
        user = request.form.get("user", "").strip()
        if not 1 <= len(user) <= 64:
            flash("Please enter a name of at most 64 characters.", "bad")
        else:
            goes_on = session.get("after_sign_in", url_for("dashboard"))
            session.clear()  # nothing of whoever used this browser before
            session["user"] = user
            return redirect(goes_on, 303)
        return redirect(url_for("dashboard"), 303)

    @app.post("/sign-out")
    def sign_out() -> ResponseReturnValue:
        session.clear()
        return redirect(url_for("dashboard"), 303)

    # Connecting: in this window, or in a pop-up that the page's script opens and then watches.

    @app.get(f"/scripts/<any({', '.join(repr(name) for name in BROWSER_FILES)}):name>")
    def browser_file(name: str) -> ResponseReturnValue:
        """A product of your own keeps copies of these two among its static files."""
        return send_from_directory(BROWSER_FILES[name].parent, name)

    @app.post("/connect")
    def connect() -> ResponseReturnValue:
        return go(stack.create_link_session(current_user(), **wishes()))

    @app.post("/accounts/<account_id>/reconnect")
    def reconnect(account_id: str) -> ResponseReturnValue:
        return go(stack.relink(own_account(account_id).id, **wishes()))

    @app.get("/tiktok/return")
    def came_back() -> ResponseReturnValue:
        kind, text = finish()
        flash(text, kind)
        return redirect(url_for("dashboard"), 303)

    @app.get("/tiktok/return/pop-up")
    def came_back_in_pop_up() -> ResponseReturnValue:
        _, text = finish()
        return render_template(
            "message.html", title=text, text="You can close this window.", closes=True
        )

    # Using and ending a connection.

    @app.post("/accounts/<account_id>/profile")
    def show_profile(account_id: str) -> ResponseReturnValue:
        profile = profile_of(stack, own_account(account_id).id, settings.tiktok_api_url)
        text = f"TikTok says: {profile.get('display_name', 'no name')}"
        if "follower_count" in profile:
            text += f", {int(profile['follower_count']):,} followers"
        flash(f"{text}.", "good")
        return redirect(url_for("dashboard"), 303)

    @app.get("/accounts/<account_id>/disconnect")
    def ask_before_disconnecting(account_id: str) -> ResponseReturnValue:
        return render_template("disconnect.html", account=as_card(own_account(account_id)))

    @app.post("/accounts/<account_id>/disconnect")
    def disconnect(account_id: str) -> ResponseReturnValue:
        revoked = stack.unlink(own_account(account_id).id).revoked_at_tiktok
        flash(REVOKED_AT_TIKTOK[revoked], "good" if revoked else "warn")
        return redirect(url_for("dashboard"), 303)

    return app
