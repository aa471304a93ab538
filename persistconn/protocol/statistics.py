"""What an endpoint can say of itself, and where it is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..bus.topics import TopicStatistics
from .outputs import DisconnectReason

__all__ = ["Ended", "EndpointStatistics", "OnEnded", "Tally", "TransportStatistics"]


@dataclass(frozen=True, slots=True)
class TransportStatistics:
    """What one transport of one dialect has carried since the start."""

    dialect: str
    """`classic` or `aspnetcore`."""
    transport: str
    """`webSockets`, `serverSentEvents`, `longPolling` or `foreverFrame`."""
    active: int
    """Connections whose newest transport it is; those count that are between two polls, or away for a moment."""
    started: int
    """Connections that began on it."""
    ended: Mapping[str, int]
    """Connections that ended on it, by reason."""
    messages_in: int
    """What the application was handed; of clients of ASP.NET Core hubs, pieces as they come."""
    messages_out: int
    """What was handed to this transport: what a client asks for again counts again."""
    bytes_out: int
    """Bodies and messages that carried those: without HTTP heads, heads of frames, signs of life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatistics:
    """A moment of an endpoint."""

    connections: int
    """Sessions, whatever their state."""
    attached: int
    """Those with a transport."""
    ended: Mapping[str, int]
    """Connections that ended, by reason."""
    reactions: Mapping[str, int]
    """How often each limit was met, by the name of its setting."""
    rings: TopicStatistics
    transports: tuple[TransportStatistics, ...]
    """By dialect and transport, those that have been used."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A connection that had a transport has ended."""

    connection_id: str
    route: str
    dialect: str
    transport: str
    """Its newest one."""
    reason: DisconnectReason
    duration: float
    """Seconds since its first transport came."""


OnEnded: TypeAlias = Callable[[Ended], None]


class Tally:
    """Counts for one transport of one dialect. Plain numbers, because some are added to per message."""

    __slots__ = ("active", "bytes_out", "dialect", "ended", "messages_in", "messages_out", "started", "transport")

    def __init__(self, dialect: str, transport: str) -> None:
        self.dialect = dialect
        self.transport = transport
        self.active = self.started = self.messages_in = self.messages_out = self.bytes_out = 0
        self.ended: Counter[str] = Counter()

    def statistics(self) -> TransportStatistics:
        """As it is now."""
        return TransportStatistics(
            self.dialect,
            self.transport,
            self.active,
            self.started,
            dict(self.ended),
            self.messages_in,
            self.messages_out,
            self.bytes_out,
        )
