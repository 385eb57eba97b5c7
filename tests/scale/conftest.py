"""What the template says about the refresh function, read once."""

from __future__ import annotations

import pytest

from benchmarks.renewal.setting import Setting


@pytest.fixture(scope="session")
def setting() -> Setting:
    """Variables and tables as CloudFormation would resolve them."""
    return Setting.read()
