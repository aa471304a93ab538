"""Hubs in a user's program as type checkers see them, in their strictest mode. It is checked, not run.

Each `# type: ignore[...]` below is a mistake that both checkers must find: an unused one is an error.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, assert_type

from persistconn import App, Connection, DisconnectReason, Request
from persistconn.hubs import (
    AnyClient,
    CallerClients,
    ClientProxy,
    Depends,
    Hub,
    HubCall,
    HubClients,
    HubContext,
    HubError,
    HubGroups,
    Proceed,
    Progress,
    State,
    authorize,
    hub_name,
    method_name,
)


@dataclass
class Item:
    obj_id: int
    obj_val: str


# A hub of whose clients nothing is known --------------------------------------------------------


class MyHub(Hub):
    history: list[str] = []

    async def increment(self, value: int) -> int:
        return value + 1

    async def echo_item(self, item: Item) -> Item:
        return item

    def in_a_thread(self, value: float) -> float:
        return value / 2

    async def say(self, text: str) -> None:
        assert_type(self.clients, CallerClients[AnyClient])
        assert_type(self.clients.caller, AnyClient)
        await self.clients.all.alert_message(text)
        await self.clients.others.send("alertMessage", text)
        await self.clients.caller.receive_complex([Item(1, "a"), Item(2, "b")])
        await self.clients.group("room", exclude=[self.context.connection_id]).add_message(text, 1, None)
        await self.clients.groups(["room", "lobby"]).add_message(text)
        await self.clients.others_in_group("room").add_message(text)
        await self.clients.all_except([self.context.connection]).add_message(text)
        await self.clients.client_list(["one", "two"]).add_message(text)
        await self.clients.user("ann").add_message(text)
        await self.clients.users(["ann", "bob"]).add_message(text)
        await self.clients.client(1).add_message(text)  # type: ignore[arg-type]
        await self.clients.everybody.add_message(text)  # type: ignore[attr-defined]
        self.clients.all.alert_message(text).close()

    async def work(self, steps: int, progress: Progress[int]) -> str:
        await progress.report(steps)
        await progress.report("half")  # type: ignore[arg-type]
        return "done"

    async def context_and_groups(self) -> None:
        context = self.context
        assert_type(context, HubContext)
        assert_type(context.connection_id, str)
        assert_type(context.user, str | None)
        assert_type(context.request, Request)
        assert_type(context.items, dict[Any, Any])
        assert_type(context.state, State)
        assert_type(context.transport, str)
        assert_type(context.connection, Connection)
        await context.abort()
        assert_type(self.groups, HubGroups)
        await self.groups.join(context.connection_id, "room")
        await self.groups.leave(context.connection_id, "room")
        await self.groups.join(context.connection_id)  # type: ignore[call-arg]

    async def ask(self) -> str:
        return await self.clients.caller.invoke("getName", returns=str)

    async def fail(self) -> None:
        raise HubError("shown to the caller", data={"code": 4})

    async def on_connected(self) -> None:
        await self.clients.caller.welcome()

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        assert_type(str(reason), str)

    async def on_rejoining_groups(self, groups: Sequence[str]) -> Sequence[str]:
        return groups


# A hub of whose page the functions are known ----------------------------------------------------


class Page(ClientProxy, Protocol):
    async def alert_message(self, text: str) -> None: ...

    async def receive_complex(self, items: list[Item]) -> None: ...


def is_admin(request: Request) -> bool:
    return request.user == "ann"


@authorize
@hub_name("board")
class Board(Hub[Page]):
    @authorize(roles=["admin"])
    @method_name("say-exactly-so")
    async def say(self, text: str) -> None:
        assert_type(self.clients, CallerClients[Page])
        assert_type(self.clients.others_in_group("room"), Page)
        await self.clients.all.alert_message(text)
        await self.clients.caller.receive_complex([Item(1, "a")])
        await self.clients.caller.send("anyOther", text, 1)
        await self.clients.caller.alert_message(1)  # type: ignore[arg-type]
        await self.clients.user("ann").receive_complex(["a"])  # type: ignore[list-item]
        await self.clients.all.alert_message()  # type: ignore[call-arg]
        await self.clients.all.alert_massage(text)  # type: ignore[attr-defined]
        await self.clients.all.send(1)  # type: ignore[arg-type]

    @authorize(policy=is_admin)
    async def close(self) -> None: ...

    async def use_oneself(self) -> None:
        await self.say("decorators keep the types")
        await self.say(1)  # type: ignore[arg-type]


class NoPage:
    """Knows no `send`."""


class Wrong(Hub[NoPage]):  # type: ignore[type-var]
    pass


# What hubs depend on ----------------------------------------------------------------------------


async def get_item() -> AsyncIterator[Item]:
    yield Item(1, "a")


class Shop(Hub):
    def __init__(self, item: Annotated[Item, Depends(get_item)]) -> None:
        self.item = item

    async def show(
        self, what: str, item: Item = Depends(get_item), other: Item = Depends(Item, use_cache=False)
    ) -> int:
        assert_type(item, Item)
        return self.item.obj_id + item.obj_id

    async def wrong(self, item: Item = Depends("get_item")) -> None:  # type: ignore[arg-type]
        ...


# Outside of hubs --------------------------------------------------------------------------------


async def measured(call: HubCall, proceed: Proceed) -> object:
    assert_type(call.method, str)
    assert_type(call.arguments, list[Any])
    assert_type(call.context, HubContext)
    return await proceed(call) or await proceed()


def make(hub: type[Hub[Any]]) -> Hub[Any]:
    return hub()


def roles_of(request: Request) -> Sequence[str]:
    return ["admin"] if is_admin(request) else []


def user_of(request: Request) -> str | None:
    return request.user


app = App(secret_keys=["a key for the tests alone"])
app.add_hubs("/signalr", MyHub, Board, factory=make, filters=[measured], roles=roles_of, user_id=user_of)


def mistakes() -> None:
    app.add_hubs("/other", MyHub())  # type: ignore[arg-type]
    app.add_hubs("/other", Item)  # type: ignore[arg-type]


async def from_outside() -> None:
    assert_type(app.clients(MyHub), HubClients[AnyClient])
    assert_type(app.clients(MyHub).all, AnyClient)
    await app.clients(MyHub).all.alert_message("external test")
    await app.clients(MyHub).group("room").whatever(1, 2, 3)
    app.clients(MyHub).others  # type: ignore[attr-defined]

    assert_type(app.clients(Board), HubClients[Page])
    assert_type(app.clients(Board).client("id"), Page)
    await app.clients(Board).all.alert_message("external test")
    await app.clients(Board).all.alert_message(b"external test")  # type: ignore[arg-type]
    await app.clients(Board).users(["ann"]).alert_massage("a typo")  # type: ignore[attr-defined]

    assert_type(app.hub_groups(MyHub), HubGroups)
    await app.hub_groups(Board).join("id", "room")
    assert_type(app.hub_scripts(), dict[str, str])


def from_a_thread() -> None:
    app.from_thread.run(app.clients(MyHub).all.alert_message, "external test")
    app.from_thread.run(app.clients(Board).all.alert_message, "external test")
