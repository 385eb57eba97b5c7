"""The world's own interface (design: the local world), and the Lambda Invoke API.

People and tests script the world here; the functions reach each other here, because
AWS_ENDPOINT_URL_LAMBDA names this port.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import ClientError

from local.clock import SharedClock
from local.faults import KINDS, LASTING
from local.functions import FunctionPool, InvocationResult, TooManyInvocations
from local.logs import LogCollector
from local.pollers import Poller
from local.serving import Request, Response

_INVOKE = re.compile(r"/invoke/(\w+)")
_LAMBDA_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
_LARGEST_BODY = 10 * 1024 * 1024
_SETTLE_SECONDS = 30.0
_HELD_SECONDS = 10.0
_LONGEST_SETTLE_SECONDS = 600.0
_SETTLE_LOOKS_EVERY_SECONDS = 0.02


class Refused(Exception):
    """A request that cannot be done, with the HTTP status for it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class CapturedEvents:
    """What the stack's bus carried, copied by a rule into a queue."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._lock = threading.Lock()
        self._events: list[dict[str, Any]] = []

    def all(self) -> list[dict[str, Any]]:
        """Every event so far, oldest first."""
        with self._lock:
            while messages := self._receive():
                for message in messages:
                    event = json.loads(message["Body"])
                    self._events.append(
                        {key: event[key] for key in ("source", "detail-type", "detail", "time")}
                    )
                    self._sqs.delete_message(
                        QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"]
                    )
            return list(self._events)

    def _receive(self) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages


class Control:
    """Answers what arrives on the control port."""

    body_limit = _LARGEST_BODY

    def __init__(
        self,
        *,
        pools: Mapping[str, FunctionPool],
        clock: SharedClock,
        pollers: Sequence[Poller],
        events: CapturedEvents,
        logs: LogCollector,
        may_invoke: Callable[[str, str], None],
    ) -> None:
        self._pools = pools
        self._by_physical_name = {pool.settings.physical_name: pool for pool in pools.values()}
        self._clock = clock
        self._pollers = pollers
        self._events = events
        self._logs = logs
        self._may_invoke = may_invoke
        self._outages: list[dict[str, Any]] = []

    def before_body(
        self, method: str, target: str, headers: tuple[tuple[str, str], ...]
    ) -> Response | None:
        return None

    def too_large(self) -> Response:
        return _json(413, {"error": f"more than {_LARGEST_BODY} bytes"})

    def respond(self, request: Request) -> Response:
        host = request.header("Host").rpartition(":")[0] or request.header("Host")
        if request.header("Origin") or host not in ("127.0.0.1", "localhost"):
            # A website that is open in the developer's browser must not drive this world.
            return _json(403, {"error": "only programs on this machine, by 127.0.0.1 or localhost"})
        try:
            if found := _LAMBDA_INVOKE.fullmatch(request.path):
                return self._lambda_invoke(unquote(found[1]), request)
            return self._own(request)
        except Refused as refused:
            return _json(refused.status, {"error": str(refused)})

    def _own(self, request: Request) -> Response:
        if found := _INVOKE.fullmatch(request.path):
            _only("POST", request)
            return _json(200, self._invoke(found[1], _event_in(request)))
        match request.path:
            case "/clock" if request.method == "GET":
                return _json(200, {"now": self._clock.now().isoformat()})
            case "/clock":
                _only("POST", request)
                if "waits" in _object_in(request):
                    return _json(200, self._share_waits(_object_in(request)))
                by = timedelta(seconds=_seconds(request, "advance_seconds", None))
                return _json(200, {"now": self._clock.advance(by).isoformat()})
            case "/settle":
                _only("POST", request)
                return _json(
                    200, self.settle(_seconds(request, "timeout_seconds", _SETTLE_SECONDS))
                )
            case "/events":
                _only("GET", request)
                return _json(200, self._events.all())
            case "/calls":
                _only("GET", request)
                return _json(
                    200, {pool.settings.name: pool.calls() for pool in self._pools.values()}
                )
            case "/calls/reset":
                _only("POST", request)
                for pool in self._pools.values():
                    pool.forget_calls()
                return _json(200, {})
            case "/faults" if request.method == "GET":
                pools = {pool.settings.name: pool for pool in self._pools.values()}
                told = {
                    "traces": {name: pool.trace() for name, pool in pools.items()},
                    "hits": {name: pool.hits() for name, pool in pools.items()},
                    "held": {name: pool.held() for name, pool in pools.items()},
                }
                return _json(200, told)
            case "/faults":
                _only("POST", request)
                return _json(200, self._arm(_object_in(request)))
            case "/faults/held":
                _only("POST", request)
                seconds = _seconds(request, "timeout_seconds", _HELD_SECONDS)
                pool = self._pool_named(_object_in(request).get("function"))
                return _json(200, {"held": pool.wait_until_held(seconds)})
            case "/faults/release":
                _only("POST", request)
                released = sum(pool.release() for pool in self._pools.values())
                return _json(200, {"released": released})
            case "/deliveries":
                _only("POST", request)
                paused = _object_in(request).get("paused", [])
                for poller in self._pollers:
                    poller.pause(poller.function in paused)
                return _json(200, {"paused": [p.function for p in self._pollers if p.is_paused]})
            case "/outage" if request.method == "DELETE":
                return _json(200, self._lift())
            case "/outage" if request.method == "GET":
                return _json(200, {"outages": self._outages})
            case "/outage":
                _only("POST", request)
                return _json(200, self._begin_outage(_object_in(request)))
            case "/logs":
                _only("GET", request)
                text = self._logs.text().encode("utf-8", "replace")
                return Response(200, (("Content-Type", "text/plain; charset=utf-8"),), text)
        raise Refused(404, f"there is no {request.path} here")

    # ---- invocations ---------------------------------------------------------------------------

    def _invoke(self, logical_id: str, event: Any) -> dict[str, Any]:
        pool = self._pools.get(logical_id)
        if pool is None:
            raise Refused(404, f"no function {logical_id}; there are {', '.join(self._pools)}")
        result = _run(pool, event)
        payload = result.value()
        if result.error is None:
            return {"status": 200, "payload": payload, "error": None}
        error = f"{payload.get('errorType')}: {payload.get('errorMessage')}"
        return {"status": 500, "payload": payload, "error": error}

    def _arm(self, fault: dict[str, Any]) -> dict[str, Any]:
        kinds = [one.get("kind") for one in (fault, *fault.get("faults", []))]
        if not set(kinds) <= {None, *KINDS}:
            raise Refused(400, f"a fault has a kind, one of {', '.join(KINDS)}")
        self._pool_named(fault.get("function")).arm(fault)
        return {"armed": fault}

    def _pool_named(self, name: object) -> FunctionPool:
        by_name = {pool.settings.name: pool for pool in self._pools.values()}
        pool = by_name.get(str(name))
        if pool is None:
            raise Refused(404, f"function is one of {', '.join(by_name)}")
        return pool

    def _begin_outage(self, outage: dict[str, Any]) -> dict[str, Any]:
        """Add an outage to those that last; an empty object lifts them all."""
        if not outage:
            return self._lift()
        if outage.get("kind") not in LASTING:
            raise Refused(400, f"an outage has a kind, one of {', '.join(LASTING)}")
        if not isinstance(outage.get("service"), str):
            raise Refused(400, "an outage has a service, such as dynamodb")
        every = [pool.settings.name for pool in self._pools.values()]
        pools = {name: self._pool_named(name) for name in outage.get("functions", every)}
        self._outages.append(outage)
        for name, pool in pools.items():
            mine = [one for one in self._outages if name in one.get("functions", every)]
            pool.suffer([one | {"call": 1, "onwards": True} for one in mine])
        return {"outages": self._outages}

    def _lift(self) -> dict[str, Any]:
        self._outages = []
        for pool in self._pools.values():
            pool.suffer(())
        return {"outages": []}

    def _share_waits(self, wish: dict[str, Any]) -> dict[str, Any]:
        if wish["waits"] not in ("shared", "real"):
            raise Refused(400, "waits are shared or real")
        self._clock.share_waits(wish["waits"] == "shared")
        return {"waits": wish["waits"], "now": self._clock.now().isoformat()}

    def _lambda_invoke(self, name: str, request: Request) -> Response:
        """https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html"""
        _only("POST", request)
        # A name, `account:function:name` or an ARN, each with an optional qualifier.
        parts = name.split(":")
        physical = parts[parts.index("function") + 1] if "function" in parts else parts[0]
        pool = self._by_physical_name.get(physical)
        if pool is None:
            return _lambda_error(404, "ResourceNotFoundException", f"Function not found: {name}")
        try:
            self._may_invoke(physical, request.header("Authorization"))
        except ClientError as error:
            said = error.response["Error"]
            return _lambda_error(403, said["Code"], said["Message"])
        try:
            event = json.loads(request.body or b"{}")
        except ValueError as error:
            return _lambda_error(400, "InvalidRequestContentException", str(error))
        executed = (("X-Amz-Executed-Version", "$LATEST"),)
        try:
            match request.header("X-Amz-Invocation-Type", "RequestResponse"):
                case "DryRun":
                    return Response(204, executed)
                case "Event":
                    pool.submit(event)
                    return Response(202, executed)
                case _:
                    result = pool.submit(event).result()
        except TooManyInvocations:
            return _lambda_error(429, "TooManyRequestsException", "Rate Exceeded.")
        failed = (("X-Amz-Function-Error", result.error),) if result.error else ()
        return Response(
            200,
            (
                ("Content-Type", "application/json"),
                ("X-Amzn-RequestId", result.request_id),
                *executed,
                *failed,
            ),
            result.payload.encode(),
        )

    # ---- rest ----------------------------------------------------------------------------------

    def settle(self, timeout_seconds: float) -> dict[str, Any]:
        """Wait until no function runs and the event sources' queues hold nothing.

        A message whose try failed is invisible until its queue's visibility timeout, in real time,
        and counts until then. Dead-letter queues and paused deliveries do not count.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            started = [pool.started for pool in self._pools.values()]
            running = {p.settings.name: p.unfinished for p in self._pools.values() if p.unfinished}
            delivering = [poller for poller in self._pollers if not poller.is_paused]
            waiting = {p.source_name: count for p in delivering if (count := p.backlog())}
            # Nothing may have begun and ended between the two looks.
            if not running and not waiting and started == [p.started for p in self._pools.values()]:
                return {"settled": True}
            if time.monotonic() > deadline:
                return {"settled": False, "running": running, "waiting": waiting}
            time.sleep(_SETTLE_LOOKS_EVERY_SECONDS)


def _run(pool: FunctionPool, event: Any) -> InvocationResult:
    try:
        return pool.invoke(event)
    except TooManyInvocations:
        raise Refused(429, f"{pool.settings.logical_id} has too many invocations waiting") from None


def _only(method: str, request: Request) -> None:
    if request.method != method:
        raise Refused(405, f"{request.path} takes {method}")


def _event_in(request: Request) -> Any:
    try:
        return json.loads(request.body or b"{}")
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {error}") from None


def _object_in(request: Request) -> dict[str, Any]:
    body = _event_in(request)
    if not isinstance(body, dict):
        raise Refused(400, "the body must be a JSON object")
    return body


def _seconds(request: Request, key: str, default: float | None) -> float:
    value = _object_in(request).get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e10:
        raise Refused(400, f"{key} must be a number of seconds, 0 or more")
    return float(value)


def _json(status: int, value: Any) -> Response:
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return Response(status, (("Content-Type", "application/json"),), body)


def _lambda_error(status: int, code: str, text: str) -> Response:
    body = json.dumps({"Type": "User", "message": text, "Message": text}).encode()
    headers = (("Content-Type", "application/json"), ("X-Amzn-ErrorType", code))
    return Response(status, headers, body)
