"""A chat with rooms, and the page it is used from."""

from pathlib import Path
from typing import Any

from persistconn import App, Connection, DisconnectReason, PersistentConnection


def name_of(connection: Connection) -> str:
    return connection.request.query.get("name", "somebody")


class Chat(PersistentConnection):
    async def on_connected(self, connection: Connection) -> None:
        name = name_of(connection)
        await connection.send(f"Welcome, {name}.")
        await self.broadcast(f"{name} is here.", exclude=[connection])

    async def on_received(self, connection: Connection, data: Any) -> None:
        name = name_of(connection)
        match data:
            case {"join": str(room)}:
                await connection.groups.join(room)
                await self.groups[room].send(f"{name} came into the {room}.")
            case {"leave": str(room)}:
                await connection.groups.leave(room)
            case {"say": str(text), "in": str(room)}:
                await self.groups[room].send(f"{name} in the {room}: {text}")
            case {"say": str(text)}:
                await self.broadcast(f"{name}: {text}")
            case _:
                await connection.send("I did not understand that.")

    async def on_reconnected(self, connection: Connection) -> None:
        if connection.recovered:
            print(f"{name_of(connection)} came back and missed nothing")
        elif connection.missed is not None:
            print(f"{name_of(connection)} came back and missed {connection.missed} messages")
        else:
            print(f"{name_of(connection)} came back; nobody knows what was missed")

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        await self.broadcast(f"{name_of(connection)} has gone ({reason}).")


chat = Chat()
app = App()
app.add_connection("/chat", chat)
app.add_page("/", Path(__file__).with_name("chat.html").read_bytes(), "text/html; charset=utf-8")
