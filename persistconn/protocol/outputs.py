"""What `ServerEndpoint.poll` says: what to send, what to tell the application, how long to wait.

Outputs for the network: Transmit, Abandon, Resume. Outputs for the application: the AppEvents, of which
each must be `complete`d, Drained and Deserted. The last output is always Wait.

They are msgspec Structs because one or more is made per message: a tenth of what a frozen dataclass costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TypeAlias

from msgspec import Struct

from ..wire.http import Piece, Request
from .exchange import Exchange

__all__ = [
    "Abandon",
    "Alarm",
    "AppEvent",
    "Connected",
    "Deserted",
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


class Transmit(Struct):
    """Write these pieces, in order, to each of these exchanges; then call `sent` for them."""

    exchanges: Sequence[Exchange]
    pieces: tuple[Piece, ...]


class Abandon(Struct, frozen=True):
    """Cut this exchange now, without waiting for what is in flight. No `sent` and no `lost` is due."""

    exchange: Exchange


class Resume(Struct, frozen=True):
    """Read on: `paused` of this exchange is over."""

    exchange: Exchange


class Wait(Struct, frozen=True):
    """Nothing more to do before this moment (None: before something happens)."""

    until: float | None


class Drained(Struct, frozen=True):
    """A connection of which `send` or `reply` said False has caught up, or has gone: whoever waits may go on."""

    connection_id: str


class Deserted(Struct, frozen=True):
    """A connection has ended while the application deals with a message of it: nobody waits for that any more."""

    connection_id: str


class AppEvent(Struct, frozen=True, eq=False):
    """Something the application is to be told. One at a time per connection, until `complete`."""

    connection_id: str


class Connected(AppEvent, frozen=True, eq=False):
    """A connection began. Comes once."""

    route: str
    request: Request


class Received(AppEvent, frozen=True, eq=False):
    """The client sent a message: the text of it, or bytes."""

    data: str | bytes
    exchange: Exchange
    """The request or WebSocket it came on: where a `reply` goes."""


class Rejoining(AppEvent, frozen=True, eq=False):
    """A connection this process does not know came with these groups; the answer is those to keep."""

    route: str
    request: Request
    groups: tuple[str, ...]


class Reconnected(AppEvent, frozen=True, eq=False):
    """A connection came back on a new transport.

    `recovered`: nothing was lost since the drop. Else `missed` counts what was, None when unknown.
    `adopted`: this process did not know the connection (restart, other node).
    """

    route: str
    request: Request
    recovered: bool
    missed: int | None
    adopted: bool = False


class Gap(AppEvent, frozen=True, eq=False):
    """A connected reader fell out of the ring and goes on after it (`slow_policy="skip"`)."""

    missed: int | None


class Alarm(AppEvent, frozen=True, eq=False):
    """The time that the application has set for a connection has come."""


class Disconnected(AppEvent, frozen=True, eq=False):
    """A connection ended. Comes once for every connection that had Connected or an adopted Reconnected."""

    reason: DisconnectReason


Output: TypeAlias = Transmit | Abandon | Resume | Wait | Drained | Deserted | AppEvent
