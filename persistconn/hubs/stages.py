"""What a hub connection goes through and waits for, and the values that say what is to be done: HubSession's words.

Sections (§) are those of the ASP.NET Core hub protocol.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

import msgspec

from persistconn import DisconnectReason

from .messages import Cancel, Completion, HubProtocol, Invocation, StreamItem

__all__ = [
    "STAGES",
    "TIMERS",
    "Agreed",
    "Begin",
    "Event",
    "Finish",
    "Interject",
    "MayGoOn",
    "Output",
    "Stage",
    "StageInput",
    "Timer",
    "Transmit",
    "UploadEnd",
]


# Stages -----------------------------------------------------------------------------------------


class Stage(Enum):
    """How far a connection has come."""

    HANDSHAKE = "the client has yet to say what it speaks"
    OPEN = "messages go both ways"
    AWAY = "the socket is lost; a new one may come (stateful reconnect)"
    OVER = "all has been said"

    __hash__ = object.__hash__


class StageInput(Enum):
    """What moves it on."""

    AGREE = "the handshake succeeded"
    LOSE = "the socket was lost without a goodbye"
    RESUME = "a new socket came"
    END = "one side ended it, or broke it"

    __hash__ = object.__hash__


class Timer(Enum):
    """What a connection waits for."""

    HANDSHAKE = "a handshake in time"
    ACK = "when to tell what has come"
    CLIENT = "a sign of life in time"

    __hash__ = object.__hash__


STAGES: Final = {
    (Stage.HANDSHAKE, StageInput.AGREE): Stage.OPEN,
    (Stage.HANDSHAKE, StageInput.END): Stage.OVER,
    (Stage.OPEN, StageInput.LOSE): Stage.AWAY,
    (Stage.OPEN, StageInput.RESUME): Stage.OPEN,  # the newest socket wins
    (Stage.OPEN, StageInput.END): Stage.OVER,
    (Stage.AWAY, StageInput.RESUME): Stage.OPEN,
    (Stage.AWAY, StageInput.END): Stage.OVER,
}

TIMERS: Final[dict[Stage, tuple[Timer, ...]]] = {
    Stage.HANDSHAKE: (Timer.HANDSHAKE,),
    Stage.OPEN: (Timer.ACK, Timer.CLIENT),
    Stage.AWAY: (Timer.CLIENT,),
    Stage.OVER: (),
}
"""The timers that may be armed in a stage; entering it disarms all others."""


# Outputs ----------------------------------------------------------------------------------------


class Agreed(msgspec.Struct, frozen=True, gc=False):
    """The handshake succeeded: from now on the transport carries `protocol.format`, the answer included (§3.3)."""

    protocol: HubProtocol
    resumable: bool
    """Stateful reconnect is on: keep the connection when its socket is lost."""


class Transmit(msgspec.Struct, frozen=True, gc=False):
    """Write these frames, in order; one or more make a unit of the transport, and no frame may be cut (§2)."""

    frames: tuple[bytes, ...]
    numbered: bool = False
    """They count where messages are numbered (stateful reconnect), so `track` has to see them."""


class Interject(msgspec.Struct, frozen=True, gc=False):
    """Write this as soon as possible, before whatever waits; without a socket it is lost, which does no harm (§6.3)."""

    frame: bytes


class Begin(msgspec.Struct, frozen=True, gc=False):
    """The answer to the handshake is written: let sends to all reach this client, and run `on_connected` (§3.3)."""


class UploadEnd(msgspec.Struct, frozen=True, gc=False):
    """A stream that the client uploads has ended, with an error perhaps (§7.5)."""

    id: str
    error: str | None


class MayGoOn(msgspec.Struct, frozen=True, gc=False):
    """Senders that wait because of `must_wait` may go on (§6.4)."""


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The end: close the transport the normal way (WebSocket: code 1000), and forget the session."""

    reason: DisconnectReason
    error: str | None
    """What the application is told; None: it was an ordinary end (§7.1)."""
    connected: bool
    """There was a Begin, so that there is an `on_disconnected` to run."""


Event: TypeAlias = Invocation | StreamItem | UploadEnd | Completion | Cancel
"""What the client wants: a call, an item or the end of an upload, the result of a call of ours, no more items."""
Output: TypeAlias = Agreed | Transmit | Interject | Begin | MayGoOn | Finish | Event
"""What is to be done."""
