"""The sessions table: link sessions and idempotency records.

Each arrow of a session's state machine is one conditional write.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tiktok_linking.adapters.dynamodb import (
    ConditionFailed,
    Item,
    Table,
    Update,
    at_ms,
    from_ms,
    to_ttl,
)
from tiktok_linking.adapters.records import mark
from tiktok_linking.errors import (
    IdempotencyConflict,
    LinkSessionCancelled,
    LinkSessionExpired,
    LinkSessionUsed,
    NotFound,
    RateLimited,
    StateMismatch,
)
from tiktok_linking.events import EventType
from tiktok_linking.sessions import (
    MOST_ATTEMPTS,
    Attempt,
    AttemptNotUsable,
    Completion,
    LinkSession,
    NotClaimable,
    ParkedCode,
    SessionReason,
    SessionStatus,
    State,
    session_key,
)

if TYPE_CHECKING:
    from tiktok_linking.callers import Caller
    from tiktok_linking.ports import Idempotency

FINISHING_TAKES = timedelta(seconds=30)
"""For so long one attempt at a time finishes: two would make two accounts of one session."""
IDEMPOTENCY_KEPT_FOR = timedelta(hours=24)

_NOT_OVER = "st <> :completed AND (attribute_not_exists(rs) OR rs <> :by_team)"
_NOT_BUSY = "(attribute_not_exists(bu) OR bu <= :now)"
_OVER: Item = {
    ":completed": SessionStatus.COMPLETED.value,
    ":by_team": SessionReason.CANCELLED_BY_TEAM.value,
}


# What is parked: the sealed code, its completion's hash, the attempt, until when, who took it.
_PARKED = ("pc", "ph", "pa", "pe", "pw")


class SessionTable:
    """Implements the port Sessions."""

    def __init__(
        self,
        table: Table,
        urgent: Table | None = None,
        *,
        kept_for: timedelta = timedelta(days=7),
    ) -> None:
        """``urgent`` is the same table for results, whose writes are given up quickly.

        ``kept_for``: how long a new session can be asked about after it expires; then the table's
        TTL removes it.
        """
        self._table = table
        self._urgent = urgent or table
        self._kept_for = kept_for

    def create(self, session: LinkSession, *, idempotency: Idempotency | None) -> LinkSession:
        """See ports.Sessions. The key's record comes first, so that a repeat finds the same id."""
        if idempotency is not None:
            try:
                self._table.put_new(
                    {
                        "pk": f"i#{idempotency.key}",
                        "id": session.id,
                        "bh": idempotency.body_hash,
                        "ttl": to_ttl(session.created_at + IDEMPOTENCY_KEPT_FOR),
                    }
                )
            except ConditionFailed as failed:
                if not hmac.compare_digest(failed.old.get("bh", ""), idempotency.body_hash):
                    raise IdempotencyConflict from None
                before = self.read(failed.old["id"])
                if before is not None:
                    return before
                # The first call died between its two writes: finish it under its own id.
                session = replace(session, id=failed.old["id"])
        try:
            self._table.put_new(_item(session, self._kept_for))
        except ConditionFailed as failed:
            return read_session(failed.old)  # our own write, repeated by the SDK
        return session

    def read(self, session_id: str) -> LinkSession | None:
        """See ports.Sessions."""
        item = self._table.get(_key(session_key(session_id)))
        return None if item is None else read_session(item)

    def start(
        self, session_id: str, nonce: str, attempt_key: str, attempt: Attempt, *, now: datetime
    ) -> LinkSession:
        """See ports.Sessions."""
        try:
            item = self._table.update(
                _key(session_key(session_id)),
                Update(
                    sets={"att.#k": _attempt_item(attempt), "st": SessionStatus.STARTED.value},
                    removes=("rs", "gr", "ms", "dn", "ev", *_PARKED),
                ),
                condition=f"ex > :now AND pn = :nonce AND size(att) < :most AND {_NOT_OVER}",
                values={":now": now, ":nonce": nonce, ":most": MOST_ATTEMPTS} | _OVER,
                names={"#k": attempt_key},
                returns_new=True,
            )
        except ConditionFailed as failed:
            if attempt_key in failed.old.get("att", {}):
                return read_session(failed.old)  # our own write, repeated by the SDK
            raise _why_not_started(failed.old, nonce, now) from None
        return read_session(item)

    def consume(
        self, state: State, cookie_hash: str | None, *, now: datetime
    ) -> tuple[LinkSession, Attempt]:
        """See ports.Sessions. One write decides who uses the attempt."""
        key = state.attempt_key
        use = secrets.token_bytes(8)
        try:
            item = self._table.update(
                _key(state.session_key),
                Update(
                    sets={"att.#k.u": now, "att.#k.w": use, "bu": now + FINISHING_TAKES},
                    removes=("ev",),
                ),
                condition="att.#k.e > :now AND att.#k.c = :cookie"
                f" AND attribute_not_exists(att.#k.u) AND {_NOT_OVER} AND {_NOT_BUSY}",
                values={":now": now, ":cookie": cookie_hash or "-"} | _OVER,
                names={"#k": key},
                returns_new=True,
            )
        except ConditionFailed as failed:
            session = read_session(failed.old) if failed.old else None
            attempt = session.attempts.get(key) if session else None
            if session is None or attempt is None:
                raise StateMismatch from None
            if failed.old["att"][key].get("w") == use:
                return session, attempt  # our own write, repeated by the SDK
            raise AttemptNotUsable(
                session,
                was_used=attempt.used_at is not None or session.status is SessionStatus.COMPLETED,
                expired=attempt.expires_at <= now,
                same_browser=cookie_hash is not None
                and hmac.compare_digest(attempt.cookie_hash, cookie_hash),
            ) from None
        session = read_session(item)
        return session, session.attempts[key]

    def remember_browser(self, state: State, cookie_hash: str, *, now: datetime) -> None:
        """See ports.Sessions. Also uses the attempt up: its code was seen by another browser."""
        try:
            self._table.update(
                _key(state.session_key),
                Update(
                    sets={
                        "att.#k.m": cookie_hash,
                        "att.#k.u": now,
                        "st": SessionStatus.FAILED.value,
                        "rs": SessionReason.BROWSER_MISMATCH.value,
                        "ev": mark(EventType.SESSION_FAILED, now),
                    }
                ),
                condition="attribute_exists(att.#k) AND attribute_not_exists(att.#k.u)"
                f" AND {_NOT_OVER}",
                values=_OVER,
                names={"#k": state.attempt_key},
            )
        except ConditionFailed:
            return

    def park(
        self, state: State, parked: ParkedCode, *, cookie_hash: str | None, now: datetime
    ) -> bool:
        """See ports.Sessions. One write uses up the attempt and keeps its code."""
        sets: Item = {
            "st": SessionStatus.AWAITING_COMPLETION.value,
            "pc": parked.sealed,
            "ph": parked.completion_hash,
            "pa": parked.attempt_key,
            "pe": parked.until,
        }
        condition = f"attribute_exists(att.#k) AND {_NOT_OVER}"
        values = dict(_OVER)
        if cookie_hash is not None:
            sets |= {"att.#k.m": cookie_hash, "att.#k.u": now}
            condition += f" AND attribute_not_exists(att.#k.u) AND att.#k.e > :now AND {_NOT_BUSY}"
            values[":now"] = now
        try:
            self._urgent.update(
                _key(state.session_key),
                Update(sets=sets, removes=("rs", "gr", "ms", "dn", "bu", "pw", "ev")),
                condition=condition,
                values=values,
                names={"#k": state.attempt_key},
            )
        except ConditionFailed as failed:
            # Our own, repeated?
            return hmac.compare_digest(failed.old.get("ph", ""), parked.completion_hash)
        return True

    def claim(
        self, session_id: str, completion_hash: str, *, caller: Caller, now: datetime
    ) -> tuple[LinkSession, Attempt, ParkedCode]:
        """See ports.Sessions. One write decides who completes."""
        taker = secrets.token_bytes(8)
        own, held_to = _own(caller)
        try:
            item = self._table.update(
                _key(session_key(session_id)),
                Update(sets={"pw": taker, "bu": now + FINISHING_TAKES}, removes=("ev",)),
                condition="st = :awaiting AND ph = :hash AND pe > :now AND attribute_exists(pc)"
                f" AND attribute_not_exists(pw) AND {_NOT_BUSY}{own}",
                values=held_to
                | {
                    ":awaiting": SessionStatus.AWAITING_COMPLETION.value,
                    ":hash": completion_hash,
                    ":now": now,
                },
                returns_new=True,
            )
        except ConditionFailed as failed:
            if not failed.old:
                raise NotFound from None
            caller.must_reach(failed.old.get("tn"), failed.old["rg"])
            if failed.old.get("pw") != taker:
                raise NotClaimable(
                    read_session(failed.old),
                    is_its_code=hmac.compare_digest(failed.old.get("ph", ""), completion_hash),
                ) from None
            item = failed.old  # our own write, repeated by the SDK
        session = read_session(item)
        if session.parked is None:
            raise NotClaimable(session, is_its_code=True)
        return session, session.attempts[session.parked.attempt_key], session.parked

    def finish(
        self,
        session_key: str,
        status: SessionStatus,
        *,
        now: datetime,
        reason: SessionReason | None = None,
        account_id: str | None = None,
        granted: tuple[str, ...] = (),
        missing: tuple[str, ...] = (),
        display_name: str | None = None,
        answer: str | None = None,
        switch_account: bool = False,
    ) -> None:
        """See ports.Sessions. The completion's hash stays, for a repeat of it."""
        # Only a real link overrules the team's cancel.
        completes = status is SessionStatus.COMPLETED
        condition = "st <> :completed" if completes else _NOT_OVER
        values = {":completed": SessionStatus.COMPLETED.value} if completes else _OVER
        try:
            self._urgent.update(
                _key(session_key),
                Update(
                    sets={
                        "st": status.value,
                        "rs": reason.value if reason else None,
                        "ac": account_id,
                        "gr": ",".join(granted),
                        "ms": ",".join(missing),
                        "dn": display_name,
                        "an": answer,
                        "ev": mark(f"link_session.{status.value}", now),
                    }
                    | ({"sw": True} if switch_account else {}),
                    removes=("bu", "pc"),
                ),
                condition=f"attribute_exists(pk) AND {condition}",
                values=values,
            )
        except ConditionFailed:
            return

    def cancel(self, session_id: str, *, caller: Caller, now: datetime) -> LinkSession:
        """See ports.Sessions."""
        own, held_to = _own(caller)
        try:
            item = self._table.update(
                _key(session_key(session_id)),
                Update(
                    sets={
                        "st": SessionStatus.CANCELLED.value,
                        "rs": SessionReason.CANCELLED_BY_TEAM.value,
                        "ev": mark(EventType.SESSION_CANCELLED, now),
                    },
                    removes=("pc",),
                ),
                condition=f"attribute_exists(pk) AND st <> :completed AND {_NOT_BUSY}{own}",
                values=held_to | {":completed": SessionStatus.COMPLETED.value, ":now": now},
                returns_new=True,
            )
        except ConditionFailed as failed:
            if not failed.old:
                raise NotFound from None
            caller.must_reach(failed.old.get("tn"), failed.old["rg"])
            busy = failed.old["st"] != SessionStatus.COMPLETED.value
            wait = int(FINISHING_TAKES.total_seconds()) if busy else None
            raise LinkSessionUsed(retry_after=wait) from None
        return read_session(item)


def _own(caller: Caller) -> tuple[str, Item]:
    """The part of a condition that holds a caller to its tenant, in the write itself."""
    if caller.tenant is None:
        return "", {}
    values: Item = {":tenant": caller.tenant.id}
    names = {f":rg{number}": name for number, name in enumerate(caller.tenant.registrations)}
    within = f" AND rg IN ({', '.join(names)})" if names else ""
    return " AND tn = :tenant" + within, values | names


def _why_not_started(old: Item, nonce: str, now: datetime) -> Exception:
    if not old:
        return NotFound()
    if not hmac.compare_digest(old["pn"].encode(), nonce.encode("utf-8", "surrogatepass")):
        return StateMismatch()
    session = read_session(old)
    if session.status is SessionStatus.COMPLETED:
        return LinkSessionUsed()
    if session.reason is SessionReason.CANCELLED_BY_TEAM:
        return LinkSessionCancelled()
    if session.expires_at <= now:
        return LinkSessionExpired()
    return RateLimited(retry_after=60)


def _key(session_key: str) -> dict[str, str]:
    return {"pk": f"s#{session_key}"}


def _item(session: LinkSession, kept_for: timedelta) -> Item:
    return {
        "pk": f"s#{session_key(session.id)}",
        "id": session.id,
        "st": session.status.value,
        "rg": session.app_registration,
        "eu": session.end_user_id,
        "lb": session.end_user_label,
        "tn": session.tenant_id,
        "sr": ",".join(session.scopes_required),
        "so": ",".join(session.scopes_optional),
        "ex": session.expires_at,
        "cr": session.created_at,
        "pn": session.page_nonce,
        "ru": session.return_url,
        "cm": session.completion.value,
        "lc": session.locale,
        "mt": dict(session.metadata),
        "sw": session.switch_account,
        "ra": session.relink_account_id,
        "att": {},
        "ttl": to_ttl(session.expires_at + kept_for),
    }


def _attempt_item(attempt: Attempt) -> Item:
    return {
        "c": attempt.cookie_hash,
        "r": attempt.redirect_uri,
        "e": attempt.expires_at,
        "p": attempt.code_verifier,
    }


def read_session(item: Item) -> LinkSession:
    """Read a session."""
    return LinkSession(
        id=item["id"],
        status=SessionStatus(item["st"]),
        app_registration=item["rg"],
        end_user_id=item["eu"],
        end_user_label=item.get("lb"),
        tenant_id=item.get("tn"),
        scopes_required=_list(item.get("sr")),
        scopes_optional=_list(item.get("so")),
        expires_at=at_ms(item["ex"]),
        created_at=at_ms(item["cr"]),
        page_nonce=item["pn"],
        return_url=item.get("ru"),
        completion=Completion(item["cm"]),
        locale=item.get("lc"),
        metadata=item.get("mt", {}),
        switch_account=item.get("sw", False),
        relink_account_id=item.get("ra"),
        reason=SessionReason(item["rs"]) if "rs" in item else None,
        account_id=item.get("ac"),
        granted_scopes=_list(item.get("gr")),
        missing_scopes=_list(item.get("ms")),
        display_name=item.get("dn"),
        attempts={key: _attempt(value) for key, value in item.get("att", {}).items()},
        parked=_parked(item),
        answer=item.get("an"),
    )


def _parked(item: Item) -> ParkedCode | None:
    if "pc" not in item:
        return None
    return ParkedCode(item["pc"], item["ph"], item["pa"], at_ms(item["pe"]))


def _attempt(item: dict[str, Any]) -> Attempt:
    return Attempt(
        cookie_hash=item["c"],
        redirect_uri=item["r"],
        expires_at=at_ms(item["e"]),
        code_verifier=item.get("p"),
        used_at=from_ms(item.get("u")),
        result_cookie_hash=item.get("m"),
    )


def _list(value: str | None) -> tuple[str, ...]:
    return tuple(part for part in (value or "").split(",") if part)
