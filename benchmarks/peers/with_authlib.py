"""Linking by Authlib's Flask client, set up for TikTok as its documents show for anybody."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from linking import Link, measure


def make(given: dict[str, Any]) -> Link:
    """A Flask application with two routes, called without a server in between."""
    from authlib.integrations.flask_client import OAuth
    from flask import Flask, session

    api = given["api"]
    app = Flask("peer")
    app.secret_key = "of a benchmark"  # noqa: S105 - signs cookies that nobody keeps
    oauth = OAuth(app)
    tiktok = oauth.register(
        "tiktok",
        client_id=given["client_key"],
        client_secret=given["client_secret"],
        access_token_url=f"{api}/v2/oauth/token/",
        access_token_params={"client_key": given["client_key"]},
        authorize_url="https://www.tiktok.com/v2/auth/authorize/",
        authorize_params={"client_key": given["client_key"]},
        api_base_url=f"{api}/v2/",
        client_kwargs={
            "scope": "user.info.basic",
            "token_endpoint_auth_method": "client_secret_post",
        },
    )
    stored: dict[str, Any] = {}

    @app.get("/authorize")
    def authorize() -> Any:
        return tiktok.authorize_redirect("https://link.example.com/callback")

    @app.get("/callback")
    def callback() -> Any:
        token = tiktok.authorize_access_token()
        answer = tiktok.get("user/info/?fields=open_id,display_name,avatar_url", token=token)
        stored[token["open_id"]] = (token, answer.json()["data"]["user"])
        session["account"] = token["open_id"]
        return "", 303

    def link(open_id: str) -> None:
        browser = app.test_client()
        sent = browser.get("/authorize")
        state = parse_qs(urlsplit(sent.headers["Location"]).query)["state"][0]
        query = {"code": given["code"] + open_id, "state": state}
        landed = browser.get("/callback", query_string=query)
        if landed.status_code != 303 or open_id not in stored:
            raise AssertionError(landed.data)

    return link


if __name__ == "__main__":
    measure(make)
