"""The environment variables of the local world, read and checked together.

| variable | default | what |
|---|---|---|
| GATEWAY_PORT, TIKTOK_PORT, APP_PORT, AWS_PORT, CONTROL_PORT | 3000 to 3003, 3009 | |
| APP_NAME | Acme | the product's name on the stack's pages |
| ACCENT_COLOR, APP_LOGO | | how those pages look, as the stack's parameters |
| PUBLIC_BASE_URL | http://127.0.0.1:$GATEWAY_PORT | + /callback is the redirect URI |
| RETURN_ORIGINS | | origins of return addresses, beside the sample product's |
| VERIFICATION_FILES | tiktoklocal.txt=… | `name=content` pairs, as the stack's parameter |
| APP_REGISTRATIONS | default=…,second=… | `name=client_key`; the built-in TikTok registers each |
| SCOPES_REQUIRED, SCOPES_OPTIONAL | user.info.basic; profile, stats, video.list | |
| COMPLETION | browser | the stack's completion mode, which the sample product follows |
| CALLER_TENANTS | | `ROLE=tenant,…`, in the form of the stack's parameter |
| LOCAL_CALLERS | | `NAME:SECRET,…`: more callers, whose access key and role are NAME |
| STACK_PARAMETERS | | `Name=value …`: further parameters of the stack, such as `AuditEvents=on` |
| FUNCTION_CONCURRENCY | 8 | processes per function at most |
| SCHEDULES | off | `on` runs the template's schedules |
| LOG_LEVEL | INFO | of the functions |
| TIKTOK | built-in | `real` talks to tiktok.com |
| TIKTOK_AUTHORIZE_URL, TIKTOK_API_BASE_URL | | any other TikTok, instead of the built-in one |
| TIKTOK_CLIENT_KEY, TIKTOK_CLIENT_SECRET | | the app at that TikTok |
| TIKTOK_CREDENTIALS_FILE | ~/.config/tiktok-link/credentials.env | those two, for `TIKTOK=real` |
| AUTH | false | `true`: each function runs with its own role's permissions alone |
| LOCAL_DIR | .local | endpoints.json, logs, temporary files; a second world needs its own |
| TEMPLATE_FILE | template.yaml | the stack |
| MINISTACK | .venv-aws/bin/ministack | the program |
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from local.sigv4 import Caller
from tiktok_linking.brand import is_color, is_logo

ROOT = Path(__file__).resolve().parent.parent
REAL_AUTHORIZE_URL = "https://www.tiktok.com/v2/auth/authorize/"
REAL_API_BASE_URL = "https://open.tiktokapis.com"

PORTS = {
    "gateway": ("GATEWAY_PORT", 3000),
    "tiktok": ("TIKTOK_PORT", 3001),
    "app": ("APP_PORT", 3002),
    "aws": ("AWS_PORT", 3003),
    "control": ("CONTROL_PORT", 3009),
}
_BUILT_IN_KEYS = {"default": "awlocaldefault", "second": "awlocalsecond"}
_SCOPES_REQUIRED = "user.info.basic"
_SCOPES_OPTIONAL = "user.info.profile,user.info.stats,video.list"
_VERIFICATION_FILES = "tiktoklocal.txt=tiktok-developers-site-verification=local"
_CREDENTIALS_FILE = "~/.config/tiktok-link/credentials.env"
_MOST_PROCESSES = 64
_ROLE_NAME = re.compile(r"[A-Za-z0-9_+=.@-]{1,64}")
_CALLER_TENANT = (
    r"[A-Za-z0-9_+.@-]{1,64}=[A-Za-z0-9._~@/-]{1,128}"
    r"(:[a-z][a-z0-9-]{0,31}(\+[a-z][a-z0-9-]{0,31})*)?"
)
CALLER_TENANTS_FORM = re.compile(f"({_CALLER_TENANT}(,{_CALLER_TENANT})*)?")
"""The pattern of the stack's parameter CallerTenants."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ConfigurationRefused(Exception):
    """The environment cannot be used; each problem is a line for a person."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Registration:
    """One TikTok app, as the stack and the built-in TikTok both know it."""

    name: str
    client_key: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """Everything that a world is started with."""

    ports: Mapping[str, int]
    app_name: str
    accent_color: str
    app_logo: str
    public_base_url: str
    return_origins: tuple[str, ...]
    verification_files: str
    registrations: tuple[Registration, ...]
    scopes_required: str
    scopes_optional: str
    completion: str
    caller_tenants: str
    callers: tuple[Caller, ...]
    parameters: Mapping[str, str]
    function_concurrency: int
    schedules_on: bool
    log_level: str
    authorize_url: str
    api_base_url: str
    has_built_in_tiktok: bool
    is_real_tiktok: bool
    auth: bool
    directory: Path
    template_file: Path
    ministack: Path

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    @property
    def redirect_uri(self) -> str:
        return f"{self.public_base_url}/callback"

    @property
    def redirect_is_loopback(self) -> bool:
        """TikTok's desktop flavour: http on loopback, with PKCE."""
        parts = urlsplit(self.public_base_url)
        return parts.scheme == "http" and parts.hostname in _LOOPBACK

    def endpoints(self) -> dict[str, str]:
        """The content of endpoints.json."""
        urls = {name: self.url(name) for name in PORTS}
        if not self.has_built_in_tiktok:
            urls["tiktok"] = self.api_base_url
        return urls

    def stack_parameters(self) -> dict[str, str]:
        """Values for the template's parameters; those that it does not have are left out later."""
        return {
            "AppName": self.app_name,
            "AccentColor": self.accent_color,
            "AppLogo": self.app_logo,
            "AppRegistrations": ",".join(f"{r.name}={r.client_key}" for r in self.registrations),
            "ScopesRequired": self.scopes_required,
            "ScopesOptional": self.scopes_optional,
            "ReturnOrigins": ",".join(self.return_origins),
            "PublicBaseUrl": self.public_base_url,
            "VerificationFiles": self.verification_files,
            "LogLevel": self.log_level,
            "Completion": self.completion,
            "CallerTenants": self.caller_tenants,
            "DeletionProtection": "false",
            **self.parameters,
        }


def world_settings(env: Mapping[str, str]) -> WorldSettings:
    """Read the environment.

    Raises:
        ConfigurationRefused: with every problem, not only the first.
    """
    # `make` exports empty variables; empty means not set.
    given = {key: value.strip() for key, value in env.items() if value.strip()}
    problems: list[str] = []
    ports = _ports(given, problems)
    public_base_url = given.get("PUBLIC_BASE_URL", f"http://127.0.0.1:{ports['gateway']}")
    public_base_url = public_base_url.rstrip("/")
    if urlsplit(public_base_url).scheme not in ("http", "https"):
        problems.append(f"PUBLIC_BASE_URL must begin with http:// or https://: {public_base_url}")
    authorize_url, api_base_url, is_built_in, is_real = _tiktok(given, ports["tiktok"], problems)
    settings = WorldSettings(
        ports=ports,
        app_name=given.get("APP_NAME", "Acme"),  # what the sample product calls itself
        accent_color=_look(given, "ACCENT_COLOR", is_color, "a colour such as #0b5fff", problems),
        app_logo=_look(given, "APP_LOGO", is_logo, "a small data:image/ address", problems),
        public_base_url=public_base_url,
        return_origins=_return_origins(given, ports["app"]),
        verification_files=given.get("VERIFICATION_FILES", _VERIFICATION_FILES),
        registrations=_registrations(given, is_built_in, is_real, problems),
        scopes_required=given.get("SCOPES_REQUIRED", _SCOPES_REQUIRED),
        # Set and empty means none, here alone.
        scopes_optional=env.get("SCOPES_OPTIONAL", _SCOPES_OPTIONAL).strip(),
        completion=_switch(given, "COMPLETION", ("browser", "app"), "browser", problems),
        caller_tenants=_caller_tenants(given, problems),
        callers=_callers(given, problems),
        parameters=_parameters(given, problems),
        function_concurrency=_whole(given, "FUNCTION_CONCURRENCY", 8, 1, _MOST_PROCESSES, problems),
        schedules_on=_switch(given, "SCHEDULES", ("on", "off"), "off", problems) == "on",
        log_level=given.get("LOG_LEVEL", "INFO").upper(),
        authorize_url=authorize_url,
        api_base_url=api_base_url,
        has_built_in_tiktok=is_built_in,
        is_real_tiktok=is_real,
        auth=_switch(given, "AUTH", ("true", "false"), "false", problems) == "true",
        directory=(ROOT / given.get("LOCAL_DIR", ".local")).resolve(),
        template_file=(ROOT / given.get("TEMPLATE_FILE", "template.yaml")).resolve(),
        ministack=ROOT / given.get("MINISTACK", ".venv-aws/bin/ministack"),
    )
    if not settings.template_file.is_file():
        problems.append(f"there is no template {settings.template_file}")
    if not settings.ministack.is_file():
        problems.append(f"MiniStack is not installed ({settings.ministack}): run `make install`")
    if problems:
        raise ConfigurationRefused(problems)
    return settings


def _parameters(given: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in given.get("STACK_PARAMETERS", "").split():
        name, is_pair, value = pair.partition("=")
        if not is_pair or not re.fullmatch("[A-Za-z0-9]+", name):
            problems.append(f"STACK_PARAMETERS holds Name=value pairs and spaces, not {pair}")
        found[name] = value
    return found


def _ports(given: Mapping[str, str], problems: list[str]) -> dict[str, int]:
    ports: dict[str, int] = {}
    for name, (variable, default) in PORTS.items():
        ports[name] = _whole(given, variable, default, 1, 65_535, problems)
    for name, port in ports.items():
        same = [PORTS[other][0] for other in ports if ports[other] == port]
        if len(same) > 1 and same[0] == PORTS[name][0]:
            problems.append(f"{' and '.join(same)} are the same port, {port}")
    return ports


def _whole(
    given: Mapping[str, str],
    variable: str,
    default: int,
    least: int,
    most: int,
    problems: list[str],
) -> int:
    text = given.get(variable, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        problems.append(f"{variable} must be a number from {least} to {most}, not {text!r}")
        return default
    return int(text)


def _switch(
    given: Mapping[str, str],
    variable: str,
    values: tuple[str, ...],
    default: str,
    problems: list[str],
) -> str:
    value = given.get(variable, default).lower()
    if value not in values:
        problems.append(f"{variable} must be {' or '.join(values)}, not {value!r}")
    return value


def _look(
    given: Mapping[str, str],
    variable: str,
    is_one: Callable[[str], bool],
    what: str,
    problems: list[str],
) -> str:
    value = given.get(variable, "")
    if value and not is_one(value):
        problems.append(f"{variable} must be {what}")
    return value


def _return_origins(given: Mapping[str, str], app_port: int) -> tuple[str, ...]:
    added = [part.strip() for part in given.get("RETURN_ORIGINS", "").split(",")]
    own = [f"http://127.0.0.1:{app_port}", f"http://localhost:{app_port}"]
    return tuple(dict.fromkeys(filter(None, [*own, *added])))


def _callers(given: Mapping[str, str], problems: list[str]) -> tuple[Caller, ...]:
    callers = [Caller("test", "test", "local-backend")]
    for part in filter(None, given.get("LOCAL_CALLERS", "").split(",")):
        name, _, secret = part.strip().partition(":")
        if not _ROLE_NAME.fullmatch(name) or not secret:
            problems.append("LOCAL_CALLERS must be NAME:SECRET, comma separated, NAME as IAM's")
        elif name in (caller.access_key for caller in callers):
            problems.append(f"LOCAL_CALLERS names {name} although it is there already")
        else:
            callers.append(Caller(name, secret, name))
    return tuple(callers)


def _caller_tenants(given: Mapping[str, str], problems: list[str]) -> str:
    value = given.get("CALLER_TENANTS", "")
    if not CALLER_TENANTS_FORM.fullmatch(value):
        # Refused here, since the functions would only answer 500 to everybody.
        problems.append(
            "CALLER_TENANTS must be ROLE=tenant or ROLE=tenant:app+app, comma separated"
        )
    return value


def _tiktok(
    given: Mapping[str, str], port: int, problems: list[str]
) -> tuple[str, str, bool, bool]:
    """The two addresses, whether they are built-in, whether they are real."""
    is_real = _switch(given, "TIKTOK", ("built-in", "real"), "built-in", problems) == "real"
    authorize_url = given.get("TIKTOK_AUTHORIZE_URL")
    api_base_url = given.get("TIKTOK_API_BASE_URL")
    if bool(authorize_url) != bool(api_base_url):
        problems.append("set TIKTOK_AUTHORIZE_URL and TIKTOK_API_BASE_URL together, or neither")
    if is_real:
        if authorize_url or api_base_url:
            problems.append("TIKTOK=real and TIKTOK_AUTHORIZE_URL exclude each other")
        return REAL_AUTHORIZE_URL, REAL_API_BASE_URL, False, True
    if authorize_url and api_base_url:
        return authorize_url, api_base_url.rstrip("/"), False, False
    base = f"http://127.0.0.1:{port}"
    return f"{base}/v2/auth/authorize/", base, True, False


def _registrations(
    given: Mapping[str, str], is_built_in: bool, is_real: bool, problems: list[str]
) -> tuple[Registration, ...]:
    own = _own_credentials(given, is_real, problems)
    keys: dict[str, str] = {}
    for part in filter(None, given.get("APP_REGISTRATIONS", "").split(",")):
        name, _, key = part.strip().partition("=")
        if not name or not key:
            problems.append("APP_REGISTRATIONS must be name=client_key, comma separated")
        keys[name] = key
    if not keys:
        keys = {"default": own[0]} if own[0] else dict(_BUILT_IN_KEYS)
        if not is_built_in:
            keys = {"default": keys["default"]}
    first = next(iter(keys))
    return tuple(
        Registration(
            name,
            key,
            own[1] if own[1] and key in (own[0], keys[first]) else f"local-secret-of-{key}",
        )
        for name, key in keys.items()
    )


def _own_credentials(
    given: Mapping[str, str], is_real: bool, problems: list[str]
) -> tuple[str, str]:
    """The client key and secret of somebody's own app, where there is one."""
    names = ("TIKTOK_CLIENT_KEY", "TIKTOK_CLIENT_SECRET")
    values = {name: given[name] for name in names if name in given}
    if is_real and len(values) < len(names):
        file = Path(given.get("TIKTOK_CREDENTIALS_FILE", _CREDENTIALS_FILE)).expanduser()
        if file.resolve().is_relative_to(ROOT):
            problems.append(f"keep {file} outside of the repository, where nobody commits it")
        elif file.is_file():
            values = _credentials_file(file) | values
        if missing := [name for name in names if name not in values]:
            problems.append(
                f"TIKTOK=real needs {' and '.join(missing)}, from the environment or as lines"
                f" NAME=value of {file} (docs/portal-setup.md says where to find them)"
            )
    return values.get(names[0], ""), values.get(names[1], "")


def _credentials_file(file: Path) -> dict[str, str]:
    values = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if separator and not name.startswith("#"):
            values[name.strip()] = value.strip().strip("'\"")
    return values
