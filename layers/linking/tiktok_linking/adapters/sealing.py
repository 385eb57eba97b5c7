"""Sealing: AES-256-GCM under keys derived from cached data keys that KMS wraps.

One data key per purpose and epoch, so that IAM grants ``access`` without ``refresh``. The wrapped
keys lie in the accounts table, made by the first function that needs one. KMS is asked once per
process, purpose and hour, never per account. docs/decisions has the price of the alternatives.

A blob is ``version (1) | epoch (2) | nonce (12) | ciphertext + tag``. Each record has a key of its
own, HMAC-SHA256(data key, field | pair_id); its additional data is (registration, open_id, field,
pair_id), so a blob that was moved to another row, field or pair does not open.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tiktok_linking.accounts import SealedPair, Secret, token_fingerprint
from tiktok_linking.adapters.asking import ask
from tiktok_linking.adapters.dynamodb import ConditionFailed, Table
from tiktok_linking.errors import SealBroken
from tiktok_linking.oauth import TokenAnswer
from tiktok_linking.sessions import State

SERVICE = "tiktok-link"
PARKED_CODE = "parked_code"
PURPOSES = ("access", "refresh", PARKED_CODE)
KEY_PARTITION = "key#"
WRAPPED_BY = "k"
"""The attribute of a wrapped data key that names the KMS key. IAM says which keys may be named."""
_VERSION = b"\x01"
_KEPT_FOR = timedelta(hours=1)
_EPOCH_START = datetime(2026, 1, 1, tzinfo=UTC)


def encryption_context(purpose: str, epoch: int) -> dict[str, str]:
    """What a wrapped data key is bound to at KMS, and what IAM conditions match."""
    return {"service": SERVICE, "purpose": purpose, "epoch": str(epoch)}


@dataclass(frozen=True, slots=True)
class _DataKey:
    """Kept as an HMAC under it, copied for each record: keying one anew costs twice the copy."""

    mac: hmac.HMAC = field(repr=False)
    loaded_at: datetime


class DataKeys:
    """The data keys in memory; one older than an hour is unwrapped by KMS anew when asked for."""

    def __init__(
        self, kms: Any, table: Table, *, key_arn: str, now: Callable[[], datetime]
    ) -> None:
        self._kms = kms
        self._table = table
        self._key_arn = key_arn
        self._now = now
        self._keys: dict[tuple[str, int], _DataKey] = {}
        self._lock = threading.Lock()

    def held(self, purpose: str, epoch: int) -> hmac.HMAC | None:
        """The key if it is in memory, however old: sealing must not fail for its age."""
        key = self._keys.get((purpose, epoch))
        return None if key is None else key.mac

    def load(self, purpose: str, epoch: int, *, create: bool) -> hmac.HMAC:
        """The key, from memory or unwrapped by KMS; made if it is missing and ``create``."""
        with self._lock:
            now = self._now()
            key = self._keys.get((purpose, epoch))
            if key is None or not now - _KEPT_FOR < key.loaded_at <= now:
                plain = self._fetch(purpose, epoch, create=create)
                key = _DataKey(hmac.new(plain, digestmod=hashlib.sha256), now)
                self._keys[purpose, epoch] = key
            return key.mac

    def _fetch(self, purpose: str, epoch: int, *, create: bool) -> bytes:
        place = {"pk": KEY_PARTITION + purpose, "sk": f"{epoch:05d}"}
        context = encryption_context(purpose, epoch)
        item = self._table.get(place)
        if item is None:
            if not create:
                raise SealBroken(f"no data key for {purpose}, epoch {epoch}")
            made = ask(
                "kms",
                self._kms.generate_data_key,
                KeyId=self._key_arn,
                KeySpec="AES_256",
                EncryptionContext=context,
            )
            try:
                self._table.put_new(
                    place | {"w": made["CiphertextBlob"], WRAPPED_BY: self._key_arn}
                )
            except ConditionFailed as failed:
                item = failed.old  # another function was first, or this was our own write
            else:
                return bytes(made["Plaintext"])
        # The row names its KMS key: while one takes another's place, rows of both serve.
        opened = ask(
            "kms",
            self._kms.decrypt,
            KeyId=item.get(WRAPPED_BY, self._key_arn),
            CiphertextBlob=item["w"],
            EncryptionContext=context,
        )
        return bytes(opened["Plaintext"])


# Not frozen, these two: made for each token, and a frozen one takes twice as long.
@dataclass(slots=True)
class _Sealer:
    """One field's cipher, good for one token: its nonce is drawn."""

    cipher: AESGCM = field(repr=False)
    nonce: bytes
    bound_to: bytes
    head: bytes

    def seal(self, token: Secret) -> bytes:
        return self.head + self.cipher.encrypt(self.nonce, token.reveal().encode(), self.bound_to)


@dataclass(slots=True)
class Envelope:
    """Implements the port Envelope: for one pair, since each of its nonces serves once."""

    pair_id: bytes
    access: _Sealer
    refresh: _Sealer

    def seal(self, answer: TokenAnswer) -> SealedPair:
        """See ports.Envelope."""
        if answer.refresh_token is None:
            raise ValueError("a pair needs its refresh token")
        return SealedPair(
            pair_id=self.pair_id,
            access=self.access.seal(answer.access_token),
            refresh=self.refresh.seal(answer.refresh_token),
            fingerprint=token_fingerprint(answer.refresh_token, self.pair_id),
            scopes=answer.scopes or (),
            issued_at=answer.issued_at,
            expires_at=answer.expires_at,
            relink_by=answer.relink_by,
        )


class TokenSealing:
    """Implements the port Sealing."""

    def __init__(self, keys: DataKeys, *, epoch_days: int) -> None:
        self._keys = keys
        self._epoch_days = epoch_days

    def prepare(self, *purposes: str, now: datetime) -> None:
        """See ports.Sealing."""
        for purpose in purposes:
            self._keys.load(purpose, self._epoch(now), create=True)

    def envelope(self, *, registration: str, open_id: str, now: datetime) -> Envelope:
        """See ports.Sealing."""
        epoch = self._epoch(now)
        drawn = secrets.token_bytes(16 + 12 + 12)  # at once: each draw is a call of the kernel
        pair_id, place = drawn[:16], _place(registration, open_id)
        return Envelope(
            pair_id,
            self._sealer("access", epoch, place, pair_id, drawn[16:28]),
            self._sealer("refresh", epoch, place, pair_id, drawn[28:]),
        )

    def seal_pair(self, answer: TokenAnswer, *, registration: str, now: datetime) -> SealedPair:
        """See ports.Sealing."""
        envelope = self.envelope(registration=registration, open_id=answer.open_id, now=now)
        return envelope.seal(answer)

    def open_access(self, pair: SealedPair, *, registration: str, open_id: str) -> Secret:
        """See ports.Sealing."""
        return self._open("access", pair.access, _place(registration, open_id), pair.pair_id)

    def open_refresh(self, pair: SealedPair, *, registration: str, open_id: str) -> Secret:
        """See ports.Sealing."""
        return self._open("refresh", pair.refresh, _place(registration, open_id), pair.pair_id)

    def seal_code(self, code: Secret, state: State, *, now: datetime) -> bytes:
        """See ports.Sealing."""
        place = _place(state.session_key, state.attempt_key)
        name, nonce = _code_id(state.attempt_key), secrets.token_bytes(12)
        return self._sealer(PARKED_CODE, self._epoch(now), place, name, nonce).seal(code)

    def open_code(self, sealed: bytes, *, session_key: str, attempt_key: str) -> Secret:
        """See ports.Sealing."""
        place = _place(session_key, attempt_key)
        return self._open(PARKED_CODE, sealed, place, _code_id(attempt_key))

    def _epoch(self, now: datetime) -> int:
        return max(0, (now - _EPOCH_START).days // self._epoch_days)

    def _sealer(self, name: str, epoch: int, place: bytes, pair_id: bytes, nonce: bytes) -> _Sealer:
        # After ``prepare`` its epoch serves, should a boundary lie between the two calls.
        key = self._keys.held(name, epoch)
        if key is None:
            epoch -= 1
            key = self._keys.held(name, epoch) or self._keys.load(name, epoch, create=True)
        return _Sealer(
            cipher=AESGCM(_record_key(key, name, pair_id)),
            nonce=nonce,
            bound_to=_additional_data(place, name, pair_id),
            head=_VERSION + epoch.to_bytes(2, "big") + nonce,
        )

    def _open(self, field: str, blob: bytes, place: bytes, pair_id: bytes) -> Secret:
        if len(blob) < 15 + 16 or blob[:1] != _VERSION:
            raise SealBroken("not a sealed token")
        key = self._keys.load(field, int.from_bytes(blob[1:3], "big"), create=False)
        try:
            plain = AESGCM(_record_key(key, field, pair_id)).decrypt(
                blob[3:15], blob[15:], _additional_data(place, field, pair_id)
            )
        except InvalidTag:
            raise SealBroken("the sealed token does not belong here") from None
        return Secret(plain.decode())


def _code_id(attempt_key: str) -> bytes:
    """An attempt parks one code, so its random key stands where a pair has its id."""
    return hashlib.sha256(attempt_key.encode()).digest()[:16]


def _record_key(data_key: hmac.HMAC, field: str, pair_id: bytes) -> bytes:
    mac = data_key.copy()
    mac.update(_PREFIXES[field] + pair_id)
    return mac.digest()


def _place(*parts: str) -> bytes:
    """(registration, open_id) of a token, (session, attempt) of a parked code."""
    return b"".join([_counted(part.encode()) for part in parts])


def _additional_data(place: bytes, field: str, pair_id: bytes) -> bytes:
    return place + _NAMES[field] + _counted(pair_id)


def _counted(part: bytes) -> bytes:
    """With its length in front, so that no two lists of parts are the same bytes."""
    return len(part).to_bytes(2, "big") + part


# Made once: they are the same for each token.
_PREFIXES = {field: field.encode() + b"|" for field in PURPOSES}
_NAMES = {field: _counted(field.encode()) for field in PURPOSES}
