"""One application for all ASGI hosts: at the root with its lifespan, and in Starlette at `/prefix` without."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from persistconn import App, Connection, DisconnectReason, PersistentConnection
from persistconn.hubs import Hub


class Echo(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        if data == "all":
            await self.broadcast("to all")
        else:
            await connection.send(data)

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        print("disconnected", reason, flush=True)


class Adder(Hub):
    async def add(self, one: int, two: int) -> int:
        await self.clients.all.said("somebody adds")
        return one + two


def _app() -> App:
    made = App(secret_keys=["only for the tests of hosts"])
    made.add_connection("/echo", Echo())
    made.add_hubs("/hub", Adder)
    made.add_page("/ready", b"ready", "text/plain")
    return made


root = _app()
framework = Starlette(routes=[Mount("/prefix", _app())])


async def app(scope: Any, receive: Any, send: Any) -> None:
    mounted = scope["type"] != "lifespan" and scope["path"].startswith("/prefix")
    await (framework if mounted else root)(scope, receive, send)
