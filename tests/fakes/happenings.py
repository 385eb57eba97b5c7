"""What the fakes were asked, in order, and what goes wrong on request.

Every fake shares one ``Happenings``, so a test can say in which order ports were used, let the n-th
use fail before or after it took effect, or let somebody else act in the meantime.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class Killed(BaseException):
    """The process died here: nothing after this line ran. No ``except Exception`` catches it."""


Act = Callable[[], object]


@dataclass
class Happenings:
    """The shared record. ``calls`` holds names such as ``grants.take_lease``."""

    calls: list[str] = field(default_factory=list)
    _before: dict[str, deque[Act]] = field(default_factory=dict)
    _after: dict[str, deque[Act]] = field(default_factory=dict)
    _at_call: dict[int, tuple[Act | None, Act | None]] = field(default_factory=dict)

    def before(self, name: str, *acts: Act | BaseException) -> None:
        """At the next uses of ``name``, before they take effect: act, or raise."""
        self._before.setdefault(name, deque()).extend(map(_act, acts))

    def after(self, name: str, *acts: Act | BaseException) -> None:
        """At the next uses of ``name``, after they took effect: act, or lose the reply."""
        self._after.setdefault(name, deque()).extend(map(_act, acts))

    def at(
        self,
        number: int,
        *,
        before: Act | BaseException | None = None,
        after: Act | BaseException | None = None,
    ) -> None:
        """At the ``number``-th use of anything, counted from 0."""
        self._at_call[number] = (_maybe(before), _maybe(after))

    def forget(self) -> None:
        """Start the record anew; plans for calls that never came are dropped."""
        self.calls.clear()
        self._before.clear()
        self._after.clear()
        self._at_call.clear()

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Record one use of a port around its effect."""
        at_before, at_after = self._at_call.get(len(self.calls), (None, None))
        self.calls.append(name)
        _run(at_before, self._before.get(name))
        yield
        _run(at_after, self._after.get(name))


def _act(act: Act | BaseException) -> Act:
    if not isinstance(act, BaseException):
        return act
    error = act

    def fail() -> None:
        raise error

    return fail


def _maybe(act: Act | BaseException | None) -> Act | None:
    return None if act is None else _act(act)


def _run(at: Act | None, planned: deque[Act] | None) -> None:
    if at is not None:
        at()
    if planned:
        planned.popleft()()
