"""`websockets`, its newest asyncio server; to many by its own `broadcast()`."""

from __future__ import annotations

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.asyncio.server import serve as serve_websockets

from .listening import listen
from .rooms import ECHO, rooms


async def handle(connection: ServerConnection) -> None:
    path = connection.request.path if connection.request is not None else ""
    peers = rooms[path]
    peers.add(connection)
    try:
        async for message in connection:
            if path == ECHO:
                await connection.send(message)
            else:
                broadcast(peers, message)
    finally:
        peers.discard(connection)


async def main() -> None:
    async with serve_websockets(handle, sock=listen(), compression=None, backlog=8192) as server:
        await server.serve_forever()


if sys.argv[1:] == ["uvloop"]:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
