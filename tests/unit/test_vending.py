"""Vending: a token that works, a warning where something needs attention, never a dead token."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from tests.fakes import samples
from tests.fakes.door import Knock
from tests.unit.stage import Stage
from tiktok_linking.accounts import Account, RelinkReason, Status
from tiktok_linking.errors import (
    AccountRevoked,
    AccountUnlinked,
    ClientCredentialsInvalid,
    LinkingError,
    NotFound,
    ProviderUnavailable,
    RefreshBackoff,
    RefreshInProgress,
    RefreshOutcomeUnknown,
    RelinkRequired,
    ScopeNotGranted,
    SealBroken,
    StoreUnavailable,
)
from tiktok_linking.ports import Outcome, RenewalReport
from tiktok_linking.vending import VendedToken

FIVE_MINUTES = timedelta(minutes=5)


@pytest.fixture
def account(stage: Stage) -> Account:
    """One linked account with a fresh pair."""
    return stage.link()


def vend(
    stage: Stage,
    account: Account,
    *,
    min_ttl: timedelta = FIVE_MINUTES,
    required_scopes: tuple[str, ...] = (),
    rejected: bool = False,
) -> VendedToken:
    return stage.vending().access_token_for(
        account.id,
        caller=samples.BACKEND,
        min_ttl=min_ttl,
        required_scopes=required_scopes,
        rejected=rejected,
    )


def renewing(stage: Stage, outcome: Outcome = Outcome.RENEWED) -> None:
    """Let the door renew as the refresh function does."""

    def renew() -> RenewalReport:
        stage.authorise(samples.answer(issued_at=stage.clock.now))
        return RenewalReport(outcome)

    stage.door.answers.append(renew)


def about_to_end(stage: Stage) -> None:
    stage.clock.advance(hours=23, minutes=58)


def dead(stage: Stage) -> None:
    stage.clock.advance(hours=24)


# -- a live token -------------------------------------------------------------------------------


def test_a_live_token_is_handed_out_with_its_facts(stage: Stage, account: Account) -> None:
    stage.clock.advance(hours=1)

    token = vend(stage, account)

    assert token.access_token.reveal().startswith("act.sample")
    assert token.expires_in == 23 * 3600
    assert token.scopes == samples.SCOPES
    assert (token.refreshed, token.warning) == (False, None)


def test_a_vend_is_one_read_and_no_write(stage: Stage, account: Account) -> None:
    vend(stage, account)
    stage.happenings.forget()
    stage.clock.advance(hours=5)

    vend(stage, account)

    assert stage.calls == ["links.read_link", "sealing.open_access"]


def test_scopes_that_the_session_wanted_and_did_not_get_are_told(stage: Stage) -> None:
    account = stage.link(answer=samples.answer(scopes=("user.info.basic",)))

    token = vend(stage, account)

    assert token.missing_scopes == ("video.list",)


@pytest.mark.parametrize(("left_seconds", "asks"), [(301, False), (300, True), (299, True)])
def test_the_door_is_asked_only_when_too_little_life_is_left(
    stage: Stage, account: Account, left_seconds: int, asks: bool
) -> None:
    stage.clock.advance(seconds=24 * 3600 - left_seconds)
    renewing(stage)

    token = vend(stage, account)

    assert bool(stage.door.knocks) is asks
    assert token.refreshed is asks


def test_the_caller_says_how_long_a_token_must_live(stage: Stage, account: Account) -> None:
    stage.clock.advance(hours=23, minutes=30)
    renewing(stage)

    token = vend(stage, account, min_ttl=timedelta(hours=1))

    assert stage.door.knocks == [
        Knock(account.grant_id, timedelta(hours=1), rejected=False, for_revocation=False)
    ]
    assert (token.refreshed, token.warning) == (True, None)
    assert token.expires_in == 24 * 3600


def test_a_token_that_tiktok_rejected_is_renewed_although_it_lives(
    stage: Stage, account: Account
) -> None:
    stage.clock.advance(minutes=2)
    renewing(stage)

    token = vend(stage, account, rejected=True)

    assert stage.door.knocks[0].rejected
    assert token.refreshed


def test_a_rejected_token_that_was_not_renewed_is_vended_with_a_warning(
    stage: Stage, account: Account
) -> None:
    """The door renews a rejected token at most once a minute; until then nothing better exists."""
    stage.door.answers.append(RenewalReport(Outcome.FRESH))

    token = vend(stage, account, rejected=True)

    assert not token.refreshed
    assert token.warning == "min_ttl_not_met"


# -- warnings instead of refusals ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "warning"),
    [
        (Outcome.UNKNOWN, "refresh_in_progress"),
        (Outcome.PROVIDER_UNAVAILABLE, "provider_unavailable"),
        (Outcome.BACKOFF, "provider_unavailable"),
        (Outcome.MISCONFIGURED, "provider_unavailable"),
        (Outcome.FRESH, "min_ttl_not_met"),
    ],
)
def test_a_live_token_is_vended_with_a_warning_rather_than_refused(
    stage: Stage, account: Account, outcome: Outcome, warning: str
) -> None:
    about_to_end(stage)
    stage.door.answers.append(RenewalReport(outcome, retry_after=7))

    token = vend(stage, account)

    assert token.warning == warning
    assert token.expires_in == 120
    assert not token.refreshed


def test_a_link_that_needs_its_owner_still_gives_its_live_token(
    stage: Stage, account: Account
) -> None:
    about_to_end(stage)
    grant = stage.grant()

    def refused() -> RenewalReport:
        stage.accounts.require_relink(grant, RelinkReason.ROTATION_LOST, now=stage.clock.now)
        return RenewalReport(Outcome.RELINK_REQUIRED)

    stage.door.answers.append(refused)

    token = vend(stage, account)

    assert token.warning == "relink_required"


def test_a_link_that_needs_its_owner_says_so_however_long_its_token_lives(
    stage: Stage, account: Account
) -> None:
    """The team has a day to reach its user; it must not hear of it when the token dies."""
    stage.accounts.require_relink(
        stage.grant(), RelinkReason.REFRESH_TOKEN_REJECTED, now=stage.clock.now
    )

    token = vend(stage, account)

    assert token.warning == "relink_required"
    assert stage.door.knocks == []


def test_a_passed_deadline_is_written_down_and_told(stage: Stage) -> None:
    account = stage.link(
        answer=samples.answer(lives=timedelta(hours=24), relink_in=timedelta(hours=2))
    )
    stage.clock.advance(hours=3)

    token = vend(stage, account, min_ttl=timedelta(hours=23))

    assert token.warning == "relink_required"
    assert stage.door.knocks == []
    assert stage.grant().status is Status.RELINK_REQUIRED
    assert stage.grant().reason == "refresh_token_expired"


def test_a_relink_in_the_same_moment_wins_over_a_passed_deadline(stage: Stage) -> None:
    account = stage.link(
        answer=samples.answer(lives=timedelta(hours=24), relink_in=timedelta(hours=2))
    )
    stage.clock.advance(hours=3)
    stage.happenings.before(
        "links.pass_deadline", lambda: stage.authorise(samples.answer(issued_at=stage.clock.now))
    )

    token = vend(stage, account)

    assert token.warning is None
    assert stage.grant().status is Status.ACTIVE


# -- no live token ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome.UNKNOWN, RefreshOutcomeUnknown),
        (Outcome.IN_PROGRESS, RefreshInProgress),
        (Outcome.BACKOFF, RefreshBackoff),
        (Outcome.PROVIDER_UNAVAILABLE, ProviderUnavailable),
        (Outcome.MISCONFIGURED, ClientCredentialsInvalid),
        (Outcome.RELINK_REQUIRED, RelinkRequired),
    ],
)
def test_a_dead_token_is_never_vended(
    stage: Stage, account: Account, outcome: Outcome, error: type[LinkingError]
) -> None:
    dead(stage)
    stage.door.answers.append(RenewalReport(outcome, retry_after=31))

    with pytest.raises(error) as refusal:
        vend(stage, account, min_ttl=timedelta(0))

    assert refusal.value.retry_after in (31, None)
    assert "sealing.open_access" not in stage.calls
    assert "links.mark_used" not in stage.calls


@pytest.mark.parametrize(
    "outcome",
    [Outcome.UNKNOWN, Outcome.IN_PROGRESS, Outcome.BACKOFF, Outcome.PROVIDER_UNAVAILABLE],
)
def test_where_waiting_helps_the_answer_says_how_long(
    stage: Stage, account: Account, outcome: Outcome
) -> None:
    dead(stage)
    stage.door.answers.append(RenewalReport(outcome, retry_after=31))

    with pytest.raises(LinkingError) as refusal:
        vend(stage, account)

    assert refusal.value.retry_after == 31


def test_a_dead_link_is_final_and_tells_its_reason(stage: Stage, account: Account) -> None:
    stage.accounts.require_relink(stage.grant(), RelinkReason.ROTATION_LOST, now=stage.clock.now)
    dead(stage)

    with pytest.raises(RelinkRequired) as refusal:
        vend(stage, account)

    assert refusal.value.facts == {"reason": "rotation_lost"}
    assert refusal.value.retry_after is None
    assert stage.door.knocks == []


def test_a_revoked_account_is_gone(stage: Stage, account: Account) -> None:
    stage.accounts.change(account.grant_id, status=Status.REVOKED, reason="revoked_by_user")

    with pytest.raises(AccountRevoked) as refusal:
        vend(stage, account)

    assert refusal.value.facts["reason"] == "revoked_by_user"


def test_an_unlinked_account_is_gone_though_its_grant_lives_on(
    stage: Stage, account: Account
) -> None:
    other = stage.link("u_43", answer=samples.answer(issued_at=stage.clock.now))
    stage.accounts.mark_unlinked(account, now=stage.clock.now)

    with pytest.raises(AccountUnlinked):
        vend(stage, account)
    assert vend(stage, other).warning is None


def test_an_account_unlinked_during_its_renewal_gets_no_token(
    stage: Stage, account: Account
) -> None:
    about_to_end(stage)

    def unlinked() -> RenewalReport:
        stage.accounts.mark_unlinked(account, now=stage.clock.now)
        return RenewalReport(Outcome.ENDED)

    stage.door.answers.append(unlinked)

    with pytest.raises(AccountUnlinked):
        vend(stage, account)


@pytest.mark.parametrize("account_id", ["", "acct_x", "acct_" + "a" * 48])
def test_an_unknown_account_is_not_found(stage: Stage, account_id: str) -> None:
    with pytest.raises(NotFound):
        stage.vending().access_token_for(account_id, caller=samples.BACKEND, min_ttl=FIVE_MINUTES)


def test_a_scope_that_was_not_granted_is_told_before_anything_is_renewed(
    stage: Stage, account: Account
) -> None:
    dead(stage)

    with pytest.raises(ScopeNotGranted) as refusal:
        vend(stage, account, required_scopes=("user.info.basic", "video.publish"))

    assert refusal.value.facts["missing_scopes"] == ["video.publish"]
    assert stage.door.knocks == []


def test_a_token_that_does_not_open_is_not_vended(stage: Stage, account: Account) -> None:
    other = stage.link("u_7", answer=samples.answer(open_id="another"))
    stage.accounts.change(account.grant_id, pair=stage.pair(other.grant_id))

    with pytest.raises(SealBroken):
        vend(stage, account)


# -- losing a race ------------------------------------------------------------------------------


def test_a_loser_waits_for_the_winners_token(stage: Stage, account: Account) -> None:
    about_to_end(stage)
    stage.door.answers.append(RenewalReport(Outcome.IN_PROGRESS, retry_after=20))
    stage.happenings.before(
        "links.read_link",
        lambda: None,
        lambda: None,
        lambda: None,
        lambda: stage.authorise(samples.answer(issued_at=stage.clock.now)),
    )

    token = vend(stage, account)

    assert token.refreshed
    assert token.warning is None
    assert len(stage.door.knocks) == 1, "a loser never asks twice"
    assert stage.clock.paused_seconds


def test_a_loser_waits_with_jitter_and_about_three_seconds_at_most(
    stage: Stage, account: Account
) -> None:
    about_to_end(stage)
    stage.door.answers.append(RenewalReport(Outcome.IN_PROGRESS, retry_after=20))

    token = vend(stage, account)

    assert token.warning == "refresh_in_progress"
    assert 3.0 <= sum(stage.clock.paused_seconds) <= 3.3


def test_a_loser_without_a_live_token_says_how_long_the_lease_lasts(
    stage: Stage, account: Account
) -> None:
    dead(stage)
    stage.door.answers.append(RenewalReport(Outcome.IN_PROGRESS, retry_after=20))

    with pytest.raises(RefreshInProgress) as refusal:
        vend(stage, account)

    assert refusal.value.retry_after == 20


# -- the mark of use ----------------------------------------------------------------------------


def test_the_first_vend_makes_the_account_warm(stage: Stage, account: Account) -> None:
    before = stage.grant().due_at

    vend(stage, account)

    grant = stage.grant()
    assert grant.last_used_at == stage.clock.now
    assert before is not None
    assert grant.due_at is not None
    assert grant.due_at < before
    assert grant.due_at < stage.pair().expires_at


@pytest.mark.parametrize(("hours", "marks"), [(5.99, 1), (6.0, 2), (12.0, 2)])
def test_the_mark_moves_at_most_once_in_six_hours(
    stage: Stage, account: Account, hours: float, marks: int
) -> None:
    vend(stage, account)
    stage.clock.advance(hours=hours)

    vend(stage, account)

    assert stage.calls.count("links.mark_used") == marks


def test_a_mark_that_cannot_be_written_is_not_worth_an_error(
    stage: Stage, account: Account
) -> None:
    stage.happenings.before("links.mark_used", StoreUnavailable("down"))

    assert vend(stage, account).warning is None


def test_no_log_line_holds_a_token(
    stage: Stage, account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stage.happenings.before("links.mark_used", StoreUnavailable("down"))

    vend(stage, account)

    assert caplog.records
    assert not [record for record in caplog.records if "act." in str(vars(record))]
