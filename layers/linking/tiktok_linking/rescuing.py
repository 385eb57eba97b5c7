"""Rescuing: land a sealed pair that its own function could not save, under the same condition.

Delivered any number of times, late or twice, the result is the same. It never talks to TikTok and
never opens what it carries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tiktok_linking.accounts import SealedPair
from tiktok_linking.ports import (
    Authorisations,
    AuthorisedPair,
    Grants,
    RenewedPair,
    Saved,
    Sessions,
)
from tiktok_linking.schedule import RenewalPolicy
from tiktok_linking.sessions import SessionStatus


@dataclass(frozen=True, slots=True)
class Rescuing:
    """The use case with its ports."""

    grants: Grants
    authorisations: Authorisations
    sessions: Sessions
    policy: RenewalPolicy
    now: Callable[[], datetime]

    def land(self, parcel: RenewedPair | AuthorisedPair) -> Saved:
        """Save what the queue brought.

        Raises:
            StoreUnavailable: the queue delivers it again.
        """
        if isinstance(parcel, RenewedPair):
            saved = self.grants.save_renewed(
                parcel, due_at=self._due(parcel.grant_id, parcel.pair), now=self.now()
            )
            if saved is Saved.REVIVED:  # TikTok must say soon whether the flag was right
                self.grants.doubt(parcel.grant_id, now=self.now())
            return saved
        saved = self.authorisations.save_authorised(
            parcel,
            due_at=self._due(parcel.grant_id, parcel.pair),
            only_existing=parcel.account is None,
        )
        # An unlink that came after the authorisation has ended it: nothing may hang on it.
        if parcel.account is not None and saved is not Saved.ENDED:
            new = parcel.account
            self.authorisations.save_account(new.account)
            self.sessions.finish(
                new.session_key,
                SessionStatus.COMPLETED,
                now=self.now(),
                account_id=new.account.id,
                granted=new.granted_scopes,
                missing=new.missing_scopes,
            )
        return saved

    def _due(self, grant_id: str, pair: SealedPair) -> datetime | None:
        return self.policy.first_due(
            grant_id,
            issued_at=pair.issued_at,
            expires_at=pair.expires_at,
            relink_by=pair.relink_by,
            is_new=False,
        )
