"""Channels over any anyio byte stream (TLS on trio, in-memory streams): the reference for the other two.

A byte stream cannot be written without waiting, so everything goes to a backlog and a task made on demand.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream, TaskGroup, UNIXSocketStream
from anyio.streams.tls import TLSStream

from ..channel import Channel
from ..state import ServerState
from . import Address, Streams, guarded, reset_on_close

__all__ = ["AnyioChannel", "anyio_streams", "serve_stream", "serve_tls"]

PART: Final = 16_384
"""Written at a time, so that progress can be seen."""

BROKEN: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError, OSError)


class AnyioChannel(Channel):
    """A channel over a byte stream, with one task that reads and one that writes while there is something."""

    __slots__ = (
        "_backlog",
        "_backlog_size",
        "_closed",
        "_finishing",
        "_readable",
        "_socket",
        "_stream",
        "_tasks",
        "_writing",
    )

    def __init__(self, state: ServerState, stream: ByteStream, *, client: Address = None, scheme: str = "http") -> None:
        super().__init__(state, client=client, scheme=scheme)
        self._stream = stream
        self._socket: socket.socket | None = stream.extra(SocketAttribute.raw_socket, None)
        self._backlog: deque[bytes] = deque()
        self._backlog_size = 0
        self._writing = False
        self._finishing: bool | None = None
        """What `finish` was told, until it is done."""
        self._readable: anyio.Event | None = None
        """While reading is paused: set to go on."""
        self._tasks: TaskGroup | None = None
        self._closed = False

    async def run(self) -> None:
        """Read until the connection is over, then close it."""
        try:
            async with anyio.create_task_group() as self._tasks:
                if not self._closed:
                    await self._read()
                self._end()
        finally:
            self._closed = True
            try:
                await anyio.aclose_forcefully(self._stream)
            finally:
                self.connection_lost()

    async def _read(self) -> None:
        while True:
            try:
                data = await self._stream.receive()
            except anyio.EndOfStream:
                if not self.eof_received():
                    self.finish(linger=False)
                await anyio.sleep_forever()  # until the writer has closed, or `cut`
                return
            except BROKEN:
                return
            self.data_received(data)
            while self._readable is not None:
                await self._readable.wait()

    def write(self, data: bytes) -> bool:
        """See Channel."""
        self._backlog.append(data)
        self._backlog_size += len(data)
        self._start_writing()
        return False

    def _start_writing(self) -> None:
        if not self._writing and not self._closed and self._tasks is not None:
            self._writing = True
            self._tasks.start_soon(self._write)

    async def _write(self) -> None:
        try:
            while self._backlog or self._finishing is not None:
                await self._write_backlog()
                if self._finishing is not None:
                    await self._finish(linger=self._finishing)
                    self._finishing = None
                self.write_ready()  # it may write again
        except BROKEN:
            self._end()
        self._writing = False

    async def _write_backlog(self) -> None:
        while self._backlog:
            data = b"".join(self._backlog)
            self._backlog.clear()
            for start in range(0, len(data), PART):
                part = data[start : start + PART]
                await self._stream.send(part)
                self._backlog_size -= len(part)

    async def _finish(self, *, linger: bool) -> None:
        stream = self._stream
        if linger and isinstance(stream, TLSStream):
            try:
                await stream.unwrap()
            except anyio.BusyResourceError:
                return  # our goodbye has left; the reading task waits for the peer's
        elif linger:
            await stream.send_eof()
            return
        await stream.aclose()
        self._end()

    def unwritten(self) -> int:
        """See Channel."""
        return self._backlog_size

    def finish(self, *, linger: bool) -> None:
        """See Channel."""
        self._finishing = linger
        self._start_writing()

    def cut(self) -> None:
        """See Channel."""
        if not self._closed and self._socket is not None:
            reset_on_close(self._socket)
        self._end()

    def _end(self) -> None:
        self._closed = True
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    def pause_reading(self) -> None:
        """See Channel."""
        if self._readable is None:
            self._readable = anyio.Event()

    def resume_reading(self) -> None:
        """See Channel."""
        if self._readable is not None:
            self._readable.set()
            self._readable = None


async def serve_stream(state: ServerState, stream: ByteStream, *, client: Address = None, scheme: str = "http") -> None:
    """Serve one connection over `stream` until it is over; the stream is closed then."""
    await AnyioChannel(state, stream, client=client, scheme=scheme).run()


async def serve_tls(state: ServerState, sock: socket.socket, client: Address, tls: ssl.SSLContext) -> None:
    """Serve TLS on an accepted socket."""
    stream = await _from_socket(sock)
    if stream is None:
        return
    state.connecting += 1
    try:
        with anyio.fail_after(state.settings.head_timeout):
            secure = await TLSStream.wrap(stream, server_side=True, ssl_context=tls)
    except (*BROKEN, TimeoutError, anyio.EndOfStream) as error:
        state.log.refused(client, f"no connection: {error}")
        await anyio.aclose_forcefully(stream)
        return
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
    finally:
        state.connecting -= 1
    await serve_stream(state, secure, client=client, scheme="https")


async def _serve_plain(state: ServerState, sock: socket.socket, client: Address) -> None:
    stream = await _from_socket(sock)
    if stream is not None:
        await serve_stream(state, stream, client=client)


async def _from_socket(sock: socket.socket) -> ByteStream | None:
    """None: the peer has reset it already, and it is closed."""
    try:
        if hasattr(socket, "AF_UNIX") and sock.family == socket.AF_UNIX:
            return await UNIXSocketStream.from_socket(sock)
        return await SocketStream.from_socket(sock)
    except (OSError, ValueError):  # ValueError is how anyio says that it is not connected
        sock.close()
        return None


class AnyioStreams(Streams):
    """Owns the tasks of a server, in one task group."""

    def __init__(self, state: ServerState, tasks: TaskGroup) -> None:
        self._state = state
        self._tasks = tasks

    def spawn(self, call: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """See Streams."""
        self._tasks.start_soon(guarded, call, *args)

    def attach(self, sock: socket.socket, client: Address, tls: ssl.SSLContext | None) -> None:
        """See Streams."""
        if tls is None:
            self.spawn(_serve_plain, self._state, sock, client)
        else:
            self.spawn(serve_tls, self._state, sock, client, tls)


@asynccontextmanager
async def anyio_streams(state: ServerState) -> AsyncIterator[Streams]:
    """Streams on whatever loop runs, until the block is left."""
    async with anyio.create_task_group() as tasks:
        streams = AnyioStreams(state, tasks)
        state.spawn = streams.spawn
        try:
            yield streams
        finally:
            state.cut_all()
            tasks.cancel_scope.cancel()
