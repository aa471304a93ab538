"""Connections in Litestar: an ASGI handler that takes everything below its path."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, asgi, get
from litestar.types import Receive, Scope, Send

from persistconn import App, Connection, PersistentConnection


class Echo(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        await connection.send(data)


realtime = App(secret_keys=["a secret of your own, from elsewhere"])
realtime.add_connection("/echo", Echo())


@asgi("/rt", is_mount=True, copy_scope=True)
async def connections(scope: Scope, receive: Receive, send: Send) -> None:
    await realtime(scope, receive, send)  # type: ignore[arg-type]  # its own types for the same dicts


@get("/")
async def index() -> str:
    return "the site"


app = Litestar([index, connections], lifespan=[realtime.lifespan])
