"""One HTTP request with its answer, or one WebSocket, on a network that delays, splits, cuts and swallows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from ..wire.http import Chunk, End, Head, Message, Piece, Ping, Request
from .stories import Broken

if TYPE_CHECKING:
    from ..protocol.exchange import Exchange
    from .aspnetcore_peers import AspNetCorePeer
    from .peers import Peer

__all__ = ["CALM", "Line", "Packet", "Weather"]


@dataclass(frozen=True, slots=True)
class Weather:
    """How likely each misfortune is, from 0 to 1, and how long things take, in seconds."""

    refused: float = 0.02
    """A request does not reach the server, and the client learns it soon."""
    swallowed: float = 0.01
    """A request does not reach the server, and nobody learns it."""
    cut: float = 0.5
    """A stream or poll is cut at some time."""
    lifetime: float = 12.0
    """The mean time until then."""
    answer_lost: float = 0.05
    """The answer to a request is lost after the server committed it."""
    slow: float = 0.02
    """A write stalls, and `sent` comes late."""
    stall: float = 2.5
    """The mean time of such a stall."""
    split: float = 0.2
    """What is written to a stream arrives in pieces."""
    busy: float = 0.12
    """A callback takes its time."""
    latency: float = 0.03
    """The mean one-way delay."""


CALM = Weather(refused=0, swallowed=0, cut=0, answer_lost=0, slow=0, split=0.1, busy=0)
"""Nothing happens."""


@dataclass(slots=True)
class Packet:
    """What arrives at the client at once."""

    status: int | None = None
    data: bytes = b""
    messages: tuple[bytes, ...] = ()
    ended: bool = False

    def __repr__(self) -> str:
        data = b" | ".join(self.messages) or self.data
        shown = data if len(data) <= 120 else b"%b ... (%d bytes)" % (data[:100], len(data))
        head = "" if self.status is None else f"{self.status} "
        return f"{head}{shown!r}{' end' if self.ended else ''}"


class Line:
    """A request on its way, and all that comes back on it."""

    __slots__ = (
        "action",
        "answer",
        "arrives",
        "cut",
        "dialect",
        "delay",
        "ended",
        "epoch",
        "exchange",
        "frames",
        "groups_token",
        "has_answer",
        "has_head",
        "head_seen",
        "heard_at",
        "held",
        "id",
        "in_flight",
        "jumps",
        "lost",
        "number",
        "peer",
        "request",
        "said_at",
        "seen",
        "stalled_until",
        "status",
        "text",
        "texts",
        "transport",
        "unhurt",
        "wanted",
        "was_left",
        "welcomed",
    )

    def __init__(self, number: int, peer: Peer | AspNetCorePeer, action: str, transport: str, request: Request) -> None:
        self.number = number
        self.peer = peer
        self.id = peer.id
        self.dialect = peer.dialect
        self.action = action
        self.transport = transport
        self.request = request
        self.text = ""
        """What a `/send` says."""
        self.texts: tuple[str, ...] = ()
        """What a POST of the other dialect says."""
        self.epoch = -1
        """The life of the server that its cursor is from, if it has one."""
        self.groups_token: str | None = None
        self.seen = 0
        """How many of its publications the client had seen when it made the request."""
        self.delay = 0.0
        self.said_at = 0.0
        """When the last message to the server arrives."""
        self.arrives = 0.0
        """When the last packet to the client arrives: none overtakes another."""
        self.cut = False
        """Nothing passes any more, in either direction."""
        # The server's side
        self.exchange: Exchange | None = None
        self.has_head = False
        self.status = 0
        self.in_flight: float | None = None
        """Since when a Transmit has not been answered by `sent`."""
        self.ended = False
        """Its End was handed out, or it was abandoned."""
        self.has_answer = False
        """It is a poll, and messages are in its answer."""
        self.was_left = False
        """The client went before its request arrived."""
        self.lost = False
        """The endpoint was told that it is lost."""
        self.stalled_until = 0.0
        self.held: list[tuple[str | bytes, str]] = []
        """Messages from the client that are not read yet, since the exchange is paused."""
        # The client's side
        self.wanted = True
        """The client still reads it."""
        self.heard_at = 0.0
        self.jumps = 0
        self.unhurt = True
        """It was never slow: the client may insist on keep-alives."""
        self.head_seen = False
        self.welcomed = False
        """An envelope has come."""
        self.answer = b""
        self.frames: object = None

    @property
    def is_receiving(self) -> bool:
        """It carries what goes to the client; else it is a short request."""
        return self.action in ("connect", "reconnect", "poll")

    @property
    def is_stream(self) -> bool:
        """It carries more than one envelope."""
        return self.is_receiving and self.transport != "longPolling"

    def check(self, pieces: Sequence[Piece]) -> Packet:
        """What a Transmit brings, when it keeps the rules: one in flight, Head first, nothing after End."""
        if self.in_flight is not None:
            raise Broken("rule 2", f"two transmits in flight on {self}: {pieces}")
        if self.ended or self.lost:
            raise Broken("rule 2", f"{pieces} for {self}, which is over")
        packet = Packet()
        data: list[bytes] = []
        messages: list[bytes] = []
        for piece in pieces:
            kind = type(piece)
            if packet.ended or (kind is Head) is self.has_head:
                raise Broken("grammar", f"{pieces} for {self}")
            if kind is Message:
                assert isinstance(piece, Message)
                messages.append(piece.data if isinstance(piece.data, bytes) else piece.data.encode())
            elif kind is Chunk:
                assert isinstance(piece, Chunk)
                data.append(piece.data)
            elif kind is Head:
                assert isinstance(piece, Head)
                self.has_head = True
                packet.status = self.status = piece.status
            elif kind is End:
                packet.ended = True
        if (messages and self.status != 101) or (data and self.status == 101):
            raise Broken("grammar", f"{pieces} for {self}, which was answered with {self.status}")
        packet.data = b"".join(data)
        packet.messages = tuple(messages)
        return packet

    def split(self, packet: Packet, rng: Random) -> list[Packet]:
        """The same bytes in two or three packets."""
        size = len(packet.data)
        places = sorted(rng.randrange(1, size) for _ in range(rng.randrange(1, 3)))
        parts = []
        start = 0
        for place in (*places, size):
            parts.append(Packet(data=packet.data[start:place]))
            start = place
        parts[0].status = packet.status
        parts[-1].ended = packet.ended
        return parts

    def __repr__(self) -> str:
        return f"#{self.number} {self.action} {self.transport or '-'} of {self.peer.name}"


def pings(pieces: Sequence[Piece]) -> bool:
    """A ping is among them."""
    return any(type(piece) is Ping for piece in pieces)
