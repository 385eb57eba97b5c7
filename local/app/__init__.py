"""Acme, a small product whose users link, see and unlink TikTok accounts: a reference to port from.

Calls to the stack are `tiktok_linking_client`'s (docs/client.md). `web` is the product itself: sign
in, start a link session and send the browser to its `url`, read the outcome when the browser is
back, list the accounts, use a token (`tiktok`), unlink. `wording` says it to people. It all works
without JavaScript; with it, `static/acme.js` adds the pop-up and the list that asks in place, out
of connect.js and tiktok-accounts.js (docs/connect-js.md).
`python -m local.app` serves it.

Three rules keep it safe, whatever the framework:

* The person comes from the product's own sign-in, never from the browser's query or form.
* A link session or account id from a browser is looked up among that person's own before use.
* Tokens and AWS credentials stay on the server; pages see names and dates.
"""
