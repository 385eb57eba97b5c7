"""Which credentials are tried while a client secret is being rotated: each once, newest first."""

from __future__ import annotations

import pytest

from tests.fakes.credentials import KnownCredentials
from tests.fakes.happenings import Happenings
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.registrations import ClientsToTry


def tried(credentials: KnownCredentials) -> list[str]:
    """All that would be tried if TikTok refused every one."""
    clients = ClientsToTry(credentials, "default")
    order = [clients.current.client_secret.reveal()]
    while clients.advance():
        order.append(clients.current.client_secret.reveal())
    return order


@pytest.mark.parametrize(
    ("cached", "stored", "expected"),
    [
        (("current",), None, ["current"]),
        (("current", "previous"), None, ["current", "previous"]),
        (("current", "previous", "pending"), None, ["current", "previous", "pending"]),
        (("old",), ("new", "old"), ["old", "new"]),
        (("old", "older"), ("new", "old"), ["old", "new"]),
        (("same", "same"), None, ["same"]),
        (("old",), (), ["old"]),
    ],
)
def test_each_secret_is_tried_once_after_one_fresh_look(
    happenings: Happenings,
    cached: tuple[str, ...],
    stored: tuple[str, ...] | None,
    expected: list[str],
) -> None:
    credentials = KnownCredentials(happenings, *cached)
    credentials.rotated = stored

    assert tried(credentials) == expected
    assert happenings.calls.count("credentials.reread") == 1


def test_a_secret_that_works_is_not_looked_up_anew(happenings: Happenings) -> None:
    ClientsToTry(KnownCredentials(happenings), "default")

    assert "credentials.reread" not in happenings.calls


def test_while_the_secret_cannot_be_read_tiktoks_refusal_stands(happenings: Happenings) -> None:
    """An outage of Secrets Manager must not turn a refusal into an error of its own."""
    clients = ClientsToTry(KnownCredentials(happenings, "current", "previous"), "default")
    happenings.before("credentials.candidates", StoreUnavailable("down"))

    assert not clients.advance()
