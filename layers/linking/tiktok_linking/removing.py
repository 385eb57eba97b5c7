"""Removing: TikTok says that somebody took the app away, and our side follows.

An event arrives at least once and up to three days late. So its own time is held against the date
of the authorisation that is stored: a removal from before it belongs to an earlier link. The two
times come from two clocks; where they lie too close to tell which came first, nothing is deleted,
and the grant is renewed at once instead, which asks TikTok.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tiktok_linking.accounts import grant_id
from tiktok_linking.ports import Credentials, Ended, Removals
from tiktok_linking.webhook import (
    AUTHORIZATION_REMOVED,
    RETRIED_FOR,
    TOLERANCE,
    Event,
    Removal,
    Signature,
    read_event,
    read_removal,
    read_signature,
)

logger = logging.getLogger("tiktok_linking.removing")

TOO_CLOSE = timedelta(minutes=10)
"""Within this of the authorisation's date a removal may be from before or after it."""


class Refusal(StrEnum):
    """Why a request is not taken for TikTok's. The sender is not told."""

    SIGNATURE_UNREADABLE = "signature_unreadable"
    SIGNATURE_BAD = "signature_bad"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    CLIENT_KEY_MISMATCH = "client_key_mismatch"


class NotFromTikTok(Exception):
    """The request is not shown to come from TikTok, or not at this time."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Removing:
    """The webhook's use case with its ports."""

    removals: Removals
    credentials: Credentials
    client_keys: Mapping[str, str]
    now: Callable[[], datetime]

    def receive(self, header: str, body: bytes) -> None:
        """Take one event: verify it, then act on it or leave it. Returning means: acknowledge.

        Nothing is read or written for a request that is not TikTok's, and no secret is fetched
        for one that cannot be.

        Raises:
            NotFromTikTok: a wrong signature, or one from another time.
            StoreUnavailable: TikTok shall try again.
        """
        signature = read_signature(header)
        if signature is None:
            raise NotFromTikTok(Refusal.SIGNATURE_UNREADABLE)
        now = self.now()
        if not signature.is_within(RETRIED_FOR, now):
            raise NotFromTikTok(Refusal.TIMESTAMP_OUT_OF_RANGE)
        signers = self._signers(signature, body)
        if not signers:
            raise NotFromTikTok(Refusal.SIGNATURE_BAD)
        event = read_event(body)
        if event is None:
            _ignore("unreadable")
            return
        registrations = [name for name in signers if self.client_keys[name] == event.client_key]
        if not registrations:
            raise NotFromTikTok(Refusal.CLIENT_KEY_MISMATCH)
        if not signature.is_within(TOLERANCE, now):
            if event.name != AUTHORIZATION_REMOVED:
                raise NotFromTikTok(Refusal.TIMESTAMP_OUT_OF_RANGE)
            logger.warning(
                "webhook signed at another time", extra={"signed_at": signature.timestamp}
            )
        self._act(event, registrations)

    def _signers(self, signature: Signature, body: bytes) -> list[str]:
        """The registrations of which any secret signed this body: usually one, often none.

        TikTok signs by the new secret from the moment of a rotation on, and what is under way
        was signed by the old one.
        """
        found = []
        is_filled = False
        for name in self.client_keys:
            candidates = self.credentials.candidates(name)
            is_filled = is_filled or bool(candidates)
            if any(signature.is_by(client.client_secret, body) for client in candidates):
                found.append(name)
        if not is_filled:
            logger.error("webhook without a client secret")
        return found

    def _act(self, event: Event, registrations: Sequence[str]) -> None:
        if event.name != AUTHORIZATION_REMOVED:
            _ignore("unknown_event", told=event.name)
            return
        removal = read_removal(event)
        if removal is None:
            _ignore("unreadable", told=event.name)
            return
        for registration in registrations:
            self._end(grant_id(registration, removal.open_id), removal)

    def _end(self, grant: str, removal: Removal) -> None:
        """One conditional write ends a grant, or says why not; a repeat finds it ended."""
        ended = self.removals.mark_revoked(
            grant,
            removal.reason,
            authorised_before=removal.removed_at - TOO_CLOSE,
            now=self.now(),
        )
        if ended is Ended.NOW:
            logger.info("grant revoked", extra={"grant": grant, "reason": removal.reason.value})
        elif ended is not Ended.NOT_BEFORE:
            _ignore(ended.value, grant=grant)
        elif self.removals.ask_at_once(
            grant,
            authorised_by=removal.removed_at + TOO_CLOSE,
            renewed_by=removal.removed_at + TOO_CLOSE,
            now=self.now(),
        ):
            logger.info("removal to be checked", extra={"grant": grant})
        else:
            _ignore("linked_since", grant=grant)


def _ignore(why: str, **facts: str) -> None:
    logger.info("webhook ignored", extra={"why": why, **facts})
