"""Link a TikTok account, use it and unlink it, over HTTP alone, in a world that runs already.

    make run                                # in another terminal
    python -m tests.flows.link_once         # add --help for what can be changed

Prints what happens. The browser's part is played by plain requests, as a person's browser would
send them; the backend's part is signed with the local key. No token is printed.
"""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from tests.flows.http_browser import HttpBrowser
from tests.flows.journey import Backend, Json, TikTok, consent, query_of, to_consent

FIELDS = {
    "user.info.basic": "display_name",
    "user.info.profile": "username",
    "user.info.stats": "follower_count",
}


def link_once(
    endpoints: Mapping[str, str],
    *,
    end_user: str,
    person: str,
    off: Collection[str] = (),
    return_url: str | None = None,
    say: Callable[[str], None] = print,
) -> Json:
    """Go the whole way, and answer the account as it was while it was linked."""
    backend, tiktok = Backend(endpoints["gateway"]), TikTok(endpoints["tiktok"])
    browser = HttpBrowser()

    wishes = {} if return_url is None else {"return_url": return_url}
    # Without switch_account TikTok sends somebody who consented before straight back.
    begun = backend.begin(end_user, switch_account=True, **wishes)
    say(f"link session made for {end_user}")

    at_tiktok = to_consent(browser, begun["url"])
    asked = query_of(at_tiktok.trail[-1].headers["Location"])
    say(f"at TikTok, which is asked for {asked['scope']}")

    back = consent(browser, at_tiktok, person, off=off)
    session = backend.session(begun["id"])
    say(f"back with HTTP {back.status}, session {session['status']}")
    assert session["status"] == "completed", session

    account = backend.account(session["account_id"])
    scopes = account["scopes"]
    say(
        f"account {account['status']}, granted {scopes['granted']}, missing {scopes['missing']}, "
        f"to be linked again in {account['days_until_relink']} days"
    )

    token = backend.token(account["id"])
    wanted = [FIELDS[scope] for scope in token["scopes"] if scope in FIELDS]
    told = tiktok.user_info(token["access_token"], wanted).json()
    assert told["error"]["code"] == "ok", told["error"]
    say(f"a token for {token['expires_in']} s, with which TikTok tells {told['data']['user']}")

    report = backend.unlink(account["id"])
    say(f"account {report['status']}, revoked at TikTok: {report['revoked_at_tiktok']}")
    return account


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoints", type=Path, default=Path(".local/endpoints.json"))
    parser.add_argument("--end-user", default=f"u_{secrets.token_hex(3)}")
    parser.add_argument("--tiktok-user", default="jonas")
    parser.add_argument("--switch-off", action="append", default=[], metavar="SCOPE")
    given = parser.parse_args()
    endpoints = json.loads(given.endpoints.read_text(encoding="utf-8"))
    link_once(endpoints, end_user=given.end_user, person=given.tiktok_user, off=given.switch_off)


if __name__ == "__main__":
    main()
