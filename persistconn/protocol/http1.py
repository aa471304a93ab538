"""One HTTP/1.1 server connection (RFC 9112), from its first byte to its last, WebSocket included.

Bytes in; whole requests, WebSocket messages and bytes out. One request is answered at a time: bytes
behind it wait, so an answer can never overtake another or be given to a request that is half read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, TypeAlias

from ..errors import LocalProtocolError
from ..settings import Settings
from ..wire.http import End, Head, Piece, Request
from .http1_answer import Answer, accept_websocket, plain_answer, refusal
from .http1_body import ChunkedBody, SizedBody
from .http1_fast import read_plain_head
from .http1_policy import Incoming, Refused, head_end, read_head
from .websocket import Closed, Pong, SocketEvent, WebSocket
from .websocket_parts import PartsSocket

__all__ = ["Closed", "Http1Server", "HttpEvent", "Phase", "Pong"]

HttpEvent: TypeAlias = Request | SocketEvent

_ENOUGH_AHEAD: Final = 65_536
"""Bytes behind an unanswered request after which no more should be read."""
_TOO_FAR_AHEAD: Final = 1_048_576
"""Bytes behind an unanswered request after which the rest is dropped and the connection ends with the answer."""


class Phase(Enum):
    """What the connection is doing; a driver sets its deadline by it."""

    IDLE = "idle"
    """Between requests: `idle_timeout`."""
    HEAD = "head"
    """Part of a request head has come: `head_timeout` from its first byte, then `time_out()`."""
    BODY = "body"
    """Part of a body is missing: `body_timeout` from the end of the head, then `time_out()`."""
    ANSWERING = "answering"
    """A request was given out and its End has not been sent. No deadline here."""
    WEBSOCKET = "websocket"
    """The upgrade is done. No deadline here."""
    CLOSING = "closing"
    """We closed the WebSocket and wait for the peer to do the same: `close_timeout`."""
    CLOSED = "closed"
    """Write what is left and close the socket."""

    __hash__ = object.__hash__  # one of its own costs half a microsecond


class Http1Server:
    """The server's side of one TCP connection. Nothing the peer sends makes a call raise.

    >>> http = Http1Server()
    >>> http.receive(b"GET /hello?a=1 HTTP/1.1\\r\\nHost: example.org\\r\\n\\r\\n")
    [<Request GET /hello>]
    >>> from persistconn.wire.http import Chunk, End
    >>> http.send((Head(200, ((b"Content-Type", b"text/plain"),)), Chunk(b"hi"), End()))
    b'HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: 2\\r\\n\\r\\nhi'
    """

    __slots__ = (
        "_answer",
        "_body",
        "_buffer",
        "_clock",
        "_draining",
        "_incoming",
        "_output",
        "_searched",
        "_settings",
        "_socket",
        "client",
        "closing",
        "phase",
        "refused",
        "scheme",
        "wants_data",
        "websocket",
    )

    def __init__(
        self,
        settings: Settings = Settings(),
        *,
        client: tuple[str, int] | None = None,
        scheme: str = "http",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self.client = client
        self.scheme = scheme
        self.phase = Phase.IDLE
        self.closing = False
        """Write what `data_to_send` and `send` gave, then close the socket."""
        self.wants_data = True
        """False when reading should pause: enough has come for now, or nothing more is of interest."""
        self.websocket = False
        """The upgrade is done: what is sent from now on are frames."""
        self.refused: str | None = None
        """The setting or rule by which the peer was refused, for a metric."""
        self._buffer: bytes | bytearray = b""
        """A part of a head, or what came behind an unanswered request: a bytearray, or b"" when there is nothing."""
        self._draining = False
        self._searched = 0
        """How much of it has been searched for the end of the head."""
        self._output = b""
        self._incoming: Incoming | None = None
        """The request that is being read or answered."""
        self._body: SizedBody | ChunkedBody | None = None
        self._answer: Answer | None = None
        self._socket: WebSocket | None = None

    @property
    def pending(self) -> bool:
        """Bytes wait that `receive(b"")` will look at: call it after each End and each 101."""
        return bool(self._buffer) and self.phase in _READING

    @property
    def frames(self) -> WebSocket | None:
        """The WebSocket, once nothing waits before it. A driver that has a thousand of them a second may `receive` from
        it without a way round, if it calls `take_over` when that was `odd`."""
        return None if self._buffer else self._socket

    @property
    def chunking(self) -> bool:
        """An answer is under way of which each Chunk leaves as its `chunked` and nothing else, until an End."""
        return self._answer is not None and self._answer.chunking

    def data_to_send(self) -> bytes:
        """What `receive` caused: refusals, `100 Continue`, pongs, close frames. Fetch it after each `receive`."""
        output = self._output
        if output:
            self._output = b""
        return output

    # Receiving ----------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[HttpEvent]:
        """Whole requests (one at most, for the next is looked at after this one's End), or what a WebSocket says."""
        socket = self._socket
        if socket is not None:
            if self._buffer:
                data = bytes(self._buffer) + data
                self._buffer = b""
            heard: list[HttpEvent] = socket.receive(data)  # type: ignore[assignment]  # a new list of a narrower kind
            if socket.odd:
                self.take_over(socket)
            return heard
        if self.closing:
            return []
        if self.phase is Phase.ANSWERING:
            self._keep(data)
            return []
        try:
            if self.phase is Phase.BODY:
                return self._read_body(data)
            return self._read_head(data)
        except Refused as refused:
            self._refuse(refused)
            return []

    def take_over(self, socket: WebSocket) -> None:
        """What `socket.receive` heard was odd: its answer and its end are this connection's."""
        socket.odd = False
        self._output += socket.data_to_send()
        if socket.state:
            self._follow(socket)

    def _follow(self, socket: WebSocket) -> None:
        self.refused = self.refused or socket.refused
        if socket.closed:
            self._close()
        else:
            self.phase = Phase.CLOSING

    def _keep(self, data: bytes) -> None:
        """Hold what comes behind an unanswered request, within bounds."""
        if self._buffer:
            self._buffer += data
        else:
            self._buffer = bytearray(data) or b""
        if len(self._buffer) > _TOO_FAR_AHEAD:
            self._leave_after_this()
            self._buffer = b""
            self.refused = "pipelining"
        self.wants_data = len(self._buffer) < _ENOUGH_AHEAD

    def _read_head(self, data: bytes) -> list[HttpEvent]:
        buffer: bytes | bytearray = data  # not copied when it is a whole request
        if self._buffer:
            self._buffer += data
            buffer = self._buffer
        if buffer[:1] <= b"\r":
            blank = _leading_blank_lines(buffer)
            if blank:
                buffer = buffer[blank:]
            if not buffer or buffer == b"\r":
                self._buffer = bytearray(buffer) or b""
                return []
        end = 0 if self._searched else buffer.find(_HEAD_END) + 4
        if not 4 <= end <= self._settings.max_head_size:  # nearly always all of it comes together
            end = head_end(buffer, self._searched, self._settings)
        if end < 0:
            self._searched = len(buffer)
            self._buffer = buffer if isinstance(buffer, bytearray) else bytearray(buffer)
            self.phase = Phase.HEAD
            return []
        self._searched = 0
        self._buffer = b""
        head = bytes(buffer[:end])
        rest = bytes(buffer[end:])
        incoming = read_plain_head(head, self._settings, self.client, self.scheme)
        if incoming is None:
            incoming = read_head(head, self._settings, self.client, self.scheme)
        self._incoming = incoming
        if not incoming.length:
            if rest:
                self._buffer = bytearray(rest)
            return self._whole(b"")
        if incoming.length == len(rest):
            return self._whole(rest)
        if incoming.expects_continue and not rest:
            self._output += b"HTTP/1.1 100 Continue\r\n\r\n"
        self.phase = Phase.BODY
        self._body = (
            SizedBody(incoming.length) if incoming.chunks is None else ChunkedBody(incoming.chunks, self._settings)
        )
        return self._read_body(rest)

    def _read_body(self, data: bytes) -> list[HttpEvent]:
        body = self._body
        assert body is not None
        rest = body.feed(data)
        if rest is None:
            return []
        self._buffer = bytearray(rest) or b""
        return self._whole(bytes(body.data))

    def _whole(self, body: bytes) -> list[HttpEvent]:
        incoming = self._incoming
        assert incoming is not None
        request = incoming.request
        request.body = body
        incoming.chunks = None
        self._body = None
        if incoming.websocket_key is not None or self._draining:
            incoming.keep_alive = False  # if it is refused, what came behind it may be frames, not requests
        self.phase = Phase.ANSWERING
        if self._buffer:
            self.wants_data = len(self._buffer) < _ENOUGH_AHEAD
        return [request]

    def _refuse(self, refused: Refused) -> None:
        self._output += refusal(refused.status, str(refused), refused.headers)
        self.refused = refused.limit
        self._finish()

    def _close(self) -> None:
        self.closing = True
        self.wants_data = False
        self.phase = Phase.CLOSED

    def _finish(self) -> None:
        """Nothing more is read or sent."""
        self._close()
        self._buffer = b""
        self._incoming = self._answer = self._body = None

    def time_out(self) -> bytes:
        """`head_timeout` or `body_timeout` is over: the answer to send (408) before closing; empty when none is due."""
        if self.phase is Phase.HEAD or self.phase is Phase.BODY:
            self._refuse(Refused(408, f"{self.phase.value}_timeout", "The request took too long to arrive."))
        return self.data_to_send()

    def drain(self) -> None:
        """Take no further request: between two the connection is `closing` now, else after the answer."""
        self._draining = True
        if self.phase is Phase.IDLE:
            self._finish()
        elif self.phase is Phase.ANSWERING:
            self._leave_after_this()

    def _leave_after_this(self) -> None:
        """The connection ends with the answer that is due."""
        assert self._incoming is not None
        self._incoming.keep_alive = False
        if self._answer is not None:
            self._answer.keep_alive = False

    def take_parts(self) -> None:
        """What comes on the WebSocket that has just been accepted is given out as it comes, cut anywhere."""
        if self.phase is Phase.WEBSOCKET:
            self._socket = PartsSocket(self._settings, self._clock)

    # Sending ------------------------------------------------------------------------------------

    def send(self, pieces: Iterable[Piece]) -> bytes:
        """The bytes of these pieces of the answer, or of these WebSocket messages.

        Raises LocalProtocolError, and nothing has changed, when no request waits or the pieces make no answer.
        A WebSocket that is closing takes any piece and gives nothing: its peer cannot be told any more.
        """
        if self._socket is not None:
            return self._send_frames(self._socket, pieces)
        pieces = tuple(pieces)
        incoming, answer = self._incoming, self._answer
        if incoming is None or self.phase is not Phase.ANSWERING:
            raise LocalProtocolError(
                "no request is waiting for an answer: send() the pieces of a Transmit once, to the Http1Server that its"
                " request came from"
            )
        output = plain_answer(incoming, pieces) if answer is None else None
        if output is not None:
            self._answered(stays=True)
            return output
        first = pieces[0] if pieces else None
        if isinstance(first, Head) and first.status == 101:
            return self._accept(first, incoming, pieces[1:])
        if answer is None:
            answer = self._answer = Answer(incoming)
        output = answer.send(pieces)
        if answer.finished:
            self._answered(stays=answer.keep_alive)
        return output

    def _answered(self, *, stays: bool) -> None:
        self._incoming = self._answer = None
        if stays:
            self.phase = Phase.IDLE
            self.wants_data = True
        else:
            self._finish()

    def _send_frames(self, socket: WebSocket, pieces: Iterable[Piece]) -> bytes:
        output = socket.send(pieces)
        if socket.state:
            self._follow(socket)
        return output

    def _accept(self, head: Head, incoming: Incoming, frames: tuple[Piece, ...]) -> bytes:
        """Open the WebSocket and let go of everything that belongs to HTTP."""
        key = incoming.websocket_key
        if key is None:
            raise LocalProtocolError("101 only answers a request that asks for a WebSocket")
        output = accept_websocket(head, key)
        socket = WebSocket(self._settings, self._clock)
        output += socket.send(frames)
        self._incoming = self._answer = None
        self._socket = socket
        self.websocket = self.wants_data = True
        self.phase = Phase.WEBSOCKET
        if self.refused is not None:  # some of its first frames were dropped, so nothing can be made of the rest
            output += socket.send((End(1008, "Too much was sent before the WebSocket was open."),))
        if socket.state:
            self._follow(socket)
        return output


_HEAD_END: Final = b"\r\n\r\n"
_READING: Final = frozenset((Phase.IDLE, Phase.HEAD, Phase.WEBSOCKET, Phase.CLOSING))


def _leading_blank_lines(buffer: bytes | bytearray) -> int:
    size = 0
    while buffer.startswith(b"\r\n", size):
        size += 2
    return size
