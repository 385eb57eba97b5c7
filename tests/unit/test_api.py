"""JSON endpoints: one table of statuses, problems without secrets, and nothing that escapes."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.fakes import samples
from tests.fakes.clock import NOON
from tests.unit.stage import Stage
from tiktok_linking.accounts import RefreshMode, RelinkReason, RevokedReason, Status, instant
from tiktok_linking.callers import Caller, caller_of
from tiktok_linking.directory import Listed
from tiktok_linking.errors import (
    ActionBy,
    InvalidRequest,
    LinkingError,
    RefreshBackoff,
    RelinkRequired,
    ScopeNotGranted,
    StoreUnavailable,
)
from tiktok_linking.sessions import SessionReason, SessionStatus
from tiktok_linking.web.api import (
    HEADERS,
    STATUS_BY_CODE,
    account_body,
    answer,
    problem,
    serve,
    session_body,
)
from tiktok_linking.web.http import Request, Response

ARN = "arn:aws:sts::123456789012:assumed-role/example-backend/session-1"
ROUTE = "GET /v1/accounts"


def event(**changes: Any) -> dict[str, Any]:
    return {
        "routeKey": ROUTE,
        "requestContext": {"authorizer": {"iam": {"userArn": ARN}}},
    } | changes


def subclasses(of: type[LinkingError]) -> set[type[LinkingError]]:
    found = {of}
    for child in of.__subclasses__():
        found |= subclasses(child)
    return found


def body_of(response: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(response["body"]))


# -- the table of statuses ----------------------------------------------------------------------

CONTRACT = {
    "relink_required": 409,
    "account_revoked": 410,
    "account_unlinked": 410,
    "scope_not_granted": 403,
    "provider_unavailable": 503,
    "refresh_outcome_unknown": 503,
    "refresh_in_progress": 503,
    "refresh_backoff": 503,
    "link_session_expired": 410,
    "link_session_used": 409,
    "link_session_cancelled": 410,
    "state_mismatch": 400,
    "browser_mismatch": 400,
    "user_mismatch": 409,
    "account_mismatch": 409,
    "scope_not_approved": 502,
    "client_credentials_invalid": 502,
    "idempotency_conflict": 409,
    "invalid_request": 400,
    "not_found": 404,
    "rate_limited": 429,
}


def test_the_table_of_statuses_covers_every_error_and_no_other() -> None:
    codes = {error.code for error in subclasses(LinkingError)}

    assert codes == set(STATUS_BY_CODE)


def test_the_statuses_are_those_of_the_contract() -> None:
    assert STATUS_BY_CODE == CONTRACT | {"internal": 500}


def test_no_two_errors_share_a_code() -> None:
    errors = subclasses(LinkingError)

    assert len({error.code for error in errors}) == len(errors)


ERRORS = {error.code: error for error in subclasses(LinkingError)}


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_error_says_who_must_act_and_what_it_is_in_its_own_words(code: str) -> None:
    response = problem(ERRORS[code](), "request-1")
    body = body_of(response.as_event())

    assert response.status == body["status"] == STATUS_BY_CODE[code]
    assert body["code"] == code
    assert body["action_by"] in {actor.value for actor in ActionBy}
    assert body["title"]
    assert body["request_id"] == "request-1"
    assert response.headers["Content-Type"] == "application/problem+json; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"


# -- problems -----------------------------------------------------------------------------------


def test_waiting_is_told_in_body_and_header() -> None:
    response = problem(RefreshBackoff(retry_after=31), "r")

    assert response.headers["Retry-After"] == "31"
    assert body_of(response.as_event())["retry_after"] == 31


def test_where_waiting_does_not_help_nothing_is_said_of_it() -> None:
    response = problem(RelinkRequired(reason="rotation_lost"), "r")

    assert "Retry-After" not in response.headers
    assert "retry_after" not in body_of(response.as_event())


def test_facts_that_are_known_are_told() -> None:
    body = body_of(problem(ScopeNotGranted(missing_scopes=["video.list"]), "r").as_event())
    unknown = body_of(problem(RelinkRequired(reason=None), "r").as_event())

    assert body["missing_scopes"] == ["video.list"]
    assert "reason" not in unknown
    assert "detail" not in unknown


# -- the frame ----------------------------------------------------------------------------------


def unmapped(arn: str) -> Caller | None:
    return caller_of(arn, {})


def served(endpoint: Any, **changes: Any) -> dict[str, Any]:
    return serve({ROUTE: endpoint}, event(**changes), "request-1", caller_of=unmapped)


def raising(error: Exception) -> Any:
    def endpoint(request: Request, caller: Caller) -> Response:
        raise error

    return endpoint


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"authorizer": {}},
        {"authorizer": {"iam": {"userArn": ""}}},
        {"authorizer": {"lambda": {"userArn": ARN}}},
    ],
)
def test_without_the_authorizers_word_nothing_is_served(context: dict[str, Any]) -> None:
    def endpoint(request: Request, caller: Caller) -> Response:
        pytest.fail("an unsigned request must reach no endpoint")

    response = served(endpoint, requestContext=context)

    assert response["statusCode"] == 403
    assert body_of(response) == {"message": "Forbidden"}


def test_an_unsigned_request_learns_nothing_of_routes() -> None:
    response = serve({}, event(requestContext={}), "r", caller_of=unmapped)

    assert response["statusCode"] == 403


def test_the_endpoint_hears_who_calls() -> None:
    seen: list[Caller] = []

    def endpoint(request: Request, caller: Caller) -> Response:
        seen.append(caller)
        return answer({"ok": True})

    assert body_of(served(endpoint)) == {"ok": True}
    assert seen == [Caller("example-backend")]


def test_a_caller_whom_the_stack_cannot_place_reaches_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def endpoint(request: Request, caller: Caller) -> Response:
        pytest.fail("nobody must reach an endpoint")

    response = serve({ROUTE: endpoint}, event(), "r", caller_of=lambda _: None)

    assert (response["statusCode"], body_of(response)) == (403, {"message": "Forbidden"})
    assert [vars(record)["event"] for record in caplog.records] == ["caller_refused"]


def test_settings_that_cannot_be_read_serve_nobody() -> None:
    def fails(arn: str) -> Caller | None:
        raise RuntimeError(arn)

    response = serve({ROUTE: raising(RuntimeError())}, event(), "r", caller_of=fails)

    assert response["statusCode"] == 500


def test_an_unknown_route_is_not_found() -> None:
    response = serve({}, event(), "r", caller_of=unmapped)

    assert response["statusCode"] == 404
    assert body_of(response)["code"] == "not_found"


def test_an_error_of_ours_becomes_its_problem() -> None:
    response = served(raising(InvalidRequest("limit is wrong")))

    assert response["statusCode"] == 400
    assert body_of(response)["detail"] == "limit is wrong"


def test_a_body_that_lies_about_itself_is_a_bad_request() -> None:
    response = served(raising(RuntimeError()), body="%%%", isBase64Encoded=True)

    assert response["statusCode"] == 400


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("canary"),
        StoreUnavailable("canary"),
        KeyError("canary"),
        RecursionError("canary"),
        UnicodeEncodeError("utf-8", "canary", 0, 1, "x"),
    ],
)
def test_what_nobody_expected_escapes_neither_as_exception_nor_as_text(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        response = served(raising(error))

    assert response["statusCode"] == 500
    assert body_of(response)["code"] == "internal"
    assert "canary" not in str(response)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "canary" not in str(vars(record))
    assert vars(record)["error"] == type(error).__name__
    assert "raising" in vars(record)["where"]


@pytest.mark.parametrize(
    "response",
    [answer({}), problem(LinkingError(), "r")],
    ids=["answer", "problem"],
)
def test_every_answer_carries_the_security_headers(response: Response) -> None:
    headers = response.headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Content-Type"].endswith("; charset=utf-8")
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_a_403_carries_them_too() -> None:
    assert served(raising(RuntimeError()), requestContext={})["headers"] == HEADERS


def test_texts_of_people_stay_readable() -> None:
    assert "Zoë ✓" in answer({"name": "Zoë ✓"}).body


# -- what is shown ------------------------------------------------------------------------------


def test_moments_are_utc_with_whole_seconds() -> None:
    assert instant(NOON + timedelta(milliseconds=789)) == "2026-11-21T12:00:00Z"
    assert instant(None) is None


@pytest.fixture
def listed(stage: Stage) -> Listed:
    """A linked account with a profile, as the directory finds it."""
    account = replace(stage.link(), profile=samples.profile(), metadata={"plan": "pro"})
    return Listed(account, replace(stage.grant(), pair=None))


def test_an_account_shows_what_the_contract_says(listed: Listed) -> None:
    body = account_body(listed, NOON)

    assert body == {
        "id": listed.account.id,
        "provider": "tiktok",
        "app_registration": "default",
        "status": "active",
        "action_by": "nobody",
        "end_user_id": "u_42",
        "tenant_id": None,
        "open_id": samples.OPEN_ID,
        "union_id": "union-of-mina",
        "profile": {
            "display_name": "Mina Park",
            "avatar_url": "https://p16.example.com/mina.jpg",
            "fetched_at": "2026-11-21T12:00:00Z",
        },
        "scopes": {"granted": ["user.info.basic", "video.list"], "missing": []},
        "linked_at": "2026-11-21T12:00:00Z",
        "relinked_at": None,
        "access_token_expires_at": "2026-11-22T12:00:00Z",
        "relink_by": "2027-05-20T12:00:00Z",
        "days_until_relink": 180,
        "refresh": {
            "mode": "auto",
            "last_success_at": "2026-11-21T12:00:00Z",
            "next_at": instant(listed.grant.due_at),
            "failing_since": None,
            "last_error": None,
            "rotations": 0,
        },
        "metadata": {"plan": "pro"},
        "version": 1,
    }


def test_the_largest_list_fits_into_an_answer_of_lambdas(listed: Listed) -> None:
    """Whatever callers and people may be called: at most a hundred accounts, and 6 MB."""
    profile = replace(
        samples.profile("\u0800" * 200), avatar_url="\u0800" * 2048, union_id="\u0800" * 2048
    )
    account = replace(
        listed.account,
        end_user_id="\x01" * 256,
        tenant_id="\x01" * 256,
        open_id="\u0800" * 4096,
        metadata={f"{number:064}": "\x01" * 38 for number in range(20)},
        wanted_scopes=tuple(f"{number:064}" for number in range(41)),
        profile=profile,
    )

    body = answer({"items": [account_body(replace(listed, account=account), NOON)] * 100}).body

    assert len(body.encode()) < 6 * 1024 * 1024


def test_an_account_without_a_profile_shows_none(listed: Listed) -> None:
    body = account_body(replace(listed, account=replace(listed.account, profile=None)), NOON)

    assert (body["profile"], body["union_id"]) == (None, None)


def test_a_failing_refresh_is_a_fact_beside_the_status(listed: Listed) -> None:
    grant = replace(
        listed.grant, failing_since=NOON, last_error="server_error", last_log_id="L" * 32
    )

    body = account_body(replace(listed, grant=grant), NOON)

    assert body["status"] == "active"
    assert body["refresh"]["failing_since"] == "2026-11-21T12:00:00Z"
    assert body["refresh"]["last_error"] == {"class": "server_error", "log_id": "L" * 32}


def test_scopes_that_were_asked_for_and_not_given_are_missing(listed: Listed) -> None:
    grant = replace(listed.grant, scopes=("user.info.basic",))

    body = account_body(replace(listed, grant=grant), NOON)

    assert body["scopes"] == {"granted": ["user.info.basic"], "missing": ["video.list"]}


@pytest.mark.parametrize(
    ("changes", "status", "action_by", "reason"),
    [
        (
            {"status": Status.RELINK_REQUIRED, "reason": RelinkReason.ROTATION_LOST.value},
            "relink_required",
            "end_user",
            "rotation_lost",
        ),
        (
            {"status": Status.REVOKED, "reason": "revoked_by_user"},
            "revoked",
            "end_user",
            "revoked_by_user",
        ),
        ({"relink_by": NOON}, "relink_required", "end_user", "refresh_token_expired"),
    ],
)
def test_every_status_that_is_not_active_says_who_must_act(
    listed: Listed, changes: dict[str, Any], status: str, action_by: str, reason: str
) -> None:
    grant = replace(listed.grant, **changes)

    body = account_body(replace(listed, grant=grant), NOON)

    assert (body["status"], body["action_by"], body["reason"]) == (status, action_by, reason)


WHO_ACTS: dict[Status, dict[Any, str]] = {
    Status.RELINK_REQUIRED: dict.fromkeys(RelinkReason, "end_user"),
    Status.REVOKED: {
        RevokedReason.REMOVED_AT_TIKTOK: "end_user",
        RevokedReason.REVOKED_BY_USER: "end_user",
        RevokedReason.TIKTOK_ACCOUNT_DELETED: "nobody",
        RevokedReason.TIKTOK_AGE_CHANGED: "nobody",
        RevokedReason.TIKTOK_ACCOUNT_BANNED: "nobody",
        RevokedReason.REVOKED_BY_DEVELOPER: "nobody",
    },
}


def test_every_reason_of_every_status_is_shown_with_who_must_act(listed: Listed) -> None:
    for status, reasons in WHO_ACTS.items():
        for reason, who in reasons.items():
            grant = replace(listed.grant, status=status, reason=reason.value)
            body = account_body(replace(listed, grant=grant), NOON)
            shown = (body["status"], body["reason"], body["action_by"])
            assert shown == (status.value, reason.value, who)

    assert WHO_ACTS[Status.RELINK_REQUIRED].keys() == {*RelinkReason}
    assert WHO_ACTS[Status.REVOKED].keys() == {*RevokedReason}
    assert {*WHO_ACTS, Status.ACTIVE, Status.UNLINKED} == {*Status}


def test_an_unlinked_account_is_nobodys_task(listed: Listed) -> None:
    row = replace(listed.account, unlinked_at=NOON)
    grant = replace(listed.grant, status=Status.RELINK_REQUIRED, reason="rotation_lost")

    body = account_body(Listed(row, grant), NOON)

    assert (body["status"], body["action_by"]) == ("unlinked", "nobody")
    assert "reason" not in body


def test_the_mode_that_counts_is_shown(listed: Listed) -> None:
    """A shared grant follows its most eager account."""
    grant = replace(listed.grant, mode=RefreshMode.ALWAYS)

    assert account_body(replace(listed, grant=grant), NOON)["refresh"]["mode"] == "always"


def test_a_session_shows_status_and_expiry() -> None:
    session = samples.link_session()

    assert session_body(session, NOON) == {
        "id": session.id,
        "status": "pending",
        "completion": "browser",
        "expires_at": "2026-11-21T12:30:00Z",
    }


def test_a_completed_session_names_its_account_and_what_is_missing() -> None:
    session = replace(
        samples.link_session(),
        status=SessionStatus.COMPLETED,
        account_id="acct_1",
        missing_scopes=("video.list",),
    )

    body = session_body(session, NOON)

    assert (body["account_id"], body["missing_scopes"]) == ("acct_1", ["video.list"])
    assert "reason" not in body


@pytest.mark.parametrize("reason", SessionReason)
def test_an_ended_session_says_why_and_who_must_act(reason: SessionReason) -> None:
    session = replace(samples.link_session(), status=SessionStatus.FAILED, reason=reason)

    body = session_body(session, NOON)

    assert body["reason"] == reason.value
    assert body["action_by"] in {"end_user", "developer", "operator", "nobody"}
    assert "account_id" not in body


def test_an_expired_session_is_its_persons_task() -> None:
    body = session_body(samples.link_session(), NOON + timedelta(hours=1))

    assert (body["status"], body["action_by"]) == ("expired", "end_user")


def test_no_answer_about_a_session_holds_what_finishes_it() -> None:
    session = samples.link_session(metadata={"note": "canary"})

    shown = json.dumps(session_body(session, NOON))

    assert session.page_nonce not in shown
    assert "canary" not in shown
