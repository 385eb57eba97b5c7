"""The breaker of one worker: counts failures in a row, and tells and asks the others.

State is shared through the table and read in the one request that reads the grants, so a closed
circuit costs no call. Counting is the worker's own: a write for each failure would make an outage
one hot item.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tiktok_linking.circuit import Circuit, Trouble, pause_after
from tiktok_linking.errors import StoreUnavailable
from tiktok_linking.ports import Circuits

logger = logging.getLogger("tiktok_linking.breaker")

PROBE_LASTS = timedelta(seconds=35)
"""An invocation of refresh (30 s) and a margin: a probe older than this is dead."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The circuit is open: nobody asks TikTok for so long."""

    trouble: Trouble
    retry_after: timedelta


@dataclass(slots=True)
class Breaker:
    """Shared by the threads of one worker; see the module's text."""

    circuits: Circuits
    registrations: tuple[str, ...]
    now: Callable[[], datetime]
    chance: Callable[[], float]
    _known: dict[str, Circuit] = field(default_factory=dict, repr=False)
    _failures: dict[str, int] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def learn(self, circuits: Mapping[str, Circuit]) -> None:
        """Take over what was read with the grants."""
        with self._lock:
            self._known = dict(circuits)

    def refusal(self, registration: str, *, is_scheduled: bool) -> Refusal | None:
        """Say why no request may go out now; None where it may, perhaps as the probe.

        Where TikTok refuses the registration, the schedule rests. Somebody who asks for a token is
        let through, so that a mended secret works at once.

        Raises:
            StoreUnavailable: the probe could not be taken; nothing was sent.
        """
        circuit = self._circuit(registration)
        if circuit.trouble is None:
            return None
        if circuit.trouble is Trouble.MISCONFIGURED and not is_scheduled:
            return None
        now = self.now()
        wait = circuit.waits(now)
        if wait is None:
            probed = replace(circuit, probed_until=now + PROBE_LASTS)
            with self._lock:  # of the threads of one worker, one probes
                if self._known.get(registration, circuit) is not circuit:
                    return Refusal(circuit.trouble, timedelta(seconds=1))
                self._known[registration] = probed
            owner = secrets.token_hex(8)
            if self.circuits.take_probe(
                registration, owner=owner, until=now + PROBE_LASTS, now=now
            ):
                return None
            wait = timedelta(seconds=1)
        return Refusal(circuit.trouble, wait)

    def answered(self, registration: str) -> None:
        """TikTok gave a pair or a definite no to one account. Call it after the save."""
        circuit = self._circuit(registration)
        with self._lock:
            self._failures[registration] = 0
            self._known[registration] = Circuit(registration)
        if circuit.trouble is None:
            return
        try:
            self.circuits.close(circuit, now=self.now())
        except StoreUnavailable:
            return  # the next probe closes it
        logger.warning("renewals resumed", extra={"registration": registration})

    def failed(
        self, registration: str, trouble: Trouble, *, opens_after: int, retry_after: int | None
    ) -> None:
        """TikTok failed. A failed probe opens again at once; the first opening is logged."""
        circuit = self._circuit(registration)
        with self._lock:
            failures = self._failures.get(registration, 0) + 1
            self._failures[registration] = failures
        if circuit.trouble is None and failures < opens_after:
            return
        now = self.now()
        if circuit.pauses_until is not None and circuit.pauses_until > now:
            return  # others have opened it while this request was under way
        opened = Circuit(
            registration,
            trouble=trouble,
            since=circuit.since or now,
            pauses_until=now
            + pause_after(circuit.strikes, chance=self.chance(), retry_after=retry_after),
            strikes=circuit.strikes + 1,
        )
        with self._lock:
            self._known[registration] = opened
        try:
            was_first = self.circuits.open(opened, now=now)
        except StoreUnavailable:
            return  # this worker holds back all the same
        if was_first and circuit.trouble is not trouble:
            if trouble is Trouble.MISCONFIGURED:
                logger.error("app registration refused", extra={"registration": registration})
            else:
                logger.warning("renewals paused", extra={"registration": registration})

    def _circuit(self, registration: str) -> Circuit:
        with self._lock:
            return self._known.get(registration) or Circuit(registration)
