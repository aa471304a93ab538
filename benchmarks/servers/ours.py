"""persistconn, through its public API: `/echo` answers, `/broadcast` sends what it gets to all."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import anyio

from persistconn import App, Connection, PersistentConnection, serve


class Echo(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        await connection.send(data)


class Broadcast(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        await self.broadcast(data)


async def main() -> None:
    app = App(secret_keys=["only for the benchmark"])
    app.add_connection("/echo", Echo())
    app.add_connection("/broadcast", Broadcast())
    async with anyio.create_task_group() as tasks:
        server = await tasks.start(partial(serve, app, port=0, access_log=False, backlog=8192))
        print(server.port, flush=True)


loop = sys.argv[1]
if loop == "trio":
    anyio.run(main, backend="trio")
else:
    anyio.run(main, backend="asyncio", backend_options={"use_uvloop": loop == "uvloop"})
