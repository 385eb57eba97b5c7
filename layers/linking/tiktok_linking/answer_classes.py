"""What each class of answer from TikTok means for a renewal: one table, no branches elsewhere.

The body decides before the HTTP status does (``oauth.read_token_answer``). docs/architecture.md
shows this table; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from tiktok_linking.errors import (
    Misconfigured,
    NoAnswer,
    ProviderError,
    Refused,
    Unavailable,
)


class AnswerClass(StrEnum):
    """How TikTok answered one refresh request that did not bring a pair."""

    PERMANENT = "permanent"
    REGISTRATION_REFUSED = "registration_refused"
    REQUEST_REFUSED = "request_refused"
    THROTTLED = "throttled"
    NOT_REACHED = "not_reached"
    SERVER_ERROR = "server_error"
    NO_ANSWER = "no_answer"
    UNKNOWN_ERROR = "unknown_error"
    FOREIGN_ANSWER = "foreign_answer"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: a random part of ``first`` doubled with each failure in a row up to ``cap``."""

    first: timedelta
    cap: timedelta

    def wait(
        self, failures: int, *, chance: float, retry_after: int | None, at_least: timedelta
    ) -> timedelta:
        """How long a grant rests; what TikTok asked for (capped in ``oauth``) is the least."""
        ceiling = min(self.cap, self.first * (1 << min(failures, 10)))
        return max(timedelta(seconds=retry_after or 0), at_least, ceiling * chance)


_USUAL = Backoff(first=timedelta(seconds=15), cap=timedelta(minutes=5))


@dataclass(frozen=True, slots=True)
class Treatment:
    """What a renewal does about one class.

    Attributes:
        flags_account: the owner must authorise again, if our token is still the stored one.
        may_have_rotated: the intent stays, since TikTok may have acted; recovery will find out.
        repeats: sent again at once, inside the lease, at most twice.
        backoff: how long this grant rests; None changes nothing on the account.
        opens_after: failures in a row, in one worker, that stop all renewals of the registration;
            None says nothing about the others.
        quarantines: out of the schedule until somebody asks for a token or a person looks.
    """

    flags_account: bool = False
    may_have_rotated: bool = False
    repeats: bool = False
    backoff: Backoff | None = None
    opens_after: int | None = None
    quarantines: bool = False


TREATMENTS: Mapping[AnswerClass, Treatment] = {
    AnswerClass.PERMANENT: Treatment(flags_account=True),
    AnswerClass.REGISTRATION_REFUSED: Treatment(opens_after=1),
    # One account's request can be at fault, so it takes two in a row to blame the registration.
    AnswerClass.REQUEST_REFUSED: Treatment(opens_after=2),
    AnswerClass.THROTTLED: Treatment(backoff=_USUAL, opens_after=5),
    AnswerClass.NOT_REACHED: Treatment(backoff=_USUAL, opens_after=5),
    AnswerClass.SERVER_ERROR: Treatment(backoff=_USUAL, opens_after=5, may_have_rotated=True),
    AnswerClass.NO_ANSWER: Treatment(
        backoff=_USUAL, opens_after=5, may_have_rotated=True, repeats=True
    ),
    AnswerClass.UNKNOWN_ERROR: Treatment(backoff=_USUAL),
    AnswerClass.FOREIGN_ANSWER: Treatment(
        backoff=_USUAL,
        may_have_rotated=True,
        quarantines=True,
    ),
}

_REGISTRATION_WORDS = ("invalid_client", "unauthorized_client")
_THROTTLE_WORDS = ("too_many_requests", "rate_limit_exceeded", "temporarily_unavailable")
_SERVER_WORDS = ("server_error", "unreadable_answer", "oversized_answer")


def class_of(error: ProviderError) -> AnswerClass:
    """Sort what a request for a token ended with."""
    match error:
        case Refused():
            return AnswerClass.PERMANENT
        case Misconfigured():
            is_registration = error.error in _REGISTRATION_WORDS
            return (
                AnswerClass.REGISTRATION_REFUSED if is_registration else AnswerClass.REQUEST_REFUSED
            )
        case NoAnswer():
            return AnswerClass.NO_ANSWER
        case Unavailable() if error.error == "connect_failed":
            return AnswerClass.NOT_REACHED
        case Unavailable() if error.error in _THROTTLE_WORDS:
            return AnswerClass.THROTTLED
        case Unavailable() if error.error in _SERVER_WORDS:
            return AnswerClass.SERVER_ERROR
    return AnswerClass.UNKNOWN_ERROR
