"""What an app answers at a path of its own: a page to begin with, a script, an icon."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TypeAlias

from .wire.http import Chunk, End, Head, Piece, Request

__all__ = ["Body", "HealthPage", "Page", "page_for"]

_logger = logging.getLogger("persistconn.app")

Body: TypeAlias = Callable[[Request], bytes]


class Page:
    """A body and its headers, with an ETag (RFC 9110 §8.8.3)."""

    __slots__ = ("_body", "_headers", "_made", "_maker")

    def __init__(self, body: bytes | Body, content_type: str, headers: Mapping[str, str]) -> None:
        self._maker = body if callable(body) else None
        self._body = b"" if callable(body) else bytes(body)
        given = {
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
            **headers,
            "Content-Type": content_type,
        }
        self._headers = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in given.items())
        self._made: tuple[bytes, str, tuple[Piece, ...]] | None = None
        """The newest body, its tag and its answer."""

    def answer(self, request: Request) -> tuple[Piece, ...]:
        """The page, or 304 when the client has it already; 500 when it cannot be made."""
        try:
            body = self._body if self._maker is None else self._maker(request)
        except Exception:
            _logger.exception("the page at %r could not be made", request.path)
            return (Head(500, ((b"Content-Length", b"0"),)), End())
        if self._made is None or self._made[0] != body:
            tag = f'"{sha256(body).hexdigest()[:32]}"'
            head = Head(200, (*self._headers, (b"ETag", tag.encode())))
            self._made = (body, tag, (head, Chunk(body), End()))
        _, tag, whole = self._made
        known = request.headers.get("if-none-match", "")
        if known and (known.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in known.split(",")]):
            kept = tuple(pair for pair in self._headers if pair[0] != b"Content-Type")
            return (Head(304, (*kept, (b"ETag", tag.encode()))), End())
        return whole


class HealthPage(Page):
    """What `health` says, as JSON: 200 while it runs, else 503."""

    __slots__ = ("_health",)

    def __init__(self, health: Callable[[], Mapping[str, object]]) -> None:
        super().__init__(b"", "application/json", {"Cache-Control": "no-store"})
        self._health = health

    def answer(self, request: Request) -> tuple[Piece, ...]:
        """As it is now."""
        health = self._health()
        return (
            Head(200 if health["status"] == "running" else 503, self._headers),
            Chunk(json.dumps(health).encode()),
            End(),
        )


def page_for(request: Request, pages: Mapping[str, Page]) -> Page | None:
    """The page that a GET or HEAD asks for, of exactly its path."""
    page = pages.get(request.path.removeprefix(request.root_path))
    return page if page is not None and request.method in ("GET", "HEAD") and not request.upgrade else None
