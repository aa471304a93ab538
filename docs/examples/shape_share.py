"""A box that anybody can drag; everybody sees it move."""

from dataclasses import dataclass
from typing import ClassVar

from hub_pages import add_hub_page

from persistconn import App, DisconnectReason
from persistconn.hubs import Hub


@dataclass
class Place:
    x: float = 0.5  # 0 is the left edge of the board, 1 the right one
    y: float = 0.5


class ShapeHub(Hub):
    place: ClassVar[Place] = Place()
    pages: ClassVar[set[str]] = set()

    async def on_connected(self) -> None:
        self.pages.add(self.context.connection_id)
        await self.clients.caller.moved(self.place)
        await self.clients.all.watching(len(self.pages))

    async def move(self, place: Place) -> None:
        ShapeHub.place = Place(min(max(place.x, 0), 1), min(max(place.y, 0), 1))
        await self.clients.others.moved(self.place)

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        self.pages.discard(self.context.connection_id)
        await self.clients.all.watching(len(self.pages))


app = App()
app.add_hubs("/signalr", ShapeHub)
add_hub_page(app, "shape_share.html")
