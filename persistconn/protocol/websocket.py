"""The server's half of one WebSocket after the upgrade (RFC 6455 §5 to §7): bytes in, messages out.

Whole plain frames are decoded in place. Fragments, closes, frames of which only a part has come and
anything odd go to wsproto, which exists only while a message is under way. Because it sees the parts of an
unfinished frame at once, bad UTF-8 is found where it stands and not at the end of the message.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Any, Final, TypeAlias

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.frame_protocol import CloseReason

from ..errors import LocalProtocolError
from ..settings import Settings
from ..wire.http import End, Message, Piece, Ping
from .websocket_mask import mask_in_c, unmask

__all__ = ["Closed", "Pong", "SocketEvent", "WebSocket", "accept_token"]


@dataclass(frozen=True, slots=True)
class Pong:
    """The peer answered a ping, or sent a pong of its own accord."""

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Closed:
    """The WebSocket is over for the application: the peer closed it, or broke a rule and we do.

    `code` is the peer's own (1005 when it gave none, RFC 6455 §7.1.5), or the one we closed it with.
    """

    code: int = 1005
    reason: str = ""
    by_peer: bool = True
    """It said goodbye; else it broke a rule."""


SocketEvent: TypeAlias = str | bytes | Pong | Closed

_TEXT: Final = 0x81
_BINARY: Final = 0x82
_PING: Final = 0x89
_PONG: Final = 0x8A
"""First bytes of final frames without reserved bits (RFC 6455 §5.2)."""

_CONTROL_LIMIT: Final = 125
_CLOSE_OPCODE: Final = 8
_OPEN: Final = 0
_CLOSING: Final = 1
_CLOSED: Final = 2
"""States; the open one is false because every frame asks."""

_DEFAULT_PERIOD: Final = 10.0
"""Seconds in which `max_control_frames` may come when `keep_alive` is off."""


def accept_token(key: bytes) -> bytes:
    """The value of Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 §4.2.2).

    >>> accept_token(b"dGhlIHNhbXBsZSBub25jZQ==")
    b's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
    """
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False)
    return base64.b64encode(digest.digest())


class WebSocket:
    """One open WebSocket. Nothing the peer sends makes a call raise.

    After each `receive`, write what `data_to_send` gives. `closing`: our close frame is out and only the
    peer's is awaited. `closed`: write what is left, then close the socket.
    """

    __slots__ = (
        "_clock",
        "_controls",
        "_engine",
        "_fragments",
        "_limit",
        "_message",
        "_midway",
        "_partial",
        "_period",
        "_remaining",
        "_settings",
        "_short",
        "_size",
        "odd",
        "output",
        "refused",
        "state",
    )

    def __init__(self, settings: Settings, clock: Callable[[], float] | None = None) -> None:
        self._settings = settings
        self._limit: float = inf if settings.max_message_size is None else settings.max_message_size
        self._short = min(self._limit, _CONTROL_LIMIT) + 6
        """The most bytes a text may have, with its frame, whose length fits into the second byte of that."""
        self._clock = clock
        self.state = _OPEN
        """False while open; see `closing` and `closed`."""
        self.refused: str | None = None
        """The setting or rule by which the peer was cut, for a metric."""
        self._engine: Connection | None = None
        """Exists while a message has begun and not ended."""
        self._message: Any = None
        """What has come of that message: a StringIO or a BytesIO, for both grow in linear time."""
        self._midway = False
        """A frame or a message has begun and not ended, or the WebSocket is no longer open."""
        self._partial = b""
        """The beginning of a frame header or of a control frame: at most 138 bytes."""
        self._remaining = 0
        """Bytes still to come of the data frame that has begun."""
        self._size = 0
        self._fragments = 0
        self._controls = 0
        self._period = 0.0
        self.output = b""
        """What `data_to_send` will give."""
        self.odd = False
        """`receive` heard something else than whole messages: look at `output` and `state`, then set it back."""

    @property
    def closing(self) -> bool:
        """Our close frame is out and the peer's has not come."""
        return self.state == _CLOSING

    @property
    def closed(self) -> bool:
        """Nothing more will be read or sent."""
        return self.state == _CLOSED

    def data_to_send(self) -> bytes:
        """What `receive` caused: pongs and the close frame."""
        output = self.output
        if output:
            self.output = b""
        return output

    # Receiving ----------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[SocketEvent]:
        """The messages, pongs and perhaps the close that these bytes complete."""
        end = len(data)
        if 6 <= end <= self._short and data[0] == _TEXT and data[1] - 0x80 == end - 6 and not self._midway:
            # What comes most of all: one short text and nothing else.
            try:
                text = str(unmask(data[2:]) if mask_in_c is None else mask_in_c(data[6:], data[2:6]), "utf-8")
            except UnicodeDecodeError:
                pass  # said below
            else:
                self._controls = 0
                return [text]
        events: list[SocketEvent] = []
        at = 0
        if self._midway:
            data, at = self._go_on(data, events)
            end = len(data)
        limit = self._limit
        while at < end and not self.state:
            # The hot path: one whole, final, masked data frame of minimal length, no message open.
            start = at + 6
            if start <= end and ((first := data[at]) == _TEXT or first == _BINARY) and self._engine is None:
                size = data[at + 1] - 0x80
                if size > 125:
                    start = at + 8
                    size = data[at + 2] << 8 | data[at + 3] if size == 126 and end > start else -1
                    if size < 126:
                        size = -1  # not minimal: the engine's to refuse
                stop = start + size
                if 0 <= size <= limit and stop <= end:
                    self._controls = 0
                    if mask_in_c is None:
                        payload = unmask(data[start - 4 : stop])
                    else:
                        payload = mask_in_c(data[start:stop], data[start - 4 : start])
                    at = stop
                    try:
                        events.append(str(payload, "utf-8") if first == _TEXT else payload)
                    except UnicodeDecodeError as error:
                        self._fail(1007, "bad_text", f"A text message is not UTF-8: {error.reason}", events)
                    continue
            at = self._any_frame(data, at, events)
        if self._midway:
            self._stop(data, at)
        return events

    def _go_on(self, data: bytes, events: list[SocketEvent]) -> tuple[bytes, int]:
        """Put these bytes behind what has come before; say where to go on in them."""
        if self._partial:
            data = self._partial + data
            self._partial = b""
        if not self._remaining or self.state:
            return data, 0
        at = min(self._remaining, len(data))
        self._remaining -= at
        self._feed(data[:at], events)
        return data, at

    def _stop(self, data: bytes, at: int) -> None:
        """These bytes are used up: is anything still open?"""
        if self.state:
            self.odd = True
            self._ignore(data, at)
        elif self._engine is None and not self._partial and not self._remaining:
            self._midway = False

    def _any_frame(self, data: bytes, at: int, events: list[SocketEvent]) -> int:
        """Take whatever frame begins at `at`, or as much of it as has come; say where to go on."""
        self._midway = True
        end = len(data)
        bounds = _frame_bounds(data, at)
        if bounds is None:
            self._partial = data[at:]
            return end
        start, stop = bounds
        size = stop - start
        first = data[at]
        if first & 8:
            self.odd = True
            if stop > end and size <= _CONTROL_LIMIT:
                self._partial = data[at:]
                return end
            if not self._control_allowed():
                limit = self._settings.max_control_frames
                self._fail(1008, "max_control_frames", f"More than {limit} control frames without a message", events)
                return at
            if first in (_PING, _PONG) and start == at + 6:
                payload = unmask(data[at + 2 : stop])
                if first == _PONG:
                    events.append(Pong(payload))
                else:
                    self.output += bytes((_PONG, size)) + payload
                return stop
        elif not self._data_allowed(size, events):
            return at
        self._remaining = max(0, stop - end)
        self._feed(data[at:stop], events)
        if self.state and first & 0x0F == _CLOSE_OPCODE:
            self.state = _CLOSED  # a bad close frame was the peer's last all the same
        return min(stop, end)

    def _control_allowed(self) -> bool:
        if self._clock is not None:
            now = self._clock()
            period = self._settings.keep_alive or _DEFAULT_PERIOD
            if now - self._period >= period:
                self._period = now
                self._controls = 0
        self._controls += 1
        return self._controls <= self._settings.max_control_frames

    def _data_allowed(self, size: int, events: list[SocketEvent]) -> bool:
        """Judge a data frame by its header, before any of it is kept."""
        settings = self._settings
        self._controls = 0
        self._fragments += 1
        self._size += size
        if settings.max_message_size is not None and self._size > settings.max_message_size:
            limit = settings.max_message_size
            self._fail(1009, "max_message_size", f"The message is larger than {limit} bytes", events)
        elif self._fragments > settings.max_fragments:
            limit = settings.max_fragments
            self._fail(1008, "max_fragments", f"The message has more than {limit} fragments", events)
        return not self.state

    def _feed(self, data: bytes, events: list[SocketEvent]) -> None:
        """Let wsproto judge a frame, or a part of one, and take what it says."""
        engine = self._engine
        if engine is None:
            engine = self._engine = Connection(ConnectionType.SERVER)
        engine.receive_data(data)
        for event in engine.events():
            if isinstance(event, CloseConnection):
                self._engine_closed(engine, event, events)
                return
            assert isinstance(event, (TextMessage, BytesMessage))  # whole pings and pongs do not come here
            self._take(event, events)

    def _take(self, event: TextMessage | BytesMessage, events: list[SocketEvent]) -> None:
        """A part of the message has come, perhaps the last."""
        if self._message is None:
            self._message = io.StringIO() if isinstance(event, TextMessage) else io.BytesIO()
        self._message.write(event.data)
        if event.message_finished:
            events.append(self._message.getvalue())
            self._forget_message()

    def _engine_closed(self, engine: Connection, event: CloseConnection, events: list[SocketEvent]) -> None:
        code = int(event.code)
        if engine.state is ConnectionState.REMOTE_CLOSING:
            events.append(Closed(code, event.reason or ""))
            answer = 1000 if code == CloseReason.NO_STATUS_RCVD else code
            self.output += engine.send(CloseConnection(answer))
            self._forget_message()
            self.state = _CLOSED
        else:
            rule = "bad_text" if code == CloseReason.INVALID_FRAME_PAYLOAD_DATA else "bad_frame"
            self._fail(code, rule, event.reason or "", events)

    def _fail(self, code: int, rule: str, what: str, events: list[SocketEvent]) -> None:
        """Close it for a broken rule. After 1002 the frames cannot be told apart, so nothing more is read."""
        reason = f"{what} ({rule})."
        self.refused = rule
        events.append(Closed(code, reason, by_peer=False))
        self.output += _close_frame(code, reason)
        self._forget_message()
        self.odd = self._midway = True
        self.state = _CLOSED if code == CloseReason.PROTOCOL_ERROR else _CLOSING

    def _forget_message(self) -> None:
        self._engine = None
        self._message = None
        self._size = 0
        self._fragments = 0

    def _ignore(self, data: bytes, at: int) -> None:
        """Skip everything from `at` on but the peer's close frame, keeping nothing (RFC 6455 §7.1.1)."""
        end = len(data)
        at += self._remaining
        self._remaining = 0
        while at < end and self.state == _CLOSING:
            bounds = _frame_bounds(data, at)
            if bounds is None:
                self._partial = data[at:]
                return
            if data[at] & 0x0F == _CLOSE_OPCODE:
                self.state = _CLOSED
            at = bounds[1]
        self._remaining = max(0, at - end)

    # Sending ------------------------------------------------------------------------------------

    def send(self, pieces: Iterable[Piece]) -> bytes:
        """The bytes of these Messages, Pings and perhaps an End; nothing once the WebSocket is closing.

        Raises LocalProtocolError for any other piece, a ping over 125 bytes, a close code that may not be sent.
        """
        output: list[bytes] = []
        for piece in pieces:
            if self.state:
                break
            if isinstance(piece, Message):
                output.append(piece.wire or piece.to_wire())
            elif isinstance(piece, Ping):
                if len(piece.data) > _CONTROL_LIMIT:
                    raise LocalProtocolError(f"a ping holds at most {_CONTROL_LIMIT} bytes, not {len(piece.data)}")
                self._controls = 0  # its pong is owed to us, and must not count against the peer
                output.append(bytes((_PING, len(piece.data))) + piece.data)
            elif isinstance(piece, End):
                output.append(_close_frame(piece.code, piece.reason))
                self._forget_message()
                self._midway = True
                self.state = _CLOSING
            else:
                raise LocalProtocolError(f"{type(piece).__name__} cannot be sent on a WebSocket")
        return b"".join(output)


def _frame_bounds(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at `at` begins and ends, once its header is complete."""
    start = at + 2
    if len(data) < start:
        return None
    size = data[at + 1] & 0x7F
    if size > _CONTROL_LIMIT:
        width = 2 if size == 126 else 8
        size = int.from_bytes(data[start : start + width], "big")
        start += width
    if data[at + 1] & 0x80:
        start += 4
    return (start, start + size) if len(data) >= start else None


def _close_frame(code: int, reason: str) -> bytes:
    """A close frame; wsproto cuts a long reason between two characters."""
    if not 1000 <= code <= 4999 or code in (1004, 1005, 1006, 1015):
        raise LocalProtocolError(f"{code} is no close code that may be sent (RFC 6455 §7.4)")
    return Connection(ConnectionType.SERVER).send(CloseConnection(code, reason))
