"""Channels on trio: a task per connection that waits to read; writing goes straight to the socket."""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from ..channel import Channel
from ..state import ServerState
from . import Address, Streams, guarded, reset_on_close
from .anyio import serve_tls

__all__ = ["TrioChannel", "trio_streams"]

READ: Final = 65_536


class TrioChannel(Channel):
    """A channel over a non-blocking socket."""

    __slots__ = ("_backlog", "_backlog_size", "_closed", "_finishing", "_readable", "_socket")

    def __init__(self, state: ServerState, sock: socket.socket, *, client: Address = None) -> None:
        super().__init__(state, client=client)
        self._socket = sock
        self._backlog: deque[memoryview] | None = None
        """None: nothing waits, and no task drains."""
        self._backlog_size = 0
        self._finishing: bool | None = None
        """What `finish` was told, while it waits for the backlog."""
        self._readable: trio.Event | None = None
        """While reading is paused: set to go on."""
        self._closed = False

    async def run(self) -> None:
        """Read until the connection is over, then close it."""
        try:
            await self._read()
        finally:
            self._close()
            self.connection_lost()

    async def _read(self) -> None:
        sock = self._socket
        wait_readable = trio.lowlevel.wait_readable
        while not self._closed:
            try:
                # Waiting first is cheaper than trying first: most often nothing has come yet.
                await wait_readable(sock)
                data = sock.recv(READ)
            except BlockingIOError:
                continue
            except (OSError, trio.ClosedResourceError):
                return  # reset by the peer, or closed by us
            if not data:
                if not self.eof_received():
                    self.finish(linger=False)
                await self._until_closed()
                return
            self.data_received(data)
            while self._readable is not None and not self._closed:
                await self._readable.wait()

    async def _until_closed(self) -> None:
        while not self._closed:
            self._readable = trio.Event()
            await self._readable.wait()

    def write(self, data: bytes) -> bool:
        """See Channel."""
        if self._backlog is not None:
            self._backlog.append(memoryview(data))
            self._backlog_size += len(data)
            return False
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.cut()  # the reading task tells of the loss, later: who writes may be publishing to thousands
            return False
        if sent == len(data):
            return True
        self._backlog = deque((memoryview(data)[sent:],))
        self._backlog_size = len(data) - sent
        self._state.spawn(self._drain)
        return False

    async def _drain(self) -> None:
        backlog = self._backlog
        sock = self._socket
        while backlog and not self._closed:
            try:
                await trio.lowlevel.wait_writable(sock)
                sent = sock.send(backlog[0])
            except BlockingIOError:
                continue
            except (OSError, trio.ClosedResourceError):
                self.cut()
                return
            self._backlog_size -= sent
            if sent < len(backlog[0]):
                backlog[0] = backlog[0][sent:]
            else:
                backlog.popleft()
        if not self._closed:
            self._backlog = None
            if self._finishing is not None:
                self._finish_now(linger=self._finishing)
            self.write_ready()

    def unwritten(self) -> int:
        """See Channel."""
        return self._backlog_size

    def finish(self, *, linger: bool) -> None:
        """See Channel."""
        if self._backlog is None:
            self._finish_now(linger=linger)
        else:
            self._finishing = linger

    def _finish_now(self, *, linger: bool) -> None:
        if not linger:
            self._close()
        elif not self._closed:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self._close()  # the peer was faster

    def cut(self) -> None:
        """See Channel."""
        if not self._closed:
            reset_on_close(self._socket)
            self._close()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._backlog_size = 0
            trio.lowlevel.notify_closing(self._socket)  # wakes both tasks, with ClosedResourceError
            self._socket.close()
            self.resume_reading()

    def pause_reading(self) -> None:
        """See Channel."""
        if self._readable is None:
            self._readable = trio.Event()

    def resume_reading(self) -> None:
        """See Channel."""
        if self._readable is not None:
            self._readable.set()
            self._readable = None


class TrioStreams(Streams):
    """Owns the tasks of a server, in one nursery."""

    def __init__(self, state: ServerState, nursery: trio.Nursery) -> None:
        self._state = state
        self._nursery = nursery

    def spawn(self, call: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """See Streams."""
        self._nursery.start_soon(guarded, call, *args)

    def attach(self, sock: socket.socket, client: Address, tls: ssl.SSLContext | None) -> None:
        """See Streams."""
        if tls is None:
            self.spawn(TrioChannel(self._state, sock, client=client).run)
        else:
            self.spawn(serve_tls, self._state, sock, client, tls)


@asynccontextmanager
async def trio_streams(state: ServerState) -> AsyncIterator[Streams]:
    """Streams on the running trio loop, until the block is left."""
    async with trio.open_nursery() as nursery:
        streams = TrioStreams(state, nursery)
        state.spawn = streams.spawn
        try:
            yield streams
        finally:
            state.cut_all()
            nursery.cancel_scope.cancel()
