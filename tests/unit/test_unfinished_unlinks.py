"""Unlinks that stopped half-way: found again by themselves, and brought to an end in every case."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from tests.fakes import samples
from tests.fakes.happenings import Killed
from tests.unit.stage import Stage
from tests.unit.test_unlinking import (
    DOWN,
    access_token,
    another,
    dead_token,
    is_forgotten,
    renewed,
)
from tiktok_linking.accounts import (
    Account,
    Ending,
    RefreshMode,
    Revocation,
    RevokedReason,
    Status,
)
from tiktok_linking.callers import Caller, Tenant
from tiktok_linking.errors import Misconfigured, Refused, StoreUnavailable
from tiktok_linking.ports import Outcome, RenewalReport
from tiktok_linking.unlinking import (
    LAST_RETRY,
    LONGEST_TRY,
    Erased,
    Unlinked,
)

OUTAGE = (DOWN,) * 1000
CALLS_OF_AN_UNLINK = 10


@pytest.fixture
def account(stage: Stage) -> Account:
    """One linked account with a live token."""
    return stage.link()


def unlink(stage: Stage, account: Account, *, revoke: bool = True) -> Unlinked:
    return stage.unlinking().unlink(account.id, caller=samples.BACKEND, revoke=revoke)


def run(stage: Stage, **time: float) -> list[Unlinked | None]:
    """Some time later: the plan sends, and ``unlink`` works off what came."""
    stage.clock.advance(**time)
    return [stage.unlinking().finish(grant_id) for grant_id in stage.plan_endings()]


def is_left_alone(stage: Stage) -> bool:
    """Whether nobody looks at the grant's end any more."""
    return stage.grant().ending is None and stage.grant().look_at is None


# -- crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(CALLS_OF_AN_UNLINK))
@pytest.mark.parametrize("revoke", [True, False], ids=["revoke", "keep"])
def test_wherever_an_unlink_is_killed_it_ends_by_itself(
    stage: Stage, account: Account, number: int, after: bool, revoke: bool
) -> None:
    token = access_token(stage)
    killed = {"after": Killed()} if after else {"before": Killed()}
    stage.happenings.at(number, **killed)

    try:
        unlink(stage, account, revoke=revoke)
    except Killed:
        pass
    else:
        assert number >= len(stage.calls), "the kill did not come"
    was_unlinked = stage.accounts.account(account.id).unlinked_at is not None
    stage.happenings.forget()
    run(stage, seconds=61)
    run(stage, hours=1)

    assert is_left_alone(stage)
    if was_unlinked:
        assert is_forgotten(stage)
        assert (token in stage.tiktok.revoked) is revoke
    else:
        assert stage.grant().status is Status.ACTIVE
        assert stage.tiktok.revoked == []


def test_an_unlink_has_no_more_calls_than_are_killed_here(stage: Stage, account: Account) -> None:
    stage.happenings.forget()

    unlink(stage, account)

    assert len(stage.calls) == CALLS_OF_AN_UNLINK


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(10))
def test_a_retry_that_is_killed_is_followed_by_another(
    stage: Stage, account: Account, number: int, after: bool
) -> None:
    stage.tiktok.revocations.append(DOWN)
    unlink(stage, account)
    stage.happenings.forget()
    killed = {"after": Killed()} if after else {"before": Killed()}
    stage.happenings.at(number, **killed)

    with suppress(Killed):
        run(stage, seconds=61)
    stage.happenings.forget()
    run(stage, seconds=61)
    run(stage, hours=1)

    assert is_forgotten(stage)
    assert is_left_alone(stage)
    assert stage.tiktok.revoked


def test_nobody_interferes_while_an_unlink_may_be_at_work(stage: Stage, account: Account) -> None:
    stage.happenings.after("links.mark_unlinked", Killed())
    with pytest.raises(Killed):
        unlink(stage, account)

    assert run(stage, seconds=59) == []
    assert stage.unlinking().finish(account.grant_id) is None, "nor for a message of before"
    assert run(stage, seconds=1) == [Unlinked(Revocation.DONE)]


def test_two_that_are_killed_after_their_marks_leave_no_token_behind(
    stage: Stage, account: Account
) -> None:
    other = another(stage)
    for each in (account, other):
        stage.happenings.after("links.mark_unlinked", Killed())
        with pytest.raises(Killed):
            unlink(stage, each)

    run(stage, seconds=61)

    assert is_forgotten(stage)


# -- outages --------------------------------------------------------------------------------------


def test_a_pending_revocation_is_tried_again_at_once_by_the_queue(
    stage: Stage, account: Account
) -> None:
    """In a run of its own, which has all of its time for it."""
    stage.tiktok.revocations.append(DOWN)

    assert unlink(stage, account).revoked_at_tiktok is Revocation.PENDING
    assert stage.revocations.grant_ids == [account.grant_id]
    assert stage.unlinking().finish(account.grant_id) == Unlinked(Revocation.DONE)
    assert is_forgotten(stage)


def test_an_outage_of_a_day_ends_in_a_revocation(stage: Stage, account: Account) -> None:
    token = access_token(stage)
    pair = stage.pair()
    stage.tiktok.revocations.extend(OUTAGE)
    unlink(stage, account)
    asked = []
    for _ in range(288):
        run(stage, minutes=5)
        asked.append(stage.calls.count("tiktok.revoke"))
    stage.tiktok.revocations.clear()

    assert stage.grant().pair == pair, "the ciphertext stays until TikTok has answered"
    renew_for_revocation(stage)
    assert run(stage, hours=1) == [Unlinked(Revocation.DONE)]

    assert is_forgotten(stage)
    assert is_left_alone(stage)
    (revoked,) = stage.tiktok.revoked
    assert revoked != token, "the first one was dead by then"
    assert asked[-1] <= 30, "ever more seldom, and not at all while the token is dead"


def renew_for_revocation(stage: Stage) -> None:
    """What the refresh function does with the dead token of an unlinked grant."""
    stage.door.answers.append(lambda: renewed(stage))


def test_retries_wait_as_long_as_the_outage_has_lasted_and_an_hour_at_most(
    stage: Stage, account: Account
) -> None:
    stage.tiktok.revocations.extend(OUTAGE)
    unlink(stage, account)
    began = stage.clock.now
    tries: list[timedelta] = []
    while stage.clock.now < began + timedelta(hours=5):
        if run(stage, minutes=5):
            tries.append(stage.clock.now - began)

    waits = [later - sooner for sooner, later in pairwise(tries)]
    assert waits == sorted(waits)
    assert waits[-1] == LAST_RETRY
    assert len(tries) < 12


def test_a_revocation_ends_when_nothing_is_left_to_revoke(stage: Stage, account: Account) -> None:
    stage.tiktok.revocations.extend(OUTAGE)
    stage.accounts.change(account.grant_id, relink_by=stage.clock.now + timedelta(days=2))
    unlink(stage, account)

    ends = [end for _ in range(60) for end in run(stage, hours=1)]

    assert ends[-1] is not None
    assert ends[-1].revoked_at_tiktok is Revocation.NOT_NEEDED
    assert is_forgotten(stage)
    assert stage.grant().revocation == "not_needed"


def test_a_revocation_is_given_up_and_says_so(stage: Stage, account: Account) -> None:
    """Else a secret that nobody mends would keep a stranger's tokens for ever."""
    stage.tiktok.revocations.extend([Misconfigured("invalid_client")] * 100)
    stage.accounts.change(account.grant_id, relink_by=None)
    unlink(stage, account)
    dead_token(stage)
    stage.door.answers.extend([RenewalReport(Outcome.MISCONFIGURED)] * 100)
    run(stage, days=1)
    assert stage.grant().pair is not None

    (end,) = run(stage, days=LONGEST_TRY.days)

    assert end == Unlinked(Revocation.NOT_DONE, "client_credentials_invalid")
    assert is_forgotten(stage)
    assert is_left_alone(stage)
    assert unlink(stage, account) == end, "the result stays"


def test_a_queue_that_takes_nothing_costs_no_answer(stage: Stage, account: Account) -> None:
    stage.tiktok.revocations.append(DOWN)
    stage.happenings.before("revocations.put", StoreUnavailable("sqs"))

    assert unlink(stage, account).revoked_at_tiktok is Revocation.PENDING
    assert run(stage, minutes=5) == [Unlinked(Revocation.DONE)]


def test_a_message_that_comes_twice_asks_tiktok_once(stage: Stage, account: Account) -> None:
    stage.tiktok.revocations.append(DOWN)
    unlink(stage, account)
    stage.tiktok.revocations.append(DOWN)
    inner: list[Unlinked | None] = []
    stage.happenings.before(
        "links.look_later", lambda: inner.append(stage.unlinking().finish(account.grant_id))
    )
    before = stage.calls.count("tiktok.revoke")

    outer = stage.unlinking().finish(account.grant_id)

    assert (outer, inner) == (None, [Unlinked(Revocation.PENDING, "provider_unavailable")])
    assert stage.calls.count("tiktok.revoke") == before + 1


# -- what must not be ended -----------------------------------------------------------------------


def test_a_shared_grant_is_left_alone(stage: Stage, account: Account) -> None:
    other = another(stage)
    unlink(stage, account)

    assert run(stage, seconds=61) == [None]
    assert is_left_alone(stage)
    assert stage.grant().status is Status.ACTIVE
    assert stage.accounts.account(other.id).unlinked_at is None


def test_a_link_made_again_during_the_outage_lives(stage: Stage, account: Account) -> None:
    stage.tiktok.revocations.append(DOWN)
    unlink(stage, account)
    stage.clock.advance(minutes=1)
    stage.link(answer=samples.answer(issued_at=stage.clock.now))

    assert run(stage, minutes=5) == [None]
    assert stage.tiktok.revoked == []
    assert (stage.grant().status, is_left_alone(stage)) == (Status.ACTIVE, True)


def test_a_look_that_meets_a_new_unlink_leaves_it_to_that_ones_own(
    stage: Stage, account: Account
) -> None:
    other = another(stage)
    unlink(stage, account)
    stage.clock.advance(seconds=61)

    def killed_unlink() -> None:
        stage.happenings.after("links.mark_unlinked", Killed())
        with pytest.raises(Killed):
            unlink(stage, other)

    stage.happenings.before("links.leave_ending", killed_unlink)
    run(stage)
    assert not is_left_alone(stage)

    run(stage, seconds=61)
    assert is_forgotten(stage)


def test_a_link_that_lost_its_race_with_an_unlink_is_ended_too(
    stage: Stage, account: Account
) -> None:
    """Its pair came before the unlink, its row after: nobody is linked, so nobody may hold it."""
    stage.clock.advance(minutes=1)
    stage.authorise(samples.answer(issued_at=stage.clock.now))
    row = samples.account(at=stage.clock.now)
    stage.clock.advance(seconds=1)

    assert unlink(stage, account) == Unlinked(Revocation.NOT_DONE, "linked_again")
    stage.accounts.save_account(row)
    assert stage.accounts.account(account.id).unlinked_at is not None
    run(stage, seconds=61)

    assert is_forgotten(stage)
    assert stage.tiktok.revoked


def test_a_removal_at_tiktok_in_the_middle_is_the_end(stage: Stage, account: Account) -> None:
    """Between the marks: the webhook's own end stands, and nothing is pending for ever."""
    stage.clock.advance(hours=1)
    stage.happenings.before(
        "links.mark_revoking",
        lambda: stage.accounts.mark_revoked(
            account.grant_id,
            RevokedReason.REVOKED_BY_USER,
            authorised_before=stage.clock.now,
            now=stage.clock.now,
        ),
    )

    assert unlink(stage, account) == Unlinked(Revocation.NOT_NEEDED, "revoked_by_user")
    run(stage, seconds=61)
    assert (stage.grant().status, is_left_alone(stage)) == (Status.REVOKED, True)
    assert stage.tiktok.revoked == []


def test_the_wish_to_keep_the_app_connected_survives_a_crash(
    stage: Stage, account: Account
) -> None:
    stage.happenings.after("links.mark_revoking", Killed())
    with pytest.raises(Killed):
        unlink(stage, account, revoke=False)
    assert stage.grant().ending is Ending.FORGET

    assert run(stage, seconds=61) == [Unlinked(Revocation.NOT_DONE, "not_requested")]
    assert stage.tiktok.revoked == []


def test_a_token_that_was_revoked_before_the_crash_needs_no_second_revocation(
    stage: Stage, account: Account
) -> None:
    stage.happenings.after("tiktok.revoke", Killed())
    with pytest.raises(Killed):
        unlink(stage, account)
    stage.tiktok.revocations.append(Refused("invalid_grant"))

    assert run(stage, seconds=61) == [Unlinked(Revocation.NOT_NEEDED, "already_gone")]
    assert is_forgotten(stage)


# -- the plan -------------------------------------------------------------------------------------


def test_a_plan_sends_nothing_to_a_queue_that_is_full(stage: Stage, account: Account) -> None:
    stage.tiktok.revocations.append(DOWN)
    unlink(stage, account)
    stage.clock.advance(minutes=5)
    stage.revocations.backlog = 1000

    assert stage.plan_endings() == []


def test_a_plan_takes_the_oldest_first_page_by_page(stage: Stage) -> None:
    stage.tiktok.revocations.extend(OUTAGE)
    ended = []
    for number in range(23):
        answer = samples.answer(open_id=f"open-{number}", issued_at=stage.clock.now)
        linked = stage.link(answer=answer)
        unlink(stage, linked)
        ended.append(linked.grant_id)
        stage.clock.advance(seconds=1)
    stage.clock.advance(minutes=5)

    assert stage.plan_endings() == ended


# -- the mode of those who are left ---------------------------------------------------------------


def test_the_mode_steps_down_when_the_most_eager_account_is_unlinked(
    stage: Stage, account: Account
) -> None:
    other = another(stage)
    for each, mode in ((account, RefreshMode.ALWAYS), (other, RefreshMode.ON_DEMAND)):
        stage.accounts.update_account(
            each, stage.grant(), metadata=None, mode=mode, due_at=lambda _: stage.clock.now
        )
    assert stage.grant().mode is RefreshMode.ALWAYS

    unlink(stage, account)

    assert stage.grant().mode is RefreshMode.ON_DEMAND


# -- erasing one end user -------------------------------------------------------------------------

ONE = Caller("backend-of-1", Tenant("t_1"))
HELD = Caller("backend-of-1", Tenant("t_1", ("another",)))


def link_as(stage: Stage, end_user_id: str, name: str, *, tenant_id: str | None = None) -> Account:
    """A link to a TikTok account of its own, with all that a row can tell."""
    answer = samples.answer(open_id=name, issued_at=stage.clock.now)
    stage.authorise(answer)
    row = samples.account(
        end_user_id=end_user_id, open_id=name, tenant_id=tenant_id, at=stage.clock.now
    )
    full = replace(row, metadata={"plan": "pro"}, profile=samples.profile())
    return stage.accounts.save_account_and_show(full)


def erase(
    stage: Stage,
    end_user_id: str = "u_42",
    *,
    caller: Caller = samples.BACKEND,
    tenant_id: str | None = None,
) -> Erased:
    return stage.unlinking().erase(end_user_id, tenant_id=tenant_id, caller=caller)


def results(erased: Erased) -> dict[str, Unlinked]:
    return dict(erased.accounts)


def test_one_call_ends_all_of_one_end_user_and_nothing_of_another(stage: Stage) -> None:
    mine = [link_as(stage, "u_42", name) for name in ("a", "b", "c")]
    other = link_as(stage, "u_43", "d")

    erased = erase(stage)

    assert results(erased) == {account.id: Unlinked(Revocation.DONE) for account in mine}
    assert erased.is_complete
    assert len(stage.tiktok.revoked) == 3
    for account in mine:
        row = stage.accounts.account(account.id)
        assert row.unlinked_at is not None
        assert not row.is_personal
        assert stage.accounts.grant(account.grant_id).pair is None
    assert stage.accounts.account(other.id) == other
    assert stage.accounts.grant(other.grant_id).status is Status.ACTIVE


def test_erasing_can_be_repeated_and_says_the_same(stage: Stage) -> None:
    link_as(stage, "u_42", "a")
    first = erase(stage)
    version = stage.accounts.grant(samples.account(open_id="a").grant_id).version

    assert erase(stage) == first
    assert len(stage.tiktok.revoked) == 1
    assert stage.accounts.grant(samples.account(open_id="a").grant_id).version == version


def test_nobody_is_erased_at_no_cost(stage: Stage) -> None:
    assert erase(stage, "u_never") == Erased([], is_complete=True)


def test_what_was_unlinked_before_loses_what_it_tells_of_a_person(stage: Stage) -> None:
    account = link_as(stage, "u_42", "a")
    unlink(stage, account)
    assert stage.accounts.account(account.id).is_personal

    assert results(erase(stage)) == {account.id: Unlinked(Revocation.DONE)}
    assert not stage.accounts.account(account.id).is_personal


def test_a_grant_that_others_share_stays_with_them(stage: Stage) -> None:
    account = link_as(stage, "u_42", "a")
    stage.clock.advance(minutes=1)
    other = link_as(stage, "u_43", "a")

    assert results(erase(stage)) == {account.id: Unlinked(Revocation.NOT_DONE, "shared_grant")}
    assert stage.accounts.grant(other.grant_id).status is Status.ACTIVE
    assert stage.accounts.account(other.id).is_personal


def test_a_tenant_erases_its_own_alone_whatever_it_asks_for(stage: Stage) -> None:
    own = link_as(stage, "u_42", "a", tenant_id="t_1")
    foreign = [link_as(stage, "u_42", "b", tenant_id="t_2"), link_as(stage, "u_42", "c")]

    for asked in ("t_2", None, "t_1"):
        assert list(results(erase(stage, caller=ONE, tenant_id=asked))) == [own.id]
    for row in foreign:
        assert stage.accounts.account(row.id) == row
    assert list(results(erase(stage, tenant_id="t_2"))) == [foreign[0].id]


def test_a_tenant_that_is_held_to_registrations_erases_within_them(stage: Stage) -> None:
    row = link_as(stage, "u_42", "a", tenant_id="t_1")

    assert erase(stage, caller=HELD) == Erased([], is_complete=True)
    assert stage.accounts.account(row.id) == row


def test_during_an_outage_all_rows_are_erased_and_the_rest_ends_by_itself(stage: Stage) -> None:
    mine = [link_as(stage, "u_42", f"n{number}") for number in range(5)]
    for _ in range(2):  # TikTok is asked twice, and each time hangs
        stage.happenings.before("tiktok.revoke", lambda: stage.clock.advance(seconds=10))
    stage.tiktok.revocations.extend((DOWN, DOWN))

    erased = erase(stage)

    assert erased.is_complete
    assert {result.revoked_at_tiktok for _, result in erased.accounts} == {Revocation.PENDING}
    assert [result.reason for _, result in erased.accounts].count("queued") == 3
    for account in mine:
        assert not stage.accounts.account(account.id).is_personal
    run(stage, seconds=61)
    run(stage, hours=1)
    assert all(stage.accounts.grant(account.grant_id).pair is None for account in mine)
    assert len(stage.tiktok.revoked) == 5


def test_where_time_runs_out_the_answer_says_that_something_is_left(stage: Stage) -> None:
    for number in range(3):
        link_as(stage, "u_42", f"n{number}")
    stage.happenings.before("links.mark_unlinked", lambda: stage.clock.advance(seconds=20))

    erased = erase(stage)

    assert not erased.is_complete
    assert list(results(erased).values()) == [Unlinked(Revocation.PENDING, "queued")]
    again = erase(stage)
    assert again.is_complete
    assert len(again.accounts) == 3


def test_an_end_user_of_many_accounts_is_erased_page_by_page(stage: Stage) -> None:
    for number in range(130):
        link_as(stage, "u_42", f"n{number}")

    erased = erase(stage)

    assert erased.is_complete
    assert len(results(erased)) == 130
