"""A chat in FastAPI: two lines, and nothing else to set up."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from persistconn import App, Connection, PersistentConnection


class Chat(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        await self.broadcast(data)


realtime = App(secret_keys=["a secret of your own, from elsewhere"])
realtime.add_connection("/chat", Chat())

app = FastAPI()
app.mount("/rt", realtime)
