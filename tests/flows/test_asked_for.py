"""What a stack does only where its parameters ask for it: audit events, links in reminders."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.testing import WorldHandle, running_world
from tests.flows.http_browser import HttpBrowser
from tests.flows.journey import Journey, Json, consent, to_consent
from tests.flows.test_events import events_of, timeline


@pytest.fixture(scope="module")
def generous() -> Iterator[WorldHandle]:
    """A world whose stack was asked for both."""
    with running_world(STACK_PARAMETERS="AuditEvents=on ReminderLinks=on") as world:
        yield world


@pytest.fixture
def journey(generous: WorldHandle) -> Journey:
    """Its backend and its people."""
    return Journey(generous)


def told(journey: Journey, account_id: str, type: str) -> list[Json]:
    return [e for e in events_of(journey.world, account_id) if e["type"] == type]


def test_each_hand_out_is_an_event_without_the_token(journey: Journey, person: str) -> None:
    account_id = journey.link("u_audit", person).account_id
    body = {"purpose": "nightly-sync"}
    tokens = [
        journey.backend.call("POST", f"/v1/accounts/{account_id}/token", body).json()
        for _ in range(2)
    ]

    events = told(journey, account_id, "token.vended")
    assert [(e["purpose"], e["refreshed"]) for e in events] == [("nightly-sync", False)] * 2
    assert len({e["event_id"] for e in events}) == 2
    assert all(token["access_token"] not in str(events) for token in tokens)
    assert "token.vended" not in {e["type"] for e in timeline(journey, account_id)}


def test_a_reminders_link_links_its_account_again(journey: Journey, person: str) -> None:
    account_id = journey.link("u_reminded", person).account_id
    journey.world.advance(days=151)
    assert journey.world.invoke("RemindFunction")["error"] is None

    (reminder,) = told(journey, account_id, "account.relink_due")
    browser = HttpBrowser()
    consent(browser, to_consent(browser, reminder["relink_url"]), person)

    (relinked,) = told(journey, account_id, "account.relinked")
    assert relinked["account_id"] == account_id
    assert journey.backend.account(account_id)["days_until_relink"] > 170
    assert "/connect/" not in str(timeline(journey, account_id))
