"""One HTTP request with its response, or one WebSocket, from first byte to last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..wire.http import Head, Piece, RawHeaders, Request

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
        "behind",
        "closing",
        "context",
        "duplex",
        "ended",
        "extra",
        "first",
        "foreign",
        "framing",
        "head",
        "idle",
        "in_flight",
        "parts",
        "paused",
        "pings",
        "request",
        "session",
        "unanswered",
        "unrepeated",
    )

    def __init__(self, request: Request, context: Any = None, *, pings: bool = False) -> None:
        self.request = request
        self.context = context
        self.pings = pings
        """The embedder can send a WebSocket ping and will tell of the pong."""
        self.paused = False
        """Read nothing more from it until `Resume`."""
        self.ended = False
        """Its last piece has been handed out, or it was lost."""
        self.extra: RawHeaders = ()
        """What every answer to this request says: the headers for its origin."""
        self.foreign = False
        """Refused: a page has made it whose origin is not allowed."""
        self.duplex = False
        """The client's messages come on it too; a request may ask for a WebSocket and not get one."""
        self.parts = False
        """Hand over what the client sends as it comes, cut anywhere: messages mean nothing here, their bytes do. To be
        set before the WebSocket is accepted; see `Http1Server.take_parts`."""
        self.framing: Framing | None = None
        self.session: Session | None = None
        self.idle = False
        """It carries a session that has been handed all there is: the next post may go out at once."""
        self.in_flight = 0
        """0: nothing; 1: a Transmit was handed out and `sent` has not been called; 2: nor since the last pulse."""
        self.behind = False
        """Something came while it was in flight: look again after `sent`."""
        self.head: Head | None = None
        """The head that leaves with the first piece, until it has left."""
        self.first: tuple[Piece, ...] = ()
        """What leaves right behind the head."""
        self.closing: tuple[Piece, ...] = ()
        """The last pieces, waiting for their turn (rule 2)."""
        self.unanswered = 0
        """Pings since the last sign of life."""
        self.unrepeated = False
        """It answers a poll with data that its client cannot ask for again, should the answer be lost."""

    @property
    def connection_id(self) -> str | None:
        """The connection it belongs to, once it is known."""
        return self.session.id if self.session is not None else None

    @property
    def log_extra(self) -> dict[str, str]:
        """What a log record about it has as `extra=`: `connection_id`, `transport` and `route`, empty where unknown."""
        session = self.session
        if session is None:
            return {"connection_id": "", "transport": "", "route": ""}
        return {"connection_id": session.id, "transport": session.tally.transport, "route": session.route}

    def __repr__(self) -> str:
        state = "ended" if self.ended else "in flight" if self.in_flight else "open"
        return f"<Exchange {self.request.method} {self.request.path} {state}>"
