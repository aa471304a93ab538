"""aiosignalr on its own server: an invocation and its result, `all_` and groups."""

from __future__ import annotations

import asyncio

import uvloop
from aiohttp import web
from aiosignalr.server import Hub, ServerOptions, SignalRServer

from .listening import listen


class Bench(Hub):  # type: ignore[misc]
    async def join(self, name: str) -> bool:
        await self.groups.add(name)  # in `on_connected` it is too early: the connection is not known yet
        self.context.state["group"] = name
        return True

    async def echo(self, text: str) -> str:
        return text

    async def broadcast(self, text: str) -> None:
        await self.clients.all_.send("said", text)

    async def group(self, text: str) -> None:
        await self.clients.group(self.context.state["group"]).send("said", text)


async def main() -> None:
    options = ServerOptions(client_timeout_interval=3600)  # the clients of the benchmark send no pings
    server = SignalRServer(Bench, options=options)
    runner = web.AppRunner(server.create_application(path="/hub"), access_log=None)
    await runner.setup()
    await web.SockSite(runner, listen(), backlog=8192).start()
    await asyncio.Event().wait()


uvloop.run(main())
