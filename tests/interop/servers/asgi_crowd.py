"""An application for `tests.crowd`: it counts who was told to come back, and says so when its lifespan is over."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio.lowlevel

from persistconn import App, Connection, DisconnectReason, PersistentConnection
from persistconn.hubs import Hub

told: Counter[str] = Counter()


class Echo(PersistentConnection):
    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        await anyio.lowlevel.checkpoint()
        told[f"{connection.dialect} {connection.transport} {reason}"] += 1


class Hall(Hub):
    async def on_disconnected(self, reason: DisconnectReason) -> None:
        told[f"hub {self.context.transport} {reason}"] += 1


inner = App(secret_keys=["only for the tests of hosts"])
inner.add_connection("/echo", Echo())
inner.add_hubs("/hall", Hall)
inner.add_page("/ready", b"ready", "text/plain")


async def app(scope: Any, receive: Any, send: Any) -> None:
    await inner(scope, receive, send)
    if scope["type"] == "lifespan":
        print("told:", dict(told), flush=True)
