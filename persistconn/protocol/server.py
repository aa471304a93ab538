"""The endpoint: what an embedder drives. It routes requests to sessions and says what to do by `poll`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

from ..bus.post import Encoded
from ..bus.topic import connection, group
from ..bus.topics import Topics
from ..errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from ..settings import Settings
from ..wire.http import Message, Request
from ..wire.origin import OriginRule
from ..wire.tokens import Signer, Tokens, new_epoch
from .admission import ADMITTED, Admission
from .delivery import Delivery
from .exchange import Exchange
from .lifecycle import Lifecycle
from .outputs import AppEvent, Connected, DisconnectReason, Output, Received, Reconnected, Rejoining, Wait
from .reception import Reception, Route
from .session import Link, Session
from .statistics import EndpointStatistics, OnEnded
from .telling import TWO_CALLERS
from .terms import Terms

__all__ = ["ServerEndpoint"]

_CLOSED: Final = "The server closed this connection."
_GONE: Final = Link.GONE  # looking it up costs as much as making an event


class ServerEndpoint:
    """All connections of a process. No I/O, no clock, no chance: what happened is told, with the time.

    Its five rules:

    1. Tell, drain, wait. After any call, `poll()` until it returns `Wait(until)`; do what each output says;
       sleep until then, or until something happens.
    2. One transmit in flight per exchange. After a `Transmit` nothing more is said for its exchanges until
       `sent()`; what gathers meanwhile leaves as one batch.
    3. One event in flight per connection until `complete()`.
    4. Time only moves forward. A smaller `now` counts as the largest seen.
    5. One caller at a time. Nothing a peer sends makes a call raise. `LocalProtocolError` means that the
       embedder broke a rule, and nothing has changed.

    `secret_keys`: the first signs tokens, all verify them. `entropy(n)` gives n unpredictable bytes. `wall`
    is the time since the epoch, in seconds, at `now` = 0, for the expiry of tokens. `on_ended` is told of each
    connection that had a transport and has ended.

    >>> from persistconn.protocol import Route, ServerEndpoint, Transmit, Wait
    >>> from persistconn import Request
    >>> endpoint = ServerEndpoint([Route("/echo")], secret_keys=[b"0123456789abcdef"], entropy=lambda n: b"e" * n)
    >>> exchange = endpoint.open(Request("GET", "/echo/ping"), now=0.0)
    >>> endpoint.poll().pieces[1], endpoint.poll()
    (Chunk(b'{ "Response": "pong" }'), Wait(until=None))
    """

    def __init__(
        self,
        routes: Iterable[Route],
        settings: Settings | None = None,
        *,
        secret_keys: Sequence[bytes],
        entropy: Callable[[int], bytes],
        wall: float = 0.0,
        allowed_origins: Sequence[str] = (),
        on_ended: OnEnded | None = None,
    ) -> None:
        self.settings = settings or Settings()
        routes = list(routes)
        paths = [route.path.lower() for route in routes]
        for path in paths:
            if paths.count(path) > 1:
                raise ConfigurationError(f"two connections are mounted at {path!r}: give each a path of its own")
        self._high_water = self.settings.send_high_water
        self._high_water_bytes = self.settings.send_high_water_bytes
        self._wait = Wait(None)
        tokens = Tokens(Signer(secret_keys))
        self._topics = Topics(self.settings)
        epoch = new_epoch(entropy)
        self._delivery = Delivery(self.settings, self._topics, tokens, epoch, wall)
        self.events: deque[AppEvent] = self._delivery.events
        """What `poll` will say first: what the application is to be told. A host that deals with all there is before
        anything leaves may take events from the left here, and the rest by `poll_network`."""
        self.outputs: deque[Output] = self._delivery.outputs
        """What `poll` will say next; more may follow when this is empty, and after `sent`."""
        self._lifecycle = Lifecycle(self.settings, self._topics, self._delivery)
        self._lifecycle.on_ended = on_ended
        self._sessions = self._lifecycle.sessions
        self._reception = Reception(
            routes,
            self.settings,
            OriginRule(allowed_origins),
            tokens,
            epoch,
            wall,
            entropy,
            self._topics,
            self._delivery,
            self._lifecycle,
        )
        self._requests = self._reception.classic
        self.terms = Terms(self._topics, self._delivery, self._lifecycle)
        """What a layer above agrees with clients."""

    # What happened ------------------------------------------------------------------------------

    def open(
        self,
        request: Request,
        now: float,
        *,
        admission: Admission = ADMITTED,
        context: Any = None,
        pings: bool = False,
    ) -> Exchange:
        """A whole request came, or the request for a WebSocket. `context` is for the embedder.

        `pings`: the embedder can send a WebSocket ping and will call `pong`. `admission` is what the
        application thinks of the request.
        """
        delivery = self._delivery
        if now > delivery.now:
            delivery.now = now
        exchange = Exchange(request, context, pings=pings)
        self._reception.open(exchange, admission)
        return exchange

    def receive(self, exchange: Exchange, data: str | bytes, now: float) -> None:
        """A WebSocket message came on `exchange`. Afterwards look at `exchange.paused`."""
        self.receive_all(exchange, (data,), now)

    def receive_all(self, exchange: Exchange, messages: Sequence[str | bytes], now: float) -> None:
        """WebSocket messages came together. Afterwards look at `exchange.paused`."""
        delivery = self._delivery
        if now > delivery.now:
            delivery.now = now
        session = exchange.session
        if session is None or session.exchange is not exchange:
            return  # they came while we were ending the exchange
        exchange.unanswered = 0
        self._lifecycle.receive(session, exchange, messages)

    def pong(self, exchange: Exchange, now: float) -> None:
        """The peer of a WebSocket answered a ping."""
        self._at(now)
        exchange.unanswered = 0

    def sent(self, exchanges: Iterable[Exchange], now: float) -> None:
        """The last Transmit of each of these has been written (rule 2). Optional after an End."""
        delivery = self._delivery
        if now > delivery.now:
            delivery.now = now
        delivery.sent(exchanges)

    def lost(self, exchange: Exchange, now: float, *, graceful: bool = False) -> None:
        """The peer of `exchange`, or its socket, is gone; `graceful`: after a goodbye, the close frame of a WebSocket.
        Calling it again does nothing."""
        self._at(now)
        self._lifecycle.lost(exchange, graceful)

    def tick(self, now: float) -> None:
        """The Wait is over. Early or repeated ticks do nothing."""
        self._at(now)
        self._lifecycle.tick()

    # What the application wants -----------------------------------------------------------------

    def complete(
        self,
        event: AppEvent,
        now: float,
        *,
        answer: Sequence[str] | None = None,
        error: BaseException | None = None,
        hold: bool = False,
    ) -> None:
        """The application has dealt with `event`: with an `error`, or an `answer` (the groups of a Rejoining).

        `hold`: a `/send` stays open until `reply`.
        """
        delivery = self._delivery
        if now > delivery.now:
            delivery.now = now
        if type(event) is Received:
            self._lifecycle.completed(event)
            if not event.exchange.duplex and not hold:
                self._requests.answer_send(event.exchange, None, error)
            return
        session = self._lifecycle.completed(event)
        if isinstance(event, Rejoining):
            kept = () if error is not None else event.groups if answer is None else answer
            for name in kept:
                self._join(session, name)
            if not kept and session.link is not Link.GONE:  # the client's token must not outlive this answer
                self._lifecycle.groups_changed(session)
        elif isinstance(event, Connected | Reconnected):
            refusal = error if isinstance(event, Connected) else None
            self._lifecycle.flush()  # what on_connected sent leaves before the answer to /start
            self._requests.started(session, refusal)
            if refusal is not None:
                self._lifecycle.hang_up(session, DisconnectReason.aborted, _CLOSED, 1011)

    def proceed(self, event: Received, now: float) -> Received | None:
        """The same as `complete`, for a message that went well, by a host that deals with the next one at once.

        The connection's next message is given back, and not said by `poll`; None: there is none, or something else
        comes first.
        """
        exchange = event.exchange
        session = exchange.session
        if session is not None and session.event is event and session.exchange is exchange and not exchange.paused:
            # A WebSocket as it usually is: nothing else hangs on the end of a message.
            inbox = session.inbox
            if inbox is None:
                session.event = None
                return None
            if type(following := inbox[0]) is Received:
                session.event = following
                inbox.popleft()
                if not inbox:
                    session.inbox = None
                return following
        if now > self._delivery.now:
            self._delivery.now = now
        self._lifecycle.completed(event)
        if not exchange.duplex:
            self._requests.answer_send(exchange, None, None)
        return None

    def reply(self, event: Received, answer: Encoded | RemoteProtocolError, now: float) -> bool:
        """Answer a message directly: unwrapped on its WebSocket, or as the body of its `/send`.

        It may come long after `complete`; when the client has gone it is dropped. An error becomes the status and the
        text of the answer to a `/send`; on a WebSocket nothing is said. False: more than `send_high_water` replies wait
        for this client, and a Drained will follow.
        """
        self._at(now)
        exchange = event.exchange
        session = exchange.session
        if session is not None and session.traits.remembers_negotiation:  # nothing is a reply to something there
            return not isinstance(answer, Encoded) or self.send(session.id, answer, now) is not False
        if not exchange.duplex:
            if self._delivery.has_news:
                self._lifecycle.flush()  # what was sent before leaves before it
            if isinstance(answer, Encoded):
                self._requests.answer_send(exchange, answer, None)
            else:
                self._requests.answer_send(exchange, None, answer)
        elif (
            isinstance(answer, Encoded) and not exchange.ended and session is not None and session.exchange is exchange
        ):
            waiting = self._delivery.reply(session, Message(answer.json, text=True))
            if len(waiting) > 1:  # one alone may be as large as it likes
                if len(waiting) > self._high_water or session.replies_bytes > self._high_water_bytes:
                    session.awaited = True
                return not session.awaited
        return True

    def send(self, connection_id: str, payload: Encoded, now: float) -> bool | None:
        """Post to one connection. False: it is more than `send_high_water` behind, and a Drained will follow.

        None: there is no such connection, or it has ended; that is no error.
        """
        delivery = self._delivery
        if now > delivery.now:
            delivery.now = now
        session = self._sessions.get(connection_id)
        if session is None or session.link is _GONE:
            return None
        own = session.own
        if own is None:
            own = session.own = self._topics.subscribe(session, connection(connection_id))
        session.ahead = count = session.ahead + 1
        session.ahead_bytes = size = session.ahead_bytes + self._topics.post(own, payload, delivery.now).size
        if count <= self._high_water and size <= self._high_water_bytes:
            return True
        # That was a bound, which knows nothing of what has been taken in the meantime.
        count, size = session.ahead, session.ahead_bytes = self._topics.waiting(session, own, self._high_water + 1)
        if count <= self._high_water and size <= self._high_water_bytes:
            return True
        session.awaited = True
        if session.exchange is not None:
            self._delivery.look_at(session)
        return False

    def publish(self, topic: str, payload: Encoded, now: float, *, exclude: Collection[str] = ()) -> int:
        """Post to a topic (`bus.topic.everyone`, `group`), except to the ids in `exclude`. Gives its position."""
        self._at(now)
        return self._delivery.publish(topic, payload, exclude)

    def join(self, connection_id: str, group_name: str, now: float) -> None:
        """From now on the connection reads what is sent to the group. An id that is not known is no error."""
        self._at(now)
        session = self._alive(connection_id)
        if session is not None and not self._join(session, group_name):
            raise LocalProtocolError(
                f"connection {session.id} is in {self.settings.max_groups} groups already (max_groups)"
            )

    def _join(self, session: Session, name: str) -> bool:
        """False: it is in as many groups as it may."""
        if self._delivery.has_news:
            self._lifecycle.flush()  # what was sent before is not for it
        topic = group(session.route, name)
        if session.link is Link.GONE or session in self._topics.readers(topic):
            return True
        if self._topics.group_count(session, session.route) >= self.settings.max_groups:
            self._lifecycle.reactions["max_groups"] += 1
            return False
        self._topics.subscribe(session, topic)
        self._lifecycle.groups_changed(session)
        return True

    def leave(self, connection_id: str, group_name: str, now: float) -> None:
        """From now on the connection reads nothing more of the group. Not being in it is no error."""
        self._at(now)
        if self._delivery.has_news:
            self._lifecycle.flush()  # what was sent before is for it
        session = self._alive(connection_id)
        if session is None:
            return
        topic = group(session.route, group_name)
        if session in self._topics.readers(topic):
            self._topics.unsubscribe(session, topic)
            self._lifecycle.groups_changed(session)

    def close(self, connection_id: str, now: float, *, reason: str = "", allow_reconnect: bool = False) -> None:
        """End a connection; its client is told `reason`. With `allow_reconnect` only its transport ends."""
        self._at(now)
        self._lifecycle.flush()
        session = self._alive(connection_id)
        if session is None:
            return
        if not allow_reconnect:
            self._lifecycle.hang_up(session, DisconnectReason.aborted, reason or _CLOSED)
        else:
            self._lifecycle.release(session)

    def drain(self, now: float) -> None:
        """Shut down: no newcomers, every connection ends with `shutdown`, its client is told to come back."""
        self._at(now)
        self._lifecycle.flush()
        self._reception.newcomers.draining = True
        for session in list(self._lifecycle.sessions.values()):
            self._lifecycle.hang_up(session, DisconnectReason.shutdown)

    # What to do ---------------------------------------------------------------------------------

    def poll(self) -> Output:
        """The next thing to do; `Wait` when there is nothing more to do now.

        Events come before what leaves, so that what several events cause leaves together.
        """
        events = self.events
        return events.popleft() if events else self.poll_network()

    def poll_network(self) -> Output:
        """The same as `poll`, but for events, which stay."""
        outputs = self.outputs
        if not outputs:
            if self._topics.news or self._delivery.ready:
                self._lifecycle.flush()
            if not outputs:
                if not self._lifecycle.expects_age and not self._topics.is_empty:
                    self._lifecycle.expect_age()
                until = self._lifecycle.timers.next()
                if self._wait.until != until:
                    self._wait = Wait(until)
                return self._wait
        return outputs.popleft()

    def route_of(self, request: Request) -> Route | None:
        """The route that would take `request`; None: it would be answered 404."""
        return self._reception.route_of(request)

    def is_connected(self, connection_id: str) -> bool:
        """It has not ended."""
        return self._alive(connection_id) is not None

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._sessions)

    def statistics(self) -> EndpointStatistics:
        """How many connections there are, how they ended, which limits were met, what the rings hold."""
        return self._lifecycle.statistics()

    def _alive(self, connection_id: str) -> Session | None:
        session = self._lifecycle.sessions.get(connection_id)
        return None if session is None or session.link is Link.GONE else session

    def _at(self, now: float) -> None:
        if self._lifecycle.is_flushing:
            raise LocalProtocolError(TWO_CALLERS)
        if now > self._delivery.now:
            self._delivery.now = now
