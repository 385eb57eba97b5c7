"""Lives of links over fakes: nothing here opens a socket."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_network(socket_disabled: None) -> None:
    """Fakes alone."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Warnings of many lives would hide what failed."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
