"""The README's examples run as they stand, and so do the controls of the local world."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.reading import Document
from tests.flows.http_browser import HttpBrowser
from tests.flows.journey import Journey, consent, to_consent

README = Document.read("README.md")
_SECONDS = 60


def _here(text: str, endpoints: dict[str, str]) -> str:
    """The example with the addresses of this world in place of those of `make run`."""
    ports = {"gateway": 3000, "tiktok": 3001, "app": 3002, "aws": 3003, "control": 3009}
    for name, port in ports.items():
        text = text.replace(f"http://127.0.0.1:{port}", endpoints[name])
    return text


def _converse(command: list[str], env: dict[str, str], in_between: Callable[[str], None]) -> str:
    """Run a program that prints an address, act on it, press Enter, and give what it says then."""
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        first = process.stdout.readline()
        address = re.search(r"http\S+/connect/ls_\S+", first)
        if address:
            in_between(address[0])
        rest, _ = process.communicate("\n", timeout=_SECONDS)
    assert address, first + rest
    assert process.returncode == 0, first + rest
    return rest


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """What a shell has, and nothing of this machine's settings."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}


def test_the_curl_example_runs(
    journey: Journey, person: str, env: dict[str, str], tmp_path: Path
) -> None:
    before, after = README.section("With curl").blocks("sh")
    script = tmp_path / "example.sh"
    script.write_text(
        _here(f"set -euo pipefail\n{before}\nread -r _\n{after}", journey.world.endpoints)
    )
    browser = HttpBrowser()

    said = _converse(
        ["bash", str(script)],
        env,
        lambda url: consent_in(browser, url, person),
    )

    session, listed, told, unlinked = (json.loads(line) for line in said.splitlines() if line)
    assert session["status"] == "completed"
    (account,) = listed["items"]
    assert account["status"] == "active"
    assert told["data"]["user"] == {"display_name": person, "open_id": account["open_id"]}
    assert unlinked == {"status": "unlinked", "revoked_at_tiktok": True}


def test_the_python_example_runs(
    journey: Journey, person: str, env: dict[str, str], tmp_path: Path
) -> None:
    (example,) = README.section("With boto3").blocks("python")
    script = tmp_path / "link_and_use.py"
    script.write_text(example)
    browser = HttpBrowser()

    said = _converse(
        [sys.executable, str(script)],
        env
        | {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "LINKING_API": journey.world.endpoints["gateway"],
            "TIKTOK_API": journey.world.endpoints["tiktok"],
        },
        lambda url: consent_in(browser, url, person),
    )

    assert "to be linked again by 20" in said
    assert f"TikTok says {person}\n" in said
    assert "'revoked_at_tiktok': True" in said


def test_the_example_of_the_client_runs(
    journey: Journey, person: str, env: dict[str, str], tmp_path: Path
) -> None:
    (example,) = Document.read("docs/client.md").section("An example").blocks("python")
    script = tmp_path / "client_example.py"
    script.write_text(example)
    browser = HttpBrowser()
    gateway = journey.world.endpoints["gateway"]

    said = _converse(
        [sys.executable, str(script)],
        env
        | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "LINKING_API": gateway},
        lambda url: consent_in(browser, url, person),
    )

    assert f"{person} is to be linked again by 20" in said
    assert "for user.info.basic" in said
    assert "revoked_at_tiktok=True" in said


def test_the_python_example_knows_the_addresses_of_make_run() -> None:
    (example,) = README.section("With boto3").blocks("python")

    assert "http://127.0.0.1:3000" in example
    assert "http://127.0.0.1:3001" in example


def test_the_controls_of_the_local_world_run_as_documented(
    journey: Journey, env: dict[str, str]
) -> None:
    (block,) = Document.read("docs/configuration.md").section("Controls").blocks("sh")
    commands = _here(block, journey.world.endpoints).replace("curl ", "curl --fail-with-body ")
    script = "set -e\n" + commands.replace("\n", "; echo\n")

    done = subprocess.run(
        ["bash", "-c", script], env=env, capture_output=True, text=True, timeout=_SECONDS
    )

    assert done.returncode == 0, done.stdout + done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {key for answer in answers for key in answer} >= {"now", "settled", "payload", "waiting"}


def consent_in(browser: HttpBrowser, url: str, person: str) -> None:
    """Do in the browser what the README asks for between its two blocks."""
    page = consent(browser, to_consent(browser, url), person)
    assert page.text.startswith(("✓", "TikTok connected")), page.text
