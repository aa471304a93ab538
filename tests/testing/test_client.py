"""`persistconn.testing.Client` with connections: each transport of both dialects, cut and back, every way to end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from persistconn import (
    App,
    ConfigurationError,
    Connection,
    ConnectionClosed,
    DisconnectReason,
    PersistconnError,
    PersistentConnection,
    Refusal,
    Request,
    Settings,
)
from persistconn.testing import Client, Refused

CLASSIC = [("classic", name) for name in ("webSockets", "serverSentEvents", "longPolling", "foreverFrame")]
ASPNETCORE = [("aspnetcore", name) for name in ("webSockets", "serverSentEvents", "longPolling")]
EVERY_WAY = pytest.mark.parametrize(("dialect", "transport"), [*CLASSIC, *ASPNETCORE])


class Echo(PersistentConnection):
    """Does what it is told, and keeps a diary."""

    def __init__(self) -> None:
        self.diary: list[str] = []

    async def on_connected(self, connection: Connection) -> None:
        await connection.groups.join("lobby")
        self.diary.append(f"connected {connection.transport} {connection.user}")

    async def on_received(self, connection: Connection, data: Any) -> None:
        if data == "close":
            await connection.close("enough")
        elif data == "renew":
            await connection.close(allow_reconnect=True)
        elif data == "who":
            request = connection.request
            await connection.send([request.user, request.query.get("team"), request.headers.get("x-office")])
        else:
            await connection.send(data)

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        self.diary.append(f"disconnected {reason.value}")


def app_with(echo: PersistentConnection, **more: Any) -> App:
    app = App(secret_keys=["a key for the tests"], **more)
    app.add_connection("/echo", echo)
    return app


@EVERY_WAY
async def test_it_says_something_and_hears_it(dialect: Any, transport: Any) -> None:
    echo = Echo()
    async with Client(app_with(echo), "/echo", dialect=dialect, transport=transport) as client:
        await client.send("hi")
        assert await client.receive() == "hi"
        await client.send("größer")
        await echo.groups["lobby"].send("to all")
        assert [await client.receive(), await client.receive()] == ["größer", "to all"]
        assert client.received == [] and client.is_connected
    assert echo.diary == [f"connected {transport} None", "disconnected closed"]


@EVERY_WAY
async def test_who_it_is_and_what_its_requests_say(dialect: Any, transport: Any) -> None:
    options = {"user": "ann", "query": {"team": "r&d"}, "headers": {"X-Office": "yes"}}
    async with Client(app_with(Echo()), "/echo", dialect=dialect, transport=transport, **options) as client:
        await client.send("who")
        said = await client.receive()
    assert said in (["ann", "r&d", "yes"], '["ann","r&d","yes"]')


@pytest.mark.parametrize("transport", ["webSockets", "serverSentEvents", "longPolling", "foreverFrame"])
async def test_what_is_sent_while_the_line_is_cut_comes_once_it_is_back(transport: Any) -> None:
    echo = Echo()
    async with Client(app_with(echo), "/echo", transport=transport) as client:
        id = client.id
        client.cut()
        assert not client.is_connected
        await echo.broadcast(1)
        await echo.groups["lobby"].send(2)
        assert client.received == []
        assert await client.reconnect()
        assert [await client.receive(), await client.receive()] == [1, 2]
        assert (client.id, client.recovered, client.missed) == (id, True, 0)
    assert echo.diary == [f"connected {transport} None", "disconnected closed"]


async def test_what_is_lost_is_counted() -> None:
    echo = Echo()
    async with Client(app_with(echo, settings=Settings(ring_messages=32)), "/echo") as client:
        await client.send("hi")
        assert await client.receive() == "hi"
        client.cut()
        for number in range(100):
            await echo.broadcast(number)
        assert not await client.reconnect()
        assert client.missed is not None and client.missed > 0
        left = [await client.receive() for _ in range(len(client.received))]
    assert left == list(range(client.missed, 100))


async def test_an_aspnetcore_client_comes_back_as_another_unless_it_polls() -> None:
    echo = Echo()
    app = app_with(echo)
    async with Client(app, "/echo", dialect="aspnetcore") as client:
        id = client.id
        client.cut()
        assert not await client.reconnect()
        assert client.id != id and (client.recovered, client.missed) == (False, None)
    assert echo.diary == [*["connected webSockets None", "disconnected closed"] * 2]
    async with Client(app_with(echo := Echo()), "/echo", dialect="aspnetcore", transport="longPolling") as client:
        client.cut()
        await echo.broadcast("meanwhile")
        assert await client.reconnect() and await client.receive() == "meanwhile"


@EVERY_WAY
async def test_the_server_ends_the_connection(dialect: Any, transport: Any) -> None:
    echo = Echo()
    async with Client(app_with(echo), "/echo", dialect=dialect, transport=transport) as client:
        await client.send("close")
        with pytest.raises(ConnectionClosed, match="the server has ended the connection"):
            await client.receive()
        with pytest.raises(ConnectionClosed):
            await client.send("too late")
        assert not client.is_connected and [one async for one in client] == []
    assert echo.diary[1:] == ["disconnected aborted"]


@pytest.mark.parametrize(("dialect", "transport"), CLASSIC)
async def test_a_classic_client_hears_why_and_comes_back_when_it_may(dialect: Any, transport: Any) -> None:
    async with Client(app_with(Echo()), "/echo", transport=transport) as client:
        id = client.id
        await client.send("renew")
        await client.settle()
        await client.send("still here")
        assert await client.receive() == "still here" and client.id == id
        await client.send("close")
        with pytest.raises(ConnectionClosed, match="enough"):
            await client.receive()


async def test_messages_one_after_the_other() -> None:
    async with Client(app_with(Echo()), "/echo") as client:
        for one in (1, {"two": 2}, [3], "close"):
            await client.send(one)
        assert [message async for message in client] == [1, {"two": 2}, [3]]


async def test_nothing_comes_in_time() -> None:
    async with Client(app_with(Echo()), "/echo") as client:
        client.timeout = 0.01
        with pytest.raises(TimeoutError, match=r"no message has come within 0\.01 s"):
            await client.receive()


async def test_what_does_not_come_may_be_due_to_an_app_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(PersistentConnection):
        async def on_received(self, connection: Connection, data: Any) -> None:
            raise LookupError("there is no such room")

    async with Client(app_with(Failing()), "/echo") as client:
        client.timeout = 0.01
        await client.send("hi")
        with pytest.raises(TimeoutError) as late:
            await client.receive()
    assert repr(late.value.__cause__) == "LookupError('there is no such room')"
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_what_goes_wrong_in_its_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Client(app_with(Echo()), "/echo"):
            1 / 0


# Who is let in ----------------------------------------------------------------------------------


class Club(Echo):
    async def authorize(self, request: Request) -> bool:
        return request.user == "ann"

    async def on_negotiate(self, request: Request) -> Refusal | None:
        return Refusal("quota exceeded") if "full" in request.query else None


@pytest.mark.parametrize("dialect", ["classic", "aspnetcore"])
async def test_it_is_not_let_in(dialect: Any) -> None:
    app = app_with(Club())
    for user, status in ((None, 401), ("bob", 403)):
        with pytest.raises(Refused, match=f"/echo/negotiate was answered with {status}") as refused:
            async with Client(app, "/echo", dialect=dialect, user=user):
                pass
        assert refused.value.status == status
    with pytest.raises(Refused, match="quota exceeded"):
        async with Client(app, "/echo", dialect=dialect, user="ann", query="full=yes"):
            pass
    with pytest.raises(Refused, match="404") as refused:
        async with Client(app, "/nothing", dialect=dialect):
            pass
    assert refused.value.__notes__ == ["the app has mounted nothing at /nothing, but at /echo"]
    async with Client(app, "/echo", dialect=dialect, user="ann") as client:
        await client.send("hi")
        assert await client.receive() == "hi"


async def test_a_user_is_believed_whatever_the_app_thinks() -> None:
    def authenticate(request: Request) -> str | None:
        return request.headers.get("x-user")

    app = app_with(Club(), authenticate=authenticate)
    for options in ({"user": "ann"}, {"headers": {"X-User": "ann"}}, {"user": "ann", "headers": {"X-User": "bob"}}):
        async with Client(app, "/echo", **options) as client:
            await client.send("who")
            assert (await client.receive())[0] == "ann"
    with pytest.raises(Refused):
        async with Client(app, "/echo"):
            pass


async def test_the_limits_of_the_server_hold() -> None:
    app = app_with(Echo(), settings=Settings(max_message_size=100))
    async with Client(app, "/echo", transport="serverSentEvents") as client:
        with pytest.raises(Refused) as refused:
            await client.send("x" * 200)
        assert refused.value.status == 413
    async with Client(app, "/echo", dialect="aspnetcore") as client:
        await client.send("x" * 200)
        with pytest.raises(ConnectionClosed):
            await client.receive()


# Apps that run, and several clients -------------------------------------------------------------


async def test_several_clients_of_an_app_that_runs() -> None:
    echo = Echo()
    app = app_with(echo)
    async with app.running():
        polls = Client(app, "/echo", dialect="aspnetcore", transport="longPolling")
        async with Client(app, "/echo") as ann, polls as bob:
            await echo.broadcast("hi")
            assert [await ann.receive(), await bob.receive()] == ["hi", "hi"]
            await ann.close()
            await echo.broadcast("alone")
            with pytest.raises(ConnectionClosed, match="the client has left"):
                await ann.receive()
            assert await bob.receive() == "alone"
        assert app.health() == {"status": "running", "connections": 0}


async def test_a_client_that_stays_is_told_of_the_end_of_the_app() -> None:
    echo = Echo()
    async with Client(app_with(echo), "/echo") as first, Client(first.app, "/echo") as second:
        first.cut()
        await second.close()
    assert sorted(echo.diary[2:]) == ["disconnected closed"] * 2


async def test_what_takes_too_long() -> None:
    class Slow(PersistentConnection):
        async def authorize(self, request: Request) -> bool:
            await anyio.sleep_forever()
            return True

    with pytest.raises(TimeoutError, match=r"has not let the client in within 0\.01 s"):
        async with Client(app_with(Slow()), "/echo", timeout=0.01):
            pass


async def test_wrong_use_is_told() -> None:
    app = app_with(Echo())
    for options, said in (
        ({"dialect": "modern"}, "dialect is 'modern'"),
        ({"dialect": "aspnetcore", "transport": "foreverFrame"}, "aspnetcore has webSockets"),
        ({"protocol": "xml"}, "protocol is 'xml'"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            Client(app, "/echo", **options)
    with pytest.raises(ConfigurationError, match="must begin with /"):
        Client(app, "echo")
    framework: Any = SimpleNamespace(mount="/rt")
    with pytest.raises(ConfigurationError, match=r"app is a SimpleNamespace: .* the App that is mounted in it"):
        Client(framework, "/rt/echo")
    client = Client(app, "/echo")
    with pytest.raises(PersistconnError, match="not connected"):
        await client.receive()
    async with client:
        with pytest.raises(PersistconnError, match="no hubs at '/echo'"):
            await client.invoke("add")
        with pytest.raises(TypeError, match="one message"):
            await client.send("add", 1)
    with pytest.raises(PersistconnError, match="connects once"):
        await client.__aenter__()


def test_a_plain_test_needs_no_await() -> None:
    echo = Echo()
    with Client(app_with(echo), "/echo") as client:
        client.send("hi")
        assert client.received == ["hi"]
        assert client.receive() == "hi" and client.received == []
        assert client.timeout == 5
        client.timeout = 0.01
        with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
            client.receive()
        client.cut()
        assert client.reconnect() and client.recovered and client.missed == 0
        for one in (1, 2, "close"):
            client.send(one)
        assert list(client) == [1, 2]
    assert echo.diary[-1] == "disconnected aborted"
