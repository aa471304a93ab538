"""Named deadlines per owner, in one heap."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Timers"]

Owner = TypeVar("Owner")

_COMPACT_AT = 64


class Timers(Generic[Owner]):
    """At most one deadline per owner and name; what was re-armed or disarmed is skipped when it surfaces.

    >>> timers: Timers[str] = Timers()
    >>> timers.arm("session", "poll", 5.0)
    >>> timers.next(), list(timers.due(6.0)), timers.next()
    (5.0, [('session', 'poll')], None)
    """

    __slots__ = ("_armed", "_heap", "_known", "_next", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Owner, str]] = []
        self._armed: dict[tuple[Owner, str], int] = {}
        self._serial = 0
        self._next: float | None = None
        self._known = True
        """`_next` is right: nothing was armed or disarmed since it was looked up."""

    def arm(self, owner: Owner, name: str, deadline: float) -> None:
        """Set `name` of `owner` to go off at `deadline`, instead of what it was set to before."""
        self._known = False
        self._serial += 1
        self._armed[owner, name] = self._serial
        heapq.heappush(self._heap, (deadline, self._serial, owner, name))
        if len(self._heap) > _COMPACT_AT and len(self._heap) > 4 * len(self._armed):
            self._heap = [entry for entry in self._heap if self._is_armed(entry)]
            heapq.heapify(self._heap)

    def disarm(self, owner: Owner, name: str) -> None:
        """`name` of `owner` will not go off. Harmless when it is not set."""
        self._known = False
        self._armed.pop((owner, name), None)

    def is_armed(self, owner: Owner, name: str) -> bool:
        """`name` of `owner` is set."""
        return (owner, name) in self._armed

    def next(self) -> float | None:
        """The earliest deadline."""
        if not self._known:
            while self._heap and not self._is_armed(self._heap[0]):
                heapq.heappop(self._heap)
            self._next = self._heap[0][0] if self._heap else None
            self._known = True
        return self._next

    def due(self, now: float) -> Iterator[tuple[Owner, str]]:
        """Each owner and name whose deadline is not after `now`, earliest first; they are disarmed."""
        self._known = False
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if self._is_armed(entry):
                del self._armed[entry[2], entry[3]]
                yield entry[2], entry[3]

    def __len__(self) -> int:
        return len(self._armed)

    def _is_armed(self, entry: tuple[float, int, Owner, str]) -> bool:
        return self._armed.get((entry[2], entry[3])) == entry[1]
