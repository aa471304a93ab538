"""One TCP connection: bytes in, requests and messages to the host, pieces out, and how long each may take.

A stream driver subclasses `Channel` and provides the six methods of `Stream`. All else is here, so that three
drivers cannot disagree. Nothing in this file waits: the drivers call it, and it calls the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final

from ..protocol.http1 import Closed, Http1Server, Phase, Pong
from ..wire.http import End, Head, Message, Request
from .stream import Stream

if TYPE_CHECKING:
    from ..protocol.exchange import Exchange
    from ..wire.http import Piece
    from .state import ServerState

__all__ = ["Channel"]

PACE: Final = 16_384
"""In each `write_deadline` a peer takes at least this much of a backlog, or all of it, or it is cut."""
REPLIES: Final = 65_536
"""A peer that has this much unread and still makes us answer (pings, bad requests) is cut."""

# How far the end of a channel has come.
OPEN: Final = 0
LEAVING: Final = 1
"""Our half is closed, or will be when the backlog has left; what the peer still says is thrown away. Closing the
whole socket at once would reset it, and a reset can overtake the answer (RFC 9112 §9.6)."""
GONE: Final = 2

UNFINISHED: Final = (Phase.IDLE, Phase.HEAD, Phase.BODY)


class Channel(Stream):
    """One TCP connection, and the host's `Link` for the exchange on it."""

    # fmt: off
    __slots__ = (
        "_began", "_eof", "_exchange", "_feed_again", "_feeding", "_host", "_mark", "_opening", "_phase", "_reading",
        "_request", "_sent", "_stage", "_state", "_status", "_unsent", "_websocket", "client", "deadline", "http",
    )
    # fmt: on

    def __init__(self, state: ServerState, *, client: tuple[str, int] | None = None, scheme: str = "http") -> None:
        self.client = client
        self.http = Http1Server(state.settings, client=client, scheme=scheme, clock=state.clock)
        self.deadline = inf
        """On the server's clock; `expire` is called soon after. Infinity: none."""
        self._state = state
        self._host = state.host
        self._stage: int = OPEN
        self._phase: Phase | None = None
        self._exchange: Exchange | None = None
        self._opening: Request | None = None
        """A request that was given to the host, while its exchange is not known yet."""
        self._unsent: Exchange | None = None
        """The exchange of which `transmit` returned False: `sent` is due."""
        self._mark = 0
        """The backlog when its deadline was set."""
        self._websocket = False
        self._reading = True
        self._eof = False
        self._feeding = False
        self._feed_again = False
        self._request: Request | None = None
        self._status: int | None = None
        self._began = 0.0
        self._sent = 0
        state.channels.add(self)
        self._watch()

    # What the stream tells ----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._stage != OPEN:
            return
        if not self._websocket:
            if self._feed(data):
                self._host.pump()
            return
        http = self.http
        events = http.receive(data)
        answer = http.data_to_send()
        if answer:
            if not self._deal_and_reply(events, answer):
                return
        elif events:
            self._deal(events)
        if http.closing or http.phase is not self._phase:
            self._settle()
        elif self._exchange is not None and self._exchange.paused:
            self._steer()
        if events:
            self._host.pump()

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
            if self._opening is None and (self._exchange is None or self._websocket):
                self._next()
            self._steer()
            self._host.pump()

    # What the host asks for (its Link) ----------------------------------------------------------

    def transmit(self, exchange: Exchange, pieces: tuple[Piece, ...]) -> bool:
        """Write `pieces` now. True: all gone. False: `host.sent` will follow, or `host.lost`."""
        if exchange is not self._exchange:
            if self._opening is None or self._stage == GONE:
                return True  # it was lost a moment ago: there is nobody to write to
            self._opening = None
            self._exchange = exchange
        if self._websocket and len(pieces) == 1:
            piece = pieces[0]
            if type(piece) is Message:
                frame = piece.frame
                self._sent += len(frame)
                if self.write(frame):
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

    # Ends -----------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """The deadline has passed: what follows depends on what was waited for."""
        left = self.unwritten()
        if left:
            taken = self._mark - left
            if taken >= PACE:
                self._mark = left
                self.deadline = now + self._write_time()
            else:
                self.deadline = inf
                self.cut()
        elif self._stage != OPEN or self._phase not in UNFINISHED:
            self.deadline = inf
            self.cut()
        else:
            answer = self.http.time_out()
            if answer:
                self.write(answer)
            self._hang_up()

    def drain(self) -> None:
        """Take no further request: close now, or with the answer that is being made."""
        if self._stage == OPEN:
            self.http.drain()
            if self.http.closing and not self._mark:
                self._hang_up()

    def _hang_up(self) -> None:
        if self.http.refused is not None:
            self._state.log.refused(self.client, self.http.refused)
        self._leave()
        self.finish(linger=not self._eof)

    def _leave(self) -> None:
        if self._stage == OPEN:
            self._stage = LEAVING
            self._steer()
            self._mark = self.unwritten()
            time = self._write_time() if self._mark else self._state.settings.close_timeout
            self.deadline = self._state.clock() + time

    def _drop(self) -> None:
        """The exchange, if there is one, is lost."""
        exchange = self._unsent or self._exchange
        self._over(cut=True)
        self._unsent = None
        if exchange is not None:
            self._host.lost(exchange)

    def _over(self, *, cut: bool = False) -> None:
        """The exchange has ended: write its line in the access log."""
        self._exchange = None
        request, self._request = self._request, None
        if request is not None:
            duration = self._state.clock() - self._began
            self._state.log.exchange(request, self._status, self._sent, duration, cut=cut)

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
                answer = http.data_to_send()
                told = told or bool(events)
                if not self._deal_and_reply(events, answer) or not self._feed_again:
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
        for event in events:
            exchange = self._exchange
            kind = type(event)
            if kind is str or kind is bytes:
                if exchange is not None:
                    host.receive(exchange, (event,))
            elif kind is Request:
                self._open(event)
            elif kind is Pong:
                if exchange is not None:
                    host.pong(exchange)
            elif exchange is not None:  # Closed: the peer ended the WebSocket, well or badly
                self._over()
                self._unsent = None
                host.lost(exchange)

    def _open(self, request: Request) -> None:
        self._phase = None  # a request that follows at once has deadlines of its own
        self._state.put_back_root(request)
        self._request = request
        self._status = None
        self._sent = 0
        self._began = self._state.clock()
        self._opening = request
        exchange = self._host.open_nowait(request, self, pings=True)
        if exchange is not None:
            self._opened(request, exchange)
        else:
            self._state.spawn(self._open_later, request)

    async def _open_later(self, request: Request) -> None:
        try:
            exchange = await self._host.open(request, self, pings=True)
        except Exception:
            self.cut()  # the host answers for the application, so this is a fault of ours: the caller logs it
            raise
        if self._stage == GONE:
            self._host.lost(exchange)
        else:
            self._opened(request, exchange)
            self._host.pump()  # what is answered at once is answered before a closed half counts as a loss
            if self._eof and self._stage == OPEN and self._opening is None and not self.eof_received():
                self.finish(linger=False)
        self._host.pump()

    def _opened(self, request: Request, exchange: Exchange) -> None:
        if self._opening is request:  # else its answer has begun, and `transmit` has seen it
            self._opening = None
            self._exchange = exchange

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
        self._steer()

    def _watch(self) -> None:
        """A phase of HTTP has begun, and its time."""
        self._phase = self.http.phase
        if not self._mark:
            self.deadline = self._state.clock() + self._state.timeouts[self._phase]

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
        data = self.http.send(pieces)
        self._sent += len(data)
        first, last = pieces[0], pieces[-1]
        if type(first) is Head:
            self._status = first.status
        written = not data or self.write(data)
        if not written:
            self._stall(exchange)
        if type(last) is End:
            self._over()
        elif self.http.websocket and not self._websocket:
            self._websocket = True
        else:
            return written
        if written and self._stage == OPEN:
            self._next()
        else:
            self._steer()
        return written

    def _stall(self, exchange: Exchange | None) -> None:
        if exchange is not None:
            self._unsent = exchange
        if self._stage == OPEN and not self._mark:
            self._mark = max(1, self.unwritten())
            self.deadline = self._state.clock() + self._write_time()

    def _write_time(self) -> float:
        """How long a backlog may stand still; with connections the endpoint decides first."""
        state = self._state
        connected = self._exchange is not None and self._exchange.connection_id is not None
        return state.write_patience if connected else state.settings.write_deadline

    def _reply(self, answer: bytes) -> bool:
        """Write what the peer has caused. False: it causes too much and reads nothing."""
        if self.unwritten() > REPLIES:
            self.cut()
            return False
        if not self.write(answer):
            self._stall(None)
        return True
