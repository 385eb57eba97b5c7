"""The schedule's side of the accounts table: the due index, the planner's place, the circuits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from tiktok_linking.accounts import Ending
from tiktok_linking.adapters.dynamodb import ConditionFailed, Table, Update, at_ms, encode, to_ms
from tiktok_linking.adapters.records import PLAN_KEY, circuit_key, mark, read_circuit
from tiktok_linking.circuit import Circuit
from tiktok_linking.events import PROVIDER_CHANGED
from tiktok_linking.ports import Due, DuePage, Plan


class ScheduleTable:
    """Implements the ports Schedule, Endings and Circuits."""

    def __init__(self, table: Table) -> None:
        self._table = table

    # -- Schedule -------------------------------------------------------------------------------

    def read_plan(self, registrations: Iterable[str]) -> Plan:
        """See ports.Schedule."""
        keys = [PLAN_KEY, *map(circuit_key, registrations)]
        stopped_at: dict[int, Due] = {}
        circuits: dict[str, Circuit] = {}
        for item in self._table.batch_get(keys):
            if item["sk"] == "circuit":
                circuit = read_circuit(item)
                circuits[circuit.registration] = circuit
            else:
                stopped_at = {int(n): _read_place(text) for n, text in item["mt"].items()}
        return Plan(stopped_at, circuits)

    def keep_plan(self, stopped_at: Mapping[int, Due]) -> None:
        """See ports.Schedule. Overlapping runs may overwrite each other: only repeats follow."""
        places = {str(n): f"{to_ms(due.due_at)} {due.grant_id}" for n, due in stopped_at.items()}
        self._table.update(PLAN_KEY, Update(sets={"mt": places}))

    def due(self, shard: int, *, now: datetime, limit: int, after: Due | None) -> DuePage:
        """See ports.Schedule. Reads only what is due: growth does not depend on the total."""
        keys = ("ds", str(shard), "da")
        return self._by_time("due", keys, now=now, limit=limit, after=after)

    # -- Endings --------------------------------------------------------------------------------

    def unfinished(
        self, ending: Ending, *, now: datetime, limit: int, after: Due | None
    ) -> DuePage:
        """See ports.Endings."""
        keys = ("ej", ending.value, "el")
        return self._by_time("ending", keys, now=now, limit=limit, after=after)

    def _by_time(
        self,
        index: str,
        keys: tuple[str, str, str],
        *,
        now: datetime,
        limit: int,
        after: Due | None,
    ) -> DuePage:
        """A page of one partition of an index of grants: those whose time has come.

        ``keys``: the partition's attribute, its value, and the attribute of the time.
        """
        partition, value, time = keys
        start = None
        if after is not None:
            start = encode(
                {"pk": after.grant_id, "sk": "grant", partition: value, time: after.due_at}
            )
        items, more = self._table.query(
            f"{partition} = :partition AND {time} <= :now",
            {":partition": value, ":now": now},
            index=index,
            limit=limit,
            start=start,
        )
        found = tuple(Due(item["pk"], at_ms(item[time])) for item in items)
        return DuePage(found, found[-1] if found and more is not None else None)

    # -- Circuits -------------------------------------------------------------------------------

    def open(self, circuit: Circuit, *, now: datetime) -> bool:
        """See ports.Circuits."""
        sets = {
            "st": circuit.trouble.value if circuit.trouble else None,
            "bo": circuit.pauses_until,
            "fc": circuit.strikes,
            "ev": mark(PROVIDER_CHANGED, now),
        }
        try:
            self._table.update(
                circuit_key(circuit.registration),
                Update(sets=sets, first={"ff": circuit.since}, removes=("lo", "lu"), adds={"v": 1}),
                condition="attribute_not_exists(bo) OR bo <= :now",
                values={":now": now},
            )
        except ConditionFailed as failed:
            return failed.old.get("bo") == to_ms(circuit.pauses_until or now)  # ours, repeated
        return True

    def take_probe(self, registration: str, *, owner: str, until: datetime, now: datetime) -> bool:
        """See ports.Circuits."""
        try:
            self._table.update(
                circuit_key(registration),
                Update(sets={"lo": owner, "lu": until}, removes=("ev",)),
                condition="attribute_exists(st) AND bo <= :now"
                " AND (attribute_not_exists(lu) OR lu <= :now)",
                values={":now": now},
            )
        except ConditionFailed as failed:
            return failed.old.get("lo") == owner
        return True

    def close(self, circuit: Circuit, *, now: datetime) -> None:
        """See ports.Circuits."""
        try:
            self._table.update(
                circuit_key(circuit.registration),
                Update(
                    sets={"ev": mark(PROVIDER_CHANGED, now)},
                    removes=("st", "ff", "bo", "lo", "lu", "fc"),
                    adds={"v": 1},
                ),
                condition="attribute_exists(st)",
            )
        except ConditionFailed:
            return


def _read_place(text: str) -> Due:
    moment, _, grant_id = text.partition(" ")
    return Due(grant_id, at_ms(int(moment)))
