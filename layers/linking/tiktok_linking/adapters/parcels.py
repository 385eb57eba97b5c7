"""Sealed pairs as text: the one format that the journal and the rescue queue share."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from tiktok_linking.accounts import Account, Profile, RefreshMode, SealedPair
from tiktok_linking.ports import AuthorisedPair, NewAccount, RenewedPair


def pack_renewed(renewed: RenewedPair) -> str:
    """Write a renewed pair as one line of JSON."""
    return json.dumps(
        {
            "kind": "renewed",
            "grant": renewed.grant_id,
            "spent": _text(renewed.spent),
            "write": _text(renewed.write_id),
            "pair": _pair(renewed.pair),
        },
        separators=(",", ":"),
    )


def pack_authorised(authorised: AuthorisedPair) -> str:
    """Write a pair from an exchange, with what hangs on it, as one line of JSON."""
    body: dict[str, Any] = {
        "kind": "authorised",
        "registration": authorised.registration,
        "open_id": authorised.open_id,
        "authorised_at": authorised.authorised_at.isoformat(),
        "write": _text(authorised.write_id),
        "pair": _pair(authorised.pair),
    }
    if authorised.account is not None:
        new = authorised.account
        body["session"] = new.session_key
        body["granted"] = new.granted_scopes
        body["missing"] = new.missing_scopes
        body["account"] = _account(new.account)
    return json.dumps(body, separators=(",", ":"))


def unpack(text: str) -> RenewedPair | AuthorisedPair:
    """Read what either function wrote. Raises ValueError for anything else."""
    try:
        body = json.loads(text)
        pair = _read_pair(body["pair"])
        if body["kind"] == "renewed":
            return RenewedPair(body["grant"], _bytes(body["spent"]), _bytes(body["write"]), pair)
        authorised = AuthorisedPair(
            registration=body["registration"],
            open_id=body["open_id"],
            authorised_at=datetime.fromisoformat(body["authorised_at"]),
            write_id=_bytes(body["write"]),
            pair=pair,
            account=None,
        )
        if "account" not in body:
            return authorised
        account = _read_account(body["account"], authorised)
        return replace(
            authorised,
            account=NewAccount(
                account, body["session"], tuple(body["granted"]), tuple(body["missing"])
            ),
        )
    except (KeyError, TypeError) as error:
        raise ValueError("not a sealed pair") from error


def _pair(pair: SealedPair) -> dict[str, Any]:
    return {
        "id": _text(pair.pair_id),
        "access": _text(pair.access),
        "refresh": _text(pair.refresh),
        "fingerprint": _text(pair.fingerprint),
        "scopes": pair.scopes,
        "issued_at": pair.issued_at.isoformat(),
        "expires_at": pair.expires_at.isoformat(),
        "relink_by": pair.relink_by.isoformat() if pair.relink_by else None,
    }


def _read_pair(body: dict[str, Any]) -> SealedPair:
    return SealedPair(
        pair_id=_bytes(body["id"]),
        access=_bytes(body["access"]),
        refresh=_bytes(body["refresh"]),
        fingerprint=_bytes(body["fingerprint"]),
        scopes=tuple(body["scopes"]),
        issued_at=datetime.fromisoformat(body["issued_at"]),
        expires_at=datetime.fromisoformat(body["expires_at"]),
        relink_by=datetime.fromisoformat(body["relink_by"]) if body["relink_by"] else None,
    )


def _account(account: Account) -> dict[str, Any]:
    profile = account.profile
    return {
        "id": account.id,
        "end_user_id": account.end_user_id,
        "tenant_id": account.tenant_id,
        "label": account.end_user_label,
        "metadata": account.metadata,
        "wanted": account.wanted_scopes,
        "profile": None
        if profile is None
        else {
            "display_name": profile.display_name,
            "avatar_url": profile.avatar_url,
            "union_id": profile.union_id,
            "fetched_at": profile.fetched_at.isoformat(),
        },
    }


def _read_account(body: dict[str, Any], authorised: AuthorisedPair) -> Account:
    profile = body["profile"]
    return Account(
        id=body["id"],
        grant_id=authorised.grant_id,
        registration=authorised.registration,
        open_id=authorised.open_id,
        end_user_id=body["end_user_id"],
        tenant_id=body["tenant_id"],
        end_user_label=body["label"],
        metadata=body["metadata"],
        profile=None
        if profile is None
        else Profile(
            profile["display_name"],
            profile["avatar_url"],
            profile["union_id"],
            datetime.fromisoformat(profile["fetched_at"]),
        ),
        mode=RefreshMode.AUTO,
        wanted_scopes=tuple(body["wanted"]),
        linked_at=authorised.authorised_at,
        authorised_at=authorised.authorised_at,
        relink_by=authorised.pair.relink_by,
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
