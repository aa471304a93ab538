"""A connection as its callbacks know it, and how the user's functions are called."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio.to_thread

from .connection import Connection, PersistentConnection
from .errors import ConnectionClosed
from .tasks import Tasks

__all__ = ["Lifetime", "awaitable", "call"]

_logger = logging.getLogger("persistconn.app")


class Lifetime:
    """A connection as its callbacks know it, and the tasks that end with it."""

    __slots__ = ("connection", "on_received", "owner", "raw", "tasks")

    def __init__(self, owner: PersistentConnection, connection: Connection) -> None:
        self.owner = owner
        self.connection = connection
        self.on_received = awaitable(owner.on_received)
        """Looked up once: asking for it, and what it is, costs more than calling it."""
        self.raw = owner.raw_text or connection.dialect != "classic"
        """It gets text as it is."""
        self.tasks: dict[object, Callable[[], None]] | None = None
        """How to cancel each."""

    def start(self, tasks: Tasks, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a task that ends with the connection."""
        running = self.tasks = {} if self.tasks is None else self.tasks
        key = object()
        running[key] = tasks.spawn(self._run, function, args, ended=lambda: running.pop(key, None) and None)

    async def _run(self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        try:
            await function(*args)
        except Exception as error:
            what = getattr(function, "__qualname__", function)
            id, extra = self.connection.id, self.connection.log_extra
            if self.is_cut_short_by(error):
                _logger.debug("a task of connection %s was cut short: %s", id, what, extra=extra)
            else:
                _logger.exception("a task of connection %s failed: %s", id, what, extra=extra)

    def is_cut_short_by(self, error: BaseException) -> bool:
        """The client went while it was being served, and what was to be sent to it said so: nothing has failed."""
        return self.connection.ended and _is_closed(error)

    def end(self) -> None:
        """End the tasks of this connection."""
        for cancel in list((self.tasks or {}).values()):
            cancel()


def _is_closed(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_closed(each) for each in error.exceptions)
    return isinstance(error, ConnectionClosed)


async def call(function: Callable[..., Any], *args: Any) -> Any:
    """Call a user's function: a plain one in a worker thread. A coroutine it gives back is awaited."""
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    result = await anyio.to_thread.run_sync(function, *args)
    return await result if inspect.isawaitable(result) else result


def awaitable(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """The same as `call` with this function, for who calls it often."""
    return function if inspect.iscoroutinefunction(function) else partial(call, function)
