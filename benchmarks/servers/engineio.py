"""Engine.IO by python-engineio on uvicorn: what comes in a POST goes out as the answer of the poll."""

from __future__ import annotations

from typing import Any

import engineio

from .listening import run_uvicorn

server = engineio.AsyncServer(async_mode="asgi", http_compression=False)


@server.on("message")
async def message(sid: str, data: Any) -> None:
    if not data.startswith("!"):  # nobody polls for those
        await server.send(sid, data)


run_uvicorn(engineio.ASGIApp(server))
