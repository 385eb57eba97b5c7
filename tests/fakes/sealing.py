"""Sealing without cryptography: a blob says what it is bound to, and opens nowhere else."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from datetime import datetime

from tests.fakes.happenings import Happenings
from tiktok_linking.accounts import SealedPair, Secret, token_fingerprint
from tiktok_linking.errors import SealBroken
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.sessions import State


@dataclass(frozen=True, slots=True)
class TransparentEnvelope:
    """Implements the port Envelope."""

    happenings: Happenings
    registration: str
    open_id: str
    pair_id: bytes

    def seal(self, answer: TokenAnswer) -> SealedPair:
        """See ports.Envelope."""
        with self.happenings.call("sealing.seal_pair"):
            if answer.refresh_token is None:
                raise ValueError("a pair needs its refresh token")
            bound = (self.registration, self.open_id, self.pair_id)
            return SealedPair(
                pair_id=self.pair_id,
                access=_blob("access", answer.access_token, *bound),
                refresh=_blob("refresh", answer.refresh_token, *bound),
                fingerprint=token_fingerprint(answer.refresh_token, self.pair_id),
                scopes=answer.scopes or (),
                issued_at=answer.issued_at,
                expires_at=answer.expires_at,
                relink_by=answer.relink_by,
            )


class TransparentSealing:
    """Implements the port Sealing for tests; the blobs are readable on purpose."""

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self._numbers = itertools.count(1)

    def prepare(self, *purposes: str, now: datetime) -> None:
        """See ports.Sealing."""
        with self._happenings.call("sealing.prepare"):
            return

    def envelope(self, *, registration: str, open_id: str, now: datetime) -> TransparentEnvelope:
        """See ports.Sealing."""
        with self._happenings.call("sealing.envelope"):
            pair_id = next(self._numbers).to_bytes(16, "big")
            return TransparentEnvelope(self._happenings, registration, open_id, pair_id)

    def seal_pair(self, answer: TokenAnswer, *, registration: str, now: datetime) -> SealedPair:
        """See ports.Sealing."""
        pair_id = next(self._numbers).to_bytes(16, "big")
        envelope = TransparentEnvelope(self._happenings, registration, answer.open_id, pair_id)
        return envelope.seal(answer)

    def seal_code(self, code: Secret, state: State, *, now: datetime) -> bytes:
        """See ports.Sealing."""
        with self._happenings.call("sealing.seal_code"):
            return _blob("parked_code", code, state.session_key, state.attempt_key, b"")

    def open_code(self, sealed: bytes, *, session_key: str, attempt_key: str) -> Secret:
        """See ports.Sealing."""
        with self._happenings.call("sealing.open_code"):
            return _open("parked_code", sealed, session_key, attempt_key, b"")

    def open_access(self, pair: SealedPair, *, registration: str, open_id: str) -> Secret:
        """See ports.Sealing."""
        with self._happenings.call("sealing.open_access"):
            return _open("access", pair.access, registration, open_id, pair.pair_id)

    def open_refresh(self, pair: SealedPair, *, registration: str, open_id: str) -> Secret:
        """See ports.Sealing."""
        with self._happenings.call("sealing.open_refresh"):
            return _open("refresh", pair.refresh, registration, open_id, pair.pair_id)


def _blob(field: str, token: Secret, registration: str, open_id: str, pair_id: bytes) -> bytes:
    bound = [field, registration, open_id, pair_id.hex()]
    return json.dumps({"bound": bound, "token": token.reveal()}).encode()


def _open(field: str, blob: bytes, registration: str, open_id: str, pair_id: bytes) -> Secret:
    try:
        content = json.loads(blob)
    except ValueError:
        raise SealBroken("not a sealed token") from None
    if content["bound"] != [field, registration, open_id, pair_id.hex()]:
        raise SealBroken("the sealed token does not belong here")
    return Secret(content["token"])
