"""A local world inside a test: started on free ports, with a folder of its own.

    with running_world() as world:
        session = world.api("POST", "/v1/link-sessions", json={"end_user_id": "u_42"}).json()
        world.advance(days=1)
        world.invoke("RefreshFunction")
        world.settle()

A world takes some seconds to start: share it in a session fixture where tests do not disturb each
other, and tell them apart by end user.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.configuration import PORTS, ROOT
from local.sigv4 import REGION, SERVICE

_START_SECONDS = 60
_STOP_SECONDS = 15
_REQUEST_SECONDS = 60


class WorldDidNotStart(Exception):
    """With what the world said."""


class WorldHandle:
    """A running world, as its users see it: its ports and nothing else."""

    def __init__(
        self, endpoints: Mapping[str, str], directory: Path, process: "subprocess.Popen[bytes]"
    ) -> None:
        self.endpoints = dict(endpoints)
        self.directory = directory
        self.process = process
        self._http = requests.Session()
        self._http.trust_env = False

    # ---- the API -------------------------------------------------------------------------------

    def get(self, path: str, **options: Any) -> requests.Response:
        """An unsigned request to the gateway, as a browser's; redirects are not followed."""
        return self._send("GET", self.endpoints["gateway"] + path, **options)

    def api(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,  # the name that requests uses
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        caller: tuple[str, str] = ("test", "test"),
    ) -> requests.Response:
        """A request to the gateway, signed as a backend signs it."""
        request = signed(
            method,
            self.endpoints["gateway"] + path,
            json=json,
            params=params,
            headers=headers,
            caller=caller,
        )
        return self._http.send(request, timeout=_REQUEST_SECONDS, allow_redirects=False)

    # ---- control -------------------------------------------------------------------------------

    def invoke(self, logical_id: str, event: Any = None) -> dict[str, Any]:
        """Run a function; `{}`, the scheduled event, by default."""
        path = f"/invoke/{logical_id}"
        answer: dict[str, Any] = self._control("POST", path, {} if event is None else event)
        return answer

    def advance(self, **span: float) -> datetime:
        """Move the shared clock, by keywords of timedelta; answers its new time."""
        seconds = timedelta(**span).total_seconds()
        answer = self._control("POST", "/clock", {"advance_seconds": seconds})
        return datetime.fromisoformat(answer["now"])

    def now(self) -> datetime:
        """The shared clock's time."""
        return datetime.fromisoformat(self._control("GET", "/clock")["now"])

    def settle(self, timeout_seconds: float = 30) -> None:
        """Wait until queues are empty and no function runs; fails if that does not come."""
        answer = self._control("POST", "/settle", {"timeout_seconds": timeout_seconds})
        if not answer["settled"]:
            raise AssertionError(f"the world did not settle: {answer}")

    def events(self) -> list[dict[str, Any]]:
        """What the stack put on its bus, oldest first."""
        events: list[dict[str, Any]] = self._control("GET", "/events")
        return events

    def calls(self) -> dict[str, dict[str, int]]:
        """Calls on the wire by function, since `forget_calls`."""
        calls: dict[str, dict[str, int]] = self._control("GET", "/calls")
        return calls

    def forget_calls(self) -> None:
        self._control("POST", "/calls/reset")

    def arm_fault(self, function: str, **fault: Any) -> None:
        """Put a fault into the next invocation of a function (`local.faults`)."""
        self._control("POST", "/faults", {"function": function, **fault})

    def hits(self, function: str) -> list[dict[str, Any]]:
        """The calls at which faults acted since the function's last one was armed."""
        hits: list[dict[str, Any]] = self._control("GET", "/faults")["hits"][function]
        return hits

    def wait_until_held(self, function: str) -> list[str]:
        """Wait until a process is held at a call, or none of the function runs any more."""
        held: list[str] = self._control("POST", "/faults/held", {"function": function})["held"]
        return held

    def release(self) -> None:
        """Let every held process go on."""
        self._control("POST", "/faults/release")

    def begin_outage(self, service: str, kind: str, *functions: str) -> None:
        """Take a service away from functions, or from all, until `end_outage`."""
        named = {"functions": list(functions)} if functions else {}
        self._control("POST", "/outage", {"service": service, "kind": kind, **named})

    def end_outage(self) -> None:
        self._control("DELETE", "/outage")

    def pause_deliveries(self, *functions: str) -> None:
        """Let messages for these functions wait in their queues; all others are delivered."""
        self._control("POST", "/deliveries", {"paused": list(functions)})

    def share_waits(self, shared: bool = True) -> None:
        """Whether functions that wait move the shared clock instead of taking real time."""
        self._control("POST", "/clock", {"waits": "shared" if shared else "real"})

    def trace(self, function: str) -> list[str]:
        """The calls that a function's last invocation made, in order."""
        calls: list[str] = self._control("GET", "/faults")["traces"][function]
        return calls

    def log_text(self) -> str:
        """Everything that the functions printed."""
        return self._send("GET", f"{self.endpoints['control']}/logs").text

    def logs(self, function: str | None = None) -> list[dict[str, Any]]:
        """The records of all functions, or of one."""
        records = [json.loads(line) for line in self.log_text().splitlines()]
        return [record for record in records if function in (None, record["function"])]

    def tiktok(self, method: str, path: str, body: Any = None) -> Any:
        """The built-in TikTok's controls: `world.tiktok("POST", "/faults", {...})`."""
        url = f"{self.endpoints['tiktok']}/_control{path}"
        answer = self._send(method, url, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop the world and wait for its end; answers its exit code."""
        self._http.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._send(method, self.endpoints["control"] + path, json=body)
        if not answer.ok:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def _send(self, method: str, url: str, **options: Any) -> requests.Response:
        options = {"timeout": _REQUEST_SECONDS, "allow_redirects": False} | options
        return self._http.request(method, url, **options)


def signed(
    method: str,
    url: str,
    *,
    json: Any = None,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    caller: tuple[str, str] = ("test", "test"),
) -> requests.PreparedRequest:
    """A request with an AWS signature by botocore."""
    # AWS signs a space as %20; requests would send it as a plus sign.
    query = urlencode(params or {}, quote_via=quote)
    prepared = requests.Request(
        method, f"{url}?{query}" if query else url, json=json, headers=dict(headers or {})
    ).prepare()
    to_sign = AWSRequest(
        method=method, url=prepared.url, data=prepared.body or b"", headers=dict(prepared.headers)
    )
    SigV4Auth(Credentials(*caller), SERVICE, REGION).add_auth(to_sign)
    prepared.headers.update(dict(to_sign.headers))
    return prepared


@contextlib.contextmanager
def running_world(**env: str) -> Iterator[WorldHandle]:
    """Start a world with these variables, and stop it at the end.

    Raises:
        WorldDidNotStart: with the world's own words.
    """
    directory = Path(tempfile.mkdtemp(prefix="tiktok-link-world-"))
    process = start_world(directory, **env)
    try:
        yield WorldHandle(_wait_for_endpoints(directory, process), directory, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def start_world(directory: Path, **env: str) -> "subprocess.Popen[bytes]":
    """Start the process alone; what it says goes to `output` beside its folder's content."""
    variables = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", str(directory)),
        "LOCAL_DIR": str(directory / "local"),
        **free_ports(),
        **({"MINISTACK": os.environ["MINISTACK"]} if "MINISTACK" in os.environ else {}),
        **env,
    }
    with (directory / "output").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "local.world"],
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def free_ports() -> dict[str, str]:
    """A value for each port variable, free a moment ago."""
    with contextlib.ExitStack() as held:
        ports = {}
        for variable, _ in PORTS.values():
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports[variable] = str(probe.getsockname()[1])
        return ports


def _wait_for_endpoints(directory: Path, process: "subprocess.Popen[bytes]") -> dict[str, str]:
    file = directory / "local" / "endpoints.json"
    deadline = time.monotonic() + _START_SECONDS
    while not file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            said = (directory / "output").read_text(encoding="utf-8", errors="replace")
            raise WorldDidNotStart(said)
        time.sleep(0.02)
    endpoints: dict[str, str] = json.loads(file.read_text(encoding="ascii"))
    return endpoints
