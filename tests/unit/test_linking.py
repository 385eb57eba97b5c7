"""Linking: every check before anything leaves the process, and no pair that is thrown away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fakes import samples
from tests.fakes.credentials import CLIENT_KEY
from tests.fakes.happenings import Killed
from tests.unit.stage import Stage
from tiktok_linking.accounts import Secret, Status
from tiktok_linking.authorizing import Departure, start
from tiktok_linking.errors import (
    LinkSessionCancelled,
    LinkSessionExpired,
    LinkSessionUsed,
    Misconfigured,
    NoAnswer,
    NotFound,
    ProviderError,
    RateLimited,
    Refused,
    StateMismatch,
    StoreUnavailable,
    Unavailable,
)
from tiktok_linking.linking import Answer, Arrival, Landing
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.ports import AuthorisedPair, NewAccount
from tiktok_linking.sessions import (
    LinkSession,
    SessionReason,
    SessionStatus,
    State,
)

CODE = "2-vF-hhk*1!4608.va"
REDIRECT = "https://link.example.com/callback"


class Browser:
    """One person's browser on its way to TikTok and back."""

    def __init__(self, stage: Stage, session: LinkSession, *, redirect_uri: str = REDIRECT) -> None:
        self.stage = stage
        self.session = session
        self.redirect_uri = redirect_uri
        self.cookies: dict[str, str] = {}
        self.state = ""

    def go(self) -> Departure:
        """Press the button."""
        departure = start(
            self.stage.sessions,
            session_id=self.session.id,
            nonce=self.session.page_nonce,
            authorize_base="https://www.tiktok.com/v2/auth/authorize/",
            client_keys={samples.REGISTRATION: CLIENT_KEY},
            redirect_uri=self.redirect_uri,
            now=self.stage.clock.now,
        )
        self.cookies[departure.cookie_name] = departure.cookie_value.reveal()
        self.state = query(departure)["state"]
        return departure

    def come_back(
        self,
        *,
        code: str | None = CODE,
        error: str | None = None,
        error_type: str | None = None,
        cookies: dict[str, str] | None = None,
        seconds: float = 28,
    ) -> Arrival:
        """Deliver TikTok's answer."""
        state = State.parse(self.state)
        assert state is not None
        answer = Answer(state, Secret(code) if code else None, error, error_type)
        return self.stage.linking().finish(
            answer,
            self.cookies if cookies is None else cookies,
            deadline=self.stage.deadline(seconds),
        )


def query(departure: Departure) -> dict[str, str]:
    return {k: v[0] for k, v in parse_qs(urlsplit(departure.url).query).items()}


@pytest.fixture
def open_session(stage: Stage) -> Callable[..., Browser]:
    """Make a session and a browser that has pressed its button."""

    def make(session: LinkSession | None = None, *, redirect_uri: str = REDIRECT) -> Browser:
        session = session or samples.link_session(at=stage.clock.now)
        stage.sessions.create(session, idempotency=None)
        browser = Browser(stage, session, redirect_uri=redirect_uri)
        browser.go()
        stage.happenings.forget()
        return browser

    return make


OpenSession = Callable[..., Browser]


def stored(stage: Stage, browser: Browser) -> LinkSession:
    return stage.sessions.session(browser.session.id)


def account_id_of(session: LinkSession, open_id: str = samples.OPEN_ID) -> str:
    return samples.account(
        end_user_id=session.end_user_id, tenant_id=session.tenant_id, open_id=open_id
    ).id


# -- starting -----------------------------------------------------------------------------------


def test_a_start_leads_to_tiktok_with_what_session_and_configuration_say(stage: Stage) -> None:
    session = samples.link_session()
    stage.sessions.create(session, idempotency=None)

    departure = Browser(stage, session).go()

    sent = query(departure)
    assert departure.url.startswith("https://www.tiktok.com/v2/auth/authorize/?")
    assert sent["client_key"] == CLIENT_KEY
    assert sent["scope"] == "user.info.basic,video.list"
    assert sent["redirect_uri"] == REDIRECT
    assert "code_challenge" not in sent
    assert "disable_auto_auth" not in sent


def test_neither_session_id_nor_cookie_travels_to_tiktok(stage: Stage) -> None:
    session = samples.link_session()
    stage.sessions.create(session, idempotency=None)

    departure = Browser(stage, session).go()

    assert session.id not in departure.url
    assert departure.cookie_value.reveal() not in departure.url


def test_the_table_holds_neither_state_nor_cookie(stage: Stage) -> None:
    session = samples.link_session()
    stage.sessions.create(session, idempotency=None)
    browser = Browser(stage, session)

    departure = browser.go()

    kept = repr(stage.sessions.session(session.id).attempts)
    assert departure.cookie_value.reveal() not in kept
    assert browser.state.partition(".")[2] not in kept


def test_states_and_cookies_are_new_each_time(stage: Stage) -> None:
    states = set()
    cookies = set()
    for _ in range(100):
        session = samples.link_session()
        stage.sessions.create(session, idempotency=None)
        browser = Browser(stage, session)
        departure = browser.go()
        states.add(browser.state)
        cookies.add(departure.cookie_value.reveal())

    assert len(states) == len(cookies) == 100
    assert min(len(value) for value in (*states, *cookies)) >= 43


def test_switching_accounts_asks_tiktok_to_ask(stage: Stage) -> None:
    session = samples.link_session(switch_account=True)
    stage.sessions.create(session, idempotency=None)

    assert query(Browser(stage, session).go())["disable_auto_auth"] == "1"


def fail(stage: Stage, open_session: OpenSession, reason: SessionReason) -> Browser:
    """A browser whose first attempt ended in this way."""
    told = {
        SessionReason.PROVIDER_REFUSED: ("access_denied", "user_not_eligible"),
        SessionReason.USER_CANCELLED: ("access_denied", None),
        SessionReason.PROVIDER_UNAVAILABLE: ("server_error", None),
    }
    error, error_type = told.get(reason, (None, None))
    bound = "acct_other" if reason is SessionReason.ACCOUNT_MISMATCH else None
    granted = () if reason is SessionReason.SCOPE_NOT_GRANTED else ("user.info.basic",)
    stage.tiktok.answers.append(samples.answer(scopes=granted))
    browser = open_session(samples.link_session(at=stage.clock.now, relink_account_id=bound))
    browser.come_back(code=None if error else CODE, error=error, error_type=error_type)
    assert stored(stage, browser).reason is reason
    return browser


@pytest.mark.parametrize(
    ("reason", "asks"),
    [
        (SessionReason.PROVIDER_REFUSED, "1"),
        (SessionReason.ACCOUNT_MISMATCH, "1"),
        (SessionReason.SCOPE_NOT_GRANTED, "1"),
        (SessionReason.USER_CANCELLED, None),
        (SessionReason.PROVIDER_UNAVAILABLE, None),
    ],
)
def test_after_a_choice_that_did_not_do_tiktok_is_to_ask_again(
    stage: Stage, open_session: OpenSession, reason: SessionReason, asks: str | None
) -> None:
    """It would send somebody who consented before straight back, as the same account."""
    browser = fail(stage, open_session, reason)

    # The second is that of somebody who went back at TikTok, to a page that shows no failure.
    assert [query(browser.go()).get("disable_auto_auth") for _ in range(2)] == [asks, asks]


def test_a_loopback_redirect_uses_pkce_and_its_verifier_at_the_exchange(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session(redirect_uri="http://127.0.0.1:3000/callback")
    stage.tiktok.answers.append(samples.answer())

    browser.come_back()

    (verifier,) = stage.tiktok.code_verifiers
    assert verifier is not None
    assert len(verifier) >= 43
    assert verifier not in repr(stored(stage, browser))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"status": SessionStatus.COMPLETED}, LinkSessionUsed),
        (
            {"status": SessionStatus.CANCELLED, "reason": SessionReason.CANCELLED_BY_TEAM},
            LinkSessionCancelled,
        ),
    ],
)
def test_an_ended_session_starts_nothing(
    stage: Stage, change: dict[str, object], error: type[Exception]
) -> None:
    session = replace(samples.link_session(), **change)  # type: ignore[arg-type]
    stage.sessions.create(session, idempotency=None)

    with pytest.raises(error):
        Browser(stage, session).go()


def test_a_session_starts_nothing_after_its_expiry(stage: Stage) -> None:
    session = samples.link_session(lives=timedelta(minutes=30))
    stage.sessions.create(session, idempotency=None)
    stage.clock.advance(minutes=30)

    with pytest.raises(LinkSessionExpired):
        Browser(stage, session).go()


def test_an_unknown_session_and_a_wrong_nonce_start_nothing(stage: Stage) -> None:
    session = samples.link_session()
    with pytest.raises(NotFound):
        Browser(stage, session).go()
    stage.sessions.create(session, idempotency=None)

    with pytest.raises(StateMismatch):
        Browser(stage, replace(session, page_nonce="guessed")).go()


def test_a_session_allows_ten_attempts(stage: Stage) -> None:
    session = samples.link_session()
    stage.sessions.create(session, idempotency=None)
    for _ in range(10):
        Browser(stage, session).go()

    with pytest.raises(RateLimited):
        Browser(stage, session).go()


# -- the order of checks ------------------------------------------------------------------------


def test_a_link_is_made_in_one_pass(stage: Stage, open_session: OpenSession) -> None:
    browser = open_session()
    answer = samples.answer()
    stage.tiktok.answers.append(answer)
    stage.tiktok.shown_profile = samples.profile()

    arrival = browser.come_back()

    account = stage.accounts.account(account_id_of(browser.session))
    session = stored(stage, browser)
    assert arrival.landing is Landing.RETURN
    assert (session.status, session.account_id) == (SessionStatus.COMPLETED, account.id)
    assert session.granted_scopes == answer.scopes
    assert session.display_name == "Mina Park"
    assert account.profile == samples.profile()
    assert answer.refresh_token is not None
    assert stage.refresh_token() == answer.refresh_token.reveal()
    assert stage.grant().status is Status.ACTIVE


def test_everything_is_checked_before_the_code_is_spent_and_saved_right_after(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    stage.tiktok.answers.append(samples.answer())

    browser.come_back()

    exchanged = stage.calls.index("tiktok.exchange")
    assert stage.calls[0] == "sessions.consume"
    assert "sealing.prepare" in stage.calls[:exchanged]
    assert stage.calls[exchanged + 1 : exchanged + 4] == [
        "sealing.seal_pair",
        "journal.append",
        "authorisations.save_authorised",
    ]
    assert stage.calls.index("tiktok.profile") > exchanged + 3
    assert len(stage.journal) == 0


@pytest.mark.parametrize("died_at", ["authorisations.save_authorised", "tiktok.profile"])
def test_a_pair_whose_invocation_died_is_left_for_the_next(
    stage: Stage, open_session: OpenSession, died_at: str
) -> None:
    browser = open_session()
    stage.tiktok.answers.append(samples.answer())
    stage.happenings.before(died_at, Killed())
    with pytest.raises(Killed):
        browser.come_back()

    (left,) = stage.journal.leftovers()
    stage.rescuing().land(left)
    stage.rescuing().land(left)  # twice, where the first could not forget it

    assert stage.grant().status is Status.ACTIVE
    assert status_of(stage, browser) is SessionStatus.COMPLETED


def status_of(stage: Stage, browser: Browser) -> SessionStatus:
    session = stage.sessions.read(browser.session.id)
    assert session is not None
    return session.status


def test_a_journal_that_cannot_be_written_stops_no_link(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    stage.tiktok.answers.append(samples.answer())
    stage.happenings.before("journal.append", StoreUnavailable("disk full"))

    browser.come_back()

    assert status_of(stage, browser) is SessionStatus.COMPLETED


def test_a_callback_costs_four_writes_and_two_requests_to_tiktok(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    stage.tiktok.answers.append(samples.answer())

    browser.come_back()

    tables = ("sessions.", "authorisations.", "grants.", "links.", "directory.")
    assert len([c for c in stage.calls if c.startswith(tables)]) == 4
    assert len([c for c in stage.calls if c.startswith("tiktok.")]) == 2


def test_the_exchange_sends_the_redirect_uri_that_the_attempt_was_started_with(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session(redirect_uri="https://old.example.com/callback")
    stage.tiktok.answers.append(samples.answer())

    browser.come_back()

    assert stage.tiktok.redirect_uris == ["https://old.example.com/callback"]
    assert stage.tiktok.sent == [CODE]


def nothing_left_the_process(stage: Stage) -> bool:
    quiet = ("sessions.",)
    return all(call.startswith(quiet) for call in stage.calls)


def test_an_unknown_state_says_nothing_of_any_session(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    browser.state = State.new(samples.link_session().id).encode()

    with pytest.raises(StateMismatch):
        browser.come_back()

    assert nothing_left_the_process(stage)


def test_a_state_of_the_session_that_was_never_given_out_is_unknown(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    browser.state = State.new(browser.session.id).encode()

    with pytest.raises(StateMismatch):
        browser.come_back()

    assert nothing_left_the_process(stage)


def test_an_attempt_ends_after_ten_minutes(stage: Stage, open_session: OpenSession) -> None:
    browser = open_session()
    stage.clock.advance(minutes=10)

    arrival = browser.come_back()

    assert arrival.landing is Landing.PAGE
    assert nothing_left_the_process(stage)


def test_an_old_answer_in_another_browser_shows_nothing(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    stage.clock.advance(minutes=10)

    arrival = browser.come_back(cookies={})

    assert arrival.landing is Landing.NEUTRAL
    assert stored(stage, browser).status is SessionStatus.STARTED


def test_an_attempt_begun_in_time_may_finish_after_the_sessions_expiry(
    stage: Stage, open_session: OpenSession
) -> None:
    session = samples.link_session(lives=timedelta(minutes=1))
    browser = open_session(session)
    stage.clock.advance(minutes=9)
    stage.tiktok.answers.append(samples.answer(issued_at=stage.clock.now))

    assert browser.come_back().landing is Landing.RETURN
    assert stored(stage, browser).status is SessionStatus.COMPLETED


@pytest.mark.parametrize("cookie", [None, "", "somebody else's"])
def test_another_browser_never_finishes_an_attempt(
    stage: Stage, open_session: OpenSession, cookie: str | None
) -> None:
    browser = open_session()
    (name,) = browser.cookies

    arrival = browser.come_back(cookies={} if cookie is None else {name: cookie})

    assert arrival.landing is Landing.PAGE
    assert stage.tiktok.sent == []
    assert stored(stage, browser).status is SessionStatus.AWAITING_COMPLETION
    assert stored(stage, browser).can_start(stage.clock.now), "in the right browser"


def test_another_browser_gets_a_result_page_of_its_own(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()

    arrival = browser.come_back(cookies={})

    assert arrival.cookie_name is not None
    assert arrival.cookie_value is not None
    own = {arrival.cookie_name: arrival.cookie_value.reveal()}
    session = stored(stage, browser)
    assert session.was_brought_back_by(own)
    assert session.attempt_of(own) is None, "a result page makes nobody the one who started"


def test_an_answer_seen_by_another_browser_is_used_up(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    browser.come_back(cookies={})

    arrival = browser.come_back()

    assert arrival.landing is Landing.PAGE
    assert stage.tiktok.sent == []


def test_the_cookie_of_a_result_page_finishes_nothing(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    arrival = browser.come_back(cookies={})
    assert arrival.cookie_name is not None
    assert arrival.cookie_value is not None

    browser.come_back(cookies={arrival.cookie_name: arrival.cookie_value.reveal()})

    assert stage.tiktok.sent == []


def test_a_registration_that_was_removed_meanwhile_exchanges_nothing(
    stage: Stage, open_session: OpenSession
) -> None:
    session = replace(samples.link_session(), app_registration="gone")
    stage.sessions.create(session, idempotency=None)
    browser = Browser(stage, session)
    departure = start(
        stage.sessions,
        session_id=session.id,
        nonce=session.page_nonce,
        authorize_base="https://tiktok.example/",
        client_keys={"gone": "awgone"},
        redirect_uri=REDIRECT,
        now=stage.clock.now,
    )
    browser.state = query(departure)["state"]
    browser.cookies = {departure.cookie_name: departure.cookie_value.reveal()}

    browser.come_back()

    assert stage.tiktok.sent == []
    assert stored(stage, browser).reason is SessionReason.APP_MISCONFIGURED


def test_a_registration_without_a_secret_exchanges_nothing(
    stage: Stage, open_session: OpenSession
) -> None:
    stage.credentials.secrets = ()
    browser = open_session()

    assert browser.come_back().landing is Landing.PAGE
    assert stage.tiktok.sent == []
    assert stored(stage, browser).reason is SessionReason.APP_MISCONFIGURED


@pytest.mark.parametrize(
    ("error", "error_type", "status", "reason", "landing"),
    [
        ("access_denied", None, "cancelled", "user_cancelled", Landing.RETURN),
        ("access_denied", "user_not_eligible", "failed", "provider_refused", Landing.PAGE),
        ("access_denied", "non_sandbox_target", "failed", "app_misconfigured", Landing.PAGE),
        ("invalid_scope", None, "failed", "app_misconfigured", Landing.PAGE),
        ("server_error", None, "failed", "provider_unavailable", Landing.PAGE),
    ],
)
def test_an_error_ends_the_attempt_before_any_exchange(
    stage: Stage,
    open_session: OpenSession,
    error: str,
    error_type: str | None,
    status: str,
    reason: str,
    landing: Landing,
) -> None:
    browser = open_session()

    arrival = browser.come_back(code=None, error=error, error_type=error_type)

    session = stored(stage, browser)
    assert (session.status.value, session.reason) == (status, reason)
    assert arrival.landing is landing
    assert nothing_left_the_process(stage)


def test_an_error_wins_over_a_code_that_came_along(stage: Stage, open_session: OpenSession) -> None:
    browser = open_session()

    browser.come_back(code=CODE, error="access_denied")

    assert stage.tiktok.sent == []


def test_what_fails_before_the_exchange_can_be_tried_again_by_the_person(
    stage: Stage, open_session: OpenSession
) -> None:
    """Left without a result, the page would say "Finishing up" for nothing."""
    browser = open_session()
    stage.happenings.before("sealing.prepare", StoreUnavailable("kms down"))

    arrival = browser.come_back()

    assert stage.tiktok.sent == []
    assert arrival.landing is Landing.PAGE
    assert stored(stage, browser).reason is SessionReason.PROVIDER_UNAVAILABLE
    assert stored(stage, browser).can_start(stage.clock.now)


# -- double delivery ----------------------------------------------------------------------------


def test_a_second_delivery_gives_the_first_result(stage: Stage, open_session: OpenSession) -> None:
    browser = open_session()
    stage.tiktok.answers.append(samples.answer())
    first = browser.come_back()

    second = browser.come_back()

    assert second.landing is first.landing is Landing.RETURN
    assert second.session.account_id == first.session.account_id
    assert stage.tiktok.sent == [CODE]


def test_a_second_delivery_of_a_cancellation_gives_the_first_result(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    browser.come_back(code=None, error="access_denied")

    arrival = browser.come_back(code=None, error="access_denied")

    assert arrival.landing is Landing.RETURN
    assert arrival.session.status is SessionStatus.CANCELLED


def test_a_delivery_while_the_first_is_at_work_waits_on_a_page(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    inner: list[Arrival] = []
    stage.happenings.before("tiktok.exchange", lambda: inner.append(browser.come_back()))
    stage.tiktok.answers.append(samples.answer())

    browser.come_back()

    assert inner[0].landing is Landing.PAGE
    assert stage.tiktok.sent == [CODE]


def test_a_second_delivery_in_another_browser_shows_nothing(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    stage.tiktok.answers.append(samples.answer())
    browser.come_back()

    arrival = browser.come_back(cookies={})

    assert arrival.landing is Landing.NEUTRAL
    assert arrival.cookie_value is None


def test_two_tabs_finish_in_either_order(stage: Stage, open_session: OpenSession) -> None:
    first = open_session()
    second = open_session(samples.link_session(end_user_id="u_43"))
    cookies = first.cookies | second.cookies
    stage.tiktok.answers.extend([samples.answer(), samples.answer(open_id="other")])

    landings = [second.come_back(cookies=cookies), first.come_back(cookies=cookies)]

    assert len(cookies) == 2
    assert {arrival.landing for arrival in landings} == {Landing.RETURN}


def test_after_a_cancel_the_same_session_can_be_tried_again(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    browser.come_back(code=None, error="access_denied")
    browser.go()
    stage.tiktok.answers.append(samples.answer())

    browser.come_back()

    assert stored(stage, browser).status is SessionStatus.COMPLETED
    assert stored(stage, browser).reason is None


def test_a_cancel_by_the_team_stops_an_attempt_under_way(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    stage.sessions.cancel(browser.session.id, caller=samples.BACKEND, now=stage.clock.now)

    browser.come_back()

    assert stage.tiktok.sent == []
    assert stored(stage, browser).reason is SessionReason.CANCELLED_BY_TEAM


# -- the exchange -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Refused("invalid_grant"), SessionReason.EXCHANGE_FAILED),
        (Misconfigured("invalid_request"), SessionReason.APP_MISCONFIGURED),
        (Misconfigured("invalid_client"), SessionReason.APP_MISCONFIGURED),
        (Unavailable("server_error", may_have_acted=True), SessionReason.PROVIDER_UNAVAILABLE),
        (Unavailable("busy", may_have_acted=False), SessionReason.PROVIDER_UNAVAILABLE),
        (NoAnswer(), SessionReason.PROVIDER_UNAVAILABLE),
    ],
)
def test_a_failed_exchange_ends_the_attempt_with_its_reason(
    stage: Stage, open_session: OpenSession, error: ProviderError, reason: SessionReason
) -> None:
    browser = open_session()
    # A connection that ended without an answer is most often a kept one: tried once more.
    tries = 2 if isinstance(error, NoAnswer) else 1
    stage.tiktok.answers.extend([error] * tries)

    arrival = browser.come_back()

    assert arrival.landing is Landing.PAGE
    assert stored(stage, browser).reason is reason
    assert len(stage.tiktok.sent) == tries
    assert len(stage.accounts) == 0


def test_a_refused_secret_is_followed_by_the_previous_one(
    stage: Stage, open_session: OpenSession
) -> None:
    stage.credentials.secrets = ("current", "previous")
    browser = open_session()
    stage.tiktok.answers.extend([Misconfigured("invalid_client"), samples.answer()])

    assert browser.come_back().landing is Landing.RETURN
    assert stage.tiktok.secrets == ["current", "previous"]


def test_granted_scopes_come_from_the_answer(stage: Stage, open_session: OpenSession) -> None:
    browser = open_session()
    stage.tiktok.answers.append(samples.answer(scopes=("user.info.basic",)))

    browser.come_back()

    session = stored(stage, browser)
    assert session.granted_scopes == ("user.info.basic",)
    assert session.missing_scopes == ("video.list",)
    assert stage.grant().scopes == ("user.info.basic",)


def test_an_answer_without_scopes_granted_what_was_asked_for(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    stage.tiktok.answers.append(samples.answer(scopes=None))

    browser.come_back()

    assert stored(stage, browser).missing_scopes == ()
    assert set(stage.grant().scopes) == {"user.info.basic", "video.list"}


def test_a_link_is_never_lost_for_its_profile(stage: Stage, open_session: OpenSession) -> None:
    browser = open_session()
    stage.tiktok.answers.append(samples.answer())
    stage.tiktok.shown_profile = None

    assert browser.come_back().landing is Landing.RETURN
    assert stage.accounts.account(account_id_of(browser.session)).profile is None


# -- a pair is always saved to a grant that exists ----------------------------------------------

NO_BASIC = ("video.list",)


def relinking(stage: Stage, open_session: OpenSession) -> Browser:
    """A browser that shall relink an account which is linked already."""
    account = stage.link()
    stage.clock.advance(days=1)
    session = samples.link_session(relink_account_id=account.id, at=stage.clock.now)
    return open_session(session)


def later(stage: Stage, **changes: object) -> TokenAnswer:
    return samples.answer(issued_at=stage.clock.now, **changes)  # type: ignore[arg-type]


def test_a_relink_keeps_the_account_and_replaces_the_pair(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = relinking(stage, open_session)
    answer = later(stage)
    stage.tiktok.answers.append(answer)
    linked_at = stage.accounts.account(account_id_of(browser.session)).linked_at

    browser.come_back()

    account = stage.accounts.account(account_id_of(browser.session))
    assert (account.linked_at, account.relinked_at) == (linked_at, stage.clock.now)
    assert answer.refresh_token is not None
    assert stage.refresh_token() == answer.refresh_token.reveal()


def test_a_cancelled_relink_changes_nothing(stage: Stage, open_session: OpenSession) -> None:
    browser = relinking(stage, open_session)
    before = stage.grant()

    browser.come_back(code=None, error="access_denied")

    assert stage.grant() == before


def test_a_relink_with_another_account_touches_no_link(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = relinking(stage, open_session)
    before = stage.grant()
    answer = later(stage, open_id="another-person")
    stage.tiktok.answers.append(answer)

    arrival = browser.come_back()

    assert arrival.landing is Landing.PAGE
    assert stored(stage, browser).reason is SessionReason.ACCOUNT_MISMATCH
    assert stage.grant() == before
    assert len(stage.accounts) == 1
    assert stage.tiktok.revoked == [answer.access_token.reveal()]


def test_the_pair_of_a_refused_relink_is_saved_where_its_person_is_linked(
    stage: Stage, open_session: OpenSession
) -> None:
    """The new authorisation may have ended the old pair of that grant: losing it loses a link."""
    browser = relinking(stage, open_session)
    other = stage.link("u_7", answer=later(stage, open_id="another-person"))
    stage.clock.advance(minutes=1)
    answer = later(stage, open_id="another-person")
    stage.tiktok.answers.append(answer)

    browser.come_back()

    assert stored(stage, browser).reason is SessionReason.ACCOUNT_MISMATCH
    assert answer.refresh_token is not None
    assert stage.refresh_token(other.grant_id) == answer.refresh_token.reveal()
    assert stage.tiktok.revoked == []
    assert stage.accounts.account(other.id).authorised_at == other.authorised_at


def test_without_a_required_scope_nothing_new_is_linked(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    answer = samples.answer(scopes=NO_BASIC)
    stage.tiktok.answers.append(answer)

    arrival = browser.come_back()

    session = stored(stage, browser)
    assert arrival.landing is Landing.PAGE
    assert (session.status, session.reason) == (
        SessionStatus.FAILED,
        SessionReason.SCOPE_NOT_GRANTED,
    )
    assert session.missing_scopes == ("user.info.basic",)
    assert len(stage.accounts) == 0
    assert stage.tiktok.revoked == [answer.access_token.reveal()]


def test_without_a_required_scope_an_existing_grant_still_gets_its_pair(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = relinking(stage, open_session)
    answer = later(stage, scopes=NO_BASIC)
    stage.tiktok.answers.append(answer)

    browser.come_back()

    assert stored(stage, browser).reason is SessionReason.SCOPE_NOT_GRANTED
    assert answer.refresh_token is not None
    assert stage.refresh_token() == answer.refresh_token.reveal()
    assert stage.tiktok.revoked == []


def test_a_pair_without_a_home_may_fail_to_be_revoked(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    stage.tiktok.answers.append(samples.answer(scopes=NO_BASIC))
    stage.tiktok.revocations.append(Unavailable("server_error", may_have_acted=True))

    browser.come_back()

    assert stored(stage, browser).reason is SessionReason.SCOPE_NOT_GRANTED
    assert len(stage.accounts) == 0


def test_a_second_end_user_shares_the_grant(stage: Stage, open_session: OpenSession) -> None:
    first = stage.link("u_1")
    stage.clock.advance(days=1)
    browser = open_session(samples.link_session(end_user_id="u_2", at=stage.clock.now))
    stage.tiktok.answers.append(later(stage))

    browser.come_back()

    second = stage.accounts.account(account_id_of(browser.session))
    assert second.id != first.id
    assert second.grant_id == first.grant_id
    assert len(stage.accounts) == 1
    assert stage.accounts.account(first.id) == first


def test_somebody_who_is_called_otherwise_by_now_is_the_same_account(
    stage: Stage, open_session: OpenSession
) -> None:
    """Names at TikTok change hands; ids do not."""
    for name in ("Mina Park", "Somebody Else"):
        browser = open_session(samples.link_session(at=stage.clock.now))
        stage.tiktok.answers.append(samples.answer(issued_at=stage.clock.now))
        stage.tiktok.shown_profile = replace(samples.profile(), display_name=name)
        browser.come_back()
        stage.clock.advance(minutes=1)

    (account,) = stage.accounts.read_partition(account_id_of(browser.session))[1]
    assert account.id == account_id_of(browser.session)
    assert account.profile is not None
    assert account.profile.display_name == "Somebody Else"


def test_a_new_link_clears_a_relink_flag(stage: Stage, open_session: OpenSession) -> None:
    browser = relinking(stage, open_session)
    stage.accounts.change(samples.GRANT_ID, status=Status.RELINK_REQUIRED, reason="rotation_lost")
    stage.tiktok.answers.append(later(stage))

    browser.come_back()

    assert (stage.grant().status, stage.grant().reason) == (Status.ACTIVE, None)


def test_an_unlink_that_came_after_the_person_came_back_wins(
    stage: Stage, open_session: OpenSession
) -> None:
    """The late pair belongs to nobody: it is given back, and the session says that it failed."""
    browser = relinking(stage, open_session)
    answer = later(stage)
    stage.tiktok.answers.append(answer)

    def unlinked() -> None:
        stage.clock.advance(seconds=1)
        grant = stage.grant()
        stage.accounts.mark_revoking(grant, now=stage.clock.now)
        stage.accounts.forget_tokens(grant, revocation="true", now=stage.clock.now)

    stage.happenings.before("authorisations.save_authorised", unlinked)

    arrival = browser.come_back()

    assert arrival.landing is Landing.PAGE
    assert stored(stage, browser).reason is SessionReason.EXCHANGE_FAILED
    assert stage.tiktok.revoked == [answer.access_token.reveal()]
    assert stage.grant().pair is None


def test_a_code_whose_request_broke_is_sent_once_more(
    stage: Stage, open_session: OpenSession
) -> None:
    """Most often a kept connection had ended: TikTok never saw the code."""
    browser = open_session()
    stage.tiktok.answers.extend([NoAnswer(), samples.answer()])

    assert browser.come_back().landing is Landing.RETURN
    assert stage.tiktok.sent == [CODE, CODE]


@pytest.mark.parametrize("seconds", [0, 15.9])
def test_a_code_is_spent_only_with_time_to_save(
    stage: Stage, open_session: OpenSession, seconds: float
) -> None:
    browser = open_session()

    browser.come_back(seconds=seconds)

    assert stage.tiktok.sent == []
    assert stored(stage, browser).reason is SessionReason.PROVIDER_UNAVAILABLE


def test_a_profile_waits_for_no_time_that_saving_needs(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()

    def late() -> TokenAnswer:
        stage.clock.advance(seconds=19)
        return samples.answer(issued_at=stage.clock.now)

    stage.tiktok.answers.append(late)

    assert browser.come_back(seconds=28).landing is Landing.RETURN
    assert "tiktok.profile" not in stage.calls


# -- when the tables do not take it -------------------------------------------------------------

WRITES = ["authorisations.save_authorised", "authorisations.save_account", "sessions.finish"]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failed_write_is_repeated(
    stage: Stage, open_session: OpenSession, write: str, when: str
) -> None:
    browser = open_session()
    stage.tiktok.answers.append(samples.answer())
    plan = stage.happenings.before if when == "before" else stage.happenings.after
    plan(write, StoreUnavailable("down"), StoreUnavailable("down"))

    arrival = browser.come_back()

    assert arrival.landing is Landing.RETURN
    assert stage.calls.count(write) == 3
    assert stored(stage, browser).status is SessionStatus.COMPLETED
    assert stage.grant().version == 1


@pytest.mark.parametrize("write", WRITES)
def test_what_the_tables_do_not_take_is_rescued_whole(
    stage: Stage, open_session: OpenSession, write: str
) -> None:
    """The pair, its account and the session's result: nothing is left to guess later."""
    browser = open_session()
    answer = samples.answer()
    stage.tiktok.answers.append(answer)
    stage.happenings.before(write, *[StoreUnavailable("down")] * 200)
    ends = stage.deadline(28)

    arrival = browser.come_back()

    assert arrival.landing is Landing.PAGE
    assert stage.clock.now < ends
    stage.happenings.forget()
    (parcel,) = stage.rescue.parcels
    assert isinstance(parcel, AuthorisedPair)
    stage.rescuing().land(parcel)
    account_id = account_id_of(browser.session)
    assert answer.refresh_token is not None
    assert stage.refresh_token() == answer.refresh_token.reveal()
    assert stage.accounts.account(account_id).end_user_id == browser.session.end_user_id
    assert stored(stage, browser).status is SessionStatus.COMPLETED
    assert stored(stage, browser).account_id == account_id


def test_a_refused_pair_that_cannot_be_saved_makes_no_account_later(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = relinking(stage, open_session)
    answer = later(stage, scopes=NO_BASIC)
    stage.tiktok.answers.append(answer)
    stage.happenings.before(WRITES[0], *[StoreUnavailable("down")] * 200)

    browser.come_back()

    (parcel,) = stage.rescue.parcels
    assert isinstance(parcel, AuthorisedPair)
    assert parcel.account is None


def test_a_rescued_parcel_carries_only_what_is_sealed(
    stage: Stage, open_session: OpenSession
) -> None:
    browser = open_session()
    answer = samples.answer()
    stage.tiktok.answers.append(answer)
    stage.happenings.before(WRITES[0], *[StoreUnavailable("down")] * 200)

    browser.come_back()

    (parcel,) = stage.rescue.parcels
    assert isinstance(parcel, AuthorisedPair)
    assert isinstance(parcel.account, NewAccount)
    assert answer.access_token.reveal() not in repr(parcel)
    assert browser.session.id not in repr(parcel)


def test_no_log_line_holds_a_code_or_token(
    stage: Stage, open_session: OpenSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers: list[TokenAnswer | ProviderError] = [
        samples.answer(scopes=NO_BASIC),
        samples.answer(),
        Refused("invalid_grant"),
        NoAnswer(),
    ]
    browsers = []
    for answer in answers:
        browsers.append(open_session())
        stage.tiktok.answers.extend([answer] * (2 if isinstance(answer, NoAnswer) else 1))
        browsers[-1].come_back()
        open_session().come_back(cookies={})

    said = " ".join(str(vars(record)) for record in caplog.records)
    secrets = [CODE, "act.", "rft.", "current-secret"]
    secrets += [browser.session.id for browser in browsers]
    assert caplog.records
    assert not [secret for secret in secrets if secret in said]
