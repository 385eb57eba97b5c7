"""Logs and the one rule of redaction.

Our code never hands a secret to a logger; the filter here is the second net. It also keeps the
libraries quiet at DEBUG, where botocore and urllib3 print bodies and query strings.
"""

from __future__ import annotations

import logging
import re

from aws_lambda_powertools import Logger

_SECRETS = re.compile(
    r"(?:act|rft|clt)\.[^\s\"',&]+"
    r"|ls_[A-Za-z0-9_-]{40,}"
    r"|(?<=code=)[^\s\"'&]+"
    r"|(?<=state=)[^\s\"'&]+"
    r"|(?<=client_secret=)[^\s\"'&]+"
    r"|__Host-ttl_[0-9a-f]{8}=[^\s\"';]+"
)
_NOISY = ("boto3", "botocore", "urllib3", "requests", "s3transfer")


def redacted(text: str) -> str:
    """Replace what looks like a code, token, cookie, state or session id."""
    return _SECRETS.sub("[redacted]", text)


class _Redaction(logging.Filter):
    """Runs on every record of our loggers, whoever made it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, str):
            record.msg = redacted(record.msg)
        for name, value in vars(record).items():
            if isinstance(value, str) and name not in ("msg", "levelname", "name"):
                vars(record)[name] = redacted(value)
        return True


def logger() -> Logger:
    """The function's logger: JSON lines with the request id and, for ours, no traceback locals."""
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    shared = Logger(utc=True, log_uncaught_exceptions=False)
    shared.addFilter(_Redaction())
    # The package logs through the standard library and knows no Powertools: lend it our handler.
    package = logging.getLogger("tiktok_linking")
    package.setLevel(shared.log_level)
    package.handlers = list(shared.handlers)
    package.propagate = False
    for handler in package.handlers:
        handler.addFilter(_Redaction())
    return shared
