"""One HTTP/1.1 server connection (RFC 9112), from its first byte to its last, WebSocket included.

Bytes in; whole requests, WebSocket messages and bytes out. One request is answered at a time: bytes
behind it wait, so an answer can never overtake another or be given to a request that is half read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, TypeAlias

import h11

from ..errors import LocalProtocolError
from ..settings import Settings
from ..wire.http import Head, Piece, Request
from .http1_answer import Answer, accept_websocket, refusal
from .http1_fast import read_plain_head
from .http1_policy import CHUNKED, Incoming, Refused, body_limit, head_end, read_head, too_large
from .websocket import Closed, Pong, SocketEvent, WebSocket

__all__ = ["Closed", "Http1Server", "HttpEvent", "Phase", "Pong"]

HttpEvent: TypeAlias = Request | SocketEvent

_ENOUGH_AHEAD: Final = 65_536
"""Bytes behind an unanswered request after which no more should be read."""
_TOO_FAR_AHEAD: Final = 1_048_576
"""Bytes behind an unanswered request after which the rest is dropped and the connection ends with the answer."""
_CHUNK_OVERHEAD: Final = 32
"""Bytes of a chunk that are not its data: size, line ends and a short extension."""


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
        "_chunks",
        "_clock",
        "_incoming",
        "_output",
        "_overhead",
        "_searched",
        "_settings",
        "_socket",
        "_tail",
        "client",
        "closing",
        "phase",
        "refused",
        "scheme",
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
        self.websocket = False
        """The upgrade is done: what is sent from now on are frames."""
        self.refused: str | None = None
        """The setting or rule by which the peer was refused, for a metric."""
        self._buffer: bytes | bytearray = b""
        """A part of a head; what came behind an unanswered request."""
        self._searched = 0
        """How much of it has been searched for the end of the head."""
        self._output = b""
        self._incoming: Incoming | None = None
        """The request that is being read or answered."""
        self._body: bytearray | None = None
        self._chunks = 0
        self._overhead = 0
        self._tail = b""
        """The last bytes read of a chunked body."""
        self._answer: Answer | None = None
        self._socket: WebSocket | None = None

    @property
    def wants_data(self) -> bool:
        """False when reading should pause: enough has come for now, or nothing more is of interest."""
        if self.closing:
            return False
        return self.phase is not Phase.ANSWERING or len(self._buffer) < _ENOUGH_AHEAD

    @property
    def pending(self) -> bool:
        """Bytes wait that `receive(b"")` will look at: call it after each End and each 101."""
        return bool(self._buffer) and self.phase in _READING

    def data_to_send(self) -> bytes:
        """What `receive` caused: refusals, `100 Continue`, pongs, close frames. Fetch it after each `receive`."""
        output, self._output = self._output, b""
        return output

    # Receiving ----------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[HttpEvent]:
        """Whole requests (one at most, for the next is looked at after this one's End), or what a WebSocket says."""
        if self._socket is not None:
            return self._receive_frames(data)
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

    def _receive_frames(self, data: bytes) -> list[HttpEvent]:
        socket = self._socket
        assert socket is not None
        if self._buffer:
            data = bytes(self._buffer) + data
            self._buffer = b""
        events: list[HttpEvent] = socket.receive(data)  # type: ignore[assignment]  # a fresh list of a narrower kind
        if socket.output:
            self._output += socket.data_to_send()
        if socket.state:
            self._follow(socket)
        return events

    def _follow(self, socket: WebSocket) -> None:
        self.refused = self.refused or socket.refused
        self.closing = socket.closed
        self.phase = Phase.CLOSED if socket.closed else Phase.CLOSING

    def _keep(self, data: bytes) -> None:
        """Hold what comes behind an unanswered request, within bounds."""
        self._buffer += data
        if len(self._buffer) > _TOO_FAR_AHEAD:
            assert self._answer is not None
            self._answer.keep_alive = False
            self._buffer = b""
            self.refused = "pipelining"

    def _read_head(self, data: bytes) -> list[HttpEvent]:
        if self._buffer:
            self._buffer = bytearray(self._buffer) if isinstance(self._buffer, bytes) else self._buffer
            self._buffer += data
            buffer: bytes | bytearray = self._buffer
        else:
            buffer = data
        if buffer[:1] == b"\r" or not buffer:
            # RFC 9112 §2.2: empty lines before the request line are ignored.
            blank = _leading_blank_lines(buffer)
            if blank:
                buffer = self._buffer = buffer[blank:]
            if not buffer or buffer == b"\r":
                self._buffer = buffer
                return []
        end = head_end(buffer, self._searched, self._settings)
        if end < 0:
            self._searched = len(buffer)
            self._buffer = buffer if isinstance(buffer, bytearray) else bytearray(buffer)
            self.phase = Phase.HEAD
            return []
        self._searched = 0
        self._buffer = b""
        head = bytes(buffer[:end])
        incoming = read_plain_head(head, self._settings, self.client, self.scheme)
        if incoming is None:
            incoming = read_head(head, self._settings, self.client, self.scheme)
        self._incoming = incoming
        rest = bytes(buffer[end:])
        if not incoming.length:
            self._buffer = rest
            return self._whole(incoming, b"")
        if incoming.expects_continue and not rest:
            self._output += b"HTTP/1.1 100 Continue\r\n\r\n"
        self.phase = Phase.BODY
        self._body = bytearray()
        return self._read_body(rest)

    def _read_body(self, data: bytes) -> list[HttpEvent]:
        incoming = self._incoming
        body = self._body
        assert incoming is not None
        assert body is not None
        if incoming.length == CHUNKED:
            return self._read_chunks(incoming, body, data)
        missing = incoming.length - len(body)
        body += data[:missing]
        if len(data) < missing:
            return []
        self._buffer = data[missing:]
        return self._whole(incoming, bytes(body))

    def _read_chunks(self, incoming: Incoming, body: bytearray, data: bytes) -> list[HttpEvent]:
        reader = incoming.chunks
        assert reader is not None
        window = self._tail + data
        self._overhead += len(data)
        if data:
            reader.receive_data(data)
        limit = body_limit(self._settings)
        while True:
            try:
                event = reader.next_event()
            except h11.RemoteProtocolError:
                raise Refused(400, "bad_request", "The chunks of the body are malformed.") from None
            if isinstance(event, h11.Data):
                self._chunks += event.chunk_start
                if self._chunks > self._settings.max_chunks:
                    most = self._settings.max_chunks
                    raise Refused(413, "max_chunks", f"The body has more than {most} chunks (max_chunks).")
                body += event.data
                self._overhead -= len(event.data)
                if limit is not None and len(body) > limit:
                    raise too_large(self._settings)
                continue
            break
        if isinstance(event, h11.EndOfMessage):
            rest = reader.trailing_data[0]
            self._overhead -= len(rest)
            # h11 lets a bare LF end the trailers; a proxy in front may think the body goes on.
            if not window[: len(window) - len(rest)].endswith(b"\r\n\r\n"):
                raise Refused(400, "bad_request", "Lines must end in CR LF.")
            self._buffer = rest
        if self._overhead > self._settings.max_head_size + _CHUNK_OVERHEAD * self._settings.max_chunks:
            raise Refused(431, "max_head_size", "Chunk extensions and trailers are too long (max_head_size).")
        if isinstance(event, h11.EndOfMessage):
            return self._whole(incoming, bytes(body))
        self._tail = window[-3:]
        return []

    def _whole(self, incoming: Incoming, body: bytes) -> list[HttpEvent]:
        request = incoming.request
        request.body = body
        incoming.chunks = None
        self._body = None
        self._chunks = self._overhead = 0
        self._tail = b""
        if incoming.websocket_key is not None:
            incoming.keep_alive = False  # if it is refused, what came behind it may be frames, not requests
        self._answer = Answer(incoming)
        self.phase = Phase.ANSWERING
        return [request]

    def _refuse(self, refused: Refused) -> None:
        self._output += refusal(refused.status, str(refused), refused.headers)
        self.refused = refused.limit
        self._finish()

    def _finish(self) -> None:
        """Nothing more is read or sent."""
        self.closing = True
        self.phase = Phase.CLOSED
        self._buffer = b""
        self._incoming = self._answer = self._body = None

    def time_out(self) -> bytes:
        """`head_timeout` or `body_timeout` is over: the answer to send (408) before closing; empty when none is due."""
        if self.phase is Phase.HEAD or self.phase is Phase.BODY:
            self._refuse(Refused(408, f"{self.phase.value}_timeout", "The request took too long to arrive."))
        return self.data_to_send()

    def drain(self) -> None:
        """Take no further request: between two the connection is `closing` now, else after the answer."""
        if self.phase is Phase.IDLE:
            self._finish()
        elif self._answer is not None:
            self._answer.keep_alive = False
        elif self._incoming is not None:
            self._incoming.keep_alive = False

    # Sending ------------------------------------------------------------------------------------

    def send(self, pieces: Iterable[Piece]) -> bytes:
        """The bytes of these pieces of the answer, or of these WebSocket messages.

        Raises LocalProtocolError, and nothing has changed, when no request waits or the pieces make no answer.
        A WebSocket that is closing takes any piece and gives nothing: its peer cannot be told any more.
        """
        if self._socket is not None:
            return self._send_frames(self._socket, pieces)
        pieces = tuple(pieces)
        answer = self._answer
        if answer is None:
            raise LocalProtocolError("no request is waiting for an answer")
        if pieces and isinstance(pieces[0], Head) and pieces[0].status == 101:
            return self._accept(pieces[0], pieces[1:])
        output = answer.send(pieces)
        if answer.finished:
            self._incoming = self._answer = None
            if answer.keep_alive:
                self.phase = Phase.IDLE
            else:
                self._finish()
        return output

    def _send_frames(self, socket: WebSocket, pieces: Iterable[Piece]) -> bytes:
        output = socket.send(pieces)
        if socket.state:
            self._follow(socket)
        return output

    def _accept(self, head: Head, frames: tuple[Piece, ...]) -> bytes:
        """Open the WebSocket and let go of everything that belongs to HTTP."""
        key = self._incoming.websocket_key if self._incoming is not None else None
        if key is None:
            raise LocalProtocolError("101 only answers a request that asks for a WebSocket")
        output = accept_websocket(head, key)
        socket = WebSocket(self._settings, self._clock)
        output += socket.send(frames)
        self._incoming = self._answer = None
        self._socket = socket
        self.websocket = True
        self.phase = Phase.WEBSOCKET
        if socket.state:
            self._follow(socket)
        return output


_READING: Final = frozenset((Phase.IDLE, Phase.HEAD, Phase.WEBSOCKET, Phase.CLOSING))


def _leading_blank_lines(buffer: bytes | bytearray) -> int:
    size = 0
    while buffer.startswith(b"\r\n", size):
        size += 2
    return size
