"""What the tests speak to the simulated TikTok with: a client, a clock, a webhook receiver."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

from local.tiktok import App, TikTokServer
from local.tiktok.portal import Platform

CALLBACK = "https://link.example.test/callback"
SCOPES = ("user.info.basic", "user.info.profile", "user.info.stats", "video.list")

WEB = App("default", "awweb00000000001", "web-secret", Platform.WEB, (CALLBACK,), SCOPES)
SECOND = App("second", "awweb00000000002", "second-secret", Platform.WEB, (CALLBACK,), SCOPES)
DESKTOP = App(
    "desktop",
    "awdesk0000000001",
    "desktop-secret",
    Platform.DESKTOP,
    ("http://127.0.0.1:*/callback", "http://localhost:4000/back"),
    SCOPES,
)
SANDBOX = App(
    "sandbox",
    "sbaw000000000001",
    "sandbox-secret",
    Platform.WEB,
    (CALLBACK,),
    SCOPES,
    sandbox=True,
    target_users=("jonas",),
)


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


class Pauses:
    """Sleeping that takes no time: it is written down, and a test may act in the meantime."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.meanwhile: Callable[[], None] | None = None

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if self.meanwhile is not None:
            self.meanwhile()


class Client:
    """An app's server, and the browser of its user, towards one simulated TikTok."""

    def __init__(self, tiktok: TikTokServer, app: App = WEB) -> None:
        self.tiktok = tiktok
        self.app = app
        self.http = requests.Session()
        self.http.trust_env = False

    def authorize_url(self, **changes: str | None) -> str:
        parameters = {
            "client_key": self.app.client_key,
            "response_type": "code",
            "scope": ",".join(SCOPES),
            "redirect_uri": CALLBACK,
            "state": "state-1",
            **changes,
        }
        sent = {name: value for name, value in parameters.items() if value is not None}
        return f"{self.tiktok.authorize_url}?{urlencode(sent)}"

    def get(self, url: str) -> requests.Response:
        return self.http.get(url, allow_redirects=False, timeout=5)

    def answer(self, url: str, **form: object) -> requests.Response:
        """Post the form of the consent page."""
        return self.http.post(url, data=form, allow_redirects=False, timeout=5)

    def code(self, *, user: str = "mina", **changes: Any) -> str:
        return query(self.tiktok.consent(self.authorize_url(**changes), user=user))["code"]

    def token(self, **form: str | None) -> requests.Response:
        whole = {
            "client_key": self.app.client_key,
            "client_secret": self.app.client_secret,
            **form,
        }
        return self.http.post(
            f"{self.tiktok.base_url}/v2/oauth/token/",
            data={name: value for name, value in whole.items() if value is not None},
            timeout=5,
        )

    def exchange(self, code: str | None, **form: str | None) -> requests.Response:
        whole = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            **form,
        }
        return self.token(**whole)

    def link(self, *, user: str = "mina", **changes: Any) -> dict[str, Any]:
        """A fresh grant's token answer."""
        return dict(self.exchange(self.code(user=user, **changes)).json())

    def refresh(self, refresh_token: str) -> requests.Response:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token)

    def revoke(self, access_token: str) -> requests.Response:
        return self.http.post(
            f"{self.tiktok.base_url}/v2/oauth/revoke/",
            data={
                "client_key": self.app.client_key,
                "client_secret": self.app.client_secret,
                "token": access_token,
            },
            timeout=5,
        )

    def user_info(self, access_token: str, fields: str = "open_id") -> requests.Response:
        return self.http.get(
            f"{self.tiktok.base_url}/v2/user/info/",
            params={"fields": fields},
            headers={"Authorization": f"Bearer {access_token}"},
            timeout=5,
        )

    def control(self, method: str, path: str, body: object = None) -> requests.Response:
        return self.http.request(
            method, f"{self.tiktok.base_url}/_control{path}", json=body, timeout=5
        )

    def works(self, access_token: str) -> bool:
        return bool(self.user_info(access_token).status_code == 200)


def query(url: str) -> dict[str, str]:
    """The query of a URL, decoded once, as every web framework does."""
    return {
        name: values[0]
        for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()
    }


@dataclass
class Delivery:
    body: bytes
    signature: str
    content_type: str


@dataclass
class Receiver:
    """An app's webhook address that remembers what came and answers what it is told to."""

    url: str
    deliveries: list[Delivery] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)


@contextmanager
def webhook_receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.deliveries.append(
                Delivery(
                    self.rfile.read(int(self.headers["Content-Length"])),
                    self.headers["TikTok-Signature"],
                    self.headers["Content-Type"],
                )
            )
            self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            receiver.came.set()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/webhooks/tiktok")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
