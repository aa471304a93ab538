"""Puts pieces of answers into the messages that an ASGI server sends."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from ..wire.http import Chunk, End, Head, Message, Piece, RawHeaders

__all__ = ["HttpMessages", "WebSocketMessages"]

_HOP_BY_HOP: Final = frozenset({b"connection", b"upgrade", b"keep-alive", b"transfer-encoding"})
_HANDSHAKE: Final = frozenset({b"sec-websocket-protocol", b"sec-websocket-accept", b"sec-websocket-extensions"})
_WITHOUT_BODY: Final = frozenset({204, 304})
_LONGEST_REASON: Final = 123
"""Bytes of it that fit in a close frame (RFC 6455 §5.5)."""

Asgi = dict[str, Any]


@lru_cache(maxsize=256)
def _lowered(headers: RawHeaders) -> tuple[tuple[bytes, bytes], ...]:
    """As ASGI wants them; what frames a connection is for the server to say, and HTTP/2 has none of it."""
    lowered = [(name.lower(), value) for name, value in headers]
    return tuple([pair for pair in lowered if pair[0] not in _HOP_BY_HOP])


class HttpMessages:
    """The messages of one answer: `http.response.…`, or `websocket.http.response.…` in place of a WebSocket."""

    __slots__ = ("_body", "_empty", "_last", "_start")

    def __init__(self, *, head_only: bool = False, last: bool = False, prefix: str = "http.response") -> None:
        self._empty = head_only
        """There is no body, whatever the pieces say."""
        self._last = last
        """The connection ends with this answer."""
        self._start = f"{prefix}.start"
        self._body = f"{prefix}.body"

    def of(self, pieces: Sequence[Piece]) -> list[Asgi]:
        """What to send for these."""
        ended = type(pieces[-1]) is End
        chunks = [piece.data for piece in pieces if type(piece) is Chunk]
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        messages: list[Asgi] = []
        for piece in pieces:
            if type(piece) is Head and piece.status >= 200:
                headers = list(_lowered(piece.headers))  # a new one each: middleware adds to it
                if piece.status in _WITHOUT_BODY:
                    self._empty = True
                elif ended:
                    headers.append((b"content-length", b"%d" % len(body)))
                if self._last:
                    headers.append((b"connection", b"close"))
                messages.append({"type": self._start, "status": piece.status, "headers": headers})
        if self._empty:
            body = b""
        # Also without a body: some servers send the head with the first of it.
        messages.append({"type": self._body, "body": body, "more_body": not ended})
        return messages


class WebSocketMessages:
    """The messages of one WebSocket, or of the answer in its place."""

    __slots__ = ("_denial",)

    _newest: tuple[Sequence[Piece], str, str | bytes] = ([], "", "")
    """What was last, and as what to send it: in a broadcast the next client gets the same."""

    def __init__(self, extensions: object) -> None:
        can_deny = isinstance(extensions, dict) and "websocket.http.response" in extensions
        self._denial = HttpMessages(prefix="websocket.http.response") if can_deny else None

    def of(self, pieces: Sequence[Piece]) -> list[Asgi]:
        """What to send for these."""
        newest, key, data = WebSocketMessages._newest
        if pieces is newest:
            return [{"type": "websocket.send", key: data}]  # each has its own, for middleware may change it
        if len(pieces) == 1 and type(pieces[0]) is Message:
            key, data = _content(pieces[0])
            WebSocketMessages._newest = pieces, key, data
            return [{"type": "websocket.send", key: data}]
        messages: list[Asgi] = []
        for piece in pieces:
            if type(piece) is Message:
                key, data = _content(piece)
                messages.append({"type": "websocket.send", key: data})
            elif type(piece) is Head:
                if piece.status != 101:
                    if self._denial is not None:
                        return self._denial.of(pieces)
                    return [{"type": "websocket.close", "code": 1008}]  # before it is accepted: a plain 403
                messages.append(_accept(piece))
            elif type(piece) is End:
                reason = piece.reason.encode()[:_LONGEST_REASON].decode("utf-8", "ignore")
                messages.append({"type": "websocket.close", "code": piece.code, "reason": reason})
        return messages


def _content(piece: Message) -> tuple[str, str | bytes]:
    data = piece.data
    if isinstance(data, bytes):
        return ("text", data.decode()) if piece.text else ("bytes", data)
    return "text", data


def _accept(head: Head) -> Asgi:
    lowered = _lowered(head.headers)
    protocol = next((value.decode("latin-1") for name, value in lowered if name == b"sec-websocket-protocol"), None)
    headers = [pair for pair in lowered if pair[0] not in _HANDSHAKE]
    return {"type": "websocket.accept", "subprotocol": protocol, "headers": headers}
