"""A stream that a client uploads, as the method that reads it sees it (ASP.NET Core hub protocol §7.5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import anyio
from msgspec import Raw

from . import failures
from .binding import BindingError
from .hub import HubError

__all__ = ["BUFFER", "Upload"]

BUFFER: Final = 10
"""Items that wait to be read; then the client waits, as on .NET (StreamBufferCapacity)."""


class Upload:
    """An asynchronous iterator; one task puts items in, one takes them out."""

    __slots__ = ("_changed", "_ended", "_error", "_items", "_most", "read")

    def __init__(self, most: int = BUFFER) -> None:
        self.read: Callable[[Raw], Any] = lambda raw: raw
        """How to read an item: known once it is known which method wants it."""
        self._most = most
        self._items: deque[Raw] = deque()
        self._ended = False
        self._error: Exception | None = None
        self._changed: anyio.Event | None = None
        """Made by whoever waits: there can be only one of the two, as it is full or empty."""

    async def put(self, item: Raw) -> None:
        """The next item; waits while it is full. Nothing happens once it has ended."""
        while len(self._items) >= self._most and not self._ended:
            await self._change()
        if not self._ended:
            self._items.append(item)
            self._wake()

    def end(self, error: Exception | None = None) -> None:
        """No more items come; the reader meets the error behind those that have come."""
        if not self._ended:
            self._ended, self._error = True, error
            self._wake()

    def drop(self) -> None:
        """Nobody reads it any more."""
        self._items.clear()
        self.end()

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> Any:
        while not self._items and not self._ended:
            await self._change()
        if not self._items:
            error, self._error = self._error, None
            raise error or StopAsyncIteration
        raw = self._items.popleft()
        self._wake()
        try:
            return self.read(raw)
        except BindingError:
            self.drop()
            raise HubError(failures.STREAM_BINDING) from None

    async def _change(self) -> None:
        self._changed = anyio.Event()
        await self._changed.wait()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None
