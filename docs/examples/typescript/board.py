"""A board: what somebody pins to it, everybody sees."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import msgspec

from persistconn import App
from persistconn.hubs import ClientProxy, Hub, HubError

Colour = Literal["yellow", "green", "blue"]


class Note(msgspec.Struct, rename="camel"):  # pinned_at here is pinnedAt over there
    id: int
    text: str
    colour: Colour
    pinned_at: datetime


class Page(ClientProxy, Protocol):
    """The functions of the page."""

    async def note_pinned(self, note: Note) -> None: ...
    async def note_taken(self, id: int) -> None: ...


class BoardHub(Hub[Page]):
    notes: ClassVar[dict[int, Note]] = {}
    numbers = count(1)

    async def pin(self, text: str, colour: Colour) -> Note:
        if not 1 <= len(text.strip()) <= 80:
            raise HubError("A note has 1 to 80 letters.")
        note = Note(next(self.numbers), text.strip(), colour, datetime.now(UTC))
        self.notes[note.id] = note
        await self.clients.others.note_pinned(note)
        return note

    async def take_down(self, id: int) -> None:
        if self.notes.pop(id, None):
            await self.clients.all.note_taken(id)

    async def all_notes(self) -> AsyncIterator[Note]:
        for note in list(self.notes.values()):
            yield note


app = App()
app.add_hubs("/board", BoardHub)
here = Path(__file__).parent
app.add_page("/", (here / "index.html").read_bytes(), "text/html; charset=utf-8")
app.add_page("/main.js", (here / "main.js").read_bytes(), "text/javascript; charset=utf-8")
