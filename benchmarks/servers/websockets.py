"""`websockets`, its newest asyncio server; `/broadcast` by its own `broadcast()`."""

from __future__ import annotations

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.asyncio.server import serve as serve_websockets

peers: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    peers.add(connection)
    broadcasts = connection.request is not None and connection.request.path == "/broadcast"
    try:
        async for message in connection:
            if broadcasts:
                broadcast(peers, message)
            else:
                await connection.send(message)
    finally:
        peers.discard(connection)


async def main() -> None:
    async with serve_websockets(handle, "127.0.0.1", 0, compression=None, backlog=8192) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


if sys.argv[1:] == ["uvloop"]:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
