"""A host without sessions: answers a few paths in the ways that matter to a driver, and notes what it is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel

from persistconn import Settings
from persistconn.protocol.exchange import Exchange
from persistconn.wire.http import Chunk, End, Head, Message, Piece, Ping, Request

PLAIN = ((b"Content-Type", b"text/plain"),)


class FakeHost:
    """Paths: /hello /echo /hold /stream /later /big?<bytes> and WebSockets anywhere but /forbidden.

    A WebSocket echoes (on /parts, what comes as it comes); "close" makes it end, "ping" makes it ping,
    "flood <bytes>" makes it send a lot.
    """

    def __init__(self, settings: Settings = Settings(), *, eager: bool = False) -> None:
        self.settings = settings
        self.eager = eager
        """Answers leave from inside `open_nowait`, as they do from the real host."""
        self.gate = anyio.Event()
        """/later is answered when it is set."""
        self.told: list[tuple[str, Any]] = []
        self.exchanges: dict[Exchange, None] = {}
        self.pause_after: int | None = None
        """A WebSocket is paused when it has received this many messages."""
        self.pumping = False
        self._waiting: dict[Exchange, list[Piece]] = {}
        self._in_flight: set[Exchange] = set()
        self._ready: deque[Exchange] = deque()
        self._news = anyio.Event()
        self.resuming: list[Exchange] = []

    # What the driver calls ----------------------------------------------------------------------

    def open_nowait(self, request: Request, link: Any, *, pings: bool = False) -> Exchange | None:
        if request.path == "/later":
            return None
        exchange = self._begin(request, link, pings)
        if self.eager and not self.pumping:
            self.pump()
        return exchange

    async def open(self, request: Request, link: Any, *, pings: bool = False) -> Exchange:
        await self.gate.wait()
        exchange = self._begin(request, link, pings)
        self.pump()
        return exchange

    def receive(self, exchange: Exchange, messages: Sequence[str | bytes]) -> None:
        assert exchange in self.exchanges
        for data in messages:
            self._received(exchange, data)

    def _received(self, exchange: Exchange, data: str | bytes) -> None:
        self._tell("received", data)
        if data == "close":
            self.put(exchange, End(1000, "bye"))
        elif data == "ping":
            self.put(exchange, Ping(b"are you there"))
        elif isinstance(data, str) and data.startswith("flood"):
            self.put(exchange, Message("x" * int(data.split()[1])))
        else:
            self.put(exchange, Message(data))
        if self.pause_after is not None and sum(word == "received" for word, _ in self.told) >= self.pause_after:
            exchange.paused = True

    def pong(self, exchange: Exchange) -> None:
        self._tell("pong", exchange.request.path)

    def sent(self, exchange: Exchange) -> None:
        self._in_flight.remove(exchange)
        self._tell("sent", exchange.request.path)
        self._ready.append(exchange)

    def lost(self, exchange: Exchange, *, graceful: bool = False) -> None:
        self._tell("left" if graceful else "lost", exchange.request.path)
        self.exchanges.pop(exchange, None)
        self._in_flight.discard(exchange)
        self._waiting.pop(exchange, None)

    def pump(self) -> None:
        assert not self.pumping, "a driver must not pump from inside transmit"
        self.pumping = True
        try:
            self._pump()
        finally:
            self.pumping = False

    def serve(self) -> None:
        self.pump()

    def _pump(self) -> None:
        while self._ready or self.resuming:
            while self.resuming:
                exchange = self.resuming.pop()
                exchange.paused = False
                exchange.context.resume()
            if not self._ready:
                return
            exchange = self._ready.popleft()
            if exchange in self._in_flight or exchange not in self._waiting:
                continue
            pieces = tuple(self._waiting.pop(exchange))
            if isinstance(pieces[-1], End):
                self.exchanges.pop(exchange, None)
                self._tell("ended", exchange.request.path)
            if not exchange.context.transmit(exchange, pieces):
                self._in_flight.add(exchange)

    def announce(self) -> None:
        self.told.append(("announce", None))

    def drain(self) -> None:
        for exchange in tuple(self.exchanges):
            self.put(exchange, End(1001, "going away"))

    async def drained(self) -> None:
        while self.exchanges:
            await self._news.wait()

    # What the tests call ------------------------------------------------------------------------

    def put(self, exchange: Exchange, *pieces: Piece) -> None:
        """Pieces that leave with the next pump."""
        if exchange in self.exchanges:
            self._waiting.setdefault(exchange, []).extend(pieces)
            self._ready.append(exchange)

    async def heard(self, word: str, what: Any = None) -> Any:
        """Wait until the driver has told `word` (about `what`); what it was about."""
        while True:
            for told, about in self.told:
                if told == word and (what is None or about == what):
                    return about
            await self._news.wait()

    async def heard_exchange(self) -> Exchange:
        """The only exchange, once its answer has begun."""
        while len(self.exchanges) != 1 or self._waiting or self._in_flight:
            await anyio.lowlevel.checkpoint()
        return self.the_exchange()

    def the_exchange(self) -> Exchange:
        (exchange,) = self.exchanges
        return exchange

    def _tell(self, word: str, what: Any) -> None:
        self.told.append((word, what))
        self._news.set()
        self._news = anyio.Event()

    def _begin(self, request: Request, link: Any, pings: bool) -> Exchange:
        exchange = Exchange(request, link, pings=pings)
        exchange.parts = request.path == "/parts"
        self.exchanges[exchange] = None
        self._tell("opened", request.path)
        if request.upgrade and request.path != "/forbidden":
            self.put(exchange, Head(101))
        elif request.path == "/stream":
            self.put(exchange, Head(200, PLAIN), Chunk(b"first"))
        elif request.path == "/big":
            self.put(exchange, Head(200, PLAIN), Chunk(bytes(int(request.query_string))), End())
        elif request.path != "/hold":
            body = request.body if request.path == "/echo" else b"hello"
            status = 403 if request.path == "/forbidden" else 200
            self.put(exchange, Head(status, PLAIN), Chunk(body), End())
        return exchange
