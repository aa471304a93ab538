"""Calls the user's callbacks: coroutine functions in the connection's task, plain ones in a worker thread."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

import anyio.to_thread

from .connection import Connection, Outlet, PersistentConnection
from .protocol.outputs import AppEvent, Connected, Disconnected, Gap, Received, Reconnected, Rejoining
from .tasks import Parking, Tasks, ends_this_task
from .wire.classic import read_data

__all__ = ["Callbacks", "Stepper", "Worker", "call"]

_logger = logging.getLogger("persistconn.app")


class Stepper(Outlet, Protocol):
    """A host: the outlet of connections, and the way their callbacks run."""

    def stepwise(self, callback: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        """Run a callback in this task; whenever it waits, what it has sent leaves."""
        ...


class Worker:
    """What a connection's task knows: its connection, the event to deal with, the tasks that end with it."""

    __slots__ = ("connection", "event", "id", "owner", "parking", "tasks")

    def __init__(self, parking: Parking, event: AppEvent) -> None:
        self.id = event.connection_id
        self.parking = parking
        self.event: AppEvent | None = event
        self.connection: Connection | None = None
        self.owner: PersistentConnection | None = None
        self.tasks: dict[object, Callable[[], None]] | None = None
        """How to cancel each task that ends with the connection."""

    def start(self, tasks: Tasks, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a task that ends with the connection."""
        running = self.tasks = {} if self.tasks is None else self.tasks
        key = object()
        running[key] = tasks.spawn(function, *args, ended=lambda: running.pop(key, None) and None)

    def end(self) -> None:
        """End the tasks of this connection."""
        for cancel in list((self.tasks or {}).values()):
            cancel()


async def call(function: Callable[..., Any], *args: Any) -> Any:
    """Call a user's function: a plain one in a worker thread. A coroutine it gives back is awaited."""
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    result = await anyio.to_thread.run_sync(function, *args)
    return await result if inspect.isawaitable(result) else result


class Callbacks:
    """The callbacks of all routes."""

    def __init__(self, routes: Mapping[str, PersistentConnection], host: Stepper) -> None:
        self._routes = routes
        self._host = host
        self._coroutines: dict[object, bool] = {}
        """Whether a function is a coroutine function: asking costs more than the rest of a call."""

    async def run(self, worker: Worker, event: AppEvent) -> tuple[Sequence[str] | None, BaseException | None]:
        """Tell the application of `event`. Gives its answer and its error, which has been logged.

        Raises only what ends the task.
        """
        if worker.connection is None and isinstance(event, Connected | Rejoining | Reconnected):
            worker.owner = self._routes[event.route]
            worker.connection = Connection(event.connection_id, event.request, self._host)
        connection, owner = worker.connection, worker.owner
        assert connection is not None and owner is not None
        try:
            match event:
                case Received():
                    connection.text = event.data if isinstance(event.data, str) else ""
                    data = event.data if owner.raw_text or isinstance(event.data, bytes) else read_data(event.data)
                    await self._call(owner.on_received, connection, data)
                case Connected():
                    await self._call(owner.on_connected, connection)
                case Rejoining():
                    return tuple(await self._call(owner.on_rejoining_groups, connection, event.groups)), None
                case Reconnected():
                    connection.request = event.request
                    connection.recovered, connection.missed = event.recovered, event.missed
                    await self._call(owner.on_reconnected, connection)
                case Gap():
                    connection.recovered, connection.missed = False, event.missed
                    _logger.warning("connection %s is slow and missed %s messages", connection.id, event.missed)
                    await self._call(owner.on_gap, connection)
                case _:
                    assert isinstance(event, Disconnected)
                    await self._call(owner.on_disconnected, connection, event.reason)
        except BaseException as error:
            if ends_this_task(error):
                raise
            _logger.exception("%s of connection %s failed", type(event).__name__, connection.id)
            return None, error
        return None, None

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        plain = getattr(function, "__func__", function)  # the same for every look at a method
        is_coroutine = self._coroutines.get(plain)
        if is_coroutine is None:
            is_coroutine = self._coroutines[plain] = inspect.iscoroutinefunction(function)
        if is_coroutine:
            return await self._host.stepwise(function(*args))
        return await self._host.stepwise(call(function, *args))
