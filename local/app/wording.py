"""What people read about their connections: outcomes, states, dates, permissions by name."""

from __future__ import annotations

from typing import Any

from tiktok_linking_client import Account, LinkSession

PERMISSIONS = {
    "user.info.basic": "Name and picture",
    "user.info.profile": "Profile details",
    "user.info.stats": "Follower and like counts",
    "video.list": "Public videos",
}
RECONNECT_SOON_DAYS = 14

OUTCOMES = {
    "user_cancelled": "You cancelled. Nothing was connected.",
    "cancelled_by_team": "This request was withdrawn. Nothing was connected.",
    "provider_refused": "TikTok did not allow this account. Nothing was connected.",
    "scope_not_granted": "A permission that Acme needs was switched off. Nothing was connected.",
    "account_mismatch": "That is a different TikTok account. The connection was left as it was.",
    "browser_mismatch": "You came back in another browser. Please start again here.",
    "user_mismatch": "This was started for another Acme account. Nothing was connected.",
    "app_misconfigured": "Nothing was connected: this app is not set up right. Please tell us.",
    "provider_unavailable": "TikTok had a problem. Please wait a few minutes and try again.",
}
WHO_ACTS = {
    "end_user": "Please connect this TikTok account again.",
    "nobody": "Please wait a few minutes and try again.",
}
REVOKED_AT_TIKTOK: dict[bool | str, str] = {
    True: "Disconnected. Acme no longer has access at TikTok either.",
    "pending": "Disconnected here. TikTok could not be told yet, and may still list Acme.",
    "not_needed": "Disconnected. Nothing was left to remove at TikTok.",
    False: "Disconnected here. To remove Acme at TikTok too, open TikTok: Profile, menu, "
    "Security and login, Manage app permissions.",
}


def outcome_text(link_session: LinkSession) -> tuple[str, str]:
    """Say how linking ended, as (kind, sentence)."""
    match link_session.status:
        case "completed":
            return "good", "TikTok connected."
        case "expired":
            return "bad", "This link has expired. Please start again."
        case "cancelled" | "failed":
            unknown = "That did not work. Nothing was connected."
            return "bad", OUTCOMES.get(str(link_session.reason), unknown)
        case _:
            return "", "Nothing was connected. You can start again at any time."


def status_chip(account: Account) -> tuple[str, str, str]:
    """Say how a connection is doing, as (kind, icon, words): never by colour alone."""
    days_left = account.days_until_relink
    if account.status == "revoked":
        return "bad", "\u2715", "Access removed in TikTok"
    if account.status != "active":
        return "bad", "!", "Needs reconnecting"
    if account.failing_since:
        return "warn", "\u21bb", "Trouble reaching TikTok"
    if days_left is not None and days_left <= RECONNECT_SOON_DAYS:
        return "warn", "!", f"Expires {reconnect_words(days_left)}"
    return "good", "\u2713", "Active"


def reconnect_words(days_left: int) -> str:
    if days_left <= 0:
        return "today"
    return "tomorrow" if days_left == 1 else f"in {days_left} days"


def as_card(account: Account) -> dict[str, Any]:
    """Pick what the page shows of an account, in words."""
    name = account.display_name or "TikTok account"
    kind, icon, words = status_chip(account)
    return {
        "id": account.id,
        "name": name,
        "initials": "".join(word[0] for word in name.split()[:2]).upper(),
        "chip": {"kind": kind, "icon": icon, "words": words},
        "works": account.status == "active",
        "granted": [PERMISSIONS.get(scope, scope) for scope in account.granted_scopes],
        "missing": [PERMISSIONS.get(scope, scope) for scope in account.missing_scopes],
        "relink_by": account.relink_by and f"{account.relink_by:%-d %B %Y}",
        "reconnect": reconnect_words(account.days_until_relink or 0) if account.relink_by else None,
    }


def as_shown(account: Account) -> dict[str, Any]:
    """Pick what <tiktok-accounts> shows: of what the stack answers, no more than that."""
    return {
        "id": account.id,
        "status": account.status,
        "profile": {"display_name": account.display_name},
        "scopes": {
            "granted": list(account.granted_scopes),
            "missing": list(account.missing_scopes),
        },
        "relink_by": account.relink_by and account.relink_by.isoformat(),
        "days_until_relink": account.days_until_relink,
        "refresh": {"failing_since": account.failing_since and account.failing_since.isoformat()},
    }
