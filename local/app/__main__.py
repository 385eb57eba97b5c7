"""Serve the sample product on loopback until SIGTERM or Ctrl-C."""

from __future__ import annotations

import signal
import sys

from werkzeug.serving import WSGIRequestHandler, make_server

from local.app.settings import Settings
from local.app.web import create_app


class QuietRequestHandler(WSGIRequestHandler):
    """Log no addresses: link session ids travel in them, and an id opens the connect page."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        return None


def main() -> None:
    settings = Settings.from_env()
    server = make_server(
        "127.0.0.1",
        settings.port,  # a taken port ends the process with a line that names it
        create_app(settings),
        threaded=True,
        request_handler=QuietRequestHandler,
    )
    # Both by name: a program started in the background of a script inherits SIGINT ignored.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    print(f"Acme is ready on {settings.origin}", flush=True)
    try:
        server.serve_forever()
    finally:
        # Stopping has begun: a second signal must not break it off half-way.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        server.server_close()


if __name__ == "__main__":
    main()
