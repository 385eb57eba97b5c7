"""What each operation asks of AWS and TikTok, counted: calls, units, events, bytes of log.

The functions' handlers run as shipped, over the stand-in that `make bench-renewal` counts by. A
process is warm when counting begins: its keys, its client secret and its settings are there.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks import journey
from benchmarks.renewal.aws import Aws, Change, Schema, Tally
from benchmarks.renewal.counting import count
from benchmarks.renewal.expressions import Item
from benchmarks.renewal.in_process import product
from benchmarks.renewal.invoking import Context
from benchmarks.renewal.setting import Setting
from benchmarks.renewal.tiktok import TokenEndpoint
from benchmarks.renewal.units import item_size, projected
from tiktok_linking import bootstrap

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DUE = 200
"""Renewals of the round that a renewal by the schedule is a share of."""
ITEM_OVERHEAD_BYTES = 100
"""What DynamoDB adds to each item and to each entry of an index when it charges for storage:
docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html, read
2026-11-22."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, or one grant's share of an operation on many."""

    function: str
    http: float = 0
    invocations: float = 1
    dynamodb: float = 0
    read_units: float = 0
    write_units: float = 0
    index_write_units: float = 0
    sqs: float = 0
    events: float = 0
    kms: float = 0
    secretsmanager: float = 0
    tiktok: float = 0
    log_bytes: float = 0

    def divided(self, by: int) -> Operation:
        """One share of an operation on so many."""
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "function"}
        return Operation(self.function, **{name: n / by for name, n in numbers.items()})


@dataclass(frozen=True, slots=True)
class Counts:
    """Everything that the cost of a month is made of, but for how often it happens."""

    operations: Mapping[str, Operation]
    account_bytes: int
    """Stored for one account with its indexes, one timeline row included."""


def count_operations(setting: Setting) -> Counts:
    """Lead two people through everything, and count the second."""
    stage = Stage(setting)
    made: dict[str, Operation] = {}
    first, second = journey.open_ids(2, "c")
    sessions = {}
    with stage.function("sessions"):
        sessions[first] = journey.body_of(stage.invoke(journey.begin("u_1")), 201)["id"]
        with stage.counting(made, "begin a session", "sessions", http=1):
            sessions[second] = journey.body_of(stage.invoke(journey.begin("u_2")), 201)["id"]
    departures = {}
    with stage.function("authorize"):
        stage.invoke(journey.connect(sessions[first]))
        with stage.counting(made, "connect page", "authorize", http=1):
            stage.invoke(journey.connect(sessions[second]))
        pages = {who: stage.invoke(journey.connect(sessions[who])) for who in sessions}
        departures[first] = stage.invoke(journey.press(pages[first]))
        with stage.counting(made, "authorize", "authorize", http=1):
            departures[second] = stage.invoke(journey.press(pages[second]))
    with stage.function("callback"):
        stage.invoke(journey.come_back(departures[first], first))
        stage.aws.changes = []
        with stage.counting(made, "callback", "callback", http=1):
            landed = stage.invoke(journey.come_back(departures[second], second))
        if landed["statusCode"] != 303:
            raise AssertionError(landed)
        changes, stage.aws.changes = stage.aws.changes, None
    with stage.function("publish"):
        stage.invoke({"Records": _stream_records(changes)})
        with stage.counting(made, "publish a link", "publish", invocations=2):
            stage.invoke({"Records": _stream_records(changes)})
    with stage.function("sessions"):
        stage.invoke(journey.show(sessions[first]))
        with stage.counting(made, "read a session", "sessions", http=1):
            shown = journey.body_of(stage.invoke(journey.show(sessions[second])))
        other = journey.body_of(stage.invoke(journey.show(sessions[first])))
    account_id = shown["account_id"]
    with stage.function("tokens"):
        stage.clock += timedelta(minutes=1)
        stage.vend(other["account_id"])
        with stage.counting(made, "first vend in six hours", "tokens", http=1):
            stage.vend(account_id)
        with stage.counting(made, "vend", "tokens", http=1):
            stage.vend(account_id)
        stage.clock += timedelta(minutes=2)
        with stage.counting(made, "vend that renews", "tokens", http=1, invocations=2):
            stage.vend(account_id, rejected=True)
    account_bytes = stage.bytes_of(account_id)
    with stage.function("refresh"):
        stage.invoke({})
        with stage.counting(made, "plan of nothing", "refresh"):
            stage.invoke({})
    with stage.function("remind"):
        stage.invoke({})
        with stage.counting(made, "remind nobody", "remind"):
            stage.invoke({})
    made["renewal by the schedule"] = _a_scheduled_renewal(setting, made["plan of nothing"])
    return Counts(made, account_bytes)


def _a_scheduled_renewal(setting: Setting, plan: Operation) -> Operation:
    """One grant's share of a round, without what its plans would have cost for nothing."""
    log = io.StringIO()
    with _logs_into(log):
        counted = count(setting, due=DUE, others=DUE, say=lambda _: None)
    working, planning = counted.working, counted.planning
    whole = Operation(
        "refresh",
        invocations=counted.batches,
        dynamodb=working.dynamodb_calls + planning.dynamodb_calls - counted.plans * plan.dynamodb,
        read_units=working.read_units + planning.read_units - counted.plans * plan.read_units,
        write_units=working.write_units,
        index_write_units=working.index_write_units,
        # Sent by the planner; received and deleted by Lambda, a batch in one request each.
        sqs=planning.calls["sqs.SendMessageBatch"] + 2 * counted.batches,
        tiktok=counted.tiktok_calls,
        log_bytes=len(log.getvalue().encode()) - counted.plans * plan.log_bytes,
    )
    return whole.divided(DUE)


class Stage:
    """The stack in one process, function after function."""

    def __init__(self, setting: Setting, more: Mapping[str, Schema] | None = None) -> None:
        self.clock = NOON
        self._setting = setting
        schemas = {name: Schema.of(table) for name, table in setting.tables.items()}
        self.aws = Aws(schemas | dict(more or {}), setting.secrets)
        self.aws.run = self._run
        self.tiktok = TokenEndpoint()
        self._name = ""

    @contextmanager
    def function(self, name: str) -> Iterator[None]:
        """Be this function."""
        before, self._name = self._name, name
        variables = self._setting.functions[name]
        with product(self.aws, self.tiktok, variables, lambda: self.clock):
            yield
        self._name = before

    def invoke(self, event: Any) -> Any:
        """Run the present function's handler."""
        handler = importlib.import_module(f"functions.{self._name}.app").lambda_handler
        return json.loads(json.dumps(handler(event, Context())))

    def vend(self, account_id: str, *, rejected: bool = False) -> None:
        """A token for this account, renewed where TikTok refused the last."""
        answer = journey.body_of(self.invoke(journey.vend(account_id, rejected=rejected)))
        if answer["refreshed"] is not rejected:
            raise AssertionError(answer)

    @contextmanager
    def counting(
        self,
        into: dict[str, Operation],
        what: str,
        function: str,
        *,
        http: int = 0,
        invocations: int = 1,
    ) -> Iterator[None]:
        """Put down what happens in the block."""
        self.aws.tally = tally = Tally()
        asked = self.tiktok.answered + self.tiktok.profiles
        log = io.StringIO()
        with _logs_into(log):
            yield
        asked = self.tiktok.answered + self.tiktok.profiles - asked
        into[what] = _operation(
            function, tally, http, invocations, asked, len(log.getvalue().encode())
        )

    def bytes_of(self, account_id: str) -> int:
        """What DynamoDB stores for one account, entries of indexes included."""
        table = self.aws.tables[self._setting.accounts_table]
        grant_id = account_id.removeprefix("acct_")[:24]
        total = 0
        for item in table.all():
            if item["pk"]["S"] not in (grant_id, account_id):
                continue
            entries: list[Item | None] = [item]
            entries += [
                projected(item, index.keys, index.projection)
                for index in table.schema.indexes.values()
            ]
            total += sum(item_size(e) + ITEM_OVERHEAD_BYTES for e in entries if e is not None)
        return total

    def _run(self, _name: str, job: Any) -> Any:
        """Lambda's Invoke: the refresh function in a process that is warm."""
        counted, self.aws.tally = self.aws.tally, Tally()
        with self.function("refresh"):
            bootstrap.sealing().prepare("access", "refresh", now=bootstrap.now())
            bootstrap.credentials().candidates("default")
            self.aws.tally = counted
            answer = self.invoke(job)
        bootstrap.use_clock(lambda: self.clock)  # the end of a function gives back the real one
        return answer


def _operation(
    function: str, tally: Tally, http: int, invocations: int, tiktok: int, log_bytes: int
) -> Operation:
    by_service: Counter[str] = Counter()
    for name, number in tally.calls.items():
        by_service[name.partition(".")[0]] += number
    return Operation(
        function,
        http=http,
        invocations=invocations,
        dynamodb=tally.dynamodb_calls,
        read_units=tally.read_units,
        write_units=tally.write_units,
        index_write_units=tally.index_write_units,
        sqs=by_service["sqs"],
        events=tally.events,
        kms=by_service["kms"],
        secretsmanager=by_service["secretsmanager"],
        tiktok=tiktok,
        log_bytes=log_bytes,
    )


def _stream_records(changes: list[Change]) -> list[dict[str, Any]]:
    """What the streams deliver of these writes: the template's filter lets marked ones through."""
    return [
        {
            "eventID": f"{number:032x}",
            "eventName": "INSERT" if old is None else "MODIFY",
            "eventSource": "aws:dynamodb",
            "dynamodb": {
                "SequenceNumber": str(number),
                "NewImage": _as_json(new),
                **({} if old is None else {"OldImage": _as_json(old)}),
            },
        }
        for number, (_, old, new) in enumerate(changes)
        if "ev" in new
    ]


def _as_json(item: Item) -> Any:
    def text(value: Any) -> str:
        return base64.b64encode(value).decode()

    return json.loads(json.dumps(item, default=text))


def quiet() -> contextlib.AbstractContextManager[None]:
    """Have what the product logs come to nothing."""
    return _logs_into(io.StringIO())


@contextmanager
def _logs_into(log: io.StringIO) -> Iterator[None]:
    """Collect what the product prints and logs: what CloudWatch would be sent."""
    handlers = {
        handler
        for name in list(logging.root.manager.loggerDict)
        for handler in logging.getLogger(name).handlers
        if type(handler) is logging.StreamHandler
    }
    with contextlib.ExitStack() as stack:
        for handler in handlers:
            stack.callback(handler.setStream, handler.stream)
            handler.setStream(log)
        stack.enter_context(redirect_stdout(log))
        yield
