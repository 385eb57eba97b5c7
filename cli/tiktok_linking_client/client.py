"""A method for each route that a backend calls."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.session
import requests

from tiktok_linking_client.errors import LinkingError, StackRefused, StackUnreachable
from tiktok_linking_client.models import Account, LinkSession, Token, Unlinked
from tiktok_linking_client.signing import send, signed_request

_TRIES = 4
_TIMEOUT = (3.05, 31)  # API Gateway itself gives up after 30 s


class LinkingClient:
    """One stack, with the credentials and the region that the AWS command line would use.

    A request is sent again only where that does no harm, after the time that the stack named, and
    within ``patience_seconds`` in all; 0 never waits. It may be shared by threads.
    """

    def __init__(
        self,
        api_url: str,
        *,
        region: str | None = None,
        credentials: Any = None,
        patience_seconds: float = 10,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        session = botocore.session.get_session()
        self._api_url = api_url.rstrip("/")
        self._region = region or _region_in(api_url) or session.get_config_variable("region")
        self._credentials = credentials or session.get_credentials()
        self._patience = patience_seconds
        self._sleep = sleep
        self._http = requests.Session()
        if not self._region:
            raise ValueError("no region: give region=, or set AWS_DEFAULT_REGION")
        if self._credentials is None:
            raise ValueError("no AWS credentials were found: log in as for the AWS command line")

    # ---- linking -------------------------------------------------------------------------------

    def create_link_session(
        self,
        end_user_id: str,
        *,
        idempotency_key: str | None = None,
        **wishes: Any,
    ) -> LinkSession:
        """Start an attempt; send the user's browser to its ``url``.

        ``wishes`` are the request's other fields: end_user_label, return_url, completion, scopes,
        tenant_id, app_registration, expires_in, locale, metadata, switch_account.
        """
        return self._begin(
            "/v1/link-sessions", wishes | {"end_user_id": end_user_id}, idempotency_key
        )

    def relink(
        self, account_id: str, *, idempotency_key: str | None = None, **wishes: Any
    ) -> LinkSession:
        """Start an attempt to link this very account again: it keeps its id."""
        return self._begin(f"{_account(account_id)}/relink", wishes, idempotency_key)

    def complete_link_session(
        self, session_id: str, completion_code: str, end_user_id: str
    ) -> Account:
        """Make the link for whoever is signed in, where the session's completion is `app`.

        Never sent twice by itself: the code works once. If no answer came, `link_session` tells.
        """
        body = {"completion_code": completion_code, "end_user_id": end_user_id}
        told = self._call("POST", f"{_session(session_id)}/complete", body, is_repeatable=False)
        return Account.from_json(told)

    def link_session(self, session_id: str) -> LinkSession:
        """How an attempt stands."""
        return LinkSession.from_json(self._call("GET", _session(session_id)))

    def cancel_link_session(self, session_id: str) -> LinkSession:
        """Withdraw it."""
        return LinkSession.from_json(self._call("DELETE", _session(session_id)))

    # ---- accounts ------------------------------------------------------------------------------

    def list_accounts(
        self,
        *,
        end_user_id: str | None = None,
        tenant_id: str | None = None,
        status: str | None = None,
        relink_within_days: int | None = None,
    ) -> list[Account]:
        """All of them, page by page. Those that are unlinked too, unless ``status`` says which."""
        days = None if relink_within_days is None else str(relink_within_days)
        query = {
            "end_user_id": end_user_id,
            "tenant_id": tenant_id,
            "status": status,
            "relink_within_days": days,
        }
        found: list[Account] = []
        cursor = None
        while True:
            page = self._call("GET", "/v1/accounts", query=query | {"cursor": cursor})
            found += map(Account.from_json, page["items"])
            cursor = page["next_cursor"]
            if not cursor:
                return found

    def account(self, account_id: str) -> Account:
        """How one is doing, and until when."""
        return Account.from_json(self._call("GET", _account(account_id)))

    def get_token(
        self,
        account_id: str,
        *,
        min_ttl_seconds: int | None = None,
        required_scopes: Collection[str] | None = None,
        purpose: str | None = None,
        rejected: bool = False,
    ) -> Token:
        """An access token that works. ``rejected`` says that TikTok refused the last one."""
        body = {
            "min_ttl_seconds": min_ttl_seconds,
            "required_scopes": None if required_scopes is None else list(required_scopes),
            "purpose": purpose,
            "rejected": rejected or None,
        }
        given = {name: value for name, value in body.items() if value is not None}
        return Token.from_json(self._call("POST", f"{_account(account_id)}/token", given))

    def unlink(self, account_id: str, *, revoke: bool = True) -> Unlinked:
        """End the link, and with the last one of its TikTok account the access at TikTok.

        Not sent twice after a lost answer: the second would only say that there is no link.
        """
        query = {"revoke": "true" if revoke else "false"}
        told = self._call("DELETE", _account(account_id), query=query, is_repeatable=False)
        return Unlinked.from_json(told)

    # ---- sending -------------------------------------------------------------------------------

    def _begin(self, path: str, wishes: Mapping[str, Any], key: str | None) -> LinkSession:
        # With a key of its own a request that is sent twice makes one session.
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return LinkSession.from_json(self._call("POST", path, wishes, headers=headers))

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str | None] | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool = True,
    ) -> dict[str, Any]:
        patience = self._patience
        tries = 0
        while True:
            tries += 1
            try:
                return self._send(method, path, body, query, headers, is_repeatable)
            except LinkingError as error:
                # A throttled request reached nobody: that alone may be repeated whatever it was.
                may_repeat = error.is_retryable and (is_repeatable or error.code == "throttled")
                jitter = random.uniform(0, 0.2 * 2**tries)  # noqa: S311 - no secret
                wait = jitter if error.retry_after is None else error.retry_after
                if not may_repeat or tries == _TRIES or wait > patience:
                    raise
                patience -= wait
                self._sleep(wait)

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str | None] | None,
        headers: Mapping[str, str] | None,
        is_repeatable: bool,
    ) -> dict[str, Any]:
        request = signed_request(
            method,
            self._api_url + path,
            body,
            query,
            headers,
            credentials=self._credentials,
            region=str(self._region),
        )
        try:
            answer = send(self._http, request, timeout=_TIMEOUT)
        except requests.RequestException as error:
            host = urlsplit(self._api_url).netloc
            # `from None`: the cause's text has the whole address, with the link session in it.
            raise StackUnreachable(host, error, is_repeatable=is_repeatable) from None
        if not answer.ok:
            raise StackRefused.from_answer(answer)
        return dict(answer.json())


def _account(account_id: str) -> str:
    return f"/v1/accounts/{quote(account_id, safe='')}"


def _session(session_id: str) -> str:
    return f"/v1/link-sessions/{quote(session_id, safe='')}"


def _region_in(api_url: str) -> str | None:
    """The region in API Gateway's own address; a domain of one's own has none."""
    parts = (urlsplit(api_url).hostname or "").split(".")
    return parts[2] if len(parts) > 3 and parts[1] == "execute-api" else None
