"""The composition root: one cached function per dependency. Only this module names adapters.

Imports of boto3 parts and adapters happen inside the functions, so that a Lambda function pays at
its cold start for nothing but what it uses.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import secrets
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiktok_linking import callers
from tiktok_linking.schedule import RenewalPolicy
from tiktok_linking.settings import ConfigurationError, Settings

if TYPE_CHECKING:
    from tiktok_linking.adapters.account_table import AccountTable
    from tiktok_linking.adapters.credentials import SecretsManagerCredentials
    from tiktok_linking.adapters.event_bus import EventBridgeBus
    from tiktok_linking.adapters.journal import FileJournal
    from tiktok_linking.adapters.queues import SqsGrantQueue, SqsRescueQueue
    from tiktok_linking.adapters.refresh_door import LambdaRefreshDoor
    from tiktok_linking.adapters.schedule_table import ScheduleTable
    from tiktok_linking.adapters.sealing import TokenSealing
    from tiktok_linking.adapters.session_table import SessionTable
    from tiktok_linking.adapters.tiktok import TikTokClient
    from tiktok_linking.adapters.timeline_table import TimelineTable
    from tiktok_linking.linking import Linking
    from tiktok_linking.ports import Saved
    from tiktok_linking.publishing import Publishing
    from tiktok_linking.reminding import Reminding
    from tiktok_linking.removing import Removing
    from tiktok_linking.renewal import Renewal
    from tiktok_linking.requesting import RelinkLinks, Stack
    from tiktok_linking.rescuing import Rescuing
    from tiktok_linking.unlinking import Unlinking
    from tiktok_linking.vending import VendedToken, Vending


logger = logging.getLogger("tiktok_linking.bootstrap")

SAVING = ("callback", "refresh", "rescue")
"""The functions that hold fresh pairs."""


class _Clock:
    """The one clock. ``use_clock`` moves it for the local world and for tests."""

    read: Callable[[], datetime] = staticmethod(lambda: datetime.now(UTC))


def use_clock(read: Callable[[], datetime]) -> None:
    """Replace the clock of this process: local world and tests only."""
    _Clock.read = staticmethod(read)


def now() -> datetime:
    """The time, in UTC, to the millisecond that our records keep."""
    moment = _Clock.read()
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def deadline_of(context: Any) -> datetime:
    """When Lambda will stop this invocation."""
    return now() + timedelta(milliseconds=context.get_remaining_time_in_millis())


@functools.cache
def settings() -> Settings:
    """This function's settings; every problem of the environment at once."""
    try:
        return Settings.from_env(os.environ)
    except ConfigurationError as error:
        logger.error("settings refused", extra={"problems": error.problems})
        raise


def caller_of(arn: str) -> callers.Caller | None:
    """Who calls, by the authorizer's word; None for whom this stack cannot place."""
    return callers.caller_of(arn, settings().caller_tenants)


def policy() -> RenewalPolicy:
    """How eagerly the schedule renews."""
    return RenewalPolicy(warm_for=settings().warm_for, health_check=settings().health_check)


def _client(
    service: str, *, connect_timeout: float = 1, read_timeout: float = 3, attempts: int = 3
) -> Any:
    """A client of the SDK with bounded time. The session is shared: loading it costs most."""
    from botocore.config import Config

    return _session().create_client(
        service,
        config=Config(
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            max_pool_connections=20,
            # Fixed: putting botocore's own together costs a tenth of each call.
            user_agent="tiktok-link",
            # Our own code gives the parameters, not a caller: AWS refuses a wrong one as well, and
            # looking at each of them first costs a twelfth of each call.
            parameter_validation=False,
        ),
    )


@functools.cache
def _session() -> Any:
    # boto3's own session is one of these with resources and transfers around it: a tenth of a
    # cold start for what nobody here uses.
    import botocore.session
    from botocore.handlers import add_retry_headers

    from tiktok_linking.adapters.denials import tell_denials

    session: Any = botocore.session.get_session()
    # Two headers that tell AWS of the SDK's own repeats, and that nothing in the SDK reads: to
    # make, sign and send them costs a thirtieth of each call.
    session.unregister("request-created", add_retry_headers)
    tell_denials(session)
    return session


@functools.cache
def _dynamodb() -> Any:
    """One client for all tables, and one try: ``Table`` repeats what may be repeated."""
    return _urgent("dynamodb") if settings().function in SAVING else _client("dynamodb", attempts=1)


def _urgent(service: str) -> Any:
    """For a fresh pair: one try that ends within ``deadlines.ONE_WRITE``, even in a black hole.

    The use case is the retry. The SDK's own would outlive the invocation.
    """
    return _client(service, connect_timeout=0.7, read_timeout=1.2, attempts=1)


def _tries_of_a_save() -> int:
    return 1 if settings().function in SAVING else 3


@functools.cache
def sessions() -> SessionTable:
    """The sessions table."""
    from tiktok_linking.adapters.dynamodb import Table
    from tiktok_linking.adapters.session_table import SessionTable

    name = settings().sessions_table
    return SessionTable(
        Table(_dynamodb(), name, tries=3),
        Table(_dynamodb(), name, tries=_tries_of_a_save()),
        kept_for=settings().sessions_kept,
    )


@functools.cache
def accounts() -> AccountTable:
    """The accounts table."""
    from tiktok_linking.adapters.account_table import AccountTable
    from tiktok_linking.adapters.dynamodb import Table

    name = settings().accounts_table
    return AccountTable(
        Table(_dynamodb(), name, tries=3),
        Table(_dynamodb(), name, tries=_tries_of_a_save()),
        tombstone=settings().tombstone,
    )


@functools.cache
def schedule() -> ScheduleTable:
    """The due index, the planner's place in it, and the circuits."""
    from tiktok_linking.adapters.dynamodb import Table
    from tiktok_linking.adapters.schedule_table import ScheduleTable

    return ScheduleTable(Table(_dynamodb(), settings().accounts_table, tries=3))


@functools.cache
def sealing() -> TokenSealing:
    """Ciphers for tokens."""
    from tiktok_linking.adapters.dynamodb import Table
    from tiktok_linking.adapters.sealing import DataKeys, TokenSealing

    keys = DataKeys(
        _client("kms"),
        Table(_dynamodb(), settings().accounts_table, tries=3),
        key_arn=settings().sealing_key_arn,
        now=now,
    )
    return TokenSealing(keys, epoch_days=settings().key_epoch_days)


@functools.cache
def credentials() -> SecretsManagerCredentials:
    """The app registrations' credentials."""
    from tiktok_linking.adapters.credentials import SecretsManagerCredentials

    return SecretsManagerCredentials(
        _client("secretsmanager"),
        secret_arn=settings().app_secret_arn,
        client_keys=settings().app_registrations,
        now=now,
    )


@functools.cache
def tiktok() -> TikTokClient:
    """TikTok."""
    from tiktok_linking.adapters.patience import PatientAdapter
    from tiktok_linking.adapters.tiktok import TikTokClient

    return TikTokClient(PatientAdapter(settings().tiktok_api_base_url, connections=20), now)


@functools.cache
def renewal_queue() -> SqsGrantQueue:
    """Due grants on their way to the workers."""
    from tiktok_linking.adapters.queues import SqsGrantQueue

    return SqsGrantQueue(_client("sqs"), settings().renewal_queue_url)


@functools.cache
def revocation_queue() -> SqsGrantQueue:
    """Grants whose end is to be finished, on their way to ``unlink``."""
    from tiktok_linking.adapters.queues import SqsGrantQueue

    return SqsGrantQueue(_client("sqs"), settings().revocation_queue_url)


@functools.cache
def rescue_queue() -> SqsRescueQueue:
    """Where sealed pairs go that the table did not take."""
    from tiktok_linking.adapters.queues import SqsRescueQueue

    return SqsRescueQueue(_urgent("sqs"), settings().rescue_queue_url)


@functools.cache
def journal() -> FileJournal:
    """Fresh pairs in this environment's own folder."""
    from tiktok_linking.adapters.journal import FileJournal

    return FileJournal(Path(tempfile.gettempdir()) / "journal")


def registrations() -> tuple[str, ...]:
    """The app registrations of this stack."""
    return tuple(settings().app_registrations)


@functools.cache
def refresh_door() -> LambdaRefreshDoor:
    """The refresh function. Waits as long as it may run; a second call could not help."""
    from tiktok_linking.adapters.refresh_door import LambdaRefreshDoor

    client = _client("lambda", read_timeout=26, attempts=1)
    return LambdaRefreshDoor(client, settings().refresh_function)


@functools.cache
def linking() -> Linking:
    """The callback's use case."""
    from tiktok_linking.linking import Linking

    return Linking(
        sessions=sessions(),
        authorisations=accounts(),
        tiktok=tiktok(),
        sealing=sealing(),
        credentials=credentials(),
        journal=journal(),
        rescue=rescue_queue(),
        policy=policy(),
        client_keys=settings().app_registrations,
        now=now,
        pause=time.sleep,
        chance=random.random,
    )


@functools.cache
def renewal() -> Renewal:
    """The one spender of refresh tokens."""
    from tiktok_linking.breaker import Breaker
    from tiktok_linking.renewal import Renewal

    return Renewal(
        grants=accounts(),
        breaker=Breaker(schedule(), registrations(), now, random.random),
        tiktok=tiktok(),
        sealing=sealing(),
        credentials=credentials(),
        journal=journal(),
        rescue=rescue_queue(),
        policy=policy(),
        now=now,
        pause=time.sleep,
        chance=random.random,
    )


@functools.cache
def vending() -> Vending:
    """Access tokens for the team's backend."""
    from tiktok_linking.vending import Vending

    return Vending(
        links=accounts(),
        sealing=sealing(),
        door=refresh_door(),
        policy=policy(),
        now=now,
        pause=time.sleep,
        chance=random.random,
    )


@functools.cache
def unlinking() -> Unlinking:
    """Ends of links."""
    from tiktok_linking.unlinking import Unlinking

    return Unlinking(
        links=accounts(),
        sealing=sealing(),
        credentials=credentials(),
        tiktok=tiktok(),
        door=refresh_door(),
        queue=revocation_queue(),
        tombstone=settings().tombstone,
        now=now,
    )


@functools.cache
def rescuing() -> Rescuing:
    """What lands pairs that could not be saved."""
    from tiktok_linking.rescuing import Rescuing

    return Rescuing(
        grants=accounts(),
        authorisations=accounts(),
        sessions=sessions(),
        policy=policy(),
        now=now,
    )


@functools.cache
def removing() -> Removing:
    """What TikTok's webhooks lead to."""
    from tiktok_linking.removing import Removing

    return Removing(
        removals=accounts(),
        credentials=credentials(),
        client_keys=settings().app_registrations,
        now=now,
    )


@functools.cache
def timeline() -> TimelineTable:
    """The accounts table, as the outbox and the timeline use it."""
    from tiktok_linking.adapters.dynamodb import Table
    from tiktok_linking.adapters.timeline_table import TimelineTable

    table = Table(_dynamodb(), settings().accounts_table, tries=3)
    return TimelineTable(table, kept_for=settings().timeline)


@functools.cache
def publishing() -> Publishing:
    """The outbox."""
    from tiktok_linking.adapters.event_bus import EventBridgeBus
    from tiktok_linking.publishing import Publishing

    bus = EventBridgeBus(_client("events"), settings().event_bus)
    return Publishing(bus=bus, timeline=timeline(), links=_reminder_links())


def _reminder_links() -> RelinkLinks | None:
    if not settings().reminder_links:
        return None
    from tiktok_linking.requesting import RelinkLinks

    return RelinkLinks(sessions=sessions(), stack=stack(), base_url=public_base_url(""), now=now)


def stack() -> Stack:
    """What this deployment allows a link session to ask for."""
    from tiktok_linking.requesting import Stack

    read = settings()
    return Stack(
        registrations=tuple(read.app_registrations),
        scopes_required=read.scopes_required,
        scopes_optional=read.scopes_optional,
        return_origins=read.return_origins,
        completion=read.completion,
    )


@functools.cache
def audit_bus() -> EventBridgeBus | None:
    """Where hand-outs are told, where the stack asks for it: one short try, a token waits."""
    if not settings().event_bus:
        return None
    from tiktok_linking.adapters.event_bus import EventBridgeBus

    client = _client("events", connect_timeout=0.5, read_timeout=1, attempts=1)
    return EventBridgeBus(client, settings().event_bus)


def tell_of(token: VendedToken, *, caller: str, purpose: str | None) -> None:
    """Put a hand-out on the bus, where the stack asks for it. Raises StoreUnavailable."""
    bus = audit_bus()
    if bus is None:
        return
    from tiktok_linking.publishing import handed_out

    event = handed_out(
        token.account,
        token.grant,
        caller=caller,
        purpose=purpose,
        refreshed=token.refreshed,
        warning=token.warning,
        request_id=secrets.token_hex(16),
        now=now(),
    )
    bus.send([event])


@functools.cache
def reminding() -> Reminding:
    """Reminders and passed deadlines."""
    from tiktok_linking.adapters.dynamodb import Table
    from tiktok_linking.adapters.reminder_table import ReminderTable
    from tiktok_linking.reminding import Reminding

    table = Table(_dynamodb(), settings().accounts_table, tries=3)
    return Reminding(ReminderTable(table), settings().reminder_days, now)


def publish(record: Mapping[str, Any]) -> None:
    """Publish one record of a table's stream. Raises RecordBroken for anything else."""
    from tiktok_linking.adapters.changes import read_change

    change = read_change(record)
    if change is not None:
        publishing().publish(change)


def land_leftovers() -> int:
    """Save what an invocation that died in this environment had not: how many pairs there were.

    Only one invocation at a time runs here, so whatever is left belongs to a dead one.
    """
    found = journal().leftovers()
    for pair in found:
        rescuing().land(pair)
        journal().forget(pair)
    return len(found)


def land_parcel(text: str) -> Saved:
    """Read a parcel of the rescue queue and land it. Raises ValueError for anything else."""
    from tiktok_linking.adapters.parcels import unpack

    return rescuing().land(unpack(text))


def public_base_url(from_stage: str) -> str:
    """Our own address: configured, else what the template wrote on the API's stage.

    Never from a header: whoever sends one could choose where codes go.
    """
    from tiktok_linking.errors import LinkingError

    url = settings().public_base_url or from_stage
    if not url:
        raise LinkingError("PUBLIC_BASE_URL is empty and the stage has no public_base_url")
    return url.rstrip("/")
