"""How envelopes ride on an exchange, as a value that the core can use without knowing which transport it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from ..format import Format
from ..http import Head, Piece, RawHeaders

__all__ = ["STREAM_HEADERS", "Framing", "numbered", "streaming_head"]

STREAM_HEADERS: Final[RawHeaders] = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Cache-Control", b"no-cache, no-store"),
    (b"X-Accel-Buffering", b"no"),  # nginx would hold the stream back
)
"""On everything that is sent bit by bit: do not guess its type, keep it or hold it back."""


def streaming_head(content_type: bytes) -> Head:
    """The head of a streamed answer."""
    return Head(200, ((b"Content-Type", content_type), *STREAM_HEADERS))


@dataclass(frozen=True, slots=True, eq=False)
class Framing:
    """One transport's way to write. Framings with the same `frame` write the same bytes for the same envelope."""

    name: str
    """The name clients know: `webSockets`, `serverSentEvents`, `longPolling` or `foreverFrame`."""
    duplex: bool
    """The client's messages come on it too."""
    streaming: bool
    """Many envelopes per exchange; False: the first one ends it."""
    head: Head
    """Accepts the exchange."""
    opening: tuple[Piece, ...]
    """Follows the head at once."""
    frame: Callable[[bytes], Piece]
    """Puts an envelope, or a unit of whole frames, on the wire."""
    keep_alive: Piece | None
    """A sign of life; None where there is no room for one."""
    format: Format | None = None
    """What is framed; None: classic's envelopes."""
    numbered: bool = False
    """Each connection counts what it is sent (stateful reconnect), so it is served on its own."""
    alike: bool = field(init=False)
    """What is new can be handed to all its readers at once, without a look at each."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "alike", self.streaming and not self.numbered)

    def __repr__(self) -> str:
        return f"<Framing {self.name}>"


@lru_cache(maxsize=64)
def numbered(framing: Framing) -> Framing:
    """The same, for connections that count what they are sent."""
    return replace(framing, numbered=True)
