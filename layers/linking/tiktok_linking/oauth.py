"""TikTok's OAuth v2 protocol without a socket: build each request, read each answer.

Sources, read 2026-11: developers.tiktok.com/doc/login-kit-web (authorize),
/doc/oauth-get-a-user-access-token, /docs/en/oauth-refresh-a-user-access-token,
/docs/en/oauth-revoke-a-user-access-token, /doc/oauth-error-handling,
/doc/login-kit-desktop (PKCE), /doc/tiktok-api-v2-get-user-info. docs/tiktok.md has the details.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import NoReturn
from urllib.parse import urlencode, urlsplit

from tiktok_linking.accounts import Secret
from tiktok_linking.errors import Misconfigured, Refused, Unavailable

TOKEN_PATH = "/v2/oauth/token/"  # noqa: S105 - a path; the trailing slash matters (no redirect)
REVOKE_PATH = "/v2/oauth/revoke/"
USER_INFO_PATH = "/v2/user/info/"
BASIC_SCOPE = "user.info.basic"
PROFILE_FIELDS = ("open_id", "union_id", "avatar_url", "display_name")
"""Fields that ``user.info.basic`` covers. One field too many turns the whole call into a 401."""

RETRY_AFTER_CAP = 3600
UNTOLD_LIFETIME = 3600
"""Seconds for which an access token counts as alive when TikTok did not say."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_LOG_ID = re.compile(r"[A-Za-z0-9]{10,80}")
_SCOPE = re.compile(r"[a-z][a-z0-9_.]{1,63}")


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What authenticates one app registration at the token endpoint."""

    client_key: str
    client_secret: Secret


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A pair as TikTok issued it. ``refresh_token`` is None where a refresh returned none."""

    access_token: Secret
    refresh_token: Secret | None
    open_id: str
    scopes: tuple[str, ...] | None
    issued_at: datetime
    expires_at: datetime
    relink_by: datetime | None


class CallbackError(StrEnum):
    """The four kinds of error with which TikTok sends a browser back."""

    CANCELLED = "cancelled"
    REFUSED = "refused"
    MISCONFIGURED = "misconfigured"
    UNKNOWN = "unknown"


def is_scope(value: str) -> bool:
    """Whether this looks like a TikTok scope, so that nothing else reaches the authorize URL."""
    return bool(_SCOPE.fullmatch(value))


def is_loopback(redirect_uri: str) -> bool:
    """Whether this is TikTok's desktop flavour: http on localhost or 127.0.0.1, with PKCE."""
    parts = urlsplit(redirect_uri)
    return parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1")


def new_code_verifier() -> str:
    """43 random characters of the verifier's alphabet."""
    return secrets.token_urlsafe(32)


def code_challenge(verifier: str) -> str:
    """TikTok's challenge: the SHA-256 in lower-case **hex**, not RFC 7636's base64url."""
    return hashlib.sha256(verifier.encode()).hexdigest()


def authorize_url(
    base: str,
    *,
    client_key: str,
    scopes: tuple[str, ...],
    redirect_uri: str,
    state: str,
    code_verifier: str | None,
    always_ask: bool,
) -> str:
    """Build the address that a browser opens at TikTok. Scopes are joined by commas."""
    query = {
        "client_key": client_key,
        "response_type": "code",
        "scope": ",".join(scopes),
        "redirect_uri": redirect_uri,
        "state": state,
    }
    if always_ask:
        query["disable_auto_auth"] = "1"
    if code_verifier is not None:
        query["code_challenge"] = code_challenge(code_verifier)
        query["code_challenge_method"] = "S256"
    return f"{base}{'&' if '?' in base else '?'}{urlencode(query)}"


def exchange_form(
    client: ClientCredentials, *, code: Secret, redirect_uri: str, code_verifier: str | None
) -> dict[str, str]:
    """The body that trades a code. ``redirect_uri`` is the one the attempt was started with."""
    form = _client(client) | {
        "grant_type": "authorization_code",
        "code": code.reveal(),
        "redirect_uri": redirect_uri,
    }
    return form | ({"code_verifier": code_verifier} if code_verifier else {})


def refresh_form(client: ClientCredentials, refresh_token: Secret) -> dict[str, str]:
    """The body that spends a refresh token."""
    return _client(client) | {
        "grant_type": "refresh_token",
        "refresh_token": refresh_token.reveal(),
    }


def revoke_form(client: ClientCredentials, access_token: Secret) -> dict[str, str]:
    """The body that disconnects the app from the person's TikTok account."""
    return _client(client) | {"token": access_token.reveal()}


def _client(client: ClientCredentials) -> dict[str, str]:
    # TikTok reads client_key; a client_id beside it has broken exchanges before.
    return {"client_key": client.client_key, "client_secret": client.client_secret.reveal()}


def read_token_answer(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    asked_at: datetime,
    is_refresh: bool,
) -> TokenAnswer:
    """Read a token answer: the body decides, the HTTP status comes last.

    TikTok has answered errors under 200, so success is: access_token and open_id present (and
    refresh_token, for an exchange) and no ``error``. Lifetimes count from before the request.

    Raises:
        Refused, Misconfigured, Unavailable: see ``_raise_for``. Only Unavailable is retryable.
    """
    data = _object(body)
    access, open_id, refresh = (
        _text(data or {}, name) for name in ("access_token", "open_id", "refresh_token")
    )
    if data is None or data.get("error"):
        _raise_for(status, headers, data)
    if access is None or open_id is None or (refresh is None and not is_refresh):
        _raise_for(status, headers, None)
    expires_in = _seconds(data.get("expires_in"))
    if expires_in is None:
        # RFC 6749 5.1 only recommends it: keep the pair, and look again soon.
        expires_in = UNTOLD_LIFETIME
    remaining = _seconds(data.get("refresh_expires_in"))
    scope = data.get("scope")
    return TokenAnswer(
        access_token=Secret(access),
        refresh_token=Secret(refresh) if refresh else None,
        open_id=open_id,
        scopes=read_scopes(scope) if isinstance(scope, str) and scope else None,
        issued_at=asked_at,
        expires_at=asked_at + timedelta(seconds=expires_in),
        relink_by=None if remaining is None else asked_at + timedelta(seconds=remaining),
    )


def read_scopes(value: str) -> tuple[str, ...]:
    """Read a comma list; TikTok's order is not ours, so it is sorted."""
    return tuple(sorted({s for s in (part.strip() for part in value.split(",")) if is_scope(s)}))


def read_revoke_answer(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Accept ``{}`` or nothing; raise as ``read_token_answer`` does otherwise."""
    if status < 300 and not body.strip():
        return
    data = _object(body)
    if data is not None and data.get("error") in ("invalid_grant", "access_token_invalid"):
        raise Refused("invalid_grant", log_id=_log_id(headers, data))
    if data is None or data.get("error") or status >= 300:
        _raise_for(status, headers, data)


def read_profile(status: int, body: bytes) -> dict[str, str]:
    """Give the user's fields, or nothing: the profile is decoration.

    The envelope carries an ``error`` object on success too; ``code`` "ok" is what counts.
    """
    data = _object(body) or {}
    error = data.get("error")
    inner = data.get("data")
    user = inner.get("user") if isinstance(inner, dict) else None
    if status != 200 or not isinstance(user, dict):
        return {}
    if isinstance(error, dict) and error.get("code") not in ("ok", None):
        return {}
    texts = {name: user[name] for name in PROFILE_FIELDS if isinstance(user.get(name), str)}
    return {name: text[:2048] for name, text in texts.items() if _is_storable(text)}


# error word → (class, whether TikTok may have rotated although it says so)
_CONFIGURATION = frozenset(
    {
        "invalid_client",
        "unauthorized_client",
        "invalid_request",
        "invalid_scope",
        "unsupported_grant_type",
        "unsupported_response_type",
    }
)
_BUSY = frozenset({"temporarily_unavailable", "rate_limit_exceeded"})


def _raise_for(
    status: int, headers: Mapping[str, str], data: Mapping[str, object] | None
) -> NoReturn:
    """Sort an answer that is no success: permanent, configuration or transient."""
    word = data.get("error") if data is not None else None
    word = word if isinstance(word, str) else None  # the API's errors are objects
    log_id = _log_id(headers, data)
    wait = _retry_after(headers)
    if word == "invalid_grant":
        raise Refused("invalid_grant", log_id=log_id)
    if word in _CONFIGURATION:
        raise Misconfigured(str(word), log_id=log_id)
    if status == 429 or word in _BUSY:
        error = str(word) if word in _BUSY else "too_many_requests"
        acted = status >= 500
        raise Unavailable(error, may_have_acted=acted, retry_after=wait, log_id=log_id)
    if word is not None and word != "server_error" and status < 500:
        # A definite error we do not know by name: no pair was issued, the link is not blamed.
        known = word if word == "access_denied" else "unknown_error"
        raise Unavailable(known, may_have_acted=False, retry_after=wait, log_id=log_id)
    error = "server_error" if data is not None else "unreadable_answer"
    raise Unavailable(error, may_have_acted=True, retry_after=wait, log_id=log_id)


def read_callback_error(error: str, error_type: str | None) -> CallbackError:
    """Sort the ``error`` of a callback: it is not always the person who said no.

    ``error_type`` is undocumented but seen, for portal settings such as ``non_sandbox_target``.
    """
    if error_type == error:
        error_type = None  # says nothing more
    if error_type or error in _CONFIGURATION:
        portal = {
            "client_key",
            "redirect_uri",
            "scope",
            "code_challenge",
            "non_sandbox_target",
            "unauthorized_client",
        }
        if error in _CONFIGURATION or error_type in portal:
            return CallbackError.MISCONFIGURED
        return CallbackError.REFUSED
    if error == "access_denied":
        return CallbackError.CANCELLED
    if error in ("server_error", "temporarily_unavailable"):
        return CallbackError.UNKNOWN
    return CallbackError.REFUSED


def _object(body: bytes) -> dict[str, object] | None:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _text(data: Mapping[str, object], key: str) -> str | None:
    value = data.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= 4096 or not _is_storable(value):
        return None
    return value


def _is_storable(text: str) -> bool:
    """JSON may carry halves of surrogate pairs, which no table takes."""
    return text.isascii() or not _SURROGATES.search(text)


def _seconds(value: object) -> int | None:
    """Read a span in seconds; TikTok's numbers have been seen as strings."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = int(value)
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds <= 10 * 366 * 86400 else None


def _log_id(headers: Mapping[str, str], data: Mapping[str, object] | None) -> str | None:
    value = (data or {}).get("log_id") or headers.get("x-tt-logid")
    return value if isinstance(value, str) and _LOG_ID.fullmatch(value) else None


def _retry_after(headers: Mapping[str, str]) -> int | None:
    """Read Retry-After as seconds or as a date (RFC 9110 10.2.3), capped at an hour."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return min(int(value), RETRY_AFTER_CAP)
    try:
        # A date counts against the server's own clock, since ours may differ.
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return max(0, min(int(wait.total_seconds()), RETRY_AFTER_CAP))
