"""The team's own login decides: what waits, who releases it, and what nobody gets out of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.fakes import samples
from tests.unit.stage import Stage
from tests.unit.test_linking import CODE, REDIRECT, Browser
from tiktok_linking.accounts import Account, Grant, Secret
from tiktok_linking.errors import (
    AccountMismatch,
    ClientCredentialsInvalid,
    LinkingError,
    LinkSessionCancelled,
    LinkSessionExpired,
    LinkSessionUsed,
    Misconfigured,
    NoAnswer,
    NotFound,
    ProviderUnavailable,
    Refused,
    ScopeNotGranted,
    StateMismatch,
    StoreUnavailable,
    UserMismatch,
)
from tiktok_linking.linking import Arrival, Landing
from tiktok_linking.sessions import (
    Completion,
    LinkSession,
    SessionReason,
    SessionStatus,
    new_session_id,
)

ME = "u_42"


def said(account: Account, grant: Grant) -> str:
    return f"{account.id} {grant.version}"


class Waiting:
    """A session whose browser came back, and the team that may complete it."""

    def __init__(self, stage: Stage, browser: Browser, arrival: Arrival) -> None:
        self.stage = stage
        self.browser = browser
        self.arrival = arrival

    @property
    def code(self) -> str:
        """What the browser brings to the product."""
        assert self.arrival.completion_code is not None
        return self.arrival.completion_code.reveal()

    @property
    def session(self) -> LinkSession:
        return self.stage.sessions.session(self.browser.session.id)

    def complete(self, *, code: str | None = None, user: str = ME) -> str:
        return self.stage.linking().complete(
            self.browser.session.id,
            Secret(code or self.code),
            user,
            caller=samples.BACKEND,
            render=said,
            deadline=self.stage.deadline(28),
        )

    def refused(
        self, error: type[LinkingError], *, code: str | None = None, user: str = ME
    ) -> None:
        with pytest.raises(error):
            self.complete(code=code, user=user)


Wait = Callable[..., Waiting]


@pytest.fixture
def wait(stage: Stage) -> Wait:
    """Let a browser start a session of mode `app` and come back."""

    def make(*, cookies: dict[str, str] | None = None, **changes: object) -> Waiting:
        session = samples.link_session(at=stage.clock.now, completion=Completion.APP)
        session = replace(session, **changes)  # type: ignore[arg-type]
        stage.sessions.create(session, idempotency=None)
        browser = Browser(stage, session)
        browser.go()
        stage.happenings.forget()
        return Waiting(stage, browser, browser.come_back(cookies=cookies))

    return make


# -- what waits ---------------------------------------------------------------------------------


def test_nothing_is_exchanged_until_the_team_says_who_is_there(stage: Stage, wait: Wait) -> None:
    waiting = wait()

    assert waiting.arrival.landing is Landing.RETURN
    assert waiting.session.status is SessionStatus.AWAITING_COMPLETION
    assert stage.tiktok.sent == []
    assert stage.calls == [
        "sessions.consume",
        "sealing.prepare",
        "sealing.seal_code",
        "sessions.park",
    ]
    assert len(stage.accounts) == 0


def test_only_a_hash_of_the_completion_code_is_kept(wait: Wait) -> None:
    waiting = wait()

    assert len(waiting.code) == 43
    kept = repr(waiting.session) + repr(waiting.session.parked)
    assert waiting.code not in kept
    assert CODE not in kept


def test_the_second_delivery_brings_the_same_code(wait: Wait) -> None:
    waiting = wait()

    again = waiting.browser.come_back()

    assert again.landing is Landing.RETURN
    assert again.completion_code is not None
    assert again.completion_code.reveal() == waiting.code


def test_another_browser_brings_no_code(wait: Wait) -> None:
    waiting = wait()

    other = waiting.browser.come_back(cookies={})

    assert (other.landing, other.completion_code) == (Landing.NEUTRAL, None)


@pytest.mark.parametrize("completion", Completion)
def test_a_browser_without_its_cookie_leads_only_to_the_teams_login(
    stage: Stage, wait: Wait, completion: Completion
) -> None:
    """In either mode nothing is exchanged; the page has a button that brings the code."""
    waiting = wait(cookies={}, completion=completion)

    arrival = waiting.arrival
    assert (arrival.landing, arrival.completion_code) == (Landing.PAGE, None)
    assert stage.tiktok.sent == []
    assert waiting.session.status is SessionStatus.AWAITING_COMPLETION
    assert arrival.cookie_name is not None
    assert arrival.cookie_value is not None
    own = {arrival.cookie_name: arrival.cookie_value.reveal()}
    release = waiting.session.completion_code_of(own)
    assert release is not None
    assert waiting.session.completion_code_of(waiting.browser.cookies) is None

    stage.tiktok.answers.append(samples.answer())
    assert waiting.complete(code=release.reveal()).startswith("acct_")


def test_that_browser_comes_twice_and_finds_its_page_again(stage: Stage, wait: Wait) -> None:
    waiting = wait(cookies={})
    assert waiting.arrival.cookie_name is not None
    assert waiting.arrival.cookie_value is not None
    own = {waiting.arrival.cookie_name: waiting.arrival.cookie_value.reveal()}

    again = waiting.browser.come_back(cookies=own)

    assert (again.landing, again.completion_code) == (Landing.PAGE, None)
    assert waiting.session.completion_code_of(own) is not None


def test_without_a_return_address_such_a_browser_has_failed(stage: Stage, wait: Wait) -> None:
    waiting = wait(cookies={}, completion=Completion.BROWSER, return_url=None)

    assert waiting.session.reason is SessionReason.BROWSER_MISMATCH
    assert waiting.session.parked is None


def test_a_code_that_cannot_be_sealed_is_not_kept_in_the_clear(stage: Stage, wait: Wait) -> None:
    session = samples.link_session(completion=Completion.APP)
    stage.sessions.create(session, idempotency=None)
    browser = Browser(stage, session)
    browser.go()
    stage.happenings.before("sealing.prepare", StoreUnavailable())

    arrival = browser.come_back()

    assert arrival.landing is Landing.PAGE
    kept = stage.sessions.session(session.id)
    assert (kept.reason, kept.parked) == (SessionReason.PROVIDER_UNAVAILABLE, None)


def test_a_cancel_at_tiktok_needs_no_completion(stage: Stage) -> None:
    session = samples.link_session(completion=Completion.APP)
    stage.sessions.create(session, idempotency=None)
    browser = Browser(stage, session)
    browser.go()

    arrival = browser.come_back(code=None, error="access_denied")

    assert arrival.completion_code is None
    assert stage.sessions.session(session.id).reason is SessionReason.USER_CANCELLED


# -- who releases it ----------------------------------------------------------------------------


def test_the_right_user_gets_the_account(stage: Stage, wait: Wait) -> None:
    waiting = wait()
    stage.tiktok.answers.append(samples.answer())

    answer = waiting.complete()

    account = samples.account()
    assert answer == f"{account.id} 1"
    assert stage.tiktok.sent == [CODE]
    assert stage.tiktok.redirect_uris == [REDIRECT]
    done = waiting.session
    assert (done.status, done.account_id, done.parked) == (
        SessionStatus.COMPLETED,
        account.id,
        None,
    )


def test_a_repeat_gives_the_first_result_and_exchanges_once(stage: Stage, wait: Wait) -> None:
    waiting = wait()
    stage.tiktok.answers.append(samples.answer())

    assert waiting.complete() == waiting.complete()
    assert stage.tiktok.sent == [CODE]


def test_another_user_ends_it_and_nothing_was_sent(
    stage: Stage, wait: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    waiting = wait()

    waiting.refused(UserMismatch, user="u_attacker")

    assert stage.tiktok.sent == []
    assert (waiting.session.reason, waiting.session.parked) == (SessionReason.USER_MISMATCH, None)
    assert [r.__dict__["event"] for r in caplog.records] == ["user_mismatch"]
    waiting.refused(UserMismatch)  # the right one comes too late: what was parked is gone
    assert stage.tiktok.sent == []


@pytest.mark.parametrize("user", ["U_42", "u_42 ", "u_4", "u_42\u200b", "u_\uff14\uff12"])
def test_users_are_compared_byte_for_byte(wait: Wait, user: str) -> None:
    wait().refused(UserMismatch, user=user)


def test_another_user_learns_nothing_from_a_finished_session(stage: Stage, wait: Wait) -> None:
    waiting = wait()
    stage.tiktok.answers.append(samples.answer())
    waiting.complete()

    waiting.refused(UserMismatch, user="u_attacker")
    assert waiting.session.status is SessionStatus.COMPLETED


def test_a_guessed_code_releases_and_destroys_nothing(stage: Stage, wait: Wait) -> None:
    waiting = wait()
    stage.tiktok.answers.append(samples.answer())

    waiting.refused(StateMismatch, code="g" * 43)
    waiting.refused(StateMismatch, code="g" * 43, user="u_attacker")

    assert waiting.complete().startswith("acct_")


def test_the_code_of_one_session_releases_no_other(wait: Wait) -> None:
    one, other = wait(), wait()

    other.refused(StateMismatch, code=one.code)


def test_an_unknown_session_is_not_found(stage: Stage) -> None:
    with pytest.raises(NotFound):
        stage.linking().complete(
            new_session_id(),
            Secret("g" * 43),
            ME,
            caller=samples.BACKEND,
            render=said,
            deadline=stage.deadline(),
        )


def test_after_five_minutes_it_is_too_late(stage: Stage, wait: Wait) -> None:
    waiting = wait()
    stage.clock.advance(minutes=5)

    waiting.refused(LinkSessionExpired)

    assert waiting.session.status_at(stage.clock.now) is SessionStatus.EXPIRED
    assert waiting.session.can_start(stage.clock.now)
    assert stage.tiktok.sent == []


def test_it_waits_beyond_the_time_for_starting(stage: Stage, wait: Wait) -> None:
    waiting = wait(expires_at=stage.clock.now + timedelta(seconds=60))
    stage.clock.advance(minutes=4)
    stage.tiktok.answers.append(samples.answer())

    assert waiting.session.status_at(stage.clock.now) is SessionStatus.AWAITING_COMPLETION
    assert waiting.complete().startswith("acct_")


def test_what_the_team_withdrew_is_not_completed(stage: Stage, wait: Wait) -> None:
    waiting = wait()
    stage.sessions.cancel(waiting.browser.session.id, caller=samples.BACKEND, now=stage.clock.now)

    waiting.refused(LinkSessionCancelled)


def test_what_a_browser_completed_is_finished(stage: Stage, wait: Wait) -> None:
    waiting = wait(completion=Completion.BROWSER, cookies={})
    waiting.browser.go()
    stage.tiktok.answers.append(samples.answer())
    waiting.browser.come_back()

    waiting.refused(LinkSessionUsed, code="g" * 43)


def test_while_one_call_completes_another_is_told_to_wait(stage: Stage, wait: Wait) -> None:
    waiting = wait()

    def meanwhile() -> object:
        with pytest.raises(LinkSessionUsed) as refusal:
            waiting.complete()
        assert refusal.value.retry_after is not None
        return None

    stage.happenings.before("tiktok.exchange", meanwhile)
    stage.tiktok.answers.append(samples.answer())

    assert waiting.complete().startswith("acct_")
    assert stage.tiktok.sent == [CODE]


# -- how it ends otherwise ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (Refused("invalid_grant"), LinkSessionUsed, SessionReason.EXCHANGE_FAILED),
        (
            Misconfigured("invalid_client"),
            ClientCredentialsInvalid,
            SessionReason.APP_MISCONFIGURED,
        ),
        (NoAnswer(), ProviderUnavailable, SessionReason.PROVIDER_UNAVAILABLE),
        (samples.answer(scopes=("video.list",)), ScopeNotGranted, SessionReason.SCOPE_NOT_GRANTED),
    ],
)
def test_every_end_is_an_error_and_a_reason_and_its_repeat_the_same(
    stage: Stage, wait: Wait, answer: object, error: type[LinkingError], reason: SessionReason
) -> None:
    waiting = wait()
    stage.tiktok.answers.extend([answer] * 4)  # type: ignore[list-item]

    waiting.refused(error)
    sent = list(stage.tiktok.sent)
    waiting.refused(error)

    assert waiting.session.reason is reason
    assert stage.tiktok.sent == sent


def test_a_relink_with_another_account_is_told(stage: Stage, wait: Wait) -> None:
    waiting = wait(relink_account_id=samples.account(open_id="mine").id)
    stage.tiktok.answers.append(samples.answer())

    waiting.refused(AccountMismatch)


def test_a_link_that_could_not_be_saved_is_finished_by_rescue(stage: Stage, wait: Wait) -> None:
    waiting = wait()
    stage.tiktok.answers.append(samples.answer())
    for _ in range(60):
        stage.happenings.before("authorisations.save_authorised", StoreUnavailable())

    with pytest.raises(LinkSessionUsed) as refusal:
        waiting.complete()
    assert refusal.value.retry_after is not None

    stage.happenings.forget()
    (parcel,) = stage.rescue.parcels
    stage.rescuing().land(parcel)
    with pytest.raises(LinkSessionUsed) as told:
        waiting.complete()
    assert told.value.facts["account_id"] == samples.account().id


def test_nothing_that_is_logged_holds_a_code(
    stage: Stage, wait: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    waiting = wait()
    waiting.refused(UserMismatch, user="u_attacker")

    text = " ".join(str(record.__dict__) for record in caplog.records)
    assert waiting.code not in text
    assert CODE not in text
