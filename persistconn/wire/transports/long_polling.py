"""Framing of long polls: one envelope per answer, spaces while it is awaited; or a script with JSONP."""

from __future__ import annotations

from typing import Final

from ..http import Chunk
from .framing import Framing, streaming_head

__all__ = ["LONG_POLLING", "jsonp_polling"]

LONG_POLLING: Final = Framing(
    name="longPolling",
    duplex=False,
    streaming=False,
    head=streaming_head(b"application/json; charset=UTF-8"),
    opening=(),
    frame=Chunk,
    keep_alive=Chunk(b" "),  # blank space before a JSON text means nothing (RFC 8259 §2)
)
"""An envelope is the whole answer."""


def jsonp_polling(callback: str) -> Framing:
    """Long polling for a script element: the answer calls `callback`, a name that has been checked.

    >>> jsonp_polling("jQuery.cb").frame(b"{}")
    Chunk(b'jQuery.cb({});')
    """
    name = callback.encode()

    def frame(envelope: bytes) -> Chunk:
        return Chunk(b"%b(%b);" % (name, envelope))

    return Framing(
        name="longPolling",
        duplex=False,
        streaming=False,
        head=streaming_head(b"application/javascript; charset=UTF-8"),
        opening=(),
        frame=frame,
        keep_alive=None,
    )
