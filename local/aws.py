"""Clients for the local AWS services, made once each."""

import functools
import threading
from typing import Any

import botocore.session
from botocore.config import Config

REGION = "us-east-1"
ACCOUNT_ID = "000000000000"
ROOT_KEY = "test"  # MiniStack's root caller, also with AUTH=true
ROOT_SECRET = "test"  # noqa: S105 - the emulator's own, known to everybody


class LocalAws:
    """The emulator behind one endpoint, seen as its account's root or as a role of it."""

    def __init__(
        self, endpoint: str, *, key: str = ROOT_KEY, secret: str = ROOT_SECRET, token: str = ""
    ) -> None:
        self.endpoint = endpoint
        self._session = botocore.session.Session()
        self._session.set_credentials(key, secret, token or None)
        self._making = threading.Lock()

    @functools.cache  # noqa: B019 - one object lives as long as the world
    def client(self, service: str) -> Any:
        """A client; they may be used by several threads, making one may not."""
        with self._making:
            return self._session.create_client(
                service,
                region_name=REGION,
                endpoint_url=self.endpoint,
                config=Config(
                    connect_timeout=3,
                    read_timeout=30,
                    retries={"total_max_attempts": 2},
                    max_pool_connections=32,
                ),
            )
