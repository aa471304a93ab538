"""A real App behind real sockets, on each event loop."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

import anyio
import anyio.lowlevel
import pytest
from wsproto.events import CloseConnection

from persistconn import App, ConfigurationError, Connection, DisconnectReason, PersistentConnection, Settings
from persistconn.drivers import Server, serve
from persistconn.wire.http import Request
from tests.drivers.peer import PATIENCE, Peer, connected


class Echo(PersistentConnection):
    def __init__(self) -> None:
        self.ended: list[DisconnectReason] = []
        self.news = anyio.Event()

    async def on_received(self, connection: Connection, data: Any) -> None:
        if data == "all":
            await self.broadcast("to all")
        elif isinstance(data, int):
            await self.broadcast("x" * data)
        else:
            await connection.send(data)

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        self.ended.append(reason)
        self.news.set()


class Careful(Echo):
    async def authorize(self, request: Request) -> bool:
        await anyio.lowlevel.checkpoint()
        return request.query.get("key") != "wrong"


@asynccontextmanager
async def app_served(echo: Echo, settings: Settings = Settings(), **options: Any) -> AsyncIterator[Server]:
    app = App(settings=settings, secret_keys=["sixteen or more characters"])
    app.add_connection("/echo", echo)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            server = await tasks.start(partial(serve, app, port=0, handle_signals=False, **options))
            try:
                yield server
            finally:
                if not server.stopping:
                    server.shutdown()


async def connect(server: Server, peer: Peer) -> dict[str, Any]:
    """Negotiate, open a WebSocket and start; what the first message says."""
    common = "clientProtocol=2.1"
    status, answer = await peer.get(f"/echo/negotiate?{common}")
    assert status == 200
    token = quote(json.loads(answer)["ConnectionToken"], safe="")
    common += f"&transport=webSockets&connectionToken={token}"
    await peer.upgrade(f"/echo/connect?{common}".encode())
    first: dict[str, Any] = json.loads(await peer.hear())
    async with connected(server) as aside:
        assert (await aside.get(f"/echo/start?{common}"))[0] == 200
    return first


async def message(peer: Peer) -> Any:
    """The next message to the application, whatever comes in between."""
    while True:
        envelope = json.loads(await peer.hear())
        if envelope.get("M"):
            (found,) = envelope["M"]
            return found


@pytest.mark.parametrize("stream_driver", [None, "anyio"], ids=["native", "anyio-stream"])
@pytest.mark.parametrize("kind", [Echo, Careful])
async def test_echo_and_broadcast(stream_driver: Any, kind: type[Echo]) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(app_served(kind(), stream_driver=stream_driver))
        peers = [await stack.enter_async_context(connected(server)) for _ in range(20)]
        for peer in peers:
            assert (await connect(server, peer))["S"] == 1
        await peers[0].say('"hello"')
        assert await message(peers[0]) == "hello"
        await peers[1].say('"all"')
        for peer in peers:
            assert await message(peer) == "to all"


async def test_who_may_not_come_in_hears_so() -> None:
    async with app_served(Careful()) as server, connected(server) as peer:
        assert (await peer.get("/echo/negotiate?clientProtocol=2.1&key=wrong"))[0] == 401
        assert (await connect(server, peer))["S"] == 1


async def test_clients_behind_a_proxy_that_takes_a_prefix_off_are_told_the_address_they_know() -> None:
    async with app_served(Echo(), root_path="/app/") as server, connected(server) as peer:
        _, answer = await peer.get("/echo/negotiate?clientProtocol=2.1")
        assert json.loads(answer)["Url"] == "/app/echo"
        assert (await connect(server, peer))["S"] == 1


async def test_a_root_path_that_is_no_path_fails_at_start() -> None:
    app = App(secret_keys=["sixteen or more characters"])
    with pytest.raises(ConfigurationError, match="root_path is 'app': it must begin with /"):
        await serve(app, port=0, root_path="app")


async def test_a_reader_that_takes_nothing_keeps_nobody_waiting() -> None:
    settings = Settings(write_deadline=0.5, disconnect_timeout=6, keep_alive=2)
    echo = Echo()
    async with app_served(echo, settings) as server, connected(server) as stalled, connected(server) as peer:
        await connect(server, stalled)
        await connect(server, peer)
        size = 50_000
        for _ in range(200):  # 10 MB, more than the kernel holds for the stalled one
            await peer.say(str(size))
            assert len(await message(peer)) == size
        await echo.news.wait()
        assert echo.ended == [DisconnectReason.slow]


async def test_shutdown_tells_clients_and_application_and_returns(caplog: pytest.LogCaptureFixture) -> None:
    echo = Echo()
    async with app_served(echo) as server, connected(server) as peer, connected(server) as other:
        await connect(server, peer)
        await connect(server, other)
        server.shutdown()
        for client in (peer, other):
            while not isinstance(event := await client.hear(), CloseConnection):
                pass
            await client.send(client.frame(CloseConnection(event.code)))
            assert await client.rest() == b""
    assert echo.ended == [DisconnectReason.shutdown] * 2
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
