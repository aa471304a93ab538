"""`persistconn demo`: a chat page on which a connection is cut and is seen to come back without loss."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import asdict, dataclass
from importlib import resources
from itertools import count
from typing import Any

import anyio
import click

from persistconn import (
    App,
    Connection,
    ConnectionClosed,
    DisconnectReason,
    PersistconnError,
    PersistentConnection,
    serve,
)

__all__ = ["Chat", "Person", "demo", "demo_app"]

NAME_LIMIT = 24
TEXT_LIMIT = 500
COUNT_LIMIT = 200
ROSTER_LIMIT = 100
RECENT = 30
TICK = 0.1
"""Seconds between two numbered messages."""

GUESTS = ("Ada", "Hedy", "Samuel", "Grace", "Claude", "Radia", "Alan", "Joan", "Vint", "Emmy", "Guglielmo", "Karen")
GOLDEN_ANGLE = 137.508
"""Degrees between the colours of two arrivals: neighbours never look alike."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
PAGES = {
    "/": ("demo.html", "text/html; charset=utf-8"),
    "/demo.css": ("demo.css", "text/css; charset=utf-8"),
    "/demo.js": ("demo.js", "text/javascript; charset=utf-8"),
    "/classic.js": ("classic.js", "text/javascript; charset=utf-8"),
    "/line.js": ("line.js", "text/javascript; charset=utf-8"),
}

FAREWELLS = {
    DisconnectReason.closed: "left",
    DisconnectReason.timed_out: "did not come back in time",
    DisconnectReason.slow: "was too slow to keep up",
    DisconnectReason.aborted: "was shown out",
    DisconnectReason.shutdown: "left, because the server is going down",
}


@dataclass(slots=True)
class Person:
    """Somebody on the page, as everybody sees them."""

    id: str
    name: str
    hue: int
    transport: str


def tidy(text: object, limit: int) -> str:
    """One line of printable text, at most `limit` characters long.

    >>> tidy("  Ada \\n Lovelace\\x00 ", 24)
    'Ada Lovelace'
    >>> tidy(None, 24)
    ''
    """
    if not isinstance(text, str):
        return ""
    line = " ".join(text[: 4 * limit].split())
    return "".join(letter for letter in line if letter.isprintable())[:limit].strip()


class Chat(PersistentConnection):
    """The demo's connection. What the page may ask is a JSON object whose `do` is one of four words:

    * `say` (`text`): everybody gets it;
    * `rename` (`name`);
    * `count` (`upto`, `cut_after`): numbered messages, ten a second; with `cut_after`, the server hangs up
      after that number and goes on counting;
    * `cut`: the server hangs up at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._people: dict[str, Person] = {}
        self._said: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self._arrivals = count()

    async def on_connected(self, connection: Connection) -> None:
        person = self._admit(connection)
        await connection.send({"kind": "welcome", "you": person.id, "name": person.name, "recent": list(self._said)})
        await self._tell(f"{person.name} is here", exclude=[person.id])
        await self._tell_roster()

    async def on_received(self, connection: Connection, data: Any) -> None:
        person = self._admit(connection)
        match data:
            case {"do": "say", "text": text}:
                await self._say(person, tidy(text, TEXT_LIMIT))
            case {"do": "rename", "name": name}:
                await self._rename(person, tidy(name, NAME_LIMIT))
            case {"do": "count", "upto": int(upto), **rest}:
                self._start_counting(connection, min(upto, COUNT_LIMIT), rest.get("cut_after"))
            case {"do": "cut"}:
                await connection.close("the page asked for a cut", allow_reconnect=True)
            case _:
                await connection.send({"kind": "notice", "text": "The server did not understand that."})

    async def on_reconnected(self, connection: Connection) -> None:
        known = connection.id in self._people
        self._admit(connection)
        await connection.send({"kind": "back", "recovered": connection.recovered, "missed": connection.missed})
        if not known:
            await self._tell_roster()

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        person = self._people.pop(connection.id, None)
        if person is not None:
            await self._tell(f"{person.name} {FAREWELLS[reason]}")
            await self._tell_roster()

    def _admit(self, connection: Connection) -> Person:
        """Who this is; after a restart of the server a returning page is a new face."""
        person = self._people.get(connection.id)
        if person is None:
            number = next(self._arrivals)
            name = tidy(connection.request.query.get("name"), NAME_LIMIT) or self._free_name(number)
            hue = round(30 + number * GOLDEN_ANGLE) % 360
            person = self._people[connection.id] = Person(connection.id, name, hue, connection.transport)
        return person

    def _free_name(self, number: int) -> str:
        taken = {person.name for person in self._people.values()}
        return next((name for name in GUESTS if name not in taken), f"Guest {number + 1}")

    async def _say(self, person: Person, text: str) -> None:
        if text:
            said = {"kind": "said", "id": person.id, "name": person.name, "hue": person.hue, "text": text}
            self._said.append(said)
            await self.broadcast(said)

    async def _rename(self, person: Person, name: str) -> None:
        if name and name != person.name:
            before, person.name = person.name, name
            await self._tell(f"{before} is now {name}")
            await self._tell_roster()

    async def _tell(self, text: str, exclude: list[str] | None = None) -> None:
        await self.broadcast({"kind": "notice", "text": text}, exclude=exclude or [])

    async def _tell_roster(self) -> None:
        people = [asdict(person) for person in self._people.values()]
        await self.broadcast({"kind": "roster", "total": len(people), "people": people[:ROSTER_LIMIT]})

    def _start_counting(self, connection: Connection, upto: int, cut_after: object) -> None:
        if not connection.items.get("counting"):
            connection.items["counting"] = True
            connection.start_soon(self._count, connection, upto, cut_after)

    async def _count(self, connection: Connection, upto: int, cut_after: object) -> None:
        """Goes on while the page is away: what it sends meanwhile waits in the ring."""
        try:
            for number in range(1, upto + 1):
                await connection.send({"kind": "tick", "n": number, "of": upto})
                if number == cut_after:
                    await connection.close("the page asked for a cut", allow_reconnect=True)
                await anyio.sleep(TICK)
        except ConnectionClosed:
            return
        finally:
            connection.items["counting"] = False


def demo_app() -> App:
    """The demo as an `App`: the page at `/`, its connection at `/chat`."""
    app = App(secret_keys=[secrets.token_bytes(32)])  # sessions of a demo may end with its process
    app.add_connection("/chat", Chat())
    static = resources.files("persistconn") / "static"
    for path, (name, content_type) in PAGES.items():
        app.add_page(path, (static / name).read_bytes(), content_type, headers=PAGE_HEADERS)
    return app


class _Announcement:
    """Told by `serve` that it listens: only then is there something to open."""

    def started(self, value: Any = None) -> None:
        for address in value.addresses:
            host, port = address[:2]
            shown = f"[{host}]" if ":" in host else host
            click.echo(f"The demo is at http://{shown}:{port}/ (open it in two windows; Ctrl+C ends it)")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0: a free one.")
@click.option("--backend", default="asyncio", show_default=True, type=click.Choice(["asyncio", "trio"]))
def demo(host: str, port: int, backend: str) -> None:
    """Serve a page with a chat on all transports, and buttons that cut the connection."""
    try:
        anyio.run(_serve, host, port, backend=backend)
    except (LookupError, OSError, PersistconnError) as error:
        raise click.ClickException(str(error)) from error


async def _serve(host: str, port: int) -> None:
    await serve(demo_app(), host=host, port=port, access_log=False, task_status=_Announcement())
