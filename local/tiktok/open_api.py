"""TikTok's API as an app's server sees it: tokens, revocation, the user's profile and videos.

The OAuth endpoints and the others differ in shape: `error` is a string in a flat object on the
first [errors], and an object that is there even on success on the second [user-info].
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from flask import Blueprint, Response, jsonify, make_response, redirect, request

from local.tiktok.faults import Fault, FaultKind
from local.tiktok.ledger import (
    CLIENT_TOKEN_SECONDS,
    Grant,
    OAuthRefused,
    TokenAnswer,
    token_value,
)
from local.tiktok.people import Person
from local.tiktok.portal import BASIC_SCOPE, App
from local.tiktok.serving import HangUp, hang_up
from local.tiktok.simulation import OTHER_OPEN_ID, TikTok

# Which scope opens which field [user-info].
USER_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    BASIC_SCOPE: (
        "open_id",
        "union_id",
        "avatar_url",
        "avatar_url_100",
        "avatar_large_url",
        "display_name",
    ),
    "user.info.profile": (
        "bio_description",
        "profile_deep_link",
        "profile_web_link",
        "is_verified",
        "username",
    ),
    "user.info.stats": ("follower_count", "following_count", "likes_count", "video_count"),
}
_SCOPE_OF_FIELD = {field: scope for scope, names in USER_FIELDS.items() for field in names}

_FORM = "application/x-www-form-urlencoded"


class _ApiRefused(Exception):
    """An error of the API proper, with its documented status [api-errors]."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message


class _Outage(NamedTuple):
    """How one family of endpoints words the failures that a fault asks for."""

    too_many: Callable[[], Response]
    internal: Callable[[], Response]


def open_api(tiktok: TikTok) -> Blueprint:
    api = Blueprint("open_api", __name__)

    # The OAuth endpoints

    @api.post("/v2/oauth/token/")
    def token() -> Response:
        grant_type = request.form.get("grant_type")
        return _serve(tiktok, "token", lambda: _token(tiktok), _OAUTH, grant_type)

    @api.post("/v2/oauth/revoke/")
    def revoke() -> Response:
        return _serve(tiktok, "revoke", lambda: _revoke(tiktok), _OAUTH)

    @api.route("/v2/oauth/token", methods=["GET", "POST"], endpoint="token_without_slash")
    @api.route("/v2/oauth/revoke", methods=["GET", "POST"], endpoint="revoke_without_slash")
    def without_slash() -> Response:
        # Clients that follow it turn the POST into a GET and lose the body [field].
        return make_response(redirect(f"{request.path}/", code=301))

    # The API proper

    @api.get("/v2/user/info/")
    def user_info() -> Response:
        return _serve(tiktok, "user_info", lambda: _user_info(tiktok), _API)

    @api.post("/v2/video/list/")
    def video_list() -> Response:
        return _serve(tiktok, "video_list", lambda: _video_list(tiktok), _API)

    @api.errorhandler(OAuthRefused)
    def oauth_refused(refused: OAuthRefused) -> Response:
        status = 200
        if tiktok.settings.error_status != 200:
            status = 401 if refused.error == "invalid_client" else 400
        return _oauth_error(tiktok, refused.error, refused.description, status)

    @api.errorhandler(_ApiRefused)
    def api_refused(refused: _ApiRefused) -> Response:
        always_200 = tiktok.settings.api_error_status == "always_200"
        return _api_error(
            tiktok, refused.code, refused.message, 200 if always_200 else refused.status
        )

    _OAUTH = _Outage(
        lambda: _oauth_error(tiktok, "rate_limit_exceeded", "Too many requests.", 429),
        lambda: _oauth_error(tiktok, "server_error", "Other internal errors.", 500),
    )
    _API = _Outage(
        lambda: _api_error(tiktok, "rate_limit_exceeded", "Too many requests.", 429),
        lambda: _api_error(tiktok, "internal_error", "Something went wrong.", 500),
    )
    return api


def _serve(
    tiktok: TikTok,
    endpoint: str,
    act: Callable[[], Response],
    outage: _Outage,
    grant_type: str | None = None,
) -> Response:
    """Answer a request, unless a fault is waiting for it."""
    tiktok.count(endpoint)
    if latency := tiktok.settings.latency_ms:
        tiktok.sleep(latency / 1_000)
    fault = tiktok.faults.take(endpoint, grant_type)
    return act() if fault is None else _play(fault, act, outage, tiktok.sleep)


def _play(
    fault: Fault,
    act: Callable[[], Response],
    outage: _Outage,
    sleep: Callable[[float], None],
) -> Response:
    match fault.kind:
        case FaultKind.REFUSE:
            hang_up(request.environ, HangUp.RESET)
            return make_response(b"")
        case FaultKind.DROP_AFTER_COMMIT:
            _act_whatever_comes(act)
            hang_up(request.environ, HangUp.CLOSE)
            return make_response(b"")
        case FaultKind.TOO_MANY:
            answer = outage.too_many()
            if fault.retry_after is not None:
                answer.headers["Retry-After"] = str(fault.retry_after)
            return answer
        case FaultKind.ERROR_BEFORE:
            return outage.internal()
        case FaultKind.ERROR_AFTER:
            _act_whatever_comes(act)
            return outage.internal()
        case FaultKind.HTML:
            if fault.commit:
                _act_whatever_comes(act)
            page = (
                "<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>"
            )
            return make_response(page, 502)
        case FaultKind.SLOW:
            if not fault.commit:
                sleep(fault.seconds)
                return act()
            try:
                return act()
            finally:
                sleep(fault.seconds)


def _act_whatever_comes(act: Callable[[], Response]) -> None:
    """Let the request take effect; a refusal has none, and the fault hides it either way."""
    try:
        act()
    except (OAuthRefused, _ApiRefused):
        return


# /v2/oauth/token/


def _token(tiktok: TikTok) -> Response:
    app = _client(tiktok)
    grant_type = request.form.get("grant_type", "")
    match grant_type:
        case "authorization_code":
            tiktok.count("token.authorization_code")
            answer = tiktok.ledger.exchange(
                app,
                code=_required("code"),
                redirect_uri=_required("redirect_uri"),
                code_verifier=request.form.get("code_verifier"),
            )
            return _pair(tiktok, answer, is_refresh=False)
        case "refresh_token":
            tiktok.count("token.refresh_token")
            answer = tiktok.ledger.refresh(app, refresh_token=_required("refresh_token"))
            return _pair(tiktok, answer, is_refresh=True)
        case "client_credentials":
            # Of no use for linked accounts: it serves other products [client].
            tiktok.count("token.client_credentials")
            return _json(
                tiktok,
                {
                    "access_token": token_value("clt.", tiktok.settings.token_characters),
                    "expires_in": CLIENT_TOKEN_SECONDS,
                    "token_type": "Bearer",
                },
            )
        case "":
            raise _malformed()
        case _:
            raise OAuthRefused("unsupported_grant_type", "The grant type is not supported.")


def _pair(tiktok: TikTok, answer: TokenAnswer, *, is_refresh: bool) -> Response:
    """The flat success object, in the shape that the settings ask for [tokens-old]."""
    settings = tiktok.settings
    number: Callable[[int], int | str] = str if settings.numbers_as_strings else int
    told: dict[str, object] = {
        "access_token": answer.access_token,
        "expires_in": number(answer.expires_in),
        "open_id": answer.open_id,
        "refresh_expires_in": number(answer.refresh_expires_in),
        "refresh_token": answer.refresh_token,
        # Seen in another order than the one that was asked for [field].
        "scope": ",".join(sorted(answer.scopes, reverse=True)),
        "token_type": "Bearer",
    }
    if settings.omit_refresh_expires_in:
        del told["refresh_expires_in"]
    if is_refresh and settings.omit_refresh_token:
        del told["refresh_token"]
    if is_refresh and settings.other_open_id_on_refresh:
        told["open_id"] = OTHER_OPEN_ID
    return _json(tiktok, told)


def _revoke(tiktok: TikTok) -> Response:
    app = _client(tiktok)
    tiktok.revoke(app, _required("token"))
    if tiktok.settings.revoke_body == "object":
        return _json(tiktok, {})
    # Said to be JSON and yet nothing: what a client that always parses stumbles over.
    return _logged(tiktok, Response(b"", 200, mimetype="application/json"))


def _client(tiktok: TikTok) -> App:
    """The app whose key and secret stand in the form, the only place where they are taken."""
    if request.mimetype != _FORM:
        raise OAuthRefused("invalid_request", f"Only `{_FORM}` is accepted as Content-Type.")
    client_key = _required("client_key")
    secret = request.form.get("client_secret")
    if not secret:
        raise OAuthRefused("invalid_request", "Client secret is missed in request.")
    app = tiktok.app(client_key)
    if app is None or not secrets.compare_digest(app.client_secret.encode(), secret.encode()):
        raise OAuthRefused("invalid_client", "Client key or secret is incorrect.")
    return app


def _required(name: str) -> str:
    value = request.form.get(name)
    if not value:
        raise _malformed()
    return value


def _malformed() -> OAuthRefused:
    return OAuthRefused("invalid_request", "The request parameters are malformed.")


# /v2/user/info/ and /v2/video/list/


def _user_info(tiktok: TikTok) -> Response:
    grant = _bearer(tiktok)
    fields = _fields()
    known = [name for name in fields if name in _SCOPE_OF_FIELD]  # unknown ones vanish [field]
    for name in known:
        _demand_scope(tiktok, grant, _SCOPE_OF_FIELD[name])
    profile = _profile(grant.person, grant.open_id)
    return _data(tiktok, {"user": {name: profile[name] for name in known}})


def _video_list(tiktok: TikTok) -> Response:
    """Two videos at most: enough to see whether a token works."""
    grant = _bearer(tiktok)
    fields = _fields()
    _demand_scope(tiktok, grant, "video.list")
    videos = [
        {
            "id": f"70000000000000000{number:02}",
            "title": f"Video {number} of {grant.person.display_name}",
            "duration": 15 * number,
            "create_time": int(grant.granted_at.timestamp()),
        }
        for number in range(1, min(grant.person.video_count, 2) + 1)
    ]
    shown = [{name: video[name] for name in fields if name in video} for video in videos]
    return _data(tiktok, {"videos": shown, "cursor": 0, "has_more": False})


def _bearer(tiktok: TikTok) -> Grant:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    grant = tiktok.ledger.grant_of(value.strip()) if scheme.lower() == "bearer" else None
    if grant is None:
        raise _ApiRefused(
            401, "access_token_invalid", "The access token is invalid or not found in the request."
        )
    return grant


def _fields() -> list[str]:
    fields = [name.strip() for name in request.args.get("fields", "").split(",") if name.strip()]
    if not fields:
        raise _ApiRefused(400, "invalid_params", "Fields is required.")
    return fields


def _demand_scope(tiktok: TikTok, grant: Grant, scope: str) -> None:
    if scope in grant.scopes:
        return
    # One field too many fails the whole call, by 401 in the field, by 400 in the table
    # [field, api-errors].
    code = tiktok.settings.missing_scope_error
    raise _ApiRefused(
        401 if code == "scope_not_authorized" else 400,
        code,
        "The user did not authorize the scope required for completing this request.",
    )


def _profile(person: Person, open_id: str) -> Mapping[str, object]:
    # `.example` never resolves: nothing of the simulation leads to another host.
    avatar = f"https://avatars.tiktok.example/{person.name}"
    return {
        "open_id": open_id,
        "union_id": person.union_id,
        "avatar_url": f"{avatar}.jpeg",
        "avatar_url_100": f"{avatar}-100.jpeg",
        "avatar_large_url": f"{avatar}-large.jpeg",
        "display_name": person.display_name,
        "bio_description": f"{person.display_name} in a simulation",
        "profile_deep_link": f"https://vm.tiktok.example/{person.name}",
        "profile_web_link": f"https://www.tiktok.example/@{person.username}",
        "is_verified": person.is_verified,
        "username": person.username,
        "follower_count": person.follower_count,
        "following_count": person.following_count,
        "likes_count": person.likes_count,
        "video_count": person.video_count,
    }


# Shapes


def _oauth_error(tiktok: TikTok, error: str, description: str, status: int) -> Response:
    log_id = _log_id(tiktok)
    told = {"error": error, "error_description": description, "log_id": log_id}
    return _json(tiktok, told, status=status, log_id=log_id)


def _api_error(tiktok: TikTok, code: str, message: str, status: int) -> Response:
    log_id = _log_id(tiktok)
    told = {"data": {}, "error": {"code": code, "message": message, "log_id": log_id}}
    return _json(tiktok, told, status=status, log_id=log_id)


def _data(tiktok: TikTok, data: Mapping[str, object]) -> Response:
    log_id = _log_id(tiktok)
    told = {"data": data, "error": {"code": "ok", "message": "", "log_id": log_id}}
    return _json(tiktok, told, log_id=log_id)


def _json(
    tiktok: TikTok, told: Mapping[str, object], *, status: int = 200, log_id: str | None = None
) -> Response:
    answer = jsonify(told)
    answer.status_code = status
    return _logged(tiktok, answer, log_id)


def _logged(tiktok: TikTok, answer: Response, log_id: str | None = None) -> Response:
    answer.headers["x-tt-logid"] = log_id or _log_id(tiktok)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _log_id(tiktok: TikTok) -> str:
    """The time to the second and twenty characters, by which TikTok's support finds a request."""
    return f"{tiktok.now():%Y%m%d%H%M%S}{secrets.token_hex(10).upper()}"
