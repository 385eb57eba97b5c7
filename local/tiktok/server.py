"""The simulated TikTok as a server: one object to start, control and stop."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from local.tiktok.authorization import CallbackError
from local.tiktok.consent_pages import consent_pages
from local.tiktok.control import control
from local.tiktok.faults import Fault
from local.tiktok.open_api import open_api
from local.tiktok.portal import App
from local.tiktok.serving import WsgiServer
from local.tiktok.simulation import ControlRefused, TikTok


def web_application(tiktok: TikTok) -> Flask:
    """Everything that this TikTok serves, as one WSGI application."""
    application = Flask("local.tiktok", static_folder=None)
    application.register_blueprint(consent_pages(tiktok))
    application.register_blueprint(open_api(tiktok))
    application.register_blueprint(control(tiktok))

    @application.errorhandler(HTTPException)
    def no_such_thing(error: HTTPException) -> Response | HTTPException:
        """JSON where programs ask, and the usual page elsewhere."""
        told: dict[str, object] = {"error": error.name, "path": request.path}
        if request.path.startswith("/_control"):
            paths = {str(rule) for rule in application.url_map.iter_rules()}
            told["known"] = sorted(path for path in paths if path.startswith("/_control"))
        elif not request.path.startswith(("/v2/oauth", "/v2/user", "/v2/video")):
            return error
        answer = jsonify(told)
        answer.status_code = error.code or 500
        return answer

    return application


class TikTokServer:
    """A simulated TikTok on a loopback port, in threads of this process.

    The methods mirror the controls under /_control; `tiktok` is the simulation itself. `sleep` is
    how latency and slow answers take their time.

    Raises:
        OSError: the port is taken. It is bound by the constructor and served between `start` and
            `stop`, or inside a `with` block.
        PortalRefused: an app that TikTok's portal would not register.
    """

    def __init__(
        self,
        apps: Sequence[App | Mapping[str, Any]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        port: int = 0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        registered = [app if isinstance(app, App) else App.from_mapping(app) for app in apps]
        self.tiktok = TikTok(registered, now=now, sleep=sleep)
        self._server = WsgiServer(port, web_application(self.tiktok))

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def authorize_url(self) -> str:
        return f"{self.base_url}/v2/auth/authorize/"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def __enter__(self) -> "TikTokServer":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # Controls

    def settings(self, **changes: object) -> dict[str, object]:
        return self.tiktok.change_settings(changes).as_json()

    def fault(self, endpoint: str, kind: str, *, times: int = 1, **more: object) -> None:
        """Let an endpoint fail; `more` is retry_after, seconds, commit, grant_type."""
        fault = Fault.from_mapping({"endpoint": endpoint, "kind": kind, **more})
        self.tiktok.faults.add(fault, times)

    def remove(self, open_id: str, reason: int = 1) -> int:
        return self.tiktok.remove(open_id, reason)

    def state(self) -> dict[str, Any]:
        return self.tiktok.state()

    def calls(self) -> dict[str, int]:
        return self.tiktok.calls()

    def reset(self) -> None:
        self.tiktok.reset()

    def deliver_webhooks(self, *, everything: bool = False) -> dict[str, int]:
        return self.tiktok.outbox.deliver(everything=everything)

    def add_user(self, name: str, display_name: str | None = None) -> None:
        self.tiktok.add_person(name, display_name)

    def open_id(self, user: str, client_key: str) -> str:
        person = self.tiktok.person(user)
        if person is None:
            raise ControlRefused(f"no user {user}")
        return person.open_id(client_key)

    def consent(
        self,
        authorize_url: str,
        *,
        user: str | None = None,
        approve_scopes: Collection[str] | None = None,
        deny_scopes: Collection[str] = (),
        reason: CallbackError | None = None,
    ) -> str:
        """Consent as a user, and answer where the browser would be sent to."""
        person = None
        if user is not None:
            person = self.tiktok.person(user)
            if person is None:
                raise ControlRefused(f"no user {user}")
        return self.tiktok.consent(
            authorize_url,
            person=person,
            approve_scopes=approve_scopes,
            deny_scopes=deny_scopes,
            reason=reason,
        )
