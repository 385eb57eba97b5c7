"""`python -m local.tiktok` as the world starts it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from local.tiktok.__main__ import main

APPS = json.dumps(
    [
        {
            "name": "default",
            "client_key": "key",
            "client_secret": "the-secret",
            "platform": "desktop",
            "redirect_uris": ["http://127.0.0.1:3000/callback"],
        }
    ]
)


@contextmanager
def _started(**env: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "local.tiktok"],
        env={"PATH": os.environ["PATH"], "TIKTOK_PORT": "0", "TIKTOK_APPS": APPS} | env,
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _base_url(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    return next(word for word in line.split() if word.startswith("http://"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_that_it_is_ready_serves_and_stops_and_tells_no_secret(
    number: signal.Signals,
) -> None:
    with _started() as process, requests.Session() as http:
        base_url = _base_url(process)
        form = {"client_key": "key", "client_secret": "the-secret"}
        answer = http.post(f"{base_url}/v2/oauth/token/", data=form, timeout=5)

        process.send_signal(number)
        rest, errors = process.communicate(timeout=10)

    assert answer.json()["error"] == "invalid_request"
    assert (process.returncode, rest, errors) == (0, "", "")


def test_it_reads_the_shared_clock_at_every_use(tmp_path: Path) -> None:
    offset_file = tmp_path / "clock"
    form = {"client_key": "key", "client_secret": "wrong", "grant_type": "refresh_token"}
    with _started(CLOCK_FILE=str(offset_file)) as process, requests.Session() as http:
        url = f"{_base_url(process)}/v2/oauth/token/"
        real = http.post(url, data=form, timeout=5).json()["log_id"]
        offset_file.write_text("3155760000", encoding="ascii")  # a hundred years
        moved = http.post(url, data=form, timeout=5).json()["log_id"]

    assert int(moved[:4]) - int(real[:4]) in (99, 100)


def test_a_taken_port_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code = main({"TIKTOK_PORT": port, "TIKTOK_APPS": APPS})

    told = capsys.readouterr()
    assert code == 1
    assert told.out == ""
    assert port in told.err
    assert "TIKTOK_PORT" in told.err


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"TIKTOK_PORT": "many"}, "TIKTOK_PORT"),
        ({"TIKTOK_PORT": "70000"}, "TIKTOK_PORT"),
        ({"TIKTOK_APPS": ""}, "TIKTOK_APPS"),
        ({"TIKTOK_APPS": "{"}, "TIKTOK_APPS"),
        ({"TIKTOK_APPS": APPS.replace("desktop", "web")}, "https"),
    ],
)
def test_a_wrong_environment_is_named(
    env: dict[str, str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main({"TIKTOK_APPS": APPS} | env)

    told = capsys.readouterr()
    assert code == 2
    assert told.out == ""
    assert named in told.err
    assert "the-secret" not in told.err
