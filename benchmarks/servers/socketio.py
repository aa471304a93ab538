"""python-socketio on uvicorn."""

from __future__ import annotations

import socket
from typing import Any

import socketio
import uvicorn

server = socketio.AsyncServer(async_mode="asgi", transports=["websocket", "polling"], http_compression=False)


@server.on("echo")
async def echo(sid: str, data: Any) -> None:
    await server.emit("echo", data, to=sid)


@server.on("broadcast")
async def broadcast(sid: str, data: Any) -> None:
    await server.emit("broadcast", data)


listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen(8192)
print(listening.getsockname()[1], flush=True)
config = uvicorn.Config(
    socketio.ASGIApp(server), loop="uvloop", log_level="error", ws_per_message_deflate=False, lifespan="off"
)
uvicorn.Server(config).run(sockets=[listening])
