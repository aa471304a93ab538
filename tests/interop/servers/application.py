"""The application under test, on the public names only: a chat that says what happens to it and does as it is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from persistconn import Connection, DisconnectReason, PersistentConnection
from tests.interop.servers.puppet import Puppet, add_files, make_app, run, tell

__all__ = ["make"]

HERE = Path(__file__).parent


class Chat(PersistentConnection):
    def __init__(self) -> None:
        self.present: dict[str, Connection] = {}

    async def on_connected(self, connection: Connection) -> None:
        self.present[connection.id] = connection
        await connection.groups.join("lobby")
        await connection.send({"welcome": connection.id})
        tell(
            "connected",
            id=connection.id,
            transport=connection.transport,
            cookie=connection.request.headers.get("cookie"),
            name=connection.request.query.get("name"),
        )

    async def on_received(self, connection: Connection, data: Any) -> None:
        tell("received", id=connection.id, data=data)
        match data:
            case {"do": "join", "group": group}:
                await connection.groups.join(group)
                await connection.send({"joined": group})
            case {"do": "leave", "group": group}:
                await connection.groups.leave(group)
                await connection.send({"left": group})
            case {"do": "say to others", "text": text}:
                await self.broadcast(text, exclude=[connection.id])
            case {"do": "say to group", "group": group, "text": text}:
                await self.groups[group].send(text)
            case _:
                await connection.send({"echo": data})

    async def on_reconnected(self, connection: Connection) -> None:
        self.present[connection.id] = connection
        tell(
            "reconnected",
            id=connection.id,
            transport=connection.transport,
            recovered=connection.recovered,
            missed=connection.missed,
        )

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        self.present.pop(connection.id, None)
        tell("disconnected", id=connection.id, reason=reason.value)

    async def obey(self, order: str, about: dict[str, Any]) -> None:
        """What a test may order. `texts` are sent one after the other, in that order."""
        match order:
            case "nothing":
                pass
            case "send":
                for text in about["texts"]:
                    await self.send(about["id"], text)
            case "send to group":
                for text in about["texts"]:
                    await self.groups[about["group"]].send(text)
            case "broadcast":
                for text in about["texts"]:
                    await self.broadcast(text, exclude=about.get("exclude", ()))
            case "send every way":
                await self._send_every_way(about["id"], about["group"], about["texts"])
            case "join":
                await self.present[about["id"]].groups.join(about["group"])
            case "cut":
                await self.present[about["id"]].close(allow_reconnect=True)
            case "close":
                await self.present[about["id"]].close(reason="the test says so")
            case _:
                raise ValueError(f"unknown order: {order}")

    async def _send_every_way(self, connection_id: str, group: str, texts: Sequence[str]) -> None:
        ways = (
            lambda text: self.send(connection_id, text),
            self.broadcast,
            self.groups[group].send,
            self.present[connection_id].send,
        )
        for number, text in enumerate(texts):
            await ways[number % len(ways)](text)


def make(options: dict[str, Any]) -> Puppet:
    app = make_app(options)
    chat = Chat()
    app.add_connection("/chat", chat)
    add_files(app, {"/": HERE / "page.html", "/page.js": HERE / "page.js"})
    return Puppet(app, chat.obey)


if __name__ == "__main__":
    run(make)
