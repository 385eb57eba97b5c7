"""The calls that a product makes to the linking stack, and one to TikTok with a token."""

from __future__ import annotations

from typing import Any

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from local.app.settings import Settings

Json = dict[str, Any]


class StackRefused(Exception):
    """The stack answered with a problem: `code` is stable, `request_id` is for its support."""

    def __init__(self, problem: Json) -> None:
        self.code = str(problem.get("code", "unknown"))
        self.action_by = str(problem.get("action_by", "operator"))
        self.request_id = str(problem.get("request_id", ""))
        super().__init__(self.code)


class LinkingStack:
    """Every call to the stack, signed with the product's own AWS credentials."""

    def __init__(self, settings: Settings) -> None:
        self._gateway_url = settings.gateway_url
        self._wish = {"completion": settings.completion}
        self._signer = SigV4Auth(settings.credentials, "execute-api", settings.region)
        self._http = requests.Session()
        self._http.trust_env = False  # no ~/.netrc, which would replace the signature, and no proxy

    def _signed(self, outgoing: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the SigV4 headers that the stack's IAM routes ask for."""
        to_sign = AWSRequest(outgoing.method, outgoing.url, data=outgoing.body)
        self._signer.add_auth(to_sign)
        outgoing.headers.update(dict(to_sign.headers))
        return outgoing

    def _call(self, method: str, path: str, body: Json | None = None, **query: str) -> Json:
        answer = self._http.request(
            method,
            self._gateway_url + path,
            params=query,
            json=body,
            auth=self._signed,
            timeout=(3, 29),  # API Gateway itself gives up after 30 s
            allow_redirects=False,
        )
        try:
            content = answer.json()
        except requests.JSONDecodeError:
            content = {}  # an error of API Gateway's own need not be JSON
        if not answer.ok:
            raise StackRefused(content)
        return dict(content)

    def begin(self, user: str, return_url: str) -> Json:
        """Start linking: the browser goes to the answer's `url`, which belongs in no log."""
        wish = {"end_user_id": user, "end_user_label": user, "return_url": return_url}
        return self._call("POST", "/v1/link-sessions", wish | self._wish)

    def begin_again(self, account_id: str, return_url: str) -> Json:
        """Start linking anew: the account keeps its id, and no other TikTok account is accepted."""
        wish = {"return_url": return_url} | self._wish
        return self._call("POST", f"/v1/accounts/{account_id}/relink", wish)

    def complete(self, link_session: str, completion_code: str, user: str) -> Json:
        """Say who is signed in here; only then is the link made."""
        wish = {"completion_code": completion_code, "end_user_id": user}
        return self._call("POST", f"/v1/link-sessions/{link_session}/complete", wish)

    def outcome(self, link_session: str) -> Json:
        return self._call("GET", f"/v1/link-sessions/{link_session}")

    def accounts_of(self, user: str) -> list[Json]:
        page = self._call("GET", "/v1/accounts", end_user_id=user)
        accounts: list[Json] = page["items"]
        while page["next_cursor"]:
            page = self._call("GET", "/v1/accounts", cursor=page["next_cursor"], end_user_id=user)
            accounts += page["items"]
        return [account for account in accounts if account["status"] != "unlinked"]

    def token(self, account_id: str, *, rejected: bool = False) -> Json:
        """Get a token for the call at hand: asked for each time instead of kept, it is fresh."""
        wish = {"purpose": "show profile", "rejected": rejected}
        return self._call("POST", f"/v1/accounts/{account_id}/token", wish)

    def unlink(self, account_id: str) -> Json:
        return self._call("DELETE", f"/v1/accounts/{account_id}")


def tiktok_profile(stack: LinkingStack, account_id: str, tiktok_api_url: str) -> Json:
    """Ask TikTok for what the permissions cover: one field too many would fail the whole call."""
    fields = {"user.info.basic": "display_name", "user.info.stats": "follower_count"}
    answer: Json = {}
    for rejected in (False, True):
        token = stack.token(account_id, rejected=rejected)
        wanted = [fields[scope] for scope in token["scopes"] if scope in fields]
        answer = requests.get(
            f"{tiktok_api_url}/v2/user/info/",
            params={"fields": ",".join(wanted)},
            headers={"Authorization": f"Bearer {token['access_token']}"},
            timeout=(3, 10),
            allow_redirects=False,
        ).json()
        if answer["error"]["code"] != "access_token_invalid":
            break  # else say so to the stack, once, and go on with the token that it renewed
    if answer["error"]["code"] != "ok":
        raise requests.HTTPError(answer["error"]["code"])
    return dict(answer["data"]["user"])
