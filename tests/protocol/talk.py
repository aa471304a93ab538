"""Drives an endpoint as an embedder does and remembers what every client got: the words of the tests here."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any
from urllib.parse import quote

from persistconn import Request, Settings
from persistconn.bus.post import Payload
from persistconn.bus.topic import everyone, group
from persistconn.protocol import (
    Abandon,
    Admission,
    AppEvent,
    Connected,
    Disconnected,
    Exchange,
    Output,
    Resume,
    Route,
    ServerEndpoint,
    Transmit,
    Wait,
)
from persistconn.protocol.admission import ADMITTED
from persistconn.wire.http import Chunk, End, Head, Headers, Message, Ping
from persistconn.wire.transports import EventStreamReader

KEY = b"0123456789abcdef"
WS, SSE, LP, FF = "webSockets", "serverSentEvents", "longPolling", "foreverFrame"
STREAMS = (WS, SSE, FF)
ALL = (WS, SSE, LP, FF)


class Talk:
    """An endpoint, its clock, its applications' events, and what went to each exchange.

    `slow` exchanges are not told as sent until `sent()`.
    """

    routes = (Route("/echo"), Route("/other"))

    def __init__(
        self, settings: Settings | None = None, *, epoch: int = 0, keys: tuple[bytes, ...] = (KEY,), **more: Any
    ) -> None:
        self.now = 100.0
        self._chance = epoch * 1000
        self.endpoint = ServerEndpoint(self.routes, settings, secret_keys=keys, entropy=self._entropy, wall=1e9, **more)
        self.pieces: dict[Exchange, list[Any]] = defaultdict(list)
        self.events: list[AppEvent] = []
        self.outputs: list[Output] = []
        self.slow: set[Exchange] = set()
        self.until: float | None = None
        self.mute = False
        """Clients answer no pings."""
        self.automatic = True
        """Events are completed at once."""
        self.reads_on = False
        """The embedder takes in more before it asks what to do."""

    def _entropy(self, count: int) -> bytes:
        self._chance += 1
        return self._chance.to_bytes(4, "big") * (count // 4) + bytes(count % 4)

    def drain(self) -> list[Output]:
        """Rule 1."""
        new: list[Output] = []
        if self.reads_on:
            return new
        while not isinstance(output := self.endpoint.poll(), Wait):
            new.append(output)
            if isinstance(output, Transmit):
                for exchange in output.exchanges:
                    self.pieces[exchange] += output.pieces
                if Ping() in output.pieces and not self.mute:
                    for exchange in output.exchanges:
                        self.endpoint.pong(exchange, self.now)
                self.endpoint.sent([one for one in output.exchanges if one not in self.slow], self.now)
            elif isinstance(output, AppEvent):
                self.events.append(output)
                if self.automatic:
                    self.endpoint.complete(output, self.now)
        self.until = output.until
        self.outputs += new
        return new

    def open(
        self,
        path: str,
        query: str = "",
        *,
        method: str = "GET",
        upgrade: bool = False,
        body: str | bytes = "",
        headers: dict[str, str] | None = None,
        user: str | None = None,
        pings: bool = False,
        admission: Admission = ADMITTED,
        slow: bool = False,
    ) -> Exchange:
        given = Headers(tuple((name.encode(), value.encode()) for name, value in (headers or {}).items()))
        request = Request(
            method, path, query, given, body if isinstance(body, bytes) else body.encode(), upgrade=upgrade, user=user
        )
        exchange = self.endpoint.open(request, self.now, admission=admission, pings=pings)
        if slow:
            self.slow.add(exchange)
        self.drain()
        return exchange

    def sent(self, exchange: Exchange) -> None:
        self.endpoint.sent([exchange], self.now)
        self.drain()

    def lost(self, exchange: Exchange, *, graceful: bool = False) -> None:
        self.endpoint.lost(exchange, self.now, graceful=graceful)
        self.drain()

    def pass_time(self, seconds: float) -> None:
        """The clock jumps from deadline to deadline, as a sleeping embedder would."""
        end = self.now + seconds
        while self.until is not None and self.until <= end:
            self.now = max(self.now, self.until)
            self.endpoint.tick(self.now)
            self.drain()
        self.now = end

    # What was answered --------------------------------------------------------------------------

    def status(self, exchange: Exchange) -> int:
        head = self.pieces[exchange][0]
        assert isinstance(head, Head)
        return head.status

    def header(self, exchange: Exchange, name: str) -> str | None:
        head = self.pieces[exchange][0]
        found = [value.decode() for key, value in head.headers if key.decode().lower() == name.lower()]
        return found[0] if found else None

    def body(self, exchange: Exchange) -> bytes:
        return b"".join(piece.data for piece in self.pieces[exchange] if isinstance(piece, Chunk))

    def json(self, exchange: Exchange) -> Any:
        return json.loads(self.body(exchange))

    def is_over(self, exchange: Exchange) -> bool:
        return End() in self.pieces[exchange]

    def envelopes(self, exchange: Exchange) -> list[dict[str, Any]]:
        """What the client of this exchange parses, keep-alives included."""
        pieces = self.pieces[exchange]
        if exchange.request.upgrade:
            return [json.loads(piece.data) for piece in pieces if isinstance(piece, Message)]
        transport = exchange.request.query["transport"]
        body = self.body(exchange)
        if transport == SSE:
            return [json.loads(event) for event in EventStreamReader().feed(body) if event != "initialized"]
        if transport == FF:
            return [json.loads(part.split(b");</script>")[0][1:]) for part in body.split(b"<script>put")[1:]]
        return [json.loads(body)] if body.strip() else []

    def got(self, exchange: Exchange) -> list[Any]:
        """The messages."""
        return [message for envelope in self.envelopes(exchange) for message in envelope.get("M", ())]

    # What the application does ------------------------------------------------------------------

    def broadcast(self, *data: Any, exclude: tuple[str, ...] = ()) -> None:
        for one in data:
            self.endpoint.publish(everyone("/echo"), Payload(one), self.now, exclude=exclude)
        self.drain()

    def to_group(self, name: str, *data: Any) -> None:
        for one in data:
            self.endpoint.publish(group("/echo", name), Payload(one), self.now)
        self.drain()

    def told(self, kind: type[AppEvent]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Client:
    """A classic client that has negotiated."""

    def __init__(self, talk: Talk, transport: str = WS, protocol: str = "2.1", user: str | None = None) -> None:
        self.talk = talk
        self.transport = transport
        self.protocol = protocol
        self.user = user
        exchange = talk.open("/echo/negotiate", f"clientProtocol={protocol}", user=user)
        answer = talk.json(exchange)
        self.id: str = answer["ConnectionId"]
        self.token: str = answer["ConnectionToken"]
        self.cursor: str | None = None
        self.groups_token: str | None = None
        self.exchange: Exchange | None = None
        self.messages: list[Any] = []
        self._read = 0

    def query(self, **more: str | None) -> str:
        given = {
            "transport": self.transport,
            "clientProtocol": self.protocol,
            "connectionToken": self.token,
            **({"frameId": "1"} if self.transport == FF else {}),
            **more,
        }
        return "&".join(f"{name}={quote(value)}" for name, value in given.items() if value is not None)

    def ask(self, action: str, *, body: str = "", **more: str | None) -> Exchange:
        return self.talk.open(f"/echo/{action}", self.query(**more), body=body, user=self.user)

    def attach(self, action: str, *, slow: bool = False, pings: bool = True, **more: str | None) -> Exchange:
        upgrade = self.transport == WS
        self._read = 0
        self.exchange = self.talk.open(
            f"/echo/{action}", self.query(**more), upgrade=upgrade, pings=pings, slow=slow, user=self.user
        )
        return self.exchange

    def start(self) -> Client:
        """Connect, start, and with long polling poll."""
        self.attach("connect")
        self.take()
        self.ask("start")
        if self.transport == LP:
            self.poll()
        self.take()
        return self

    def poll(self, **more: str | None) -> Exchange:
        return self.attach("poll", messageId=self.cursor, groupsToken=self.groups_token, **more)

    def reconnect(self, **more: str | None) -> Exchange:
        return self.attach("reconnect", messageId=self.cursor, groupsToken=self.groups_token, **more)

    def take(self) -> list[Any]:
        """Read what has come since the last time; the new messages."""
        assert self.exchange is not None
        envelopes = self.talk.envelopes(self.exchange)
        new: list[Any] = []
        for envelope in envelopes[self._read :]:
            self.cursor = envelope.get("C", self.cursor)
            self.groups_token = envelope.get("G", self.groups_token)
            new += envelope.get("M", [])
        self._read = len(envelopes)
        self.messages += new
        return new

    def send(self, text: str) -> Exchange | None:
        if self.transport == WS:
            assert self.exchange is not None
            self.talk.endpoint.receive(self.exchange, text, self.talk.now)
            self.talk.drain()
            return None
        return self.ask("send", body="data=" + quote(text))

    def drop(self) -> None:
        """The line is cut."""
        assert self.exchange is not None
        self.talk.lost(self.exchange)


__all__ = [
    "ALL",
    "FF",
    "KEY",
    "LP",
    "SSE",
    "STREAMS",
    "WS",
    "Abandon",
    "Client",
    "Connected",
    "Disconnected",
    "Ping",
    "Resume",
    "Talk",
]
