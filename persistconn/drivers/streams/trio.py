"""Channels on trio: one task waits for all plain sockets together, by an epoll object of our own.

A task per connection would cost 5 KiB of memory each, and a system call and a task switch per message.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from ..state import ServerState
from . import Address, Streams, guarded
from .anyio import serve_tls
from .epoll import EpollChannel, Poller

__all__ = ["trio_streams"]


class TrioStreams(Streams):
    """Owns the tasks of a server, in one nursery."""

    def __init__(self, state: ServerState, nursery: trio.Nursery, poller: Poller) -> None:
        self._state = state
        self._nursery = nursery
        self._poller = poller

    def spawn(self, call: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """See Streams."""
        self._nursery.start_soon(guarded, call, *args)

    def attach(self, sock: socket.socket, client: Address, tls: ssl.SSLContext | None) -> None:
        """See Streams."""
        if tls is None:
            self._poller.greet(EpollChannel(self._state, self._poller, sock, client=client))
        else:
            self.spawn(serve_tls, self._state, sock, client, tls)

    async def when_readable(self, sock: socket.socket, call: Callable[[], None]) -> None:
        """See Streams."""
        await self._poller.when_readable(sock, call)

    async def read_forever(self) -> None:
        """Serve what comes on any socket. Others have their turn at each wait, even when there is always more."""
        poller = self._poller
        descriptor = poller.fileno()
        wait_readable = trio.lowlevel.wait_readable
        while True:
            await wait_readable(descriptor)
            poller.serve_ready()


@asynccontextmanager
async def trio_streams(state: ServerState) -> AsyncIterator[Streams]:
    """Streams on the running trio loop, until the block is left."""
    poller = Poller()
    try:
        async with trio.open_nursery() as nursery:
            streams = TrioStreams(state, nursery, poller)
            state.spawn = streams.spawn
            nursery.start_soon(streams.read_forever)
            nursery.start_soon(poller.tell_lost_forever)
            try:
                yield streams
            finally:
                state.cut_all()
                nursery.cancel_scope.cancel()
    finally:
        poller.close()
