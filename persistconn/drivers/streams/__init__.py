"""How accepted sockets become channels: one way per event loop, and one that runs on any."""

from __future__ import annotations

import logging
import select
import socket
import ssl
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, TypeAlias

from ..listeners import when_readable
from ..state import ServerState

__all__ = ["Address", "StreamDriver", "Streams", "guarded", "reset_on_close", "running_backend", "streams_for"]

Address: TypeAlias = tuple[str, int] | None
StreamDriver: TypeAlias = Literal["asyncio", "trio", "anyio"]

logger = logging.getLogger("persistconn.server")

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 seconds."""


class Streams(ABC):
    """Runs the channels of one server and the tasks that they start."""

    @abstractmethod
    def attach(self, sock: socket.socket, client: Address, tls: ssl.SSLContext | None) -> None:
        """Serve an accepted, non-blocking socket from now on, and close it in the end. Never waits or raises."""

    @abstractmethod
    def spawn(self, call: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run `call(*args)` in a task of its own, cancelled when the streams are left. An error is logged."""

    async def when_readable(self, sock: socket.socket, call: Callable[[], None]) -> None:
        """Call `call()` whenever there is something to read from `sock`, a listener, until it raises."""
        await when_readable(sock, call)


async def guarded(call: Callable[..., Awaitable[Any]], *args: Any) -> None:
    """Run `call(*args)`; an error is logged and goes no further, because one client must not end the server."""
    try:
        await call(*args)
    except Exception:
        logger.exception("an error in the server; the connection it happened on is closed")


def reset_on_close(sock: socket.socket) -> None:
    """Closing `sock` shall reset the connection, and free what the system holds for it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    except (OSError, ValueError):  # it is closed already; ValueError is uvloop's way to say so
        pass


def running_backend() -> Literal["asyncio", "trio"]:
    """Which event loop runs this task. Call it inside one.

    >>> import anyio
    >>> async def main():
    ...     return running_backend()
    >>> anyio.run(main)
    'asyncio'
    """
    trio = sys.modules.get("trio")
    return "trio" if trio is not None and trio.lowlevel.in_trio_task() else "asyncio"


def streams_for(state: ServerState, driver: StreamDriver | None = None) -> AbstractAsyncContextManager[Streams]:
    """The streams of the running event loop (or of `driver`), to be entered; leaving cuts what is still open.

    The best for plain sockets is epoll, which Linux has. On other systems asyncio has its transports (which "asyncio"
    chooses anywhere), and trio runs the streams that run on any loop.
    """
    has_epoll = hasattr(select, "epoll")
    chosen = running_backend() if driver is None else driver
    if chosen == "asyncio":
        from .asyncio import asyncio_streams
        from .epoll import Poller

        return asyncio_streams(state, Poller() if has_epoll and driver is None else None)
    if chosen == "trio" and has_epoll:
        from .trio import trio_streams

        return trio_streams(state)
    from .anyio import anyio_streams

    return anyio_streams(state)
