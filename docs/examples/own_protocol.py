"""Prices in the words of the client: a small protocol for ASP.NET Core clients and bare WebSockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import msgspec

from persistconn import App, Connection, Format, Payload, PersistentConnection


class Price(msgspec.Struct):
    share: str
    value: float


def line(price: Price) -> bytes:
    return f"{price.share} {price.value}\n".encode()


FORMATS = {
    "lines": Format("lines", keep_alive=b"\n", farewell=b"bye\n"),
    "packed": Format("packed", binary=True, keep_alive=b"\xc0", farewell=b"\xc3"),
}
FORMS: Mapping[str, Callable[[Any], bytes]] = {"lines": line, "packed": msgspec.msgpack.encode}


class Prices(PersistentConnection):
    takes_parts = True  # we find the lines ourselves
    cancels_received = True

    async def on_connected(self, connection: Connection) -> None:
        connection.items["said"] = b""
        connection.alarm(10)  # as long as we wait for its first words

    async def on_alarm(self, connection: Connection) -> None:
        await connection.close()

    async def on_received(self, connection: Connection, data: str | bytes) -> None:
        said: bytes = connection.items["said"] + (data.encode() if isinstance(data, str) else data)
        *lines, connection.items["said"] = said.split(b"\n")
        asked = []
        for words in (line.decode("utf-8", "replace").split() for line in lines):
            match words:
                case ["speak", ("lines" | "packed") as name]:
                    connection.alarm(None)
                    connection.speak(FORMATS[name])
                    await connection.subscribe("prices")
                case ["ask", share]:
                    asked.append(share)
                case _:
                    await connection.send(Payload.of_frame(b"what?\n"))
                    await connection.close()
                    return
        connection.let_next()  # the rest takes its time, and the client may go on speaking
        for share in asked:
            await connection.send(payload(await look_up(share)))

    async def tell(self, price: Price) -> None:
        await self.topics["prices"].send(payload(price))


def payload(price: Price) -> Payload:
    """Each form is made once, when the first reader needs it."""
    return Payload.of_forms(price, FORMS, json=msgspec.json.encode(price))


async def look_up(share: str) -> Price:
    await anyio.sleep(0.05)  # in a database, say
    return Price(share, 2.0 * len(share))


prices = Prices()
app = App()
app.add_connection("/prices", prices, dialects=["aspnetcore"])
