"""What `ServerEndpoint.poll` says: what to send, what to tell the application, how long to wait.

Outputs for the network: Transmit, Abandon, Resume. Outputs for the application: the AppEvents, of which
each must be `complete`d, and Drained. The last output is always Wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ..wire.http import Piece, Request
from .exchange import Exchange

__all__ = [
    "Abandon",
    "AppEvent",
    "Connected",
    "DisconnectReason",
    "Disconnected",
    "Drained",
    "Gap",
    "Output",
    "Received",
    "Reconnected",
    "Rejoining",
    "Resume",
    "Transmit",
    "Wait",
]


class DisconnectReason(str, Enum):
    """Why a connection ended."""

    closed = "closed"
    """The client said so."""
    timed_out = "timed_out"
    """It was lost and did not come back within `disconnect_timeout`."""
    slow = "slow"
    """It did not take what was sent, and `slow_policy` is `disconnect`."""
    aborted = "aborted"
    """The application closed it."""
    shutdown = "shutdown"
    """This server is going away; the client comes back elsewhere."""

    def __str__(self) -> str:
        return self.value


class Transmit:
    """Write these pieces, in order, to each of these exchanges; then call `sent` for them.

    Not a dataclass and not frozen: one is made for every batch that leaves.
    """

    __slots__ = ("exchanges", "pieces")

    def __init__(self, exchanges: Sequence[Exchange], pieces: tuple[Piece, ...]) -> None:
        self.exchanges = exchanges
        self.pieces = pieces

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transmit) and (other.exchanges, other.pieces) == (self.exchanges, self.pieces)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Transmit({list(self.exchanges)!r}, {self.pieces!r})"


@dataclass(frozen=True, slots=True)
class Abandon:
    """Cut this exchange now, without waiting for what is in flight. No `sent` and no `lost` is due."""

    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Resume:
    """Read on: `paused` of this exchange is over."""

    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing more to do before this moment (None: before something happens)."""

    until: float | None


@dataclass(frozen=True, slots=True)
class Drained:
    """A connection of which `send` said False has caught up, or has gone: whoever waits may go on."""

    connection_id: str


@dataclass(frozen=True, slots=True, eq=False)
class AppEvent:
    """Something the application is to be told. One at a time per connection, until `complete`."""

    connection_id: str


@dataclass(frozen=True, slots=True, eq=False)
class Connected(AppEvent):
    """A connection began. Comes once."""

    route: str
    request: Request


@dataclass(frozen=True, slots=True, eq=False)
class Received(AppEvent):
    """The client sent a message: the text of it, or bytes."""

    data: str | bytes
    exchange: Exchange
    """The request or WebSocket it came on: where a `reply` goes."""


@dataclass(frozen=True, slots=True, eq=False)
class Rejoining(AppEvent):
    """A connection this process does not know came with these groups; the answer is those to keep."""

    route: str
    request: Request
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Reconnected(AppEvent):
    """A connection came back on a new transport.

    `recovered`: nothing was lost since the drop. Else `missed` counts what was, None when unknown.
    `adopted`: this process did not know the connection (restart, other node).
    """

    route: str
    request: Request
    recovered: bool
    missed: int | None
    adopted: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Gap(AppEvent):
    """A connected reader fell out of the ring and goes on after it (`slow_policy="skip"`)."""

    missed: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Disconnected(AppEvent):
    """A connection ended. Comes once for every connection that had Connected or an adopted Reconnected."""

    reason: DisconnectReason


Output: TypeAlias = Transmit | Abandon | Resume | Wait | Drained | AppEvent
