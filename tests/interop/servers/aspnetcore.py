"""A hub and an echo for clients of ASP.NET Core SignalR, on the public names only: they say what happens to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio

from persistconn import App, Connection, DisconnectReason, PersistentConnection, Request
from persistconn.hubs import Hub, HubError, authorize, method_name
from tests.interop.servers.puppet import MODULES, OnPurpose, Puppet, add_files, make_app, run, tell

__all__ = ["make"]

HERE = Path(__file__).parent


@dataclass
class Item:
    obj_id: int
    obj_val: str


class Hall(Hub):
    """Everything that clients of ASP.NET Core can ask of a hub."""

    present: dict[str, Connection] = {}
    gates: dict[str, anyio.Event] = {}
    """What methods wait for until a test says so, by name."""

    async def on_connected(self) -> None:
        context = self.context
        self.present[context.connection_id] = context.connection
        details = {"dialect": context.connection.dialect, "transport": context.transport, "user": context.user}
        tell("connected", id=context.connection_id, **details)
        await self.clients.caller.welcome(context.connection_id)

    async def on_reconnected(self) -> None:
        tell("reconnected", id=self.context.connection_id, recovered=self.context.connection.recovered)

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        self.present.pop(self.context.connection_id, None)
        tell("disconnected", id=self.context.connection_id, reason=reason.value)

    # Results

    async def echo(self, value: Any) -> Any:
        return value

    async def add(self, a: int, b: int) -> int:
        return a + b

    async def change_item(self, item: Item) -> Item:
        return Item(item.obj_id + 1, item.obj_val.upper())

    async def next_day(self, moment: datetime) -> datetime:
        return moment + timedelta(days=1)

    async def backwards(self, data: bytes) -> bytes:
        return data[::-1]

    @method_name("Exactly-So")
    async def otherwise(self) -> str:
        return "so"

    async def who_am_i(self) -> list[Any]:
        context = self.context
        return [context.connection_id, context.user, context.transport, context.connection.dialect]

    async def wait_for(self, gate: str, value: str) -> str:
        tell("waiting", gate=gate)
        await self.gates.setdefault(gate, anyio.Event()).wait()
        return value

    async def note(self, text: str) -> None:
        self.context.items.setdefault("notes", []).append(text)

    async def notes(self) -> list[str]:
        notes: list[str] = self.context.items.get("notes", [])
        return notes

    async def length(self, text: str) -> int:
        return len(text)

    # Errors

    async def fail(self, message: str) -> None:
        raise HubError(message)

    async def break_down(self) -> None:
        raise OnPurpose("not for everybody's eyes")

    @authorize
    async def whisper(self) -> str | None:
        return self.context.user

    async def leave_us(self) -> None:
        await self.context.abort()

    # To itself and others

    async def say(self, to: str, who: Any, text: str) -> None:
        """Have `hear` called: `to` is how the group of clients is called, `who` what it takes."""
        clients = getattr(self.clients, to)
        await (clients if who is None else clients(*who)).hear(text)

    async def say_exactly(self, name: str, values: list[Any]) -> None:
        await self.clients.caller.send(name, *values)

    async def join(self, name: str) -> None:
        await self.groups.join(self.context.connection_id, name)

    async def leave(self, name: str) -> None:
        await self.groups.leave(self.context.connection_id, name)

    # Streams

    async def count(self, upto: int) -> AsyncIterator[int]:
        for number in range(upto):
            yield number

    async def count_after(self, gate: str, upto: int) -> AsyncIterator[int]:
        await self.wait_for(gate, "")
        for number in range(upto):
            yield number

    async def begin_to_count(self, name: str) -> AsyncIterator[int]:
        """Goes on until somebody cancels it."""
        try:
            for number in range(3):
                yield number
            await anyio.sleep_forever()
        finally:
            tell("stream over", name=name)

    async def count_and_fail(self, upto: int, message: str | None) -> AsyncIterator[int]:
        for number in range(upto):
            yield number
        raise OnPurpose("in the middle") if message is None else HubError(message)

    async def total(self, numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])

    async def note_all(self, texts: AsyncIterator[str]) -> None:
        async for text in texts:
            await self.note(text)
        tell("noted", id=self.context.connection_id)

    async def concatenate(self, texts: AsyncIterator[str], between: str, others: AsyncIterator[str]) -> list[str]:
        return [*[text async for text in texts], between, *[text async for text in others]]

    async def doubled(self, numbers: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in numbers:
            yield 2 * number

    # Results of clients

    async def ask(self, name: str, text: str, within: float) -> str:
        return await _answer(self.clients.caller.invoke(name, text, returns=str, timeout=within))

    async def ask_other(self, id: str, text: str) -> str:
        return await _answer(self.clients.client(id).invoke("question", text, returns=str, timeout=10))


async def _answer(asked: Any) -> str:
    try:
        return str(await asked)
    except HubError as error:
        return f"HubError: {error}"
    except TimeoutError:
        return "no answer in time"


class Echo(PersistentConnection):
    """Sends back what it gets."""

    async def on_connected(self, connection: Connection) -> None:
        if connection.request.query.get("format") == "binary":
            connection.format = "binary"
        tell("connected", id=connection.id, dialect=connection.dialect, transport=connection.transport)

    async def on_received(self, connection: Connection, data: Any) -> None:
        await connection.send(data)

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        tell("disconnected", id=connection.id, reason=reason.value)


class Outside:
    """The rest of the program."""

    def __init__(self, app: App, echo: Echo) -> None:
        self._app = app
        self._echo = echo

    async def obey(self, order: str, about: dict[str, Any]) -> None:
        """What a test may order."""
        clients, groups = self._app.clients(Hall), self._app.hub_groups(Hall)
        match order:
            case "nothing":
                pass
            case "say":
                to = getattr(clients, about["to"])
                for text in about["texts"]:
                    await (to if about.get("who") is None else to(*about["who"])).hear(text)
            case "join":
                await groups.join(about["id"], about["group"])
            case "leave":
                await groups.leave(about["id"], about["group"])
            case "ask":
                client = clients.client(about["id"])
                answer = await _answer(client.invoke("question", about["text"], returns=str, timeout=about["within"]))
                tell("answered", id=about["id"], answer=answer)
            case "drop":
                await Hall.present[about["id"]].close(allow_reconnect=True)
            case "open":
                Hall.gates.setdefault(about["gate"], anyio.Event()).set()
            case "echo to all":
                await self._echo.broadcast(about["text"])
            case "count":
                tell("counted", connections=self._app.statistics().connections)
            case _:
                raise ValueError(f"unknown order: {order}")


def user_of(request: Request) -> str | None:
    """Whose token it is: here people's tokens are their names."""
    return request.token


def make(options: dict[str, Any]) -> Puppet:
    app = make_app(options, authenticate=user_of)
    echo = Echo()
    app.add_hubs("/signalr", Hall)
    app.add_connection("/echo", echo)
    microsoft = MODULES / "@microsoft"
    files = {f"/{name}": HERE / name for name in ("aspnetcore.html", "aspnetcore.js", "hubs.html", "hubs.js")}
    for name in ("signalr", "signalr-protocol-msgpack"):
        files[f"/{name}.js"] = microsoft / name / "dist" / "browser" / f"{name}.js"
    add_files(app, files)
    app.add_health()
    return Puppet(app, Outside(app, echo).obey)


if __name__ == "__main__":
    run(make)
