"""Bytes, moments and numbers as they are, for clients in JavaScript, Python and .NET."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from persistconn import App
from persistconn.hubs import DOTNET, Hub


class Kind(Enum):
    BLACK_AND_WHITE = 1
    COLOUR = 2


@dataclass
class Picture:
    taken_at: datetime
    kind: Kind
    pixels: bytes


class PictureHub(Hub):
    async def darker(self, picture: Picture) -> Picture:
        return Picture(picture.taken_at, picture.kind, bytes(pixel // 2 for pixel in picture.pixels))


class DotnetPictureHub(PictureHub):
    """The same, for clients that want the names of .NET."""


app = App()
app.add_hubs("/pictures", PictureHub)
app.add_hubs("/dotnet", DotnetPictureHub, messagepack=DOTNET)
