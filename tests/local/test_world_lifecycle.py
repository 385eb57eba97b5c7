"""Starting and stopping: what is said when something is in the way, and that nothing stays."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from local.configuration import ROOT
from local.processes import Child
from local.testing import free_ports, running_world, start_world
from local.world import WorldFailed, own_directory
from tests.local.conftest import STACK

_PATIENCE_SECONDS = 30


def wait_for(condition: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)


def processes_with(word: str) -> list[str]:
    """Command lines of living processes that carry a word in command or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            text = command + (process / "environ").read_bytes()
        except OSError:  # it ended, or is not ours
            continue
        if word.encode() in text and process.name != str(os.getpid()):
            found.append(f"{process.name} {command!r}")
    return found


def run_to_its_end(directory: Path, **env: str) -> tuple[int, str]:
    process = start_world(directory, **env)
    try:
        code = process.wait(timeout=_PATIENCE_SECONDS)
    finally:
        process.kill()
    return code, (directory / "output").read_text(encoding="utf-8")


# ---- in the way --------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["GATEWAY_PORT", "TIKTOK_PORT", "AWS_PORT"])
def test_a_taken_port_is_named_with_its_variable_and_its_owner(
    tmp_path: Path, variable: str
) -> None:
    ports = free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(ports[variable])))
        taken.listen()
        code, said = run_to_its_end(tmp_path, TEMPLATE_FILE=STACK, **ports)

    assert code == 1
    assert f"port {ports[variable]} is taken" in said
    assert f"(process {os.getpid()})" in said
    assert f"set {variable} to another one" in said
    assert not (tmp_path / "local" / "endpoints.json").exists()


def test_every_problem_of_the_environment_is_told_at_once(tmp_path: Path) -> None:
    code, said = run_to_its_end(
        tmp_path, APP_PORT="high", FUNCTION_CONCURRENCY="0", TIKTOK_API_BASE_URL="http://x"
    )

    assert code == 2
    for variable in ("APP_PORT", "FUNCTION_CONCURRENCY", "TIKTOK_AUTHORIZE_URL"):
        assert variable in said


def test_a_template_that_cannot_be_deployed_says_which_resource(tmp_path: Path) -> None:
    template = ROOT / STACK
    text = template.read_text(encoding="utf-8")
    copy = tmp_path / "template.yaml"
    copy.write_text(text.replace("AWS::SecretsManager::Secret", "AWS::Secrets::No"), "utf-8")
    for folder in ("functions", "layer"):
        (tmp_path / folder).symlink_to(template.parent / folder)
    code, said = run_to_its_end(tmp_path, TEMPLATE_FILE=str(copy))

    assert code == 1
    assert "AWS::Secrets::No" in said


def test_two_worlds_cannot_share_a_folder(tmp_path: Path) -> None:
    with (
        own_directory(tmp_path / "local"),
        pytest.raises(WorldFailed, match=f"process {os.getpid()}"),
        own_directory(tmp_path / "local"),
    ):
        pass


def test_a_stale_folder_is_cleaned(tmp_path: Path) -> None:
    with own_directory(tmp_path / "local"):
        (tmp_path / "local" / "endpoints.json").write_text("{}", encoding="ascii")
    with own_directory(tmp_path / "local"):
        assert not (tmp_path / "local" / "endpoints.json").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine", encoding="ascii")

    with pytest.raises(WorldFailed, match="another LOCAL_DIR"), own_directory(tmp_path):
        pass
    assert precious.read_text(encoding="ascii") == "mine"


# ---- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signals",
    [(signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)],
    ids=lambda signals: "+".join(number.name for number in signals),
)
def test_signals_stop_everything(signals: tuple[signal.Signals, ...]) -> None:
    with running_world(TEMPLATE_FILE=STACK) as world:
        word = str(world.directory)
        assert processes_with(word)
        for number in signals:
            world.process.send_signal(number)

        assert world.process.wait(timeout=_PATIENCE_SECONDS) == 0
        assert not (world.directory / "local" / "endpoints.json").exists()
        assert processes_with(word) == []


def test_nothing_outlives_a_killed_world(tmp_path: Path) -> None:
    with running_world(TEMPLATE_FILE=STACK) as world:
        word = str(world.directory)
        running = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import json, sys, urllib.request\n"
                "data = json.dumps({'do': 'sleep', 'seconds': 60}).encode()\n"
                "urllib.request.urlopen(sys.argv[1] + '/invoke/ProbeFunction', data)",
                world.endpoints["control"],
            ],
            stderr=subprocess.DEVNULL,
        )
        world.process.kill()

        wait_for(lambda: not processes_with(word), what="the end of all processes")
        running.wait(timeout=_PATIENCE_SECONDS)
        # A killed world cannot tidy up; the next one does.
        assert (world.directory / "local" / "endpoints.json").exists()
        with own_directory(world.directory / "local"):
            assert not (world.directory / "local" / "endpoints.json").exists()


def test_a_stop_while_starting_is_clean(tmp_path: Path) -> None:
    process = start_world(tmp_path, TEMPLATE_FILE=STACK)
    wait_for(
        lambda: (tmp_path / "local" / "logs" / "ministack.log").exists(), what="MiniStack's start"
    )
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(timeout=_PATIENCE_SECONDS) == 0
    finally:
        process.kill()
    assert processes_with(str(tmp_path)) == []


def test_a_part_that_ends_by_itself_ends_the_world() -> None:
    with running_world(TEMPLATE_FILE=STACK) as world:
        (aws,) = [
            int(found.split()[0])
            for found in processes_with(str(world.directory))
            if "ministack" in found
        ]
        os.kill(aws, signal.SIGKILL)

        assert world.process.wait(timeout=_PATIENCE_SECONDS) == 1
        assert "MiniStack ended" in (world.directory / "output").read_text(encoding="utf-8")


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    child = Child(
        "child",
        [sys.executable, "-c", stubborn],
        env={},
        directory=tmp_path,
        log_file=tmp_path / "log",
    )
    wait_for(lambda: "ready" in child.last_lines(), what="the start")
    child.ask_to_stop()
    child.stop(deadline=time.monotonic() + 0.1)

    assert child.exit_code == -signal.SIGKILL
