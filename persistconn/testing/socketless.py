"""A connection of our own server without a socket, and the client's end of it: HTTP and WebSocket as h11 and wsproto
read them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

import anyio
import h11
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as PingFrame

from ..drivers.channel import Channel
from ..drivers.state import ServerState
from ..wire.http import Request

__all__ = ["Socketless"]

_UPGRADE: Final = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}

_ROOM: Final = 65_536
"""Bytes that the server may write while the client reads nothing."""


class Socketless:
    """One request and its answer, or one WebSocket.

    What the server writes is kept until somebody asks for it; while that is much, the server has to wait, as it would
    for the buffer of a socket.
    """

    def __init__(self, state: ServerState, user: str | None = None) -> None:
        self._server = _ServerEnd(state, self, user)
        self._http = h11.Connection(h11.CLIENT)
        self._client: Frames | None = None
        """The client's half of a WebSocket, once there is one."""
        self._owed = b""
        """Pongs, and the answer to a close: the server is writing while they are made, so they leave a little later."""
        self._text = ""
        self._binary = b""
        self._came: deque[str | bytes] = deque()
        self.unread = 0
        """Bytes that have come since everything was asked for."""
        self._news = anyio.Event()
        self.status: int | None = None
        """Of the answer, once its head has come."""
        self.over = False
        """Nothing more will come."""

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, upgrade: bool = False
    ) -> None:
        """Make the request: the first thing to do."""
        head = {"Host": "testserver", **(_UPGRADE if upgrade else {}), **headers}
        if body or method == "POST":
            head["Content-Length"] = str(len(body))
        data = self._http.send(h11.Request(method=method, target=target, headers=list(head.items()))) or b""
        if body:
            data += self._http.send(h11.Data(data=body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        self._server.data_received(data)

    async def head(self) -> int:
        """Wait for the status; 0 when the line was cut before there was one."""
        while self.status is None and not self.over:
            await self._wait()
        return self.status or 0

    async def next(self) -> str | bytes | None:
        """Wait for a WebSocket message, or some bytes of the body; None: it is over."""
        while not self._came:
            if self.over:
                return None
            await self._wait()
        part = self._came.popleft()
        if not self._came and self.unread:
            self.unread = 0
            if not self.over:
                self._server.write_ready()
        return part

    async def body(self) -> bytes:
        """Wait for the whole body."""
        parts: list[bytes] = []
        while (part := await self.next()) is not None:
            parts.append(part if isinstance(part, bytes) else part.encode())
        return b"".join(parts)

    def say(self, message: str | bytes) -> None:
        """Send a WebSocket message."""
        if self._client is None or self.over:
            return  # into a line that is dead, as with a socket
        event = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        self._server.data_received(self._client.send(event))

    def hang_up(self) -> None:
        """Close: a WebSocket says goodbye."""
        if self._client is not None and not self.over and self._client.state is ConnectionState.OPEN:
            self._server.data_received(self._client.send(CloseConnection(1000)))
        self.lose()

    def lose(self) -> None:
        """The line is cut, and nobody said goodbye."""
        if not self.over:
            self.end()
            self._server.connection_lost(None)

    async def _wait(self) -> None:
        owed, self._owed = self._owed, b""
        if owed:
            self._server.data_received(owed)
            return
        self._news = anyio.Event()
        await self._news.wait()

    def end(self) -> None:
        """The server has closed it."""
        self.over = True
        self._news.set()

    # What the server writes ---------------------------------------------------------------------

    def hear(self, data: bytes) -> None:
        """The server has written."""
        self.unread += len(data)
        if self._client is not None:
            self._read_frames(self._client, data)
        else:
            self._http.receive_data(data)
            self._read_http()
        self._news.set()

    def _read_http(self) -> None:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.InformationalResponse):
                self.status = event.status_code
                self._client = Frames(ConnectionType.CLIENT, trailing_data=self._http.trailing_data[0])
                self._read_frames(self._client, b"")
                return
            if isinstance(event, h11.Response):
                self.status = event.status_code
            elif isinstance(event, h11.Data):
                self._came.append(bytes(event.data))
            else:  # EndOfMessage, ConnectionClosed
                self.end()
                return

    def _read_frames(self, client: Frames, data: bytes) -> None:
        if data:
            client.receive_data(data)
        self._deal(client, client.events())

    def _deal(self, client: Frames, events: Iterable[object]) -> None:
        for event in events:
            if isinstance(event, TextMessage):
                self._text += event.data
                if event.message_finished:
                    self._came.append(self._text)
                    self._text = ""
            elif isinstance(event, BytesMessage):
                self._binary += bytes(event.data)
                if event.message_finished:
                    self._came.append(self._binary)
                    self._binary = b""
            elif isinstance(event, PingFrame | CloseConnection) and client.state is not ConnectionState.CLOSED:
                self._owed += client.send(event.response())


class _ServerEnd(Channel):
    """What the server takes for a connection."""

    def __init__(self, state: ServerState, client: Socketless, user: str | None) -> None:
        super().__init__(state, client=("127.0.0.1", 1))
        self._peer = client
        self._user = user

    def write(self, data: bytes) -> bool:
        self._peer.hear(data)
        return self._peer.unread <= _ROOM

    def unwritten(self) -> int:
        return max(0, self._peer.unread - _ROOM)

    def finish(self, *, linger: bool) -> None:
        self._peer.end()
        self.connection_lost(None)

    def cut(self) -> None:
        self.finish(linger=False)

    def pause_reading(self) -> None:
        """Nothing comes but what the client says at this moment."""

    def resume_reading(self) -> None:
        """The same."""

    def _open(self, request: Request) -> None:
        super()._open(request if self._user is None else request.with_user(self._user))
