"""/v2/auth/authorize/: what TikTok checks in a request, and how it sends the browser back."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from local.tiktok.people import Person
from local.tiktok.portal import App, Platform
from local.tiktok.settings import Settings


class PageRefused(Exception):
    """TikTok shows its own page that names a field; the app hears nothing of it [field]."""

    def __init__(self, field: str, explanation: str) -> None:
        super().__init__(field)
        self.field = field
        self.explanation = explanation


@dataclass(frozen=True, slots=True)
class CallbackError:
    """What an unsuccessful callback carries; `error_type` is undocumented but seen [field]."""

    error: str
    error_type: str | None = None
    description: str | None = None


# As TikTok's own iOS kit words a cancellation [field]; other wordings have been seen.
CANCELLED = CallbackError("access_denied", description="User cancelled authorization")
# How a refusal of the person looks is not known; a type tells it from a cancellation [assumed].
NOT_ELIGIBLE = CallbackError(
    "access_denied", "user_not_eligible", "The user is not eligible for authorization"
)
# Two mistakes in the portal that have been seen as callbacks [field].
NOT_A_TARGET_USER = CallbackError("access_denied", "non_sandbox_target")
APP_NOT_READY = CallbackError("unauthorized_client", "client_key")


class CallbackRefused(Exception):
    """The browser goes back to the app with an error."""

    def __init__(self, reason: CallbackError) -> None:
        super().__init__(reason.error)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class AuthorizeRequest:
    """The query of an authorization request, as sent and not yet believed."""

    client_key: str
    redirect_uri: str
    response_type: str
    scopes: tuple[str, ...]
    state: str | None
    code_challenge: str | None
    code_challenge_method: str | None
    # disable_auto_auth=1: show the consent page even to somebody who consented before [web].
    always_ask: bool

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "AuthorizeRequest":
        return cls(
            client_key=query.get("client_key", ""),
            redirect_uri=query.get("redirect_uri", ""),
            response_type=query.get("response_type", ""),
            # A comma list [web]; a space makes one unknown scope of two.
            scopes=tuple(dict.fromkeys(s for s in query.get("scope", "").split(",") if s)),
            state=query.get("state"),
            code_challenge=query.get("code_challenge"),
            code_challenge_method=query.get("code_challenge_method"),
            always_ask=query.get("disable_auto_auth") == "1",
        )

    @classmethod
    def from_url(cls, url: str) -> "AuthorizeRequest":
        return cls.from_query(dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)))

    def check(self, app: App | None, settings: Settings) -> App:
        """The app that asks, if all that it asks is in order.

        Raises:
            PageRefused: the first field that is not, in TikTok's order.
            CallbackRefused: where `redirect_errors` is set and TikTok tells the app.
        """
        if app is None:
            raise PageRefused("client_key", "No app has this client key.")
        if not self.redirect_uri or not app.accepts_redirect(self.redirect_uri):
            raise PageRefused(
                "redirect_uri",
                "It is not among the registered redirect URIs of this app, byte for byte.",
            )
        if not app.approved:
            if settings.redirect_errors:
                raise CallbackRefused(APP_NOT_READY)
            raise PageRefused("client_key", "The app is not approved or lacks Login Kit.")
        if self.response_type != "code":
            raise PageRefused("response_type", "It must be code.")
        if not self.scopes:
            raise PageRefused("scope", "At least one scope is needed, as a comma list.")
        if missing := [scope for scope in self.scopes if scope not in app.scopes]:
            raise PageRefused("scope", f"The app does not have {', '.join(missing)}.")
        return app

    def check_proof_key(self, app: App) -> None:
        """PKCE: needed on the desktop [desktop], ignored on the web [field].

        The content of the challenge is not looked at here, which is why a base64url challenge
        seems to work until the code is exchanged [field].
        """
        if app.platform is not Platform.DESKTOP:
            return
        if not self.code_challenge:
            raise PageRefused("code_challenge", "A desktop app has to send one.")
        if self.code_challenge_method != "S256":
            raise PageRefused("code_challenge_method", "It must be S256.")


def check_target(app: App, person: Person, settings: Settings) -> None:
    """A sandbox lets in its target users alone [sandbox]."""
    if not app.sandbox or person.name in app.target_users:
        return
    if settings.redirect_errors:
        raise CallbackRefused(NOT_A_TARGET_USER)
    raise PageRefused("non_sandbox_target", "This user is not a target user of the sandbox.")


def success_url(
    request: AuthorizeRequest, code: str, granted: tuple[str, ...], settings: Settings
) -> str:
    """`code`, `scopes` (plural: what was granted) and `state` [web]."""
    parameters = {"code": code, "scopes": ",".join(granted)}
    if request.state is not None:
        parameters["state"] = request.state
    return _callback(request.redirect_uri, parameters, settings)


def error_url(request: AuthorizeRequest, reason: CallbackError, settings: Settings) -> str:
    """`error` and what explains it; whether `state` comes too is not sure [field]."""
    parameters = {"error": reason.error}
    if reason.error_type:
        parameters["error_type"] = reason.error_type
    if reason.description:
        parameters["error_description"] = reason.description
    if settings.state_on_error == "empty":
        parameters["state"] = ""
    elif settings.state_on_error == "echo" and request.state is not None:
        parameters["state"] = request.state
    return _callback(request.redirect_uri, parameters, settings)


def _callback(redirect_uri: str, parameters: Mapping[str, str], settings: Settings) -> str:
    # Seen percent-encoded [field]; both forms mean the same, so a client must take both.
    safe = "*!," if settings.code_encoding == "literal" else ""
    return f"{redirect_uri}?{urlencode(parameters, quote_via=quote, safe=safe)}"
