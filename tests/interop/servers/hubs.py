"""The hubs under test, on the public names only: they say what happens to them and do as they are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from persistconn import App, DisconnectReason, Request
from persistconn.hubs import Hub, HubError, Progress, authorize, hub_name, method_name
from tests.interop.servers.puppet import OnPurpose, Puppet, add_files, make_app, run, tell

__all__ = ["make"]

HERE = Path(__file__).parent


@dataclass
class Item:
    obj_id: int
    obj_val: str


class Told(Hub):
    """Says which moments it is told of."""

    async def on_connected(self) -> None:
        self._say("connected")

    async def on_reconnected(self) -> None:
        self._say("reconnected", recovered=self.context.connection.recovered)

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        self._say("disconnected", reason=reason.value)

    def _say(self, event: str, **details: Any) -> None:
        context = self.context
        tell(event, hub=type(self).__name__, id=context.connection_id, transport=context.transport, **details)


class Empty(Hub): ...


class MyHub(Told):
    """The hub of the article."""

    counted = 0

    def __init__(self) -> None:
        self.counted_here = 0

    async def void_function_with_params(self, n: int, text: str) -> None:
        tell("void function", n=n, text=text)

    async def increment(self, value: int) -> int:
        return value + 1

    async def change_item(self, item: Item) -> Item:
        tell("item", item=repr(item))
        return Item(item.obj_id + 1, item.obj_val.upper())

    async def call_back(self, text: str) -> None:
        await self.clients.all.alert_message(text)
        await self.clients.caller.receive_complex([Item(1, "a"), Item(2, "b")])

    async def count(self) -> dict[str, int]:
        MyHub.counted += 1
        self.counted_here += 1
        return {"static": MyHub.counted, "instance": self.counted_here}


class Lounge(Told):
    """Everything else that a hub can."""

    gates: dict[str, anyio.Event] = {}
    """What methods wait for until a test says so, by name."""

    async def on_connected(self) -> None:
        await super().on_connected()
        await self.clients.caller.welcome(self.context.user)

    async def on_rejoining_groups(self, groups: Any) -> Any:
        tell("rejoining", id=self.context.connection_id, groups=list(groups))
        return groups

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

    # Results

    async def echo(self, value: Any) -> Any:
        return value

    def in_a_thread(self, value: float) -> float:
        return value / 2

    @method_name("Exactly-So")
    async def otherwise(self) -> str:
        return "so"

    async def who_am_i(self) -> list[Any]:
        context = self.context
        return [context.connection_id, context.user, context.transport, context.request.query.get("colour")]

    async def remember(self, key: str, value: Any) -> dict[str, Any]:
        before = dict(self.context.state)
        self.context.state[key] = value
        await self.clients.caller.hear(f"{key} is new")
        return before

    async def wait_for(self, gate: str, value: str) -> str:
        tell("waiting", gate=gate)
        await self.gates.setdefault(gate, anyio.Event()).wait()
        return value

    async def work(self, gate: str, steps: list[Any], progress: Progress[Any]) -> str:
        for step in steps:
            await progress.report(step)
        return await self.wait_for(gate, "done")

    # Errors

    async def fail(self, message: str, data: Any) -> None:
        raise HubError(message, data)

    async def break_down(self) -> None:
        raise OnPurpose("not for everybody's eyes")

    async def add(self, a: int, b: int) -> int:
        return a + b

    @authorize
    async def whisper(self) -> str | None:
        return self.context.user

    @authorize(roles=["admin"])
    async def close_down(self) -> str:
        return "closed"


@hub_name("NoticeBoard")
class Board(Told):
    async def pin(self, text: str) -> None:
        await self.clients.all.pinned(text)


@authorize
class Vault(Told):
    async def open(self) -> str | None:
        return self.context.user


def user_of(request: Request) -> str | None:
    cookies = dict(one.strip().split("=", 1) for one in request.headers.get("cookie", "").split(";") if "=" in one)
    return cookies.get("who")


def roles_of(request: Request) -> list[str]:
    return ["admin"] if request.user == "ann" else []


class Outside:
    """The hubs' clients as the rest of a program reaches them."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.give, self._take = anyio.create_memory_object_stream[str](1)

    async def alert_from_a_task(self) -> None:
        """A task that knows nothing of connections."""
        async with self._take:
            async for text in self._take:
                await self._app.clients(MyHub).all.alert_message(text)

    def alert_from_a_thread(self, text: str) -> None:
        """In a thread without an event loop."""
        self._app.from_thread.run(self._app.clients(MyHub).all.alert_message, text)

    async def obey(self, order: str, about: dict[str, Any]) -> None:
        """What a test may order."""
        lounge = self._app.clients(Lounge)
        match order:
            case "nothing":
                pass
            case "alert from a task":
                await self.give.send(about["text"])
            case "say":
                to = getattr(lounge, about["to"])
                for text in about["texts"]:
                    await (to if about.get("who") is None else to(*about["who"])).hear(text)
            case "pin":
                await self._app.clients(Board).all.pinned(about["text"])
            case "pin to":
                await self._app.clients(Board).client_list(about["ids"]).pinned(about["text"])
            case "pin in group":
                await self._app.clients(Board).group(about["group"]).pinned(about["text"])
            case "join board":
                await self._app.hub_groups(Board).join(about["id"], about["group"])
            case "join":
                await self._app.hub_groups(Lounge).join(about["id"], about["group"])
            case "leave":
                await self._app.hub_groups(Lounge).leave(about["id"], about["group"])
            case "open":
                Lounge.gates.setdefault(about["gate"], anyio.Event()).set()
            case _:
                raise ValueError(f"unknown order: {order}")


def make(options: dict[str, Any]) -> Puppet:
    app = make_app(options, authenticate=user_of)
    app.add_hubs("/empty/signalr", Empty)
    app.add_hubs("/signalr", MyHub, Lounge, Board, Vault, roles=roles_of)
    pages = ("article.html", "bare.html", "empty.html", "hubs.html", "hubs.js")
    add_files(app, {f"/{name}": HERE / name for name in pages})
    outside = Outside(app)
    in_a_thread = {"alert from a thread": outside.alert_from_a_thread}
    return Puppet(app, outside.obey, in_a_thread, [outside.alert_from_a_task])


if __name__ == "__main__":
    run(make)
