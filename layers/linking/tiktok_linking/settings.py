"""Configuration from the environment: read once, checked as a whole, named in every complaint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from tiktok_linking.brand import MOST_LOGO_CHARACTERS, Brand, is_color, is_logo
from tiktok_linking.callers import Tenant, read_caller_tenants
from tiktok_linking.oauth import is_scope
from tiktok_linking.return_urls import is_origin
from tiktok_linking.schedule import EARLIEST_REMINDER
from tiktok_linking.sessions import Completion

NEEDS: dict[str, tuple[str, ...]] = {
    "authorize": ("SESSIONS_TABLE", "APP_REGISTRATIONS", "TIKTOK_AUTHORIZE_URL"),
    "callback": (
        "SESSIONS_TABLE",
        "ACCOUNTS_TABLE",
        "APP_REGISTRATIONS",
        "SEALING_KEY_ARN",
        "KEY_EPOCH_DAYS",
        "APP_SECRET_ARN",
        "RESCUE_QUEUE_URL",
        "TIKTOK_API_BASE_URL",
        "WARM_FOR_HOURS",
        "HEALTH_CHECK_DAYS",
        "CALLER_TENANTS",
    ),
    "sessions": (
        "SESSIONS_TABLE",
        "SESSION_DAYS",
        "ACCOUNTS_TABLE",
        "APP_REGISTRATIONS",
        "SCOPES_REQUIRED",
        "CALLER_TENANTS",
    ),
    "accounts": ("ACCOUNTS_TABLE", "WARM_FOR_HOURS", "HEALTH_CHECK_DAYS", "CALLER_TENANTS"),
    "tokens": (
        "ACCOUNTS_TABLE",
        "SEALING_KEY_ARN",
        "REFRESH_FUNCTION",
        "WARM_FOR_HOURS",
        "HEALTH_CHECK_DAYS",
        "CALLER_TENANTS",
    ),
    "unlink": (
        "ACCOUNTS_TABLE",
        "APP_REGISTRATIONS",
        "SEALING_KEY_ARN",
        "APP_SECRET_ARN",
        "REFRESH_FUNCTION",
        "REVOCATION_QUEUE_URL",
        "TOMBSTONE_DAYS",
        "TIKTOK_API_BASE_URL",
        "CALLER_TENANTS",
    ),
    "refresh": (
        "ACCOUNTS_TABLE",
        "APP_REGISTRATIONS",
        "SEALING_KEY_ARN",
        "KEY_EPOCH_DAYS",
        "APP_SECRET_ARN",
        "RENEWAL_QUEUE_URL",
        "REVOCATION_QUEUE_URL",
        "RESCUE_QUEUE_URL",
        "TIKTOK_API_BASE_URL",
        "WARM_FOR_HOURS",
        "HEALTH_CHECK_DAYS",
    ),
    "rescue": ("ACCOUNTS_TABLE", "SESSIONS_TABLE", "WARM_FOR_HOURS", "HEALTH_CHECK_DAYS"),
    "remind": ("ACCOUNTS_TABLE", "REMINDER_DAYS"),
    "publish": ("ACCOUNTS_TABLE", "EVENT_BUS", "TIMELINE_DAYS"),
    "webhook": ("ACCOUNTS_TABLE", "APP_REGISTRATIONS", "APP_SECRET_ARN"),
}
"""What each function cannot work without; tests/template holds template.yaml against it."""

MAY_BE_EMPTY = (
    "PUBLIC_BASE_URL",
    "SCOPES_OPTIONAL",
    "RETURN_ORIGINS",
    "APP_NAME",
    "ACCENT_COLOR",
    "APP_LOGO",
    "VERIFICATION_FILES",
    "COMPLETION",
)

_TIKTOK = {"TIKTOK_AUTHORIZE_URL": "www.tiktok.com", "TIKTOK_API_BASE_URL": "open.tiktokapis.com"}
"""Where codes, secrets and tokens may go."""

_REGISTRATION = re.compile(r"[a-z][a-z0-9-]{0,31}")
_CLIENT_KEY = re.compile(r"[A-Za-z0-9_-]{4,64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FILE_CONTENT = re.compile(r"[A-Za-z0-9 ._~:/+=-]{1,512}")


class ConfigurationError(Exception):
    """The environment is not usable; ``problems`` names every variable at once."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one function. What it does not need is empty."""

    function: str
    app_name: str = "the app"
    brand: Brand = field(default_factory=Brand)
    public_base_url: str = ""
    app_registrations: Mapping[str, str] = field(default_factory=dict)
    scopes_required: tuple[str, ...] = ()
    scopes_optional: tuple[str, ...] = ()
    return_origins: tuple[str, ...] = ()
    completion: Completion = Completion.BROWSER
    verification_files: Mapping[str, str] = field(default_factory=dict)
    caller_tenants: Mapping[str, Tenant] = field(default_factory=dict)
    sessions_table: str = ""
    sessions_kept: timedelta = timedelta(days=7)
    accounts_table: str = ""
    sealing_key_arn: str = ""
    key_epoch_days: int = 90
    app_secret_arn: str = ""
    renewal_queue_url: str = ""
    revocation_queue_url: str = ""
    rescue_queue_url: str = ""
    refresh_function: str = ""
    tiktok_authorize_url: str = ""
    tiktok_api_base_url: str = ""
    warm_for: timedelta = timedelta(hours=24)
    health_check: timedelta = timedelta(days=7)
    event_bus: str = ""
    timeline: timedelta = timedelta(days=90)
    reminder_days: tuple[int, ...] = (30, 14, 7, 1)
    reminder_links: bool = False
    tombstone: timedelta = timedelta(days=30)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the environment of a function.

        Raises:
            ConfigurationError: with every missing or unusable variable.
        """
        function = env.get("POWERTOOLS_SERVICE_NAME", "")
        if function not in NEEDS:
            raise ConfigurationError(
                [f"POWERTOOLS_SERVICE_NAME names the function, one of {', '.join(NEEDS)}"]
            )
        problems = [f"{name} is not set" for name in NEEDS[function] if not env.get(name)]
        read = _Reader(env, problems)
        registrations = read.registrations("APP_REGISTRATIONS")
        settings = cls(
            function=function,
            app_name=env.get("APP_NAME") or "the app",
            brand=read.brand("ACCENT_COLOR", "APP_LOGO"),
            public_base_url=read.base_url("PUBLIC_BASE_URL"),
            app_registrations=registrations,
            caller_tenants=read.caller_tenants("CALLER_TENANTS", registrations),
            scopes_required=read.scopes("SCOPES_REQUIRED"),
            scopes_optional=read.scopes("SCOPES_OPTIONAL"),
            return_origins=read.origins("RETURN_ORIGINS"),
            completion=read.completion("COMPLETION"),
            verification_files=read.files("VERIFICATION_FILES"),
            sessions_table=env.get("SESSIONS_TABLE", ""),
            sessions_kept=timedelta(days=read.number("SESSION_DAYS", 7)),
            accounts_table=env.get("ACCOUNTS_TABLE", ""),
            sealing_key_arn=env.get("SEALING_KEY_ARN", ""),
            key_epoch_days=read.number("KEY_EPOCH_DAYS", 90),
            app_secret_arn=env.get("APP_SECRET_ARN", ""),
            renewal_queue_url=env.get("RENEWAL_QUEUE_URL", ""),
            revocation_queue_url=env.get("REVOCATION_QUEUE_URL", ""),
            rescue_queue_url=env.get("RESCUE_QUEUE_URL", ""),
            refresh_function=env.get("REFRESH_FUNCTION", ""),
            tiktok_authorize_url=read.base_url("TIKTOK_AUTHORIZE_URL", keep_slash=True),
            tiktok_api_base_url=read.base_url("TIKTOK_API_BASE_URL"),
            warm_for=timedelta(hours=read.number("WARM_FOR_HOURS", 24)),
            health_check=timedelta(days=read.number("HEALTH_CHECK_DAYS", 7)),
            event_bus=env.get("EVENT_BUS", ""),
            timeline=timedelta(days=read.number("TIMELINE_DAYS", 90)),
            reminder_days=read.days("REMINDER_DAYS", (30, 14, 7, 1)),
            reminder_links=read.switch("REMINDER_LINKS"),
            tombstone=timedelta(days=read.number("TOMBSTONE_DAYS", 30)),
        )
        if problems:
            raise ConfigurationError(problems)
        return settings


def _is_on_lambda(env: Mapping[str, str]) -> bool:
    """Whether this is AWS itself: `sam local` and the local world look like it but for a word."""
    is_local = env.get("AWS_SAM_LOCAL") == "true" or "AWS_ENDPOINT_URL" in env
    return env.get("AWS_EXECUTION_ENV", "").startswith("AWS_Lambda_") and not is_local


@dataclass(frozen=True, slots=True)
class _Reader:
    env: Mapping[str, str]
    problems: list[str]

    def switch(self, name: str) -> bool:
        value = self.env.get(name) or "off"
        if value not in ("on", "off"):
            self.problems.append(f"{name} is neither on nor off")
        return value == "on"

    def number(self, name: str, default: int) -> int:
        value = self.env.get(name) or str(default)
        if not re.fullmatch("[0-9]{1,5}", value) or int(value) == 0:
            self.problems.append(f"{name} is not a whole number above 0")
            return default
        return int(value)

    def days(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Thresholds in days; none may be further ahead than accounts are looked at."""
        if not self.env.get(name):
            return default
        parts = self._parts(name)
        most = EARLIEST_REMINDER.days
        if not all(re.fullmatch("[0-9]{1,3}", part) and 1 <= int(part) <= most for part in parts):
            self.problems.append(f"{name} is not a list of days from 1 to {most}")
            return default
        return tuple(int(part) for part in parts)

    def base_url(self, name: str, *, keep_slash: bool = False) -> str:
        """An https address, or http on loopback: nothing else may receive a token or a code."""
        value = self.env.get(name, "")
        if not value:
            return ""
        try:
            parts = urlsplit(value)
        except ValueError:
            parts = urlsplit("")
        loopback = parts.hostname in ("127.0.0.1", "localhost")
        if not parts.hostname or not (
            parts.scheme == "https" or (parts.scheme == "http" and loopback)
        ):
            self.problems.append(f"{name} is neither https nor http on loopback")
        elif value != parts.geturl() or " " in value:
            # Python skips a blank that requests counts: such an address had no certificate checked.
            self.problems.append(f"{name} has a blank in it, or capitals in its https")
        elif parts.netloc != _TIKTOK.get(name, parts.netloc) and _is_on_lambda(self.env):
            self.problems.append(f"{name} is not TikTok's; another one is for the local world")
        return value if keep_slash else value.rstrip("/")

    def registrations(self, name: str) -> dict[str, str]:
        found = {}
        for part in self._parts(name):
            registration, _, client_key = part.partition("=")
            if not _REGISTRATION.fullmatch(registration) or not _CLIENT_KEY.fullmatch(client_key):
                self.problems.append(f"{name} is not a list of name=client_key")
                return {}
            found[registration] = client_key
        return found

    def caller_tenants(self, name: str, registrations: Mapping[str, str]) -> dict[str, Tenant]:
        """A list that is not understood opens nothing: nobody is served until it is mended."""
        if not self.env.get(name):
            return {}
        try:
            tenants = read_caller_tenants(self.env[name])
        except ValueError as error:
            self.problems.append(f"{name}: {error}")
            return {}
        named = {each for tenant in tenants.values() for each in tenant.registrations}
        if registrations and not named <= registrations.keys():
            self.problems.append(f"{name} names an app registration that is none of the stack's")
        return tenants

    def brand(self, accent_name: str, logo_name: str) -> Brand:
        """How the pages look; what would break out of a style sheet is refused."""
        accent, logo = self.env.get(accent_name, ""), self.env.get(logo_name, "")
        if accent and not is_color(accent):
            self.problems.append(f"{accent_name} is not a colour such as #0b5fff")
            accent = ""
        if logo and not is_logo(logo):
            self.problems.append(
                f"{logo_name} is not a PNG, SVG or WebP picture as a data: address in base64 of at"
                f" most {MOST_LOGO_CHARACTERS} characters"
            )
            logo = ""
        return Brand(accent, logo)

    def completion(self, name: str) -> Completion:
        """Unset means the default; what is no mode is not taken for the laxer one in silence."""
        value = self.env.get(name) or Completion.BROWSER.value
        if value not in tuple(Completion):
            self.problems.append(f"{name} is neither browser nor app")
            return Completion.APP
        return Completion(value)

    def files(self, name: str) -> dict[str, str]:
        """Small public files by name; a content may hold an equals sign, as TikTok's does."""
        found = {}
        for part in self._parts(name):
            file, _, content = part.partition("=")
            if not _FILE_NAME.fullmatch(file) or not _FILE_CONTENT.fullmatch(content):
                self.problems.append(f"{name} is not a list of name=content")
                return {}
            found[file] = content
        return found

    def scopes(self, name: str) -> tuple[str, ...]:
        scopes = self._parts(name)
        if not all(is_scope(scope) for scope in scopes):
            self.problems.append(f"{name} is not a list of TikTok scopes")
        return scopes

    def origins(self, name: str) -> tuple[str, ...]:
        origins = self._parts(name)
        if not all(is_origin(origin) for origin in origins):
            self.problems.append(f"{name} is not a list of origins such as https://app.example.com")
        return origins

    def _parts(self, name: str) -> tuple[str, ...]:
        parts = (part.strip() for part in self.env.get(name, "").split(","))
        return tuple(dict.fromkeys(part for part in parts if part))
