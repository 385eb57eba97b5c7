"""The due index, the planner's place and the circuits in memory, over the accounts in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from tests.fakes.accounts import AccountsInMemory
from tests.fakes.happenings import Happenings
from tiktok_linking.accounts import Ending
from tiktok_linking.circuit import Circuit
from tiktok_linking.ports import Due, DuePage, Plan


class ScheduleInMemory:
    """Implements the ports Schedule, Endings and Circuits."""

    def __init__(self, happenings: Happenings, accounts: AccountsInMemory) -> None:
        self._happenings = happenings
        self._accounts = accounts
        self._probe: dict[str, str] = {}
        self.stopped_at: Mapping[int, Due] = {}

    def read_plan(self, registrations: Iterable[str]) -> Plan:
        """See ports.Schedule."""
        with self._happenings.call("schedule.read_plan"):
            known = self._accounts.circuits
            return Plan(self.stopped_at, {r: known[r] for r in registrations if r in known})

    def keep_plan(self, stopped_at: Mapping[int, Due]) -> None:
        """See ports.Schedule."""
        with self._happenings.call("schedule.keep_plan"):
            self.stopped_at = dict(stopped_at)

    def due(self, shard: int, *, now: datetime, limit: int, after: Due | None) -> DuePage:
        """See ports.Schedule."""
        with self._happenings.call("schedule.due"):
            found = [
                due
                for due in self._accounts.due_grants(shard, now=now)
                if after is None or (due.due_at, due.grant_id) > (after.due_at, after.grant_id)
            ]
            page = tuple(found[:limit])
            return DuePage(page, page[-1] if len(found) > limit else None)

    # -- Endings --------------------------------------------------------------------------------

    def unfinished(
        self, ending: Ending, *, now: datetime, limit: int, after: Due | None
    ) -> DuePage:
        """See ports.Endings."""
        with self._happenings.call("endings.unfinished"):
            found = [
                due
                for due in self._accounts.unfinished(ending, now=now)
                if after is None or (due.due_at, due.grant_id) > (after.due_at, after.grant_id)
            ]
            page = tuple(found[:limit])
            return DuePage(page, page[-1] if len(found) > limit else None)

    # -- Circuits -------------------------------------------------------------------------------

    def open(self, circuit: Circuit, *, now: datetime) -> bool:
        """See ports.Circuits."""
        with self._happenings.call("circuits.open"):
            known = self._accounts.circuits.get(circuit.registration)
            if known is not None and known.pauses_until is not None and known.pauses_until > now:
                return known.pauses_until == circuit.pauses_until
            since = known.since if known is not None and known.since else circuit.since
            self._accounts.circuits[circuit.registration] = replace(circuit, since=since)
            return True

    def take_probe(self, registration: str, *, owner: str, until: datetime, now: datetime) -> bool:
        """See ports.Circuits."""
        with self._happenings.call("circuits.take_probe"):
            known = self._accounts.circuits.get(registration)
            if known is None or known.trouble is None:
                return False
            if known.waits(now):
                return self._probe.get(registration) == owner
            self._probe[registration] = owner
            self._accounts.circuits[registration] = replace(known, probed_until=until)
            return True

    def close(self, circuit: Circuit, *, now: datetime) -> None:
        """See ports.Circuits."""
        with self._happenings.call("circuits.close"):
            if circuit.registration in self._accounts.circuits:
                self._accounts.circuits[circuit.registration] = Circuit(circuit.registration)
