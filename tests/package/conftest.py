"""What `make build` made. Nothing here builds: that would hide what is really deployed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from local.building import RUNTIME

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def build() -> Path:
    """The built functions and layer."""
    if sys.version_info[:2] != RUNTIME:
        pytest.fail(
            "the package is for Python 3.13, which this environment has not: make distclean build"
        )
    folder = ROOT / ".aws-sam" / "build"
    if not (folder / "template.yaml").is_file():
        pytest.fail("there is no build to test: make build")
    return folder


@pytest.fixture(scope="session")
def layer(build: Path) -> Path:
    """What Lambda puts on the path as /opt/python."""
    return build / "LinkingLayer" / "python"


def isolated(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter without site-packages and without this one's environment."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
