"""The app registrations' client secrets, from one Secrets Manager secret, cached with an age.

The secret holds ``{"<registration>": {"current": "…", "previous": "…", "pending": "…"}}``; the
client keys are no secrets and come from the parameter ``AppRegistrations``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeGuard

from botocore.exceptions import BotoCoreError, ClientError

from tiktok_linking.accounts import Secret
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.oauth import ClientCredentials

_KEPT_FOR = timedelta(minutes=5)
_IN_ORDER = ("current", "previous", "pending")


class SecretsManagerCredentials:
    """Implements the port Credentials."""

    def __init__(
        self,
        client: Any,
        *,
        secret_arn: str,
        client_keys: Mapping[str, str],
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._secret_arn = secret_arn
        self._client_keys = client_keys
        self._now = now
        self._secrets: dict[str, list[Secret]] = {}
        self._read_at: datetime | None = None
        self._lock = threading.Lock()

    def candidates(self, registration: str) -> Sequence[ClientCredentials]:
        """See ports.Credentials. Empty where the secret has not been filled in."""
        with self._lock:  # one read serves all threads of a batch
            now = self._now()
            if self._read_at is None or not now - _KEPT_FOR < self._read_at <= now:
                try:
                    self._secrets = self._read()
                except StoreUnavailable:
                    # An old secret serves through an outage, unless TikTok has refused it.
                    if self._read_at is None:
                        raise
                self._read_at = now
        key = self._client_keys.get(registration)
        if key is None:
            return ()
        return [ClientCredentials(key, secret) for secret in self._secrets.get(registration, [])]

    def reread(self) -> None:
        """See ports.Credentials."""
        self._read_at = None

    def _read(self) -> dict[str, list[Secret]]:
        try:
            text = self._client.get_secret_value(SecretId=self._secret_arn)["SecretString"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return {}  # created empty; the stack's output says how to fill it
            raise StoreUnavailable("secret " + error.response["Error"]["Code"]) from None
        except BotoCoreError as error:
            raise StoreUnavailable("secret " + type(error).__name__) from None
        try:
            stored = json.loads(text)
        except ValueError:
            stored = {}
        if not isinstance(stored, dict):
            return {}
        return {
            name: [Secret(text) for kind in _IN_ORDER if _is_filled(text := fields.get(kind))]
            for name, fields in stored.items()
            if isinstance(fields, dict)
        }


def _is_filled(text: object) -> TypeGuard[str]:
    return isinstance(text, str) and bool(text)
