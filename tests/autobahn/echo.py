"""A bare WebSocket echo over our Http1Server and stream drivers, for the Autobahn test suite to judge.

It is not an App: it stands where the host stands, and gives back each message as it came. Run it as a script
with a backend; it prints its port and serves until it is terminated.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import anyio

from persistconn.drivers.state import ServerState
from persistconn.drivers.streams import streams_for
from persistconn.protocol.exchange import Exchange
from persistconn.settings import Settings
from persistconn.wire.http import Chunk, End, Head, Message, Request

if TYPE_CHECKING:
    from persistconn.drivers.channel import Channel

# Autobahn sends 16 MiB messages, in up to 262,144 fragments, with pings in between: the limits are raised, not off.
LIMITS = Settings(max_message_size=17_000_000, max_fragments=500_000, max_control_frames=100_000)

REFUSED = (Head(426, ((b"Upgrade", b"websocket"),)), Chunk(b"This is a WebSocket echo.\n"), End())


class EchoHost:
    """Stands where `persistconn.host.Host` stands. What a slow reader has not taken yet waits, in order."""

    def __init__(self, settings: Settings = LIMITS) -> None:
        self.settings = settings
        self._waiting: dict[Exchange, deque[Message]] = {}

    def open_nowait(self, request: Request, link: Channel, *, pings: bool = False) -> Exchange:
        exchange = Exchange(request, link, pings=pings)
        link.transmit(exchange, (Head(101),) if request.upgrade else REFUSED)
        return exchange

    async def open(self, request: Request, link: Channel, *, pings: bool = False) -> Exchange:
        return self.open_nowait(request, link, pings=pings)

    def receive(self, exchange: Exchange, messages: Sequence[str | bytes]) -> None:
        # At once and not in `pump`: what comes before a broken frame is echoed before the close.
        for data in messages:
            if exchange in self._waiting:
                self._waiting[exchange].append(Message(data))
            elif not exchange.context.transmit(exchange, (Message(data),)):
                self._waiting[exchange] = deque()

    def sent(self, exchange: Exchange) -> None:
        waiting = self._waiting.pop(exchange, deque())
        while waiting:
            if not exchange.context.transmit(exchange, (waiting.popleft(),)):
                self._waiting[exchange] = waiting
                return

    def pong(self, exchange: Exchange) -> None: ...

    def lost(self, exchange: Exchange, *, graceful: bool = False) -> None:
        self._waiting.pop(exchange, None)

    def pump(self) -> None: ...

    def serve(self) -> None: ...

    def drain(self) -> None: ...

    async def drained(self) -> None: ...


async def serve_echo(listener: socket.socket) -> None:
    """Accept from `listener` until cancelled."""
    listener.setblocking(False)
    state = ServerState(EchoHost())
    async with streams_for(state) as streams, anyio.create_task_group() as tasks:
        tasks.start_soon(state.watch)
        while True:
            await anyio.wait_readable(listener)
            try:
                accepted, client = listener.accept()
            except BlockingIOError:
                continue
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            streams.attach(accepted, client, None)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        print(listener.getsockname()[1], flush=True)
        anyio.run(serve_echo, listener, backend=sys.argv[1])
