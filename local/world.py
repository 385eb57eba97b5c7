"""`python -m local.world`: the whole stack on this machine, until Ctrl-C.

Starts MiniStack, the built-in TikTok, the sample product and the functions; deploys template.yaml;
writes endpoints.json when all is ready, and takes everything down again, whatever ends it.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from local.aws import REGION, ROOT_KEY, ROOT_SECRET, LocalAws
from local.clock import SharedClock
from local.configuration import PORTS, ROOT, ConfigurationRefused, WorldSettings, world_settings
from local.control import CapturedEvents, Control
from local.deploy import (
    Deployment,
    DeploymentFailed,
    Template,
    deploy,
    read_template,
    translated,
)
from local.functions import FunctionPool, FunctionSettings, NurseryProcess
from local.gateway import Gateway
from local.logs import LogCollector
from local.pollers import Poller
from local.processes import Child
from local.queues import QueuePoller
from local.roles import RoleCredentials
from local.schedules import Scheduler
from local.serving import HOST, LoopbackServer
from local.sigv4 import SignatureCheck
from local.streams import StreamPoller

_READY_SECONDS = 60.0
_STOP_SECONDS = 4.0
_ENDPOINTS_FILE = "endpoints.json"
_LOCK_FILE = "world.lock"
# For the sample product: real TikTok may only be reachable through a proxy, or with a company's own
# root certificate. The functions read neither, here as on Lambda.
_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "REQUESTS_CA_BUNDLE")


class WorldFailed(Exception):
    """The world cannot come up, or fell apart; the text is for the person who started it."""


class StopRequested(BaseException):
    """SIGINT, SIGTERM or SIGHUP arrived. Not an Exception: no handler on the way may swallow it."""


class StopSignals:
    """Remembers that somebody wants the world to stop; however often, it stops once.

    While the world starts, the signal also breaks off what the main thread does. Such an exception
    can get lost, for instance in a finalizer, hence the flag, and `check` between the steps.
    """

    def __init__(self) -> None:
        self.requested = False
        self.may_interrupt = False

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._arrived)

    def check(self) -> None:
        """Raises StopRequested if somebody asked."""
        if self.requested:
            raise StopRequested

    def _arrived(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        if self.may_interrupt:
            self.may_interrupt = False
            raise StopRequested


# ---- before anything starts --------------------------------------------------------------------


@contextlib.contextmanager
def own_directory(directory: Path) -> Iterator[None]:
    """Hold LOCAL_DIR for this world alone, with nothing left in it of an earlier one.

    Raises:
        WorldFailed: another world lives there, or the folder is somebody else's.
    """
    if directory.is_dir() and any(directory.iterdir()) and not (directory / _LOCK_FILE).exists():
        raise WorldFailed(f"{directory} is not the local world's; choose another LOCAL_DIR")
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / _LOCK_FILE).open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise WorldFailed(
                f"a world is running already with {directory} (process {lock.read().strip()});"
                " stop it, or start this one with other ports and another LOCAL_DIR"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        for stale in directory.iterdir():
            if stale.name != _LOCK_FILE:
                shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        for needed in ("logs", "tmp", "aws"):
            (directory / needed).mkdir()
        yield


def claim_ports(settings: WorldSettings) -> dict[str, LoopbackServer]:
    """Bind what the supervisor serves itself, and see that the other ports are free.

    Raises:
        WorldFailed: with every port that is taken, and by whom.
    """
    servers: dict[str, LoopbackServer] = {}
    problems = []
    for name, port in settings.ports.items():
        try:
            if name in ("gateway", "control"):
                servers[name] = LoopbackServer(port)
            elif name != "tiktok" or settings.has_built_in_tiktok:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((HOST, port))
        except OSError as error:
            problems.append(
                f"port {port} is taken{_owner(port)}: set {PORTS[name][0]} to another one"
                if error.errno == 98 or "in use" in str(error).lower()
                else f"port {port} ({PORTS[name][0]}): {error.strerror}"
            )
    if problems:
        for server in servers.values():
            server.server_close()
        raise WorldFailed("\n".join(problems))
    return servers


def _owner(port: int) -> str:
    """` by python (process 123)`, where Linux lets us know."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                is_listening = fields[3] == "0A"
                if is_listening and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        # Processes end while we look, and other people's files are closed to us.
        with contextlib.suppress(OSError):
            for file in (process / "fd").iterdir():
                if str(file.readlink()) in inodes:
                    command = (process / "cmdline").read_bytes().split(b"\0")
                    words = b" ".join(command[:3]).decode("utf-8", "replace").strip()
                    return f" by `{words}` (process {process.name})"
    return ""


# ---- the world ---------------------------------------------------------------------------------


class World:
    """One running world. `start`, then `watch`, and `stop` in any case."""

    def __init__(
        self,
        settings: WorldSettings,
        servers: Mapping[str, LoopbackServer],
        say: Callable[[str], None],
        signals: StopSignals,
    ) -> None:
        self.settings = settings
        self._servers = servers
        self._signals = signals
        self._say = say
        self._children: list[Child] = []
        self._nursery: NurseryProcess | None = None
        self._pools: dict[str, FunctionPool] = {}
        self._pollers: list[Poller] = []
        self._scheduler: Scheduler | None = None
        self._logs: LogCollector | None = None
        self._clock = SharedClock(settings.directory / "clock")
        self._roles: RoleCredentials | None = None

    def start(self) -> None:
        """Bring everything up.

        Raises:
            WorldFailed, DeploymentFailed: with what to do about it.
            StopRequested: a signal came meanwhile.
        """
        settings = self.settings
        template = read_template(settings.template_file)
        self._nursery = NurseryProcess(
            directory=ROOT, log_file=settings.directory / "logs" / "nursery.log"
        )
        self._children.append(self._nursery.child)
        self._start_ministack()
        self._start_tiktok(template)
        self._start_sample_product()
        # MiniStack starts meanwhile; importing SAM's translator is the longest part.
        plain = translated(template, settings.stack_parameters())
        self._wait_for(f"{settings.url('aws')}/_ministack/ready")
        self._say("AWS services")
        deployment = self._deploy(template, plain)
        self._say(f"stack ({len(deployment.physical_ids)} resources)")
        self._start_functions(deployment)
        self._say(f"functions ({', '.join(p.settings.name for p in self._pools.values())})")
        self._serve(deployment)
        if settings.has_built_in_tiktok:
            self._wait_for(settings.url("tiktok"))
            self._say("TikTok (built-in)")
        self._wait_for(settings.url("app"))
        self._say("sample product")
        self._write_endpoints()

    def watch(self) -> None:
        """Wait until a signal comes.

        Raises:
            WorldFailed: a part of the world ended by itself.
        """
        while not self._signals.requested:
            for child in self._children:
                if child.exit_code is not None:
                    said = child.last_lines()
                    raise WorldFailed(f"{child.name} ended ({child.exit_code}):\n{said}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Take everything down. Safe at any point of `start`."""
        (self.settings.directory / _ENDPOINTS_FILE).unlink(missing_ok=True)
        for part in (self._scheduler, *self._pollers):
            if part is not None:
                part.stop()
        for child in self._children:
            if self._nursery is None or child is not self._nursery.child:
                child.ask_to_stop()
        for pool in self._pools.values():
            pool.stop()
        for server in self._servers.values():
            server.stop()
        if self._nursery is not None:
            self._nursery.close()  # it kills its workers and ends when nobody talks to it any more
        deadline = time.monotonic() + _STOP_SECONDS
        for child in self._children:
            child.stop(deadline=deadline)
        if self._logs is not None:
            self._logs.stop()

    # ---- programs ------------------------------------------------------------------------------

    def _start_ministack(self) -> None:
        settings = self.settings
        self._start_child(
            "MiniStack",
            [str(settings.ministack)],
            {
                "GATEWAY_PORT": str(settings.ports["aws"]),  # its own name for its port
                "BIND_HOST": HOST,
                "MINISTACK_HOST": HOST,
                "MINISTACK_REGION": REGION,
                "IOT_MTLS_ENABLED": "0",
                "SFTP_ENABLED": "0",
                "LAMBDA_EXECUTOR": "local",
                "AUTH": str(settings.auth).lower(),
                "LOG_LEVEL": "WARNING",
                "AWS_ACCESS_KEY_ID": ROOT_KEY,
                "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
                "TMPDIR": str(settings.directory / "aws"),
            },
            # It keeps nothing, and by SIGTERM it waits for its open connections to end.
            stop_signal=signal.SIGKILL,
        )

    def _start_tiktok(self, template: Template) -> None:
        settings = self.settings
        if not settings.has_built_in_tiktok:
            return
        scopes = f"{settings.scopes_required},{settings.scopes_optional}".split(",")
        has_webhook = "/webhooks/tiktok" in json.dumps(template["Resources"])
        webhook_url = f"{settings.url('gateway')}/webhooks/tiktok"
        apps = [
            {
                "name": registration.name,
                "client_key": registration.client_key,
                "client_secret": registration.client_secret,
                "platform": "desktop" if settings.redirect_is_loopback else "web",
                "redirect_uris": [settings.redirect_uri],
                "scopes": sorted({scope.strip() for scope in scopes if scope.strip()}),
                "webhook_url": webhook_url if has_webhook else None,
                "title": settings.app_name,  # what the consent page calls the app
                "any_redirect": True,  # such as http://stack.localhost:3000
            }
            for registration in settings.registrations
        ]
        self._start_child(
            "the built-in TikTok",
            [sys.executable, "-m", "local.tiktok"],
            {
                "TIKTOK_PORT": str(settings.ports["tiktok"]),
                "TIKTOK_APPS": json.dumps(apps),
                "CLOCK_FILE": str(settings.directory / "clock"),
            },
        )

    def _start_sample_product(self) -> None:
        settings = self.settings
        self._start_child(
            "the sample product",
            [sys.executable, "-m", "local.app"],
            {
                "APP_PORT": str(settings.ports["app"]),
                "GATEWAY_URL": settings.url("gateway"),
                "PUBLIC_BASE_URL": settings.public_base_url,
                "TIKTOK_API_BASE_URL": settings.api_base_url,
                "COMPLETION": settings.completion,
                "AWS_ACCESS_KEY_ID": settings.callers[0].access_key,
                "AWS_SECRET_ACCESS_KEY": settings.callers[0].secret_key,
                "AWS_REGION": REGION,
                **self._proxy(),
            },
        )

    def _start_child(
        self,
        name: str,
        command: list[str],
        env: Mapping[str, str],
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        base = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TZ": "UTC"}
        file = f"{name.lower().replace(' ', '-')}.log"
        self._children.append(
            Child(
                name,
                command,
                env={**base, "HOME": str(self.settings.directory / "tmp"), **env},
                directory=ROOT,
                log_file=self.settings.directory / "logs" / file,
                stop_signal=stop_signal,
            )
        )

    def _proxy(self) -> dict[str, str]:
        if not self.settings.is_real_tiktok:
            return {}
        return {key: os.environ[key] for key in _PROXY_VARIABLES if key in os.environ}

    def _wait_for(self, url: str) -> None:
        """Until somebody answers there, whatever the answer."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            self._signals.check()
            for child in self._children:
                if child.exit_code is not None:
                    raise WorldFailed(f"{child.name} did not start:\n{child.last_lines()}")
            try:
                with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise WorldFailed(f"nothing answers at {url}") from None
                time.sleep(0.02)

    # ---- stack and functions -------------------------------------------------------------------

    def _deploy(self, template: Template, plain: Template) -> Deployment:
        settings = self.settings
        aws = LocalAws(settings.url("aws"))
        deployment = deploy(
            template,
            plain,
            base=settings.template_file.parent,
            parameters=settings.stack_parameters(),
            aws=aws,
            auth=settings.auth,
        )
        secret = deployment.physical_ids.get("AppSecret")
        if secret is not None:
            current = {r.name: {"current": r.client_secret} for r in settings.registrations}
            aws.client("secretsmanager").put_secret_value(
                SecretId=secret, SecretString=json.dumps(current)
            )
        wished = {"CALLER_TENANTS": "CallerTenants", "COMPLETION": "Completion"}
        asked = [parameter for variable, parameter in wished.items() if os.environ.get(variable)]
        for parameter in (*asked, *settings.parameters):
            if parameter not in deployment.parameters:
                self._say(f"the template has no parameter {parameter}")
        return deployment

    def _start_functions(self, deployment: Deployment) -> None:
        settings = self.settings
        if self._nursery is None:
            raise RuntimeError("functions before their nursery")
        self._logs = LogCollector(
            settings.directory / "logs" / "functions.log", on_error=self._show_error
        )
        self._roles = RoleCredentials(settings.url("aws"), enabled=settings.auth)
        self._nursery.wait_until_ready(timeout_seconds=_READY_SECONDS)
        self._pools = {
            logical_id: FunctionPool(
                function,
                concurrency=settings.function_concurrency,
                nursery=self._nursery,
                logs=self._logs,
                process_env=self._process_env,
                temporary_directory=settings.directory / "tmp",
                clock_file=settings.directory / "clock",
            )
            for logical_id, function in deployment.functions.items()
        }
        with ThreadPoolExecutor(max_workers=2) as two:
            problems = list(two.map(FunctionPool.warm_up, self._pools.values()))
        for logical_id, problem in zip(self._pools, problems, strict=True):
            if problem is not None:
                self._say(f"{logical_id} cannot be loaded: {problem}")

    def _process_env(self, function: FunctionSettings) -> dict[str, str]:
        """What a function's process finds in its environment: the stack's values and Lambda's."""
        settings = self.settings
        if self._roles is None:
            raise RuntimeError("functions before their roles")
        tiktok = {
            "TIKTOK_AUTHORIZE_URL": settings.authorize_url,
            "TIKTOK_API_BASE_URL": settings.api_base_url,
        }
        return {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": settings.url("aws"),
            "AWS_ENDPOINT_URL_LAMBDA": settings.url("control"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "AWS_LAMBDA_FUNCTION_NAME": function.physical_name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_megabytes),
            "_HANDLER": function.handler,
            **self._roles.env_of(function),
            **function.env,
            **{name: value for name, value in tiktok.items() if name in function.env},
        }

    def _serve(self, deployment: Deployment) -> None:
        settings = self.settings
        aws = LocalAws(settings.url("aws"))
        if self._logs is None or self._roles is None:
            raise RuntimeError("serving before the functions")
        self._pollers = [
            QueuePoller(
                source,
                self._pools[source.function],
                aws,
                self._roles.aws_of(deployment.functions[source.function]),
            )
            for source in deployment.queue_sources
        ]
        self._pollers += [
            StreamPoller(source, self._pools[source.function], aws)
            for source in deployment.stream_sources
        ]
        for poller in self._pollers:
            poller.start()
        if settings.schedules_on:
            self._scheduler = Scheduler(deployment.schedules, self._pools, self._clock)
            self._scheduler.start()
        self._servers["gateway"].start(
            Gateway(
                routes=deployment.routes,
                pools=self._pools,
                signatures=SignatureCheck(settings.callers),
                stage_variables=deployment.stage_variables,
                api_id=deployment.api_id,
                port=settings.ports["gateway"],
            )
        )
        self._servers["control"].start(
            Control(
                pools=self._pools,
                clock=self._clock,
                pollers=self._pollers,
                events=CapturedEvents(aws.client("sqs"), deployment.capture_queue_url),
                logs=self._logs,
                may_invoke=self._roles.may_invoke,
            )
        )

    def _show_error(self, record: dict[str, Any]) -> None:
        what = record.get("errorMessage") or record.get("message") or "error"
        kind = f"{record['errorType']}: " if "errorType" in record else ""
        self._say(f"{record['function']}: {kind}{what}")

    def _write_endpoints(self) -> None:
        file = self.settings.directory / _ENDPOINTS_FILE
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(self.settings.endpoints(), indent=2) + "\n", encoding="ascii")
        draft.replace(file)


# ---- the command -------------------------------------------------------------------------------


class _Progress:
    """Lines for the person who waits, with the seconds since the start."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        self.show(f"{time.monotonic() - self._started:6.1f} s  {text}")

    def show(self, text: str) -> None:
        with self._lock, contextlib.suppress(BrokenPipeError):
            print(text, file=self._stream, flush=True)


def _banner(settings: WorldSettings) -> str:
    lines = [
        "",
        f"  Open      {settings.url('app')}   the sample product: sign in and connect TikTok",
        "",
        f"  API       {settings.url('gateway')}   signed with --aws-sigv4"
        f" aws:amz:{REGION}:execute-api --user test:test",
        f"  TikTok    {settings.endpoints()['tiktok']}"
        + ("   built-in; switches under /_control" if settings.has_built_in_tiktok else ""),
        f"  AWS       {settings.url('aws')}   MiniStack",
        f"  Control   {settings.url('control')}   /clock /invoke/… /settle /events /calls /logs",
        f"  Logs      {settings.directory / 'logs'}",
        "",
        "  Ctrl-C stops everything.",
        "",
    ]
    if settings.is_real_tiktok:
        lines.insert(1, f"  Redirect  {settings.redirect_uri}   to register, platform desktop")
    return "\n".join(lines)


def main(env: Mapping[str, str] = os.environ) -> int:
    """Run a world; answers the exit code."""
    signals = StopSignals()
    signals.install()
    progress = _Progress(sys.stdout)
    try:
        settings = world_settings(env)
        with own_directory(settings.directory):
            world = World(settings, claim_ports(settings), progress.say, signals)
            try:
                progress.say("starting the local world")
                signals.may_interrupt = True
                world.start()
                signals.may_interrupt = False
                progress.say("ready")
                progress.show(_banner(settings))
                world.watch()
            finally:
                signals.may_interrupt = False  # what stops is not to be broken off
                world.stop()
        progress.say("stopped")
    except StopRequested:
        progress.say("stopped before it was ready")
    except ConfigurationRefused as refused:
        return _failed(refused.problems, code=2)
    except (WorldFailed, DeploymentFailed) as failed:
        return _failed(str(failed).splitlines(), code=1)
    return 0


def _failed(lines: list[str], *, code: int) -> int:
    print("The local world cannot run:", file=sys.stderr)
    print(*(f"  {line}" for line in lines), sep="\n", file=sys.stderr)
    return code


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # taking the interpreter apart takes seconds, and nothing is left to save
