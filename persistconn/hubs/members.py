"""A connection as its hubs know it: which ones it uses, its calls that run, and how many more it may make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import anyio

from persistconn import Settings

from .described import DescribedHub

__all__ = ["Member"]


class Member:
    """One connection."""

    __slots__ = ("_allowance", "_asked", "_running", "hubs", "places")

    def __init__(self, hubs: Sequence[DescribedHub], settings: Settings, now: float) -> None:
        self.hubs = hubs
        self.places = anyio.Semaphore(settings.max_parallel_calls, fast_acquire=True) if _many(settings) else None
        """For calls that run side by side; None: they take turns."""
        self._running: set[anyio.CancelScope] = set()
        self._allowance = settings.max_call_rate
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
            try:
                yield
            finally:
                self._running.discard(scope)

    def cancel_calls(self) -> None:
        """The connection has ended."""
        for scope in self._running:
            scope.cancel()


def _many(settings: Settings) -> bool:
    return settings.max_parallel_calls > 1
