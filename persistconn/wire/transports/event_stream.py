"""Framing of server-sent events (WHATWG HTML §9.2), and a reader of such streams for clients."""

from __future__ import annotations

import re
from typing import Final

from ...errors import RemoteProtocolError
from ..http import Chunk
from .framing import Framing, streaming_head

__all__ = ["EVENT_STREAM", "EventStreamReader"]


def _frame(envelope: bytes) -> Chunk:
    return Chunk(b"data: %b\n\n" % envelope)


EVENT_STREAM: Final = Framing(
    name="serverSentEvents",
    duplex=False,
    streaming=True,
    head=streaming_head(b"text/event-stream"),
    # The client wants to reconnect by itself, with its cursor, before the browser does it without one; the first
    # event makes browsers report the stream as open.
    opening=(Chunk(b"retry: 10000\n\ndata: initialized\n\n"),),
    frame=_frame,
    keep_alive=_frame(b"{}"),
)
"""One event of one line per envelope."""

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BOM: Final = b"\xef\xbb\xbf"


class EventStreamReader:
    """Reads the data of events out of bytes that come cut anywhere. Comments, names, ids and `retry` are dropped.

    `limit` is the most bytes one event may have. What an end of stream leaves unfinished is no event.

    >>> reader = EventStreamReader()
    >>> reader.feed(b"data: initial"), reader.feed(b"ized\\n\\ndata: {}\\n\\n")
    ([], ['initialized', '{}'])
    """

    __slots__ = ("_after_cr", "_data", "_first", "_limit", "_line", "_size")

    def __init__(self, limit: int = 16_777_216) -> None:
        self._limit = limit
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._first = True
        self._after_cr = False

    def feed(self, data: bytes) -> list[str]:
        """The data of each event that is complete now.

        Raises RemoteProtocolError when an event outgrows the limit; the reader is of no use then.
        """
        if not data:
            return []
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]  # the second half of a line end that was cut
        self._after_cr = data.endswith(b"\r")
        events: list[str] = []
        *lines, rest = _LINE_END.split(data)
        for line in lines:
            self._gather(line)
            event = self._end_line()
            if event is not None:
                events.append(event)
        self._gather(rest)
        return events

    def _gather(self, part: bytes) -> None:
        self._line += part
        if self._size + len(self._line) > self._limit:
            raise RemoteProtocolError(f"An event is larger than {self._limit} bytes.")

    def _end_line(self) -> str | None:
        line = bytes(self._line)
        self._line.clear()
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
                self._size += len(value) + 1
            return None
        lines, self._data, self._size = self._data, [], 0
        return b"\n".join(lines).decode("utf-8", "replace") if lines else None
