"""Callers that are mapped to tenants: what each reaches, and what it can tell of the others.

Every route with an id is tried by each of two tenants on what the other has. Foreign and missing
must be one and the same: the answer to the byte, and the calls behind it one by one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import samples
from tests.fakes.aws import template
from tests.fakes.loopback import Answer
from tests.functions.conftest import sessions
from tests.functions.stack import (
    COOKIE,
    STATE_SECRET,
    RunningStack,
    body_of,
    changed,
    event,
    running_stack,
)
from tiktok_linking import bootstrap
from tiktok_linking.accounts import Account, RevokedReason, Secret
from tiktok_linking.ports import AuthorisedPair
from tiktok_linking.sessions import (
    ATTEMPT_LIFETIME,
    PARKED_FOR,
    Attempt,
    Completion,
    LinkSession,
    ParkedCode,
    SessionStatus,
    State,
    completion_code,
    new_session_id,
    secret_hash,
    session_key,
)

ROLE_OF = {
    "one": "backend-of-one",
    "two": "backend-of-two",
    "three": "backend-of-three",
    None: "example-backend",
}
TENANTS = "backend-of-one=one,backend-of-two=two,backend-of-three=three:second"
ON_A_SESSION = ["sessions-show", "sessions-cancel", "callback-complete"]
ON_AN_ACCOUNT = [
    "accounts-show",
    "accounts-change",
    "accounts-events",
    "tokens-vend",
    "sessions-relink",
    "unlink-account",
]
LISTS_AND_MAKES = {
    "GET /v1/accounts",
    "GET /v1/forecast/relinks",
    "POST /v1/link-sessions",
    "DELETE /v1/end-users/{end_user_id}",
}
BOTH_WAYS = [("one", "two"), ("two", "one"), ("one", None), ("three", "one")]


@pytest.fixture(scope="module")
def shared_stack() -> Iterator[RunningStack]:
    """A stack with mapped callers and two app registrations."""
    registrations = "default=awdefault,second=awsecond"
    with running_stack(CallerTenants=TENANTS, AppRegistrations=registrations) as stack:
        bootstrap._session().register("before-call", _note)  # before any client is made
        yield stack
        bootstrap._session().unregister("before-call", _note)


@pytest.fixture
def stack(shared_stack: RunningStack, tmp_path: Path) -> RunningStack:
    """The same, with nobody linked in it."""
    shared_stack.reset(tmp_path)
    return shared_stack


def ask(stack: RunningStack, name: str, tenant: str | None, **changes: Any) -> dict[str, Any]:
    arn = f"arn:aws:sts::123456789012:assumed-role/{ROLE_OF[tenant]}/session"
    caller = {"authorizer": {"iam": {"userArn": arn}}}
    made = changed(name, requestContext=caller, **changes)
    answer: dict[str, Any] = stack.invoke(name.partition("-")[0], made)
    return answer


def on(stack: RunningStack, name: str, tenant: str | None, thing: str) -> dict[str, Any]:
    """Ask for one thing by its id, with an Idempotency-Key of its own."""
    body = {}
    if name == "callback-complete":
        said = {"completion_code": code_for(thing), "end_user_id": "u_42"}
        body = {"body": json.dumps(said)}
    headers = {"headers": {"idempotency-key": f"for-{thing}"[:255]}}
    return ask(stack, name, tenant, pathParameters={"id": thing}, **body, **headers)


def link(
    stack: RunningStack, tenant: str | None, registration: str = "default", user: str = "u_42"
) -> Account:
    """An account of this tenant's; all of them share one TikTok account and so one grant."""
    stack.become("callback")
    stack.clock.advance(seconds=1)
    now = bootstrap.now()
    sealing = bootstrap.sealing()
    sealing.prepare("access", "refresh", now=now)
    answer = samples.answer(issued_at=now)
    pair = sealing.seal_pair(answer, registration=registration, now=now)
    made = AuthorisedPair(registration, answer.open_id, now, b"write-id", pair, None)
    bootstrap.accounts().save_authorised(made, due_at=None, only_existing=False)
    row = samples.account(
        tenant_id=tenant, registration=registration, end_user_id=user, at=now, label=None
    )
    return bootstrap.accounts().save_account_and_show(row)


def waiting(stack: RunningStack, tenant: str | None) -> str:
    """A session of this tenant's whose browser came back, so that every route has work to do."""
    stack.become("callback")
    stack.clock.advance(seconds=1)
    now = bootstrap.now()
    made = samples.link_session(tenant_id=tenant, completion=Completion.APP, optional=(), at=now)
    state = State(session_key(made.id), Secret(STATE_SECRET))
    attempt = Attempt(
        cookie_hash=secret_hash(COOKIE),
        redirect_uri="https://link.example.com/callback",
        expires_at=now + ATTEMPT_LIFETIME,
    )
    bootstrap.sealing().prepare("parked_code", now=now)
    parked = ParkedCode(
        sealed=bootstrap.sealing().seal_code(Secret("TheCode"), state, now=now),
        completion_hash=secret_hash(code_for(made.id)),
        attempt_key=state.attempt_key,
        until=now + PARKED_FOR,
    )
    sessions = bootstrap.sessions()
    sessions.create(made, idempotency=None)
    sessions.start(made.id, made.page_nonce, state.attempt_key, attempt, now=now)
    assert sessions.park(state, parked, cookie_hash=None, now=now)
    return made.id


def code_for(session_id: str) -> str:
    return completion_code(Secret(COOKIE), session_key(session_id)).reveal()


CALLS: list[str] = []


def _note(model: Any, **_: Any) -> None:
    CALLS.append(model.name)


@contextmanager
def counted() -> Iterator[list[str]]:
    """Every call to AWS from here on, by name."""
    CALLS.clear()
    yield CALLS


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a caller can tell an answer by."""

    answer: dict[str, Any]
    calls: list[str]


def seen(stack: RunningStack, name: str, tenant: str | None, thing: str) -> Seen:
    with counted() as calls:
        answer = on(stack, name, tenant, thing)
    return Seen(answer, list(calls))


def tiktok_answers(stack: RunningStack) -> None:
    """A pair where one is asked for, a moment after the last one; the profile fails."""
    stack.clock.advance(seconds=1)
    stack.tiktok.script.clear()
    stack.tiktok.script.extend([Answer(stack.pair(open_id=samples.OPEN_ID)), Answer({}, 500)])


def missing_of(name: str) -> list[str]:
    """Ids that nobody has: in a partition where others are, and in one that is not there."""
    if name in ON_A_SESSION:
        return [new_session_id()]
    return [samples.account(end_user_id="u_never").id, "acct_" + "a" * 48]


def thing_of(stack: RunningStack, name: str, tenant: str | None) -> str:
    return waiting(stack, tenant) if name in ON_A_SESSION else link(stack, tenant).id


def test_these_are_all_routes_with_an_id() -> None:
    """A route that is added to the template is tried here, or this fails."""
    signed = set()
    for resource in template()["Resources"].values():
        for source in resource.get("Properties", {}).get("Events", {}).values():
            given = source["Properties"]
            if source["Type"] == "HttpApi" and given["Path"].startswith("/v1/"):
                signed.add(f"{given['Method']} {given['Path']}")

    tried = {event(name)["routeKey"] for name in ON_A_SESSION + ON_AN_ACCOUNT}

    assert signed == tried | LISTS_AND_MAKES


@pytest.mark.parametrize("name", ON_A_SESSION + ON_AN_ACCOUNT)
def test_what_is_anothers_cannot_be_told_from_what_is_not_there(
    stack: RunningStack, name: str
) -> None:
    things = {tenant: thing_of(stack, name, tenant) for tenant in ("one", "two", None)}
    before = stack.items()

    for caller, owner in BOTH_WAYS:
        foreign = seen(stack, name, caller, things[owner])
        for thing in missing_of(name):
            assert foreign == seen(stack, name, caller, thing), (caller, owner)
        assert foreign.answer["statusCode"] == 404
        assert len(foreign.calls) == 1
    assert stack.items() == before
    assert stack.tiktok.received == []

    # Each reaches its own, and who is mapped to nobody reaches what is left.
    for tenant, thing in things.items():
        tiktok_answers(stack)
        answer = on(stack, name, tenant, thing)
        assert answer["statusCode"] in (200, 201), (tenant, answer["body"])


@pytest.mark.parametrize("name", ON_AN_ACCOUNT)
def test_the_state_of_anothers_account_does_not_show_either(stack: RunningStack, name: str) -> None:
    foreign = link(stack, "two")
    live = seen(stack, name, "one", foreign.id)
    assert live.answer["statusCode"] == 404
    stack.clock.advance(hours=1)
    now = stack.clock.now

    bootstrap.accounts().mark_unlinked(foreign, now=now)
    assert seen(stack, name, "one", foreign.id) == live
    bootstrap.accounts().mark_revoked(
        foreign.grant_id, RevokedReason.REVOKED_BY_USER, authorised_before=now, now=now
    )
    assert seen(stack, name, "one", foreign.id) == live


@pytest.mark.parametrize(
    ("name", "owner"),
    [("sessions-show", "one"), ("callback-complete", "two"), ("unlink-account", "one")],
)
def test_who_is_mapped_to_nobody_reaches_every_tenants(
    stack: RunningStack, name: str, owner: str
) -> None:
    thing = thing_of(stack, name, owner)
    tiktok_answers(stack)

    assert on(stack, name, None, thing)["statusCode"] == 200


def test_a_foreign_session_is_not_ended_by_a_wrong_user(stack: RunningStack) -> None:
    """What a wrong user does to a session of the same tenant: it fails, its code is gone."""
    thing = waiting(stack, "two")

    assert on(stack, "callback-complete", "one", thing)["statusCode"] == 404

    stack.become("sessions")
    found = sessions().read(thing)
    assert found is not None
    assert found.status is SessionStatus.AWAITING_COMPLETION
    assert found.parked is not None


# -- making and listing -------------------------------------------------------------------------


def create(stack: RunningStack, tenant: str | None, **body: Any) -> dict[str, Any]:
    said = json.dumps({"end_user_id": "u_42"} | body)
    key = {"idempotency-key": secrets.token_hex(8)}
    return ask(stack, "sessions-create", tenant, body=said, headers=key)


def made_by(stack: RunningStack, tenant: str | None, **body: Any) -> LinkSession:
    answer = create(stack, tenant, **body)
    assert answer["statusCode"] == 201, answer["body"]
    found = sessions().read(body_of(answer)["id"])
    assert found is not None
    return found


def test_a_session_is_its_makers_tenants_whatever_the_request_says(stack: RunningStack) -> None:
    assert made_by(stack, "one").tenant_id == "one"
    assert made_by(stack, "one", tenant_id="one").tenant_id == "one"
    assert made_by(stack, "one", tenant_id="two").tenant_id == "one"
    assert made_by(stack, None, tenant_id="two").tenant_id == "two"
    assert made_by(stack, None).tenant_id is None


def test_no_header_and_no_query_names_a_tenant(stack: RunningStack) -> None:
    forged = {
        "x-tenant-id": "two",
        "tenant-id": "two",
        "x-amzn-iam-user-arn": "arn:aws:sts::123456789012:assumed-role/backend-of-two/s",
        "x-amz-security-token": "backend-of-two",
    }
    body = json.dumps({"end_user_id": "u_42"})

    made = ask(stack, "sessions-create", "one", body=body, headers=forged)
    found = sessions().read(body_of(made)["id"])
    refused = ask(stack, "sessions-create", "one", rawQueryString="tenant_id=two")

    assert found is not None
    assert found.tenant_id == "one"
    assert refused["statusCode"] == 400


def test_a_list_is_of_the_callers_tenant_whatever_it_asks_for(stack: RunningStack) -> None:
    own, foreign, nobodys = (link(stack, tenant) for tenant in ("one", "two", None))

    def listed(tenant: str | None, query: str) -> list[str]:
        answer = ask(stack, "accounts-list", tenant, rawQueryString=query)
        return [item["id"] for item in body_of(answer)["items"]]

    for query in ("", "tenant_id=one", "tenant_id=two", "end_user_id=u_42&tenant_id=two"):
        assert listed("one", query) == [own.id]
        assert listed("two", query) == [foreign.id]
    assert listed(None, "") == [nobodys.id]
    assert listed(None, "tenant_id=two") == [foreign.id]


def test_erasing_an_end_user_ends_the_callers_tenants_links_alone(stack: RunningStack) -> None:
    """The same end user id in another tenant is another person."""
    own, foreign, nobodys = (link(stack, tenant) for tenant in ("one", "two", None))

    def erased(tenant: str | None, query: str) -> list[tuple[str, str]]:
        answer = body_of(ask(stack, "unlink-end-user", tenant, rawQueryString=query))
        return [(each["account_id"], each["reason"]) for each in answer["accounts"]]

    for query in ("tenant_id=two", "", "tenant_id=one"):
        assert erased("one", query) == [(own.id, "policy")]
    for other in (foreign, nobodys):
        found = bootstrap.accounts().read_account(other.id)
        assert found is not None
        assert found[1].unlinked_at is None
    assert erased("three", "tenant_id=two") == [], "held to a registration, too"
    assert erased(None, "tenant_id=two") == [(foreign.id, "shared_grant")]


def test_a_cursor_serves_nobody_but_the_tenant_that_got_it(stack: RunningStack) -> None:
    for tenant in ("one", "two", None):
        for user in ("u_1", "u_2", "u_3"):
            link(stack, tenant, user=user)

    def page(tenant: str | None, query: str) -> dict[str, Any]:
        return ask(stack, "accounts-list", tenant, rawQueryString=query)

    cursors = {
        tenant: body_of(page(tenant, "limit=1"))["next_cursor"] for tenant in ("one", "two", None)
    }
    assert len(set(cursors.values())) == 3

    for tenant in cursors:
        for giver, cursor in cursors.items():
            answer = page(tenant, f"limit=1&cursor={cursor}")
            assert answer["statusCode"] == (200 if giver == tenant else 400), (tenant, giver)
        altered = page(tenant, f"limit=1&end_user_id=u_1&cursor={cursors[tenant]}")
        assert altered["statusCode"] == 400


def test_an_idempotency_key_belongs_to_the_tenant_too(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role that is mapped to another tenant must not be handed the first one's session."""
    first = body_of(ask(stack, "sessions-create", "one"))
    assert body_of(ask(stack, "sessions-create", "one")) == first

    monkeypatch.setenv("CALLER_TENANTS", "backend-of-one=two")
    bootstrap.settings.cache_clear()

    second = body_of(ask(stack, "sessions-create", "one"))
    assert second["id"] != first["id"]


# -- registrations ------------------------------------------------------------------------------


def test_a_tenant_with_a_registration_of_its_own_reaches_no_other(stack: RunningStack) -> None:
    own, elsewhere = link(stack, "three", "second"), link(stack, "three", "default")

    assert made_by(stack, "three").app_registration == "second"
    refused = create(stack, "three", app_registration="default")
    assert (refused["statusCode"], body_of(refused)["detail"]) == (
        400,
        "app_registration is not one of: second",
    )
    listed = body_of(ask(stack, "accounts-list", "three", rawQueryString=""))
    assert [item["id"] for item in listed["items"]] == [own.id]
    for name in ("accounts-show", "tokens-vend"):
        assert on(stack, name, "three", own.id)["statusCode"] == 200
        assert on(stack, name, "three", elsewhere.id)["statusCode"] == 404


def test_a_session_of_another_registration_is_not_there(stack: RunningStack) -> None:
    thing = waiting(stack, "three")  # by an unmapped caller, through the default registration
    before = stack.items()

    for name in ON_A_SESSION:
        assert on(stack, name, "three", thing)["statusCode"] == 404

    assert stack.items() == before


# -- unlinking ----------------------------------------------------------------------------------


def test_a_shared_grant_is_policy_to_a_mapped_caller_and_told_to_the_others(
    stack: RunningStack,
) -> None:
    own, nobodys, foreign = link(stack, "one"), link(stack, None), link(stack, "two")
    stack.clock.advance(minutes=5)

    kept = {"status": "unlinked", "revoked_at_tiktok": False}
    assert body_of(on(stack, "unlink-account", "one", own.id)) == kept | {"reason": "policy"}
    assert body_of(on(stack, "unlink-account", "one", own.id)) == kept | {"reason": "policy"}
    assert body_of(on(stack, "unlink-account", None, nobodys.id)) == kept | {
        "reason": "shared_grant"
    }
    assert stack.tiktok.received == []

    stack.tiktok.script.append(Answer(b""))
    last = body_of(on(stack, "unlink-account", "two", foreign.id))
    assert last == {"status": "unlinked", "revoked_at_tiktok": True}


# -- who cannot be placed -----------------------------------------------------------------------


SIGNED = sorted(["sessions-create", "accounts-list", *ON_A_SESSION, *ON_AN_ACCOUNT])


def test_who_cannot_be_placed_reaches_nothing(stack: RunningStack) -> None:
    arns = [
        "arn:aws:sts::123456789012:federated-user/backend-of-one",
        "arn:aws:sts::123456789012:assumed-role/Backend-Of-One/session",
        "arn:aws:sts::123456789012:assumed-role/path/backend-of-one/session",
        "arn:aws:iam::123456789012:root",
    ]

    with counted() as calls:
        for name in SIGNED:
            for arn in arns:
                made = changed(name, requestContext={"authorizer": {"iam": {"userArn": arn}}})
                answer = stack.invoke(name.partition("-")[0], made)
                assert (answer["statusCode"], body_of(answer)) == (403, {"message": "Forbidden"})

    assert calls == []


def test_a_map_that_is_not_understood_serves_nobody(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted() as calls:
        for name in SIGNED:
            for value in ("", "backend-of-one", "a=b,c", "*=one"):
                stack.become(name.partition("-")[0])
                monkeypatch.setenv("CALLER_TENANTS", value)
                bootstrap.settings.cache_clear()
                for tenant in ("one", None):
                    answer = ask(stack, name, tenant)
                    assert (answer["statusCode"], body_of(answer)["code"]) == (500, "internal")

    assert calls == []
