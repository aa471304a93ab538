"""persistconn, through its public API: `/echo`, `/broadcast`, `/group?group=NAME&others=COUNT`, `/hubs` and more."""

from __future__ import annotations

import gc
import sys
from functools import partial
from typing import Any

import anyio

from persistconn import App, Connection, PersistentConnection, serve
from persistconn.hubs import Hub

full_collections = 0


def count(phase: str, info: dict[str, int]) -> None:
    global full_collections
    if phase == "start" and info["generation"] == 2:
        full_collections += 1


class Echo(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        await connection.send(data)


class Sink(PersistentConnection):
    """Takes what it gets."""


class Broadcast(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        await self.broadcast(data)


class Group(PersistentConnection):
    """What a member says goes to its group. `others` is how many groups it is in besides."""

    async def on_connected(self, connection: Connection) -> None:
        query = connection.request.query
        await connection.groups.join(query["group"])
        for number in range(int(query.get("others", "0"))):
            await connection.groups.join(f"{connection.id}-{number}")

    async def on_received(self, connection: Connection, data: Any) -> None:
        await self.groups[connection.request.query["group"]].send(data)


class Bench(Hub):
    """The same as calls: the answer to one is its result, and `all` is whoever named this hub."""

    async def echo(self, text: str) -> str:
        return text

    async def broadcast(self, text: str) -> None:
        await self.clients.all.said(text)


class Collections(PersistentConnection):
    """Tells how many full garbage collections there have been."""

    async def on_received(self, connection: Connection, data: Any) -> None:
        await connection.send({"full": full_collections})


def application() -> App:
    app = App(secret_keys=["only for the benchmark"])
    routes = {"echo": Echo, "sink": Sink, "broadcast": Broadcast, "group": Group, "collections": Collections}
    for name, kind in routes.items():
        app.add_connection(f"/{name}", kind())
    app.add_hubs("/hubs", Bench)
    gc.callbacks.append(count)
    return app


async def main() -> None:
    app = application()
    async with anyio.create_task_group() as tasks:
        server = await tasks.start(partial(serve, app, port=0, access_log=False, backlog=8192))
        print(server.port, flush=True)


loop = sys.argv[1]
if loop == "uvicorn":  # as an ASGI application
    from .listening import run_uvicorn

    run_uvicorn(application())
elif loop == "trio":
    anyio.run(main, backend="trio")
else:
    anyio.run(main, backend="asyncio", backend_options={"use_uvloop": loop == "uvloop"})
