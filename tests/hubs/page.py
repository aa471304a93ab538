"""A client of hubs in the same process: requests go into a channel, without a socket, and what comes out is read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import anyio

from persistconn import App
from persistconn.drivers.state import ServerState
from tests.line import UPGRADE, Line, frame, http, settle

__all__ = ["UPGRADE", "House", "Line", "Page", "frame", "frames", "house", "http", "settle"]


def frames(data: bytes) -> list[Any]:
    """The texts in a server's frames, as values."""
    found: list[Any] = []
    at = 0
    while at < len(data):
        size, start = data[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
        elif size == 127:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        if data[at] == 0x81:
            found.append(json.loads(data[start : start + size]))
        at = start + size
    return found


class Page:
    """One client, over WebSocket or (`transport="longPolling"`) by requests."""

    def __init__(
        self, state: ServerState, path: str, hubs: list[str], transport: str, headers: tuple[str, ...], more: str = ""
    ) -> None:
        self.state = state
        self.path = path
        self.transport = transport
        self.headers = headers
        self.names = quote(json.dumps([{"name": name} for name in hubs]))
        self.more = f"&{more}" if more else ""
        """What the page adds to every query."""
        self.line = Line(state)
        self.query = ""
        self.id = ""
        self.envelopes: list[Any] = []
        self.answers: dict[str, Any] = {}
        self.replies: list[Any] = []
        """Answers that are no hub's."""
        self.said: list[Any] = []
        """All that came after the start, in order."""
        self.cursor = ""
        self.groups = ""
        self._count = 0

    async def ask(self, target: str, *headers: str, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
        """One request on a connection of its own: status and body."""
        line = Line(self.state)
        line.data_received(http(target, *self.headers, *headers, method=method, body=body))
        with anyio.fail_after(10):
            while not line.written:
                await settle()
        head, _, content = line.take().partition(b"\r\n\r\n")
        return int(head.split()[1]), content

    async def negotiate(self) -> tuple[int, bytes]:
        return await self.ask(f"{self.path}/negotiate?clientProtocol=2.1&connectionData={self.names}{self.more}")

    async def start(self) -> Page:
        status, body = await self.negotiate()
        assert status == 200, body
        self.connect(body)
        with anyio.fail_after(10):
            while not self.line.written:  # who makes the request may be asked in a thread
                await settle()
        await settle()
        _, _, rest = self.line.take().partition(b"\r\n\r\n")
        if self.transport == "webSockets":
            self.envelopes += frames(rest)
        else:
            self.cursor = json.loads(rest)["C"]
        status, body = await self.ask(f"{self.path}/start?{self.query}")
        assert status == 200, (status, body)
        return self

    def connect(self, negotiated: bytes, protocol: str = "2.1") -> None:
        """Open the transport."""
        told = json.loads(negotiated)
        self.id = told["ConnectionId"]
        self.query = (
            f"transport={self.transport}&clientProtocol={protocol}&connectionToken={quote(told['ConnectionToken'])}"
            f"&connectionData={self.names}{self.more}"
        )
        upgrade = UPGRADE if self.transport == "webSockets" else ()
        self.line.data_received(http(f"{self.path}/connect?{self.query}", *self.headers, *upgrade))

    def say(self, text: str | bytes) -> None:
        """A WebSocket message."""
        self.line.data_received(frame(text))

    async def listen(self) -> None:
        """Sort what has come: answers, and envelopes of messages."""
        await settle()
        for said in frames(self.line.take()):
            self.said.append(said)
            if "M" in said and "C" in said:
                self.envelopes.append(said)
            elif "C" in said:
                self.groups = said.get("G", self.groups)
            elif "I" in said:
                self.answers[said["I"]] = said
            elif said:
                self.replies.append(said)

    async def call(self, hub: str, method: str, *arguments: Any, state: Any = None) -> Any:
        """Call a method; gives the whole answer, or None."""
        id = str(self._count)
        self._count += 1
        said = {"H": hub, "M": method, "A": list(arguments), "I": int(id)}
        if state is not None:
            said["S"] = state
        if self.transport == "webSockets":
            self.say(json.dumps(said))
            await self.listen()
            return self.answers.get(id)
        status, content = await self.send(json.dumps(said))
        return json.loads(content) if status == 200 else (status, content.decode())

    def begin(self, hub: str, method: str, *arguments: Any, **more: Any) -> str:
        """Call a method over WebSocket, and do not wait. Gives the id of the answer to come."""
        id = str(self._count)
        self._count += 1
        self.say(json.dumps({"H": hub, "M": method, "A": list(arguments), "I": int(id), **more}))
        return id

    async def answer(self, id: str) -> Any:
        """Wait for an answer that takes its time."""
        with anyio.fail_after(10):
            while id not in self.answers:
                await self.listen()
        return self.answers[id]

    async def send(self, text: str | bytes) -> tuple[int, bytes]:
        """A message in a request of its own: the status and the body of its answer."""
        body = b"data=" + quote(text).encode()
        return await self.ask(f"{self.path}/send?{self.query}", method="POST", body=body)

    async def poll(self) -> list[Any]:
        """With long polling: the messages of one poll, [] when there are none yet."""
        line = Line(self.state)
        line.data_received(http(f"{self.path}/poll?{self.query}&messageId={quote(self.cursor)}", *self.headers))
        await settle()
        _, _, content = line.take().partition(b"\r\n\r\n")
        line.connection_lost()
        if not content:
            return []
        said = json.loads(content)
        self.cursor = said["C"]
        messages: list[Any] = said["M"]
        return messages

    async def heard(self) -> list[Any]:
        """The messages that have come, and none of them twice."""
        await self.listen()
        messages: list[Any] = []
        for envelope in self.envelopes:
            messages += envelope["M"]
            self.groups = envelope.get("G", self.groups)
        self.envelopes = []
        return messages

    async def reconnect(self, **more: str) -> None:
        """Come back on a new WebSocket, with what it knows of its groups."""
        self.line = Line(self.state)
        more = {"groupsToken": self.groups, **more}
        query = "".join(f"&{name}={quote(value)}" for name, value in more.items() if value)
        self.line.data_received(http(f"{self.path}/reconnect?{self.query}{query}", *self.headers, *UPGRADE))
        await settle()
        _, _, rest = self.line.take().partition(b"\r\n\r\n")
        for envelope in frames(rest):
            self.groups = envelope.get("G", self.groups)
            self.envelopes += [envelope] if "M" in envelope else []

    def leave(self) -> None:
        """The line is cut; nobody comes back."""
        self.line.connection_lost()

    async def stop(self) -> None:
        """As a page does."""
        self.line.connection_lost()
        await self.ask(f"{self.path}/abort?{self.query}", method="POST")


class House:
    """An app that runs."""

    def __init__(self, app: App, state: ServerState) -> None:
        self.app = app
        self.state = state

    async def page(
        self,
        *hubs: str,
        path: str = "/signalr",
        transport: str = "webSockets",
        headers: tuple[str, ...] = (),
        query: str = "",
    ) -> Page:
        """A started client that names these hubs."""
        return await Page(self.state, path, list(hubs), transport, headers, query).start()

    def visitor(self, *hubs: str, path: str = "/signalr", headers: tuple[str, ...] = (), query: str = "") -> Page:
        """A client that has asked for nothing yet."""
        return Page(self.state, path, list(hubs), "webSockets", headers, query)


@asynccontextmanager
async def house(app: App) -> AsyncIterator[House]:
    async with app.running() as host:
        state = ServerState(host)
        async with anyio.create_task_group() as tasks:
            state.spawn = tasks.start_soon
            yield House(app, state)
            tasks.cancel_scope.cancel()
