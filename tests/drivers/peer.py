"""The other end of a connection, for tests: bytes as they are, responses, and WebSocket messages."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute
from wsproto.connection import CLIENT, Connection
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage

from persistconn.drivers.listeners import bind
from persistconn.drivers.server import Server
from persistconn.drivers.streams import StreamDriver
from tests.drivers.fake_host import FakeHost

PATIENCE = 30.0
UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Peer:
    """A client that says exactly what it is told to."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.buffer = b""
        self.frames = Connection(CLIENT)
        self._events: list[Any] = []

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def get(self, path: str, *headers: str) -> tuple[int, bytes]:
        """A request and its answer: status and body."""
        lines = "".join(f"{header}\r\n" for header in ("Host: x", *headers))
        await self.send(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        return await self.response()

    async def response(self) -> tuple[int, bytes]:
        head = (await self.until(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        found = re.search(rb"content-length: (\d+)", head)
        return status, await self.exactly(int(found[1]) if found else 0)

    async def until(self, mark: bytes) -> bytes:
        """What comes, up to and with `mark`."""
        while mark not in self.buffer:
            await self._more()
        end = self.buffer.index(mark) + len(mark)
        taken, self.buffer = self.buffer[:end], self.buffer[end:]
        return taken

    async def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            await self._more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    async def rest(self) -> bytes:
        """All that comes until the server closes or resets."""
        try:
            while True:
                await self._more()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return self.buffer

    async def upgrade(self, path: bytes = b"/ws") -> None:
        await self.send(UPGRADE % path)
        assert (await self.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")

    async def say(self, *messages: str | bytes) -> None:
        """WebSocket messages, in one write."""
        await self.send(b"".join(self.frame(Message(data=message)) for message in messages))

    def frame(self, event: Any) -> bytes:
        """A frame (or several) as a client sends it."""
        if type(event) is Message:
            event = TextMessage(event.data) if isinstance(event.data, str) else BytesMessage(event.data)
        return self.frames.send(event)

    async def hear(self) -> Any:
        """The next WebSocket message (str, bytes), or a Ping, Pong or CloseConnection event."""
        parts: list[Any] = []
        while True:
            while not self._events:
                if not self.buffer:
                    await self._more()
                self.frames.receive_data(self.buffer)
                self.buffer = b""
                self._events = list(self.frames.events())
            event = self._events.pop(0)
            if isinstance(event, (Ping, Pong, CloseConnection)):
                return event
            parts.append(event.data)
            if event.message_finished:
                return type(parts[0])().join(parts)

    @property
    def socket(self) -> socket.socket:
        found: socket.socket = self.stream.extra(SocketAttribute.raw_socket)
        return found

    async def reset(self) -> None:
        """Go without a word: RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await anyio.aclose_forcefully(self.stream)

    async def _more(self) -> None:
        self.buffer += await self.stream.receive()


@asynccontextmanager
async def connected(server: Server, **options: Any) -> AsyncIterator[Peer]:
    """A peer of `server`, closed when the block is left."""
    address = server.addresses[0]
    if isinstance(address, str):
        stream: ByteStream = await anyio.connect_unix(address)
    else:
        stream = await anyio.connect_tcp(*address, **options)
    try:
        yield Peer(stream)
    finally:
        await anyio.aclose_forcefully(stream)


@asynccontextmanager
async def serving(
    host: FakeHost, *, stream_driver: StreamDriver | None = None, listeners: Any = None, **options: Any
) -> AsyncIterator[Server]:
    """A server on a free port of the loopback, cut when the block is left; nothing may take longer than PATIENCE."""
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            server = Server(
                host,
                listeners if listeners is not None else bind("127.0.0.1", 0),
                handle_signals=False,
                stream_driver=stream_driver,
                **options,
            )
            await tasks.start(server.run)
            try:
                yield server
            finally:
                server.shutdown()
                server.shutdown()
    assert not server.state.channels
