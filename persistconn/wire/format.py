"""How a connection of ASP.NET Core clients is spoken to: which form of a payload, and what keeps it alive."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["RAW_BINARY", "RAW_TEXT", "Format"]


class Format(msgspec.Struct, frozen=True, eq=False):
    """What a layer above the core decides about a connection, once it knows what the client speaks.

    Connections of one format get the same bytes, so make each once and not per connection.

    >>> Format("lines", keep_alive=b"\\n").binary
    False
    """

    name: str
    """Which form of a `Payload` its readers get; `raw` is what the application sends, as it is."""
    binary: bool = False
    """WebSocket messages are binary."""
    keep_alive: bytes | None = None
    """A sign of life, for transports that need one."""
    farewell: bytes | None = None
    """The last frame when the server ends the connection of its own accord."""
    whole: bool = True
    """Several frames may leave as one WebSocket message or event; else each has its own."""


RAW_TEXT: Final = Format("raw", whole=False)
"""What an application sends, as text messages where it is text."""
RAW_BINARY: Final = Format("raw", binary=True, whole=False)
"""What an application sends, as binary messages."""
