"""One HTTP request with its response, or one WebSocket, from first byte to last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..wire.http import Request

if TYPE_CHECKING:
    from ..wire.transports import Framing
    from .session import Session

__all__ = ["Exchange"]


class Exchange:
    """What `ServerEndpoint.open` gives back; name it in every later call about this request.

    `context` is a slot for the embedder's own object (a socket, a task), so no table is needed to get
    from an exchange to it. The endpoint never looks at it.
    """

    __slots__ = (
        "closing",
        "context",
        "ended",
        "flight_began",
        "framing",
        "head",
        "in_flight",
        "paused",
        "pings",
        "request",
        "session",
        "unanswered",
        "__weakref__",
    )

    def __init__(self, request: Request, context: Any = None, *, pings: bool = False) -> None:
        self.request = request
        self.context = context
        self.pings = pings
        """The embedder can send a WebSocket ping and will tell of the pong."""
        self.framing: Framing | None = None
        self.session: Session | None = None
        self.in_flight = False
        """A Transmit was handed out and `sent` has not been called."""
        self.flight_began = 0.0
        self.paused = False
        """Read nothing more from it until `Resume`."""
        self.head: Any = None
        """The Head that leaves with the first piece, until it has left."""
        self.closing: Any = None
        """The End that waits for its turn (rule 2)."""
        self.ended = False
        self.unanswered = 0
        """Keep-alive ticks since the last ping that had no pong."""

    @property
    def connection_id(self) -> str | None:
        """The connection it belongs to, once it is known."""
        return self.session.id if self.session is not None else None

    def __repr__(self) -> str:
        state = "ended" if self.ended else "in flight" if self.in_flight else "idle"
        return f"<Exchange {self.request.method} {self.request.path} {state}>"
