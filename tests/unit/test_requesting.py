"""What a team may ask of a session, held against what the stack allows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.fakes import samples
from tests.fakes.clock import NOON
from tiktok_linking.callers import Caller, Tenant
from tiktok_linking.errors import InvalidRequest
from tiktok_linking.requesting import Stack, new_session, relink_session
from tiktok_linking.sessions import Completion, SessionRequest, SessionStatus

STACK = Stack(
    registrations=("default", "sandbox"),
    scopes_required=("user.info.basic",),
    scopes_optional=("user.info.profile", "video.list"),
    return_origins=("https://app.example.com",),
)
WANTED = SessionRequest(
    end_user_id="u_42",
    end_user_label=None,
    tenant_id=None,
    app_registration=None,
    scopes_required=None,
    scopes_optional=None,
    return_url=None,
    completion=None,
    expires_in=timedelta(minutes=30),
    locale=None,
    metadata={},
    switch_account=False,
)


def test_a_session_takes_the_stacks_defaults() -> None:
    session = new_session(WANTED, caller=samples.BACKEND, stack=STACK, now=NOON)

    assert session.status is SessionStatus.PENDING
    assert session.app_registration == "default"
    assert session.scopes == ("user.info.basic", "user.info.profile", "video.list")
    assert (session.created_at, session.expires_at) == (NOON, NOON + timedelta(minutes=30))


def test_ids_and_nonces_are_random_and_long() -> None:
    made = [new_session(WANTED, caller=samples.BACKEND, stack=STACK, now=NOON) for _ in range(200)]

    assert len({session.id for session in made}) == 200
    assert len({session.page_nonce for session in made}) == 200
    assert all(len(session.id) == 46 and len(session.page_nonce) >= 22 for session in made)


def test_the_bearer_id_is_not_in_a_sessions_text() -> None:
    session = new_session(WANTED, caller=samples.BACKEND, stack=STACK, now=NOON)

    assert session.id not in repr(session)
    assert session.page_nonce not in repr(session)


@pytest.mark.parametrize("registration", ["production", "Default", "default "])
def test_a_registration_that_the_stack_has_not_got_is_refused(registration: str) -> None:
    with pytest.raises(InvalidRequest, match="default, sandbox"):
        new_session(
            replace(WANTED, app_registration=registration),
            caller=samples.BACKEND,
            stack=STACK,
            now=NOON,
        )


def test_a_return_url_beyond_the_list_is_refused() -> None:
    wanted = replace(WANTED, return_url="https://app.example.com.evil.example/")

    with pytest.raises(InvalidRequest, match="return_url"):
        new_session(wanted, caller=samples.BACKEND, stack=STACK, now=NOON)


def scopes(required: tuple[str, ...], optional: tuple[str, ...]) -> SessionRequest:
    return replace(WANTED, scopes_required=required, scopes_optional=optional)


def test_a_session_may_ask_for_less_and_for_more_of_it_than_the_stack_requires() -> None:
    session = new_session(
        scopes(("video.list",), ()), caller=samples.BACKEND, stack=STACK, now=NOON
    )

    assert session.scopes_required == ("user.info.basic", "video.list")
    assert session.scopes_optional == ()


def test_the_basic_scope_is_always_required_and_named_once() -> None:
    session = new_session(
        scopes((), ("user.info.basic", "video.list")), caller=samples.BACKEND, stack=STACK, now=NOON
    )

    assert session.scopes_required == ("user.info.basic",)
    assert session.scopes_optional == ("video.list",)


def test_a_scope_beyond_the_stacks_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match=r"video\.publish"):
        new_session(scopes(("video.publish",), ()), caller=samples.BACKEND, stack=STACK, now=NOON)


def test_a_relink_is_bound_to_its_account() -> None:
    account = replace(
        samples.account(tenant_id="t_1", metadata={"plan": "pro"}), registration="sandbox"
    )
    wanted = replace(WANTED, end_user_id="", app_registration="default")

    session = relink_session(wanted, account, caller=samples.BACKEND, stack=STACK, now=NOON)

    assert session.relink_account_id == account.id
    assert session.end_user_id == account.end_user_id
    assert (session.app_registration, session.tenant_id) == ("sandbox", "t_1")
    assert session.metadata == {"plan": "pro"}
    assert session.end_user_label == account.end_user_label


def test_a_relink_may_name_its_person_anew() -> None:
    wanted = replace(WANTED, end_user_label="Ada L.")

    session = relink_session(
        wanted, samples.account(), caller=samples.BACKEND, stack=STACK, now=NOON
    )

    assert session.end_user_label == "Ada L."


def test_a_relink_of_a_registration_that_is_gone_is_refused() -> None:
    account = replace(samples.account(), registration="gone")

    with pytest.raises(InvalidRequest):
        relink_session(WANTED, account, caller=samples.BACKEND, stack=STACK, now=NOON)


HOME = "https://app.example.com/back"


@pytest.mark.parametrize("wished", [None, *Completion])
def test_a_stack_that_lets_the_browser_complete_takes_either(wished: Completion | None) -> None:
    wanted = replace(WANTED, completion=wished, return_url=HOME)

    made = new_session(wanted, caller=samples.BACKEND, stack=STACK, now=NOON)

    assert made.completion is (wished or Completion.BROWSER)


def test_a_stack_whose_app_completes_takes_nothing_else() -> None:
    strict = replace(STACK, completion=Completion.APP)
    wanted = replace(WANTED, return_url=HOME)

    assert (
        new_session(wanted, caller=samples.BACKEND, stack=strict, now=NOON).completion
        is Completion.APP
    )
    with pytest.raises(InvalidRequest, match="completion is app"):
        new_session(
            replace(wanted, completion=Completion.BROWSER),
            caller=samples.BACKEND,
            stack=strict,
            now=NOON,
        )


@pytest.mark.parametrize("stack", [STACK, replace(STACK, completion=Completion.APP)])
def test_completion_by_the_app_needs_somewhere_to_bring_the_code(stack: Stack) -> None:
    with pytest.raises(InvalidRequest, match="needs a return_url"):
        new_session(
            replace(WANTED, completion=Completion.APP),
            caller=samples.BACKEND,
            stack=stack,
            now=NOON,
        )


def test_a_relink_is_completed_as_any_session() -> None:
    strict = replace(STACK, completion=Completion.APP)
    wanted = replace(WANTED, return_url=HOME)

    made = relink_session(wanted, samples.account(), caller=samples.BACKEND, stack=strict, now=NOON)

    assert made.completion is Completion.APP
    with pytest.raises(InvalidRequest, match="needs a return_url"):
        relink_session(WANTED, samples.account(), caller=samples.BACKEND, stack=strict, now=NOON)


# -- a caller that is held to a tenant ----------------------------------------------------------


@pytest.mark.parametrize("asked", [None, "acme", "another"])
def test_a_mapped_callers_session_is_its_tenants(asked: str | None) -> None:
    caller = Caller("backend-of-acme", Tenant("acme"))

    made = new_session(replace(WANTED, tenant_id=asked), caller=caller, stack=STACK, now=NOON)

    assert (made.tenant_id, made.app_registration) == ("acme", "default")


def test_a_caller_with_registrations_of_its_own_gets_no_other() -> None:
    caller = Caller("backend-of-acme", Tenant("acme", ("sandbox",)))

    assert new_session(WANTED, caller=caller, stack=STACK, now=NOON).app_registration == "sandbox"
    for refused in ("default", "unknown"):
        wanted = replace(WANTED, app_registration=refused)
        with pytest.raises(InvalidRequest) as refusal:
            new_session(wanted, caller=caller, stack=STACK, now=NOON)
        assert refusal.value.detail == "app_registration is not one of: sandbox"
