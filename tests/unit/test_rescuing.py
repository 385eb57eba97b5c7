"""Rescuing: the same pair lands once, however often it is delivered, and never over a newer one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.fakes import samples
from tests.unit.stage import Stage
from tiktok_linking.accounts import Status
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.ports import AuthorisedPair, NewAccount, RenewedPair, Saved
from tiktok_linking.sessions import LinkSession, SessionStatus, session_key


def renewed_parcel(stage: Stage, answer: TokenAnswer) -> RenewedPair:
    pair = stage.sealing.seal_pair(answer, registration="default", now=stage.clock.now)
    return RenewedPair(samples.GRANT_ID, stage.pair().fingerprint, b"write-01", pair)


def authorised_parcel(
    stage: Stage, answer: TokenAnswer, session: LinkSession | None
) -> AuthorisedPair:
    pair = stage.sealing.seal_pair(answer, registration="default", now=stage.clock.now)
    account = None
    if session is not None:
        account = NewAccount(
            samples.account(at=answer.issued_at), session_key(session.id), answer.scopes or (), ()
        )
    return AuthorisedPair(
        registration="default",
        open_id=answer.open_id,
        authorised_at=answer.issued_at,
        write_id=b"write-02",
        pair=pair,
        account=account,
    )


@pytest.fixture
def session(stage: Stage) -> LinkSession:
    """A session whose callback could not write."""
    return stage.sessions.create(samples.link_session(), idempotency=None)


def token_of(answer: TokenAnswer) -> str:
    assert answer.refresh_token is not None
    return answer.refresh_token.reveal()


def test_a_renewed_pair_lands_once_however_often_it_comes(stage: Stage) -> None:
    stage.link()
    stage.clock.advance(hours=1)
    answer = samples.answer(issued_at=stage.clock.now)
    parcel = renewed_parcel(stage, answer)

    saved = [stage.rescuing().land(parcel) for _ in range(3)]

    assert saved == [Saved.STORED] * 3
    assert stage.refresh_token() == token_of(answer)
    assert stage.grant().rotations == 1


def test_a_rescued_pair_is_looked_at_again_by_the_schedule(stage: Stage) -> None:
    stage.link()
    stage.clock.advance(hours=1)

    stage.rescuing().land(renewed_parcel(stage, samples.answer(issued_at=stage.clock.now)))

    due_at = stage.grant().due_at
    assert due_at is not None
    assert due_at > stage.clock.now


def test_a_late_pair_never_replaces_a_newer_one(stage: Stage) -> None:
    stage.link()
    parcel = renewed_parcel(stage, samples.answer(issued_at=stage.clock.now))
    stage.clock.advance(hours=1)
    newer = samples.answer(issued_at=stage.clock.now)
    stage.authorise(newer)

    assert stage.rescuing().land(parcel) is Saved.NEWER
    assert stage.refresh_token() == token_of(newer)


def test_a_pair_of_an_ended_grant_is_dropped(stage: Stage) -> None:
    stage.link()
    parcel = renewed_parcel(stage, samples.answer(issued_at=stage.clock.now))
    grant = stage.grant()
    stage.accounts.mark_revoking(grant, now=stage.clock.now)
    stage.accounts.forget_tokens(grant, revocation="true", now=stage.clock.now)

    assert stage.rescuing().land(parcel) is Saved.ENDED
    assert stage.grant().pair is None


def test_a_link_lands_with_its_account_and_its_sessions_result(
    stage: Stage, session: LinkSession
) -> None:
    answer = samples.answer()

    saved = stage.rescuing().land(authorised_parcel(stage, answer, session))

    done = stage.sessions.session(session.id)
    assert saved is Saved.STORED
    assert stage.refresh_token() == token_of(answer)
    assert (done.status, done.account_id) == (SessionStatus.COMPLETED, samples.account().id)
    assert stage.accounts.account(samples.account().id).end_user_id == "u_42"


def test_a_rescued_link_never_revives_what_was_unlinked_since(
    stage: Stage, session: LinkSession
) -> None:
    """A delivery may be repeated after its account was unlinked."""
    parcel = authorised_parcel(stage, samples.answer(), session)
    stage.rescuing().land(parcel)
    account = stage.accounts.account(samples.account().id)
    stage.unlinking().unlink(account.id, caller=samples.BACKEND, revoke=False)

    stage.rescuing().land(parcel)

    assert stage.accounts.account(account.id).unlinked_at is not None
    assert stage.grant().status is Status.UNLINKED
    assert stage.grant().pair is None


def test_a_refused_link_lands_only_where_its_person_is_linked(stage: Stage) -> None:
    parcel = authorised_parcel(stage, samples.answer(), None)

    assert stage.rescuing().land(parcel) is Saved.ENDED
    assert len(stage.accounts) == 0

    stage.clock.advance(seconds=-60)
    stage.link()
    assert stage.rescuing().land(parcel) is Saved.STORED


def test_a_parcel_that_cannot_land_is_delivered_again(stage: Stage, session: LinkSession) -> None:
    parcel = authorised_parcel(stage, samples.answer(), session)
    stage.happenings.before("sessions.finish", StoreUnavailable("down"))
    with pytest.raises(StoreUnavailable):
        stage.rescuing().land(parcel)

    stage.rescuing().land(parcel)

    assert stage.sessions.session(session.id).status is SessionStatus.COMPLETED


def test_rescuing_opens_nothing_and_asks_tiktok_nothing(stage: Stage, session: LinkSession) -> None:
    parcel = authorised_parcel(stage, samples.answer(), session)
    stage.happenings.forget()

    stage.rescuing().land(parcel)

    assert not [c for c in stage.calls if c.startswith(("sealing.", "tiktok.", "credentials."))]


def test_an_older_link_does_not_replace_a_newer_one(stage: Stage, session: LinkSession) -> None:
    parcel = authorised_parcel(stage, samples.answer(), session)
    newer = samples.answer(issued_at=stage.clock.now + timedelta(minutes=1))
    stage.authorise(newer)

    assert stage.rescuing().land(parcel) is Saved.NEWER
    assert stage.refresh_token() == token_of(newer)
