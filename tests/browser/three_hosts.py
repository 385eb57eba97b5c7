"""A product, a stack and a TikTok on three hosts, as far as a browser's script can tell them apart.

Real pages by a real server, because what is tried is the browser's own handling of their headers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from local.configuration import ROOT
from tiktok_linking.web.http import Response

SESSION = "ls_" + "S" * 43
STATIC = ROOT / "layers" / "linking" / "tiktok_linking" / "web" / "static"

_PRODUCT = """<!doctype html><title>Acme</title>
<script type="module" src="/static/connect.js"></script>
<script type="module" src="/product.js"></script>
<button>Connect</button>"""
# Notes what came of it where a test can wait for it. `before` and `options` are the test's.
_PRODUCT_SCRIPT = """
const { port1, port2 } = new MessageChannel();
const later = [];
port1.onmessage = () => later.shift()();
const soon = (task) => (later.push(task), port2.postMessage(null)); // a task that no clock holds up
globalThis.told = [];
globalThis.outcomes = [];
let underWay = 0;
const show = () => Object.assign(document.body.dataset, {
  ready: true, underWay, told: told.join(" "), outcomes: outcomes.length,
});
const fetchIt = globalThis.fetch;
globalThis.fetch = async (...asked) => {
  underWay += 1;
  show();
  try {
    const answer = await fetchIt(...asked);
    await answer.clone().text();
    return answer;
  } finally {
    soon(() => show((underWay -= 1)));
  }
};
document.querySelector("button").addEventListener("click", async () => {
  globalThis.before?.();
  const createSession = (how) => {
    globalThis.how = how;
    return fetch("/start", { method: "POST" }).then((answer) => answer.json());
  };
  const onEvent = (event) => show(told.push(event.status ?? event.type));
  try {
    outcomes.push(await TikTokLink.connect({ createSession, onEvent, ...globalThis.options }));
  } catch (error) {
    const { name, code, url, cause } = error;
    outcomes.push({ name, code, url, cause: String(cause) });
  }
  show();
});
show();
"""
_RETURN_SCRIPT = 'import { returned } from "/static/connect.js"; returned();'


@dataclass
class ThreeHosts:
    """What the three answer; a test changes it between two steps."""

    port: int = 0
    policies: dict[str, str] = field(default_factory=dict)
    """Cross-Origin-Opener-Policy by host."""
    status: dict[str, Any] = field(default_factory=lambda: {"status": "pending"})
    status_code: int = 200
    session: Any = None
    announces: bool = True
    pages: dict[tuple[str, str], Response] = field(default_factory=dict)
    """Pages as the stack makes them, by host and path."""
    asked: list[str] = field(default_factory=list)
    """The paths that were asked for."""

    def url(self, host: str, path: str = "/") -> str:
        """An address of a host."""
        return f"http://{host}.localhost:{self.port}{path}"

    def asked_for_the_status(self) -> int:
        """How often."""
        return sum(path.endswith("/status") for path in self.asked)

    def answer(self, host: str, path: str) -> tuple[int, str, str, dict[str, str]]:
        """Status, type, body and headers of an answer."""
        if made := self.pages.get((host, path)):
            return made.status, "text/html", made.body, dict(made.headers)
        match host, path:
            case "app", "/":
                return 200, "text/html", _PRODUCT, self._product_policy()
            case "app", "/product.js":
                return 200, "text/javascript", _PRODUCT_SCRIPT, {}
            case "app", "/returned.js":
                return 200, "text/javascript", _RETURN_SCRIPT, {}
            case "app", "/static/connect.js" | "/static/tiktok-accounts.js":
                script = (STATIC / path.rpartition("/")[2]).read_text("utf-8")
                return 200, "text/javascript", script, {}
            case "app", "/accounts":
                loaded = '<script type="module" src="/static/tiktok-accounts.js"></script>'
                element = (
                    '<tiktok-accounts app-name="Acme"><p>Without a script</p></tiktok-accounts>'
                )
                page = f"<!doctype html><html lang=en><title>Accounts</title>{loaded}{element}"
                return 200, "text/html", page, self._product_policy()
            case "app", "/start":
                url = self.url("link", f"/connect/{SESSION}")
                given = {"url": url} if self.session is None else self.session
                return 200, "application/json", json.dumps(given), {}
            case "app", "/return":
                self.status = {"status": "completed"}
                loaded = '<script type="module" src="/returned.js"></script>'
                page = f"<title>Connected</title>{loaded if self.announces else ''}"
                return 200, "text/html", page, self._product_policy()
            case "link", asked if asked == f"/connect/{SESSION}/status":
                allowed = {"Access-Control-Allow-Origin": self.url("app", "")}
                return self.status_code, "application/json", json.dumps(self.status), allowed
            case "link", _:
                onward = self.url("tiktok")
                return 200, "text/html", f"<title>Link</title><a href='{onward}'>Continue</a>", {}
            case "tiktok", "/":
                self.status = {"status": "started"}
                back = self.url("app", f"/return?link_session={SESSION}")
                return 200, "text/html", f"<title>TikTok</title><a href='{back}'>Authorize</a>", {}
        return 404, "text/plain", "", {}

    def _product_policy(self) -> dict[str, str]:
        allowed = f"script-src 'self'; connect-src 'self' {self.url('link', '')}"
        return {"Content-Security-Policy": f"default-src 'none'; {allowed}"}


@contextmanager
def three_hosts() -> Iterator[ThreeHosts]:
    """Serve them until the end of the block."""
    hosts = ThreeHosts()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            split = urlsplit(self.path)
            host = self.headers["Host"].partition(".")[0]
            hosts.asked.append(split.path)
            assert "code" not in parse_qs(split.query)
            status, kind, text, headers = hosts.answer(host, split.path)
            body = text.encode()
            self.send_response(status)
            if policy := hosts.policies.get(host):
                headers = {**headers, "Cross-Origin-Opener-Policy": policy}
            headers = {**headers, "Content-Type": f"{kind}; charset=utf-8"}
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hosts.port = int(server.server_address[1])
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hosts
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
