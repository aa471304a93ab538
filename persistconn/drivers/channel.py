"""One TCP connection: bytes in, requests and messages to the host, pieces out, and how long each may take.

A stream driver subclasses `Channel` and provides the six methods of `Stream`. All else is here and in `Lifetime`, so
that the drivers cannot disagree. Nothing in this file waits: the drivers call it, and it calls the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final

from ..protocol.http1 import Closed, Phase, Pong
from ..wire.http import Chunk, End, Head, Message, Request
from .lifetime import GONE, LEAVING, OPEN, Lifetime

if TYPE_CHECKING:
    from ..protocol.exchange import Exchange
    from ..protocol.websocket import WebSocket
    from ..wire.http import Piece
    from .state import ServerState

__all__ = ["Channel"]

REPLIES: Final = 65_536
"""A peer that has this much unread and still makes us answer (pings, bad requests) is cut."""


class Channel(Lifetime):
    """One TCP connection, and the host's `Link` for the exchange on it."""

    # fmt: off
    __slots__ = (
        "_began", "_feed_again", "_feeding", "_host", "_opening", "_reading", "_request", "_sent", "_simple", "_status",
    )
    # fmt: on

    def __init__(self, state: ServerState, *, client: tuple[str, int] | None = None, scheme: str = "http") -> None:
        super().__init__(state, client, scheme)
        self._host = state.host
        self._opening: Request | None = None
        """A request that was given to the host, while its exchange is not known yet."""
        self._simple: type[Message] | type[Chunk] | None = None
        """The kind of piece of which one alone leaves as it is: Message on a WebSocket, Chunk in a chunked answer."""
        self._reading = True
        self._feeding = False
        self._feed_again = False
        self._request: Request | None = None
        """What the access log will have a line about."""
        self._status: int | None = None
        self._began = 0.0
        self._sent = 0
        state.channels.add(self)
        self._watch()

    # What the stream tells ----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self.hear(data):
            self._host.pump()

    def hear(self, data: bytes) -> bool:
        """Bytes came. True: `host.pump` is due, once for all that came together."""
        frames = self._frames
        if frames is None:
            return self._stage == OPEN and self._feed(data)
        messages = frames.receive(data)
        if frames.odd:
            return self._odd_frames(frames, messages)
        exchange = self._exchange
        if not messages or exchange is None:
            return False
        self._host.receive(exchange, messages)  # type: ignore[arg-type]  # nothing but messages: else it would be odd
        if exchange.paused:
            self._steer()
        return True

    def _odd_frames(self, frames: WebSocket, events: Sequence[Any]) -> bool:
        """There were control frames among them, or the last."""
        self.http.take_over(frames)
        if not self._deal_and_reply(events, self.http.data_to_send()):
            return False
        self._settle()
        return bool(events)

    def eof_received(self) -> bool:
        """The peer sends no more. True: keep the socket, an answer is still being made; else finish and close."""
        self._eof = True
        if self._stage == OPEN and self._opening is not None:
            return True  # a client that closed its half after the request still wants the answer
        # Nobody can tell a closed half from a closed client, and a held request of a closed client must not
        # take the messages of the next one; so what was not answered at once is lost.
        self._leave()
        self._drop()
        self._host.pump()
        return False

    def connection_lost(self, exc: Exception | None = None) -> None:
        """The socket is gone, whoever closed it."""
        if self._stage != GONE:
            self._stage = GONE
            self._frames = None
            self.deadline = inf
            self._drop()
            self._state.forget(self)
            self._host.pump()

    def write_ready(self) -> None:
        """Everything written has left."""
        if not self._mark and self._stage == OPEN:
            return  # it was written before `write` returned, so nobody waits for it
        exchange = self._unsent
        self._unsent = None
        self._mark = 0
        if self._stage == LEAVING:
            self.deadline = self._state.clock() + self._state.settings.close_timeout
        elif self._stage == OPEN:
            self._watch()
            if exchange is not None:
                self._host.sent(exchange)
            if self._opening is None and (self._exchange is None or self.http.websocket):
                self._next()
            self._steer()
            self._host.pump()

    # What the host asks for (its Link) ----------------------------------------------------------

    def transmit(self, exchange: Exchange, pieces: tuple[Piece, ...]) -> bool:
        """Write `pieces` now. True: all gone. False: `host.sent` will follow, or `host.lost`."""
        if exchange is self._exchange and len(pieces) == 1:
            piece: Any = pieces[0]
            if type(piece) is self._simple:
                wire: bytes = piece.wire or piece.to_wire()
                self._sent += len(wire)
                if self.write(wire):
                    return True
                self._stall(exchange)
                return False
        return self._answer(exchange, pieces)

    def abandon(self) -> None:
        """Cut, without a word to the host: it knows."""
        self._over(cut=True)
        self._unsent = None
        if self._stage != GONE:
            self.cut()

    def resume(self) -> None:
        """The host has room for messages again."""
        self._steer()

    def _drop(self) -> None:
        """The exchange, if there is one, is lost."""
        exchange = self._unsent or self._exchange
        self._over(cut=True)
        self._unsent = None
        if exchange is not None:
            self._host.lost(exchange)

    def _over(self, *, cut: bool = False) -> None:
        """The exchange has ended: write its line in the access log."""
        exchange, self._exchange, self._simple = self._exchange, None, None
        request, self._request = self._request, None
        if request is not None:
            duration = self._state.clock() - self._began
            self._state.log.exchange(request, self._status, self._sent, duration, cut=cut, exchange=exchange)

    # In -------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> bool:
        """Give bytes to HTTP, and what they are to the host. True: `host.pump` is due."""
        if self._feeding:  # an answer was complete before `open_nowait` returned; the loop below goes on
            self._feed_again = True
            return False
        self._feeding = True
        told = False
        http = self.http
        try:
            while True:
                events = http.receive(data)
                told = told or bool(events)
                if len(events) == 1 and type(events[0]) is Request:  # alone: a request is nothing to reply to
                    self._open(events[0])
                elif not self._deal_and_reply(events, http.data_to_send()):
                    break
                if not self._feed_again:
                    break
                self._feed_again = False
                data = b""
        finally:
            self._feeding = False
        if self._stage == OPEN:
            self._settle()
        return told

    def _deal_and_reply(self, events: Sequence[Any], answer: bytes) -> bool:
        """Pongs go before what the events cause to be written; a close frame goes behind it. False: it was cut."""
        last = bool(events) and type(events[-1]) is Closed
        if answer and not last and not self._reply(answer):
            return False
        self._deal(events)
        return not answer or not last or self._reply(answer)

    def _deal(self, events: Sequence[Any]) -> None:
        host = self._host
        messages: list[str | bytes] = []
        for event in events:
            kind = type(event)
            if kind is str or kind is bytes:
                messages.append(event)
                continue
            if messages:
                self._receive(messages)
                messages = []
            exchange = self._exchange
            if kind is Request:
                self._open(event)
            elif exchange is None:
                pass  # it was lost: nobody is left to be told
            elif kind is Pong:
                host.pong(exchange)
            else:  # Closed: the peer ended the WebSocket, well or badly
                self._over()
                self._unsent = None
                host.lost(exchange, graceful=event.by_peer)
        if messages:
            self._receive(messages)

    def _receive(self, messages: list[str | bytes]) -> None:
        if self._exchange is not None:
            self._host.receive(self._exchange, messages)

    def _open(self, request: Request) -> None:
        state = self._state
        self._phase = Phase.ANSWERING
        if not self._mark:
            self.deadline = inf
        if state.root_path:
            state.put_back_root(request)
        if state.log.enabled:
            self._request = request
            self._status = None
            self._sent = 0
            self._began = state.clock()
        self._opening = request
        exchange = self._host.open_nowait(request, self, pings=True)
        if exchange is not None:
            if self._opening is request:  # else its answer has begun, and `transmit` has seen it
                self._opening = None
                self._exchange = exchange
        else:
            state.spawn(self._open_later, request)

    async def _open_later(self, request: Request) -> None:
        try:
            exchange = await self._host.open(request, self, pings=True)
        except Exception:
            self.cut()  # the host answers for the application, so this is a fault of ours: the caller logs it
            raise
        if self._stage == GONE:
            self._host.lost(exchange)
        else:
            if self._opening is request:
                self._opening = None
                self._exchange = exchange
            self._host.pump()  # what is answered at once is answered before a closed half counts as a loss
            if self._eof and self._stage == OPEN and self._opening is None and not self.eof_received():
                self.finish(linger=False)
        self._host.pump()

    def _next(self) -> bool:
        """The exchange is over and written: look at what came in the meantime. True: `host.pump` is due."""
        http = self.http
        if http.closing:
            self._hang_up()
            return False
        if http.pending:
            return self._feed(b"")
        self._settle()
        return False

    def _settle(self) -> None:
        http = self.http
        if http.closing:
            self._hang_up()
            return
        if http.phase is not self._phase:
            self._watch()
        if http.websocket:
            self._frames = http.frames
        exchange = self._exchange
        if not self._reading or not http.wants_data or self._unsent is not None or (exchange and exchange.paused):
            self._steer()  # nearly always we read and go on reading

    def _steer(self) -> None:
        """Read, or let the peer wait."""
        exchange = self._exchange
        reading = self._stage != OPEN or (
            self.http.wants_data
            and not (exchange is not None and exchange.paused)
            and (exchange is not None or self._unsent is None)  # first the old answer, then a new request
        )
        if reading is not self._reading:
            self._reading = reading
            if reading:
                self.resume_reading()
            else:
                self.pause_reading()

    # Out ------------------------------------------------------------------------------------

    def _answer(self, exchange: Exchange, pieces: tuple[Piece, ...]) -> bool:
        if exchange is not self._exchange:
            if self._opening is None or self._stage == GONE:
                return True  # it was lost a moment ago: there is nobody to write to
            self._opening = None
            self._exchange = exchange
        http = self.http
        data = http.send(pieces)
        self._sent += len(data)
        first, last = pieces[0], pieces[-1]
        if type(first) is Head:
            self._status = first.status
        written = not data or self.write(data)
        if not written:
            self._stall(exchange)
        if type(last) is End:
            self._over()
        elif self._simple is None and http.websocket:
            self._simple = Message
            if exchange.parts:
                http.take_parts()
        else:
            if http.chunking:
                self._simple = Chunk
            return written
        if written and self._stage == OPEN:
            self._next()
        else:
            self._steer()
        return written

    def _reply(self, answer: bytes) -> bool:
        """Write what the peer has caused. False: it causes too much and reads nothing."""
        if self.unwritten() > REPLIES:
            self.cut()
            return False
        if not self.write(answer):
            self._stall(None)
        return True
