"""Logs and the one rule of redaction.

Our code never hands a secret to a logger; the redaction here is the second net. The libraries are
kept quiet at DEBUG, where botocore and urllib3 print bodies and query strings.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from aws_lambda_powertools import Logger

_SECRETS = re.compile(
    r"\b(?:act|rft|clt)\.[^\s\"',&]+"
    r"|ls_[A-Za-z0-9_-]{40,}"
    r"|(?<=code=)[^\s\"'&]+"
    r"|(?<=state=)[^\s\"'&]+"
    r"|(?<=client_secret=)[^\s\"'&]+"
    r"|__Host-t(?:tl_[0-9a-f]{8}|lpage)=[^\s\"';]+"
)
_NOISY = ("boto3", "botocore", "urllib3", "requests", "s3transfer")


def redacted(text: str) -> str:
    """Replace what looks like a code, token, cookie, state or session id."""
    return _SECRETS.sub("[redacted]", text)


def _as_redacted_json(record: dict[str, Any]) -> str:
    """The last step of every record: whatever was formatted, arguments and traces included."""
    return json.dumps(_without_secrets(record), default=_as_redacted_text, ensure_ascii=False)


def _without_secrets(value: Any) -> Any:
    """Redact texts before they are quoted, so that the line stays JSON."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {redacted(str(name)): _without_secrets(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(inner) for inner in value]
    return value


def _as_redacted_text(value: object) -> str:
    return redacted(str(value))


def logger() -> Logger:
    """The function's logger: one JSON line a record, with the request's id."""
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    shared = Logger(utc=True, log_uncaught_exceptions=False, json_serializer=_as_redacted_json)
    # The package logs through the standard library and knows no Powertools: lend it our handler.
    package = logging.getLogger("tiktok_linking")
    package.setLevel(shared.log_level)
    package.handlers = list(shared.handlers)
    package.propagate = False
    return shared
