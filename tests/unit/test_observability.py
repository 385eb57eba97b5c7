"""Redaction, the second net: what looks like a secret does not leave a logger of ours."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tiktok_linking.observability import audit_logger, logger, redacted

SESSION_ID = "ls_ExampleSessionIdOf256RandomBits0123456789-_"

SECRETS = [
    "act.aBc!def*0001",
    "rft.aBc!def*0001",
    "clt.aBc0001",
    SESSION_ID,
    "__Host-ttl_12ab34cd=ExampleCookieOf256RandomBits0123456789ABCDE",
    "__Host-tlpage=ExampleCookieOf256RandomBits0123456789ABCDE",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "token={}&x=1", '{{"t":"{}"}}', "a {} b", "('{}',)"])
def test_what_looks_like_a_secret_is_taken_out(secret: str, around: str) -> None:
    text = redacted(around.format(secret))

    assert "[redacted]" in text
    value = secret.partition("=")[2] or secret
    assert value not in text


@pytest.mark.parametrize("name", ["code", "state", "client_secret"])
def test_parameters_that_carry_secrets_are_taken_out(name: str) -> None:
    text = redacted(f"GET /callback?a=1&{name}=canary-value&b=2 HTTP/1.1")

    assert "canary" not in text
    assert "&b=2" in text


@pytest.mark.parametrize(
    "text",
    [
        "renewal postponed",
        "acct_a2lypge27zdnmaoott6nomzruqofwmtkk22aiceswxfakw3t",
        "outcome=refresh_in_progress",
        "link_session.completed",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


# -- the logger ---------------------------------------------------------------------------------


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the function's logger writes, parsed; a service of its own for each test."""
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "test-observability")
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    written = io.StringIO()
    package = logging.getLogger("tiktok_linking")
    before = (package.handlers, package.propagate, package.level)
    log = logger()
    for handler in log.handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(written)
    try:
        yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    finally:
        package.handlers, package.propagate = before[0], before[1]
        package.setLevel(before[2])


Lines = Callable[[], list[dict[str, Any]]]
CANARY = "rft.canary0001!"


def ours() -> logging.Logger:
    return logging.getLogger("tiktok_linking.renewal")


def test_a_line_is_json_with_its_facts(lines: Lines) -> None:
    ours().warning("renewal postponed", extra={"grant": "g1", "why": "server_error"})

    (line,) = lines()
    assert (line["message"], line["grant"], line["why"]) == (
        "renewal postponed",
        "g1",
        "server_error",
    )
    assert line["level"] == "WARNING"


def test_line_breaks_in_a_value_make_no_second_line(lines: Lines) -> None:
    ours().warning("said", extra={"why": 'x\n{"level": "ERROR"}'})

    assert len(lines()) == 1


def in_message() -> None:
    ours().error("failed with " + CANARY)


def in_extra() -> None:
    ours().error("failed", extra={"why": CANARY})


def in_arguments() -> None:
    ours().error("failed with %s", CANARY)


def in_nested_extra() -> None:
    ours().error("failed", extra={"why": {"tokens": [CANARY]}})


class Talkative:
    """An object whose text holds what it must not."""

    def __str__(self) -> str:
        return f"token {CANARY}"


def in_an_object() -> None:
    ours().error("failed", extra={"why": Talkative()})


def in_a_tuple() -> None:
    ours().error("failed", extra={"why": ("x", [CANARY])})


def in_a_name() -> None:
    ours().error("failed", extra={"why": {CANARY: 1}})


def in_exception() -> None:
    try:
        raise RuntimeError(f"failed with {CANARY}")
    except RuntimeError:
        ours().exception("failed")


def in_cause() -> None:
    try:
        try:
            raise ValueError(CANARY)
        except ValueError as error:
            raise RuntimeError("failed") from error
    except RuntimeError as error:
        ours().error("failed", exc_info=error)


LEAKS = [
    in_message,
    in_extra,
    in_arguments,
    in_nested_extra,
    in_an_object,
    in_a_tuple,
    in_a_name,
    in_exception,
    in_cause,
]


@pytest.mark.parametrize("leak", LEAKS)
def test_a_secret_is_taken_out_wherever_it_hides(lines: Lines, leak: Callable[[], None]) -> None:
    leak()

    assert lines()
    assert "canary" not in json.dumps(lines())


def test_a_line_stays_json_whatever_is_taken_out(lines: Lines) -> None:
    ours().error('he said "code=abc"', extra={"why": "state=x\\", "quote": '"act.x"'})

    (line,) = lines()
    assert "abc" not in line["message"]
    assert line["quote"] == '"[redacted]"'


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer canary",
        "{'authorization': 'Bearer canary'}",
        '{"Cookie": "x=canary"}',
        "Set-Cookie: x=canary; Secure",
        "{'tiktok-signature': 't=1,s=canary'}",
        "{'client_secret': 'canary'}",
        '{"refresh_token":"canary"}',
        '{\\"access_token\\": \\"canary\\"}',
        "code_verifier=canary&x",
        'completion_code: "canary"',
        """b'{"SecretString": "{\\\\"default\\\\": {\\\\"current\\\\": \\\\"canary"}'""",
        '{"Plaintext": "canary"}',
    ],
)
def test_what_a_name_says_is_secret_is_taken_out(text: str) -> None:
    assert "canary" not in redacted(text)
    assert "[redacted]" in redacted(text)


@pytest.fixture
def foreign(lines: Lines) -> Iterator[tuple[logging.Handler, io.StringIO]]:
    """A handler of the root logger, as Lambda has one before it imports us."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logging.getLogger().addHandler(handler)
    logger()
    try:
        yield handler, written
    finally:
        logging.getLogger().removeHandler(handler)


def test_the_net_lies_under_every_other_logger_too(
    foreign: tuple[logging.Handler, io.StringIO],
) -> None:
    try:
        raise RuntimeError(f"failed with {CANARY}")
    except RuntimeError:
        logging.getLogger("somebody.else").error("state=%s", "canary", exc_info=True)

    assert "RuntimeError" in foreign[1].getvalue()
    assert "canary" not in foreign[1].getvalue()


def test_the_net_is_put_under_a_handler_once(
    foreign: tuple[logging.Handler, io.StringIO],
) -> None:
    before = (foreign[0].formatter, list(foreign[0].filters))

    logger()

    assert (foreign[0].formatter, foreign[0].filters) == before


def test_a_library_that_was_given_a_level_of_its_own_stays_quiet(
    foreign: tuple[logging.Handler, io.StringIO],
) -> None:
    talkative = logging.getLogger("botocore.parsers")
    talkative.setLevel(logging.DEBUG)
    try:
        talkative.debug("Response body: canary")
        talkative.warning("something to know")
    finally:
        talkative.setLevel(logging.NOTSET)

    assert foreign[1].getvalue() == "something to know\n"


def test_at_debug_the_libraries_stay_quiet(lines: Lines) -> None:
    """botocore and urllib3 print bodies and query strings there."""
    for name in ("boto3", "botocore.endpoint", "urllib3.connectionpool", "requests"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)


def test_the_audit_is_written_at_every_level(lines: Callable[[], list[dict[str, Any]]]) -> None:
    package = logging.getLogger("tiktok_linking")
    package.setLevel(logging.ERROR)

    logging.getLogger("tiktok_linking.vending").info("not this one")
    audit_logger().info("token vended", extra={"account": "acct_x", "token": "act.aBc!def*0001"})

    (told,) = lines()
    assert (told["message"], told["account"]) == ("token vended", "acct_x")
    assert told["token"] == "[redacted]"
