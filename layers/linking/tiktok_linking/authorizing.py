"""Authorizing: a browser on its way to TikTok.

Apart from ``linking``, which takes it back: a person waits for a cold ``authorize``, and needs
nothing of what saves a pair.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tiktok_linking.accounts import Secret
from tiktok_linking.oauth import authorize_url, is_loopback, new_code_verifier
from tiktok_linking.sessions import ATTEMPT_LIFETIME, Attempt, State, secret_hash

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tiktok_linking.ports import Sessions


@dataclass(frozen=True, slots=True)
class Departure:
    """Where to send the browser, and the cookie that binds it to this attempt."""

    url: str = field(repr=False)
    cookie_name: str
    cookie_value: Secret


def start(
    sessions: Sessions,
    *,
    session_id: str,
    nonce: str,
    authorize_base: str,
    client_keys: Mapping[str, str],
    redirect_uri: str,
    now: datetime,
) -> Departure:
    """Start an attempt: one conditional write, then TikTok's address.

    Nothing the browser sent reaches that address: scopes, key and redirect come from the session
    and the configuration.

    Raises:
        NotFound, LinkSessionExpired, LinkSessionUsed, LinkSessionCancelled, RateLimited.
    """
    state = State.new(session_id)
    cookie = Secret(secrets.token_urlsafe(32))
    verifier = new_code_verifier() if is_loopback(redirect_uri) else None
    attempt = Attempt(
        cookie_hash=secret_hash(cookie.reveal()),
        redirect_uri=redirect_uri,
        expires_at=now + ATTEMPT_LIFETIME,
        code_verifier=verifier,
    )
    session = sessions.start(session_id, nonce, state.attempt_key, attempt, now=now)
    url = authorize_url(
        authorize_base,
        client_key=client_keys[session.app_registration],
        scopes=session.scopes,
        redirect_uri=redirect_uri,
        state=state.encode(),
        code_verifier=verifier,
        always_ask=session.switch_account,
    )
    return Departure(url, state.cookie_name, cookie)
