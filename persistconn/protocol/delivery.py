"""What leaves next, and on which exchanges: fan-out, batches, and one transmit in flight (rule 2).

An exchange is *idle* when its session has been handed all there is. So when one topic has news, all its
idle readers are at the same place and get the same bytes in one Transmit. Whoever is not idle pulls later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

from ..bus.post import Encoded, Post
from ..bus.topic import Topic
from ..bus.topics import Topics
from ..errors import LocalProtocolError
from ..settings import Settings
from ..wire.aspnetcore_answers import empty_poll, over
from ..wire.classic_answers import plain_envelope
from ..wire.http import End, Head, Message, Piece, RawHeaders
from ..wire.tokens import Tokens
from ..wire.transports import Framing
from .batches import Aftermath, Batches, size_of, units, within_reach
from .exchange import Exchange
from .outputs import AppEvent, Output, Transmit
from .session import Due, Session

__all__ = ["Delivery"]

_END = End()


class Delivery:
    """Hands out what sessions have to read."""

    def __init__(self, settings: Settings, topics: Topics, tokens: Tokens, epoch: str, wall: float) -> None:
        self.now = 0.0
        self.events: deque[AppEvent] = deque()
        """What the application has to be told."""
        self.outputs: deque[Output] = deque()
        """What the network has to do."""
        self._topics = topics
        self._batches = Batches(settings, tokens, epoch, wall)
        self._opening = self._batches.opening
        self.ready: dict[Session, None] = {}
        """Sessions to be looked at one by one."""

    # What there is to say -----------------------------------------------------------------------

    def publish(self, name: str, payload: Encoded, exclude: Collection[str] = ()) -> int:
        """Post to a topic; it leaves with the next flush. Gives its position."""
        self._topics.publish(name, payload, self.now, exclude)
        return self._topics.head

    def want(self, session: Session, due: int) -> None:
        """Put `due` into the next envelope of `session`."""
        session.due |= due
        self.look_at(session)

    def look_at(self, session: Session) -> None:
        """Something has changed for `session`: see in the next flush what leaves, or after `sent`."""
        exchange = session.exchange
        if exchange is None:
            return  # whatever carries it next begins with a look
        if exchange.in_flight:
            exchange.behind = True
        else:
            exchange.idle = False
            self.ready[session] = None

    def reply(self, session: Session, message: Message, *, at_once: bool = False) -> list[Message]:
        """A message of its own, outside envelopes, on a duplex transport. Gives all that wait.

        It leaves behind what was sent before it, or `at_once`.
        """
        if session.replies is None:
            session.replies = []
            session.replies_bytes = 0
        session.replies.append(message)
        session.replies_bytes += len(message.data)
        session.replies_position = 0 if at_once else self._topics.head
        self.look_at(session)
        return session.replies

    # Exchanges ----------------------------------------------------------------------------------

    def attach(self, session: Session, exchange: Exchange, framing: Framing, extra: RawHeaders) -> None:
        """Let `exchange` carry `session`."""
        exchange.framing = framing
        exchange.duplex = framing.duplex
        exchange.session = session
        exchange.pings = exchange.pings and framing.duplex and session.traits.pings
        exchange.head = Head(framing.head.status, framing.head.headers + extra) if extra else framing.head
        session.exchange = exchange
        session.replies = None  # they answered what came on the transport before
        self.look_at(session)

    def answer(self, exchange: Exchange, pieces: tuple[Piece, ...]) -> None:
        """A whole answer, from Head to End."""
        exchange.ended = True
        exchange.in_flight = 1
        self.outputs.append(Transmit([exchange], pieces))

    def displace(self, session: Session) -> None:
        """End the exchange of `session` because a newer one takes over: what is not sent goes there."""
        self._finish(session, [])

    def hang_up(self, session: Session, code: int = 1000) -> None:
        """End the exchange of `session` for good, with what it has not been handed and what is due."""
        exchange = session.exchange
        assert exchange is not None and exchange.framing is not None
        posts = self._topics.take_all(session)
        last: list[Piece] = []
        if session.due & (Due.FAREWELL | Due.HINT) or posts:
            last += self._batches.own(session, exchange.framing, posts, self.now)
        if session.replies:
            last += session.replies
            session.tally.messages_out += len(session.replies)
            session.replies = None
        session.tally.messages_out += len(posts)
        session.tally.bytes_out += size_of(last)
        self._finish(session, last, code)

    def rest(self, session: Session) -> bytes:
        """What a connection that polls is still to be told at its end: an answer for when it asks."""
        forms = [post.payload.form(session.format.name) for post in self._topics.take_all(session)]
        if session.due & Due.FAREWELL:
            forms.append(session.format.farewell or b"")
        return b"".join(forms)

    def _finish(self, session: Session, last: list[Piece], code: int = 1000) -> None:
        exchange = session.exchange
        assert exchange is not None and exchange.framing is not None
        session.exchange = None
        self.ready.pop(session, None)
        framing = exchange.framing
        pieces: tuple[Piece, ...] = (*last, _END if code == 1000 else End(code))
        if not last and not framing.streaming:  # a long poll is always answered
            if framing.format is None:
                pieces = (framing.frame(self._batches.nothing(session.position)), _END)
            else:
                exchange.head = None
                pieces = over(exchange.extra)
        exchange.idle = False
        if exchange.in_flight:
            exchange.closing = pieces
        else:
            self._transmit(exchange, (*self.head_of(exchange), *pieces))
            exchange.ended = True

    def sent(self, exchanges: Iterable[Exchange]) -> None:
        """The last Transmit of each of these has been written."""
        for exchange in exchanges:
            if not exchange.in_flight:
                if exchange.ended:
                    continue
                raise LocalProtocolError(
                    f"sent() for {exchange!r}, which has no Transmit in flight: call it once for each Transmit, when"
                    " that is written (rule 2)"
                )
            exchange.in_flight = 0
            if exchange.closing:
                closing, exchange.closing = exchange.closing, ()
                self._transmit(exchange, closing)
                exchange.ended = True
            elif exchange.behind:
                exchange.behind = False
                session = exchange.session
                if session is not None and session.exchange is exchange:
                    self.ready[session] = None
            else:
                exchange.idle = not exchange.ended

    def head_of(self, exchange: Exchange) -> tuple[Piece, ...]:
        """What has to go before the first piece."""
        head = exchange.head
        if head is None:
            return ()
        exchange.head = None
        assert exchange.framing is not None
        first, exchange.first = exchange.first, ()
        return (head, *exchange.framing.opening, *first)

    def _transmit(self, exchange: Exchange, pieces: tuple[Piece, ...]) -> None:
        exchange.idle = False
        exchange.in_flight = 1
        self.outputs.append(Transmit([exchange], pieces))

    # The batch that leaves next -----------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Posts wait for a flush; who joins or leaves a topic now must not change who gets them."""
        return bool(self._topics.news)

    def flush(self) -> Aftermath | None:
        """Hand out everything that can leave now. None: nothing happened to any session but that."""
        released: list[Session] = []
        if self._topics.news:
            is_shared = self._topics.news_is_shared
            news = self._topics.take_news()
            if not is_shared or len(news) == 1:  # so nobody reads two of them
                for topic in news:
                    posts, topic.news = topic.news, None
                    assert posts is not None
                    if topic.is_private:
                        self._hand_over(topic, posts, released)
                    else:
                        self._fan_out(topic, posts, topic.readers, released)
            else:
                self._fan_out_many(news, released)
        if not self.ready and not released:
            return None
        after = Aftermath(released)
        while self.ready:
            ready, self.ready = self.ready, {}
            for session in ready:
                self._serve(session, after)
        return after

    def _hand_over(self, topic: Topic, posts: list[Post], released: list[Session]) -> None:
        """Hand posts to the one who reads them: the same as `_fan_out`, and what an echo costs."""
        topics = self._topics
        for session in topic.readers:  # one, or none any more
            exchange = session.exchange
            if exchange is None:
                continue
            framing = exchange.framing
            payloads = topics.fit_together(topic, posts) if exchange.idle else None
            if payloads is None or not (framing.alike or self._answers_alike(exchange, framing)):
                self._hold(session, exchange)
                continue
            exchange.idle = False
            exchange.in_flight = 1
            session.position = session.told = head = topics.head
            pieces: tuple[Piece, ...]
            if framing.format is None:
                pieces = (framing.frame(plain_envelope(self._opening, head, payloads)),)
            elif len(posts) == 1:
                payload, name = posts[0].payload, framing.format.name
                form = payload.json if payload.forms is None and name != "raw" else payload.form(name)
                pieces = (framing.frame(form),)
            else:
                pieces = tuple(units(framing, [post.payload for post in posts]))
            tally = session.tally
            tally.messages_out += len(posts)
            for piece in pieces:
                tally.bytes_out += len(piece.data)  # type: ignore[union-attr]  # what framings make has it
            if not framing.streaming:
                self._answered(session, exchange, released)
                pieces = (framing.head, *framing.opening, *pieces, _END)
            self.outputs.append(Transmit([exchange], pieces))

    def _fan_out_many(self, news: list[Topic], released: list[Session]) -> None:
        """Who has news from one topic only gets what all such readers get; the others pull."""
        only: dict[Session, Topic | None] = {}
        for topic in news:
            for reader in topic.readers:
                only[reader] = None if reader in only else topic
        by_topic: dict[Topic, list[Session]] = {}
        for session, single in only.items():
            if single is not None:
                by_topic.setdefault(single, []).append(session)
            elif session.exchange is not None:
                self._hold(session, session.exchange)
        for topic, sessions in by_topic.items():
            assert topic.news is not None
            self._fan_out(topic, topic.news, sessions, released)
        for topic in news:
            topic.news = None

    def _hold(self, session: Session, exchange: Exchange) -> None:
        if exchange.idle:
            exchange.idle = False
            self.ready[session] = None
        else:
            exchange.behind = True

    def _fan_out(self, topic: Topic, posts: list[Post], readers: Iterable[Any], released: list[Session]) -> None:
        """Hand the same posts to every idle reader; the loop is what a broadcast costs per connection."""
        payloads = self._topics.fit_together(topic, posts)
        excluded = {id for post in posts if post.exclude is not None for id in post.exclude}
        head = self._topics.head
        lanes: dict[Framing, list[Exchange]] = {}
        framing: Any = None  # that of the reader before; none is None
        lane: list[Exchange] = []
        for session in readers:
            exchange = session.exchange
            if exchange is None:
                continue
            if not exchange.idle or payloads is None or (excluded and session.id in excluded):
                self._hold(session, exchange)
                continue
            if exchange.framing is not framing:  # most readers have the same as the one before
                framing = exchange.framing
                lane = lanes.setdefault(framing, [])
            if not framing.alike:
                if not self._answers_alike(exchange, framing):
                    self._hold(session, exchange)
                    continue
                self._answered(session, exchange, released)
            exchange.idle = False
            exchange.in_flight = 1
            session.position = session.told = head
            lane.append(exchange)
        if payloads is not None:
            self._send_lanes(lanes, payloads, posts)

    def _answers_alike(self, exchange: Exchange, framing: Framing) -> bool:
        """It is a poll, and its answer would be the same, from its head on, as to others."""
        return exchange.head is framing.head and not framing.numbered and self._batches.is_plain(framing)

    def _answered(self, session: Session, exchange: Exchange, released: list[Session]) -> None:
        """One envelope is the whole answer to a poll: nobody is on the line after it."""
        exchange.head = None
        exchange.ended = True
        exchange.unrepeated = session.traits.remembers_negotiation
        session.exchange = None
        released.append(session)

    def _send_lanes(self, lanes: dict[Framing, list[Exchange]], payloads: list[bytes], posts: list[Post]) -> None:
        made = plain_envelope(self._opening, self._topics.head, payloads)
        known: dict[Callable[[bytes], Piece], Piece] = {}
        for framing, exchanges in lanes.items():
            if not exchanges:
                continue
            pieces: tuple[Piece, ...]
            if framing.format is None:
                frame = framing.frame
                piece = known.get(frame)
                if piece is None:
                    piece = known[frame] = frame(made)
                pieces = (piece,)
            else:
                pieces = tuple(units(framing, [post.payload for post in posts]))
            tally: Any = exchanges[0].session.tally  # type: ignore[union-attr]  # they are all on the same transport
            tally.messages_out += len(exchanges) * len(posts)
            tally.bytes_out += len(exchanges) * size_of(pieces)
            whole = pieces if framing.streaming else (framing.head, *framing.opening, *pieces, _END)
            self.outputs.append(Transmit(exchanges, whole))

    def _serve(self, session: Session, after: Aftermath) -> None:
        """Hand one session what it has not seen and what is due."""
        exchange = session.exchange
        if exchange is None:
            return
        if exchange.in_flight:
            exchange.behind = True
            return
        batch = self._topics.pull(session)
        if batch.missed != 0:
            after.gaps.append((session, batch.missed))
            return
        if session.replay is not None:
            batch = within_reach(batch, session.replay, session)
        framing = exchange.framing
        assert framing is not None
        session.position = batch.position
        pieces: list[Piece] = []
        if batch.posts or session.due:
            pieces += self._batches.own(session, framing, batch.posts, self.now)
            session.told = batch.position
            if not pieces and not framing.streaming:  # the time of a poll is over
                exchange.head = None
                pieces += empty_poll(exchange.extra)
                self._answered(session, exchange, after.released)
                exchange.unrepeated = False
        if session.replies and batch.position >= session.replies_position:
            pieces += session.replies
            session.tally.messages_out += len(session.replies)
            session.replies = None
        if pieces:
            session.tally.messages_out += len(batch.posts)
            session.tally.bytes_out += size_of(pieces)
        if pieces and not framing.streaming and session.exchange is exchange:
            pieces = [*self.head_of(exchange), *pieces, _END]
            self._answered(session, exchange, after.released)
        if pieces or (exchange.head is not None and framing.streaming):
            self._transmit(exchange, (*self.head_of(exchange), *pieces))
            exchange.behind = batch.position < self._topics.head
        else:
            exchange.idle = True
        if session.awaited:
            after.caught_up.append(session)
