"""The command line as a process of its own, against one world that is its alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.testing import WorldHandle, running_world
from tests.flows.journey import Journey

ROOT = Path(__file__).resolve().parents[2]
SECRETS = re.compile(r"(act|rft|clt)\.[\w!*.-]{8}|ls_[\w-]{20}|local-secret-of-|code_challenge=")
_SECONDS = 60


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture(scope="session")
def cli_world() -> Iterator[WorldHandle]:
    """Not the shared one: `revoke-all` means all."""
    with running_world() as world:
        yield world


@pytest.fixture
def people(cli_world: WorldHandle) -> Iterator[Journey]:
    journey = Journey(cli_world)
    yield journey
    journey.tiktok.control("DELETE", "/faults")


@pytest.fixture
def linked(people: Journey) -> str:
    """An account that no other test knows."""
    import secrets

    name = f"person_{secrets.token_hex(4)}"
    people.tiktok.control("POST", "/users", {"user": name, "display_name": name})
    return people.link(f"u_{name}", name).account_id


@pytest.fixture
def run(cli_world: WorldHandle, tmp_path: Path) -> Run:
    """Run a command in a folder of its own. Whatever it says, it must hold no secret."""

    def run(
        *words: str, where: str = "--local", typed: str = "", endpoints: Path | None = None
    ) -> Said:
        done = subprocess.run(
            [sys.executable, "-m", "tiktok_link_cli", *words, *filter(None, [where])],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "PYTHONPATH": f"{ROOT / 'cli'}:{ROOT / 'layers' / 'linking'}",
                "LOCAL_DIR": str(endpoints or cli_world.directory / "local"),
            },
            input=typed,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        assert not SECRETS.search(done.stdout + done.stderr), done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    return run
