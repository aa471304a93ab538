"""Reports how far a call has come, to whoever has made it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

__all__ = ["Progress"]

T = TypeVar("T")


class Progress(Generic[T]):
    """A parameter of this type reports progress to the caller; no argument of the client belongs to it.

    ::

        async def work(self, n: int, progress: Progress[int]) -> str:
            await progress.report(50)
            return "done"

    In jquery.signalR: `hub.server.work(3).progress(function (value) {…}).done(…)`. Clients of ASP.NET Core get the
    result alone: their wire has no words for progress, and what is reported is dropped. Give them a stream.
    """

    __slots__ = ("_finished", "_send")

    def __init__(self, send: Callable[[Any], Awaitable[None]]) -> None:
        self._send = send
        self._finished = False

    async def report(self, value: T) -> None:
        """Tell the caller. Raises RuntimeError once the method has returned, as nobody listens any more."""
        if self._finished:
            raise RuntimeError("You cannot report progress on a hub method invocation that has already completed.")
        await self._send(value)

    def _finish(self) -> None:
        self._finished = True
