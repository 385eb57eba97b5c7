"""Where the product listens, and whom it talks to: all of it from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from botocore.credentials import Credentials

from tiktok_linking_client import LinkingClient

_STATIC = Path(__file__).parents[2] / "layers" / "linking" / "tiktok_linking" / "web" / "static"
BROWSER_FILES = {name: _STATIC / name for name in ("connect.js", "tiktok-accounts.js")}


@dataclass(frozen=True, slots=True)
class Settings:
    host: str
    port: int
    gateway_url: str
    link_pages_url: str
    tiktok_api_url: str
    completion: str
    credentials: Credentials
    region: str

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"

    def stack(self) -> LinkingClient:
        """The stack, with the product's own AWS credentials."""
        return LinkingClient(self.gateway_url, region=self.region, credentials=self.credentials)

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        gateway_url = env.get("GATEWAY_URL") or "http://127.0.0.1:3000"
        return cls(
            host=env.get("APP_HOST") or "127.0.0.1",
            port=int(env.get("APP_PORT") or "3002"),
            gateway_url=gateway_url,
            link_pages_url=env.get("PUBLIC_BASE_URL") or gateway_url,
            tiktok_api_url=env.get("TIKTOK_API_BASE_URL") or "https://open.tiktokapis.com",
            completion=env.get("COMPLETION") or "browser",
            credentials=Credentials(
                env.get("AWS_ACCESS_KEY_ID") or "test", env.get("AWS_SECRET_ACCESS_KEY") or "test"
            ),
            region=env.get("AWS_REGION") or "us-east-1",
        )
