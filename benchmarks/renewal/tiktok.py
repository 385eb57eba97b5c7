"""A token endpoint that rotates strictly: each refresh token works once.

Its tokens name their owner and a serial number, so that a first pair needs no exchange and a pair
that was saved wrongly is refused the next time.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from urllib.parse import parse_qs

from tiktok_linking.accounts import Secret
from tiktok_linking.oauth import TokenAnswer

CLIENT_KEY = "awbenchmarkclient"
CLIENT_SECRET = "benchmark-client-secret"  # noqa: S105 - of an app that exists nowhere
ACCESS_LIVES = timedelta(hours=24)
REFRESH_LIVES = timedelta(days=180)
SCOPES = (
    "user.info.basic",
    "user.info.profile",
    "user.info.stats",
    "video.list",
    "video.publish",
    "video.upload",
)
TOKEN_LENGTH = 100
CODE = "code-of-"
"""A code is this and the open id of the person who consented."""


class TokenEndpoint:
    """Which serial of whom is alive, and how often it was asked."""

    def __init__(self) -> None:
        self.answered = 0
        self.refused = 0
        self.profiles = 0
        self._alive: dict[str, int] = {}

    def answer(self, body: bytes) -> tuple[int, bytes]:
        """Status and body for one form."""
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if form.get("client_secret") != CLIENT_SECRET or CLIENT_KEY not in form.values():
            return self._refuse("invalid_client")
        if form.get("grant_type") == "authorization_code":
            return self._issue(form.get("code", "").removeprefix(CODE), 0)
        if form.get("grant_type") != "refresh_token":
            return self._refuse("unsupported_grant_type")
        open_id, _, rest = form.get("refresh_token", "").removeprefix("rft.").partition("!")
        serial = rest.rpartition("*")[2]
        if not serial.isdigit() or int(serial) != self._alive.get(open_id, 0):
            return self._refuse("invalid_grant")
        return self._issue(open_id, int(serial) + 1)

    def respond(self, path: str, body: bytes, authorization: str) -> tuple[int, bytes]:
        """Status and body for a request to any address that is asked in the life of a link."""
        if path.startswith("/v2/oauth/revoke"):
            return 200, b"{}"
        if not path.startswith("/v2/user/info"):
            return self.answer(body)
        self.profiles += 1
        token = authorization.removeprefix("Bearer ").removeprefix("act.")
        user = {
            "open_id": token.partition("!")[0],
            "union_id": "5c2f1d3b8a9e4c7d8e6f0a1b2c3d4e5f",
            "display_name": "Ada Example",
            "avatar_url": "https://p16.example.com/5c2f1d3b8a9e4c7d8e6f0a1b2c3d4e5f.jpeg",
            "username": "ada",
        }
        error = {"code": "ok", "message": "", "log_id": "20261122000000BENCHMARK"}
        return 200, json.dumps({"data": {"user": user}, "error": error}).encode()

    def _issue(self, open_id: str, serial: int) -> tuple[int, bytes]:
        self._alive[open_id] = serial
        self.answered += 1
        return 200, json.dumps(
            {
                "access_token": _token("act", open_id, serial),
                "expires_in": int(ACCESS_LIVES.total_seconds()),
                "open_id": open_id,
                "refresh_expires_in": int(REFRESH_LIVES.total_seconds()),
                "refresh_token": _token("rft", open_id, serial),
                "scope": ",".join(SCOPES),
                "token_type": "Bearer",
            }
        ).encode()

    def _refuse(self, error: str) -> tuple[int, bytes]:
        self.refused += 1
        return 400, json.dumps(
            {"error": error, "error_description": "…", "log_id": "20261122000000BENCHMARK"}
        ).encode()


def first_pair(open_id: str, issued_at: datetime) -> TokenAnswer:
    """The pair that an exchange would have given."""
    return TokenAnswer(
        access_token=Secret(_token("act", open_id, 0)),
        refresh_token=Secret(_token("rft", open_id, 0)),
        open_id=open_id,
        scopes=SCOPES,
        issued_at=issued_at,
        expires_at=issued_at + ACCESS_LIVES,
        relink_by=issued_at + REFRESH_LIVES,
    )


def _token(kind: str, open_id: str, serial: int) -> str:
    head, tail = f"{kind}.{open_id}!", f"*{serial:04d}"
    return head + "x" * (TOKEN_LENGTH - len(head) - len(tail)) + tail
