"""Months in seconds: nothing here opens a socket."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_network(socket_disabled: None) -> None:
    """Fakes alone."""


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """Warnings of 200 days would hide what failed."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
