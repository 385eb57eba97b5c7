"""The table of answers: every error has its class, and the classes differ where they must."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tiktok_linking.answer_classes import TREATMENTS, AnswerClass, class_of
from tiktok_linking.errors import (
    Misconfigured,
    NoAnswer,
    ProviderError,
    Refused,
    Unavailable,
)


def unavailable(word: str) -> Unavailable:
    return Unavailable(word, may_have_acted=False)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Refused("invalid_grant"), AnswerClass.PERMANENT),
        (Misconfigured("invalid_client"), AnswerClass.REGISTRATION_REFUSED),
        (Misconfigured("unauthorized_client"), AnswerClass.REGISTRATION_REFUSED),
        (Misconfigured("invalid_request"), AnswerClass.REQUEST_REFUSED),
        (Misconfigured("invalid_scope"), AnswerClass.REQUEST_REFUSED),
        (NoAnswer(), AnswerClass.NO_ANSWER),
        (unavailable("connect_failed"), AnswerClass.NOT_REACHED),
        (unavailable("too_many_requests"), AnswerClass.THROTTLED),
        (unavailable("rate_limit_exceeded"), AnswerClass.THROTTLED),
        (unavailable("temporarily_unavailable"), AnswerClass.THROTTLED),
        (unavailable("server_error"), AnswerClass.SERVER_ERROR),
        (unavailable("unreadable_answer"), AnswerClass.SERVER_ERROR),
        (unavailable("oversized_answer"), AnswerClass.SERVER_ERROR),
        (unavailable("unknown_error"), AnswerClass.UNKNOWN_ERROR),
        (unavailable("access_denied"), AnswerClass.UNKNOWN_ERROR),
    ],
)
def test_every_error_has_its_class(error: ProviderError, expected: AnswerClass) -> None:
    assert class_of(error) is expected


def test_every_class_has_a_treatment() -> None:
    assert set(TREATMENTS) == set(AnswerClass)


def test_only_a_definite_no_to_the_token_asks_for_the_owner() -> None:
    flagging = [kind for kind, treatment in TREATMENTS.items() if treatment.flags_account]

    assert flagging == [AnswerClass.PERMANENT]


def test_an_answer_that_may_hide_a_rotation_keeps_the_intent() -> None:
    keeping = {kind for kind, treatment in TREATMENTS.items() if treatment.may_have_rotated}

    assert keeping == {
        AnswerClass.SERVER_ERROR,
        AnswerClass.NO_ANSWER,
        AnswerClass.FOREIGN_ANSWER,
    }


def test_a_registrations_fault_changes_no_account() -> None:
    for kind in (AnswerClass.REGISTRATION_REFUSED, AnswerClass.REQUEST_REFUSED):
        assert TREATMENTS[kind].backoff is None
        assert not TREATMENTS[kind].flags_account


def test_only_silence_is_repeated_at_once() -> None:
    assert [k for k, t in TREATMENTS.items() if t.repeats] == [AnswerClass.NO_ANSWER]


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("failures", "ceiling"), [(0, 15), (1, 30), (4, 240), (5, 300), (99, 300)])
def test_backoff_is_a_random_part_of_a_doubling_ceiling(
    failures: int, ceiling: int, chance: float
) -> None:
    backoff = TREATMENTS[AnswerClass.THROTTLED].backoff
    assert backoff is not None

    wait = backoff.wait(failures, chance=chance, retry_after=None, at_least=timedelta(0))

    assert wait == timedelta(seconds=ceiling) * chance


def test_what_tiktok_asked_for_is_the_least() -> None:
    backoff = TREATMENTS[AnswerClass.THROTTLED].backoff
    assert backoff is not None

    wait = backoff.wait(0, chance=1.0, retry_after=900, at_least=timedelta(seconds=30))

    assert wait == timedelta(seconds=900)
