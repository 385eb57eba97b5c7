"""Each documented answer is given by the real functions, and each answer given is as documented.

A producer brings the local world into a state and sends one request. `gives` says which documented
answer must come; a test at the end compares the list with the document, so that neither an answer
without a producer nor one without documentation goes unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests

from tests.contract.document import (
    MADE_BY_API_GATEWAY,
    PROBLEM,
    Answer,
    Operation,
    document,
    every_error,
    routes,
)
from tests.contract.stage import Stage
from tests.flows.http_browser import HttpBrowser
from tiktok_linking.sessions import new_session_id
from tiktok_linking.web.script import script_version

Produce = Callable[[Stage], requests.Response]
UNKNOWN_ACCOUNT = "acct_" + "a" * 48
CONTENT_TYPES = {
    f"{kind}; charset=utf-8"
    for kind in ("application/json", PROBLEM, "text/html", "text/plain", "text/javascript")
}

SHOWN_ONCE_A_FUNCTION = 500
"""Only a defect brings this about, in the frame that all operations of a function share."""


@dataclass(frozen=True, slots=True)
class Producer:
    """One way to one documented answer; `when` tells several ways apart."""

    operation: str
    status: int
    code: str
    when: str
    produce: Produce

    @property
    def answer(self) -> str:
        return "-".join(filter(None, (self.operation, str(self.status), self.code)))

    def __str__(self) -> str:
        return f"{self.answer} {self.when}".strip()


PRODUCERS: list[Producer] = []


def gives(
    operation: str, status: int, code: str = "", *, when: str = ""
) -> Callable[[Produce], Produce]:
    def register(produce: Produce) -> Produce:
        PRODUCERS.append(Producer(operation, status, code, when, produce))
        return produce

    return register


# ---- link sessions -----------------------------------------------------------------------------


@gives("createLinkSession", 201, when="with the least")
def _(stage: Stage) -> requests.Response:
    return stage.backend.call("POST", "/v1/link-sessions", {"end_user_id": "u_42"})


@gives("createLinkSession", 201, when="with everything")
def _(stage: Stage) -> requests.Response:
    example = (
        document()
        .operations["createLinkSession"]
        .definition["requestBody"]["content"]["application/json"]["examples"]["full"]["value"]
    )
    here = {"return_url": stage.world.endpoints["app"] + "/tiktok/return"}
    return stage.backend.call("POST", "/v1/link-sessions", {**example, **here})


@gives("createLinkSession", 201, when="for the second time, after it was cancelled")
def _(stage: Stage) -> requests.Response:
    def create() -> requests.Response:
        body = {"end_user_id": "u_42"}
        return stage.world.api("POST", "/v1/link-sessions", json=body, headers=key)

    key = {"Idempotency-Key": stage.end_user()}
    session = create().json()["id"]
    stage.backend.call("DELETE", f"/v1/link-sessions/{session}")
    again = create()
    assert again.json()["id"] == session
    return again


@gives("createLinkSession", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return stage.backend.call("POST", "/v1/link-sessions", {"end_user_id": "u_42", "emial": "x"})


@gives("createLinkSession", 409, "idempotency_conflict")
def _(stage: Stage) -> requests.Response:
    key = {"Idempotency-Key": stage.end_user()}
    stage.world.api("POST", "/v1/link-sessions", json={"end_user_id": "u_42"}, headers=key)
    return stage.world.api("POST", "/v1/link-sessions", json={"end_user_id": "u_43"}, headers=key)


def shown(stage: Stage, session: str) -> requests.Response:
    return stage.backend.call("GET", f"/v1/link-sessions/{session}")


@gives("getLinkSession", 200, when="pending")
def _(stage: Stage) -> requests.Response:
    return shown(stage, stage.backend.begin(stage.end_user())["id"])


@gives("getLinkSession", 200, when="started")
def _(stage: Stage) -> requests.Response:
    return shown(stage, stage.depart(HttpBrowser())[0])


@gives("getLinkSession", 200, when="completed, a permission switched off")
def _(stage: Stage) -> requests.Response:
    return shown(stage, stage.link_someone(off=["video.list"]).session["id"])


@gives("getLinkSession", 200, when="cancelled by the user")
def _(stage: Stage) -> requests.Response:
    browser = HttpBrowser()
    session, departure = stage.depart(browser)
    browser.send("GET", stage.callback_of(departure, action="cancel"))
    return shown(stage, session)


@gives("getLinkSession", 200, when="failed for a missing required scope")
def _(stage: Stage) -> requests.Response:
    browser = HttpBrowser()
    wanted = {"required": ["user.info.basic", "video.list"], "optional": []}
    session, departure = stage.depart(browser, scopes=wanted)
    browser.send("GET", stage.callback_of(departure, deny_scopes=["video.list"]))
    answer = shown(stage, session)
    assert answer.json()["reason"] == "scope_not_granted"
    return answer


@gives("getLinkSession", 200, when="failed by another TikTok account")
def _(stage: Stage) -> requests.Response:
    session = stage.relink(stage.account(), stage.someone())
    assert session["reason"] == "account_mismatch"
    return shown(stage, session["id"])


@gives("getLinkSession", 200, when="expired")
def _(stage: Stage) -> requests.Response:
    session = stage.backend.begin(stage.end_user(), expires_in=60)["id"]
    stage.world.advance(seconds=61)
    return shown(stage, session)


@gives("getLinkSession", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    session = stage.backend.begin(stage.end_user())["id"]
    return stage.backend.call("GET", f"/v1/link-sessions/{session}", expand="account")


@gives("getLinkSession", 404, "not_found")
def _(stage: Stage) -> requests.Response:
    return shown(stage, new_session_id())


def cancelled(stage: Stage, session: str, **query: str) -> requests.Response:
    return stage.backend.call("DELETE", f"/v1/link-sessions/{session}", **query)


@gives("cancelLinkSession", 200)
def _(stage: Stage) -> requests.Response:
    return cancelled(stage, stage.backend.begin(stage.end_user())["id"])


@gives("cancelLinkSession", 200, when="for the second time")
def _(stage: Stage) -> requests.Response:
    session = stage.backend.begin(stage.end_user())["id"]
    cancelled(stage, session)
    return cancelled(stage, session)


@gives("cancelLinkSession", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return cancelled(stage, stage.backend.begin(stage.end_user())["id"], force="true")


@gives("cancelLinkSession", 404, "not_found")
def _(stage: Stage) -> requests.Response:
    return cancelled(stage, "ls_unknown")


@gives("cancelLinkSession", 409, "link_session_used")
def _(stage: Stage) -> requests.Response:
    return cancelled(stage, stage.link_someone().session["id"])


@gives("getLinkSession", 200, when="waiting for the product's own login")
def _(stage: Stage) -> requests.Response:
    answer = shown(stage, stage.waiting()["link_session"])
    assert answer.json()["status"] == "awaiting_completion"
    return answer


@gives("completeLinkSession", 200)
def _(stage: Stage) -> requests.Response:
    brought = stage.waiting(metadata={"plan": "pro"})
    answer = stage.complete(brought)
    shown_later = stage.backend.account(answer.json()["id"])
    assert answer.json() == shown_later
    return answer


@gives("completeLinkSession", 200, when="for the second time")
def _(stage: Stage) -> requests.Response:
    brought = stage.waiting()
    first = stage.complete(brought)
    again = stage.complete(brought)
    assert again.json() == first.json()
    return again


@gives("completeLinkSession", 200, when="of an account that was linked before")
def _(stage: Stage) -> requests.Response:
    person, end_user, browser = stage.someone(), stage.end_user(), HttpBrowser()
    account_id = stage.link(end_user, person, metadata={"plan": "pro"}).account_id
    change(stage, account_id, refresh_mode="always")
    home = stage.world.endpoints["app"] + "/tiktok/return"
    begun = stage.backend.begin(end_user, return_url=home, completion="app")
    departure = browser.send("GET", browser.open(begun["url"]).link("Continue with TikTok"))
    arrival = browser.send("GET", stage.callback_of(departure, user=person))
    brought = dict(parse_qsl(urlsplit(arrival.headers["Location"]).query))
    answer = stage.complete(brought | {"end_user_id": end_user})
    assert answer.json() == stage.backend.account(account_id)
    return answer


@gives("completeLinkSession", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return stage.complete(stage.waiting(), completion_code="short")


@gives("completeLinkSession", 400, "state_mismatch")
def _(stage: Stage) -> requests.Response:
    return stage.complete(stage.waiting(), completion_code="g" * 43)


@gives("completeLinkSession", 403, "scope_not_granted")
def _(stage: Stage) -> requests.Response:
    wanted = {"required": ["user.info.basic", "video.list"], "optional": []}
    answer = stage.complete(stage.waiting(off=["video.list"], scopes=wanted))
    assert answer.json()["missing_scopes"] == ["video.list"]
    return answer


@gives("completeLinkSession", 404, "not_found")
def _(stage: Stage) -> requests.Response:
    return stage.complete(stage.waiting() | {"link_session": new_session_id()})


@gives("completeLinkSession", 409, "user_mismatch")
def _(stage: Stage) -> requests.Response:
    return stage.complete(stage.waiting(), end_user_id="u_somebody_else")


@gives("completeLinkSession", 409, "account_mismatch")
def _(stage: Stage) -> requests.Response:
    return stage.complete(stage.waiting_to_relink(stage.account()))


@gives("completeLinkSession", 409, "link_session_used", when="with another code")
def _(stage: Stage) -> requests.Response:
    brought = stage.waiting()
    assert stage.complete(brought).status_code == 200
    return stage.complete(brought, completion_code="g" * 43)


@gives("completeLinkSession", 409, "link_session_used", when="TikTok did not take the code")
def _(stage: Stage) -> requests.Response:
    stage.tiktok.set(code_seconds=1)
    brought = stage.waiting()
    stage.world.advance(minutes=1)
    answer = stage.complete(brought)
    assert answer.json()["reason"] == "exchange_failed"
    return answer


@gives("completeLinkSession", 410, "link_session_expired")
def _(stage: Stage) -> requests.Response:
    brought = stage.waiting()
    stage.world.advance(minutes=5, seconds=1)
    return stage.complete(brought)


@gives("completeLinkSession", 410, "link_session_cancelled")
def _(stage: Stage) -> requests.Response:
    brought = stage.waiting()
    cancelled(stage, brought["link_session"])
    return stage.complete(brought)


@gives("completeLinkSession", 502, "client_credentials_invalid")
def _(stage: Stage) -> requests.Response:
    brought = stage.waiting(app_registration="second")
    with stage.wrong_client_secret("second"):
        return stage.complete(brought)


@gives("completeLinkSession", 503, "provider_unavailable")
def _(stage: Stage) -> requests.Response:
    brought = stage.waiting()
    stage.tiktok.fail("token", "500_before")
    return stage.complete(brought)


# ---- accounts ----------------------------------------------------------------------------------


@gives("listAccounts", 200, when="of one end user")
def _(stage: Stage) -> requests.Response:
    linked = stage.link_someone()
    owner = stage.backend.account(linked.account_id)["end_user_id"]
    answer = stage.backend.call("GET", "/v1/accounts", end_user_id=owner)
    assert [item["id"] for item in answer.json()["items"]] == [linked.account_id]
    return answer


@gives("listAccounts", 200, when="with a next page")
def _(stage: Stage) -> requests.Response:
    owner = stage.end_user()
    for _unused in range(2):
        stage.link(owner, stage.someone())
    answer = stage.backend.call("GET", "/v1/accounts", end_user_id=owner, limit="1")
    assert answer.json()["next_cursor"] is not None
    return answer


@gives("listAccounts", 200, when="with every filter and nothing found")
def _(stage: Stage) -> requests.Response:
    filters = {"status": "unlinked", "relink_within_days": "30", "sort": "relink_by"}
    return stage.backend.call("GET", "/v1/accounts", tenant_id=stage.end_user(), **filters)


@gives("forecastRelinks", 200)
def _(stage: Stage) -> requests.Response:
    stage.link_someone()
    answer = stage.backend.call("GET", "/v1/forecast/relinks", weeks="53")
    weeks = answer.json()["weeks"]
    assert len(weeks) == 53
    assert sum(week["accounts"] for week in weeks) >= 1
    return answer


@gives("forecastRelinks", 200, when="of a tenant without accounts")
def _(stage: Stage) -> requests.Response:
    answer = stage.backend.call("GET", "/v1/forecast/relinks", tenant_id=stage.end_user())
    assert {week["accounts"] for week in answer.json()["weeks"]} == {0}
    return answer


@gives("forecastRelinks", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return stage.backend.call("GET", "/v1/forecast/relinks", weeks="54")


@gives("listAccounts", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return stage.backend.call("GET", "/v1/accounts", limit="101")


@gives("listAccounts", 400, "invalid_request", when="for another list's cursor")
def _(stage: Stage) -> requests.Response:
    owner = stage.end_user()
    for _unused in range(2):
        stage.link(owner, stage.someone())
    page = stage.backend.get("/v1/accounts", end_user_id=owner, limit="1")
    return stage.backend.call(
        "GET", "/v1/accounts", end_user_id=stage.end_user(), cursor=page["next_cursor"]
    )


def account(stage: Stage, account_id: str, **query: str) -> requests.Response:
    return stage.backend.call("GET", f"/v1/accounts/{account_id}", **query)


@gives("getAccount", 200, when="new")
def _(stage: Stage) -> requests.Response:
    return account(stage, stage.account())


@gives("getAccount", 200, when="with all that it can have")
def _(stage: Stage) -> requests.Response:
    return account(
        stage,
        stage.account(
            tenant_id="acme",
            end_user_label="b@example.com",
            metadata={"plan": "pro", "": ""} and {"plan": "pro"},
        ),
    )


@gives("getAccount", 200, when="without a profile and without a date")
def _(stage: Stage) -> requests.Response:
    stage.tiktok.set(omit_refresh_expires_in=True)
    stage.tiktok.fail("user_info", "500_before")
    answer = account(stage, stage.account())
    assert answer.json()["profile"] is None
    assert answer.json()["days_until_relink"] is None
    return answer


@gives("getAccount", 200, when="relinked and renewed")
def _(stage: Stage) -> requests.Response:
    person = stage.someone()
    account_id = stage.link(stage.end_user(), person).account_id
    stage.relink(account_id, person)
    stage.let_the_access_token_expire()
    stage.backend.token(account_id)
    return account(stage, account_id)


@gives("getAccount", 200, when="renewals fail")
def _(stage: Stage) -> requests.Response:
    account_id = stage.expired_account()
    stage.tiktok.fail("token", "429", retry_after=60)
    stage.backend.vend(account_id)
    answer = account(stage, account_id)
    assert answer.json()["status"] == "active"
    assert answer.json()["refresh"]["failing_since"] is not None
    return answer


@gives("getAccount", 200, when="relink required by the date")
def _(stage: Stage) -> requests.Response:
    answer = account(stage, stage.overdue_account())
    assert answer.json()["reason"] == "refresh_token_expired"
    return answer


@gives("getAccount", 200, when="relink required, since TikTok refused")
def _(stage: Stage) -> requests.Response:
    answer = account(stage, stage.rejected_account())
    assert answer.json()["reason"] == "refresh_token_rejected"
    return answer


@gives("getAccount", 200, when="revoked")
def _(stage: Stage) -> requests.Response:
    answer = account(stage, stage.revoked_account())
    assert answer.json()["status"] == "revoked"
    return answer


@gives("getAccount", 200, when="unlinked")
def _(stage: Stage) -> requests.Response:
    answer = account(stage, stage.unlinked_account())
    assert answer.json()["status"] == "unlinked"
    return answer


@gives("listAccountEvents", 200, when="of a new account")
def _(stage: Stage) -> requests.Response:
    account = stage.account()
    stage.world.settle()
    answer = stage.backend.call("GET", f"/v1/accounts/{account}/events")
    assert [item["type"] for item in answer.json()["items"]] == ["account.linked"]
    return answer


@gives("listAccountEvents", 200, when="with a next page, of an account that was used")
def _(stage: Stage) -> requests.Response:
    account = stage.account()
    stage.backend.token(account)
    stage.backend.unlink(account)
    stage.world.settle()
    answer = stage.backend.call("GET", f"/v1/accounts/{account}/events", limit="1")
    assert answer.json()["next_cursor"]
    return answer


@gives("listAccountEvents", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return stage.backend.call("GET", f"/v1/accounts/{stage.account()}/events", cursor="yesterday")


@gives("listAccountEvents", 404, "not_found")
def _(stage: Stage) -> requests.Response:
    return stage.backend.call("GET", f"/v1/accounts/{UNKNOWN_ACCOUNT}/events")


@gives("getAccount", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return account(stage, UNKNOWN_ACCOUNT, fields="status")


@gives("getAccount", 404, "not_found")
def _(stage: Stage) -> requests.Response:
    return account(stage, UNKNOWN_ACCOUNT)


@gives("getAccount", 404, "not_found", when="for an id of another form")
def _(stage: Stage) -> requests.Response:
    return account(stage, "%00%2F..")


def change(stage: Stage, account_id: str, **fields: object) -> requests.Response:
    return stage.backend.call("PATCH", f"/v1/accounts/{account_id}", fields)


@gives("updateAccount", 200)
def _(stage: Stage) -> requests.Response:
    answer = change(stage, stage.account(), metadata={"plan": "pro"}, refresh_mode="always")
    assert answer.json()["metadata"] == {"plan": "pro"}
    assert answer.json()["refresh"]["mode"] == "always"
    return answer


@gives("updateAccount", 200, when="for one of two that share a TikTok account")
def _(stage: Stage) -> requests.Response:
    person = stage.someone()
    first, second = (stage.link(stage.end_user(), person).account_id for _unused in "ab")
    assert change(stage, first, refresh_mode="always").status_code == 200
    answer = change(stage, second, refresh_mode="on_demand")
    assert answer.json()["refresh"]["mode"] == "always", "the most eager wish wins"
    return answer


@gives("updateAccount", 200, when="nothing is named")
def _(stage: Stage) -> requests.Response:
    account_id = stage.account(metadata={"plan": "pro"})
    answer = change(stage, account_id)
    assert answer.json()["metadata"] == {"plan": "pro"}
    return answer


@gives("updateAccount", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return change(stage, stage.account(), status="active")


@gives("updateAccount", 404, "not_found")
def _(stage: Stage) -> requests.Response:
    return change(stage, UNKNOWN_ACCOUNT, refresh_mode="always")


@gives("updateAccount", 410, "account_unlinked")
def _(stage: Stage) -> requests.Response:
    return change(stage, stage.unlinked_account(), refresh_mode="always")


def unlink(stage: Stage, account_id: str, **query: str) -> requests.Response:
    return stage.backend.call("DELETE", f"/v1/accounts/{account_id}", **query)


@gives("unlinkAccount", 200, when="and revoked")
def _(stage: Stage) -> requests.Response:
    answer = unlink(stage, stage.account())
    assert answer.json() == {"status": "unlinked", "revoked_at_tiktok": True}
    return answer


@gives("unlinkAccount", 200, when="for the second time")
def _(stage: Stage) -> requests.Response:
    answer = unlink(stage, stage.unlinked_account())
    assert answer.json() == {"status": "unlinked", "revoked_at_tiktok": True}
    return answer


@gives("unlinkAccount", 200, when="and not revoked, as asked")
def _(stage: Stage) -> requests.Response:
    answer = unlink(stage, stage.account(), revoke="false")
    assert answer.json()["reason"] == "not_requested"
    return answer


@gives("unlinkAccount", 200, when="another uses the same TikTok account")
def _(stage: Stage) -> requests.Response:
    person = stage.someone()
    first, _second = (stage.link(stage.end_user(), person).account_id for _unused in "ab")
    answer = unlink(stage, first)
    assert answer.json()["reason"] == "shared_grant"
    return answer


@gives("unlinkAccount", 200, when="TikTok is down")
def _(stage: Stage) -> requests.Response:
    account_id = stage.account()
    stage.tiktok.fail("revoke", "500_before")
    answer = unlink(stage, account_id)
    assert answer.json()["revoked_at_tiktok"] == "pending"
    return answer


@gives("unlinkAccount", 200, when="there is nothing to revoke")
def _(stage: Stage) -> requests.Response:
    answer = unlink(stage, stage.rejected_account())
    assert answer.json()["revoked_at_tiktok"] == "not_needed"
    return answer


@gives("unlinkAccount", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return unlink(stage, stage.account(), revoke="perhaps")


def erase(stage: Stage, end_user_id: str, **query: str) -> requests.Response:
    return stage.backend.call("DELETE", f"/v1/end-users/{end_user_id}", **query)


@gives("eraseEndUser", 200, when="with two accounts")
def _(stage: Stage) -> requests.Response:
    end_user = stage.end_user()
    linked = [stage.link(end_user, stage.someone()).account_id for _unused in "ab"]
    answer = erase(stage, end_user)
    assert sorted(each["account_id"] for each in answer.json()["accounts"]) == sorted(linked)
    assert {each["revoked_at_tiktok"] for each in answer.json()["accounts"]} == {True}
    assert answer.json()["complete"] is True
    for account_id in linked:
        shown = stage.backend.account(account_id)
        assert (shown["status"], shown["metadata"], shown["profile"]) == ("unlinked", {}, None)
    return answer


@gives("eraseEndUser", 200, when="whom nobody knows, in a tenant")
def _(stage: Stage) -> requests.Response:
    answer = erase(stage, stage.end_user(), tenant_id="acme")
    assert (answer.json()["accounts"], answer.json()["complete"]) == ([], True)
    return answer


@gives("eraseEndUser", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return erase(stage, stage.end_user(), tenant="another")


@gives("unlinkAccount", 404, "not_found")
def _(stage: Stage) -> requests.Response:
    return unlink(stage, UNKNOWN_ACCOUNT)


def relink(stage: Stage, account_id: str, **fields: object) -> requests.Response:
    return stage.backend.call("POST", f"/v1/accounts/{account_id}/relink", fields)


@gives("relinkAccount", 201)
def _(stage: Stage) -> requests.Response:
    return relink(stage, stage.account(), scopes={"required": ["video.list"]}, switch_account=True)


@gives("relinkAccount", 201, when="without a body")
def _(stage: Stage) -> requests.Response:
    return stage.backend.call("POST", f"/v1/accounts/{stage.account()}/relink")


@gives("relinkAccount", 201, when="of an unlinked account, which becomes active")
def _(stage: Stage) -> requests.Response:
    person = stage.someone()
    account_id = stage.link(stage.end_user(), person).account_id
    stage.backend.unlink(account_id)
    assert stage.relink(account_id, person)["status"] == "completed"
    assert stage.backend.account(account_id)["status"] == "active"
    return relink(stage, account_id)


@gives("relinkAccount", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return relink(stage, stage.account(), return_url="https://elsewhere.example/")


@gives("relinkAccount", 404, "not_found")
def _(stage: Stage) -> requests.Response:
    return relink(stage, UNKNOWN_ACCOUNT)


@gives("relinkAccount", 409, "idempotency_conflict")
def _(stage: Stage) -> requests.Response:
    key = {"Idempotency-Key": stage.end_user()}
    first, second = stage.account(), stage.account()
    stage.world.api("POST", f"/v1/accounts/{first}/relink", json={}, headers=key)
    return stage.world.api("POST", f"/v1/accounts/{second}/relink", json={}, headers=key)


# ---- tokens ------------------------------------------------------------------------------------


@gives("vendToken", 200)
def _(stage: Stage) -> requests.Response:
    answer = stage.backend.vend(stage.account())
    assert (answer.json()["refreshed"], answer.json()["warning"]) == (False, None)
    return answer


@gives("vendToken", 200, when="without a body")
def _(stage: Stage) -> requests.Response:
    return stage.backend.call("POST", f"/v1/accounts/{stage.account()}/token")


@gives("vendToken", 200, when="renewed first")
def _(stage: Stage) -> requests.Response:
    answer = stage.backend.vend(stage.expired_account(), min_ttl_seconds=3600, purpose="sync")
    assert answer.json()["refreshed"] is True
    return answer


@gives("vendToken", 200, when="although the owner has to link again")
def _(stage: Stage) -> requests.Response:
    account_id = stage.account()
    stage.world.advance(minutes=2)  # a minute must pass before a rejection is believed
    stage.tiktok.fail("token", "500_after")  # the new tokens are lost with the answer
    stage.backend.vend(account_id, rejected=True)
    stage.world.advance(minutes=6)
    answer = stage.backend.vend(account_id, rejected=True)
    assert answer.json()["warning"] == "relink_required"
    return answer


@gives("vendToken", 200, when="although TikTok is down")
def _(stage: Stage) -> requests.Response:
    account_id = stage.account()
    stage.world.advance(minutes=90)
    stage.tiktok.fail("token", "429", retry_after=60)
    answer = stage.backend.vend(account_id, min_ttl_seconds=3600)
    assert answer.json()["warning"] == "provider_unavailable"
    return answer


@gives("vendToken", 200, when="although it is short")
def _(stage: Stage) -> requests.Response:
    stage.tiktok.set(access_seconds=1800)
    answer = stage.backend.vend(stage.account(), min_ttl_seconds=3600)
    assert answer.json()["warning"] == "min_ttl_not_met"
    return answer


@gives("vendToken", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return stage.backend.vend(stage.account(), min_ttl_seconds=3601)


@gives("vendToken", 403, "scope_not_granted")
def _(stage: Stage) -> requests.Response:
    account_id = stage.link_someone(off=["video.list"]).account_id
    answer = stage.backend.vend(account_id, required_scopes=["user.info.basic", "video.list"])
    assert answer.json()["missing_scopes"] == ["video.list"]
    return answer


@gives("vendToken", 404, "not_found")
def _(stage: Stage) -> requests.Response:
    return stage.backend.vend(UNKNOWN_ACCOUNT)


@gives("vendToken", 409, "relink_required")
def _(stage: Stage) -> requests.Response:
    return stage.backend.vend(stage.overdue_account())


@gives("vendToken", 409, "relink_required", when="since TikTok refused")
def _(stage: Stage) -> requests.Response:
    return stage.backend.vend(stage.rejected_account())


@gives("vendToken", 410, "account_revoked")
def _(stage: Stage) -> requests.Response:
    return stage.backend.vend(stage.revoked_account())


@gives("vendToken", 410, "account_unlinked")
def _(stage: Stage) -> requests.Response:
    return stage.backend.vend(stage.unlinked_account())


@gives("vendToken", 502, "client_credentials_invalid")
def _(stage: Stage) -> requests.Response:
    account_id = stage.expired_account(app_registration="second")
    with stage.wrong_client_secret("second"):
        return stage.backend.vend(account_id)


@gives("vendToken", 503, "provider_unavailable")
def _(stage: Stage) -> requests.Response:
    account_id = stage.expired_account()
    stage.tiktok.fail("token", "429", retry_after=60)
    return stage.backend.vend(account_id)


@gives("vendToken", 503, "refresh_backoff")
def _(stage: Stage) -> requests.Response:
    account_id = stage.expired_account()
    stage.tiktok.fail("token", "429", retry_after=60)
    stage.backend.vend(account_id)
    return stage.backend.vend(account_id)


@gives("vendToken", 503, "refresh_outcome_unknown")
def _(stage: Stage) -> requests.Response:
    account_id = stage.expired_account()
    stage.tiktok.fail("token", "drop_after_commit", times=3)
    return stage.backend.vend(account_id)


@gives("vendToken", 503, "refresh_in_progress")
def _(stage: Stage) -> requests.Response:
    return stage.backend.vend(stage.leased_account())


# ---- the browser -------------------------------------------------------------------------------


@gives("showConnectPage", 200, when="to start")
def _(stage: Stage) -> requests.Response:
    return HttpBrowser().open(stage.backend.begin(stage.end_user())["url"]).answer


@gives("showConnectPage", 400, when="in another browser, with the way to the product")
def _(stage: Stage) -> requests.Response:
    home = stage.world.endpoints["app"] + "/tiktok/return"
    _session, departure = stage.depart(HttpBrowser(), return_url=home)
    page = HttpBrowser().open(stage.callback_of(departure))
    assert "completion_code=" in page.link("Continue in Acme")
    return page.answer


@gives("finishAuthorization", 303, when="to the product, whose login decides")
def _(stage: Stage) -> requests.Response:
    browser = HttpBrowser()
    home = stage.world.endpoints["app"] + "/tiktok/return"
    _session, departure = stage.depart(browser, return_url=home, completion="app")
    answer = browser.send("GET", stage.callback_of(departure))
    assert answer.headers["Location"].startswith(home)
    return answer


@gives("showConnectPage", 200, when="with the result")
def _(stage: Stage) -> requests.Response:
    page = stage.link_someone().page
    assert "TikTok connected" in page.text
    return page.answer


@gives("showConnectPage", 400, when="in another browser than the one that started")
def _(stage: Stage) -> requests.Response:
    _session, departure = stage.depart(HttpBrowser())
    return HttpBrowser().open(stage.callback_of(departure)).answer


@gives("showConnectPage", 404)
def _(stage: Stage) -> requests.Response:
    return stage.world.get(f"/connect/{new_session_id()}")


@gives("showConnectPage", 409)
def _(stage: Stage) -> requests.Response:
    return stage.world.get(f"/connect/{stage.link_someone().session['id']}")


@gives("showConnectPage", 410, when="expired")
def _(stage: Stage) -> requests.Response:
    session = stage.backend.begin(stage.end_user(), expires_in=60)["id"]
    stage.world.advance(seconds=61)
    return stage.world.get(f"/connect/{session}")


@gives("showConnectPage", 410, when="cancelled by the team")
def _(stage: Stage) -> requests.Response:
    session = stage.backend.begin(stage.end_user())["id"]
    cancelled(stage, session)
    return stage.world.get(f"/connect/{session}")


@gives("getConnectStatus", 200)
def _(stage: Stage) -> requests.Response:
    session = stage.backend.begin(stage.end_user())["id"]
    return stage.world.get(f"/connect/{session}/status")


@gives("getConnectStatus", 200, when="asked from the product's origin")
def _(stage: Stage) -> requests.Response:
    origin = stage.world.endpoints["app"]
    begun = stage.backend.begin(stage.end_user(), return_url=f"{origin}/tiktok/return")
    answer = stage.world.get(f"/connect/{begun['id']}/status", headers={"Origin": origin})
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    return answer


@gives("getConnectStatus", 404, "not_found")
def _(stage: Stage) -> requests.Response:
    return stage.world.get(f"/connect/{new_session_id()}/status")


@gives("getConnectStatus", 200, when="cancelled by the team")
def _(stage: Stage) -> requests.Response:
    session = stage.backend.begin(stage.end_user())["id"]
    cancelled(stage, session)
    answer = stage.world.get(f"/connect/{session}/status")
    assert answer.json() == {"status": "cancelled", "reason": "cancelled_by_team"}
    return answer


@gives("getConnectScript", 200)
def _(stage: Stage) -> requests.Response:
    return stage.world.get("/connect.js")


@gives("getConnectScript", 200, when="asked for by its version")
def _(stage: Stage) -> requests.Response:
    answer = stage.world.get(f"/connect.js?v={script_version()}")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    return answer


@gives("getConnectScript", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return stage.world.get("/connect.js?v=1&v=2")


@gives("startAuthorization", 302)
def _(stage: Stage) -> requests.Response:
    return stage.depart(HttpBrowser())[1]


@gives("startAuthorization", 204)
def _(stage: Stage) -> requests.Response:
    ahead = {"Sec-Purpose": "prefetch;prerender"}
    return requests.get(stage.authorize_url(), headers=ahead, allow_redirects=False, timeout=30)


@gives("startAuthorization", 303, when="without the page's nonce")
def _(stage: Stage) -> requests.Response:
    session = stage.backend.begin(stage.end_user())["id"]
    return stage.world.get(f"/authorize?{urlencode({'n': 'guessed', 'session': session})}")


@gives("startAuthorization", 303, when="after the session has expired")
def _(stage: Stage) -> requests.Response:
    link = stage.authorize_url(expires_in=60)
    stage.world.advance(seconds=61)
    return HttpBrowser().send("GET", link)


@gives("startAuthorization", 400)
def _(stage: Stage) -> requests.Response:
    return HttpBrowser().send("GET", f"{stage.authorize_url()}&session=ls_other")


@gives("startAuthorization", 404)
def _(stage: Stage) -> requests.Response:
    return stage.world.get(f"/authorize?{urlencode({'n': 'N' * 22, 'session': new_session_id()})}")


@gives("startAuthorization", 429)
def _(stage: Stage) -> requests.Response:
    link = stage.authorize_url()
    for _unused in range(10):
        assert HttpBrowser().send("GET", link).status_code == 302
    return HttpBrowser().send("GET", link)


@gives("finishAuthorization", 303, when="to the product")
def _(stage: Stage) -> requests.Response:
    browser = HttpBrowser()
    home = stage.world.endpoints["app"] + "/tiktok/return"
    session, departure = stage.depart(browser, return_url=home)
    answer = browser.send("GET", stage.callback_of(departure))
    assert answer.headers["Location"] == f"{home}?link_session={session}"
    return answer


@gives("finishAuthorization", 303, when="to the result page")
def _(stage: Stage) -> requests.Response:
    browser = HttpBrowser()
    session, departure = stage.depart(browser)
    answer = browser.send("GET", stage.callback_of(departure))
    assert answer.headers["Location"] == f"/connect/{session}"
    return answer


@gives("finishAuthorization", 204)
def _(stage: Stage) -> requests.Response:
    browser = HttpBrowser()
    _session, departure = stage.depart(browser)
    return requests.get(
        stage.callback_of(departure),
        headers={"Sec-Purpose": "prefetch"},
        allow_redirects=False,
        timeout=30,
    )


@gives("finishAuthorization", 400)
def _(stage: Stage) -> requests.Response:
    return stage.world.get("/callback?code=abc&state=unknown")


# ---- TikTok itself -----------------------------------------------------------------------------


@gives("receiveTikTokWebhook", 200, when="of a removal")
def _(stage: Stage) -> requests.Response:
    open_id = stage.backend.account(stage.account())["open_id"]
    return stage.webhook("authorization.removed", user_openid=open_id, content='{"reason": 1}')


@gives("receiveTikTokWebhook", 200, when="of something else")
def _(stage: Stage) -> requests.Response:
    return stage.webhook("video.publish.completed", content="{}")


@gives("receiveTikTokWebhook", 400, "invalid_request")
def _(stage: Stage) -> requests.Response:
    return stage.webhook("video.publish.completed", content="x" * 65_536)


@gives("receiveTikTokWebhook", 401, when="without a signature")
def _(stage: Stage) -> requests.Response:
    url = stage.world.endpoints["gateway"] + "/webhooks/tiktok"
    return requests.post(url, json={}, timeout=30)


@gives("receiveTikTokWebhook", 401, when="signed by somebody else")
def _(stage: Stage) -> requests.Response:
    return stage.webhook("authorization.removed", secret="guessed", user_openid="x")


@gives("getVerificationFile", 200)
def _(stage: Stage) -> requests.Response:
    answer = stage.world.get("/tiktoklocal.txt")
    assert answer.text == "tiktok-developers-site-verification=local"
    return answer


@gives("getVerificationFile", 404, "not_found")
def _(stage: Stage) -> requests.Response:
    return stage.world.get("/favicon.ico")


# ---- defects: a record that nobody can read ----------------------------------------------------


@gives("getLinkSession", 500, "internal")
def _(stage: Stage) -> requests.Response:
    return shown(stage, stage.broken_session()[0])


@gives("getAccount", 500, "internal")
def _(stage: Stage) -> requests.Response:
    return account(stage, stage.broken_account())


@gives("vendToken", 500, "internal")
def _(stage: Stage) -> requests.Response:
    return stage.backend.vend(stage.broken_account())


@gives("unlinkAccount", 500, "internal")
def _(stage: Stage) -> requests.Response:
    return unlink(stage, stage.broken_account())


@gives("receiveTikTokWebhook", 500, "internal")
def _(stage: Stage) -> requests.Response:
    open_id = stage.backend.account(stage.uncountable_account())["open_id"]
    stage.world.advance(minutes=11)
    return stage.webhook("authorization.removed", user_openid=open_id, content='{"reason": 1}')


@gives("showConnectPage", 500)
def _(stage: Stage) -> requests.Response:
    return stage.world.get(f"/connect/{stage.broken_session()[0]}")


@gives("getConnectStatus", 500, "internal")
def _(stage: Stage) -> requests.Response:
    return stage.world.get(f"/connect/{stage.broken_session()[0]}/status")


@gives("finishAuthorization", 500)
def _(stage: Stage) -> requests.Response:
    return HttpBrowser().send("GET", stage.broken_session()[1])


# ---- the tests ---------------------------------------------------------------------------------


def read(operation: Operation, response: requests.Response) -> Answer:
    """Which answer this is, by what came over the wire."""
    media_type = response.headers["Content-Type"].split(";")[0] if response.content else ""
    code = response.json()["code"] if media_type == PROBLEM else ""
    return Answer(operation.id, response.status_code, media_type, code)


@pytest.mark.parametrize("producer", PRODUCERS, ids=str)
def test_a_documented_answer_is_given(producer: Producer, stage: Stage) -> None:
    operation = document().operations[producer.operation]

    response = producer.produce(stage)

    request = response.request
    assert operation.takes(str(request.method), str(request.url)), f"{request.method} {request.url}"
    answer = read(operation, response)
    assert str(answer) == producer.answer, response.text[:1000]
    assert document().errors(answer, response.headers, response.text) == []
    assert not response.content or response.headers["Content-Type"] in CONTENT_TYPES
    if answer.media_type == PROBLEM:
        assert_problem(response)


def assert_problem(response: requests.Response) -> None:
    """What a schema cannot say of a problem: it agrees with the rest of the answer."""
    problem = response.json()
    (kind,) = (k for k in every_error() if k.code == problem["code"])
    assert problem["status"] == response.status_code
    assert problem["title"] == kind.title
    assert problem["action_by"] == kind.action_by
    assert response.headers.get("Retry-After") == (
        str(problem["retry_after"]) if "retry_after" in problem else None
    )


def test_every_documented_answer_has_a_producer_and_none_is_invented() -> None:
    ours = [answer for answer in document().answers() if not answer.is_made_by_api_gateway]
    documented = {str(answer) for answer in ours if answer.status != SHOWN_ONCE_A_FUNCTION}
    defects = {str(answer) for answer in ours} - documented

    produced = {producer.answer for producer in PRODUCERS}

    assert produced - defects == documented


def test_every_function_has_shown_what_it_answers_to_a_defect() -> None:
    function_of = {route.key: route.function for route in routes()}
    operations = document().operations.values()

    shown = {
        function_of[document().operations[producer.operation].route_key]
        for producer in PRODUCERS
        if producer.status == SHOWN_ONCE_A_FUNCTION
    }

    assert shown == {function_of[operation.route_key] for operation in operations}


SIGNED = [operation for operation in document().operations.values() if not operation.is_public]


@pytest.mark.parametrize("operation", SIGNED, ids=lambda operation: operation.id)
def test_a_request_without_a_signature_is_forbidden(operation: Operation, stage: Stage) -> None:
    path = operation.path.replace("{id}", stage.account())

    response = requests.request(
        operation.method, stage.world.endpoints["gateway"] + path, json={}, timeout=30
    )

    answer = read(operation, response)
    assert answer == Answer(operation.id, 403, "application/json")
    assert answer.is_made_by_api_gateway
    assert document().errors(answer, response.headers, response.text) == []
    assert response.json() == {"message": "Forbidden"}


def test_what_api_gateway_answers_is_documented_for_every_operation() -> None:
    expected = {
        (operation.id, status)
        for operation in document().operations.values()
        for status in MADE_BY_API_GATEWAY
        if not (status == 403 and operation.is_public)
    }

    documented = {
        (answer.operation, answer.status)
        for answer in document().answers()
        if answer.is_made_by_api_gateway
    }

    assert documented == expected
