"""What one call has been given and what of that is still open; and where functions of users run."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias

import anyio
import anyio.to_thread

from .hub import Scene

__all__ = ["Opened", "Source", "call_anywhere", "in_threads"]

_logger = logging.getLogger("persistconn.hubs")

Source: TypeAlias = "Callable[[Opened], Awaitable[Any]]"
"""Where the value of a parameter comes from."""


class Opened:
    """What one call has been given. It is closed when the call is over, the last first, whatever became of the call;
    what goes wrong then is what has become of it. A client that goes does not cut that short before `patience` is over.
    """

    __slots__ = ("_patience", "_scope", "exits", "found", "scene")

    def __init__(self, scene: Scene, patience: float) -> None:
        self.scene = scene
        self.found: dict[Any, Any] = {}
        self.exits: list[Callable[..., Awaitable[Any]]] = []
        self._patience = patience
        self._scope = anyio.CancelScope()
        """Around all of it, and not around the closing alone: a generator may hold a scope open, and they must nest."""

    async def give(self, sources: Mapping[str, Source]) -> dict[str, Any]:
        """The values of these parameters."""
        return {name: await source(self) for name, source in sources.items()}

    async def __aenter__(self) -> Self:
        self._scope.__enter__()
        return self

    async def __aexit__(self, _: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        scope, ended = self._scope, error
        scope.shield, scope.deadline = True, anyio.current_time() + self._patience
        while self.exits:
            try:
                await self.exits.pop()(type(ended) if ended else None, ended, ended.__traceback__ if ended else None)
            except BaseException as other:
                if isinstance(other, Exception) or not scope.cancel_called:
                    ended = other
        scope.__exit__(None, None, None)
        if scope.cancel_called:
            context = self.scene.context
            context.connection.count_reaction("drain_timeout")
            text = f"what a call depended on did not close within {self._patience:g} s (drain_timeout)"
            _logger.error("connection %s: %s", context.connection_id, text, extra=context.connection.log_extra)
            ended = ended or TimeoutError(text)
        if ended is not None and ended is not error:
            raise ended


async def call_anywhere(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """A plain function runs in a worker thread; who calls an asynchronous generator only gets it."""
    if inspect.iscoroutinefunction(function):
        return await function(*args, **named)
    if inspect.isasyncgenfunction(function):
        return function(*args, **named)
    result = await anyio.to_thread.run_sync(partial(function, *args, **named))
    return await result if inspect.isawaitable(result) else result


@asynccontextmanager
async def in_threads(make: Callable[..., AbstractContextManager[Any]], **given: Any) -> AsyncIterator[Any]:
    """A plain context manager, as one whose two halves run in worker threads."""
    manager = make(**given)
    value = await anyio.to_thread.run_sync(manager.__enter__)
    free = anyio.CapacityLimiter(1)  # all other threads may wait for what this one gives back
    try:
        yield value
    except BaseException as error:
        leave = partial(manager.__exit__, type(error), error, error.__traceback__)
        if not await anyio.to_thread.run_sync(leave, limiter=free):
            raise
    else:
        await anyio.to_thread.run_sync(manager.__exit__, None, None, None, limiter=free)
