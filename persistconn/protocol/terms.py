"""What a layer above the core agrees with a client: what is spoken, what is read, what is repeated, when to wake up."""

from __future__ import annotations

from ..bus.topic import named, named_of
from ..bus.topics import Topics
from ..wire.format import Format
from ..wire.http import Message
from ..wire.transports.aspnetcore import framing
from ..wire.transports.framing import numbered
from .delivery import Delivery
from .lifecycle import Lifecycle
from .replay import Replay
from .session import Link, Session

__all__ = ["Terms"]


class Terms:
    """`ServerEndpoint.terms`: for who builds a protocol on connections. Ids that are not known are no error.

    >>> from persistconn.protocol import Route, ServerEndpoint
    >>> endpoint = ServerEndpoint([Route("/echo")], secret_keys=[b"0123456789abcdef"], entropy=lambda n: b"e" * n)
    >>> endpoint.terms.is_resumable("nobody")
    False
    """

    def __init__(self, topics: Topics, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._topics = topics
        self._delivery = delivery
        self._lifecycle = lifecycle

    def speak(self, connection_id: str, format: Format, now: float) -> None:
        """From now on an ASP.NET Core connection is sent this form of every payload, also of what waits."""
        session = self._alive(connection_id, now)
        if session is None or not session.traits.remembers_negotiation:
            return
        self._lifecycle.flush()  # what can leave now is in the format before
        session.format = format
        self._reframe(session)

    def format_of(self, connection_id: str) -> Format | None:
        """What is spoken; None where it is classic, or the connection is not known."""
        session = self._lifecycle.sessions.get(connection_id)
        return None if session is None or not session.traits.remembers_negotiation else session.format

    def resume_with(self, connection_id: str, replay: Replay, now: float) -> None:
        """From now on the connection outlives its socket, and `replay` says what a new one begins with.

        Nothing changes where `is_resumable` is False.
        """
        session = self._alive(connection_id, now)
        if session is not None and self.is_resumable(connection_id):
            self._lifecycle.flush()  # what can leave now has no number
            session.replay = replay
            self._reframe(session)

    def is_resumable(self, connection_id: str) -> bool:
        """Its client negotiated stateful reconnect, and is there on a WebSocket."""
        session = self._lifecycle.sessions.get(connection_id)
        return session is not None and session.stateful and session.transport == "webSockets"

    def interject(self, connection_id: str, frame: bytes, now: float) -> None:
        """Send a frame out of turn and without a number on a WebSocket; dropped where there is none."""
        session = self._alive(connection_id, now)
        if session is not None and session.exchange is not None and session.exchange.duplex:
            message = Message(frame, text=not session.format.binary)
            self._delivery.reply(session, message, at_once=True)

    def go_on_sending(self, connection_id: str, now: float) -> None:
        """Its replay has room again."""
        session = self._alive(connection_id, now)
        if session is not None:
            self._delivery.look_at(session)

    def subscribe(self, connection_id: str, topic: str, now: float) -> None:
        """From now on the connection reads what is sent to a topic of its route, until it ends."""
        session = self._alive(connection_id, now)
        if session is not None:
            if self._delivery.has_news:
                self._lifecycle.flush()  # what was sent before is not for it
            self._topics.subscribe(session, named(session.route, topic))

    def topics_of(self, connection_id: str) -> tuple[str, ...]:
        """The topics that a connection reads, by name; none when it is not known."""
        session = self._lifecycle.sessions.get(connection_id)
        return () if session is None else named_of(session, session.route)

    def alarm(self, connection_id: str, at: float | None, now: float) -> None:
        """An `Alarm` comes at this time, once, and instead of any before; None: none does."""
        session = self._alive(connection_id, now)
        if session is None:
            return
        if at is None:
            self._lifecycle.timers.disarm(session, "alarm")
        else:
            self._lifecycle.timers.arm(session, "alarm", at)

    def react(self, limit: str) -> None:
        """Count in the statistics that a limit was met which somebody above looks after, by its name."""
        self._lifecycle.reactions[limit] += 1

    def _reframe(self, session: Session) -> None:
        exchange = session.exchange
        if exchange is not None and session.transport is not None:
            how = framing(session.transport, session.format)
            if session.replay is not None:
                how = numbered(how)
            if exchange.framing is not None and exchange.head is exchange.framing.head:
                exchange.head = how.head  # a poll that waits is answered as all others are
            exchange.framing = how

    def _alive(self, connection_id: str, now: float) -> Session | None:
        if now > self._delivery.now:
            self._delivery.now = now
        session = self._lifecycle.sessions.get(connection_id)
        return None if session is None or session.link is Link.GONE else session
