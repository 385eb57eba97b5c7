"""What a webhook does, and everything that it must not be able to do."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest

from local.tiktok.webhooks import sign
from tests.fakes import samples
from tests.fakes.credentials import CLIENT_KEY
from tests.unit.stage import Stage
from tiktok_linking.accounts import RelinkReason, RevokedReason, Status
from tiktok_linking.errors import AccountRevoked, ActionBy, Refused, StoreUnavailable
from tiktok_linking.ports import Outcome
from tiktok_linking.removing import NotFromTikTok, Refusal
from tiktok_linking.renewal import Ask
from tiktok_linking.schedule import is_at_once

SECRET = "current-secret"
HOUR = timedelta(hours=1)


def removal(stage: Stage, *, ago: timedelta = timedelta(0), **changes: object) -> bytes:
    told = {
        "client_key": CLIENT_KEY,
        "event": "authorization.removed",
        "create_time": int((stage.clock.now - ago).timestamp()),
        "user_openid": samples.OPEN_ID,
        "content": '{"reason": 1 }',
    }
    return json.dumps(told | changes, separators=(",", ":")).encode()


def deliver(
    stage: Stage, body: bytes, *, secret: str = SECRET, late: timedelta = timedelta(0)
) -> None:
    """Have it delivered, signed so long ago."""
    signed_at = int((stage.clock.now - late).timestamp())
    stage.removing().receive(sign(secret, signed_at, body), body)


def refused(
    stage: Stage, body: bytes, *, secret: str = SECRET, late: timedelta = timedelta(0)
) -> Refusal:
    with pytest.raises(NotFromTikTok) as caught:
        deliver(stage, body, secret=secret, late=late)
    return caught.value.refusal


def ignored(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.__dict__["why"] for r in caplog.records if r.message == "webhook ignored"]


@pytest.fixture
def linked(stage: Stage) -> Stage:
    """Somebody who was linked an hour ago."""
    stage.link()
    stage.clock.advance(hours=1)
    return stage


# -- removals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "reason", "action_by"),
    [
        (0, RevokedReason.REMOVED_AT_TIKTOK, ActionBy.END_USER),
        (1, RevokedReason.REVOKED_BY_USER, ActionBy.END_USER),
        (2, RevokedReason.TIKTOK_ACCOUNT_DELETED, ActionBy.NOBODY),
        (3, RevokedReason.TIKTOK_AGE_CHANGED, ActionBy.NOBODY),
        (4, RevokedReason.TIKTOK_ACCOUNT_BANNED, ActionBy.NOBODY),
        (5, RevokedReason.REVOKED_BY_DEVELOPER, ActionBy.NOBODY),
    ],
)
def test_a_removal_ends_the_grant_and_says_who_can_do_something(
    linked: Stage, number: int, reason: RevokedReason, action_by: ActionBy
) -> None:
    deliver(linked, removal(linked, content=json.dumps({"reason": number})))

    grant = linked.grant()
    assert (grant.status, grant.reason, grant.pair) == (Status.REVOKED, reason.value, None)
    with pytest.raises(AccountRevoked) as refusal:
        linked.vending().access_token_for(
            samples.account().id, caller=samples.BACKEND, min_ttl=timedelta(0)
        )
    assert refusal.value.action_by is action_by
    assert refusal.value.facts["reason"] == reason.value


def test_a_removal_costs_one_write_and_reads_nothing(linked: Stage) -> None:
    deliver(linked, removal(linked))

    assert linked.calls == ["credentials.candidates", "removals.mark_revoked"]


def test_a_removal_ends_the_grant_for_everybody_who_shares_it(stage: Stage) -> None:
    stage.link("u_1")
    stage.accounts.save_account(samples.account(end_user_id="u_2"))
    stage.clock.advance(hours=1)

    deliver(stage, removal(stage))

    for end_user in ("u_1", "u_2"):
        with pytest.raises(AccountRevoked):
            stage.vending().access_token_for(
                samples.account(end_user_id=end_user).id,
                caller=samples.BACKEND,
                min_ttl=timedelta(0),
            )


def test_the_same_event_five_times_is_one_change(linked: Stage) -> None:
    body = removal(linked)
    deliver(linked, body)
    once = linked.grant()

    for _ in range(4):
        deliver(linked, body)

    assert linked.grant() == once


@pytest.mark.parametrize("hours", [1, 24, 72])
@pytest.mark.parametrize("signed_anew", [True, False])
def test_a_late_removal_is_still_a_removal(linked: Stage, hours: int, signed_anew: bool) -> None:
    body = removal(linked)
    linked.clock.advance(hours=hours)

    deliver(linked, body, late=timedelta(0) if signed_anew else timedelta(hours=hours))

    assert linked.grant().status is Status.REVOKED


def test_a_removal_from_before_the_link_is_left(
    linked: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = linked.grant()

    deliver(linked, removal(linked, ago=2 * HOUR))

    assert linked.grant() == before
    assert ignored(caplog) == ["linked_since"]


def test_a_removal_does_not_end_what_was_linked_again_since(linked: Stage) -> None:
    late = removal(linked)
    linked.clock.advance(minutes=20)
    linked.authorise(samples.answer(issued_at=linked.clock.now))
    before = linked.grant()

    deliver(linked, late, late=timedelta(minutes=20))

    assert linked.grant() == before


def test_a_removal_of_somebody_unknown_is_acknowledged(
    linked: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    deliver(linked, removal(linked, user_openid="somebody-else"))

    assert linked.grant().status is Status.ACTIVE
    assert ignored(caplog) == ["unknown_account"]


def test_the_echo_of_our_own_revocation_changes_nothing(linked: Stage) -> None:
    linked.unlinking().unlink(samples.account().id, caller=samples.BACKEND, revoke=True)
    before = linked.grant()

    deliver(linked, removal(linked, content='{"reason": 5}'))

    assert linked.grant() == before
    assert before.status is Status.UNLINKED


def test_a_revoked_account_unlinks_without_asking_tiktok(linked: Stage) -> None:
    deliver(linked, removal(linked))

    result = linked.unlinking().unlink(samples.account().id, caller=samples.BACKEND, revoke=True)

    assert result.revoked_at_tiktok.value == "not_needed"
    assert linked.tiktok.revoked == linked.tiktok.sent == []


def test_a_removal_without_a_date_is_acknowledged_and_left(
    linked: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    deliver(linked, removal(linked, create_time=None))

    assert linked.grant().status is Status.ACTIVE
    assert ignored(caplog) == ["unreadable"]


def test_a_removal_that_cannot_be_written_is_to_be_sent_again(linked: Stage) -> None:
    linked.happenings.before("removals.mark_revoked", StoreUnavailable())

    with pytest.raises(StoreUnavailable):
        deliver(linked, removal(linked))
    deliver(linked, removal(linked))

    assert linked.grant().status is Status.REVOKED


# -- too close to tell --------------------------------------------------------------------------

TOO_CLOSE = [timedelta(minutes=-10), timedelta(0), timedelta(minutes=10)]


@pytest.mark.parametrize("after", TOO_CLOSE)
def test_near_the_date_of_the_grant_tiktok_is_asked_and_nothing_deleted(
    stage: Stage, after: timedelta
) -> None:
    stage.link()
    body = removal(stage, ago=-after)
    stage.clock.advance(minutes=11)

    deliver(stage, body)

    grant = stage.grant()
    assert grant.status is Status.ACTIVE
    assert grant.pair is not None
    assert is_at_once(grant.due_at)
    stage.plan()
    assert stage.renewals.grant_ids == [grant.id]


@pytest.mark.parametrize("outside", [timedelta(seconds=-601), timedelta(seconds=601)])
def test_a_second_farther_it_is_decided_by_the_dates(stage: Stage, outside: timedelta) -> None:
    stage.link()
    body = removal(stage, ago=-outside)
    stage.clock.advance(minutes=11)

    deliver(stage, body)

    expected = Status.REVOKED if outside > timedelta(0) else Status.ACTIVE
    assert stage.grant().status is expected
    assert not is_at_once(stage.grant().due_at)


def scheduled(stage: Stage) -> Outcome:
    return (
        stage.renewal()
        .renew_grant(stage.grant(), Ask(scheduled=True), deadline=stage.deadline())
        .outcome
    )


def test_tiktok_confirms_the_removal(stage: Stage) -> None:
    stage.link()
    deliver(stage, removal(stage))
    stage.tiktok.answers.append(Refused("invalid_grant"))

    assert scheduled(stage) is Outcome.RELINK_REQUIRED
    grant = stage.grant()
    assert grant.status is Status.RELINK_REQUIRED
    assert grant.reason == RelinkReason.REVOKED_BY_USER
    assert grant.due_at is None


def test_tiktok_knows_nothing_of_a_removal(stage: Stage) -> None:
    stage.link()
    body = removal(stage)
    deliver(stage, body)
    stage.clock.advance(minutes=11)
    stage.tiktok.answers.append(samples.answer(issued_at=stage.clock.now))

    assert scheduled(stage) is Outcome.RENEWED
    grant = stage.grant()
    assert grant.status is Status.ACTIVE
    assert not is_at_once(grant.due_at)

    deliver(stage, body)
    assert not is_at_once(stage.grant().due_at), "the question was answered"


def test_a_vend_meanwhile_neither_loses_the_question_nor_is_refused(stage: Stage) -> None:
    account = stage.link()
    deliver(stage, removal(stage))

    vended = stage.vending().access_token_for(
        account.id, caller=samples.BACKEND, min_ttl=timedelta(0)
    )

    assert vended.warning is None
    assert is_at_once(stage.grant().due_at)


# -- who may say so -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["current", "previous", "pending"])
def test_every_secret_of_a_rotation_verifies(linked: Stage, kind: str) -> None:
    linked.credentials.secrets = ("current", "previous", "pending")

    deliver(linked, removal(linked), secret=kind)

    assert linked.grant().status is Status.REVOKED


def test_a_wrong_signature_touches_no_table(linked: Stage) -> None:
    assert refused(linked, removal(linked), secret="guessed") is Refusal.SIGNATURE_BAD
    assert linked.calls == ["credentials.candidates"]


@pytest.mark.parametrize("header", ["", "t=1", "s=0", "nonsense", "t=nan,s=" + "0" * 64])
def test_a_malformed_signature_costs_nothing(linked: Stage, header: str) -> None:
    with pytest.raises(NotFromTikTok) as caught:
        linked.removing().receive(header, removal(linked))

    assert caught.value.refusal is Refusal.SIGNATURE_UNREADABLE
    assert linked.calls == []


def test_a_signature_of_another_week_costs_nothing(linked: Stage) -> None:
    late = timedelta(hours=73, seconds=1)

    assert refused(linked, removal(linked), late=late) is Refusal.TIMESTAMP_OUT_OF_RANGE
    assert refused(linked, removal(linked), late=-late) is Refusal.TIMESTAMP_OUT_OF_RANGE
    assert linked.calls == []


@pytest.mark.parametrize("late", [timedelta(seconds=301), timedelta(seconds=-301)])
def test_only_a_removal_is_taken_with_another_time(linked: Stage, late: timedelta) -> None:
    other = removal(linked, event="video.publish.completed")

    assert refused(linked, other, late=late) is Refusal.TIMESTAMP_OUT_OF_RANGE
    deliver(linked, removal(linked), late=late)
    assert linked.grant().status is Status.REVOKED


def test_without_a_secret_nothing_is_believed(
    linked: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty secret would be a key that everybody knows."""
    linked.credentials.secrets = ()

    assert refused(linked, removal(linked), secret="") is Refusal.SIGNATURE_BAD
    assert "webhook without a client secret" in caplog.messages
    assert linked.grant().status is Status.ACTIVE


def test_a_secret_that_cannot_be_read_is_no_yes(linked: Stage) -> None:
    linked.happenings.before("credentials.candidates", StoreUnavailable())

    with pytest.raises(StoreUnavailable):
        deliver(linked, removal(linked))
    assert linked.grant().status is Status.ACTIVE


def test_the_secret_of_one_app_speaks_for_no_other(linked: Stage) -> None:
    """Both apps sign with a secret that is ours; the body names whose event it is."""
    body = removal(linked, client_key="another-client-key")

    assert refused(linked, body) is Refusal.CLIENT_KEY_MISMATCH
    assert linked.grant().status is Status.ACTIVE


@pytest.mark.parametrize("name", ["video.publish.completed", "portability.download.ready", "new"])
def test_events_of_other_kinds_are_acknowledged(
    linked: Stage, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    deliver(linked, removal(linked, event=name, user_openid=None))

    assert ignored(caplog) == ["unknown_event"]
    assert linked.calls == ["credentials.candidates"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"event":1}'])
def test_signed_nonsense_is_acknowledged_since_no_retry_would_mend_it(
    linked: Stage, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    deliver(linked, body)

    assert ignored(caplog) == ["unreadable"]


def test_nothing_that_is_logged_names_a_person(
    linked: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    deliver(linked, removal(linked))
    deliver(linked, removal(linked))
    refused(linked, removal(linked), secret="guessed")

    said = " ".join(str(record.__dict__) for record in caplog.records)
    assert samples.GRANT_ID in said
    assert samples.OPEN_ID not in said
    assert SECRET not in said
