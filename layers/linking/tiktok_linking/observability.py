"""Logs and the one rule of redaction.

Our code never hands a secret to a logger; the redaction here is the second net, under our own
records and under those of every other logger. The libraries are kept quiet at DEBUG, where
botocore and urllib3 print bodies and query strings.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from aws_lambda_powertools import Logger

# What a secret looks like by itself; what follows a name that only a secret has; what a header
# of that kind says. A backslash ends a value, so that quoted text stays quoted.
_SECRETS = re.compile(
    r"\b(?:act|rft|clt)\.[^\s\"',&\\]+"
    r"|ls_[A-Za-z0-9_-]{40,}"
    r"|(?<=code=)[^\s\"'&\\]+"
    r"|(?<=state=)[^\s\"'&\\]+"
    r"|__Host-t(?:tl_[0-9a-f]{8}|lpage)=[^\s\"';\\]+"
    r"|(?P<name>(?:client_secret|completion_code|code_verifier|access_token|refresh_token"
    r"|Plaintext)[\"'\\]*\s*[:=]\s*[\"'\\]*)[^\s\"',&\\]+"
    r"|(?P<header>(?i:authorization|cookie|tiktok-signature)[\"'\\]*\s*[:=]\s*[\"'\\]*)"
    r"[^\"'\r\n\\]+"
    r"|SecretString.*"
)
_NOISY = ("boto3", "botocore", "urllib3", "requests", "s3transfer")


def redacted(text: str) -> str:
    """Replace what looks like a code, token, secret, cookie, state, signature or session id."""
    return _SECRETS.sub(lambda found: f"{found['name'] or found['header'] or ''}[redacted]", text)


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


class _Redacting(logging.Formatter):
    """A formatter's own work, and then the redaction: for handlers that are not ours."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return redacted(self._inner.format(record))


def _is_no_noise(record: logging.LogRecord) -> bool:
    """Keep the libraries' bodies out even where somebody gave one of them a level of its own."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] not in _NOISY


def _guard(handler: logging.Handler) -> None:
    """Put the second net under a handler, once."""
    if not isinstance(handler.formatter, _Redacting):
        handler.setFormatter(_Redacting(handler.formatter or logging.Formatter()))
        handler.addFilter(_is_no_noise)


def audit_logger() -> logging.Logger:
    """For what is written down at every LogLevel. Call ``logger`` first: it lends its handler."""
    audit = logging.getLogger("tiktok_linking.audit")
    audit.setLevel(logging.INFO)
    return audit


def logger() -> Logger:
    """The function's logger: one JSON line a record, with the request's id."""
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:  # Lambda's, for whoever else logs
        _guard(handler)
    shared = Logger(utc=True, log_uncaught_exceptions=False, json_serializer=_as_redacted_json)
    # The package logs through the standard library and knows no Powertools: lend it our handler.
    package = logging.getLogger("tiktok_linking")
    package.setLevel(shared.log_level)
    package.handlers = list(shared.handlers)
    package.propagate = False
    return shared
