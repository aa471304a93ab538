"""aiohttp's server."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import WSMsgType, web

peers: set[web.WebSocketResponse] = set()


async def handle(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    peers.add(socket)
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                if request.path == "/broadcast":
                    for peer in peers:
                        await peer.send_str(message.data)
                else:
                    await socket.send_str(message.data)
    finally:
        peers.discard(socket)
    return socket


async def main() -> None:
    app = web.Application()
    app.router.add_get("/{path}", handle)
    app.router.add_get("/", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=8192)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if sys.argv[1:] == ["uvloop"]:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
