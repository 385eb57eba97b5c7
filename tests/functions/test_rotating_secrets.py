"""A client secret is rotated: whoever is first, and in the middle of a run, nobody notices."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import BufferedIOBase

import pytest

from tests.fakes.aws import client
from tests.fakes.loopback import Answer
from tests.functions.conftest import Items
from tests.functions.stack import (
    CLIENT_SECRET,
    GRANT_ID,
    RunningStack,
    body_of,
    event,
    signed,
)
from tests.functions.test_events import grant
from tiktok_linking import bootstrap
from tiktok_linking.accounts import Status
from tiktok_linking.ports import Outcome
from tiktok_linking.renewal import Ask, Renewal
from tiktok_linking.sessions import LinkSession

OLD, NEW = CLIENT_SECRET, "client-secret-after-the-rotation"
STEPS: dict[str, list[tuple[set[str], dict[str, str]]]] = {
    # What TikTok accepts, and what our secret holds, step by step.
    "ours is first": [
        ({OLD}, {"current": OLD}),
        ({OLD}, {"current": OLD, "pending": NEW}),
        ({NEW}, {"current": OLD, "pending": NEW}),
        ({NEW}, {"current": NEW, "previous": OLD}),
        ({NEW}, {"current": NEW}),
    ],
    "TikTok is first and honours both for a while": [
        ({OLD}, {"current": OLD}),
        ({OLD, NEW}, {"current": OLD}),
        ({OLD, NEW}, {"current": NEW, "previous": OLD}),
        ({NEW}, {"current": NEW, "previous": OLD}),
        ({NEW}, {"current": NEW}),
    ],
    "ours is first, as the current one": [
        ({OLD}, {"current": OLD}),
        ({OLD}, {"current": NEW, "previous": OLD}),
        ({NEW}, {"current": NEW, "previous": OLD}),
        ({NEW}, {"current": NEW}),
    ],
    "both change in one moment": [
        ({OLD}, {"current": OLD}),
        ({NEW}, {"current": NEW}),
    ],
    "it is taken back": [
        ({OLD}, {"current": OLD, "pending": NEW}),
        ({NEW}, {"current": OLD, "pending": NEW}),
        ({OLD}, {"current": OLD, "pending": NEW}),
        ({OLD}, {"current": OLD}),
    ],
}
# Two ways that people take; the slower tests go these, the others all.
USUAL = ["ours is first", "TikTok is first and honours both for a while"]


class Rotation:
    """TikTok's side and ours, and the ways in which people notice."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.accepted = {OLD}
        self.number = 1
        stack.tiktok.otherwise = self.answer

    def answer(self, stream: BufferedIOBase) -> None:
        """As TikTok: a wrong client is told so and changes nothing."""
        request = self.stack.tiktok.received[-1]
        if request.method == "GET":
            Answer({}, 500)(stream)
        elif request.form["client_secret"] not in self.accepted:
            Answer({"error": "invalid_client", "error_description": "…"})(stream)
        elif request.target.startswith("/v2/oauth/revoke"):
            Answer({})(stream)
        else:
            self.number += 1
            Answer(self.stack.pair(self.number))(stream)

    def step(self, accepted: set[str], ours: dict[str, str]) -> None:
        self.accepted = accepted
        client("secretsmanager").put_secret_value(
            SecretId=self.stack.physical_ids["AppSecret"],
            SecretString=json.dumps({"default": ours}),
        )

    def warm(self) -> Renewal:
        """What a process of the refresh function has that lives through the rotation."""
        self.stack.become("refresh")
        return bootstrap.renewal()

    def renews(self, warm: Renewal) -> None:
        self.stack.clock.advance(hours=25)
        deadline = self.stack.clock.now + timedelta(seconds=28)

        report = warm.renew(GRANT_ID, Ask(min_ttl=timedelta(minutes=5)), deadline=deadline)

        assert report.outcome is Outcome.RENEWED

    def vends(self) -> None:
        """By processes that begin: a renewal through the door, and the token."""
        self.stack.clock.advance(hours=25)
        self.stack.restart()

        answer = self.stack.invoke("tokens", event("tokens-vend"))

        assert body_of(answer)["refreshed"] is True
        assert grant().status is Status.ACTIVE


@pytest.fixture
def rotation(stack: RunningStack, linked: LinkSession) -> Iterator[Rotation]:
    made = Rotation(stack)
    yield made
    made.step({OLD}, {"current": OLD})
    stack.tiktok.otherwise = Answer(status=500)


@pytest.mark.parametrize("order", USUAL)
def test_no_renewal_and_no_hand_out_fails(rotation: Rotation, order: str) -> None:
    """By a process whose copy of the secret is of before, and by one that has none."""
    warm = rotation.warm()
    rotation.renews(warm)
    for accepted, ours in STEPS[order]:
        rotation.step(accepted, ours)
        rotation.renews(warm)
        rotation.vends()


@pytest.mark.parametrize("order", STEPS)
def test_a_copy_that_is_minutes_old_is_no_hindrance(rotation: Rotation, order: str) -> None:
    """In the middle of a run: the secret is not read anew for its age, but for TikTok's no."""
    warm = rotation.warm()
    rotation.renews(warm)
    for accepted, ours in STEPS[order]:
        rotation.step(accepted, ours)
        rotation.stack.clock.advance(minutes=1)
        deadline = rotation.stack.clock.now + timedelta(seconds=28)
        report = warm.renew(GRANT_ID, Ask(rejected=True), deadline=deadline)
        assert report.outcome is Outcome.RENEWED


@pytest.mark.parametrize("order", USUAL)
def test_no_link_fails(rotation: Rotation, order: str, started_again: Callable[[], None]) -> None:
    """A code is good for one exchange, and a refusal of the client does not use it up."""
    for accepted, ours in STEPS[order]:
        rotation.step(accepted, ours)
        started_again()
        answer = rotation.stack.invoke("callback", event("callback-code"))
        assert "link_session" in answer["headers"]["Location"]
        assert "error" not in answer["headers"]["Location"]


@pytest.mark.parametrize("order", STEPS)
def test_no_webhook_is_refused(rotation: Rotation, order: str) -> None:
    """TikTok signs by any secret that it accepts, and repeats what it signed before."""
    for accepted, ours in STEPS[order]:
        if not accepted <= set(ours.values()):
            continue  # nobody can know a secret that was not stored
        rotation.step(accepted, ours)
        rotation.stack.restart()
        for secret in accepted:
            sent = signed(event("webhook-removed"), at=rotation.stack.clock.now, secret=secret)
            assert rotation.stack.invoke("webhook", sent)["statusCode"] == 200


def test_no_revocation_fails(rotation: Rotation, linked_items: Items) -> None:
    for accepted, ours in STEPS["ours is first"]:
        rotation.step(accepted, ours)
        rotation.stack.create_tables()
        rotation.stack.put_back(linked_items)
        answer = rotation.stack.invoke("unlink", event("unlink-account"))
        assert body_of(answer)["revoked_at_tiktok"] is True


def test_a_secret_that_tiktok_refuses_whatever_it_is_harms_no_account(rotation: Rotation) -> None:
    """The gap of a portal that changes its mind before we can know: live tokens go on."""
    warm = rotation.warm()
    rotation.step({NEW}, {"current": OLD})
    rotation.stack.clock.advance(hours=23)
    deadline = rotation.stack.clock.now + timedelta(seconds=28)

    report = warm.renew(GRANT_ID, Ask(min_ttl=timedelta(hours=2)), deadline=deadline)
    answer = body_of(rotation.stack.invoke("tokens", event("tokens-vend")))

    assert report.outcome is Outcome.MISCONFIGURED
    assert answer["access_token"] == "act.event1!0001"
    assert (grant().status, grant().failing_since) == (Status.ACTIVE, None)
    rotation.step({NEW}, {"current": NEW, "previous": OLD})
    rotation.vends()
