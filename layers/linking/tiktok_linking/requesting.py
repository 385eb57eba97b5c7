"""Requesting: what a team may ask of a link session, held against what the stack allows."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tiktok_linking.accounts import Account, Reminder
from tiktok_linking.callers import Caller
from tiktok_linking.errors import InvalidRequest
from tiktok_linking.oauth import BASIC_SCOPE
from tiktok_linking.ports import Idempotency, Sessions
from tiktok_linking.return_urls import is_allowed
from tiktok_linking.sessions import (
    Completion,
    LinkSession,
    SessionRequest,
    SessionStatus,
    new_session_id,
)

logger = logging.getLogger("tiktok_linking.requesting")

READY_FOR = timedelta(days=7)
"""How long the link of a reminder works: until somebody has read their mail."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What this deployment allows. The first registration is the default one."""

    registrations: tuple[str, ...]
    scopes_required: tuple[str, ...]
    scopes_optional: tuple[str, ...]
    return_origins: tuple[str, ...]
    completion: Completion = Completion.BROWSER
    """``app`` is enforced for every session; ``browser`` is what a session may say no to."""


def new_session(
    wanted: SessionRequest, *, caller: Caller, stack: Stack, now: datetime
) -> LinkSession:
    """Make a session as asked, in the caller's tenant.

    Raises:
        InvalidRequest: an unknown registration, a scope, a return address or a way of completion
            that is not allowed.
    """
    registrations = caller.registrations_of(stack.registrations)
    registration = wanted.app_registration or registrations[0]
    if registration not in registrations:
        raise InvalidRequest("app_registration is not one of: " + ", ".join(registrations))
    if wanted.return_url is not None and not is_allowed(wanted.return_url, stack.return_origins):
        raise InvalidRequest("return_url is not on an allowed origin (parameter ReturnOrigins)")
    completion = wanted.completion or stack.completion
    if stack.completion is Completion.APP and completion is not Completion.APP:
        raise InvalidRequest("completion is app for every session (parameter Completion)")
    if completion is Completion.APP and wanted.return_url is None:
        raise InvalidRequest("completion app needs a return_url")
    required, optional = _scopes(wanted, stack)
    return LinkSession(
        id=new_session_id(),
        status=SessionStatus.PENDING,
        app_registration=registration,
        end_user_id=wanted.end_user_id,
        end_user_label=wanted.end_user_label,
        tenant_id=caller.tenant_of(wanted.tenant_id),
        scopes_required=required,
        scopes_optional=optional,
        return_url=wanted.return_url,
        completion=completion,
        created_at=now,
        expires_at=now + wanted.expires_in,
        page_nonce=secrets.token_urlsafe(16),
        locale=wanted.locale,
        metadata=wanted.metadata,
        switch_account=wanted.switch_account,
    )


def relink_session(
    wanted: SessionRequest, account: Account, *, caller: Caller, stack: Stack, now: datetime
) -> LinkSession:
    """Make a session that ends well only with the same TikTok account.

    Raises:
        InvalidRequest: as for a new session.
    """
    bound = replace(
        wanted,
        app_registration=account.registration,
        end_user_id=account.end_user_id,
        tenant_id=account.tenant_id,
        end_user_label=wanted.end_user_label or account.end_user_label,
        metadata=dict(account.metadata),
    )
    session = new_session(bound, caller=caller, stack=stack, now=now)
    return replace(session, relink_account_id=account.id)


@dataclass(frozen=True, slots=True)
class RelinkLinks:
    """Makes the links that reminders carry, where the stack is told to. Implements ReadyLinks.

    The session ends well only with the same TikTok account, for the same end user.
    """

    sessions: Sessions
    stack: Stack
    base_url: str
    now: Callable[[], datetime]

    def for_owner(self, account: Account, reminder: Reminder, *, named: str) -> str | None:
        """See ports.ReadyLinks."""
        now = self.now()
        wanted = SessionRequest(
            end_user_id=account.end_user_id,
            end_user_label=None,
            tenant_id=account.tenant_id,
            app_registration=account.registration,
            scopes_required=None,
            scopes_optional=None,
            return_url=None,
            completion=None,
            expires_in=min(READY_FOR, reminder.relink_by - now),
            locale=None,
            metadata={},
            switch_account=False,
        )
        if wanted.expires_in <= timedelta(0):
            return None  # told late, and the date has passed since
        try:
            session = relink_session(
                wanted, account, caller=Caller("publish"), stack=self.stack, now=now
            )
        except InvalidRequest as error:
            logger.warning("reminder without a link", extra={"why": str(error)})
            return None
        key = hashlib.sha256(f"reminder {named}".encode()).hexdigest()
        made = self.sessions.create(session, idempotency=Idempotency(key, key))
        return f"{self.base_url}/connect/{made.id}"


def _scopes(wanted: SessionRequest, stack: Stack) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What to ask TikTok for: the stack's scopes, or the session's own choice among them."""
    if wanted.scopes_required is None or wanted.scopes_optional is None:
        required, optional = stack.scopes_required, stack.scopes_optional
    else:
        required, optional = wanted.scopes_required, wanted.scopes_optional
        allowed = {*stack.scopes_required, *stack.scopes_optional, BASIC_SCOPE}
        beyond = [scope for scope in (*required, *optional) if scope not in allowed]
        if beyond:
            raise InvalidRequest(
                "not among this stack's scopes (ScopesRequired, ScopesOptional): "
                + ", ".join(beyond)
            )
    # TikTok grants the basic scope with every login and always shows it as required.
    required = tuple(dict.fromkeys((BASIC_SCOPE, *required)))
    return required, tuple(scope for scope in optional if scope not in required)
