"""The environment variables of the world: defaults, readings and refusals."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from local.configuration import (
    ROOT,
    ConfigurationRefused,
    Registration,
    WorldSettings,
    world_settings,
)
from local.sigv4 import Caller


@pytest.fixture
def installed(tmp_path: Path) -> Mapping[str, str]:
    """An environment in which MiniStack is there."""
    (tmp_path / "ministack").touch()
    return {"MINISTACK": str(tmp_path / "ministack")}


def problems_of(env: Mapping[str, str]) -> list[str]:
    with pytest.raises(ConfigurationRefused) as refused:
        world_settings(env)
    return refused.value.problems


def test_an_empty_environment_is_enough(installed: Mapping[str, str]) -> None:
    settings = world_settings(installed)

    assert dict(settings.ports) == {
        "gateway": 3000,
        "tiktok": 3001,
        "app": 3002,
        "aws": 3003,
        "control": 3009,
    }
    assert settings.public_base_url == "http://127.0.0.1:3000"
    assert settings.redirect_uri == "http://127.0.0.1:3000/callback"
    assert settings.redirect_is_loopback
    assert settings.authorize_url == "http://127.0.0.1:3001/v2/auth/authorize/"
    assert settings.api_base_url == "http://127.0.0.1:3001"
    assert settings.callers == (Caller("test", "test", "local-backend"),)
    assert settings.scopes_required == "user.info.basic"
    assert settings.scopes_optional == "user.info.profile,user.info.stats,video.list"
    assert [r.name for r in settings.registrations] == ["default", "second"]
    assert not settings.schedules_on
    assert not settings.auth
    assert settings.function_concurrency == 8
    assert settings.directory == ROOT / ".local"


def test_ports_become_endpoints(installed: Mapping[str, str]) -> None:
    ports = {"GATEWAY_PORT": "1", "TIKTOK_PORT": "2", "APP_PORT": "3", "AWS_PORT": "4"}
    settings = world_settings({**installed, **ports, "CONTROL_PORT": "5"})

    assert settings.endpoints() == {
        "gateway": "http://127.0.0.1:1",
        "tiktok": "http://127.0.0.1:2",
        "app": "http://127.0.0.1:3",
        "aws": "http://127.0.0.1:4",
        "control": "http://127.0.0.1:5",
    }


def test_empty_variables_are_not_set(installed: Mapping[str, str]) -> None:
    settings = world_settings({**installed, "GATEWAY_PORT": "", "TIKTOK": " "})

    assert settings.ports["gateway"] == 3000
    assert settings.has_built_in_tiktok


def test_the_look_of_the_pages_reaches_the_stack(installed: Mapping[str, str]) -> None:
    look = {"ACCENT_COLOR": "#0b5fff", "APP_LOGO": "data:image/png;base64,AAAA"}
    given = world_settings({**installed, **look}).stack_parameters()

    assert (given["AccentColor"], given["AppLogo"]) == tuple(look.values())


def test_optional_scopes_may_be_none_at_all(installed: Mapping[str, str]) -> None:
    assert world_settings({**installed, "SCOPES_OPTIONAL": ""}).scopes_optional == ""


def test_callers_are_added_to_the_one_that_is_always_there(installed: Mapping[str, str]) -> None:
    settings = world_settings({**installed, "LOCAL_CALLERS": "a:1, b:2:3"})

    assert settings.callers[1:] == (Caller("a", "1", "a"), Caller("b", "2:3", "b"))


@pytest.mark.parametrize("value", ["a", "a:", ":1", "a/b:1", "\u0430:1", "test:1", "a:1,a:2"])
def test_a_caller_has_a_name_of_its_own_such_as_iam_gives(
    installed: Mapping[str, str], value: str
) -> None:
    with pytest.raises(ConfigurationRefused, match="LOCAL_CALLERS"):
        world_settings({**installed, "LOCAL_CALLERS": value})


def test_callers_are_mapped_in_the_form_of_the_stacks_parameter(
    installed: Mapping[str, str],
) -> None:
    given = "a=acme,b=umbrella:second"
    settings = world_settings({**installed, "CALLER_TENANTS": given})

    assert settings.stack_parameters()["CallerTenants"] == given
    for value in ("a", "a=", "a=b,", "a=b:", "a=b, c=d", "*=b"):
        with pytest.raises(ConfigurationRefused, match="CALLER_TENANTS"):
            world_settings({**installed, "CALLER_TENANTS": value})


def test_return_origins_are_added_to_the_sample_products(installed: Mapping[str, str]) -> None:
    settings = world_settings(
        {**installed, "RETURN_ORIGINS": "https://a.example,https://b.example"}
    )

    assert settings.return_origins[0] == "http://127.0.0.1:3002"
    assert settings.return_origins[-2:] == ("https://a.example", "https://b.example")


def test_every_registration_is_known_to_the_built_in_tiktok(installed: Mapping[str, str]) -> None:
    settings = world_settings({**installed, "APP_REGISTRATIONS": "default=aw1,eu=aw2"})

    assert [(r.name, r.client_key) for r in settings.registrations] == [
        ("default", "aw1"),
        ("eu", "aw2"),
    ]
    assert len({r.client_secret for r in settings.registrations}) == 2
    assert settings.stack_parameters()["AppRegistrations"] == "default=aw1,eu=aw2"


def test_another_tiktok_replaces_the_built_in_one(installed: Mapping[str, str]) -> None:
    settings = world_settings(
        {
            **installed,
            "TIKTOK_AUTHORIZE_URL": "http://127.0.0.1:9999/anywhere",
            "TIKTOK_API_BASE_URL": "http://127.0.0.1:9999/",
            "TIKTOK_CLIENT_KEY": "key",
            "TIKTOK_CLIENT_SECRET": "secret",
        }
    )

    assert not settings.has_built_in_tiktok
    assert settings.authorize_url == "http://127.0.0.1:9999/anywhere"
    assert settings.api_base_url == "http://127.0.0.1:9999"
    assert settings.registrations == (Registration("default", "key", "secret"),)
    assert settings.endpoints()["tiktok"] == "http://127.0.0.1:9999"


def test_a_public_https_address_is_no_loopback(installed: Mapping[str, str]) -> None:
    settings = world_settings({**installed, "PUBLIC_BASE_URL": "https://link.example.com/"})

    assert settings.redirect_uri == "https://link.example.com/callback"
    assert not settings.redirect_is_loopback


# ---- real TikTok -------------------------------------------------------------------------------


def test_real_tiktok_takes_credentials_from_the_environment(installed: Mapping[str, str]) -> None:
    settings = world_settings(
        {
            **installed,
            "TIKTOK": "real",
            "TIKTOK_CLIENT_KEY": "aw",
            "TIKTOK_CLIENT_SECRET": "s",
            "GATEWAY_PORT": "4000",
        }
    )

    assert settings.is_real_tiktok
    assert settings.authorize_url == "https://www.tiktok.com/v2/auth/authorize/"
    assert settings.api_base_url == "https://open.tiktokapis.com"
    assert settings.redirect_uri == "http://127.0.0.1:4000/callback"
    assert settings.registrations == (Registration("default", "aw", "s"),)


def test_real_tiktok_takes_credentials_from_a_file(
    installed: Mapping[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "credentials.env"
    file.write_text(
        "# from the portal\nexport TIKTOK_CLIENT_KEY='aw'\nTIKTOK_CLIENT_SECRET=s=1\n",
        encoding="utf-8",
    )
    settings = world_settings({**installed, "TIKTOK": "real", "TIKTOK_CREDENTIALS_FILE": str(file)})

    assert settings.registrations == (Registration("default", "aw", "s=1"),)


def test_missing_credentials_say_where_they_belong(
    installed: Mapping[str, str], tmp_path: Path
) -> None:
    (problem,) = problems_of(
        {**installed, "TIKTOK": "real", "TIKTOK_CREDENTIALS_FILE": str(tmp_path / "none.env")}
    )

    assert "TIKTOK_CLIENT_KEY and TIKTOK_CLIENT_SECRET" in problem
    assert "none.env" in problem


def test_credentials_inside_the_repository_are_refused(installed: Mapping[str, str]) -> None:
    problems = problems_of(
        {**installed, "TIKTOK": "real", "TIKTOK_CREDENTIALS_FILE": str(ROOT / "credentials.env")}
    )

    assert any("outside of the repository" in problem for problem in problems)


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({"GATEWAY_PORT": "80000"}, "GATEWAY_PORT"),
        ({"APP_PORT": "3001"}, "TIKTOK_PORT and APP_PORT are the same port"),
        ({"PUBLIC_BASE_URL": "localhost:3000"}, "PUBLIC_BASE_URL"),
        ({"TIKTOK_API_BASE_URL": "http://x"}, "TIKTOK_AUTHORIZE_URL"),
        ({"TIKTOK": "fake"}, "TIKTOK must be"),
        ({"SCHEDULES": "yes"}, "SCHEDULES"),
        ({"ACCENT_COLOR": "blue"}, "ACCENT_COLOR must be a colour"),
        ({"APP_LOGO": "https://example.com/logo.svg"}, "APP_LOGO must be"),
        ({"LOCAL_CALLERS": "nobody"}, "LOCAL_CALLERS"),
        ({"APP_REGISTRATIONS": "default"}, "APP_REGISTRATIONS"),
        ({"TEMPLATE_FILE": "nowhere.yaml"}, "nowhere.yaml"),
        ({"MINISTACK": "/nowhere/ministack"}, "make install"),
    ],
)
def test_what_cannot_be_is_refused(
    installed: Mapping[str, str], env: Mapping[str, str], word: str
) -> None:
    problems = problems_of({**installed, **env})

    assert any(word in problem for problem in problems)


def test_secrets_do_not_show(installed: Mapping[str, str]) -> None:
    settings: WorldSettings = world_settings(
        {
            **installed,
            "TIKTOK_AUTHORIZE_URL": "http://x",
            "TIKTOK_API_BASE_URL": "http://x",
            "TIKTOK_CLIENT_KEY": "k",
            "TIKTOK_CLIENT_SECRET": "canary",
        }
    )

    assert "canary" not in repr(settings)
