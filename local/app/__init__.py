"""Acme, a small product whose users link, see and unlink TikTok accounts: a reference to port from.

`linking` is what every product needs: signed calls to the stack. `web` is the product itself:
sign in, start a link session and send the browser to its `url`, read the outcome when the browser
is back, list the accounts, use a token, unlink. `wording` says it to people.
`python -m local.app` serves it.

Three rules keep it safe, whatever the framework:

* The person comes from the product's own sign-in, never from the browser's query or form.
* A link session or account id from a browser is looked up among that person's own before use.
* Tokens and AWS credentials stay on the server; pages see names and dates.
"""
