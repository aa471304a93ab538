"""picows, in Cython."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from .rooms import ECHO, rooms


class Listener(WSListener):  # type: ignore[misc]
    def __init__(self, path: str) -> None:
        super().__init__()
        self.echoes = path == ECHO
        self.peers = rooms[path]

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.peers.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            payload = frame.get_payload_as_bytes()
            if self.echoes:
                transport.send(WSMsgType.TEXT, payload)
            else:
                for peer in self.peers:
                    peer.send(WSMsgType.TEXT, payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.peers.discard(transport)


def listener(request: Any) -> Listener:
    return Listener(request.path.decode())


async def main() -> None:
    server = await ws_create_server(listener, "127.0.0.1", 0, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


uvloop.run(main())
