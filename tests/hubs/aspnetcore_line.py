"""An ASP.NET Core client of hubs in the same process: what it writes, and what it reads, on a WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec

from persistconn import App, Settings
from persistconn.hubs import Hub
from persistconn.hubs.aspnetcore_json import JsonProtocol
from persistconn.hubs.aspnetcore_messagepack import MessagePackProtocol
from persistconn.hubs.messages import HubProtocol, Message

from .page import UPGRADE, House, Line, Page, frame, http, settle
from .page import house as house_of

__all__ = ["JSON", "MESSAGEPACK", "Client", "Rooms", "open_house", "settle"]

JSON, MESSAGEPACK = JsonProtocol(), MessagePackProtocol()


def messages_in(data: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    """The WebSocket messages in what a server has written, with their opcodes; and whether it has said goodbye."""
    found: list[tuple[int, bytes]] = []
    at, closed = 0, False
    while at < len(data):
        opcode, size, start = data[at] & 15, data[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
        elif size == 127:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        payload = data[start : start + size]
        if opcode == 8:
            assert payload == b"\x03\xe8", payload  # 1000, and nothing else
            closed = True
        else:
            found.append((opcode, payload))
        at = start + size
    return found, closed


class Client:
    """One client. Everything goes through `say` (bytes in) and `hear` (frames out)."""

    def __init__(self, home: House, path: str, protocol: HubProtocol, headers: tuple[str, ...] = ()) -> None:
        self.home = home
        self.line = Line(home.state)
        self.line.data_received(http(path, *headers, *UPGRADE))
        self.protocol = protocol
        self.closed = False
        """The server has closed the WebSocket, the normal way."""
        self.heard: list[Any] = []
        self.opcodes: set[int] = set()
        self._rest = b""
        self._count = 0

    async def start(self, version: int = 1) -> Client:
        """Open the WebSocket and shake hands."""
        await self.open()
        assert await self.shake(self.protocol.name, version) == "{}"
        return self

    async def open(self) -> None:
        await settle()
        head, _, rest = self.line.take().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        self._rest = rest

    async def shake(self, protocol: str, version: int = 1) -> str:
        """Gives the answer."""
        self.say(b'{"protocol":"%s","version":%d}\x1e' % (protocol.encode(), version))
        await settle()
        answer, _, rest = self._written().partition(b"\x1e")
        self._take(rest)
        return answer.decode()

    def say(self, *frames: bytes) -> None:
        """All in one WebSocket message."""
        self.line.data_received(frame(b"".join(frames)))

    def call(self, target: str, *arguments: Any, id: str | None = None, **more: Any) -> bytes:
        """The frame of a call."""
        return self.protocol.invocation(target, arguments, id, **more)

    def _written(self) -> bytes:
        messages, closed = messages_in(self._rest + self.line.take())
        self._rest = b""
        self.closed = self.closed or closed
        self.opcodes |= {opcode for opcode, _ in messages}
        return b"".join(payload for _, payload in messages)

    def _take(self, data: bytes) -> None:
        records, rest = self.protocol.split(data, None)
        assert not rest, rest
        self.heard += [self.shown(self.protocol.read(record)) for record in records]

    def shown(self, message: Message | None) -> Any:
        """A message as a plain value: its kind, its id, and what it is about."""
        read = msgspec.json.decode if self.protocol.format == "text" else msgspec.msgpack.decode
        fields = {} if message is None else {name: getattr(message, name) for name in message.__struct_fields__}
        match type(message).__name__:
            case "Invocation":
                asked = [] if fields["id"] is None else [fields["id"]]
                return ("call", *asked, fields["target"], *[read(one) for one in fields["arguments"]])
            case "StreamItem":
                return "item", fields["id"], read(fields["item"])
            case "Completion" if fields["error"] is not None:
                return "error", fields["id"], fields["error"]
            case "Completion" if fields["result"] is msgspec.UNSET:
                return "end", fields["id"]
            case "Completion":
                return "result", fields["id"], read(fields["result"])
            case "Close":
                return ("close", *[one for one in (fields["error"],) if one], *["again"] * fields["allow_reconnect"])
            case "Ack" | "Sequence" as name:
                return name.lower(), fields["sequence"]
            case name:
                return (name.lower(),)

    async def hear(self, count: int | None = None) -> list[Any]:
        """What has come since, as soon as nothing more happens; or wait for so many messages."""
        await settle()
        self._take(self._written())
        with anyio.fail_after(5):
            while count is not None and len(self.heard) < count and not self.closed:
                await settle()
                self._take(self._written())
        heard, self.heard = self.heard, []
        return heard

    async def ask(self, target: str, *arguments: Any, **more: Any) -> Any:
        """Call a method and give what it completes with: ("result", …) or ("error", …), without the id."""
        self._count += 1
        id = f"q{self._count}"
        self.say(self.call(target, *arguments, id=id, **more))
        heard = await self.hear(1)
        (answer,) = [one for one in heard if one[1:2] == (id,)]
        return (answer[0], *answer[2:])

    def cut(self) -> None:
        self.line.connection_lost()

    async def stop(self) -> list[Any]:
        """As clients do: say goodbye, and hear it."""
        self.say(self.protocol.close())
        heard = await self.hear()
        self.line.connection_lost()
        await settle()
        return heard


class Rooms:
    """A house, and clients of both dialects in it."""

    def __init__(self, home: House, path: str) -> None:
        self.home = home
        self.app = home.app
        self.path = path

    async def client(
        self, protocol: HubProtocol = JSON, path: str | None = None, headers: tuple[str, ...] = ()
    ) -> Client:
        return await Client(self.home, path or self.path, protocol, headers).start()

    async def visitor(self, protocol: HubProtocol = JSON) -> Client:
        """Who has opened a WebSocket and said nothing."""
        client = Client(self.home, self.path, protocol)
        await client.open()
        return client

    async def visitor_at(self, path: str) -> Client:
        client = Client(self.home, path, JSON)
        await client.open()
        return client

    async def page(self, *hubs: str) -> Page:
        """A classic client."""
        return await self.home.page(*hubs, path=self.path)


@asynccontextmanager
async def open_house(*hubs: type[Hub], app: App | None = None, path: str = "/hub", **more: Any) -> AsyncIterator[Rooms]:
    settings = Settings(**{key: more.pop(key) for key in list(more) if hasattr(Settings(), key)})
    app = app or App(secret_keys=["a key for the tests"], settings=settings, dialects=["classic", "aspnetcore"])
    app.add_hubs(path, *hubs, **more)
    async with house_of(app) as home:
        yield Rooms(home, path)
