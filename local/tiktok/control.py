"""The controls over HTTP, under /_control: for people, scripts and tests in other processes.

GET  /settings                    every switch (settings.py)
POST /settings                    change some; answers all
POST /faults                      {endpoint, kind, times?, retry_after?, seconds?, commit?,
                                  grant_type?} (faults.py); GET lists, DELETE calls off
GET  /state                       {grants, tokens, calls}: tokens by hash, no secret
POST /calls/reset                 count from 0
POST /reset                       as new
POST /consent                     {authorize_url, user? | open_id?, approve_scopes?,
                                  deny_scopes?, action?} answers {redirect}; action is approve,
                                  cancel, refuse, misconfigured, or error with error, error_type
                                  and error_description
GET  /users                       who there is, with their open_id for each app
POST /users                       {user, display_name?} adds one
POST /users/{open_id}/remove      {reason: 0-5}: ends the grant, sends the webhook
POST /users/{open_id}/scopes      {scopes}: leaves a living grant only these
GET  /apps                        the registered apps
POST /apps/{name or client_key}   change what a portal lets change, the secret too
GET  /webhooks                    what was sent, with the answers
POST /webhooks                    {event, app?, content?, open_id?, create_time?} sends any event
POST /webhooks/deliver            {everything?}: attempts what is due on the shared clock
"""

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, jsonify, request

from local.tiktok.authorization import (
    CANCELLED,
    NOT_A_TARGET_USER,
    NOT_ELIGIBLE,
    CallbackError,
    PageRefused,
)
from local.tiktok.faults import Fault, FaultRefused
from local.tiktok.people import Person
from local.tiktok.portal import App
from local.tiktok.settings import SettingsRefused
from local.tiktok.simulation import ControlRefused, NotKnown, TikTok

_REFUSALS: dict[str, CallbackError] = {
    "cancel": CANCELLED,
    "refuse": NOT_ELIGIBLE,
    "misconfigured": NOT_A_TARGET_USER,
}


def control(tiktok: TikTok) -> Blueprint:
    controls = Blueprint("control", __name__, url_prefix="/_control")

    # What goes on

    @controls.get("/state")
    def state() -> Response:
        return jsonify(tiktok.state())

    @controls.post("/calls/reset")
    def reset_calls() -> Response:
        tiktok.reset_calls()
        return jsonify({"calls": tiktok.calls()})

    @controls.post("/reset")
    def reset() -> Response:
        tiktok.reset()
        return jsonify({"settings": tiktok.settings.as_json()})

    # How TikTok behaves

    @controls.get("/settings")
    def settings() -> Response:
        return jsonify(tiktok.settings.as_json())

    @controls.post("/settings")
    def change_settings() -> Response:
        return jsonify(tiktok.change_settings(_body()).as_json())

    @controls.get("/faults")
    def faults() -> Response:
        return jsonify({"waiting": tiktok.faults.waiting()})

    @controls.post("/faults")
    def add_fault() -> Response:
        given = _body()
        times = given.pop("times", 1)
        tiktok.faults.add(Fault.from_mapping(given), times)
        return faults()

    @controls.delete("/faults")
    def clear_faults() -> Response:
        tiktok.faults.clear()
        return faults()

    # Apps and users

    @controls.get("/apps")
    def apps() -> Response:
        return jsonify({"apps": [_shown_app(app) for app in tiktok.apps()]})

    @controls.post("/apps/<name_or_key>")
    def change_app(name_or_key: str) -> Response:
        return jsonify(_shown_app(tiktok.change_app(name_or_key, _body())))

    @controls.get("/users")
    def users() -> Response:
        return jsonify({"users": [_shown_person(tiktok, one) for one in tiktok.people()]})

    @controls.post("/users")
    def add_user() -> Response:
        given = _body("user", "display_name")
        name = _text(given, "user")
        display_name = given.get("display_name")
        if not isinstance(display_name, str | None):
            raise ControlRefused("display_name must be a string")
        return jsonify(_shown_person(tiktok, tiktok.add_person(name, display_name)))

    @controls.post("/users/<open_id>/remove")
    def remove(open_id: str) -> Response:
        reason = _body("reason").get("reason", 1)
        if not isinstance(reason, int):
            raise ControlRefused("reason must be a whole number from 0 to 5")
        ended = tiktok.remove(open_id, reason)
        return jsonify({"open_id": open_id, "reason": reason, "ended_grants": ended})

    @controls.post("/users/<open_id>/scopes")
    def leave_scopes(open_id: str) -> Response:
        scopes = _scopes(_body("scopes"), "scopes") or ()
        return jsonify({"open_id": open_id, "grants": tiktok.leave_scopes(open_id, scopes)})

    @controls.post("/consent")
    def consent() -> Response:
        given = _body(
            "authorize_url", "user", "open_id", "approve_scopes", "deny_scopes", "action",
            "error", "error_type", "error_description",
        )  # fmt: skip
        try:
            sent_to = tiktok.consent(
                _text(given, "authorize_url"),
                person=_who(tiktok, given),
                approve_scopes=_scopes(given, "approve_scopes"),
                deny_scopes=_scopes(given, "deny_scopes") or (),
                reason=_reason(given),
            )
        except PageRefused as refused:
            # What a browser would show; there is no redirect to give.
            page = {"field": refused.field, "explanation": refused.explanation}
            return _answered({"redirect": None, "page": page}, 409)
        return jsonify({"redirect": sent_to})

    # Webhooks

    @controls.get("/webhooks")
    def webhooks() -> Response:
        return jsonify({"events": tiktok.outbox.history()})

    @controls.post("/webhooks")
    def announce() -> Response:
        given = _body("app", "event", "content", "open_id", "create_time")
        named = given.get("app")
        app = next((a for a in tiktok.apps() if named in (None, a.name, a.client_key)), None)
        if app is None:
            raise NotKnown(f"no app {named}")
        created = given.get("create_time")
        if isinstance(created, bool) or not isinstance(created, int | None):
            raise ControlRefused("create_time must be a whole number of seconds")
        content = given.get("content", {})
        queued = tiktok.announce(
            app,
            _text(given, "event"),
            content if isinstance(content, str) else json.dumps(content),
            open_id=given.get("open_id"),
            created_at=tiktok.now() if created is None else datetime.fromtimestamp(created, UTC),
        )
        return jsonify({"queued": queued})

    @controls.post("/webhooks/deliver")
    def deliver() -> Response:
        everything = _body("everything").get("everything", False)
        if not isinstance(everything, bool):
            raise ControlRefused("everything must be true or false")
        return jsonify(tiktok.outbox.deliver(everything=everything))

    # Refusals

    @controls.errorhandler(SettingsRefused)
    @controls.errorhandler(FaultRefused)
    @controls.errorhandler(ControlRefused)
    def refused(problem: ValueError) -> Response:
        status = 404 if isinstance(problem, NotKnown) else 400
        return _answered({"error": str(problem)}, status)

    return controls


def _body(*known: str) -> dict[str, Any]:
    """The JSON object of the request, whatever its content type: curl sends a form's by default."""
    if not request.data and not request.get_data():
        return {}
    try:
        given = json.loads(request.get_data())
    except ValueError as error:
        raise ControlRefused("the body is not JSON") from error
    if not isinstance(given, dict):
        raise ControlRefused("the body must be a JSON object")
    if known and (unknown := sorted(set(given) - set(known))):
        raise ControlRefused(f"unknown key {', '.join(unknown)}; known: {', '.join(known)}")
    return given


def _text(given: dict[str, Any], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value:
        raise ControlRefused(f"{key} must be a string that is not empty")
    return value


def _scopes(given: dict[str, Any], key: str) -> Collection[str] | None:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        return [scope for scope in value.split(",") if scope]
    if not isinstance(value, list) or not all(isinstance(scope, str) for scope in value):
        raise ControlRefused(f"{key} must be a list of scopes")
    return value


def _who(tiktok: TikTok, given: dict[str, Any]) -> Person | None:
    if "open_id" in given:
        return tiktok.account(_text(given, "open_id"))[1]
    if "user" not in given:
        return None
    name = _text(given, "user")
    person = tiktok.person(name)
    if person is None:
        known = ", ".join(one.name for one in tiktok.people())
        raise NotKnown(f"no user {name}; known: {known}")
    return person


def _reason(given: dict[str, Any]) -> CallbackError | None:
    action = given.get("action", "approve")
    if action == "approve":
        return None
    if action == "error":
        return CallbackError(
            _text(given, "error"), given.get("error_type"), given.get("error_description")
        )
    if action not in _REFUSALS:
        raise ControlRefused(f"action must be one of approve, error, {', '.join(_REFUSALS)}")
    return _REFUSALS[action]


def _shown_app(app: App) -> dict[str, object]:
    return {
        "name": app.name,
        "client_key": app.client_key,
        "platform": app.platform.value,
        "redirect_uris": app.redirect_uris,
        "scopes": app.scopes,
        "sandbox": app.sandbox,
        "target_users": app.target_users,
        "webhook_url": app.webhook_url,
        "approved": app.approved,
    }


def _shown_person(tiktok: TikTok, person: Person) -> dict[str, object]:
    return {
        "user": person.name,
        "display_name": person.display_name,
        "username": person.username,
        "standing": person.standing.value,
        "union_id": person.union_id,
        "open_ids": {app.client_key: person.open_id(app.client_key) for app in tiktok.apps()},
    }


def _answered(told: dict[str, object], status: int) -> Response:
    answer = jsonify(told)
    answer.status_code = status
    return answer
