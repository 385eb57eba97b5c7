"""The registered apps: what a developer types into TikTok's portal, and what the portal accepts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

BASIC_SCOPE = "user.info.basic"

# The scopes of [scopes] that an app of this kind asks for, in words for the consent page.
SCOPES: dict[str, str] = {
    BASIC_SCOPE: "Read your profile picture and display name",
    "user.info.profile": "Read your username, bio, profile links and verification",
    "user.info.stats": "Read your follower, following, like and video counts",
    "video.list": "Read your public videos",
    "video.publish": "Post videos to your profile",
    "video.upload": "Send drafts to your account for you to edit and post",
}

_MOST_REDIRECTS = 10
_LONGEST_REDIRECT = 511


class Platform(StrEnum):
    """The platform box of the portal, which decides redirect rules and PKCE."""

    WEB = "web"
    DESKTOP = "desktop"


class PortalRefused(ValueError):
    """The portal would not save this registration."""


@dataclass(frozen=True, slots=True)
class App:
    """One registered app: credentials, where it may send people back to, what it may ask for."""

    name: str
    client_key: str
    client_secret: str = field(repr=False)
    platform: Platform
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...] = (BASIC_SCOPE,)
    sandbox: bool = False
    # People's short names (people.py). Only read for a sandbox; an empty list admits nobody, not
    # even the developer [field].
    target_users: tuple[str, ...] = ()
    webhook_url: str | None = None
    title: str = ""
    # False: a production app before its review, or without the Login Kit product.
    approved: bool = True
    # True accepts redirect URIs that the portal would refuse, for test hosts such as *.localhost.
    any_redirect: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"{name} must not be empty"
            for name in ("name", "client_key", "client_secret", "redirect_uris")
            if not getattr(self, name)
        ]
        unknown = [scope for scope in self.scopes if scope not in SCOPES]
        problems += [f"there is no scope {scope}" for scope in unknown]
        if BASIC_SCOPE not in self.scopes:
            # Every Login Kit app has it by default [scopes].
            object.__setattr__(self, "scopes", (BASIC_SCOPE, *self.scopes))
        if not self.any_redirect:
            if len(self.redirect_uris) > _MOST_REDIRECTS:
                problems.append(f"more than {_MOST_REDIRECTS} redirect URIs")
            for uri in self.redirect_uris:
                problems += redirect_problems(uri, self.platform)
        if problems:
            raise PortalRefused(f"app {self.name or '?'}: {'; '.join(problems)}")

    @property
    def shown_name(self) -> str:
        return self.title or self.name

    def accepts_redirect(self, uri: str) -> bool:
        """True if the URI is registered, byte for byte but for a registered wildcard port."""
        return any(
            uri == registered or _matches_any_port(uri, registered)
            for registered in self.redirect_uris
        )

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> "App":
        """Read an app from JSON, naming what is missing, unknown or of the wrong type."""
        known = {part.name for part in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise PortalRefused(
                f"unknown key {', '.join(unknown)}; known: {', '.join(sorted(known))}"
            )
        required = ("name", "client_key", "client_secret", "platform", "redirect_uris")
        if missing := [key for key in required if key not in given]:
            raise PortalRefused(f"an app lacks {', '.join(missing)}")
        values = dict(given)
        for key in ("redirect_uris", "scopes", "target_users"):
            if key in values:
                values[key] = _strings(key, values[key])
        for key in ("name", "client_key", "client_secret", "title"):
            if not isinstance(values.get(key, ""), str):
                raise PortalRefused(f"{key} must be a string")
        for key in ("sandbox", "approved", "any_redirect"):
            if not isinstance(values.get(key, False), bool):
                raise PortalRefused(f"{key} must be true or false")
        if not isinstance(values.get("webhook_url"), str | None):
            raise PortalRefused("webhook_url must be a string or null")
        try:
            values["platform"] = Platform(values["platform"])
        except ValueError as error:
            raise PortalRefused("platform must be web or desktop") from error
        return cls(**values)


def apps_from_json(text: str) -> list[App]:
    """Read the apps from the JSON list in `TIKTOK_APPS`."""
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise PortalRefused(f"not JSON: line {error.lineno}, column {error.colno}") from error
    if not isinstance(given, list) or not given or not all(isinstance(a, dict) for a in given):
        raise PortalRefused("must be a JSON list of one or more objects")
    return [App.from_mapping(app) for app in given]


def redirect_problems(uri: str, platform: Platform) -> list[str]:
    """Say what the portal dislikes about a redirect URI.

    Both platforms: shorter than 512 characters, absolute, static, without a fragment. Web: https
    [web]. Desktop: http or https, localhost or 127.0.0.1, with a port, which may be `*` [desktop].
    """
    problems = []
    parts = urlsplit(uri)
    if len(uri) > _LONGEST_REDIRECT:
        problems.append("is 512 characters or longer")
    if not parts.netloc:
        problems.append("is not absolute")
    if parts.query or parts.fragment or "#" in uri or "?" in uri:
        problems.append("has a query or a fragment")
    if platform is Platform.WEB and parts.scheme != "https":
        problems.append("does not begin with https (a loopback address needs platform desktop)")
    if platform is Platform.DESKTOP:
        host, _, port = parts.netloc.rpartition(":")
        if parts.scheme not in ("http", "https"):
            problems.append("begins with neither http nor https")
        if host not in ("localhost", "127.0.0.1"):
            problems.append("is not on localhost or 127.0.0.1 with a port")
        elif port != "*" and not port.isdecimal():
            problems.append("has no port")
    return [f"redirect URI {uri} {problem}" for problem in problems]


def _matches_any_port(uri: str, registered: str) -> bool:
    before, wildcard, after = registered.partition(":*/")
    if not wildcard or not uri.startswith(f"{before}:"):
        return False
    port, slash, path = uri.removeprefix(f"{before}:").partition("/")
    return bool(slash) and port.isdecimal() and path == after


def _strings(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise PortalRefused(f"{key} must be a list of strings")
    if not all(isinstance(item, str) for item in value):
        raise PortalRefused(f"{key} must be a list of strings")
    return tuple(value)
