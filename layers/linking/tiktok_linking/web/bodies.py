"""What callers may send: every field checked, unknown ones refused, before anything is read.

No field takes null: what is not meant is left out, so that a PATCH has one reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tiktok_linking.accounts import RefreshMode, Secret, Status
from tiktok_linking.directory import Query
from tiktok_linking.errors import InvalidRequest
from tiktok_linking.oauth import is_scope
from tiktok_linking.sessions import Completion, SessionRequest, is_completion_code

MOST_SCOPES = 20
MOST_METADATA_KEYS = 20
_LOCALE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}")
# Control characters, and those that turn the direction of the text around them.
_CONTROL = re.compile("[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """``POST /v1/accounts/{id}/token``."""

    min_ttl: timedelta
    required_scopes: tuple[str, ...]
    purpose: str | None
    rejected: bool


@dataclass(frozen=True, slots=True)
class AccountChange:
    """``PATCH /v1/accounts/{id}``: None leaves a field as it is."""

    metadata: dict[str, str] | None
    mode: RefreshMode | None


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """``POST /v1/link-sessions/{id}/complete``."""

    completion_code: Secret
    end_user_id: str


_ATTEMPT_FIELDS = ("return_url", "completion", "expires_in", "locale", "switch_account", "scopes")


def read_session_request(body: Mapping[str, Any]) -> SessionRequest:
    """Read the body that creates a session. Raises InvalidRequest naming the field."""
    known = ("end_user_id", "end_user_label", "tenant_id", "app_registration", "metadata")
    _only(body, *known, *_ATTEMPT_FIELDS)
    if "end_user_id" not in body:
        raise InvalidRequest("end_user_id is missing")
    return _session_request(body, end_user_id=_identifier(body, "end_user_id"))


def read_relink_request(body: Mapping[str, Any]) -> SessionRequest:
    """Read the body that relinks an account: whose it is, is told by the account."""
    _only(body, *_ATTEMPT_FIELDS, "end_user_label")
    return _session_request(body, end_user_id="")


def _session_request(body: Mapping[str, Any], *, end_user_id: str) -> SessionRequest:
    scopes = body.get("scopes", {})
    if not isinstance(scopes, dict):
        raise InvalidRequest("scopes is not an object with required and optional")
    _only(scopes, "required", "optional")
    completion = None
    if "completion" in body:
        completion = Completion(_choice(body, "completion", tuple(Completion), "browser"))
    return SessionRequest(
        end_user_id=end_user_id,
        end_user_label=_text(body, "end_user_label", 200),
        tenant_id=_identifier(body, "tenant_id") if "tenant_id" in body else None,
        app_registration=_text(body, "app_registration", 32),
        scopes_required=_scopes(scopes, "required") if "scopes" in body else None,
        scopes_optional=_scopes(scopes, "optional") if "scopes" in body else None,
        return_url=_text(body, "return_url", 2048),
        completion=completion,
        expires_in=timedelta(seconds=_whole(body, "expires_in", 60, 86_400, 1800)),
        locale=_text(body, "locale", 35, _LOCALE.fullmatch),
        metadata=_metadata(body) or {},
        switch_account=_flag(body, "switch_account"),
    )


def read_completion_request(body: Mapping[str, Any]) -> CompletionRequest:
    """Read the body that completes a session. Raises InvalidRequest naming the field."""
    _only(body, "completion_code", "end_user_id")
    code = body.get("completion_code")
    if not isinstance(code, str) or not is_completion_code(code):
        raise InvalidRequest("completion_code is not one that the browser brought back")
    if "end_user_id" not in body:
        raise InvalidRequest("end_user_id is missing")
    return CompletionRequest(Secret(code), _identifier(body, "end_user_id"))


def read_token_request(body: Mapping[str, Any]) -> TokenRequest:
    """Read the body of a vend. Raises InvalidRequest naming the field."""
    _only(body, "min_ttl_seconds", "required_scopes", "purpose", "rejected")
    return TokenRequest(
        min_ttl=timedelta(seconds=_whole(body, "min_ttl_seconds", 0, 3600, 300)),
        required_scopes=_scopes(body, "required_scopes"),
        purpose=_text(body, "purpose", 100),
        rejected=_flag(body, "rejected"),
    )


def read_account_change(body: Mapping[str, Any]) -> AccountChange:
    """Read a PATCH. Raises InvalidRequest naming the field."""
    _only(body, "metadata", "refresh_mode")
    mode = None
    if "refresh_mode" in body:
        mode = RefreshMode(_choice(body, "refresh_mode", tuple(RefreshMode), "auto"))
    return AccountChange(_metadata(body), mode)


LIST_PARAMETERS = (
    "end_user_id",
    "tenant_id",
    "status",
    "relink_within_days",
    "sort",
    "limit",
    "cursor",
)


def read_list_query(query: Mapping[str, str]) -> tuple[Query, str | None]:
    """Read the parameters of a list, and its cursor."""
    _choice(query, "sort", ("relink_by",), "relink_by")
    status = _choice(query, "status", tuple(Status), "") if "status" in query else None
    within = None
    if "relink_within_days" in query:
        within = _number(query, "relink_within_days", 0, 400, 0)
    return Query(
        tenant_id=_identifier(query, "tenant_id") if "tenant_id" in query else None,
        end_user_id=_identifier(query, "end_user_id") if "end_user_id" in query else None,
        status=Status(status) if status else None,
        relink_within_days=within,
        limit=_number(query, "limit", 1, 100, 25),
    ), _text(query, "cursor", 1024)


FORECAST_PARAMETERS = ("weeks", "tenant_id")


def read_forecast_query(query: Mapping[str, str]) -> tuple[int, str | None]:
    """Read how many weeks are asked for, by default enough for 180 days, and of which tenant."""
    tenant_id = _identifier(query, "tenant_id") if "tenant_id" in query else None
    return _number(query, "weeks", 1, 53, 27), tenant_id


TIMELINE_PARAMETERS = ("limit", "cursor")


def read_timeline_query(query: Mapping[str, str]) -> tuple[int, str | None]:
    """Read how much of a timeline is asked for, and its cursor."""
    return _number(query, "limit", 1, 100, 25), _text(query, "cursor", 256)


def read_revoke_flag(query: Mapping[str, str]) -> bool:
    """Read ``?revoke=`` of an unlink; yes unless told otherwise."""
    return _choice(query, "revoke", ("true", "false"), "true") == "true"


def read_end_user(path: Mapping[str, str], query: Mapping[str, str]) -> tuple[str, str | None]:
    """Read whose accounts are meant, and of which tenant."""
    tenant_id = _identifier(query, "tenant_id") if "tenant_id" in query else None
    return _identifier(path, "end_user_id"), tenant_id


def _only(body: Mapping[str, Any], *known: str) -> None:
    if set(body) - set(known):
        raise InvalidRequest("unknown field; known: " + ", ".join(known))


def _identifier(body: Mapping[str, Any], name: str) -> str:
    """The team's own id: 1 to 256 bytes of UTF-8, kept byte for byte."""
    value = body.get(name)
    try:
        fits = isinstance(value, str) and 1 <= len(value.encode()) <= 256
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise InvalidRequest(f"{name} is not a string of 1 to 256 bytes in UTF-8")
    return str(value)


def _text(
    body: Mapping[str, Any],
    name: str,
    most: int,
    accepts: Callable[[str], object] = lambda value: not _CONTROL.search(value),
) -> str | None:
    if name not in body:
        return None
    value = body[name]
    if not isinstance(value, str) or not 1 <= len(value) <= most or not accepts(value):
        raise InvalidRequest(f"{name} is not a text of 1 to {most} characters in the right form")
    return _encodable(value, name)


def _encodable(value: str, name: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{name} is not valid Unicode") from None
    return value


def _choice(body: Mapping[str, Any], name: str, choices: tuple[str, ...], default: str) -> str:
    value = body.get(name, default)
    if not isinstance(value, str) or value not in choices:
        raise InvalidRequest(f"{name} is not one of: " + ", ".join(choices))
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} is neither true nor false")
    return value


def _whole(body: Mapping[str, Any], name: str, least: int, most: int, default: int) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequest(f"{name} is not a whole number from {least} to {most}")
    return value


def _number(query: Mapping[str, str], name: str, least: int, most: int, default: int) -> int:
    value = query.get(name, str(default))
    if not value.isascii() or not value.isdigit() or len(value) > 5:
        raise InvalidRequest(f"{name} is not a whole number from {least} to {most}")
    return _whole({name: int(value)}, name, least, most, default)


def _scopes(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = body.get(name, [])
    if (
        not isinstance(value, list)
        or len(value) > MOST_SCOPES
        or not all(isinstance(scope, str) and is_scope(scope) for scope in value)
    ):
        raise InvalidRequest(f"{name} is not a list of at most {MOST_SCOPES} TikTok scopes")
    return tuple(dict.fromkeys(value))


def _metadata(body: Mapping[str, Any]) -> dict[str, str] | None:
    if "metadata" not in body:
        return None
    value = body["metadata"]
    if (
        not isinstance(value, dict)
        or len(value) > MOST_METADATA_KEYS
        or not all(
            1 <= len(key) <= 64 and isinstance(text, str) and len(text) <= 256
            for key, text in value.items()
        )
    ):
        raise InvalidRequest(
            f"metadata is not an object of at most {MOST_METADATA_KEYS} texts"
            " (keys to 64, values to 256 characters)"
        )
    for key, text in value.items():
        _encodable(key + text, "metadata")
    if sum(len(k.encode()) + len(v.encode()) for k, v in value.items()) > 2048:
        raise InvalidRequest("metadata is larger than 2 KB")
    return dict(value)
