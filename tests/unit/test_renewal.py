"""Renewal: the order that keeps links alive, and every branch beside it (docs/architecture.md)."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.fakes import samples
from tests.fakes.happenings import Happenings, Killed
from tests.fakes.journal import MemoryJournal
from tests.fakes.tiktok import StrictTikTok
from tests.unit.stage import Stage
from tiktok_linking.accounts import Grant, RefreshMode, RelinkReason, Status
from tiktok_linking.errors import (
    Misconfigured,
    NoAnswer,
    Refused,
    SealBroken,
    StoreUnavailable,
    Unavailable,
)
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.ports import Outcome, RenewalReport, Saved
from tiktok_linking.renewal import Ask
from tiktok_linking.schedule import slot_of

GRANT = samples.GRANT_ID
NEEDED = Ask(min_ttl=timedelta(minutes=5))
SCHEDULED = Ask(scheduled=True)
BUSY = Unavailable("too_many_requests", may_have_acted=False, retry_after=120, log_id="L" * 32)
BROKEN = Unavailable("server_error", may_have_acted=True)
CONNECT_FAILED = Unavailable("connect_failed", may_have_acted=False)


@pytest.fixture
def stage(stage: Stage) -> Stage:
    """One linked account whose access token ends in a minute: old enough to be renewed."""
    stage.link()
    stage.clock.advance(hours=23, minutes=59)
    return stage


def fresh(stage: Stage) -> TokenAnswer:
    """What TikTok answers now: the deadline stays where it was."""
    left = timedelta(days=180) - (stage.clock.now - stage.pair().issued_at)
    return samples.answer(issued_at=stage.clock.now, relink_in=left)


def renew(stage: Stage, ask: Ask = NEEDED, *, seconds: float = 30) -> RenewalReport:
    return stage.renewal().renew(GRANT, ask, deadline=stage.deadline(seconds))


# -- the order ----------------------------------------------------------------------------------


def test_a_renewal_stores_the_whole_new_pair(stage: Stage) -> None:
    answer = fresh(stage)
    stage.tiktok.answers.append(answer)

    report = renew(stage)

    assert report.outcome is Outcome.RENEWED
    assert report.replaced_after == timedelta(hours=23, minutes=59)
    assert answer.refresh_token is not None
    assert stage.refresh_token() == answer.refresh_token.reveal()
    assert stage.pair().expires_at == answer.expires_at
    assert stage.grant().rotations == 1
    assert stage.grant().last_success_at == stage.clock.now


def test_the_lease_is_the_last_thing_before_the_request(stage: Stage) -> None:
    """All that can fail comes first; the lease's write also proves that the table takes writes."""
    stage.tiktok.answers.append(fresh(stage))

    renew(stage)

    sent = stage.calls.index("tiktok.refresh")
    before = stage.calls[:sent]
    assert before[-1] == "grants.take_lease"
    assert {"credentials.candidates", "sealing.prepare", "sealing.open_refresh"} <= set(before)


def test_the_save_is_the_first_thing_after_the_answer(stage: Stage) -> None:
    stage.tiktok.answers.append(fresh(stage))

    renew(stage)

    sent = stage.calls.index("tiktok.refresh")
    assert stage.calls[sent + 1 : sent + 4] == [
        "sealing.seal_pair",
        "journal.append",
        "grants.save_renewed",
    ]


def test_nothing_is_logged_between_the_answer_and_the_save(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    logged: list[int] = []
    stage.happenings.after("tiktok.refresh", lambda: logged.append(len(caplog.records)))
    stage.happenings.before("grants.save_renewed", lambda: logged.append(len(caplog.records)))
    stage.tiktok.answers.append(fresh(stage))

    with caplog.at_level(logging.DEBUG):
        renew(stage)

    assert logged[0] == logged[1]


@pytest.mark.parametrize(
    "step",
    [
        "grants.read_batch",
        "credentials.candidates",
        "sealing.prepare",
        "sealing.open_refresh",
        "grants.take_lease",
    ],
)
def test_what_fails_before_the_request_spends_nothing(stage: Stage, step: str) -> None:
    stage.happenings.before(step, StoreUnavailable("down"))

    with pytest.raises(StoreUnavailable):
        renew(stage)

    assert stage.tiktok.sent == []


def test_a_broken_seal_spends_nothing(stage: Stage) -> None:
    stage.accounts.change(GRANT, pair=replace(stage.pair(), refresh=b"moved"))

    with pytest.raises(SealBroken):
        renew(stage)

    assert stage.tiktok.sent == []
    assert "grants.take_lease" not in stage.calls


def test_a_registration_without_a_secret_spends_nothing(stage: Stage) -> None:
    stage.credentials.secrets = ()

    assert renew(stage).outcome is Outcome.MISCONFIGURED
    assert stage.tiktok.sent == []
    assert stage.grant().lease_owner is None


@pytest.mark.parametrize(("seconds", "starts"), [(16.0, True), (15.9, False), (0.0, False)])
def test_a_renewal_starts_only_with_time_for_request_and_save(
    stage: Stage, seconds: float, starts: bool
) -> None:
    stage.tiktok.answers.append(fresh(stage))

    report = renew(stage, seconds=seconds)

    assert (report.outcome is Outcome.RENEWED) is starts
    assert bool(stage.tiktok.sent) is starts
    assert starts or "grants.take_lease" not in stage.calls


def test_the_answer_may_take_all_the_time_but_what_saving_needs(stage: Stage) -> None:
    stage.tiktok.answers.append(fresh(stage))

    renew(stage, seconds=30)

    # 30 s less 3 s for the connection and 5 s for saving
    assert stage.tiktok.read_timeouts == [timedelta(seconds=22)]


def test_the_lease_outlives_its_holder_and_names_what_is_spent(stage: Stage) -> None:
    seen: list[Grant] = []
    stage.happenings.before("tiktok.refresh", lambda: seen.append(stage.grant()))
    stage.tiktok.answers.append(fresh(stage))
    spent = stage.pair().fingerprint

    renew(stage, seconds=30)

    assert seen[0].lease_until == stage.clock.now + timedelta(seconds=35)
    assert seen[0].intent == spent
    assert stage.grant().lease_owner is None
    assert stage.grant().intent is None


def test_a_lease_that_cannot_be_given_back_runs_out_with_its_intent(stage: Stage) -> None:
    """The careful reading: the next worker waits, and never blames the person."""
    stage.tiktok.answers.append(BUSY)
    stage.happenings.before("grants.release", StoreUnavailable("down"))

    report = renew(stage)

    assert report.outcome is Outcome.PROVIDER_UNAVAILABLE
    assert stage.grant().intent == stage.pair().fingerprint
    assert stage.grant().lease_owner is not None


# -- one spender --------------------------------------------------------------------------------


def test_a_loser_sends_nothing_and_says_how_long_the_lease_lasts(stage: Stage) -> None:
    stage.accounts.take_lease(
        stage.grant(), owner="other", until=stage.deadline(20), now=stage.clock.now
    )

    report = renew(stage)

    assert report.outcome is Outcome.IN_PROGRESS
    assert report.retry_after is not None
    assert 20 <= report.retry_after <= 21
    assert stage.tiktok.sent == []


def test_the_loser_of_a_race_for_the_lease_sends_nothing(stage: Stage) -> None:
    other = stage.grant()
    stage.happenings.before(
        "grants.take_lease",
        lambda: stage.accounts.take_lease(
            other, owner="other", until=stage.deadline(20), now=stage.clock.now
        ),
    )

    assert renew(stage).outcome is Outcome.IN_PROGRESS
    assert stage.tiktok.sent == []
    assert stage.grant().lease_owner == "other"


def test_a_lease_whose_holder_is_dead_binds_nobody(stage: Stage) -> None:
    stage.accounts.change(GRANT, lease_owner="dead", lease_until=stage.clock.now)
    stage.tiktok.answers.append(fresh(stage))

    assert renew(stage).outcome is Outcome.RENEWED


def test_a_failure_gives_back_only_ones_own_lease(stage: Stage) -> None:
    """A holder that was slow beyond its lease must not end its successor's."""
    lost = {"lease_owner": "successor", "lease_until": stage.deadline(60)}
    stage.happenings.before("tiktok.refresh", lambda: stage.accounts.change(GRANT, **lost))
    stage.tiktok.answers.append(BUSY)

    renew(stage)

    assert stage.grant().lease_owner == "successor"


def freeze_in_the_lease(stage: Stage) -> None:
    """The process is stopped right after it took the lease, and runs on when its time is over."""
    stage.happenings.after("grants.take_lease", lambda: stage.clock.advance(seconds=40))


def test_a_holder_that_slept_through_its_lease_sends_nothing(stage: Stage) -> None:
    freeze_in_the_lease(stage)

    renew(stage)

    assert stage.tiktok.sent == []
    assert stage.grant().intent is None


def test_a_sleeper_leaves_the_intent_of_an_earlier_request(stage: Stage) -> None:
    stage.tiktok.answers.append(BROKEN)
    renew(stage)
    stage.clock.advance(minutes=2)
    freeze_in_the_lease(stage)
    renew(stage)
    stage.clock.advance(minutes=2)
    stage.tiktok.answers.append(Refused("invalid_grant"))

    renew(stage)

    assert stage.grant().reason == "rotation_lost"


# -- an unknown outcome -------------------------------------------------------------------------


def test_a_broken_connection_is_repeated_with_the_same_token(stage: Stage) -> None:
    spent = stage.refresh_token()
    stage.tiktok.answers.extend([NoAnswer(), NoAnswer(), fresh(stage)])

    assert renew(stage).outcome is Outcome.RENEWED
    assert stage.tiktok.sent == [spent] * 3


def test_a_broken_connection_is_repeated_at_most_twice(stage: Stage) -> None:
    stage.tiktok.answers.extend([NoAnswer() for _ in range(9)])

    report = renew(stage)

    assert report.outcome is Outcome.UNKNOWN
    assert len(stage.tiktok.sent) == 3
    assert stage.grant().status is Status.ACTIVE
    assert stage.grant().intent == stage.pair().fingerprint
    assert stage.grant().lease_owner is None


def test_a_repeat_needs_time_for_request_and_save_too(stage: Stage) -> None:
    def late() -> TokenAnswer:
        stage.clock.advance(seconds=20)
        raise NoAnswer

    stage.tiktok.answers.extend([late, NoAnswer()])

    assert renew(stage, seconds=30).outcome is Outcome.UNKNOWN
    assert len(stage.tiktok.sent) == 1


def test_under_strict_rotation_a_lost_answer_is_told_as_lost(stage: Stage) -> None:
    strict = StrictTikTok(stage.happenings, stage.clock)
    stage.authorise(strict.authorise())
    stage.clock.advance(hours=3)
    stage.happenings.after("tiktok.refresh", NoAnswer())

    report = stage.renewal(tiktok=strict).renew(GRANT, NEEDED, deadline=stage.deadline())

    assert report.outcome is Outcome.RELINK_REQUIRED
    assert report.is_lost
    assert stage.grant().reason == "rotation_lost"
    assert strict.rotations == 1


def test_the_old_access_token_stays_when_a_rotation_is_lost(stage: Stage) -> None:
    before = stage.pair()
    stage.tiktok.answers.extend([NoAnswer(), Refused("invalid_grant")])

    renew(stage)

    assert stage.grant().reason == "rotation_lost"
    assert stage.pair() == before


# -- classes of answer --------------------------------------------------------------------------


def test_a_plain_invalid_grant_asks_for_the_owner(stage: Stage) -> None:
    stage.tiktok.answers.append(Refused("invalid_grant"))

    report = renew(stage)

    assert report.outcome is Outcome.RELINK_REQUIRED
    assert not report.is_lost
    assert stage.grant().status is Status.RELINK_REQUIRED
    assert stage.grant().reason == "refresh_token_rejected"
    assert stage.grant().lease_owner is None
    assert stage.grant().due_at is None


def test_invalid_grant_means_nothing_once_a_newer_pair_is_stored(stage: Stage) -> None:
    newer = samples.answer(issued_at=stage.clock.now)
    stage.happenings.before("tiktok.refresh", lambda: stage.authorise(newer))
    stage.tiktok.answers.append(Refused("invalid_grant"))

    report = renew(stage)

    assert report.outcome is Outcome.FRESH
    assert stage.grant().status is Status.ACTIVE
    assert newer.refresh_token is not None
    assert stage.refresh_token() == newer.refresh_token.reveal()


def test_a_busy_tiktok_is_left_alone_for_as_long_as_it_asked(stage: Stage) -> None:
    stage.tiktok.answers.append(BUSY)

    report = renew(stage)

    assert report.outcome is Outcome.PROVIDER_UNAVAILABLE
    assert report.retry_after is not None
    assert report.retry_after >= 120
    assert stage.grant().backoff_until == stage.clock.now + timedelta(seconds=120)
    assert stage.grant().status is Status.ACTIVE
    assert stage.grant().intent is None


def test_a_failure_is_remembered_with_tiktoks_log_id(stage: Stage) -> None:
    stage.tiktok.answers.append(BUSY)
    began = stage.clock.now

    renew(stage)

    grant = stage.grant()
    assert (grant.last_error, grant.last_log_id) == ("too_many_requests", "L" * 32)
    assert (grant.failing_since, grant.failures) == (began, 1)


def test_during_the_backoff_nothing_is_sent(stage: Stage) -> None:
    stage.tiktok.answers.append(BUSY)
    renew(stage)

    stage.clock.advance(seconds=119)
    report = renew(stage)

    assert report.outcome is Outcome.BACKOFF
    assert report.retry_after in (1, 2)
    assert len(stage.tiktok.sent) == 1


def test_after_the_backoff_a_success_clears_the_record_of_failures(stage: Stage) -> None:
    stage.tiktok.answers.append(BUSY)
    renew(stage)
    stage.clock.advance(seconds=120)
    stage.tiktok.answers.append(fresh(stage))

    assert renew(stage).outcome is Outcome.RENEWED

    grant = stage.grant()
    assert (grant.failing_since, grant.failures, grant.last_error) == (None, 0, None)
    assert grant.backoff_until is None


@pytest.mark.parametrize(
    ("failures", "luck", "seconds"),
    [
        (0, 1.0, 15),
        (0, 0.0, 0),
        (1, 1.0, 30),
        (4, 0.5, 120),
        (50, 1.0, 300),
    ],
)
def test_backoff_doubles_with_full_jitter_up_to_five_minutes(
    stage: Stage, failures: int, luck: float, seconds: int
) -> None:
    stage.accounts.change(GRANT, failures=failures)
    stage.luck = luck
    stage.tiktok.answers.append(CONNECT_FAILED)

    renew(stage)

    assert stage.grant().backoff_until == stage.clock.now + timedelta(seconds=seconds)


def test_a_connection_never_made_leaves_no_intent(stage: Stage) -> None:
    stage.tiktok.answers.append(CONNECT_FAILED)

    assert renew(stage).outcome is Outcome.PROVIDER_UNAVAILABLE
    assert stage.grant().intent is None


def test_a_server_error_keeps_the_intent_since_tiktok_may_have_rotated(stage: Stage) -> None:
    stage.tiktok.answers.append(BROKEN)

    report = renew(stage)

    assert report.outcome is Outcome.PROVIDER_UNAVAILABLE
    assert stage.grant().intent == stage.pair().fingerprint
    assert stage.grant().status is Status.ACTIVE


def test_an_invalid_grant_after_a_server_error_is_told_as_lost(stage: Stage) -> None:
    stage.tiktok.answers.append(BROKEN)
    renew(stage)
    stage.clock.advance(minutes=2)
    stage.tiktok.answers.append(Refused("invalid_grant"))

    renew(stage)

    assert stage.grant().reason == "rotation_lost"


def test_an_intent_outlives_a_connection_that_failed_during_recovery(stage: Stage) -> None:
    """What cannot be sent tells nothing about the request before it."""
    stage.tiktok.answers.append(BROKEN)
    renew(stage)
    stage.clock.advance(minutes=2)
    stage.tiktok.answers.append(CONNECT_FAILED)
    renew(stage)
    stage.clock.advance(minutes=2)
    stage.tiktok.answers.append(Refused("invalid_grant"))

    renew(stage)

    assert stage.grant().reason == "rotation_lost"


# -- the app registration -----------------------------------------------------------------------


def test_a_refused_secret_is_followed_by_the_previous_one(stage: Stage) -> None:
    stage.credentials.secrets = ("current", "previous")
    stage.tiktok.answers.extend([Misconfigured("invalid_client"), fresh(stage)])

    assert renew(stage).outcome is Outcome.RENEWED
    assert stage.tiktok.secrets == ["current", "previous"]
    assert "credentials.reread" in stage.calls


def test_a_refused_secret_is_looked_up_anew_first(stage: Stage) -> None:
    stage.credentials.secrets = ("cached",)
    stage.credentials.rotated = ("rotated", "cached")
    stage.tiktok.answers.extend([Misconfigured("invalid_client"), fresh(stage)])

    assert renew(stage).outcome is Outcome.RENEWED
    assert stage.tiktok.secrets == ["cached", "rotated"]


def test_a_refused_registration_changes_no_account(stage: Stage) -> None:
    before = stage.grant()
    stage.credentials.secrets = ("current", "previous")
    stage.tiktok.answers.extend([Misconfigured("invalid_client")] * 9)

    report = renew(stage)

    after = stage.grant()
    assert report.outcome is Outcome.MISCONFIGURED
    assert stage.tiktok.secrets == ["current", "previous"]
    assert (after.status, after.reason, after.pair) == (before.status, before.reason, before.pair)
    assert (after.version, after.due_at) == (before.version, before.due_at)
    assert (after.lease_owner, after.intent, after.backoff_until) == (None, None, None)


def test_a_refused_registration_marks_no_account_as_failing(stage: Stage) -> None:
    stage.tiktok.answers.append(Misconfigured("unauthorized_client"))

    renew(stage)

    grant = stage.grant()
    assert (grant.failing_since, grant.failures, grant.last_error) == (None, 0, None)


def test_a_secret_that_tiktok_accepts_is_not_tried_twice(stage: Stage) -> None:
    stage.tiktok.answers.append(Misconfigured("invalid_request"))

    assert renew(stage).outcome is Outcome.MISCONFIGURED
    assert len(stage.tiktok.sent) == 1
    assert "credentials.reread" not in stage.calls


def test_a_refused_registration_is_an_error_in_the_log(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.tiktok.answers.append(Misconfigured("unauthorized_client"))

    renew(stage)

    assert [r.levelname for r in caplog.records if "registration" in r.message] == ["ERROR"]


# -- saving -------------------------------------------------------------------------------------


def test_a_failed_save_is_repeated(stage: Stage) -> None:
    answer = fresh(stage)
    stage.tiktok.answers.append(answer)
    stage.happenings.before("grants.save_renewed", *[StoreUnavailable("down")] * 3)

    assert renew(stage).outcome is Outcome.RENEWED

    sent = stage.calls.index("tiktok.refresh")
    assert stage.calls[sent + 3 : sent + 7] == ["grants.save_renewed"] * 4
    assert len(stage.tiktok.sent) == 1


def test_a_save_whose_reply_was_lost_is_recognised_as_our_own(stage: Stage) -> None:
    stage.tiktok.answers.append(fresh(stage))
    stage.happenings.after("grants.save_renewed", StoreUnavailable("reply lost"))

    assert renew(stage).outcome is Outcome.RENEWED
    assert stage.grant().rotations == 1
    assert stage.tiktok.revoked == []


def table_down(stage: Stage) -> None:
    stage.happenings.before("grants.save_renewed", *[StoreUnavailable("down")] * 100)


def test_a_pair_that_the_table_does_not_take_goes_to_the_rescue_queue(stage: Stage) -> None:
    ends = stage.deadline(30)
    table_down(stage)
    stage.tiktok.answers.append(fresh(stage))

    report = renew(stage)

    assert report == RenewalReport(Outcome.UNKNOWN, retry_after=31)
    assert len(stage.rescue.parcels) == 1
    assert stage.clock.now + timedelta(seconds=2) < ends, "the queue needs time too"
    assert stage.grant().status is Status.ACTIVE


def test_a_rescued_pair_lands_under_the_same_condition(stage: Stage) -> None:
    answer = fresh(stage)
    table_down(stage)
    stage.tiktok.answers.append(answer)
    renew(stage)
    stage.happenings.forget()

    saved = stage.rescuing().land(stage.rescue.parcels[0])

    assert saved is Saved.STORED
    assert answer.refresh_token is not None
    assert stage.refresh_token() == answer.refresh_token.reveal()
    assert stage.grant().intent is None


def test_a_pair_that_nothing_takes_waits_in_the_journal(stage: Stage) -> None:
    answer = fresh(stage)
    table_down(stage)
    stage.happenings.before("rescue.put_renewed", StoreUnavailable("down"))
    stage.tiktok.answers.append(answer)

    assert renew(stage).outcome is Outcome.UNKNOWN

    stage.happenings.forget()
    stage.clock.advance(seconds=36)
    assert renew(stage).outcome is Outcome.RENEWED
    assert len(stage.tiktok.sent) == 1
    assert answer.refresh_token is not None
    assert stage.refresh_token() == answer.refresh_token.reveal()


def flag_meanwhile(stage: Stage) -> None:
    """Another worker asks for the owner while this one waits for TikTok's answer."""
    stage.happenings.before(
        "tiktok.refresh",
        lambda: stage.accounts.require_relink(
            stage.grant(), RelinkReason.ROTATION_LOST, now=stage.clock.now
        ),
    )
    stage.tiktok.answers.append(fresh(stage))


def test_a_late_pair_lands_and_clears_a_relink_flag_set_meanwhile(stage: Stage) -> None:
    before = stage.refresh_token()
    flag_meanwhile(stage)

    renew(stage)

    grant = stage.grant()
    assert grant.status is Status.ACTIVE
    assert grant.reason_at(stage.clock.now) is None
    assert stage.refresh_token() != before


def test_nobody_relies_on_a_pair_that_landed_over_a_flag(stage: Stage) -> None:
    """A TikTok that ends the whole grant on reuse has killed it: one renewal tells."""
    flag_meanwhile(stage)

    report = renew(stage)

    assert report == RenewalReport(Outcome.UNKNOWN, retry_after=1)
    assert stage.grant().is_in_doubt
    assert not stage.grant().is_alive(stage.clock.now)
    assert stage.grant().due_at == slot_of(stage.clock.now)


@pytest.mark.parametrize("ask", [NEEDED, SCHEDULED])
def test_tiktoks_yes_settles_a_doubt(stage: Stage, ask: Ask) -> None:
    flag_meanwhile(stage)
    renew(stage)
    stage.tiktok.answers.append(fresh(stage))

    assert renew(stage, ask).outcome is Outcome.RENEWED
    assert not stage.grant().is_in_doubt
    assert stage.grant().is_alive(stage.clock.now)


def test_tiktoks_no_settles_a_doubt_with_the_reason_that_was_right(stage: Stage) -> None:
    flag_meanwhile(stage)
    renew(stage)
    stage.tiktok.answers.append(Refused("invalid_grant"))

    assert renew(stage).outcome is Outcome.RELINK_REQUIRED
    assert stage.grant().reason == RelinkReason.ROTATION_LOST
    # Nobody had spent that token, so TikTok has ended all of it: the access token is dead, too.
    assert not stage.grant().is_alive(stage.clock.now)


def test_a_lost_rotation_leaves_the_access_token_to_its_own_date(stage: Stage) -> None:
    """Where reuse is merely refused it works to its end, and who gets it is warned."""
    stage.tiktok.answers.extend([NoAnswer(), Refused("invalid_grant")])

    assert renew(stage, Ask(rejected=True)).outcome is Outcome.RELINK_REQUIRED
    assert stage.grant().reason == RelinkReason.ROTATION_LOST
    assert stage.grant().is_alive(stage.clock.now)


def test_a_doubt_that_could_not_be_hastened_is_settled_by_whoever_asks(stage: Stage) -> None:
    flag_meanwhile(stage)
    stage.happenings.before("grants.doubt", StoreUnavailable("down"))
    renew(stage)
    stage.tiktok.answers.append(fresh(stage))

    assert renew(stage).outcome is Outcome.RENEWED


def test_a_pair_lands_although_its_lease_was_taken_over(stage: Stage) -> None:
    taken = {"lease_owner": "successor", "lease_until": stage.deadline(60)}
    stage.happenings.before("tiktok.refresh", lambda: stage.accounts.change(GRANT, **taken))
    stage.tiktok.answers.append(fresh(stage))

    assert renew(stage).outcome is Outcome.RENEWED


def test_a_newer_pair_stays_where_a_late_one_arrives(stage: Stage) -> None:
    newer = samples.answer(issued_at=stage.clock.now)
    stage.happenings.after("tiktok.refresh", lambda: stage.authorise(newer))
    stage.tiktok.answers.append(fresh(stage))

    report = renew(stage)

    assert report.outcome is Outcome.FRESH
    assert newer.refresh_token is not None
    assert stage.refresh_token() == newer.refresh_token.reveal()
    assert stage.tiktok.revoked == []
    assert len(stage.journal) == 0


def unlink_now(stage: Stage) -> None:
    grant = stage.grant()
    stage.accounts.mark_revoking(grant, now=stage.clock.now)
    stage.accounts.forget_tokens(grant, revocation="true", now=stage.clock.now)


def test_a_fresh_pair_of_an_ended_grant_is_given_back_to_tiktok(stage: Stage) -> None:
    answer = fresh(stage)
    stage.happenings.after("tiktok.refresh", lambda: unlink_now(stage))
    stage.tiktok.answers.append(answer)

    report = renew(stage)

    assert report.outcome is Outcome.ENDED
    assert stage.tiktok.revoked == [answer.access_token.reveal()]
    assert stage.grant().pair is None
    assert len(stage.journal) == 0


def test_giving_back_waits_for_no_time_that_is_not_left(stage: Stage) -> None:
    """Saving is what the time is kept for; the unlink's own revocation disconnects the app."""

    def late() -> None:
        unlink_now(stage)
        stage.clock.advance(seconds=20)

    stage.happenings.after("tiktok.refresh", late)
    stage.tiktok.answers.append(fresh(stage))

    assert renew(stage, seconds=30).outcome is Outcome.ENDED
    assert stage.tiktok.revoked == []


def test_an_ended_grant_stays_ended_when_giving_back_fails(stage: Stage) -> None:
    stage.happenings.after("tiktok.refresh", lambda: unlink_now(stage))
    stage.tiktok.answers.append(fresh(stage))
    stage.tiktok.revocations.append(BROKEN)

    assert renew(stage).outcome is Outcome.ENDED
    assert stage.grant().pair is None


# -- what the answer holds ----------------------------------------------------------------------


def test_a_refresh_token_is_never_overwritten_by_nothing(stage: Stage) -> None:
    before = stage.refresh_token()
    stage.tiktok.answers.append(replace(fresh(stage), refresh_token=None))

    assert renew(stage).outcome is Outcome.RENEWED
    assert stage.refresh_token() == before
    assert stage.grant().is_alive(stage.clock.now, timedelta(hours=1))


def test_scopes_and_deadline_that_are_left_out_stay(stage: Stage) -> None:
    before = stage.grant()
    stage.tiktok.answers.append(replace(fresh(stage), scopes=None, relink_by=None))

    renew(stage)

    assert stage.grant().scopes == before.scopes
    assert stage.grant().relink_by == before.relink_by


def test_scopes_that_shrank_are_stored(stage: Stage) -> None:
    stage.tiktok.answers.append(replace(fresh(stage), scopes=("user.info.basic",)))

    renew(stage)

    assert stage.grant().scopes == ("user.info.basic",)


@pytest.mark.parametrize(
    ("moved_by", "is_written"),
    [
        (timedelta(seconds=20), False),
        (timedelta(seconds=-20), False),
        (timedelta(hours=1), False),
        (timedelta(hours=-1), False),
        (timedelta(hours=1, seconds=1), True),
        (timedelta(days=-30), True),
        (timedelta(days=180), True),
    ],
)
def test_the_deadline_moves_only_by_more_than_an_hour(
    stage: Stage, moved_by: timedelta, is_written: bool
) -> None:
    before = stage.grant().relink_by
    assert before is not None
    stage.tiktok.answers.append(replace(fresh(stage), relink_by=before + moved_by))

    renew(stage)

    assert stage.grant().relink_by == (before + moved_by if is_written else before)


def test_another_persons_pair_is_not_stored(stage: Stage) -> None:
    before = stage.pair()
    stage.tiktok.answers.append(replace(fresh(stage), open_id="somebody-else"))

    report = renew(stage)

    assert report.outcome is Outcome.UNKNOWN
    assert stage.pair() == before
    assert stage.grant().status is Status.ACTIVE
    assert stage.grant().last_error == "foreign_open_id"


def test_another_persons_pair_takes_the_grant_out_of_the_schedule(stage: Stage) -> None:
    """Each try may rotate somebody else's token: only a person or a request asks again."""
    stage.tiktok.answers.append(replace(fresh(stage), open_id="somebody-else"))

    renew(stage)

    grant = stage.grant()
    assert grant.due_at is None
    assert grant.backoff_until is not None


# -- recovery -----------------------------------------------------------------------------------


def crash_after(stage: Stage, step: str) -> None:
    stage.happenings.after(step, Killed())
    stage.tiktok.answers.append(fresh(stage))
    with pytest.raises(Killed):
        renew(stage)
    stage.clock.advance(seconds=36)


def test_a_crash_before_the_save_is_mended_from_the_journal(stage: Stage) -> None:
    crash_after(stage, "journal.append")

    report = renew(stage)

    assert report.outcome is Outcome.RENEWED
    assert len(stage.tiktok.sent) == 1
    assert len(stage.journal) == 0


def elsewhere(stage: Stage) -> RenewalReport:
    """Renew in another execution environment, which has another journal."""
    journal = MemoryJournal(stage.happenings)
    return stage.renewal(journal=journal).renew(GRANT, NEEDED, deadline=stage.deadline())


def test_nobody_replays_before_a_rescued_pair_had_its_time_to_land(stage: Stage) -> None:
    crash_after(stage, "tiktok.refresh")

    first = elsewhere(stage)
    stage.clock.advance(seconds=29)
    second = elsewhere(stage)

    assert first == RenewalReport(Outcome.UNKNOWN, retry_after=31)
    assert second.outcome is Outcome.UNKNOWN
    assert second.retry_after in (1, 2)
    assert len(stage.tiktok.sent) == 1
    assert stage.calls.count("grants.mark_recovering") == 1


def test_after_thirty_seconds_the_old_token_is_sent_again(stage: Stage) -> None:
    crash_after(stage, "tiktok.refresh")
    elsewhere(stage)
    stage.clock.advance(seconds=30)
    stage.tiktok.answers.append(Refused("invalid_grant"))

    report = elsewhere(stage)

    assert report.outcome is Outcome.RELINK_REQUIRED
    assert len(set(stage.tiktok.sent)) == 1
    assert stage.grant().reason == "rotation_lost"


def test_a_replay_that_tiktok_answers_wins_the_link_back(stage: Stage) -> None:
    crash_after(stage, "tiktok.refresh")
    elsewhere(stage)
    stage.clock.advance(seconds=30)
    stage.tiktok.answers.append(fresh(stage))

    assert elsewhere(stage).outcome is Outcome.RENEWED
    assert stage.grant().recovering_since is None


def test_a_pair_that_landed_during_the_wait_ends_the_recovery(stage: Stage) -> None:
    table_down(stage)
    stage.tiktok.answers.append(fresh(stage))
    renew(stage)
    stage.happenings.forget()
    stage.clock.advance(seconds=40)
    elsewhere(stage)
    stage.rescuing().land(stage.rescue.parcels[0])

    assert elsewhere(stage).outcome is Outcome.FRESH
    assert len(stage.tiktok.sent) == 1


def test_recovery_begins_with_a_write_that_proves_the_table(stage: Stage) -> None:
    crash_after(stage, "tiktok.refresh")
    stage.happenings.before("grants.mark_recovering", StoreUnavailable("down"))

    with pytest.raises(StoreUnavailable):
        elsewhere(stage)

    stage.clock.advance(seconds=60)
    assert elsewhere(stage).outcome is Outcome.UNKNOWN
    assert len(stage.tiktok.sent) == 1


def test_who_finds_recovery_begun_by_somebody_else_waits(stage: Stage) -> None:
    crash_after(stage, "tiktok.refresh")
    stage.happenings.before(
        "grants.mark_recovering",
        lambda: stage.accounts.change(GRANT, recovering_since=stage.clock.now),
    )

    assert elsewhere(stage).outcome is Outcome.IN_PROGRESS


def test_the_intent_stays_when_the_reason_could_not_be_written(stage: Stage) -> None:
    """Else the next invalid_grant would be taken for the person's own removal."""
    crash_after(stage, "tiktok.refresh")
    elsewhere(stage)
    stage.clock.advance(seconds=30)
    stage.tiktok.answers.append(Refused("invalid_grant"))
    stage.happenings.before("grants.require_relink", StoreUnavailable("down"))
    with pytest.raises(StoreUnavailable):
        elsewhere(stage)

    stage.clock.advance(seconds=36)
    elsewhere(stage)
    stage.clock.advance(seconds=30)
    stage.tiktok.answers.append(Refused("invalid_grant"))
    elsewhere(stage)

    assert stage.grant().reason == "rotation_lost"


# -- whether at all -----------------------------------------------------------------------------


def test_a_grant_that_does_not_exist_is_ended(stage: Stage) -> None:
    report = stage.renewal().renew("x" * 24, NEEDED, deadline=stage.deadline())

    assert report.outcome is Outcome.ENDED


def test_a_token_that_lives_long_enough_is_left_alone(stage: Stage) -> None:
    report = renew(stage, Ask(min_ttl=timedelta(seconds=30)))

    assert report.outcome is Outcome.FRESH
    assert stage.tiktok.sent == []


@pytest.mark.parametrize(
    ("lives", "age", "is_renewed"),
    [
        (timedelta(hours=2), timedelta(minutes=9), False),
        (timedelta(hours=2), timedelta(minutes=10), True),
        (timedelta(minutes=4), timedelta(seconds=119), False),
        (timedelta(minutes=4), timedelta(seconds=120), True),
    ],
)
def test_no_grant_is_renewed_twice_within_the_floor(
    stage: Stage, lives: timedelta, age: timedelta, is_renewed: bool
) -> None:
    stage.authorise(samples.answer(issued_at=stage.clock.now, lives=lives))
    stage.clock.now += age
    stage.tiktok.answers.append(fresh(stage))

    report = renew(stage, Ask(min_ttl=timedelta(hours=3)))

    assert (report.outcome is Outcome.RENEWED) is is_renewed
    assert bool(stage.tiktok.sent) is is_renewed


@pytest.mark.parametrize(("age_seconds", "is_renewed"), [(59, False), (60, True)])
def test_a_rejected_token_is_renewed_at_most_once_a_minute(
    stage: Stage, age_seconds: int, is_renewed: bool
) -> None:
    stage.authorise(samples.answer(issued_at=stage.clock.now))
    stage.clock.advance(seconds=age_seconds)
    stage.tiktok.answers.append(fresh(stage))

    report = renew(stage, Ask(rejected=True))

    assert (report.outcome is Outcome.RENEWED) is is_renewed


def test_past_its_deadline_a_grant_is_flagged_and_nothing_is_sent(stage: Stage) -> None:
    stage.clock.advance(days=180)

    assert renew(stage).outcome is Outcome.RELINK_REQUIRED
    assert stage.grant().reason == "refresh_token_expired"
    assert stage.tiktok.sent == []


def test_a_grant_that_waits_for_its_owner_sends_nothing(stage: Stage) -> None:
    stage.accounts.require_relink(
        stage.grant(), RelinkReason.REFRESH_TOKEN_REJECTED, now=stage.clock.now
    )

    assert renew(stage).outcome is Outcome.RELINK_REQUIRED
    assert stage.tiktok.sent == []


def test_an_ended_grant_sends_nothing(stage: Stage) -> None:
    unlink_now(stage)

    assert renew(stage).outcome is Outcome.ENDED
    assert stage.tiktok.sent == []


def test_a_grant_whose_revocation_waits_is_renewed_for_that_alone(stage: Stage) -> None:
    stage.accounts.mark_revoking(stage.grant(), now=stage.clock.now)
    stage.tiktok.answers.append(fresh(stage))

    ordinary = renew(stage)
    for_revocation = renew(stage, Ask(for_revocation=True))

    assert ordinary.outcome is Outcome.ENDED
    assert for_revocation.outcome is Outcome.RENEWED
    assert stage.grant().status is Status.UNLINKED


def test_a_renewal_for_revocation_respects_a_lease(stage: Stage) -> None:
    stage.accounts.mark_revoking(stage.grant(), now=stage.clock.now)
    stage.accounts.take_lease(
        stage.grant(), owner="other", until=stage.deadline(20), now=stage.clock.now
    )

    assert renew(stage, Ask(for_revocation=True)).outcome is Outcome.IN_PROGRESS
    assert stage.tiktok.sent == []


# -- the schedule -------------------------------------------------------------------------------


def warm(stage: Stage) -> None:
    stage.accounts.change(GRANT, last_used_at=stage.clock.now - timedelta(hours=1))
    stage.accounts.change(GRANT, due_at=stage.clock.now - timedelta(hours=1))


def test_a_due_grant_is_renewed_before_anybody_asks(stage: Stage) -> None:
    warm(stage)
    stage.tiktok.answers.append(fresh(stage))

    assert renew(stage, SCHEDULED).outcome is Outcome.RENEWED


def test_a_second_delivery_of_the_same_event_calls_nobody(stage: Stage) -> None:
    warm(stage)
    stage.tiktok.answers.append(fresh(stage))
    renew(stage, SCHEDULED)

    again = [renew(stage, SCHEDULED).outcome for _ in range(3)]

    assert again == [Outcome.FRESH] * 3
    assert len(stage.tiktok.sent) == 1


def test_a_grant_that_cooled_down_is_put_off_instead_of_renewed(stage: Stage) -> None:
    """It came due while it was in use; nobody used it since."""
    stage.accounts.change(GRANT, due_at=stage.clock.now - timedelta(hours=1))

    assert renew(stage, SCHEDULED).outcome is Outcome.FRESH
    assert stage.tiktok.sent == []
    due_at = stage.grant().due_at
    assert due_at is not None
    assert due_at > stage.clock.now + timedelta(days=5)


def test_an_unused_grant_is_renewed_once_a_week(stage: Stage) -> None:
    """The health check: it finds links that were revoked unnoticed."""
    stage.clock.advance(days=7)
    stage.tiktok.answers.append(fresh(stage))

    assert renew(stage, SCHEDULED).outcome is Outcome.RENEWED


def test_on_demand_leaves_the_index(stage: Stage) -> None:
    warm(stage)
    stage.accounts.change(GRANT, mode=RefreshMode.ON_DEMAND)

    assert renew(stage, SCHEDULED).outcome is Outcome.FRESH
    assert stage.grant().due_at is None
    assert stage.tiktok.sent == []


def test_an_ended_grant_leaves_the_index(stage: Stage) -> None:
    stage.accounts.change(GRANT, status=Status.REVOKED)

    assert renew(stage, SCHEDULED).outcome is Outcome.ENDED
    assert stage.grant().due_at is None


# -- what is said -------------------------------------------------------------------------------


def test_no_log_line_holds_a_token(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stage.credentials.secrets = ("client-secret-canary",)
    script: list[BaseException] = [BUSY, BROKEN, Misconfigured("invalid_client"), NoAnswer()]
    for trouble in script:
        stage.tiktok.answers.extend([trouble] * 3)
        renew(stage)
        stage.tiktok.answers.clear()
        stage.clock.advance(hours=1)
    stage.tiktok.answers.append(Refused("invalid_grant"))
    renew(stage)

    said = " ".join(str(vars(record)) for record in caplog.records)
    assert caplog.records
    assert not any(word in said for word in ("act.", "rft.", "client-secret-canary"))


def test_a_fake_that_nobody_asked_stays_silent(happenings: Happenings) -> None:
    """The record itself works: a planned failure happens once, at its place, and not before."""
    happenings.before("x", StoreUnavailable("down"))

    with pytest.raises(StoreUnavailable), happenings.call("x"):
        pytest.fail("the planned failure comes before the effect")
    with happenings.call("x"):
        happenings.calls.append("effect")

    assert happenings.calls == ["x", "x", "effect"]
