"""Framing of the classic WebSocket transport: each envelope is one text message."""

from __future__ import annotations

from functools import partial
from typing import Final

from ..http import Head, Message
from .framing import Framing

__all__ = ["WEBSOCKETS"]


_frame: Final = partial(Message, text=True)  # without a Python frame of its own: one is made for every batch

WEBSOCKETS: Final = Framing(
    name="webSockets",
    duplex=True,
    streaming=True,
    head=Head(101),
    opening=(),
    frame=_frame,
    keep_alive=_frame(b"{}"),
)
"""Text messages on a WebSocket, both ways."""
