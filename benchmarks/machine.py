"""On what figures were measured: a line for the top of each table."""

from __future__ import annotations

import contextlib
import os
import platform
import ssl
import statistics
import subprocess
import time
from pathlib import Path

import certifi

_WANTED = ("boto3", "aws-lambda-powertools", "pydantic", "requests", "django-allauth", "Authlib")


def machine(python: Path | None = None) -> str:
    """Versions, processor, load, and what OpenSSL takes for the list of authorities."""
    model = "unknown processor"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    versions = "" if python is None else f"; {_versions(python)}"
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {ssl.OPENSSL_VERSION} "
        f"reads the list of authorities in {_parse_milliseconds():.1f} ms of CPU{versions}"
    )


def _parse_milliseconds() -> float:
    """CPU of reading the list of authorities once: most of what a new connection costs."""
    taken = []
    for _ in range(9):
        began = time.process_time()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certifi.where())
        taken.append(time.process_time() - began)
    return 1000 * statistics.median(taken)


def _versions(python: Path) -> str:
    """Of what is measured, in the environment that it is measured in."""
    code = (
        "from importlib.metadata import version\n"
        f"print(', '.join(f'{{name}} {{version(name)}}' for name in {_WANTED!r}))"
    )
    ran = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    return ran.stdout.strip()
