"""The four transports of classic: how an envelope looks on each. Pure framing, no state."""

from __future__ import annotations

from .event_stream import EVENT_STREAM, EventStreamReader
from .forever_frame import escape_markup, forever_frame
from .framing import Framing
from .long_polling import LONG_POLLING, jsonp_polling
from .websocket import WEBSOCKETS

__all__ = [
    "EVENT_STREAM",
    "LONG_POLLING",
    "WEBSOCKETS",
    "EventStreamReader",
    "Framing",
    "escape_markup",
    "forever_frame",
    "jsonp_polling",
]
