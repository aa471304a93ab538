"""python-socketio on uvicorn: an event and its answer, `emit` to all and to rooms."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import socketio

from .listening import run_uvicorn

server = socketio.AsyncServer(async_mode="asgi", http_compression=False)
group_of: dict[str, str] = {}


@server.event
async def connect(sid: str, environ: dict[str, Any]) -> None:
    group = parse_qs(environ.get("QUERY_STRING", "")).get("group")
    if group:
        group_of[sid] = group[0]
        await server.enter_room(sid, group[0])


@server.event
async def disconnect(sid: str, reason: str) -> None:
    group_of.pop(sid, None)


@server.on("echo")
async def echo(sid: str, data: Any) -> Any:
    return data  # the acknowledgement


@server.on("broadcast")
async def broadcast(sid: str, data: Any) -> None:
    await server.emit("broadcast", data)


@server.on("group")
async def group(sid: str, data: Any) -> None:
    await server.emit("group", data, room=group_of[sid])


run_uvicorn(socketio.ASGIApp(server))
