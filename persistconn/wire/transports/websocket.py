"""Framing of the classic WebSocket transport: each envelope is one text message."""

from __future__ import annotations

from typing import Final

from ..http import Head, text_message
from .framing import Framing

__all__ = ["WEBSOCKETS"]


WEBSOCKETS: Final = Framing(
    name="webSockets",
    duplex=True,
    streaming=True,
    head=Head(101),
    opening=(),
    frame=text_message,
    keep_alive=text_message(b"{}"),
)
"""Text messages on a WebSocket, both ways."""
