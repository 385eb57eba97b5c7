"""`python -m local.tiktok`: the simulated TikTok as a process of its own.

Environment:
    TIKTOK_PORT  the port on 127.0.0.1 (3001)
    TIKTOK_APPS  JSON list of registered apps: name, client_key, client_secret, platform (web or
                 desktop), redirect_uris, scopes, and where wanted sandbox, target_users,
                 webhook_url, title, approved, any_redirect (portal.py)
    CLOCK_FILE   file with the shared clock's offset in seconds; without it, real time

Prints one line when it serves. SIGTERM and SIGINT stop it, with exit code 0; a port that is taken
ends it with 1, a wrong environment with 2.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from local.clock import SharedClock
from local.tiktok.portal import PortalRefused, apps_from_json
from local.tiktok.server import TikTokServer

_DEFAULT_PORT = "3001"
_HIGHEST_PORT = 65_535


def main(env: Mapping[str, str] = os.environ) -> int:
    port = env.get("TIKTOK_PORT") or _DEFAULT_PORT
    if not port.isdecimal() or int(port) > _HIGHEST_PORT:
        return _failed(f"TIKTOK_PORT must be a port number, not {port!r}", code=2)
    try:
        apps = apps_from_json(env.get("TIKTOK_APPS") or "[]")
    except PortalRefused as refused:
        return _failed(f"TIKTOK_APPS: {refused}", code=2)
    try:
        server = TikTokServer(apps, now=_clock(env), port=int(port))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return _failed(f"port {port} (TIKTOK_PORT) cannot be used: {reason}", code=1)

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with server:
        names = ", ".join(app.name for app in apps)
        print(f"simulated TikTok ready on {server.base_url} (apps: {names})", flush=True)
        stopping.wait()
    return 0


def _clock(env: Mapping[str, str]) -> Callable[[], datetime]:
    offset_file = env.get("CLOCK_FILE")
    if not offset_file:
        return lambda: datetime.now(UTC)
    return SharedClock(Path(offset_file)).now


def _failed(problem: str, *, code: int) -> int:
    print(f"simulated TikTok: {problem}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
