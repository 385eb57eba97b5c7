"""What the ports Grants, Links, Authorisations and Directory promise: the fake and the table alike.

Sequential only: who wins a race is shown against the local world, since moto is not atomic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.fakes import samples
from tests.fakes.accounts import AccountsInMemory
from tests.fakes.clock import NOON
from tests.fakes.happenings import Happenings
from tests.fakes.schedule import ScheduleInMemory
from tests.fakes.sealing import TransparentSealing
from tiktok_linking.accounts import (
    ENDING_TAKES,
    Account,
    Ending,
    Grant,
    RefreshMode,
    RelinkReason,
    RevokedReason,
    SealedPair,
    Status,
)
from tiktok_linking.adapters.account_table import AccountTable
from tiktok_linking.adapters.schedule_table import ScheduleTable
from tiktok_linking.circuit import Circuit, Trouble
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.ports import AuthorisedPair, Batch, Due, Ended, Failure, RenewedPair, Saved
from tiktok_linking.schedule import DUE_SHARDS, is_at_once, slot_of

Accounts = AccountsInMemory | AccountTable
Schedule = ScheduleInMemory | ScheduleTable
GRANT = samples.GRANT_ID
LATER = NOON + timedelta(hours=1)
DUE = NOON + timedelta(hours=19, minutes=3)

_sealing = TransparentSealing(Happenings())


def seal(answer: TokenAnswer) -> SealedPair:
    return _sealing.seal_pair(answer, registration="default", now=NOON)


def authorised(
    *, at: datetime = NOON, write_id: bytes = b"auth-001", **changes: Any
) -> AuthorisedPair:
    answer = samples.answer(issued_at=at, **changes)
    return AuthorisedPair(
        registration="default",
        open_id=answer.open_id,
        authorised_at=at,
        write_id=write_id,
        pair=seal(answer),
        account=None,
    )


def link(
    accounts: Accounts,
    end_user_id: str = "u_42",
    *,
    at: datetime = NOON,
    due_at: datetime | None = DUE,
    write_id: bytes | None = None,
    **changes: Any,
) -> Grant:
    """Store a pair and an account row, as the callback does."""
    made = authorised(at=at, write_id=write_id or f"{end_user_id:8.8}".encode(), **changes)
    saved = accounts.save_authorised(made, due_at=due_at, only_existing=False)
    assert saved is Saved.STORED
    accounts.save_account(
        samples.account(
            end_user_id=end_user_id, open_id=made.open_id, at=at, relink_by=made.pair.relink_by
        )
    )
    return read(accounts, made.grant_id)


def is_stored(accounts: Accounts, grant_id: str = GRANT) -> bool:
    return grant_id in accounts.read_batch([grant_id], ()).grants


def read(accounts: Accounts, grant_id: str = GRANT) -> Grant:
    grant = accounts.read_batch([grant_id], ()).grants.get(grant_id)
    assert grant is not None
    return grant


def renewed(
    grant: Grant, *, write_id: bytes = b"renew-01", at: datetime = LATER, **changes: Any
) -> RenewedPair:
    assert grant.pair is not None
    pair = seal(samples.answer(issued_at=at, open_id=grant.open_id, **changes))
    return RenewedPair(grant.id, grant.pair.fingerprint, write_id, pair)


def lease(accounts: Accounts, grant: Grant, owner: str = "worker", now: datetime = NOON) -> bool:
    return accounts.take_lease(grant, owner=owner, until=now + timedelta(seconds=35), now=now)


def save(
    accounts: Accounts,
    pair: RenewedPair,
    *,
    due_at: datetime | None = DUE,
    now: datetime = LATER,
) -> Saved:
    return accounts.save_renewed(pair, due_at=due_at, now=now)


def end(accounts: Accounts, grant: Grant) -> None:
    """Unlink: the mark, then the tokens."""
    assert accounts.mark_revoking(grant, now=NOON)
    assert accounts.forget_tokens(grant, revocation="true", now=NOON)


def failure(
    *, keeps_intent: bool, error: str = "server_error", backoff_until: datetime | None = None
) -> Failure:
    return Failure(error, "L" * 32, backoff_until, keeps_intent)


# -- storing an authorisation -------------------------------------------------------------------


def test_a_grant_that_was_never_stored_is_none(accounts: Accounts) -> None:
    assert not is_stored(accounts)


def test_a_stored_authorisation_is_read_as_it_was_written(accounts: Accounts) -> None:
    made = authorised()
    saved = accounts.save_authorised(made, due_at=DUE, only_existing=False)

    grant = read(accounts)

    assert saved is Saved.STORED
    assert grant.pair == made.pair
    assert (grant.registration, grant.open_id) == ("default", samples.OPEN_ID)
    assert (grant.status, grant.reason, grant.version) == (Status.ACTIVE, None, 1)
    assert grant.scopes == made.pair.scopes
    assert (grant.issued_at, grant.expires_at) == (made.pair.issued_at, made.pair.expires_at)
    assert (grant.relink_by, grant.authorised_at) == (made.pair.relink_by, NOON)
    assert (grant.due_at, grant.last_success_at) == (slot_of(DUE), NOON)
    assert (grant.mode, grant.rotations, grant.failures) == (RefreshMode.AUTO, 0, 0)
    assert (grant.lease_owner, grant.intent, grant.revocation) == (None, None, None)


def test_the_same_authorisation_written_again_changes_nothing(accounts: Accounts) -> None:
    made = authorised()
    accounts.save_authorised(made, due_at=DUE, only_existing=False)
    before = read(accounts)

    assert accounts.save_authorised(made, due_at=None, only_existing=False) is Saved.STORED
    assert accounts.save_authorised(made, due_at=None, only_existing=True) is Saved.STORED
    assert read(accounts) == before


def test_the_newest_authorisation_wins(accounts: Accounts) -> None:
    link(accounts)
    newer = authorised(at=LATER, write_id=b"auth-002")

    assert accounts.save_authorised(newer, due_at=DUE, only_existing=False) is Saved.STORED
    assert read(accounts).pair == newer.pair
    assert read(accounts).version == 2


def test_an_older_authorisation_comes_too_late(accounts: Accounts) -> None:
    before = link(accounts, at=LATER)
    older = authorised(at=NOON, write_id=b"auth-002")

    assert accounts.save_authorised(older, due_at=DUE, only_existing=False) is Saved.NEWER
    assert read(accounts) == before


def test_a_pair_for_existing_grants_makes_no_new_one(accounts: Accounts) -> None:
    saved = accounts.save_authorised(authorised(), due_at=DUE, only_existing=True)

    assert saved is Saved.ENDED
    assert not is_stored(accounts)


def test_a_pair_for_existing_grants_lands_on_one(accounts: Accounts) -> None:
    link(accounts)
    made = authorised(at=LATER, write_id=b"auth-002")

    assert accounts.save_authorised(made, due_at=DUE, only_existing=True) is Saved.STORED
    assert read(accounts).pair == made.pair


def test_a_pair_for_existing_grants_has_no_home_on_an_ended_one(accounts: Accounts) -> None:
    end(accounts, link(accounts))
    made = authorised(at=LATER, write_id=b"auth-002")

    assert accounts.save_authorised(made, due_at=DUE, only_existing=True) is Saved.ENDED
    assert read(accounts).pair is None


def test_a_pair_for_existing_grants_has_no_home_on_one_that_is_ending(accounts: Accounts) -> None:
    """Its revocation waits for TikTok; told to be NEWER, the caller would not revoke the pair."""
    accounts.mark_revoking(link(accounts), now=NOON)
    made = authorised(at=LATER, write_id=b"auth-002")

    assert accounts.save_authorised(made, due_at=DUE, only_existing=True) is Saved.ENDED


def test_an_authorisation_settles_everything_that_was_open(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)
    accounts.release(
        grant.id,
        owner="worker",
        failure=failure(keeps_intent=True, backoff_until=LATER),
        now=NOON,
    )
    accounts.require_relink(grant, RelinkReason.ROTATION_LOST, now=NOON)

    again = link(accounts, at=LATER, write_id=b"auth-002")

    assert (again.status, again.reason) == (Status.ACTIVE, None)
    assert (again.lease_owner, again.intent, again.recovering_since) == (None, None, None)
    assert (again.failing_since, again.failures, again.last_error) == (None, 0, None)
    assert (again.backoff_until, again.last_log_id) == (None, None)


def test_an_authorisation_revives_an_ended_grant(accounts: Accounts) -> None:
    end(accounts, link(accounts))

    again = link(accounts, at=LATER, write_id=b"auth-002")

    assert (again.status, again.revocation) == (Status.ACTIVE, None)
    assert again.pair is not None


def test_a_deadline_that_had_passed_says_nothing_about_a_new_authorisation(
    accounts: Accounts,
) -> None:
    link(accounts, relink_in=timedelta(minutes=30))

    again = link(accounts, at=LATER, write_id=b"auth-002", relink_in=None)

    assert again.relink_by is None
    assert again.pair is not None
    assert again.pair.relink_by is None


def test_an_unlink_that_came_later_wins_over_a_late_authorisation(accounts: Accounts) -> None:
    grant = link(accounts)
    assert accounts.mark_revoking(grant, now=LATER)
    assert accounts.forget_tokens(grant, revocation="true", now=LATER)
    late = authorised(at=LATER - timedelta(seconds=1), write_id=b"auth-002")

    assert accounts.save_authorised(late, due_at=DUE, only_existing=False) is Saved.ENDED
    assert read(accounts).pair is None


def test_an_authorisation_keeps_the_slot_of_those_who_know_the_mode(accounts: Accounts) -> None:
    link(accounts, due_at=DUE)

    link(accounts, at=LATER, write_id=b"auth-002", due_at=DUE + timedelta(days=3))

    assert read(accounts).due_at == slot_of(DUE)


def test_an_authorisation_gives_a_slot_to_a_grant_that_had_none(accounts: Accounts) -> None:
    end(accounts, link(accounts))

    again = link(accounts, at=LATER, write_id=b"auth-002", due_at=DUE)

    assert again.due_at == slot_of(DUE)


def test_a_deadline_that_is_not_told_again_stays(accounts: Accounts) -> None:
    before = link(accounts)

    again = link(accounts, at=LATER, write_id=b"auth-002", relink_in=None)

    assert again.relink_by == before.relink_by
    assert again.pair is not None
    assert again.pair.relink_by == before.relink_by


# -- the lease ----------------------------------------------------------------------------------


def test_a_lease_names_owner_end_and_intent(accounts: Accounts) -> None:
    grant = link(accounts)

    assert lease(accounts, grant)

    held = read(accounts)
    assert grant.pair is not None
    assert (held.lease_owner, held.lease_until) == ("worker", NOON + timedelta(seconds=35))
    assert held.intent == grant.pair.fingerprint
    assert held.version == grant.version, "a lease is no change that anybody sees"


def test_a_lease_has_one_owner(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)

    assert not lease(accounts, read(accounts), "other", NOON + timedelta(seconds=34))
    assert read(accounts).lease_owner == "worker"


def test_a_lease_that_ran_out_is_free(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)

    assert lease(accounts, read(accounts), "other", NOON + timedelta(seconds=35))
    assert read(accounts).lease_owner == "other"


def test_taking_ones_own_lease_again_is_no_loss(accounts: Accounts) -> None:
    """The SDK repeats a write whose reply was lost."""
    grant = link(accounts)
    lease(accounts, grant)

    assert lease(accounts, grant)


def test_a_lease_is_for_the_stored_token_alone(accounts: Accounts) -> None:
    stale = link(accounts)
    save(accounts, renewed(stale))

    assert not lease(accounts, stale)
    assert read(accounts).lease_owner is None


def test_no_lease_on_what_needs_its_owner(accounts: Accounts) -> None:
    grant = link(accounts)
    accounts.require_relink(grant, RelinkReason.ROTATION_LOST, now=NOON)

    assert not lease(accounts, grant)
    assert not lease(accounts, read(accounts))


def test_no_lease_on_what_ended_since(accounts: Accounts) -> None:
    grant = link(accounts)
    accounts.mark_revoking(grant, now=NOON)

    assert not lease(accounts, grant)


def test_who_knows_that_a_grant_is_ending_may_renew_it_to_revoke(accounts: Accounts) -> None:
    accounts.mark_revoking(link(accounts), now=NOON)

    assert lease(accounts, read(accounts))


def test_no_lease_without_tokens(accounts: Accounts) -> None:
    end(accounts, link(accounts))

    assert not lease(accounts, read(accounts))


def test_a_lease_ends_a_recovery(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)
    after = NOON + timedelta(seconds=36)
    accounts.mark_recovering(read(accounts), now=after)

    lease(accounts, read(accounts), "other", after)

    assert read(accounts).recovering_since is None


# -- saving a renewed pair ----------------------------------------------------------------------


def test_a_renewed_pair_replaces_the_one_that_was_spent(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)
    pair = renewed(grant)

    assert save(accounts, pair) is Saved.STORED

    after = read(accounts)
    assert after.pair == pair.pair
    assert (after.version, after.rotations) == (grant.version + 1, 1)
    assert (after.lease_owner, after.lease_until, after.intent) == (None, None, None)
    assert (after.last_success_at, after.due_at) == (LATER, slot_of(DUE))
    assert (after.authorised_at, after.mode) == (grant.authorised_at, grant.mode)


def test_the_same_pair_written_again_is_stored_once(accounts: Accounts) -> None:
    pair = renewed(link(accounts))
    save(accounts, pair)
    before = read(accounts)

    assert save(accounts, pair) is Saved.STORED
    assert read(accounts) == before


def test_a_pair_bought_with_a_token_that_was_replaced_comes_too_late(accounts: Accounts) -> None:
    grant = link(accounts)
    save(accounts, renewed(grant))
    before = read(accounts)

    assert save(accounts, renewed(grant, write_id=b"renew-02")) is Saved.NEWER
    assert read(accounts) == before


def test_a_pair_that_was_itself_replaced_comes_too_late(accounts: Accounts) -> None:
    grant = link(accounts)
    first = renewed(grant)
    save(accounts, first)
    save(accounts, renewed(read(accounts), write_id=b"renew-02"))

    assert save(accounts, first) is Saved.NEWER


def test_a_pair_without_a_grant_has_no_home(accounts: Accounts) -> None:
    pair = replace(renewed(link(accounts)), grant_id="x" * 24)

    assert save(accounts, pair) is Saved.ENDED
    assert not is_stored(accounts, "x" * 24)


def test_a_pair_of_an_ended_grant_has_no_home(accounts: Accounts) -> None:
    grant = link(accounts)
    end(accounts, grant)

    assert save(accounts, renewed(grant)) is Saved.ENDED
    assert read(accounts).pair is None


def test_a_pair_lands_whatever_else_was_written_meanwhile(accounts: Accounts) -> None:
    """Lease, flag, failure and setting change no fingerprint."""
    grant = link(accounts)
    lease(accounts, grant)
    lease(accounts, read(accounts), "other", NOON + timedelta(seconds=36))
    accounts.mark_used(grant, due_at=None, now=NOON)
    accounts.require_relink(grant, RelinkReason.ROTATION_LOST, now=NOON)

    assert save(accounts, renewed(grant)) is Saved.REVIVED

    after = read(accounts)
    assert after.status is Status.ACTIVE
    assert after.last_used_at == NOON


def test_a_renewed_pair_leaves_an_ending_grant_ending(accounts: Accounts) -> None:
    accounts.mark_revoking(link(accounts), now=NOON)

    assert save(accounts, renewed(read(accounts))) is Saved.STORED
    assert read(accounts).status is Status.UNLINKED


def test_a_renewal_that_tells_no_deadline_keeps_it(accounts: Accounts) -> None:
    grant = link(accounts)

    save(accounts, renewed(grant, relink_in=None))

    assert read(accounts).relink_by == grant.relink_by


def test_a_renewal_without_a_due_time_leaves_the_index(
    accounts: Accounts, schedule: Schedule
) -> None:
    grant = link(accounts)

    save(accounts, renewed(grant), due_at=None)

    assert read(accounts).due_at is None
    assert due_ids(schedule, now=NOON + timedelta(days=400)) == []


# -- failing ------------------------------------------------------------------------------------


def test_a_failure_gives_the_lease_back_and_is_remembered(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)

    accounts.release(
        grant.id,
        owner="worker",
        failure=failure(keeps_intent=False, backoff_until=LATER),
        now=NOON,
    )

    after = read(accounts)
    assert (after.lease_owner, after.lease_until, after.intent) == (None, None, None)
    assert (after.failing_since, after.failures) == (NOON, 1)
    assert (after.last_error, after.last_log_id) == ("server_error", "L" * 32)
    assert (after.backoff_until, after.recovering_since) == (LATER, None)
    assert (after.status, after.version, after.due_at) == (
        Status.ACTIVE,
        grant.version,
        grant.due_at,
    )


def test_a_lease_given_back_without_a_fault_leaves_no_record(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)

    accounts.release(
        grant.id, owner="worker", failure=Failure(None, None, None, keeps_intent=False), now=NOON
    )

    assert read(accounts) == grant


def test_a_lease_given_back_without_a_fault_may_keep_an_older_intent(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)

    accounts.release(
        grant.id, owner="worker", failure=Failure(None, None, None, keeps_intent=True), now=NOON
    )

    after = read(accounts)
    assert grant.pair is not None
    assert (after.intent, after.recovering_since) == (grant.pair.fingerprint, NOON)
    assert (after.failures, after.failing_since) == (0, None)


def test_an_unknown_outcome_keeps_the_intent_and_begins_the_recovery(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)

    accounts.release(grant.id, owner="worker", failure=failure(keeps_intent=True), now=NOON)

    after = read(accounts)
    assert grant.pair is not None
    assert after.intent == grant.pair.fingerprint
    assert (after.recovering_since, after.lease_owner) == (NOON, None)


def test_failing_counts_and_remembers_its_beginning(accounts: Accounts) -> None:
    grant = link(accounts)
    for number in range(3):
        now = NOON + timedelta(minutes=number)
        lease(accounts, grant, f"worker-{number}", now)
        accounts.release(
            grant.id,
            owner=f"worker-{number}",
            failure=failure(keeps_intent=False, error=f"error_{number}"),
            now=now,
        )

    after = read(accounts)
    assert (after.failing_since, after.failures, after.last_error) == (NOON, 3, "error_2")
    assert after.backoff_until is None


def test_nobody_gives_back_anothers_lease(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)
    before = read(accounts)

    accounts.release(grant.id, owner="other", failure=failure(keeps_intent=False), now=NOON)

    assert read(accounts) == before


def test_a_recovery_begins_once(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)
    first, second = NOON + timedelta(seconds=36), NOON + timedelta(seconds=50)

    assert accounts.mark_recovering(read(accounts), now=first)
    assert not accounts.mark_recovering(read(accounts), now=second)
    assert read(accounts).recovering_since == first


def test_no_recovery_while_somebody_holds_the_lease(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)

    assert not accounts.mark_recovering(read(accounts), now=NOON + timedelta(seconds=34))


def test_no_recovery_of_what_was_saved_meanwhile(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)
    stale = read(accounts)
    save(accounts, renewed(grant))

    assert not accounts.mark_recovering(stale, now=LATER)
    assert read(accounts).recovering_since is None


def test_a_flag_tells_why_and_keeps_the_tokens(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)

    assert accounts.require_relink(grant, RelinkReason.ROTATION_LOST, now=LATER)

    after = read(accounts)
    assert (after.status, after.reason) == (Status.RELINK_REQUIRED, "rotation_lost")
    assert after.pair == grant.pair
    assert (after.lease_owner, after.intent, after.due_at) == (None, None, None)
    assert (after.version, after.failing_since) == (grant.version + 1, LATER)


def test_a_flag_may_end_the_access_token_too(accounts: Accounts) -> None:
    grant = link(accounts)

    assert accounts.require_relink(grant, RelinkReason.ROTATION_LOST, now=LATER, ends_access=True)

    after = read(accounts)
    assert after.expires_at == LATER
    assert after.pair is not None
    assert grant.pair is not None
    assert after.pair.refresh == grant.pair.refresh
    assert not after.is_alive(LATER)


def test_a_flag_is_for_the_token_that_was_refused_alone(accounts: Accounts) -> None:
    stale = link(accounts)
    save(accounts, renewed(stale))

    assert not accounts.require_relink(stale, RelinkReason.ROTATION_LOST, now=LATER)
    assert read(accounts).status is Status.ACTIVE


def test_a_flag_can_be_set_again_and_keeps_its_first_reason(accounts: Accounts) -> None:
    grant = link(accounts)
    accounts.require_relink(grant, RelinkReason.ROTATION_LOST, now=NOON)
    before = read(accounts)

    assert accounts.require_relink(grant, RelinkReason.REFRESH_TOKEN_REJECTED, now=LATER)
    assert read(accounts) == before


def test_a_flag_on_what_ended_changes_nothing(accounts: Accounts) -> None:
    grant = link(accounts)
    end(accounts, grant)

    assert not accounts.require_relink(grant, RelinkReason.ROTATION_LOST, now=LATER)
    assert read(accounts).status is Status.UNLINKED


def test_a_lease_is_not_taken_over_a_request_that_came_since_the_read(accounts: Accounts) -> None:
    """Its outcome is not known yet: sending the same token again would be a replay."""
    stale = link(accounts)
    lease(accounts, stale, "other", NOON + timedelta(seconds=1))
    failure = Failure("no_answer", None, None, keeps_intent=True)
    accounts.release(GRANT, owner="other", failure=failure, now=NOON)

    assert not accounts.take_lease(stale, owner="late", until=LATER, now=NOON)
    assert accounts.take_lease(read(accounts), owner="late", until=LATER, now=NOON)


# -- what is due --------------------------------------------------------------------------------


def due_ids(schedule: Schedule, *, now: datetime, limit: int = 100) -> list[str]:
    """Everything due, over all shards and pages."""
    found: list[str] = []
    for shard in range(DUE_SHARDS):
        after: Due | None = None
        while True:
            page = schedule.due(shard, now=now, limit=limit, after=after)
            found += [due.grant_id for due in page.items]
            assert len(found) == len(set(found)), "a page came again"
            after = page.after
            if after is None:
                break
    return found


def link_many(accounts: Accounts, count: int) -> list[Grant]:
    return [
        link(
            accounts,
            f"u_{number}",
            open_id=f"open-{number}",
            due_at=NOON + timedelta(minutes=5 * number),
        )
        for number in range(count)
    ]


def test_what_is_due_is_found_once_and_nothing_else(accounts: Accounts, schedule: Schedule) -> None:
    grants = link_many(accounts, 6)

    found = due_ids(schedule, now=NOON + timedelta(minutes=15))

    assert sorted(found) == sorted(grant.id for grant in grants[:4])


def test_a_grant_is_due_from_its_slot_on(accounts: Accounts, schedule: Schedule) -> None:
    link(accounts, due_at=NOON + timedelta(minutes=7))

    assert due_ids(schedule, now=NOON + timedelta(minutes=4, seconds=59)) == []
    assert due_ids(schedule, now=NOON + timedelta(minutes=5)) == [GRANT]


def test_pages_of_what_is_due_follow_one_another_oldest_first(
    accounts: Accounts, schedule: Schedule
) -> None:
    grants = link_many(accounts, 6)
    now = NOON + timedelta(days=1)
    order = [grant.id for grant in grants]

    for shard in range(DUE_SHARDS):
        whole = [due.grant_id for due in schedule.due(shard, now=now, limit=100, after=None).items]
        assert list(whole) == [grant_id for grant_id in order if grant_id in whole]
    assert sorted(due_ids(schedule, now=now, limit=1)) == sorted(order)


def test_putting_off_moves_the_slot(accounts: Accounts, schedule: Schedule) -> None:
    grant = link(accounts)

    accounts.postpone(grant, LATER + timedelta(days=6))

    assert read(accounts).due_at == slot_of(LATER + timedelta(days=6))
    assert due_ids(schedule, now=DUE) == []


def test_putting_off_for_ever_leaves_the_index(accounts: Accounts, schedule: Schedule) -> None:
    accounts.postpone(link(accounts), None)

    assert due_ids(schedule, now=NOON + timedelta(days=400)) == []


def test_a_slot_that_somebody_else_moved_stays(accounts: Accounts) -> None:
    stale = link(accounts)
    save(accounts, renewed(stale), due_at=LATER)

    accounts.postpone(stale, None)

    assert read(accounts).due_at == slot_of(LATER)


def test_a_grant_in_doubt_is_due_at_once(accounts: Accounts, schedule: Schedule) -> None:
    grant = link(accounts, due_at=LATER + timedelta(days=6))

    accounts.doubt(GRANT, authorised_at=grant.authorised_at, now=LATER)

    assert due_ids(schedule, now=LATER) == [GRANT]
    assert read(accounts).is_in_doubt


def test_an_authorisation_of_its_own_is_not_doubted(accounts: Accounts) -> None:
    link(accounts)

    accounts.doubt(GRANT, authorised_at=NOON - timedelta(minutes=1), now=LATER)

    assert not read(accounts).is_in_doubt


def test_what_waits_for_its_owner_is_not_doubted(accounts: Accounts, schedule: Schedule) -> None:
    accounts.require_relink(link(accounts), RelinkReason.ROTATION_LOST, now=NOON)

    accounts.doubt(GRANT, now=LATER)

    assert due_ids(schedule, now=DUE) == []


def test_a_quarantined_grant_leaves_the_index_and_says_so(
    accounts: Accounts, schedule: Schedule
) -> None:
    before = link(accounts)

    accounts.quarantine(GRANT, "quarantined", now=LATER)

    grant = read(accounts)
    assert due_ids(schedule, now=DUE) == []
    assert (grant.last_error, grant.failing_since, grant.failures) == ("quarantined", LATER, 3)
    assert (grant.pair, grant.status, grant.version) == (before.pair, before.status, before.version)


def test_nothing_is_made_by_a_quarantine(accounts: Accounts) -> None:
    accounts.quarantine(GRANT, "quarantined", now=LATER)

    assert not is_stored(accounts)


def test_many_grants_are_read_at_once(accounts: Accounts) -> None:
    grants = link_many(accounts, 3)
    wanted = [grants[2].id, "x" * 24, grants[0].id, grants[2].id]

    found = accounts.read_batch(wanted, ["default"])

    assert found.grants == {grants[0].id: grants[0], grants[2].id: grants[2]}
    assert (found.unreadable, found.circuits) == ((), {})


def test_reading_no_grants_gives_none(accounts: Accounts) -> None:
    assert accounts.read_batch([], ()) == Batch({}, (), {})


# -- a pair that lands over a flag ---------------------------------------------------------------


def test_a_pair_that_lands_over_a_flag_leaves_a_doubt(accounts: Accounts) -> None:
    grant = link(accounts)
    accounts.require_relink(grant, RelinkReason.ROTATION_LOST, now=NOON)
    parcel = renewed(grant)

    first = save(accounts, parcel)
    again = save(accounts, parcel)

    stored = read(accounts)
    assert (first, again) == (Saved.REVIVED, Saved.REVIVED)
    assert (stored.status, stored.reason) == (Status.ACTIVE, RelinkReason.ROTATION_LOST)
    assert stored.is_in_doubt
    assert stored.pair == parcel.pair


def test_a_doubt_is_settled_by_the_renewal_that_read_it(accounts: Accounts) -> None:
    grant = link(accounts)
    accounts.require_relink(grant, RelinkReason.ROTATION_LOST, now=NOON)
    save(accounts, renewed(grant))
    doubtful = read(accounts)

    settled = accounts.save_renewed(renewed(doubtful), due_at=None, now=LATER, settles_doubt=True)

    assert settled is Saved.STORED
    assert not read(accounts).is_in_doubt


def test_a_doubt_outlives_a_renewal_that_did_not_know_of_it(accounts: Accounts) -> None:
    grant = link(accounts)
    accounts.require_relink(grant, RelinkReason.ROTATION_LOST, now=NOON)
    save(accounts, renewed(grant))

    assert save(accounts, renewed(read(accounts))) is Saved.STORED
    assert read(accounts).is_in_doubt


# -- circuits and the planner's place ------------------------------------------------------------


def opened(*, minutes: int = 5, strikes: int = 1, at: datetime = NOON) -> Circuit:
    return Circuit(
        "default",
        trouble=Trouble.UNAVAILABLE,
        since=at,
        pauses_until=at + timedelta(minutes=minutes),
        strikes=strikes,
    )


def test_an_open_circuit_is_read_with_the_grants_and_with_the_plan(
    accounts: Accounts, schedule: Schedule
) -> None:
    grant = link(accounts)

    assert schedule.open(opened(), now=NOON)

    batch = accounts.read_batch([GRANT], ["default", "sandbox"])
    assert batch == Batch({GRANT: grant}, (), {"default": opened()})
    assert schedule.read_plan(["default", "sandbox"]).circuits == {"default": opened()}


def test_only_the_first_opens_a_circuit(schedule: Schedule) -> None:
    schedule.open(opened(), now=NOON)

    assert not schedule.open(opened(minutes=7), now=NOON)
    assert schedule.read_plan(["default"]).circuits == {"default": opened()}


def test_an_opening_whose_reply_was_lost_is_ones_own(schedule: Schedule) -> None:
    schedule.open(opened(), now=NOON)

    assert schedule.open(opened(), now=NOON)


def test_a_circuit_opened_again_remembers_since_when(schedule: Schedule) -> None:
    schedule.open(opened(), now=NOON)
    later = NOON + timedelta(minutes=6)

    assert schedule.open(opened(strikes=2, at=later), now=later)

    circuit = schedule.read_plan(["default"]).circuits["default"]
    assert (circuit.since, circuit.strikes) == (NOON, 2)
    assert circuit.pauses_until == later + timedelta(minutes=5)


def test_one_probe_at_a_time(schedule: Schedule) -> None:
    schedule.open(opened(), now=NOON)
    later = NOON + timedelta(minutes=6)
    ends = later + timedelta(seconds=35)

    def takes(owner: str, now: datetime) -> bool:
        return schedule.take_probe("default", owner=owner, until=ends, now=now)

    assert not takes("early", NOON)
    assert takes("first", later)
    assert takes("first", later)  # its reply was lost
    assert not takes("second", later)
    assert takes("third", ends)


def test_a_closed_circuit_has_no_probe(schedule: Schedule) -> None:
    schedule.open(opened(), now=NOON)
    schedule.close(opened(), now=LATER)

    assert not schedule.take_probe("default", owner="x", until=LATER, now=LATER)
    assert schedule.read_plan(["default"]).circuits == {"default": Circuit("default")}


def test_closing_what_is_closed_changes_nothing(schedule: Schedule) -> None:
    schedule.close(opened(), now=LATER)

    assert schedule.read_plan(["default"]).circuits == {}


def test_a_circuit_opens_anew_after_it_closed(schedule: Schedule) -> None:
    schedule.open(opened(), now=NOON)
    schedule.close(opened(), now=LATER)

    assert schedule.open(opened(at=LATER), now=LATER)
    assert schedule.read_plan(["default"]).circuits == {"default": opened(at=LATER)}


def test_the_planners_place_is_kept_and_forgotten(schedule: Schedule) -> None:
    assert schedule.read_plan([]).stopped_at == {}
    places = {0: Due(GRANT, NOON), 7: Due("x" * 24, LATER)}

    schedule.keep_plan(places)
    assert schedule.read_plan([]).stopped_at == places
    schedule.keep_plan({})
    assert schedule.read_plan([]).stopped_at == {}


def test_a_place_whose_grant_is_gone_is_still_a_place(
    accounts: Accounts, schedule: Schedule
) -> None:
    grants = link_many(accounts, 4)
    now = NOON + timedelta(days=1)
    before = Due("a" * 24, NOON - timedelta(minutes=5))

    found = [
        due.grant_id
        for shard in range(DUE_SHARDS)
        for due in schedule.due(shard, now=now, limit=100, after=before).items
    ]

    assert sorted(found) == sorted(grant.id for grant in grants)


# -- links --------------------------------------------------------------------------------------


def test_a_link_is_an_account_with_its_grant(accounts: Accounts) -> None:
    grant = link(accounts)
    account = samples.account()

    assert accounts.read_link(account.id) == (grant, account)


@pytest.mark.parametrize("account_id", ["", "acct_x", samples.account().id])
def test_a_link_that_is_not_there_is_none(accounts: Accounts, account_id: str) -> None:
    assert accounts.read_link(account_id) is None
    assert accounts.read_account(account_id) is None
    assert accounts.read_partition(account_id) == (None, []) or accounts.read_partition(
        account_id
    ) == (None, ())


def test_another_account_of_the_same_grant_is_not_this_one(accounts: Accounts) -> None:
    link(accounts)

    assert accounts.read_link(samples.account(end_user_id="u_other").id) is None


def test_a_partition_holds_all_who_share_the_grant(accounts: Accounts) -> None:
    link(accounts, "u_1")
    grant = link(accounts, "u_2", at=LATER)

    found, rows = accounts.read_partition(samples.account(end_user_id="u_1").id)

    assert found == grant
    assert {row.end_user_id for row in rows} == {"u_1", "u_2"}


def test_use_is_marked_beside_the_due_slot(accounts: Accounts) -> None:
    grant = link(accounts)

    accounts.mark_used(grant, due_at=LATER, now=NOON)

    after = read(accounts)
    assert (after.last_used_at, after.due_at) == (NOON, slot_of(LATER))
    assert after.version == grant.version


def test_use_is_not_marked_over_a_renewal(accounts: Accounts) -> None:
    stale = link(accounts)
    save(accounts, renewed(stale))

    accounts.mark_used(stale, due_at=None, now=NOON)

    assert read(accounts).last_used_at is None
    assert read(accounts).due_at is not None


def test_a_deadline_that_passed_is_written_down(accounts: Accounts) -> None:
    grant = link(accounts, relink_in=timedelta(hours=1))

    given = accounts.pass_deadline(grant, now=LATER)

    after = read(accounts)
    assert (given.status, given.reason) == (Status.RELINK_REQUIRED, "refresh_token_expired")
    assert (after.status, after.reason) == (given.status, given.reason)
    assert (after.version, after.due_at) == (given.version, None)
    assert given.version == grant.version + 1


def test_a_deadline_that_moved_meanwhile_did_not_pass(accounts: Accounts) -> None:
    stale = link(accounts, relink_in=timedelta(hours=1))
    newer = link(accounts, at=LATER, write_id=b"auth-002")

    given = accounts.pass_deadline(stale, now=LATER)

    assert given == newer
    assert read(accounts) == newer


# -- unlinking ----------------------------------------------------------------------------------


def row(accounts: Accounts, account: Account) -> Account:
    found = accounts.read_link(account.id)
    assert found is not None
    return found[1]


def test_an_account_ends_alone(accounts: Accounts) -> None:
    grant = link(accounts)
    account = samples.account()

    accounts.mark_unlinked(account, now=LATER)

    assert row(accounts, account).unlinked_at == LATER
    assert read(accounts).status is Status.ACTIVE
    assert read(accounts).version == grant.version + 1


def test_an_account_keeps_the_date_of_its_end(accounts: Accounts) -> None:
    link(accounts)
    account = samples.account()
    accounts.mark_unlinked(account, now=NOON)

    accounts.mark_unlinked(account, now=LATER)

    assert row(accounts, account).unlinked_at == NOON


def test_a_grant_that_is_ending_counts_as_unlinked_and_keeps_its_tokens(
    accounts: Accounts,
) -> None:
    grant = link(accounts)

    assert accounts.mark_revoking(grant, now=NOON)

    after = read(accounts)
    assert (after.status, after.revocation) == (Status.UNLINKED, None)
    assert after.pair == grant.pair
    assert (after.due_at, after.version) == (None, grant.version + 1)


def test_a_grant_that_was_authorised_anew_is_not_ended(accounts: Accounts) -> None:
    stale = link(accounts)
    link(accounts, "u_2", at=LATER)

    assert not accounts.mark_revoking(stale, now=LATER)
    assert read(accounts).status is Status.ACTIVE


def test_marking_a_grant_as_ending_can_be_repeated(accounts: Accounts) -> None:
    grant = link(accounts)
    accounts.mark_revoking(grant, now=NOON)

    assert accounts.mark_revoking(read(accounts), now=LATER)


def test_forgotten_tokens_are_gone_and_how_they_ended_stays(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)
    end(accounts, grant)

    after = read(accounts)
    assert (after.pair, after.status, after.revocation) == (None, Status.UNLINKED, "true")
    assert (after.lease_owner, after.intent, after.due_at) == (None, None, None)
    assert (after.open_id, after.scopes) == (grant.open_id, grant.scopes)


def test_forgetting_can_be_repeated(accounts: Accounts) -> None:
    grant = link(accounts)
    end(accounts, grant)

    assert accounts.forget_tokens(grant, revocation="not_needed", now=LATER)
    assert read(accounts).revocation == "true"


def test_a_newer_pair_is_not_forgotten_for_an_older_one(accounts: Accounts) -> None:
    stale = link(accounts)
    accounts.mark_revoking(stale, now=NOON)
    save(accounts, renewed(stale))

    assert not accounts.forget_tokens(stale, revocation="true", now=LATER)
    assert read(accounts).pair is not None


def test_tokens_of_a_grant_that_is_not_ending_are_not_forgotten(accounts: Accounts) -> None:
    grant = link(accounts)

    assert not accounts.forget_tokens(grant, revocation="true", now=LATER)
    assert read(accounts).pair == grant.pair


def test_an_end_that_has_begun_can_be_looked_at_a_minute_later(accounts: Accounts) -> None:
    link(accounts)

    accounts.mark_unlinked(samples.account(), ending=Ending.FORGET, now=NOON)

    grant = read(accounts)
    assert (grant.ending, grant.look_at) == (Ending.FORGET, NOON + ENDING_TAKES)
    assert grant.status is Status.ACTIVE, "others may be linked to it"


def test_the_end_of_a_grant_keeps_its_first_date_and_takes_the_last_wish(
    accounts: Accounts,
) -> None:
    accounts.mark_revoking(link(accounts), now=NOON)

    assert accounts.mark_revoking(read(accounts), ending=Ending.FORGET, now=LATER)

    grant = read(accounts)
    assert (grant.ended_at, grant.ending) == (NOON, Ending.FORGET)
    assert grant.look_at == LATER + ENDING_TAKES


def test_one_of_two_takes_the_turn_to_look(accounts: Accounts) -> None:
    accounts.mark_revoking(link(accounts), now=NOON)
    grant = read(accounts)

    assert accounts.look_later(grant, at=LATER)
    assert not accounts.look_later(grant, at=LATER + ENDING_TAKES)
    assert read(accounts).look_at == LATER


def test_an_end_that_was_begun_anew_is_not_left(accounts: Accounts) -> None:
    link(accounts)
    accounts.mark_unlinked(samples.account(), now=NOON)
    stale = read(accounts)
    accounts.mark_unlinked(samples.account(), now=LATER)

    accounts.leave_ending(stale, now=LATER)
    assert read(accounts).look_at == LATER + ENDING_TAKES

    accounts.leave_ending(read(accounts), now=LATER)
    assert (read(accounts).ending, read(accounts).look_at) == (None, None)


def test_a_grant_that_tiktok_ended_first_is_not_marked(accounts: Accounts) -> None:
    """Else it would wait for ever for a revocation that nobody can ask for."""
    grant = link(accounts)
    revoke(accounts)

    assert not accounts.mark_revoking(grant, now=LATER)
    assert read(accounts).status is Status.REVOKED


def test_the_result_of_an_end_stays_with_its_reason(accounts: Accounts) -> None:
    grant = link(accounts)
    accounts.mark_revoking(grant, now=NOON)

    assert accounts.forget_tokens(
        grant, revocation="false", reason="provider_unavailable", now=NOON
    )

    after = read(accounts)
    assert (after.revocation, after.revocation_reason) == ("false", "provider_unavailable")
    assert (after.ending, after.look_at, after.is_over) == (None, None, True)
    link(accounts, at=LATER, write_id=b"auth-002")
    assert (read(accounts).revocation, read(accounts).revocation_reason) == (None, None)


def test_a_mode_follows_those_who_are_left(accounts: Accounts) -> None:
    grant = link(accounts)

    accounts.follow_wishes(grant, RefreshMode.ON_DEMAND)
    accounts.follow_wishes(grant, RefreshMode.ALWAYS)

    assert read(accounts).mode is RefreshMode.ON_DEMAND, "the second was decided on an older read"


def test_an_erased_account_keeps_nothing_of_a_person(accounts: Accounts) -> None:
    link(accounts)
    account = samples.account()
    accounts.save_account(
        replace(account, authorised_at=LATER, metadata={"a": "b"}, profile=samples.profile())
    )
    assert row(accounts, account).is_personal

    accounts.mark_unlinked(account, now=LATER, erases=True)

    assert not row(accounts, account).is_personal
    assert row(accounts, account).end_user_id == account.end_user_id


def test_one_end_users_rows_are_found_within_one_tenant(accounts: Accounts) -> None:
    link(accounts, "u_1")
    link(accounts, "u_2", at=LATER)
    mine = samples.account(end_user_id="u_1")
    accounts.mark_unlinked(mine, now=LATER)

    found, after = accounts.accounts_of(None, "u_1", after=None)

    assert ([each.id for each in found], after) == ([mine.id], None)
    assert accounts.accounts_of("a tenant", "u_1", after=None) == ([], None)


# -- removals at TikTok -------------------------------------------------------------------------


def revoke(
    accounts: Accounts,
    *,
    before: datetime = LATER,
    reason: RevokedReason = RevokedReason.REVOKED_BY_USER,
) -> Ended:
    return accounts.mark_revoked(GRANT, reason, authorised_before=before, now=LATER)


def ask(
    accounts: Accounts, *, authorised_by: datetime = LATER, renewed_by: datetime = LATER
) -> bool:
    return accounts.ask_at_once(
        GRANT, authorised_by=authorised_by, renewed_by=renewed_by, now=LATER
    )


@pytest.mark.parametrize("reason", RevokedReason)
def test_a_revoked_grant_has_no_tokens_and_tells_why(
    accounts: Accounts, reason: RevokedReason
) -> None:
    before = link(accounts)

    assert revoke(accounts, reason=reason) is Ended.NOW

    grant = read(accounts)
    assert (grant.status, grant.reason) == (Status.REVOKED, reason.value)
    assert (grant.pair, grant.due_at) == (None, None)
    assert grant.version == before.version + 1
    assert grant.revocation is None


def test_a_removal_told_again_changes_nothing(accounts: Accounts) -> None:
    link(accounts)
    revoke(accounts)
    before = read(accounts)

    assert revoke(accounts, reason=RevokedReason.TIKTOK_ACCOUNT_BANNED) is Ended.ALREADY
    assert not ask(accounts)
    assert read(accounts) == before


def test_a_removal_of_nobody_makes_nobody(accounts: Accounts) -> None:
    assert revoke(accounts) is Ended.UNKNOWN
    assert not ask(accounts)
    assert not is_stored(accounts)


@pytest.mark.parametrize("since", [timedelta(0), timedelta(hours=1)])
def test_a_removal_ends_no_authorisation_that_is_not_older(
    accounts: Accounts, since: timedelta
) -> None:
    before = link(accounts)

    assert revoke(accounts, before=NOON - since) is Ended.NOT_BEFORE
    assert read(accounts) == before


def test_a_flagged_grant_is_revoked_too(accounts: Accounts) -> None:
    accounts.require_relink(link(accounts), RelinkReason.ROTATION_LOST, now=NOON)

    assert revoke(accounts) is Ended.NOW
    assert read(accounts).status is Status.REVOKED


@pytest.mark.parametrize("finished", [True, False])
def test_an_unlink_keeps_the_end_of_its_grant(accounts: Accounts, finished: bool) -> None:
    """The echo of our own revocation comes while or after the unlink does its work."""
    grant = link(accounts)
    accounts.mark_revoking(grant, now=NOON)
    if finished:
        accounts.forget_tokens(grant, revocation="true", now=NOON)
    before = read(accounts)

    assert revoke(accounts) is Ended.ALREADY
    assert not ask(accounts)
    assert read(accounts) == before


def test_a_renewal_in_flight_finds_a_revoked_grant_ended(accounts: Accounts) -> None:
    """The deletion changes the fingerprint, which is the one condition of a save."""
    grant = link(accounts)
    assert lease(accounts, grant)
    revoke(accounts)

    assert save(accounts, renewed(grant)) is Saved.ENDED
    assert read(accounts).status is Status.REVOKED
    assert not lease(accounts, grant, "another worker")


def test_a_late_failure_of_that_renewal_leaves_no_trace(accounts: Accounts) -> None:
    grant = link(accounts)
    lease(accounts, grant)
    revoke(accounts)
    before = read(accounts)

    accounts.release(grant.id, owner="worker", failure=failure(keeps_intent=True), now=LATER)

    assert read(accounts) == before


def test_a_late_pair_from_before_the_removal_does_not_land(accounts: Accounts) -> None:
    link(accounts)
    revoke(accounts, before=LATER)
    late = authorised(at=LATER - timedelta(seconds=1), write_id=b"auth-002")

    saved = accounts.save_authorised(late, due_at=DUE, only_existing=False)

    assert saved is Saved.ENDED
    assert read(accounts).status is Status.REVOKED


def test_linking_again_revives_a_revoked_grant(accounts: Accounts) -> None:
    link(accounts)
    revoke(accounts, before=LATER)

    link(accounts, at=LATER + timedelta(seconds=1), write_id=b"auth-002")

    grant = read(accounts)
    assert (grant.status, grant.reason) == (Status.ACTIVE, None)
    assert grant.pair is not None
    assert revoke(accounts, before=LATER) is Ended.NOT_BEFORE


def test_a_refused_link_has_no_home_on_a_revoked_grant(accounts: Accounts) -> None:
    link(accounts)
    revoke(accounts, before=LATER)
    refused = authorised(at=LATER + timedelta(hours=1), write_id=b"auth-002")

    assert accounts.save_authorised(refused, due_at=DUE, only_existing=True) is Saved.ENDED


def test_who_is_to_be_asked_about_is_due_at_once(accounts: Accounts, schedule: Schedule) -> None:
    before = link(accounts)

    assert ask(accounts)

    grant = read(accounts)
    assert is_at_once(grant.due_at)
    assert due_ids(schedule, now=LATER) == [GRANT]
    assert replace(grant, due_at=before.due_at) == before


@pytest.mark.parametrize("times", ["authorised_by", "renewed_by"])
def test_nobody_is_asked_about_what_is_newer(accounts: Accounts, times: str) -> None:
    before = link(accounts)

    assert not ask(accounts, **{times: NOON - timedelta(seconds=1)})
    assert ask(accounts, **{times: NOON})
    assert replace(read(accounts), due_at=before.due_at) == before


def test_what_needs_its_owner_is_not_asked_about(accounts: Accounts) -> None:
    accounts.require_relink(link(accounts), RelinkReason.ROTATION_LOST, now=NOON)

    assert not ask(accounts)


def test_a_question_is_not_put_off_by_those_who_did_not_know_of_it(accounts: Accounts) -> None:
    grant = link(accounts)
    ask(accounts)

    accounts.mark_used(grant, due_at=DUE + timedelta(days=1), now=LATER)
    accounts.postpone(grant, DUE + timedelta(days=1))

    assert is_at_once(read(accounts).due_at)


def test_a_change_of_mode_leaves_the_question(accounts: Accounts) -> None:
    link(accounts)
    ask(accounts)
    (account,) = accounts.read_partition(samples.account().id)[1]

    accounts.update_account(
        account,
        read(accounts),
        metadata=None,
        mode=RefreshMode.ON_DEMAND,
        due_at=lambda _mode: None,
    )

    assert is_at_once(read(accounts).due_at)
    assert read(accounts).mode is RefreshMode.ON_DEMAND


def test_a_renewal_answers_the_question(accounts: Accounts) -> None:
    link(accounts)
    ask(accounts)
    grant = read(accounts)
    lease(accounts, grant, now=LATER)

    assert save(accounts, renewed(grant)) is Saved.STORED
    assert read(accounts).due_at == slot_of(DUE)


# -- account rows -------------------------------------------------------------------------------

NASTY = "|#:/\x00\n\u202e\u0301é👩‍👩‍👧"


def test_an_account_row_is_read_as_it_was_written(accounts: Accounts) -> None:
    link(accounts)
    account = samples.account(
        end_user_id=NASTY,
        tenant_id=NASTY,
        label=NASTY,
        metadata={NASTY: NASTY, "empty": ""},
        profile=samples.profile(NASTY),
    )

    accounts.save_account(account)

    assert row(accounts, account) == account


def test_a_bare_account_row_is_read_as_it_was_written(accounts: Accounts) -> None:
    link(accounts)
    account = samples.account(end_user_id="u_bare", label=None, wanted_scopes=(), relink_by=None)

    accounts.save_account(account)

    assert row(accounts, account) == account


def test_a_write_that_shows_gives_what_is_stored(accounts: Accounts) -> None:
    made, again = authorised(), authorised(at=LATER, write_id=b"auth-002")
    account = samples.account(label="Ada", metadata={"plan": "pro"})

    for number, pair in enumerate((made, made, again)):
        saved, grant = accounts.save_and_show(pair, due_at=DUE, only_existing=False)
        assert saved is Saved.STORED, number
        assert grant == read(accounts), number
    assert accounts.save_and_show(made, due_at=DUE, only_existing=False) == (Saved.NEWER, None)
    assert accounts.save_account_and_show(account) == account == row(accounts, account)


def test_writing_the_same_account_again_changes_nothing(accounts: Accounts) -> None:
    link(accounts)
    account = samples.account()
    accounts.mark_unlinked(account, now=NOON)
    before = row(accounts, account)

    accounts.save_account(account)

    assert row(accounts, account) == before


def test_linking_again_revives_the_account_and_keeps_its_history(accounts: Accounts) -> None:
    link(accounts)
    first = replace(samples.account(end_user_id="u_7"), profile=samples.profile())
    accounts.save_account(first)
    set_mode(accounts, first, RefreshMode.ALWAYS)
    accounts.mark_unlinked(first, now=NOON)
    again = samples.account(end_user_id="u_7", at=LATER, label="Ada", metadata={"plan": "pro"})

    accounts.save_account(again)

    assert row(accounts, first) == replace(
        again, linked_at=NOON, mode=RefreshMode.ALWAYS, profile=samples.profile()
    )


def test_what_a_later_link_does_not_say_stays_as_it_was(accounts: Accounts) -> None:
    link(accounts)
    first = samples.account(end_user_id="u_7", label="Ada", metadata={"plan": "pro"})
    accounts.save_account(first)

    accounts.save_account(samples.account(end_user_id="u_7", at=LATER, label=None))

    after = row(accounts, first)
    assert (after.end_user_label, after.metadata) == ("Ada", {"plan": "pro"})


def test_an_unlink_that_came_later_wins_over_a_late_account(accounts: Accounts) -> None:
    link(accounts)
    account = samples.account()
    accounts.mark_unlinked(account, now=LATER)

    accounts.save_account(samples.account(at=LATER - timedelta(seconds=1)))

    assert row(accounts, account).unlinked_at == LATER


# -- the directory ------------------------------------------------------------------------------


def set_mode(
    accounts: Accounts,
    account: Account,
    mode: RefreshMode | None,
    *,
    metadata: dict[str, str] | None = None,
    due: dict[RefreshMode, datetime | None] | None = None,
) -> None:
    found = accounts.read_account(account.id)
    assert found is not None
    dates = due or {}
    accounts.update_account(
        account, found[0], metadata=metadata, mode=mode, due_at=lambda eager: dates.get(eager)
    )


def test_what_is_shown_carries_no_ciphertext(accounts: Accounts) -> None:
    grant = link(accounts)

    found = accounts.read_account(samples.account().id)

    assert found == (replace(grant, pair=None), samples.account())


def listed(
    accounts: Accounts,
    *,
    tenant_id: str | None = None,
    end_user_id: str | None = None,
    limit: int = 100,
) -> list[str]:
    """Every account of a question, over all pages."""
    found: list[str] = []
    after: str | None = None
    for _ in range(50):
        page, after = accounts.list_accounts(
            tenant_id=tenant_id, end_user_id=end_user_id, after=after, limit=limit
        )
        assert len(page) <= limit
        assert all(grant.pair is None for grant, _ in page)
        found += [account.id for _, account in page]
        if after is None:
            return found
    raise AssertionError("the list never ends")


def link_by_deadline(accounts: Accounts, days: Sequence[int | None]) -> list[str]:
    ids = []
    for number, day in enumerate(days):
        relink_in = None if day is None else timedelta(days=day)
        link(accounts, f"u_{number}", open_id=f"open-{number}", relink_in=relink_in)
        ids.append(samples.account(end_user_id=f"u_{number}", open_id=f"open-{number}").id)
    return ids


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_accounts_are_listed_by_deadline_whatever_the_size_of_a_page(
    accounts: Accounts, limit: int
) -> None:
    a, b, c, d, e = link_by_deadline(accounts, [180, 3, None, 90, 30])

    assert listed(accounts, limit=limit) == [b, e, d, a, c]


def test_one_persons_accounts_are_listed_alone(accounts: Accounts) -> None:
    ids = link_by_deadline(accounts, [180, 3, 90])
    link(accounts, "u_1", open_id="open-second", relink_in=timedelta(days=1))
    second = samples.account(end_user_id="u_1", open_id="open-second").id

    assert listed(accounts, end_user_id="u_1", limit=1) == [second, ids[1]]


def test_tenants_do_not_see_each_other(accounts: Accounts) -> None:
    link(accounts)
    rows = [samples.account(tenant_id=tenant) for tenant in ("t_1", "t_2", "")]
    for made in rows:
        accounts.save_account(made)

    assert listed(accounts) == [samples.account().id]
    assert listed(accounts, tenant_id="t_1") == [rows[0].id]
    assert listed(accounts, tenant_id="t_1", end_user_id="u_42") == [rows[0].id]
    assert listed(accounts, tenant_id="") == [rows[2].id]
    assert listed(accounts, tenant_id="t_3") == []


def test_metadata_is_replaced_and_a_mode_leaves_it(accounts: Accounts) -> None:
    link(accounts)
    account = samples.account()
    set_mode(accounts, account, None, metadata={"a": "1"})

    set_mode(accounts, row(accounts, account), RefreshMode.ALWAYS)

    assert row(accounts, account).metadata == {"a": "1"}
    assert row(accounts, account).mode is RefreshMode.ALWAYS


def test_a_change_of_one_field_never_writes_back_a_stale_other(accounts: Accounts) -> None:
    """Two requests at once: one sets the metadata, the other the mode."""
    link(accounts)
    stale = samples.account()
    set_mode(accounts, stale, None, metadata={"a": "1"})

    set_mode(accounts, stale, RefreshMode.ALWAYS)
    set_mode(accounts, stale, None, metadata={"b": "2"})

    assert row(accounts, stale).metadata == {"b": "2"}
    assert row(accounts, stale).mode is RefreshMode.ALWAYS

    set_mode(accounts, stale, RefreshMode.AUTO)

    assert row(accounts, stale).metadata == {"b": "2"}


def test_every_change_moves_the_version_once(accounts: Accounts) -> None:
    grant = link(accounts)

    set_mode(accounts, samples.account(), RefreshMode.ALWAYS, metadata={"a": "1"})

    assert read(accounts).version == grant.version + 1


def test_a_shared_grant_follows_its_most_eager_account(accounts: Accounts) -> None:
    link(accounts, "u_1")
    link(accounts, "u_2", at=LATER)
    first, second = (samples.account(end_user_id=name) for name in ("u_1", "u_2"))
    dates: dict[RefreshMode, datetime | None] = {RefreshMode.ALWAYS: DUE}
    set_mode(accounts, first, RefreshMode.ALWAYS, due=dates)

    set_mode(accounts, second, RefreshMode.ON_DEMAND, due=dates)

    assert read(accounts).mode is RefreshMode.ALWAYS
    assert read(accounts).due_at == slot_of(DUE)


def test_an_unlinked_account_wishes_nothing(accounts: Accounts) -> None:
    link(accounts, "u_1")
    link(accounts, "u_2", at=LATER)
    first, second = (samples.account(end_user_id=name) for name in ("u_1", "u_2"))
    set_mode(accounts, first, RefreshMode.ALWAYS)
    accounts.mark_unlinked(first, now=LATER)

    set_mode(accounts, second, RefreshMode.ON_DEMAND)

    assert read(accounts).mode is RefreshMode.ON_DEMAND
    assert read(accounts).due_at is None
