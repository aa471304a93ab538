"""Collects the body of one request, by its length or by its chunks, within the limits."""

from __future__ import annotations

from typing import Final

import h11

from ..settings import Settings
from .http1_policy import Refused, body_limit, too_large

__all__ = ["ChunkedBody", "SizedBody"]

_CHUNK_OVERHEAD: Final = 32
"""Bytes of a chunk that are not its data: size, line ends and a short extension."""


class SizedBody:
    """A body with a Content-Length, which has been found small enough."""

    __slots__ = ("_length", "data")

    def __init__(self, length: int) -> None:
        self._length = length
        self.data = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """What comes behind the body, once it is complete."""
        missing = self._length - len(self.data)
        self.data += data[:missing]
        return data[missing:] if len(data) >= missing else None


class ChunkedBody:
    """A body in chunks (RFC 9112 §7.1), read by the h11.Connection that has read its head.

    `feed` raises Refused for broken chunks, for too many of them, and for more data or framing than allowed.
    """

    __slots__ = ("_chunks", "_framing", "_reader", "_settings", "_tail", "data")

    def __init__(self, reader: h11.Connection, settings: Settings) -> None:
        self._reader = reader
        self._settings = settings
        self._chunks = 0
        self._framing = 0
        """Bytes that came and were not data."""
        self._tail = b""
        """The last three bytes that came."""
        self.data = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """What comes behind the body, once it is complete."""
        if not data:
            return None  # to h11 that would say that the peer has gone
        window = self._tail + data
        self._framing += len(data)
        self._reader.receive_data(data)
        event = self._next_event()
        while isinstance(event, h11.Data):
            self._take(event)
            event = self._next_event()
        rest = None
        if isinstance(event, h11.EndOfMessage):
            rest = self._reader.trailing_data[0]
            self._framing -= len(rest)
            # h11 lets bare LFs end the trailers; a proxy in front may think that the body goes on.
            if not window[: len(window) - len(rest)].endswith(b"\r\n\r\n"):
                raise Refused(400, "bad_request", "Lines must end in CR LF.")
        if self._framing > self._settings.max_head_size + _CHUNK_OVERHEAD * self._settings.max_chunks:
            raise Refused(431, "max_head_size", "Chunk extensions and trailers are too long (max_head_size).")
        self._tail = window[-3:]
        return rest

    def _next_event(self) -> object:
        try:
            return self._reader.next_event()
        except h11.RemoteProtocolError:
            raise Refused(400, "bad_request", "The chunks of the body are malformed.") from None

    def _take(self, event: h11.Data) -> None:
        self._chunks += event.chunk_start
        if self._chunks > self._settings.max_chunks:
            most = self._settings.max_chunks
            raise Refused(413, "max_chunks", f"The body has more than {most} chunks (max_chunks).")
        self.data += event.data
        self._framing -= len(event.data)
        limit = body_limit(self._settings)
        if limit is not None and len(self.data) > limit:
            raise too_large(self._settings)
