"""Named deadlines per owner, in one heap."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Timers"]

Owner = TypeVar("Owner")

_COMPACT_AT = 64


class Timers(Generic[Owner]):
    """At most one deadline per owner and name.

    A deadline nearly always moves to a later time long before it comes, with each poll for one. So the heap keeps the
    entry it has, and only when that surfaces it is put back for the time it has been moved to, or dropped.

    >>> timers: Timers[str] = Timers()
    >>> timers.arm("session", "poll", 5.0)
    >>> timers.next(), list(timers.due(6.0)), timers.next()
    (5.0, [('session', 'poll')], None)
    """

    __slots__ = ("_armed", "_heap", "_known", "_next", "_queued", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Owner, str]] = []
        self._armed: dict[tuple[Owner, str], float] = {}
        """What is to go off, and when."""
        self._queued: dict[tuple[Owner, str], float] = {}
        """When the heap brings each up: not later than it is to go off. It may have been disarmed since."""
        self._serial = 0
        self._next: float | None = None
        self._known = True
        """`_next` is right: nothing was armed or disarmed since it was looked up."""

    def arm(self, owner: Owner, name: str, deadline: float) -> None:
        """Set `name` of `owner` to go off at `deadline`, instead of what it was set to before."""
        self._known = False
        key = (owner, name)
        self._armed[key] = deadline
        queued = self._queued.get(key)
        if queued is None or deadline < queued:
            self._push(key, deadline)
            if len(self._heap) > _COMPACT_AT and len(self._heap) > 4 * len(self._armed):
                self._compact()

    def disarm(self, owner: Owner, *names: str) -> None:
        """These of `owner` will not go off. Harmless when they are not set."""
        self._known = False
        pop = self._armed.pop
        for name in names:
            pop((owner, name), None)

    def next(self) -> float | None:
        """The earliest deadline."""
        if not self._known:
            heap = self._heap
            while heap and not self._is_right(heap[0]):
                self._put_right()
            self._next = heap[0][0] if heap else None
            self._known = True
        return self._next

    def due(self, now: float) -> Iterator[tuple[Owner, str]]:
        """Each owner and name whose deadline is not after `now`, earliest first; they are disarmed."""
        self._known = False
        heap = self._heap
        while heap and heap[0][0] <= now:
            if self._is_right(heap[0]):
                _, _, owner, name = heapq.heappop(heap)
                del self._armed[owner, name]
                del self._queued[owner, name]
                yield owner, name
            else:
                self._put_right()

    def __len__(self) -> int:
        return len(self._armed)

    def _push(self, key: tuple[Owner, str], deadline: float) -> None:
        self._serial += 1
        self._queued[key] = deadline
        heapq.heappush(self._heap, (deadline, self._serial, *key))

    def _is_right(self, entry: tuple[float, int, Owner, str]) -> bool:
        """It goes off when the heap says."""
        return self._armed.get((entry[2], entry[3])) == entry[0]

    def _put_right(self) -> None:
        """The first of the heap does not go off now: it was disarmed, moved, or is a leftover of such a move."""
        at, _, owner, name = heapq.heappop(self._heap)
        key = (owner, name)
        if self._queued.get(key) == at:
            del self._queued[key]
            deadline = self._armed.get(key)
            if deadline is not None:
                self._push(key, deadline)

    def _compact(self) -> None:
        self._heap.clear()
        self._queued.clear()
        for key, deadline in self._armed.items():
            self._push(key, deadline)
