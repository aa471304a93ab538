"""`persistconn.testing.Client` with hubs: calls both ways, streams, results, state, errors, and coming back."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from persistconn import App, ConfigurationError, ConnectionClosed, PersistconnError, Settings
from persistconn.hubs import Hub, HubError, Progress, hub_name
from persistconn.testing import Call, Client

CLASSIC = [("classic", name) for name in ("webSockets", "serverSentEvents", "longPolling", "foreverFrame")]
ASPNETCORE = [("aspnetcore", name) for name in ("webSockets", "serverSentEvents", "longPolling")]
EVERY_WAY = pytest.mark.parametrize(("dialect", "transport"), [*CLASSIC, *ASPNETCORE])
THREE = pytest.mark.parametrize("transport", ["webSockets", "serverSentEvents", "longPolling"])


@dataclass
class Item:
    obj_id: int
    obj_val: str


class MyHub(Hub):
    closed: list[str] = []

    async def increment(self, value: int) -> int:
        return value + 1

    async def say(self, text: str) -> None:
        await self.clients.all.alert_message(text)

    async def item(self, id: int) -> Item:
        return Item(id, "pen")

    async def fail(self) -> None:
        raise HubError("there is no such room", data={"code": 4})

    async def count(self, upto: int) -> AsyncIterator[int]:
        try:
            for number in range(upto):
                yield number
            if upto == 2:
                raise HubError("only two")
        finally:
            self.closed.append(f"count {upto}")

    async def total(self, numbers: AsyncIterator[int], more: int = 0) -> int:
        return more + sum([number async for number in numbers])

    async def ask(self) -> str:
        try:
            return await self.clients.caller.invoke("getName", returns=str)
        except HubError as error:
            return f"failed: {error}"

    async def work(self, progress: Progress[int]) -> str:
        await progress.report(50)
        return "done"

    async def visits(self) -> int:
        self.context.state["visits"] = self.context.state.get("visits", 0) + 1
        return int(self.context.state["visits"])

    async def leave(self) -> None:
        await self.context.abort()

    async def sleep(self) -> None:
        await anyio.sleep_forever()


@hub_name("board")
class BoardHub(Hub):
    async def draw(self, x: int, y: int) -> None:
        await self.clients.all.send("drawn", x, y)


def app_with(*hubs: type[Hub], **settings: Any) -> App:
    app = App(secret_keys=["a key for the tests"], settings=Settings(**settings))
    app.add_hubs("/signalr", *(hubs or [MyHub]))
    return app


@EVERY_WAY
async def test_calls_both_ways(dialect: Any, transport: Any) -> None:
    async with Client(app_with(), "/signalr", dialect=dialect, transport=transport) as client:
        assert await client.invoke("increment", 41) == 42
        await client.invoke("say", "fire")
        await client.send("say", "water")
        assert [await client.called("alertMessage"), await client.called("alertMessage")] == [["fire"], ["water"]]
        assert [call.arguments for call in client.calls] == [["fire"], ["water"]]
        assert repr(client.calls) == "[MyHub.alertMessage('fire'), MyHub.alertMessage('water')]"
        assert await client.invoke("item", 7, returns=Item) == Item(7, "pen")
        assert (await client.invoke("item", 7))["obj_val"] == "pen"


@EVERY_WAY
async def test_errors_have_the_text_of_the_server(dialect: Any, transport: Any) -> None:
    async with Client(app_with(), "/signalr", dialect=dialect, transport=transport) as client:
        with pytest.raises(HubError, match="there is no such room") as error:
            await client.invoke("fail")
        assert error.value.data == ({"code": 4} if dialect == "classic" else None)
        with pytest.raises(HubError, match="nothing" if dialect == "aspnetcore" else "There was an error"):
            await client.invoke("nothing")


@EVERY_WAY
async def test_what_was_called_while_the_line_was_cut(dialect: Any, transport: Any) -> None:
    app = app_with(allow_stateful_reconnect=True)
    options: Any = {"dialect": dialect, "transport": transport, "stateful_reconnect": True}
    async with Client(app, "/signalr", **options) as client:
        id = client.id
        client.cut()
        await app.clients(MyHub).all.alert_message("meanwhile")
        assert await client.reconnect() is (dialect == "classic" or transport != "serverSentEvents")  # which is lost
        if client.recovered:
            assert client.id == id and await client.called("alertMessage") == ["meanwhile"]
        assert await client.invoke("increment", 1) == 2


async def test_what_was_said_while_the_line_was_cut_is_said_again() -> None:
    app = app_with(allow_stateful_reconnect=True)
    async with Client(app, "/signalr", dialect="aspnetcore", stateful_reconnect=True) as client:
        for text in ("one", "two"):
            client.cut()
            await client.send("say", text)
            assert await client.reconnect()
            await client.send("say", text.upper())
    assert [call.arguments for call in client.calls] == [["one"], ["ONE"], ["two"], ["TWO"]]


# Streams, results: ASP.NET Core -----------------------------------------------------------------


@THREE
@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_streams_both_ways(transport: Any, protocol: Any) -> None:
    if protocol == "messagepack" and transport == "serverSentEvents":
        return  # which carry text

    async def numbers() -> AsyncIterator[int]:
        for number in (1, 2, 3):
            yield number

    async with Client(app_with(), "/signalr", dialect="aspnetcore", transport=transport, protocol=protocol) as client:
        assert [item async for item in client.stream("count", 3)] == [0, 1, 2]
        assert await client.invoke("total", numbers(), 10) == 16
        items = client.stream("count", 2, returns=int)
        assert [await anext(items), await anext(items)] == [0, 1]
        with pytest.raises(HubError, match="only two"):
            await anext(items)


async def test_a_stream_of_which_nobody_wants_more() -> None:
    MyHub.closed.clear()
    async with Client(app_with(), "/signalr", dialect="aspnetcore") as client:
        async with aclosing(client.stream("count", 1_000_000)) as items:
            assert await anext(items) == 0
        await client.settle()
        assert MyHub.closed == ["count 1000000"]
        assert await client.invoke("increment", 1) == 2


async def test_an_upload_that_fails() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        raise ValueError("no more")

    async with Client(app_with(), "/signalr", dialect="aspnetcore") as client:
        with pytest.raises(HubError, match="no more"):
            await client.invoke("total", numbers())


@THREE
async def test_results_of_the_client(transport: Any) -> None:
    async with Client(app_with(), "/signalr", dialect="aspnetcore", transport=transport) as client:
        assert await client.invoke("ask") == "failed: Client didn't provide a result."
        client.on("getName", lambda: "ann")
        assert await client.invoke("ask") == "ann"

        @client.on("getName")
        async def name() -> str:
            await anyio.lowlevel.checkpoint()
            return "bob"

        assert await client.invoke("ask") == "bob"
        client.on("getName", lambda: 1 / 0)
        assert await client.invoke("ask") == "failed: division by zero"
        assert [call.method for call in client.calls] == ["getName"] * 4


# Progress, state, several hubs: classic ---------------------------------------------------------


@pytest.mark.parametrize(("dialect", "transport"), CLASSIC)
async def test_progress_and_state(dialect: Any, transport: Any) -> None:
    seen: list[int] = []
    async with Client(app_with(), "/signalr", transport=transport) as client:
        assert await client.invoke("work", progress=seen.append) == "done" and seen == [50]
        assert [await client.invoke("visits") for _ in range(2)] == [1, 2]
        client.hub().state["visits"] = 10
        assert await client.invoke("visits") == 11 and client.hub().state == {"visits": 11}


async def test_several_hubs_on_one_connection() -> None:
    async with Client(app_with(MyHub, BoardHub), "/signalr") as client:
        board, mine = client.hub("BOARD"), client.hub(MyHub)
        await board.send("draw", 1, 2)
        await mine.send("say", "hi")
        assert await mine.called("alertMessage") == ["hi"]
        assert await client.called("drawn") == [1, 2]
        assert (board.calls, board.name) == ([Call("board", "drawn", [1, 2], client.id)], "board")
        with pytest.raises(ConfigurationError, match="there are several hubs"):
            await client.invoke("draw", 1, 2)
        with pytest.raises(ConfigurationError, match="'ChatHub' is not among the hubs"):
            client.hub("ChatHub")
    async with Client(app_with(MyHub, BoardHub), "/signalr", hub=BoardHub) as client:
        await client.send("draw", 3, 4)
        assert await client.called("drawn") == [3, 4]


@pytest.mark.parametrize("dialect", ["classic", "aspnetcore"])
async def test_a_hub_by_its_path_or_its_name(dialect: Any) -> None:
    app = app_with(MyHub, BoardHub)
    for path, hub in (("/signalr/board", None), ("/signalr/", "Board"), ("/signalr", BoardHub)):
        async with Client(app, path, hub=hub, dialect=dialect) as client:
            await client.invoke("draw", 1, 2)
            assert await client.called("drawn") == [1, 2] and client.calls[0].hub == "board"
    with pytest.raises(ConfigurationError, match=r"several hubs at '/signalr' \(MyHub, board\)"):
        Client(app, "/signalr", dialect="aspnetcore")


# What goes wrong --------------------------------------------------------------------------------


async def test_what_is_not_called_in_time() -> None:
    async with Client(app_with(), "/signalr") as client:
        await client.invoke("say", "hi")
        client.timeout = 0.02
        with pytest.raises(TimeoutError, match=r"ring has not been called within 0\.02 s, but MyHub\.alertMessage"):
            await client.called("ring")
        assert await client.called("alertMessage") == ["hi"]
        with pytest.raises(TimeoutError, match=r"taken already: MyHub\.alertMessage\('hi'\)"):
            await client.called("alertMessage")
        await client.invoke("say", "hi")
        with pytest.raises(TimeoutError, match=r"MyHub\.sleep has not been answered within 0\.02 s; it has called"):
            await client.invoke("sleep")
    async with Client(app_with(), "/signalr") as client:
        client.timeout = 0.02
        with pytest.raises(TimeoutError, match="nor has anything else"):
            await client.called("ring")


@EVERY_WAY
async def test_the_server_ends_the_connection(dialect: Any, transport: Any) -> None:
    async with Client(app_with(), "/signalr", dialect=dialect, transport=transport) as client:
        if dialect == "aspnetcore" or transport == "webSockets":
            with pytest.raises(ConnectionClosed, match="leave was not answered"):
                await client.invoke("leave")
        else:  # the answer is that of the request
            await client.invoke("leave")
        with pytest.raises(ConnectionClosed):
            await client.called("alertMessage")
        with pytest.raises(ConnectionClosed):
            await client.send("say", "hi")


async def test_a_function_that_fails_fails_the_test() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Client(app_with(), "/signalr") as client:
            client.on("alertMessage", lambda text: 1 / 0)
            await client.send("say", "hi")
    with pytest.raises(ValueError, match="async"):
        async with Client(app_with(), "/signalr", dialect="aspnetcore") as client:

            @client.on("alertMessage")
            async def fail(text: str) -> None:
                raise ValueError("async")

            await client.send("say", "hi")
    with pytest.raises(KeyError):
        async with Client(app_with(), "/signalr") as client:
            await client.invoke("work", progress={}.__getitem__)


async def test_what_this_wire_does_not_have() -> None:
    async with Client(app_with(), "/signalr") as client:
        with pytest.raises(PersistconnError, match="use dialect='aspnetcore'"):
            async for _ in client.stream("count", 3):
                pass
        with pytest.raises(PersistconnError, match="this is a client of hubs"):
            await client.receive()
    async with Client(app_with(), "/signalr", dialect="aspnetcore") as client:
        assert client.hub().state == {}


async def test_a_hub_that_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    class Closed(Hub):
        async def on_connected(self) -> None:
            raise HubError("closed today")

    caplog.set_level(logging.CRITICAL)
    async with Client(app_with(Closed), "/signalr", dialect="aspnetcore") as client:
        with pytest.raises(ConnectionClosed, match="closed today"):
            await client.invoke("anything")


def test_a_plain_test_needs_no_await() -> None:
    with Client(app_with(), "/signalr", dialect="aspnetcore") as client:
        assert client.invoke("increment", 41) == 42
        client.send("say", "hi")
        assert client.called("alertMessage") == ["hi"] and client.hub().calls == client.calls
        assert client.stream("count", 3) == [0, 1, 2]
        client.on("getName", lambda: "ann")
        assert client.invoke("ask") == "ann"
        assert client.hub("MyHub").called("getName") == []
