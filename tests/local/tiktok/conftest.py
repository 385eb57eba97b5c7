"""One simulated TikTok for all of these tests, as new before each."""

from collections.abc import Iterator

import pytest

from local.tiktok import TikTokServer
from tests.local.tiktok.client import DESKTOP, SANDBOX, SECOND, WEB, Client, Clock, Pauses


@pytest.fixture(scope="session")
def shared_clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def shared_pauses() -> Pauses:
    return Pauses()


@pytest.fixture(scope="session")
def running_tiktok(shared_clock: Clock, shared_pauses: Pauses) -> Iterator[TikTokServer]:
    with TikTokServer(
        apps=[WEB, SECOND, DESKTOP, SANDBOX], now=shared_clock, sleep=shared_pauses
    ) as tiktok:
        yield tiktok


@pytest.fixture
def pauses(shared_pauses: Pauses) -> Pauses:
    shared_pauses.seconds, shared_pauses.meanwhile = [], None
    return shared_pauses


@pytest.fixture
def clock(shared_clock: Clock) -> Clock:
    shared_clock.now = Clock().now
    return shared_clock


@pytest.fixture
def tiktok(running_tiktok: TikTokServer, clock: Clock, pauses: Pauses) -> TikTokServer:
    running_tiktok.reset()
    return running_tiktok


@pytest.fixture
def client(tiktok: TikTokServer) -> Iterator[Client]:
    client = Client(tiktok)
    yield client
    client.http.close()
