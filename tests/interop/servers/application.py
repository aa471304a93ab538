"""The application under test, on the public names only: a chat that says on stdout what happens to it and obeys stdin.

Every line of stdout is a JSON object, `{"event": ...}`; every line of stdin one too, `{"order": ...}`, answered by
`{"event": "obeyed", "number": ...}`. Orders come from a plain thread, as from any program with no event loop.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from persistconn import App, Connection, DisconnectReason, PersistentConnection, Settings, serve

__all__: list[str] = []

HERE = Path(__file__).parent
MODULES = HERE.parent / "node_modules"
BACKENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}


def tell(event: str, **details: Any) -> None:
    """One line, whole, from whatever thread."""
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


class TellErrors(logging.Handler):
    """What the server logs as an error is an event like any other: a test sees it and fails."""

    def emit(self, record: logging.LogRecord) -> None:
        tell("error", text=self.format(record))


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


def obey_stdin(app: App, chat: Chat) -> None:
    for line in sys.stdin:
        about = json.loads(line)
        number = about.pop("number")
        try:
            app.from_thread.run(chat.obey, about.pop("order"), about)
        except Exception as error:  # the test is told, and fails there
            tell("obeyed", number=number, error=repr(error))
        else:
            tell("obeyed", number=number, error=None)


def add_pages(app: App) -> None:
    scripts = {
        "/jquery.js": MODULES / "jquery" / "dist" / "jquery.js",
        "/jquery.signalR.js": MODULES / "signalr" / "jquery.signalR.js",
        "/page.js": HERE / "page.js",
    }
    for path, file in scripts.items():
        app.add_page(path, file.read_bytes(), "text/javascript; charset=utf-8")
    app.add_page("/", (HERE / "page.html").read_bytes(), "text/html; charset=utf-8")


async def main(options: dict[str, Any], port: int) -> None:
    app = App(
        settings=Settings(**options.get("settings", {})),
        secret_keys=[key.encode() for key in options["secret_keys"]],
        allowed_origins=options.get("allowed_origins", ()),
    )
    chat = Chat()
    app.add_connection("/chat", chat)
    add_pages(app)
    threading.Thread(target=obey_stdin, args=(app, chat), daemon=True).start()
    async with anyio.create_task_group() as tasks:
        server = await tasks.start(partial(serve, app, port=port))
        tell("listening", port=server.port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", choices=BACKENDS, default="asyncio")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--options", type=json.loads, default={})
    arguments = parser.parse_args()
    logging.getLogger().addHandler(TellErrors(logging.ERROR))
    backend, options = BACKENDS[arguments.backend]
    anyio.run(main, arguments.options, arguments.port, backend=backend, backend_options=options)
