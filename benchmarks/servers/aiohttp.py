"""aiohttp's server."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import WSMsgType, web

from .listening import listen
from .rooms import ECHO, rooms


async def handle(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    peers = rooms[request.path]
    peers.add(socket)
    try:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            if request.path == ECHO:
                await socket.send_str(message.data)
            else:
                for peer in list(peers):
                    await peer.send_str(message.data)
    finally:
        peers.discard(socket)
    return socket


async def main() -> None:
    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listen(), backlog=8192).start()
    await asyncio.Event().wait()


if sys.argv[1:] == ["uvloop"]:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
