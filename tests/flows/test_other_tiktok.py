"""The same flow where TikTok is another program: only two addresses and a client key change."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import requests

from local.configuration import ROOT
from local.testing import WorldHandle, free_ports
from tests.flows.link_once import link_once

SCOPES = ["user.info.basic", "user.info.profile", "user.info.stats", "video.list"]


@contextmanager
def other_tiktok(port: str, *, redirect_uri: str) -> Iterator[str]:
    """Run a TikTok that the world did not start and knows nothing of."""
    app = {
        "name": "elsewhere",
        "client_key": "awelsewhere",
        "client_secret": "secret-of-elsewhere",
        "platform": "desktop",
        "redirect_uris": [redirect_uri],
        "scopes": SCOPES,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "local.tiktok"],
        cwd=ROOT,
        env={"TIKTOK_PORT": port, "TIKTOK_APPS": json.dumps([app])},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert "ready" in process.stdout.readline()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            assert process.wait(timeout=10) == 0


def test_the_whole_flow_with_another_tiktok(
    world_factory: Callable[..., AbstractContextManager[WorldHandle]],
) -> None:
    ports, other = free_ports(), free_ports()["TIKTOK_PORT"]
    redirect_uri = f"http://127.0.0.1:{ports['GATEWAY_PORT']}/callback"
    with (
        other_tiktok(other, redirect_uri=redirect_uri) as tiktok,
        world_factory(
            **ports,
            TIKTOK_AUTHORIZE_URL=f"{tiktok}/v2/auth/authorize/",
            TIKTOK_API_BASE_URL=tiktok,
            TIKTOK_CLIENT_KEY="awelsewhere",
            TIKTOK_CLIENT_SECRET="secret-of-elsewhere",
        ) as world,
    ):
        assert world.endpoints["tiktok"] == tiktok

        account = link_once(
            world.endpoints, end_user="u_elsewhere", person="jonas", off=["user.info.stats"]
        )

        assert account["status"] == "active"
        assert account["scopes"]["missing"] == ["user.info.stats"]
        calls = requests.get(f"{tiktok}/_control/state", timeout=10).json()["calls"]
        assert (calls["token"], calls["revoke"]) == (1, 1)
