"""Framing of ASP.NET Core's three transports, for any format: whole frames of a hub protocol, or raw payloads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..format import Format
from ..http import Chunk, Head, Message, Piece, RawHeaders, text_message
from .framing import STREAM_HEADERS, Framing

__all__ = ["POLL_HEADERS", "framing"]

POLL_HEADERS: Final[RawHeaders] = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Cache-Control", b"no-cache, no-store"),
    (b"Pragma", b"no-cache"),
    (b"Expires", b"Thu, 01 Jan 1970 00:00:00 GMT"),
)
"""On every answer to a poll, whatever its status."""

_EVENTS_HEAD: Final = Head(
    200,
    (
        (b"Content-Type", b"text/event-stream"),
        *STREAM_HEADERS,
        (b"Pragma", b"no-cache"),
        (b"Content-Encoding", b"identity"),  # whoever compresses on the way would hold events back
    ),
)


def _event(unit: bytes) -> Chunk:
    """One event. Clients before .NET 10 throw on anything but `data: ` lines that end in CRLF.

    To browsers a CR ends a line as an LF does: left alone it would let a message write fields of its own.
    """
    if not unit:
        return Chunk(b"\r\n")
    if b"\n" in unit or b"\r" in unit:
        unit = unit.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\ndata: ")
    return Chunk(b"data: %b\r\n\r\n" % unit)


def _raw_text(unit: bytes) -> Message:
    """A text message of what can be text: a browser would close a WebSocket over any other (RFC 6455 §8.1)."""
    try:
        unit.decode()
    except UnicodeDecodeError:
        return Message(unit)
    return text_message(unit)


def _sign(frame: Callable[[bytes], Piece], format: Format) -> Piece | None:
    return None if format.keep_alive is None else frame(format.keep_alive)


def _websockets(format: Format) -> Framing:
    frame: Callable[[bytes], Piece] = Message
    if not format.binary:
        frame = text_message if format.whole else _raw_text  # a hub protocol's frames are known to be UTF-8
    return Framing(
        name="webSockets",
        duplex=True,
        streaming=True,
        head=Head(101),
        opening=(),
        frame=frame,
        keep_alive=_sign(frame, format),
        format=format,
    )


def _server_sent_events(format: Format) -> Framing:
    return Framing(
        name="serverSentEvents",
        duplex=False,
        streaming=True,
        head=_EVENTS_HEAD,
        opening=(Chunk(b":\r\n"),),  # a comment: without a body some browsers do not report the stream as open
        frame=_event,
        keep_alive=_sign(_event, format),
        format=format,
    )


def _long_polling(format: Format) -> Framing:
    return Framing(
        name="longPolling",
        duplex=False,
        streaming=False,
        head=Head(200, ((b"Content-Type", b"application/octet-stream"), *POLL_HEADERS)),
        opening=(),
        frame=Chunk,
        keep_alive=None,  # each poll is one
        format=format,
    )


_MAKERS: Final = {
    "webSockets": _websockets,
    "serverSentEvents": _server_sent_events,
    "longPolling": _long_polling,
}
_made: Final[dict[tuple[str, Format], Framing]] = {}


def framing(transport: str, format: Format) -> Framing:
    r"""How a transport carries a format: the same object each time, so that all who read alike share bytes.

    >>> framing("serverSentEvents", Format("json")).frame(b"{}\x1e")
    Chunk(b'data: {}\x1e\r\n\r\n')
    """
    found = _made.get((transport, format))
    return found or _made.setdefault((transport, format), _MAKERS[transport](format))
