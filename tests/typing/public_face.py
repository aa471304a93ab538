"""A user's program as type checkers see it, in their strictest mode. It is checked, not run.

If a public name loses its types, or `persistconn.__init__` its names, this file no longer checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_type

import anyio

import persistconn
from persistconn import (
    App,
    ConfigurationError,
    Connection,
    ConnectionClosed,
    DisconnectReason,
    LocalProtocolError,
    Payload,
    PersistconnError,
    PersistentConnection,
    ProtocolError,
    Redirect,
    Refusal,
    RemoteProtocolError,
    Request,
    Settings,
    serve,
)


class Chat(PersistentConnection):
    async def on_connected(self, connection: Connection) -> None:
        assert_type(connection.id, str)
        assert_type(connection.user, str | None)
        assert_type(connection.request, Request)
        assert_type(connection.transport, str)
        assert_type(connection.items, dict[Any, Any])
        assert_type(connection.request.query.getlist("name"), list[str])
        assert_type(connection.request.headers["host"], str)
        await connection.groups.join("lobby")
        await connection.groups.leave("lobby")
        connection.start_soon(self.tick, connection, 3)

    async def tick(self, connection: Connection, times: int) -> None:
        for number in range(times):
            await connection.send({"n": number})

    async def on_received(self, connection: Connection, data: Any) -> None:
        await connection.send(data)
        await connection.send(Payload({"encoded": "once"}))
        await self.broadcast({"from": connection.id}, exclude=[connection.id])
        await self.groups["lobby"].send("hello", exclude=[connection.id])
        await self.send(connection.id, "by id")
        await self.send([connection.id], "by ids")

    async def on_reconnected(self, connection: Connection) -> None:
        assert_type(connection.recovered, bool)
        assert_type(connection.missed, int | None)

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        assert_type(str(reason), str)

    async def on_rejoining_groups(self, connection: Connection, groups: Sequence[str]) -> Sequence[str]:
        return groups

    async def authorize(self, request: Request) -> bool:
        assert_type(request.client, tuple[str, int] | None)
        return request.user is not None

    async def on_negotiate(self, request: Request) -> Redirect | Refusal | None:
        return Redirect("https://elsewhere.example/chat") if request.user else Refusal("not today")


def from_a_thread(chat: Chat) -> None:
    app.from_thread.run(chat.broadcast, "external")


app = App(
    settings=Settings(keep_alive=5),
    secret_keys=["a key for the tests alone", b"and the one before it"],
    allowed_origins=["https://example.org"],
)
app.add_connection("/chat", Chat())
assert_type(app.health(), dict[str, object])
assert_type(app.settings, Settings)
assert_type(persistconn.__version__, str)
assert_type(Settings.from_env({}), Settings)


async def main() -> None:
    try:
        await serve(app, host="127.0.0.1", port=8000)
    except (LocalProtocolError, RemoteProtocolError) as error:
        assert_type(error.args, tuple[Any, ...])
    except (ConfigurationError, ConnectionClosed, ProtocolError):
        raise
    except PersistconnError:
        raise


if __name__ == "__main__":
    anyio.run(main)
