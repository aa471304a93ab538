"""A bare ASGI application, for hypercorn and granian."""

from __future__ import annotations

from typing import Any

from .rooms import ECHO, rooms

__all__ = ["app"]


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "websocket":
        await _websocket(scope["path"], receive, send)


async def _websocket(path: str, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    peers = rooms[path]
    peers.add(send)
    try:
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            answer = {"type": "websocket.send", "text": event["text"]}
            if path == ECHO:
                await send(answer)
            else:
                for peer in list(peers):
                    await peer(answer)
    finally:
        peers.discard(send)


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        event = await receive()
        await send({"type": event["type"] + ".complete"})
        if event["type"] == "lifespan.shutdown":
            return
