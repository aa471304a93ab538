"""Channels on asyncio (uvloop too): plain sockets by an epoll object of our own, TLS by the loop's transports.

A transport costs 3.4 KiB of memory per connection that epoll does not; it is what there is on other systems than Linux.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from ..channel import Channel
from ..state import ServerState
from . import Address, Streams, guarded, reset_on_close
from .epoll import EpollChannel, Poller

__all__ = ["AsyncioChannel", "asyncio_streams"]


class AsyncioChannel(Channel, asyncio.Protocol):
    """A channel that is the protocol of an asyncio transport, plain or TLS.

    While nothing waits in a plain transport, `write` goes past it, straight to the socket: one system call and
    nothing else, whichever loop runs. `docs/explanation/performance.md` has what that saves.
    """

    __slots__ = ("_cut", "_direct", "_plain", "_transport", "_writable")

    def __init__(
        self,
        state: ServerState,
        *,
        sock: socket.socket | None = None,
        client: Address = None,
        scheme: str = "http",
    ) -> None:
        super().__init__(state, client=client, scheme=scheme)
        self._transport: asyncio.Transport | None = None
        self._writable = True
        self._cut = False
        self._plain = sock
        """The accepted socket, until our half is closed; None under TLS."""
        self._direct: socket.socket | None = None
        """The same while nothing waits in the transport. The loop that closes it also makes the object forget its
        descriptor (asyncio closes it, uvloop detaches it), so what is sent too late is an OSError, never bytes in
        somebody else's connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop has a transport for us; with TLS, the handshake is done."""
        self._transport = cast(asyncio.Transport, transport)
        if self._cut:
            self._transport.abort()
            return
        # Nothing waits in the transport unseen: "written" means that the system has it (under TLS: up to 64 KiB
        # of cipher text may still wait below). Plain transports pause above the limit, those of TLS at it: with 0 each
        # write would pause an empty one, and nothing would wake it but the next thing that the peer says.
        self._transport.set_write_buffer_limits(high=0 if self._plain is not None else 1)
        self._direct = self._plain

    def connection_lost(self, exc: Exception | None = None) -> None:
        """See Channel."""
        self._plain = self._direct = self._transport = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The system takes no more; the transport keeps the rest."""
        self._writable = False
        self._direct = None

    def resume_writing(self) -> None:
        """The system has taken all."""
        self._writable = True
        self._direct = self._plain
        self.write_ready()

    def write(self, data: bytes) -> bool:
        """See Channel."""
        sock = self._direct
        if sock is not None:
            try:
                sent = sock.send(data)
            except OSError:
                sent = 0  # it is full or broken: the transport finds out which, and tells us
            if sent == len(data):
                return True
            data = data[sent:]
        transport = self._transport
        if transport is not None:
            transport.write(data)
            if transport.is_closing():
                self._direct = None  # what it has dropped must not be followed by what comes later
        return self._writable

    def unwritten(self) -> int:
        """See Channel."""
        if self._writable or self._transport is None:
            return 0
        return max(1, self._transport.get_write_buffer_size())  # under TLS, what waits below is not counted

    def finish(self, *, linger: bool) -> None:
        """See Channel. TLS has no half-close here: the transport says goodbye and closes."""
        self._plain = self._direct = None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if linger and transport.can_write_eof():
            try:
                transport.write_eof()
            except OSError:
                transport.close()  # the peer was faster
        else:
            transport.close()

    def cut(self) -> None:
        """See Channel."""
        self._cut = True
        self._plain = self._direct = None
        transport = self._transport
        if transport is not None:
            sock = transport.get_extra_info("socket")
            if sock is not None:
                reset_on_close(sock)
            transport.abort()

    def pause_reading(self) -> None:
        """See Channel."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See Channel."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()


class AsyncioStreams(Streams):
    """Owns the tasks of a server: those that connect, and those in which an application decides."""

    def __init__(self, state: ServerState, poller: Poller | None) -> None:
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._poller = poller
        if poller is not None:
            self._loop.add_reader(poller.fileno(), poller.serve_ready)
            self.spawn(poller.tell_lost_forever)

    def spawn(self, call: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """See Streams. A bare task is a fifth of the memory and a fifth of the time of one in a task group."""
        task = self._loop.create_task(guarded(call, *args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def attach(self, sock: socket.socket, client: Address, tls: ssl.SSLContext | None) -> None:
        """See Streams."""
        if tls is None and self._poller is not None:
            self._poller.greet(EpollChannel(self._state, self._poller, sock, client=client))
            return
        if tls is None:
            channel = AsyncioChannel(self._state, sock=sock, client=client)
        else:
            channel = AsyncioChannel(self._state, client=client, scheme="https")
        self.spawn(self._connect, channel, sock, tls)

    async def when_readable(self, sock: socket.socket, call: Callable[[], None]) -> None:
        """See Streams."""
        if self._poller is not None:
            await self._poller.when_readable(sock, call)
        else:
            await super().when_readable(sock, call)

    async def _connect(self, channel: AsyncioChannel, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        settings = self._state.settings
        limits = {"ssl_handshake_timeout": settings.head_timeout, "ssl_shutdown_timeout": settings.close_timeout}
        connected = False
        try:
            await self._loop.connect_accepted_socket(lambda: channel, sock, ssl=tls, **(limits if tls else {}))
            connected = True
        except OSError as error:  # an SSLError is one, and so is a handshake that took too long
            self._state.log.refused(channel.client, f"no connection: {error}")
        finally:
            if not connected:
                sock.close()
                channel.connection_lost(None)

    async def aclose(self) -> None:
        """Cut what is open and wait until all is gone."""
        self._state.cut_all()
        if self._poller is not None:
            self._poller.tell_lost()
        await asyncio.sleep(0)  # a task that is cancelled before its first step would not close its socket
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        for _ in range(10):  # an aborted transport calls connection_lost one or two rounds later (TLS: some more)
            if not self._state.channels:
                return
            await asyncio.sleep(0)
        for channel in tuple(self._state.channels):
            channel.connection_lost(None)

    def close(self) -> None:
        """The last step, which does not wait."""
        if self._poller is not None:
            self._loop.remove_reader(self._poller.fileno())
            self._poller.close()


@asynccontextmanager
async def asyncio_streams(state: ServerState, poller: Poller | None = None) -> AsyncIterator[Streams]:
    """Streams on the running asyncio loop, until the block is left; without a `poller` all are transports."""
    streams = AsyncioStreams(state, poller)
    state.spawn = streams.spawn
    try:
        yield streams
    finally:
        try:
            await streams.aclose()
        finally:
            streams.close()
