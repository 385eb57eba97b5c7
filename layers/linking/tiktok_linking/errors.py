"""What can go wrong, in two families.

``LinkingError`` is what callers of this product see: a stable ``code``, who must act, and whether
waiting helps::

    LinkingError
    ├── InvalidRequest, NotFound, IdempotencyConflict, RateLimited        the caller's request
    ├── RelinkRequired, AccountRevoked, AccountUnlinked, ScopeNotGranted  the link cannot serve
    ├── ProviderUnavailable, RefreshOutcomeUnknown,
    │   RefreshInProgress, RefreshBackoff                                 wait, then ask again
    ├── ClientCredentialsInvalid, ScopeNotApproved                        the app registration
    └── LinkSessionExpired, LinkSessionUsed, LinkSessionCancelled,
        StateMismatch, BrowserMismatch, UserMismatch, AccountMismatch     an attempt to link

``ProviderError`` is what TikTok did to one request of ours. Use cases turn it into a state or a
``LinkingError``; it never reaches a caller::

    ProviderError
    ├── Refused          a definite no: this token or code is dead
    ├── Misconfigured    our registration is wrong; no account may suffer for it
    ├── Unavailable      a later try may work; ``may_have_acted`` says whether TikTok rotated
    └── NoAnswer         the request left and no answer came

``StoreUnavailable`` says that a write or read of ours did not go through, ``SealBroken`` that a
stored ciphertext does not open, ``RecordBroken`` that a stored record cannot be read.
"""

from __future__ import annotations

from enum import StrEnum


class ActionBy(StrEnum):
    """Who has to do something so that the situation ends."""

    END_USER = "end_user"
    DEVELOPER = "developer"
    OPERATOR = "operator"
    NOBODY = "nobody"


class LinkingError(Exception):
    """Base of every error a caller can see.

    Attributes:
        code: stable, public, part of the HTTP contract.
        action_by: who must act.
        retry_after: seconds after which the same request may succeed, else None.
        facts: machine-readable details that are safe to show, such as missing scopes.
    """

    code = "internal"
    action_by = ActionBy.OPERATOR
    title = "Something went wrong"

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: int | None = None,
        action_by: ActionBy | None = None,
        **facts: object,
    ) -> None:
        super().__init__(detail or self.title)
        if action_by is not None:
            self.action_by = action_by
        self.detail = detail
        self.retry_after = retry_after
        self.facts = facts


class InvalidRequest(LinkingError):
    """The request breaks the contract; sending it again unchanged cannot help."""

    code = "invalid_request"
    action_by = ActionBy.DEVELOPER
    title = "The request is not valid"


class NotFound(LinkingError):
    """No such thing, or not yours: the two are not told apart."""

    code = "not_found"
    action_by = ActionBy.DEVELOPER
    title = "Not found"


class IdempotencyConflict(LinkingError):
    """The Idempotency-Key was used before with another body."""

    code = "idempotency_conflict"
    action_by = ActionBy.DEVELOPER
    title = "This Idempotency-Key belongs to a different request"


class RateLimited(LinkingError):
    """Too many tries at one thing; wait ``retry_after`` seconds."""

    code = "rate_limited"
    action_by = ActionBy.NOBODY
    title = "Too many tries"


class RelinkRequired(LinkingError):
    """The link cannot give a token again until its owner authorises once more. Not retryable."""

    code = "relink_required"
    action_by = ActionBy.END_USER
    title = "The TikTok account has to be linked again"


class AccountRevoked(LinkingError):
    """Access was withdrawn at TikTok. Not retryable."""

    code = "account_revoked"
    action_by = ActionBy.END_USER
    title = "Access to this TikTok account was withdrawn at TikTok"


class AccountUnlinked(LinkingError):
    """The account was unlinked here. Not retryable."""

    code = "account_unlinked"
    action_by = ActionBy.NOBODY
    title = "This account is unlinked"


class ScopeNotGranted(LinkingError):
    """The person did not grant a scope that the call needs. Relink to ask again."""

    code = "scope_not_granted"
    action_by = ActionBy.END_USER
    title = "A needed permission was not granted"


class ProviderUnavailable(LinkingError):
    """TikTok does not answer usefully. Retryable after ``retry_after``."""

    code = "provider_unavailable"
    action_by = ActionBy.NOBODY
    title = "TikTok is not available"


class RefreshOutcomeUnknown(LinkingError):
    """A refresh was sent and its answer is not known yet. Retryable after ``retry_after``."""

    code = "refresh_outcome_unknown"
    action_by = ActionBy.NOBODY
    title = "A refresh is being recovered"


class RefreshInProgress(LinkingError):
    """Another worker is refreshing this link. Retryable after ``retry_after``."""

    code = "refresh_in_progress"
    action_by = ActionBy.NOBODY
    title = "A refresh is in progress"


class RefreshBackoff(LinkingError):
    """The last refresh failed and the next try is not due. Retryable after ``retry_after``."""

    code = "refresh_backoff"
    action_by = ActionBy.NOBODY
    title = "Waiting before the next refresh"


class ClientCredentialsInvalid(LinkingError):
    """TikTok refuses the app registration's key or secret. Not retryable until mended."""

    code = "client_credentials_invalid"
    action_by = ActionBy.OPERATOR
    title = "TikTok refuses this app registration"


class ScopeNotApproved(LinkingError):
    """The TikTok app has no such scope. Not retryable until it is added in TikTok's portal."""

    code = "scope_not_approved"
    action_by = ActionBy.DEVELOPER
    title = "The TikTok app may not ask for this scope"


class LinkSessionExpired(LinkingError):
    """The time to start or finish this attempt is over. Create a new session."""

    code = "link_session_expired"
    action_by = ActionBy.END_USER
    title = "This link has expired"


class LinkSessionUsed(LinkingError):
    """The session has already ended with a result."""

    code = "link_session_used"
    action_by = ActionBy.NOBODY
    title = "This link session is already finished"


class LinkSessionCancelled(LinkingError):
    """The session was cancelled by the team."""

    code = "link_session_cancelled"
    action_by = ActionBy.NOBODY
    title = "This link session was cancelled"


class StateMismatch(LinkingError):
    """The state is missing, malformed or unknown: the answer belongs to no attempt of ours."""

    code = "state_mismatch"
    action_by = ActionBy.END_USER
    title = "This answer belongs to no attempt to link"


class BrowserMismatch(LinkingError):
    """The answer came in another browser than the one that started."""

    code = "browser_mismatch"
    action_by = ActionBy.END_USER
    title = "Finish in the browser you started in"


class UserMismatch(LinkingError):
    """Another user of the app tried to finish this session."""

    code = "user_mismatch"
    action_by = ActionBy.END_USER
    title = "Signed in as someone else"


class AccountMismatch(LinkingError):
    """A relink came back with another TikTok account; the healthy link is untouched."""

    code = "account_mismatch"
    action_by = ActionBy.END_USER
    title = "That is a different TikTok account"


class ProviderError(Exception):
    """What TikTok did to one request. Carries no text from outside but vetted words.

    Attributes:
        error: TikTok's error word when it is a known one, else a word of ours.
        log_id: TikTok's ``log_id``, which its support asks for, else None.
    """

    def __init__(self, error: str, *, log_id: str | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.log_id = log_id


class Refused(ProviderError):
    """A definite no to this token or code (``invalid_grant``)."""


class Misconfigured(ProviderError):
    """TikTok blames our registration; the account is not at fault."""


class Unavailable(ProviderError):
    """Not now. ``may_have_acted`` is True when TikTok could have rotated the token all the same."""

    def __init__(
        self,
        error: str,
        *,
        may_have_acted: bool,
        retry_after: int | None = None,
        log_id: str | None = None,
    ) -> None:
        super().__init__(error, log_id=log_id)
        self.may_have_acted = may_have_acted
        self.retry_after = retry_after


class NoAnswer(ProviderError):
    """The request left this machine and the connection ended without an answer."""

    def __init__(self) -> None:
        super().__init__("no_answer")


class StoreUnavailable(Exception):
    """A read or write of ours failed; whether it was applied is not known."""


class RecordBroken(Exception):
    """A stored record is there and makes no sense. Not retryable; a person must look."""


class SealBroken(Exception):
    """A stored ciphertext does not open where it lies: damaged or moved. Not retryable."""
