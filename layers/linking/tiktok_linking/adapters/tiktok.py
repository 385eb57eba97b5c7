"""TikTok over HTTPS: one pool of connections, bounded answers, and no surprises from the library.

Of requests its adapter is used, without a session over it: a session would follow redirects (and
send the body again on 307), keep cookies, read ~/.netrc and proxies of the environment. Secrets
travel in bodies alone, never in a URL.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode

import requests
import urllib3

from tiktok_linking import oauth
from tiktok_linking.accounts import Profile, Secret
from tiktok_linking.adapters.patience import PatientAdapter
from tiktok_linking.errors import NoAnswer, ProviderError, Unavailable
from tiktok_linking.oauth import ClientCredentials, TokenAnswer

CONNECT_TIMEOUT_SECONDS = 3.0
REVOKE_READ_SECONDS = 10.0
PROFILE_READ_SECONDS = 3.0
MOST_BYTES = 256 * 1024
_HEADERS = {
    "Accept": "application/json",
    # Compressed answers could be bombs; TikTok's are a few hundred bytes.
    "Accept-Encoding": "identity",
    "User-Agent": "tiktok-link",
}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class TikTokClient:
    """Implements the port TikTok."""

    def __init__(self, http: PatientAdapter, now: Callable[[], datetime]) -> None:
        self._http = http
        self._now = now

    def exchange(
        self,
        client: ClientCredentials,
        *,
        code: Secret,
        redirect_uri: str,
        code_verifier: str | None,
        read_timeout: timedelta,
    ) -> TokenAnswer:
        """See ports.TikTok."""
        form = oauth.exchange_form(
            client, code=code, redirect_uri=redirect_uri, code_verifier=code_verifier
        )
        return self._token(form, read_timeout, is_refresh=False)

    def refresh(
        self, client: ClientCredentials, refresh_token: Secret, *, read_timeout: timedelta
    ) -> TokenAnswer:
        """See ports.TikTok."""
        return self._token(oauth.refresh_form(client, refresh_token), read_timeout, is_refresh=True)

    def revoke(self, client: ClientCredentials, access_token: Secret) -> None:
        """See ports.TikTok."""
        form = oauth.revoke_form(client, access_token)
        oauth.read_revoke_answer(*self._post(oauth.REVOKE_PATH, form, REVOKE_READ_SECONDS))

    def profile(self, access_token: Secret, *, now: datetime) -> Profile | None:
        """See ports.TikTok."""
        try:
            status, _, body = self._send(
                "GET",
                f"{oauth.USER_INFO_PATH}?fields={','.join(oauth.PROFILE_FIELDS)}",
                None,
                {"Authorization": f"Bearer {access_token.reveal()}"},
                PROFILE_READ_SECONDS,
            )
        except ProviderError:
            return None
        user = oauth.read_profile(status, body)
        if not user:
            return None
        return Profile(
            display_name=(user.get("display_name") or "")[:200] or None,
            avatar_url=user.get("avatar_url"),
            union_id=user.get("union_id"),
            fetched_at=now,
        )

    def _token(
        self, form: dict[str, str], read_timeout: timedelta, *, is_refresh: bool
    ) -> TokenAnswer:
        asked_at = self._now()
        status, headers, body = self._post(
            oauth.TOKEN_PATH, form, max(1.0, read_timeout.total_seconds())
        )
        if status < 300 and not body:
            raise NoAnswer  # a connection that ended in the head looks like an empty answer
        return oauth.read_token_answer(
            status, headers, body, asked_at=asked_at, is_refresh=is_refresh
        )

    def _post(
        self, path: str, form: dict[str, str], read_seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        return self._send("POST", path, form, _FORM, read_seconds)

    def _request(
        self, method: str, path: str, form: dict[str, str] | None, headers: dict[str, str]
    ) -> requests.PreparedRequest:
        request = requests.PreparedRequest()
        # As the settings have checked it: to take it apart and spell it anew, each time, is a third
        # of what a request costs here.
        request.method, request.url = method, self._http.server + path
        request.prepare_headers(_HEADERS | headers)  # which refuses a line break in one
        if form is not None:
            request.prepare_body(urlencode(form), None)
        return request

    def _send(
        self,
        method: str,
        path: str,
        form: dict[str, str] | None,
        headers: dict[str, str],
        read_seconds: float,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request. The errors carry no text of the library: it quotes the URL."""
        ends = time.monotonic() + CONNECT_TIMEOUT_SECONDS + read_seconds
        try:
            with self._http.send(
                self._request(method, path, form, headers),
                timeout=(CONNECT_TIMEOUT_SECONDS, read_seconds),
                stream=True,
            ) as response:
                if 300 <= response.status_code < 400:
                    # Nobody follows it, and what it says is no word of TikTok's about a token.
                    return response.status_code, response.headers, b""
                body = bytearray()
                whole = response.headers.get("Content-Length", "")
                # read1 gives what has arrived, so that a dripping answer meets the bound.
                while chunk := response.raw.read1(16384, decode_content=False):
                    body += chunk
                    if str(len(body)) == whole:
                        break  # an answer that has arrived counts, however late it is
                    if len(body) > MOST_BYTES:
                        raise Unavailable("oversized_answer", may_have_acted=True)
                    if time.monotonic() > ends:
                        raise NoAnswer
                if whole.isdigit() and len(body) < int(whole):
                    raise NoAnswer
                return response.status_code, response.headers, bytes(body)
        except requests.ConnectTimeout:
            raise Unavailable("connect_failed", may_have_acted=False) from None
        except requests.ConnectionError as error:
            if _never_sent(error):
                raise Unavailable("connect_failed", may_have_acted=False) from None
            raise NoAnswer from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, UnicodeError):
            raise NoAnswer from None  # the last: a token that no header can carry


def _never_sent(error: requests.ConnectionError) -> bool:
    """Whether the connection was never made, so that TikTok cannot have acted."""
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None)
    if isinstance(reason, urllib3.exceptions.SSLError):
        # Only a refused certificate ends before the request; other alerts can come after it.
        return isinstance(reason.args[0], ssl.SSLCertVerificationError)
    return isinstance(
        reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
    )
