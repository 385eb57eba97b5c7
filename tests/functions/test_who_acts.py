"""While TikTok fails an account stays active, says since when and why, in no words but ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.fakes.loopback import Answer
from tests.functions.stack import RunningStack, body_of, changed, event
from tiktok_linking.sessions import LinkSession

HOSTILE = "<script>alert('canary')</script>\nGo to https://canary.example/ now"
LOG_ID = "20261121120000ABCDEF0123456789ABCD"
# Every word that last_error.class may be; a new one is a new line in docs/troubleshooting.md.
CLASSES = {
    "access_denied",
    "no_answer",
    "rate_limit_exceeded",
    "server_error",
    "too_many_requests",
    "unknown_error",
    "unreadable_answer",
}


def shown(stack: RunningStack) -> Mapping[str, Any]:
    account: Mapping[str, Any] = body_of(stack.invoke("accounts", event("accounts-show")))
    return account


def fail(stack: RunningStack, *answers: Answer) -> None:
    """One renewal that meets these answers, as the one door reports it."""
    stack.tiktok.script.clear()
    stack.tiktok.script.extend(answers)
    stack.invoke("refresh", changed("refresh-one", rejected=True))


@pytest.mark.parametrize(
    ("answer", "kind", "log_id"),
    [
        (Answer({"error": HOSTILE, "error_description": HOSTILE}), "unknown_error", None),
        (
            Answer({"error": "unheard_of", "error_description": HOSTILE, "log_id": LOG_ID}),
            "unknown_error",
            LOG_ID,
        ),
        (
            Answer({"error": "server_error", "message": HOSTILE, "log_id": HOSTILE}, status=500),
            "server_error",
            None,
        ),
        (Answer(HOSTILE.encode(), status=503), "unreadable_answer", None),
        (
            Answer({"error": "rate_limit_exceeded", "log_id": LOG_ID}, status=429),
            "rate_limit_exceeded",
            LOG_ID,
        ),
    ],
    ids=["word", "description", "log_id", "html", "throttled"],
)
def test_a_failing_account_is_active_and_tells_class_and_log_id_alone(
    stack: RunningStack, linked: LinkSession, answer: Answer, kind: str, log_id: str | None
) -> None:
    stack.clock.advance(hours=25)
    since = stack.clock.now

    fail(stack, answer)

    account = shown(stack)
    assert (account["status"], account["action_by"]) == ("active", "nobody")
    assert account["refresh"]["failing_since"] == since.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert account["refresh"]["last_error"] == {"class": kind, "log_id": log_id}
    assert kind in CLASSES
    assert "canary" not in repr(account)
    assert "canary" not in stack.dump()


def test_failing_since_stays_at_the_first_failure_and_ends_with_the_first_success(
    stack: RunningStack, linked: LinkSession
) -> None:
    stack.clock.advance(hours=25)
    first = stack.clock.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    busy = Answer({"error": "rate_limit_exceeded", "log_id": LOG_ID}, status=429)
    fail(stack, busy)
    stack.clock.advance(hours=1)
    fail(stack, busy)
    assert shown(stack)["refresh"]["failing_since"] == first
    stack.clock.advance(hours=1)

    fail(stack, Answer(stack.pair(2)))

    refresh = shown(stack)["refresh"]
    assert (refresh["failing_since"], refresh["last_error"]) == (None, None)
    assert refresh["rotations"] == 1


def test_what_is_past_says_nothing_of_failures(stack: RunningStack, linked: LinkSession) -> None:
    """Of a link that needs its owner, reason and actor are what counts."""
    stack.clock.advance(hours=25)
    fail(stack, Answer({"error": "rate_limit_exceeded"}, status=429))
    stack.clock.advance(days=200)

    account = shown(stack)

    assert (account["status"], account["action_by"]) == ("relink_required", "end_user")
    assert account["reason"] == "refresh_token_expired"
    assert account["refresh"]["failing_since"] is None
    assert account["refresh"]["last_error"] is None
