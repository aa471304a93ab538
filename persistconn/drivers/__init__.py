"""Who moves the bytes: sockets, streams, signals and clocks. Nothing here knows what the bytes mean."""

from __future__ import annotations

from .server import Server, serve

__all__ = ["Server", "serve"]
