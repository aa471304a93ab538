"""The words of the tests for clients of ASP.NET Core: the same endpoint, other clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from persistconn.bus.post import Encoded, Payload
from persistconn.protocol import (
    ADMITTED,
    Admission,
    Disconnected,
    DisconnectReason,
    Exchange,
    Format,
    Message,
    Received,
    Route,
    Transmit,
)
from persistconn.wire.http import Chunk
from persistconn.wire.transports import EventStreamReader

from .talk import LP, SSE, WS, Talk

JSON = Format("json", keep_alive=b'{"type":6}\x1e', farewell=b'{"type":7,"allowReconnect":true}\x1e')
PACKED = Format("messagepack", binary=True, keep_alive=b"\x02\x91\x06", farewell=b"\x04\x93\x07\xc0\xc3")
TRANSPORTS = (WS, SSE, LP)
ACCEPT = {"Accept": "text/event-stream"}


class CoreTalk(Talk):
    """An endpoint whose routes take what layers need."""

    routes = (
        Route("/echo", resumable=True, names=frozenset({"", "chat"})),
        Route("/other"),
        Route("/parts", takes_parts=True),
        Route("/core", frozenset({"aspnetcore"})),
        Route("/polled", transports=(LP, SSE)),
    )

    @property
    def reason(self) -> DisconnectReason:
        """Why the only connection ended."""
        (end,) = self.told(Disconnected)
        reason: DisconnectReason = end.reason
        return reason

    @property
    def heard(self) -> list[Any]:
        """What clients said."""
        return [event.data for event in self.told(Received)]

    def say(self, client: CoreClient, *frames: bytes | str | Payload) -> None:
        """The application sends to one client: bytes are frames that are ready."""
        for frame in frames:
            payload = Payload.of_frame(frame) if isinstance(frame, bytes) else frame
            given = payload if isinstance(payload, Encoded) else Payload(payload)
            self.endpoint.send(client.id, given, self.now)
        self.drain()

    def publish(self, payload: Payload, topic: str = "all:/echo") -> list[Transmit]:
        """A broadcast, and what it says for the network."""
        self.endpoint.publish(topic, payload, self.now)
        return [output for output in self.drain() if isinstance(output, Transmit)]

    def speak(self, client: CoreClient, format: Format) -> None:
        self.endpoint.terms.speak(client.id, format, self.now)
        self.drain()

    def finish(self, *connections: CoreClient) -> None:
        """The application has dealt with what is in flight, of one event after the other."""
        for event in [event for event in self.events if event.connection_id in {one.id for one in connections}]:
            self.events.remove(event)
            self.endpoint.complete(event, self.now)
        self.drain()

    def close(self, client: CoreClient) -> None:
        self.endpoint.close(client.id, self.now)
        self.drain()

    def shut_down(self) -> None:
        self.endpoint.drain(self.now)
        self.drain()

    def units(self, exchange: Exchange) -> list[Any]:
        """What the client of this exchange is handed by its transport, one by one."""
        pieces = self.pieces[exchange]
        if exchange.request.upgrade:
            messages = [piece for piece in pieces if isinstance(piece, Message)]
            return [message.data.decode() if message.text else message.data for message in messages]
        if exchange.request.headers.get("accept") == ACCEPT["Accept"]:
            return EventStreamReader().feed(self.body(exchange))
        return [piece.data for piece in pieces if isinstance(piece, Chunk)]


class CoreClient:
    """A client of ASP.NET Core that has negotiated."""

    def __init__(
        self,
        talk: CoreTalk,
        transport: str = WS,
        *,
        version: int = 1,
        user: str | None = None,
        path: str = "/echo",
        stateful: bool = False,
        admission: Admission = ADMITTED,
    ) -> None:
        self.talk = talk
        self.transport = transport
        self.user = user
        self.path = path
        self.admission = admission
        query = f"negotiateVersion={version}" + ("&useStatefulReconnect=true" if stateful else "")
        self.negotiated = talk.open(f"{path}/negotiate", query, method="POST", user=user, admission=admission)
        answer = talk.json(self.negotiated)
        self.id: str = answer["connectionId"]
        self.token: str = answer.get("connectionToken", self.id)
        self.exchange: Exchange | None = None

    def get(self, transport: str = "", *, slow: bool = False, user: str | None = None) -> Exchange:
        """The request for a transport, whatever comes of it."""
        transport = transport or self.transport
        return self.talk.open(
            self.path,
            f"id={self.token}",
            upgrade=transport == WS,
            headers=ACCEPT if transport == SSE else None,
            user=user or self.user,
            admission=self.admission,
            slow=slow,
        )

    def attach(self, *, slow: bool = False) -> Exchange:
        self.exchange = self.get(slow=slow)
        return self.exchange

    def start(self, format: Format | None = None) -> CoreClient:
        """The transport comes; who polls polls a second time."""
        self.attach()
        if self.transport == LP:
            self.attach()
        if format is not None:
            self.talk.speak(self, format)
        return self

    @property
    def line(self) -> Exchange:
        assert self.exchange is not None
        return self.exchange

    @property
    def got(self) -> list[Any]:
        """The units that came on the newest exchange."""
        return self.talk.units(self.line)

    def say(self, *data: str | bytes) -> list[Exchange]:
        """Say something; the answers, where that takes requests."""
        if self.transport == WS:
            self.talk.endpoint.receive_all(self.line, data, self.talk.now)
            self.talk.drain()
            return []
        return [self.post(one) for one in data]

    def post(self, data: str | bytes = "hi", *, user: str | None = None) -> Exchange:
        return self.talk.open(self.path, f"id={self.token}", method="POST", body=data, user=user or self.user)

    def delete(self, *, user: str | None = None) -> Exchange:
        return self.talk.open(self.path, f"id={self.token}", method="DELETE", user=user or self.user)

    def leave(self) -> None:
        """Stop, as clients of this transport do."""
        if self.transport == LP:
            self.delete()
        else:
            self.drop(graceful=self.transport == WS)

    def drop(self, *, graceful: bool = False) -> None:
        """The line is cut, with a Close frame or without one."""
        self.talk.endpoint.lost(self.line, self.talk.now, graceful=graceful)
        self.talk.drain()


def statuses(talk: Talk, exchanges: Sequence[Exchange]) -> list[tuple[int, bytes]]:
    """Of each: what it was answered."""
    return [(talk.status(exchange), talk.body(exchange)) for exchange in exchanges]


class KeptFrames:
    """A replay that keeps all frames, and waits beyond a number of them."""

    def __init__(self, most: int = 1_000) -> None:
        self.frames: list[bytes] = []
        self.most = most
        self.losses = 0

    @property
    def must_wait(self) -> bool:
        return len(self.frames) >= self.most

    def track(self, frame: bytes) -> None:
        self.frames.append(frame)

    def lost(self) -> None:
        self.losses += 1

    def resume(self) -> Sequence[bytes]:
        return [b"sequence", *self.frames]
