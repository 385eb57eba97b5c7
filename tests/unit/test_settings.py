"""Configuration: every problem of an environment at once, by name, and no value that surprises."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tiktok_linking.brand import Brand
from tiktok_linking.callers import Tenant
from tiktok_linking.settings import MAY_BE_EMPTY, NEEDS, ConfigurationError, Settings

COMPLETE = {
    "APP_NAME": "Acme",
    "ACCENT_COLOR": "#0B5fff",
    "APP_LOGO": "data:image/svg+xml;base64,PHN2Zy8+",
    "PUBLIC_BASE_URL": "https://link.example.com",
    "SESSIONS_TABLE": "sessions",
    "ACCOUNTS_TABLE": "accounts",
    "APP_REGISTRATIONS": "default=awdefault01,sandbox=sbawsand01",
    "SCOPES_REQUIRED": "user.info.basic",
    "SCOPES_OPTIONAL": "video.list, user.info.profile",
    "RETURN_ORIGINS": "https://app.example.com,http://localhost:3002",
    "SEALING_KEY_ARN": "arn:aws:kms:us-east-1:123456789012:key/1",
    "KEY_EPOCH_DAYS": "30",
    "APP_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:s",
    "RENEWAL_QUEUE_URL": "https://sqs/renewals",
    "EVENT_BUS": "events",
    "TIMELINE_DAYS": "60",
    "SESSION_DAYS": "2",
    "REVOCATION_QUEUE_URL": "https://sqs/revocations",
    "RESCUE_QUEUE_URL": "https://sqs/rescue",
    "REFRESH_FUNCTION": "refresh",
    "TIKTOK_AUTHORIZE_URL": "https://www.tiktok.com/v2/auth/authorize/",
    "TIKTOK_API_BASE_URL": "https://open.tiktokapis.com/",
    "WARM_FOR_HOURS": "48",
    "HEALTH_CHECK_DAYS": "3",
    "REMINDER_DAYS": "21,3",
    "TOMBSTONE_DAYS": "60",
    "CALLER_TENANTS": "backend-of-acme=acme,team.b@x=b:sandbox+default",
}


def settings(function: str = "refresh", **changes: str) -> Settings:
    return Settings.from_env(COMPLETE | {"POWERTOOLS_SERVICE_NAME": function} | changes)


def problems(function: str = "refresh", **changes: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refusal:
        settings(function, **changes)
    return refusal.value.problems


@pytest.mark.parametrize("function", NEEDS)
def test_a_complete_environment_is_read(function: str) -> None:
    assert settings(function).function == function


def test_values_become_what_the_code_works_with() -> None:
    read = settings()

    assert read.app_registrations == {"default": "awdefault01", "sandbox": "sbawsand01"}
    assert list(read.app_registrations) == ["default", "sandbox"], "the first is the default"
    assert read.scopes_optional == ("video.list", "user.info.profile")
    assert read.return_origins == ("https://app.example.com", "http://localhost:3002")
    assert (read.warm_for, read.health_check) == (timedelta(hours=48), timedelta(days=3))
    assert read.key_epoch_days == 30
    assert (read.event_bus, read.timeline) == ("events", timedelta(days=60))
    assert read.sessions_kept == timedelta(days=2)


def test_the_look_is_read_and_what_would_break_out_of_a_page_is_refused() -> None:
    assert settings().brand == Brand("#0B5fff", COMPLETE["APP_LOGO"])
    assert settings(ACCENT_COLOR="", APP_LOGO="").brand == Brand()

    found = problems(ACCENT_COLOR="red;}", APP_LOGO="https://cdn.example.com/logo.svg")

    assert [problem.partition(" ")[0] for problem in found] == ["ACCENT_COLOR", "APP_LOGO"]
    assert "red" not in str(found)


def test_slashes_stay_where_tiktok_needs_them_and_go_where_paths_follow() -> None:
    read = settings()

    assert read.tiktok_authorize_url == "https://www.tiktok.com/v2/auth/authorize/"
    assert read.tiktok_api_base_url == "https://open.tiktokapis.com"


@pytest.mark.parametrize("function", NEEDS)
def test_every_missing_variable_is_named_at_once(function: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Settings.from_env({"POWERTOOLS_SERVICE_NAME": function})

    for name in NEEDS[function]:
        assert any(name in problem for problem in refusal.value.problems)
        assert name in str(refusal.value)


def test_different_problems_are_told_together() -> None:
    found = problems(
        KEY_EPOCH_DAYS="soon", APP_REGISTRATIONS="awdefault01", TIKTOK_API_BASE_URL="http://evil"
    )

    assert len(found) == 3


@pytest.mark.parametrize("name", ["", "refresher", "Refresh"])
def test_the_function_must_be_one_of_ours(name: str) -> None:
    with pytest.raises(ConfigurationError, match="POWERTOOLS_SERVICE_NAME"):
        Settings.from_env(COMPLETE | {"POWERTOOLS_SERVICE_NAME": name})


@pytest.mark.parametrize("name", MAY_BE_EMPTY)
def test_what_may_be_empty_may_be_empty(name: str) -> None:
    for function in NEEDS:
        settings(function, **{name: ""})


@pytest.mark.parametrize(
    "value", ["0", "-1", "1.5", "1e3", "soon", " 7", "٣", "100000", "9" * 5000]
)
def test_a_number_is_whole_and_above_zero(value: str) -> None:
    assert problems(WARM_FOR_HOURS=value) == ["WARM_FOR_HOURS is not a whole number above 0"]


@pytest.mark.parametrize(
    "value",
    [
        "http://open.tiktokapis.com",
        "ftp://open.tiktokapis.com",
        "open.tiktokapis.com",
        "https://",
        "http://127.0.0.1.evil.example",
        "https://[",
        "//open.tiktokapis.com",
    ],
)
def test_no_token_or_code_goes_to_an_address_without_tls(value: str) -> None:
    assert problems(TIKTOK_API_BASE_URL=value) == [
        "TIKTOK_API_BASE_URL is neither https nor http on loopback"
    ]


@pytest.mark.parametrize(
    "value",
    [
        " https://open.tiktokapis.com",
        "\thttps://open.tiktokapis.com",
        "ht\ttps://open.tiktokapis.com",
        "https://open.tiktokapis.com ",
        "https://open.tiktokapis.com\n",
        "HTTPS://open.tiktokapis.com",
    ],
)
def test_an_address_has_one_spelling(value: str) -> None:
    """What reads it otherwise than this check could send to it without looking at a certificate."""
    assert problems(TIKTOK_API_BASE_URL=value) == [
        "TIKTOK_API_BASE_URL has a blank in it, or capitals in its https"
    ]


@pytest.mark.parametrize("value", ["http://127.0.0.1:3001", "http://localhost:3001"])
def test_loopback_needs_no_tls(value: str) -> None:
    assert settings(TIKTOK_API_BASE_URL=value).tiktok_api_base_url == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIKTOK_API_BASE_URL", "http://127.0.0.1:3001"),
        ("TIKTOK_API_BASE_URL", "https://open.tiktokapis.com.evil.example"),
        ("TIKTOK_API_BASE_URL", "https://x@open.tiktokapis.com"),
        ("TIKTOK_API_BASE_URL", "https://open.tiktokapis.com:8443"),
        ("TIKTOK_API_BASE_URL", "https://www.tiktok.com"),
        ("TIKTOK_AUTHORIZE_URL", "https://evil.example/v2/auth/authorize/"),
    ],
)
def test_on_lambda_there_is_one_tiktok(name: str, value: str) -> None:
    """Whoever plays TikTok is told client secrets and tokens."""
    on_lambda = {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.13", name: value}

    assert problems(**on_lambda) == [f"{name} is not TikTok's; another one is for the local world"]
    assert settings(**{name: value})
    assert settings(**on_lambda, AWS_SAM_LOCAL="true")
    assert settings(**on_lambda, AWS_ENDPOINT_URL="http://127.0.0.1:3003")


def test_on_lambda_tiktok_itself_is_taken() -> None:
    assert settings(AWS_EXECUTION_ENV="AWS_Lambda_python3.13")


@pytest.mark.parametrize(
    "value",
    ["awdefault01", "=awdefault01", "default=", "Default=awdefault01", "default=a b", "a=b=c"],
)
def test_registrations_are_pairs_of_name_and_client_key(value: str) -> None:
    assert problems(APP_REGISTRATIONS=value) == [
        "APP_REGISTRATIONS is not a list of name=client_key"
    ]


@pytest.mark.parametrize("value", ["https://app.example.com/", "http://app.example.com", "app"])
def test_origins_are_origins(value: str) -> None:
    assert len(problems("sessions", RETURN_ORIGINS=value)) == 1


@pytest.mark.parametrize("value", ["user.info.basic video.list", "Video.List", "<script>"])
def test_scopes_are_scopes(value: str) -> None:
    assert len(problems("sessions", SCOPES_OPTIONAL=value)) == 1


def test_a_problem_never_quotes_a_value() -> None:
    """Somebody may paste a secret into the wrong parameter."""
    found = problems(APP_REGISTRATIONS="canary secret", TIKTOK_API_BASE_URL="http://canary")

    assert "canary" not in "; ".join(found)


def test_files_are_read_by_name_and_may_hold_an_equals_sign() -> None:
    files = "a.txt=tiktok-developers-site-verification=Ab1,b.html=x"

    assert settings("webhook", VERIFICATION_FILES=files).verification_files == {
        "a.txt": "tiktok-developers-site-verification=Ab1",
        "b.html": "x",
    }
    assert settings("webhook").verification_files == {}


@pytest.mark.parametrize("files", ["a.txt", "a.txt=", "=x", "../a=x", "a/b=x", ".env=x", "a=<b>"])
def test_files_of_another_form_are_named(files: str) -> None:
    assert problems("webhook", VERIFICATION_FILES=files) == [
        "VERIFICATION_FILES is not a list of name=content"
    ]


@pytest.mark.parametrize("function", ["sessions", "accounts", "tokens", "unlink", "callback"])
@pytest.mark.parametrize("value", ["", "backend", "a=b,", "a=t,A=u", "*=acme", "a=canary canary"])
def test_a_map_of_callers_that_is_not_understood_serves_nobody(function: str, value: str) -> None:
    (problem,) = problems(function, CALLER_TENANTS=value)

    assert problem.startswith("CALLER_TENANTS")
    assert "canary" not in problem


def test_callers_are_mapped_to_tenants_or_nobody_is() -> None:
    assert settings("tokens", CALLER_TENANTS="none").caller_tenants == {}
    assert settings("tokens").caller_tenants == {
        "backend-of-acme": Tenant("acme"),
        "team.b@x": Tenant("b", ("sandbox", "default")),
    }


def test_a_tenant_cannot_be_given_a_registration_that_is_not_there() -> None:
    assert problems("sessions", CALLER_TENANTS="a=b:third") == [
        "CALLER_TENANTS names an app registration that is none of the stack's"
    ]


@pytest.mark.parametrize("value", ["0", "91", "30,,x", "30;14", "-1", "1.5", "٣"])
def test_thresholds_of_reminders_are_days_that_are_looked_at(value: str) -> None:
    assert problems("remind", REMINDER_DAYS=value) == [
        "REMINDER_DAYS is not a list of days from 1 to 90"
    ]


def test_thresholds_of_reminders_are_read() -> None:
    assert settings("remind").reminder_days == (21, 3)
