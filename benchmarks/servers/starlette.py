"""Starlette on uvicorn."""

from __future__ import annotations

import socket

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

peers: set[WebSocket] = set()


async def handle(websocket: WebSocket) -> None:
    await websocket.accept()
    peers.add(websocket)
    try:
        while True:
            text = await websocket.receive_text()
            if websocket.url.path == "/broadcast":
                for peer in peers:
                    await peer.send_text(text)
            else:
                await websocket.send_text(text)
    except WebSocketDisconnect:
        pass
    finally:
        peers.discard(websocket)


app = Starlette(routes=[WebSocketRoute("/", handle), WebSocketRoute("/{path}", handle)])
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen(8192)
print(listening.getsockname()[1], flush=True)
config = uvicorn.Config(app, loop="uvloop", log_level="error", ws_per_message_deflate=False, lifespan="off")
uvicorn.Server(config).run(sockets=[listening])
