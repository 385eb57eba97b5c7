"""A TikTok that behaves: the OAuth server of TikTok's Login Kit, simulated on loopback.

Run it with `python -m local.tiktok`, or start it inside a test:

    with TikTokServer(apps=[app], now=clock) as tiktok:
        requests.post(f"{tiktok.base_url}/v2/oauth/token/", ...)

What lives where, one sort of rule per module:

    settings.py       every switch, its values and its default
    portal.py         the registered apps: what a developer types into TikTok's portal
    people.py         the TikTok users who can be chosen on the consent page
    authorization.py  /v2/auth/authorize/: what is checked, and how the browser is sent back
    ledger.py         codes, grants and tokens: rotation, deadlines, revocation
    open_api.py       /v2/oauth/token/, /v2/oauth/revoke/, /v2/user/info/, /v2/video/list/
    faults.py         failures on request
    webhooks.py       signed events and their delivery
    simulation.py     all of it together, with the operations that people and tests control
    consent_pages.py  the pages that a browser sees
    control.py        the same operations over HTTP, under /_control
    serving.py        an HTTP/1.1 server with keep-alive that can hang up in mid-request
    server.py         the server as an object

Where a rule is known from. A comment names one of these in brackets; all were read in November
2026 and no request was sent to TikTok. TikTok keeps two sets of pages (/doc and /docs) that differ.

    [tokens]     developers.tiktok.com/docs/zh-Hans/oauth-user-access-token-management (2026-11-05)
    [refresh]    developers.tiktok.com/docs/en/oauth-refresh-a-user-access-token (2026-11-02)
    [revoke]     developers.tiktok.com/docs/en/oauth-revoke-a-user-access-token (2026-11-02)
    [client]     developers.tiktok.com/docs/zh-Hans/client-access-token-management (2026-11-05)
    [web]        developers.tiktok.com/doc/login-kit-web
    [desktop]    developers.tiktok.com/doc/login-kit-desktop
    [tokens-old] developers.tiktok.com/doc/oauth-user-access-token-management
    [errors]     developers.tiktok.com/doc/oauth-error-handling
    [user-info]  developers.tiktok.com/doc/tiktok-api-v2-get-user-info
    [api-errors] developers.tiktok.com/doc/tiktok-api-v2-error-handling
    [events]     developers.tiktok.com/doc/webhooks-events
    [delivery]   developers.tiktok.com/doc/webhooks-overview
    [signature]  developers.tiktok.com/doc/webhooks-verification
    [scopes]     developers.tiktok.com/doc/tiktok-api-scopes
    [sandbox]    developers.tiktok.com/doc/add-a-sandbox
    [field]      integrators' code, issues and transcripts, not TikTok's own word
    [assumed]    nobody says; the choice made here is explained beside it
"""

from local.tiktok.portal import App
from local.tiktok.server import TikTokServer

__all__ = ["App", "TikTokServer"]
