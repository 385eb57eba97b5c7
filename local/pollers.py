"""What every event source's poller is: a thread that feeds one function and can be paused."""

import threading
from abc import ABC, abstractmethod

from local.functions import FunctionPool


class Poller(ABC):
    """Feeds one function from one source."""

    def __init__(self, pool: FunctionPool, source: str) -> None:
        """``source`` is what the thread is called: an address."""
        self._pool = pool
        self._stopping = threading.Event()
        self._delivering = threading.Event()
        self._delivering.set()
        self._pauses = 0
        self._thread = threading.Thread(target=self._poll, name=source, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    @property
    def function(self) -> str:
        """The name of the function that this feeds."""
        return self._pool.settings.name

    @property
    def is_paused(self) -> bool:
        return not self._delivering.is_set()

    def pause(self, paused: bool) -> None:
        """Leave in the source what comes, or go on delivering it."""
        if paused:
            self._pauses += 1
            self._delivering.clear()
        else:
            self._delivering.set()

    @property
    @abstractmethod
    def source_name(self) -> str:
        """What people call the source."""

    @abstractmethod
    def backlog(self) -> int:
        """How much was not delivered yet."""

    @abstractmethod
    def _poll(self) -> None:
        """Deliver until `stop`; begun by `start`."""
