"""Starlette on uvicorn."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from .listening import run_uvicorn
from .rooms import ECHO, rooms


async def handle(websocket: WebSocket) -> None:
    await websocket.accept()
    path = websocket.url.path
    peers = rooms[path]
    peers.add(websocket)
    try:
        while True:
            text = await websocket.receive_text()
            if path == ECHO:
                await websocket.send_text(text)
            else:
                for peer in list(peers):
                    await peer.send_text(text)
    except WebSocketDisconnect:
        pass
    finally:
        peers.discard(websocket)


run_uvicorn(Starlette(routes=[WebSocketRoute("/{path:path}", handle)]))
