"""Unlinking: our side at once, TikTok's with the last account, and the truth about both."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.fakes import samples
from tests.unit.stage import Stage
from tiktok_linking.accounts import Account, RelinkReason, Revocation, Status
from tiktok_linking.callers import Caller, Tenant
from tiktok_linking.errors import (
    Misconfigured,
    NoAnswer,
    NotFound,
    Refused,
    StoreUnavailable,
    Unavailable,
)
from tiktok_linking.ports import Outcome, RenewalReport, RenewedPair, Saved
from tiktok_linking.unlinking import Unlinked

DOWN = Unavailable("server_error", may_have_acted=True)


@pytest.fixture
def account(stage: Stage) -> Account:
    """One linked account with a live token."""
    return stage.link()


def unlink(
    stage: Stage, account: Account, *, revoke: bool = True, caller: Caller = samples.BACKEND
) -> Unlinked:
    return stage.unlinking().unlink(account.id, caller=caller, revoke=revoke)


def access_token(stage: Stage) -> str:
    grant = stage.grant()
    opened = stage.sealing.open_access(
        stage.pair(), registration=grant.registration, open_id=grant.open_id
    )
    stage.happenings.forget()
    return opened.reveal()


def is_forgotten(stage: Stage) -> bool:
    return stage.grant().pair is None and stage.grant().status is Status.UNLINKED


def dead_token(stage: Stage) -> None:
    stage.clock.advance(hours=24)


def another(stage: Stage) -> Account:
    """A second end user who shares the grant."""
    stage.clock.advance(minutes=1)
    return stage.link("u_43", answer=samples.answer(issued_at=stage.clock.now))


# -- the last account ---------------------------------------------------------------------------


def test_the_last_unlink_disconnects_the_app_and_forgets_the_tokens(
    stage: Stage, account: Account
) -> None:
    token = access_token(stage)

    result = unlink(stage, account)

    assert result == Unlinked(Revocation.DONE)
    assert stage.tiktok.revoked == [token]
    assert is_forgotten(stage)
    assert stage.accounts.account(account.id).unlinked_at == stage.clock.now


def test_the_marks_come_first_so_that_a_crash_leaves_them(stage: Stage, account: Account) -> None:
    unlink(stage, account)

    steps = [c for c in stage.calls if c.startswith(("links.mark", "tiktok.", "links.forget"))]
    assert steps == [
        "links.mark_unlinked",
        "links.mark_revoking",
        "tiktok.revoke",
        "links.forget_tokens",
    ]


def test_without_revoke_tiktok_is_not_asked_and_the_tokens_go(
    stage: Stage, account: Account
) -> None:
    result = unlink(stage, account, revoke=False)

    assert result == Unlinked(Revocation.NOT_DONE, "not_requested")
    assert "tiktok.revoke" not in stage.calls
    assert is_forgotten(stage)


def test_an_unlinked_grant_leaves_the_schedule(stage: Stage, account: Account) -> None:
    unlink(stage, account)

    assert stage.grant().due_at is None


def test_a_token_that_tiktok_no_longer_knows_needs_no_revocation(
    stage: Stage, account: Account
) -> None:
    stage.tiktok.revocations.append(Refused("invalid_grant"))

    assert unlink(stage, account) == Unlinked(Revocation.NOT_NEEDED, "already_gone")
    assert is_forgotten(stage)


@pytest.mark.parametrize("account_id", ["", "acct_x", "acct_" + "a" * 48])
def test_an_unknown_account_is_not_found(stage: Stage, account_id: str) -> None:
    with pytest.raises(NotFound):
        stage.unlinking().unlink(account_id, caller=samples.BACKEND, revoke=True)


def test_an_account_of_a_known_grant_may_be_unknown(stage: Stage, account: Account) -> None:
    stranger = samples.account(end_user_id="u_never")

    with pytest.raises(NotFound):
        unlink(stage, stranger)

    assert stage.accounts.account(account.id).unlinked_at is None


# -- a shared grant -----------------------------------------------------------------------------


def test_a_shared_grant_is_not_revoked(stage: Stage, account: Account) -> None:
    other = another(stage)

    result = unlink(stage, account)

    assert result == Unlinked(Revocation.NOT_DONE, "shared_grant")
    assert stage.tiktok.revoked == []
    assert stage.grant().status is Status.ACTIVE
    assert stage.accounts.account(other.id).unlinked_at is None


def test_the_second_of_two_revokes(stage: Stage, account: Account) -> None:
    other = another(stage)
    unlink(stage, account)

    result = unlink(stage, other)

    assert result == Unlinked(Revocation.DONE)
    assert is_forgotten(stage)


def test_two_unlinks_at_once_leave_no_token_behind(stage: Stage, account: Account) -> None:
    """Each finds the other's account still linked before it marks its own."""
    other = another(stage)
    inner: list[Unlinked] = []
    stage.happenings.before("links.mark_unlinked", lambda: inner.append(unlink(stage, other)))

    result = unlink(stage, account)

    results = {result.revoked_at_tiktok, inner[0].revoked_at_tiktok}
    assert Revocation.DONE in results
    assert is_forgotten(stage)


def test_a_link_made_in_this_moment_lives(stage: Stage, account: Account) -> None:
    stage.happenings.before("links.mark_revoking", lambda: another(stage))

    result = unlink(stage, account)

    assert result == Unlinked(Revocation.NOT_DONE, "linked_again")
    assert stage.tiktok.revoked == []
    assert stage.grant().status is Status.ACTIVE


def test_a_link_made_by_the_same_person_in_this_moment_lives(
    stage: Stage, account: Account
) -> None:
    """By the time of the second look both row and grant are those of the new link."""

    def again() -> None:
        stage.clock.advance(minutes=1)
        stage.link(answer=samples.answer(issued_at=stage.clock.now))

    stage.happenings.after("links.mark_unlinked", again)

    result = unlink(stage, account)

    assert result == Unlinked(Revocation.NOT_DONE, "linked_again")
    assert stage.tiktok.revoked == []
    assert stage.grant().status is Status.ACTIVE


def test_a_link_made_after_the_revocation_keeps_its_tokens(stage: Stage, account: Account) -> None:
    newer = samples.answer(issued_at=stage.clock.now + timedelta(seconds=1))
    stage.happenings.before("links.forget_tokens", lambda: stage.authorise(newer))

    unlink(stage, account)

    assert newer.refresh_token is not None
    assert stage.refresh_token() == newer.refresh_token.reveal()
    assert stage.grant().status is Status.ACTIVE


def between_grant_and_account(stage: Stage) -> None:
    """A callback has stored its pair; its account row is about to be written."""
    stage.clock.advance(minutes=1)
    stage.authorise(samples.answer(issued_at=stage.clock.now))
    stage.clock.advance(seconds=2)


def test_a_link_that_is_being_made_lives(stage: Stage, account: Account) -> None:
    between_grant_and_account(stage)

    result = unlink(stage, account)

    assert result == Unlinked(Revocation.NOT_DONE, "linked_again")
    assert stage.grant().status is Status.ACTIVE
    assert stage.tiktok.revoked == []


def test_a_link_that_was_never_finished_holds_up_nothing_for_long(
    stage: Stage, account: Account
) -> None:
    between_grant_and_account(stage)
    unlink(stage, account)
    stage.clock.advance(minutes=1)

    assert unlink(stage, account) == Unlinked(Revocation.DONE)
    assert is_forgotten(stage)


def test_a_link_made_while_the_dead_token_was_renewed_lives(stage: Stage, account: Account) -> None:
    dead_token(stage)

    def linked_again() -> RenewalReport:
        stage.clock.advance(seconds=1)
        another(stage)
        return RenewalReport(Outcome.FRESH)

    stage.door.answers.append(linked_again)

    assert unlink(stage, account) == Unlinked(Revocation.NOT_DONE, "linked_again")
    assert stage.tiktok.revoked == []
    assert stage.grant().status is Status.ACTIVE


# -- when TikTok does not answer ----------------------------------------------------------------


@pytest.mark.parametrize("trouble", [DOWN, NoAnswer()])
def test_a_revocation_that_fails_is_pending_and_keeps_what_it_needs(
    stage: Stage, account: Account, trouble: Unavailable | NoAnswer
) -> None:
    stage.tiktok.revocations.append(trouble)

    result = unlink(stage, account)

    assert result == Unlinked(Revocation.PENDING, "provider_unavailable")
    assert stage.grant().pair is not None
    assert stage.grant().status is Status.UNLINKED
    assert stage.accounts.account(account.id).unlinked_at is not None


def test_a_second_call_finishes_what_the_first_could_not(stage: Stage, account: Account) -> None:
    stage.tiktok.revocations.append(DOWN)
    unlink(stage, account)

    assert unlink(stage, account) == Unlinked(Revocation.DONE)
    assert is_forgotten(stage)


def test_repeating_a_finished_unlink_says_what_it_said(stage: Stage, account: Account) -> None:
    unlink(stage, account)
    unlinked_at = stage.accounts.account(account.id).unlinked_at
    stage.clock.advance(days=1)

    again = unlink(stage, account)

    assert again == Unlinked(Revocation.DONE)
    assert len(stage.tiktok.revoked) == 1
    assert stage.accounts.account(account.id).unlinked_at == unlinked_at


def test_a_crash_between_revocation_and_forgetting_is_finished_by_the_next(
    stage: Stage, account: Account
) -> None:
    stage.happenings.before("links.forget_tokens", StoreUnavailable("down"))
    with pytest.raises(StoreUnavailable):
        unlink(stage, account)
    stage.tiktok.revocations.append(Refused("invalid_grant"))

    result = unlink(stage, account)

    assert result.revoked_at_tiktok is Revocation.NOT_NEEDED
    assert is_forgotten(stage)


def test_a_refused_secret_is_followed_by_the_previous_one(stage: Stage, account: Account) -> None:
    stage.credentials.secrets = ("current", "previous")
    stage.tiktok.revocations.append(Misconfigured("invalid_client"))

    assert unlink(stage, account) == Unlinked(Revocation.DONE)
    assert stage.tiktok.secrets == ["current", "previous"]


@pytest.mark.parametrize("word", ["invalid_client", "unauthorized_client"])
def test_a_refused_registration_leaves_the_revocation_pending(
    stage: Stage, account: Account, word: str
) -> None:
    stage.tiktok.revocations.extend([Misconfigured(word)] * 3)

    assert unlink(stage, account) == Unlinked(Revocation.PENDING, "client_credentials_invalid")
    assert stage.grant().pair is not None


def test_a_registration_without_a_secret_leaves_the_revocation_pending(
    stage: Stage, account: Account
) -> None:
    stage.credentials.secrets = ()

    assert unlink(stage, account).revoked_at_tiktok is Revocation.PENDING


# -- a dead access token ------------------------------------------------------------------------


def renewed(stage: Stage) -> RenewalReport:
    """What the refresh function does for a grant that is being revoked."""
    answer = samples.answer(issued_at=stage.clock.now)
    pair = stage.sealing.seal_pair(answer, registration="default", now=stage.clock.now)
    saved = stage.accounts.save_renewed(
        RenewedPair(samples.GRANT_ID, stage.pair().fingerprint, b"write-id", pair),
        due_at=None,
        now=stage.clock.now,
    )
    assert saved is Saved.STORED
    return RenewalReport(Outcome.RENEWED)


def test_a_dead_access_token_is_renewed_in_order_to_revoke(stage: Stage, account: Account) -> None:
    dead_token(stage)
    stage.door.answers.append(lambda: renewed(stage))

    result = unlink(stage, account)

    assert result == Unlinked(Revocation.DONE)
    assert stage.door.knocks[0].for_revocation
    assert len(stage.tiktok.revoked) == 1
    assert is_forgotten(stage)


@pytest.mark.parametrize(
    "outcome",
    [Outcome.PROVIDER_UNAVAILABLE, Outcome.IN_PROGRESS, Outcome.UNKNOWN, Outcome.MISCONFIGURED],
)
def test_without_a_live_token_the_revocation_waits(
    stage: Stage, account: Account, outcome: Outcome
) -> None:
    dead_token(stage)
    stage.door.answers.append(RenewalReport(outcome, retry_after=5))

    result = unlink(stage, account)

    assert result == Unlinked(Revocation.PENDING, outcome.value)
    assert stage.tiktok.revoked == []
    assert stage.grant().pair is not None


def test_a_refresh_token_that_tiktok_refused_leaves_nothing_to_revoke(
    stage: Stage, account: Account
) -> None:
    dead_token(stage)
    grant = stage.grant()

    def refused() -> RenewalReport:
        stage.accounts.require_relink(
            grant, RelinkReason.REFRESH_TOKEN_REJECTED, now=stage.clock.now
        )
        return RenewalReport(Outcome.RELINK_REQUIRED)

    stage.door.answers.append(refused)

    result = unlink(stage, account)

    assert result == Unlinked(Revocation.NOT_NEEDED, "refresh_token_rejected")
    assert is_forgotten(stage)


def test_a_link_that_is_over_needs_no_revocation(stage: Stage, account: Account) -> None:
    stage.accounts.require_relink(stage.grant(), RelinkReason.ROTATION_LOST, now=stage.clock.now)
    dead_token(stage)

    result = unlink(stage, account)

    assert result == Unlinked(Revocation.NOT_NEEDED, "rotation_lost")
    assert stage.door.knocks == []
    assert is_forgotten(stage)


def test_a_link_past_its_deadline_needs_no_revocation(stage: Stage, account: Account) -> None:
    stage.clock.advance(days=181)

    result = unlink(stage, account)

    assert result == Unlinked(Revocation.NOT_NEEDED, "refresh_token_expired")
    assert stage.door.knocks == []


def test_a_lost_rotation_with_a_live_token_is_still_revoked(stage: Stage, account: Account) -> None:
    """The app is connected at TikTok as long as nobody disconnected it."""
    stage.accounts.require_relink(stage.grant(), RelinkReason.ROTATION_LOST, now=stage.clock.now)

    assert unlink(stage, account) == Unlinked(Revocation.DONE)


def test_access_withdrawn_at_tiktok_needs_no_revocation(stage: Stage, account: Account) -> None:
    stage.accounts.change(account.grant_id, status=Status.REVOKED, reason="revoked_by_user")

    result = unlink(stage, account)

    assert result == Unlinked(Revocation.NOT_NEEDED, "revoked_by_user")
    assert stage.tiktok.revoked == []
    assert is_forgotten(stage)


def test_a_pair_that_a_renewal_stored_meanwhile_is_forgotten_too(
    stage: Stage, account: Account
) -> None:
    """It belongs to the authorisation that was just revoked."""
    stage.happenings.before("links.forget_tokens", lambda: renewed(stage))

    result = unlink(stage, account)

    assert result == Unlinked(Revocation.DONE)
    assert is_forgotten(stage)


def test_an_account_without_a_grant_row_is_unlinked_all_the_same(
    stage: Stage, account: Account
) -> None:
    stage.accounts.change(account.grant_id, pair=None)

    assert unlink(stage, account).revoked_at_tiktok is Revocation.NOT_NEEDED
    assert stage.accounts.account(account.id).unlinked_at is not None


def test_linking_again_revives_the_account(stage: Stage, account: Account) -> None:
    unlink(stage, account)
    stage.clock.advance(days=1)
    stage.authorise(samples.answer(issued_at=stage.clock.now))
    again = samples.account(at=stage.clock.now)
    stage.accounts.save_account(again)

    row = stage.accounts.account(account.id)
    assert row == replace(again, linked_at=account.linked_at)
    assert stage.grant().status is Status.ACTIVE


# -- a caller that is held to a tenant ----------------------------------------------------------

ONE = Caller("backend-of-1", Tenant("t_1"))


def of_tenant(stage: Stage, tenant: str) -> Account:
    """A tenant's link to the TikTok account that ``account`` has linked, too."""
    stage.clock.advance(minutes=1)
    row = samples.account(tenant_id=tenant, at=stage.clock.now)
    stage.accounts.save_account(row)
    return row


def test_a_mapped_caller_learns_of_no_other_link_but_that_policy_kept_the_grant(
    stage: Stage, account: Account
) -> None:
    own = of_tenant(stage, "t_1")

    assert unlink(stage, own, caller=ONE) == Unlinked(Revocation.NOT_DONE, "policy")
    assert stage.tiktok.revoked == []
    assert stage.grant().status is Status.ACTIVE


def test_a_mapped_caller_learns_of_no_link_that_is_made_in_this_moment(
    stage: Stage, account: Account
) -> None:
    own = of_tenant(stage, "t_1")
    unlink(stage, account)
    stage.happenings.before("links.mark_revoking", lambda: another(stage))

    assert unlink(stage, own, caller=ONE) == Unlinked(Revocation.NOT_DONE, "policy")
    assert stage.grant().status is Status.ACTIVE


def test_a_mapped_caller_that_is_the_last_revokes_as_anybody(
    stage: Stage, account: Account
) -> None:
    own = of_tenant(stage, "t_1")
    unlink(stage, account)

    assert unlink(stage, own, caller=ONE) == Unlinked(Revocation.DONE)


def test_anothers_account_is_not_found_and_stays_linked(stage: Stage, account: Account) -> None:
    other = of_tenant(stage, "t_2")

    for row in (account, other):
        with pytest.raises(NotFound):
            unlink(stage, row, caller=ONE)

        assert stage.accounts.account(row.id).unlinked_at is None
