"""A connection as its hubs know it: which ones it uses, its calls that run, and how many more it may make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import anyio

from persistconn import RemoteProtocolError, Reply, Settings

from .described import DescribedHub

__all__ = ["Member"]


class Member:
    """One connection."""

    __slots__ = ("_allowance", "_asked", "_owed", "_over", "_running", "_under_way", "hubs", "places", "told")

    def __init__(self, hubs: Sequence[DescribedHub], settings: Settings, now: float) -> None:
        self.hubs = hubs
        self.told: Sequence[DescribedHub] = hubs
        """Those that will hear of its end: all up to the one that refused it, if one has."""
        self.places = anyio.Semaphore(settings.max_parallel_calls, fast_acquire=True) if _many(settings) else None
        """For calls that run side by side; None: they take turns."""
        self._running: set[anyio.CancelScope] = set()
        self._under_way = 0
        self._over: anyio.Event | None = None
        """Made when somebody waits for the last of them to end."""
        self._owed: set[Reply] = set()
        """Requests that stay open until a call beside others is answered."""
        self._allowance = max(settings.max_call_rate, 1.0)
        self._asked = now

    def has_allowance(self, rate: float, now: float) -> bool:
        """One more call is within `rate` a second; a second's worth may come at once (a token bucket)."""
        self._allowance = min(max(rate, 1.0), self._allowance + (now - self._asked) * rate)
        self._asked = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    @contextmanager
    def cancellable(self) -> Iterator[None]:
        """Run a call in here, and it ends with the connection."""
        with anyio.CancelScope() as scope:
            self._running.add(scope)
            self.enter()
            try:
                yield
            finally:
                self._running.discard(scope)
                self.leave()

    def enter(self) -> None:
        """One more call is under way: its end will be waited for, though somebody else may have to cancel it."""
        self._under_way += 1

    def leave(self) -> None:
        """It is over."""
        self._under_way -= 1
        if self._over is not None and not self._under_way:
            self._over.set()

    def owe(self, reply: Reply) -> None:
        """This one has to be answered, even if the call is never begun."""
        if reply.has_body:
            self._owed.add(reply)

    def has_answered(self, reply: Reply) -> None:
        """It has been."""
        self._owed.discard(reply)

    async def end_calls(self) -> None:
        """The connection has ended: cancel its calls, and wait until they are over."""
        for scope in self._running:
            scope.cancel()
        if self._under_way:
            self._over = anyio.Event()
            await self._over.wait()
        for reply in self._owed:
            reply.refuse(RemoteProtocolError("This connection has ended.", status=410))
        self._owed.clear()


def _many(settings: Settings) -> bool:
    return settings.max_parallel_calls > 1
