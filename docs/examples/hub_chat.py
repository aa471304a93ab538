"""A chat with rooms: everybody has a name, sees who is there, and reads what was said before."""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Literal, Protocol

from hub_pages import add_hub_page

from persistconn import App, DisconnectReason
from persistconn.hubs import ClientProxy, Hub, HubError


@dataclass
class Line:
    name: str
    text: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass
class Room:
    people: dict[str, str] = field(default_factory=dict)  # names, by connection id
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=50))


class Page(ClientProxy, Protocol):
    """The functions of the page."""

    async def entered(self, room: str, lines: list[Line]) -> None: ...
    async def said(self, line: Line) -> None: ...
    async def people(self, names: list[str]) -> None: ...


class ChatHub(Hub[Page]):
    rooms: ClassVar[dict[str, Room]] = defaultdict(Room)  # of the class: an instance serves one call only

    async def enter(self, room: Literal["lobby", "kitchen", "garden"], name: str) -> None:
        if not 1 <= len(name.strip()) <= 24:
            raise HubError("A name has 1 to 24 letters.")
        await self._leave()
        await self.groups.join(self.context.connection_id, room)
        self.context.items["room"] = room
        self.rooms[room].people[self.context.connection_id] = name.strip()
        await self.clients.caller.entered(room, list(self.rooms[room].lines))
        await self._tell_who_is_in(room)

    async def say(self, text: str) -> None:
        if "room" not in self.context.items:
            raise HubError("You are in no room.")
        name = self.context.items["room"]
        room = self.rooms[name]
        line = Line(room.people[self.context.connection_id], text[:500])
        room.lines.append(line)
        await self.clients.group(name).said(line)

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        await self._leave()

    async def _leave(self) -> None:  # begins with _, so no page can call it
        if room := self.context.items.pop("room", None):
            del self.rooms[room].people[self.context.connection_id]
            await self.groups.leave(self.context.connection_id, room)
            await self._tell_who_is_in(room)

    async def _tell_who_is_in(self, room: str) -> None:
        await self.clients.group(room).people(sorted(self.rooms[room].people.values()))


app = App()
app.add_hubs("/signalr", ChatHub)
add_hub_page(app, "hub_chat.html")
