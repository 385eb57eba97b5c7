"""Every switch of the simulated TikTok, with its values and its default.

TikTok leaves much unsaid, and what it says has changed. Each switch is one such question; the
default is the documented answer, or the nastiest one where no document answers.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any


class SettingsRefused(ValueError):
    """One or more settings cannot be taken; nothing was changed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class _Whole:
    least: int
    most: int

    def problem(self, value: object) -> str | None:
        # bool is an int in Python; `true` for a number of seconds is a mistake.
        if isinstance(value, bool) or not isinstance(value, int):
            return "must be a whole number"
        if not self.least <= value <= self.most:
            return f"must be between {self.least} and {self.most}"
        return None


@dataclass(frozen=True, slots=True)
class _OneOf:
    values: tuple[object, ...]

    def problem(self, value: object) -> str | None:
        # By type too: 1 is no switch, and "200" is no status.
        if any(value == known and type(value) is type(known) for known in self.values):
            return None
        return f"must be one of {', '.join(map(str, self.values))}"


_TEN_YEARS = 315_360_000


def _seconds(default: int) -> Any:
    return field(default=default, metadata={"rule": _Whole(1, _TEN_YEARS)})


def _whole(default: int, *, least: int, most: int) -> Any:
    return field(default=default, metadata={"rule": _Whole(least, most)})


def _one_of(default: object, *others: object) -> Any:
    return field(default=default, metadata={"rule": _OneOf((default, *others))})


def _switch() -> Any:
    return field(default=False, metadata={"rule": _OneOf((False, True))})


@dataclass(frozen=True, slots=True)
class Settings:
    """How this TikTok behaves at the moment."""

    # Lifetimes. 2 h and 180 days are the newest figures [tokens]; the older page and a transcript
    # of August 2026 say 86400 and 31536000 [tokens-old, field]. They apply to what is issued next.
    access_seconds: int = _seconds(7_200)
    refresh_seconds: int = _seconds(15_552_000)
    # No page gives the life of a code; TikTok's business API says ten minutes [field].
    code_seconds: int = _seconds(600)

    # fixed: refreshing does not extend the link, `refresh_expires_in` counts down ("remaining
    # lifetime" [tokens]; a transcript counts down too [field]). sliding: each refresh starts anew.
    deadline: str = _one_of("fixed", "sliding")

    # What a spent refresh token does. strict: it is dead at once [refresh]. grace: for
    # `grace_seconds` it is answered again. family: its reuse ends the grant and every token of it.
    rotation: str = _one_of("strict", "grace", "family")
    grace_seconds: int = _whole(60, least=0, most=_TEN_YEARS)
    # same: the replay gets the pair that was already issued. new: it gets another pair, and the
    # refresh token of the pair before it dies. Only the latest generation can be replayed.
    grace_answer: str = _one_of("same", "new")
    # "may be different" [tokens-old] against "are rotated" [refresh]. sometimes: every second time.
    rotate: str = _one_of("always", "sometimes", "never")
    # No page says whether the access token in use survives a refresh.
    old_access_token: str = _one_of("survives", "dies")
    # No page says what a second authorization does to the first grant.
    second_authorization: str = _one_of("replaces", "keeps")

    # The token endpoint has been seen to answer errors under 200 [field]; 400 means as in RFC 6749
    # (400, and 401 for invalid_client).
    error_status: int = _one_of(200, 400)
    # /v2/user/info/ documents real statuses [api-errors]; some deployments report 200 [field].
    api_error_status: str = _one_of("documented", "always_200")
    missing_scope_error: str = _one_of("scope_not_authorized", "scope_permission_missed")

    # The shape of answers.
    code_encoding: str = _one_of("percent", "literal")
    numbers_as_strings: bool = _switch()
    omit_refresh_expires_in: bool = _switch()
    # Only in answers to a refresh. The token that was sent then stays valid, as RFC 6749 §6 has it.
    omit_refresh_token: bool = _switch()
    other_open_id_on_refresh: bool = _switch()
    # "an empty response body" and `{}` stand on the same page [revoke].
    revoke_body: str = _one_of("empty", "object")
    token_characters: int = _whole(72, least=40, most=4_096)

    # The browser's side. With `redirect_errors` two portal mistakes come back as a callback with
    # `error` and `error_type` instead of TikTok's own page; both have been seen [field].
    redirect_errors: bool = _switch()
    state_on_error: str = _one_of("echo", "empty", "absent")
    # assumed: a new browser is taken to be logged in as the first user. required: it logs in first.
    login: str = _one_of("assumed", "required")
    # Cross-Origin-Opener-Policy of its pages, none if empty. With one, a page that opened TikTok in
    # a pop-up takes that window for closed, and no message comes back. Products wait for such
    # messages [field], so none seems to be set; no page of TikTok's promises that.
    opener_policy: str = _one_of("", "same-origin", "same-origin-allow-popups")

    # Real milliseconds that every API answer takes, before anything is decided.
    latency_ms: int = _whole(0, least=0, most=60_000)

    # Webhooks. delayed: nothing is sent before `webhook_delay_seconds` on the shared clock.
    # reordered: all wait for /_control/webhooks/deliver, which sends the newest first.
    webhook_delivery: str = _one_of("once", "duplicate", "delayed", "reordered", "off")
    webhook_delay_seconds: int = _whole(3_600, least=0, most=_TEN_YEARS)
    webhook_secret: str = _one_of("right", "wrong")
    # Whether a retry is signed anew is not documented.
    webhook_retry: str = _one_of("re_signed", "same_t")

    def changed(self, changes: Mapping[str, object]) -> "Settings":
        """Settings with the changes applied, all or none.

        Raises:
            SettingsRefused: an unknown name or a value that the switch does not have.
        """
        rules = {known.name: known.metadata["rule"] for known in fields(self)}
        problems = []
        for name, value in changes.items():
            if name not in rules:
                problems.append(f"unknown setting {name!r}; known: {', '.join(sorted(rules))}")
            elif problem := rules[name].problem(value):
                problems.append(f"{name} {problem}")
        if problems:
            raise SettingsRefused(problems)
        return replace(self, **dict[str, Any](changes))

    def as_json(self) -> dict[str, object]:
        return asdict(self)
