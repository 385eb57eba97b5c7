"""What the product asks TikTok for, with a token of the stack."""

from __future__ import annotations

from typing import Any

import requests

from tiktok_linking_client import LinkingClient


def profile_of(stack: LinkingClient, account_id: str, tiktok_api_url: str) -> dict[str, Any]:
    """Ask TikTok for what the permissions cover: one field too many would fail the whole call."""
    fields = {"user.info.basic": "display_name", "user.info.stats": "follower_count"}
    answer: dict[str, Any] = {}
    for rejected in (False, True):
        # Asked for each time instead of kept, a token is fresh.
        token = stack.get_token(account_id, purpose="show profile", rejected=rejected)
        wanted = [fields[scope] for scope in token.scopes if scope in fields]
        answer = requests.get(
            f"{tiktok_api_url}/v2/user/info/",
            params={"fields": ",".join(wanted)},
            headers={"Authorization": f"Bearer {token.access_token}"},
            timeout=(3, 10),
            allow_redirects=False,
        ).json()
        if answer["error"]["code"] != "access_token_invalid":
            break  # else say so to the stack, once, and go on with the token that it renewed
    if answer["error"]["code"] != "ok":
        raise requests.HTTPError(answer["error"]["code"])
    return dict(answer["data"]["user"])
