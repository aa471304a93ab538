"""Puts one answer into bytes: status line, headers, and a body framed as the request allows (RFC 9112 §6).

There is no Date header: it needs a clock, which this zone has not, and RFC 9110 §6.6.1 lets a server
without one leave it out. There is no Server header: it only helps those who look for a known weakness.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from ..errors import LocalProtocolError
from ..wire.http import Chunk, End, Head, Piece, RawHeaders
from .http1_policy import Incoming
from .websocket import accept_token

__all__ = ["Answer", "accept_websocket", "plain_answer", "refusal"]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_REASON = re.compile(r"[\t\x20-\x7e]*")

_FRAMED_HERE: Final = frozenset((b"content-length", b"transfer-encoding"))
_WITHOUT_BODY: Final = frozenset((204, 304))

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}

_BEFORE: Final = 0
_SIZED: Final = 1
_CHUNKED: Final = 2
_UNTIL_CLOSE: Final = 3
_EMPTY: Final = 4
"""How the body is framed, once the Head has left."""


def plain_answer(incoming: Incoming, pieces: Sequence[Piece]) -> bytes | None:
    """The same bytes as of an `Answer` for what nearly all answers are: whole, 200, and the connection stays.

    None: it is not so plain.
    """
    if not 2 <= len(pieces) <= 3 or not incoming.keep_alive or incoming.http_1_0 or incoming.request.method == "HEAD":
        return None
    head, body, end = pieces[0], pieces[-2], pieces[-1]
    if type(head) is not Head or head.status != 200 or type(end) is not End:
        return None
    if len(pieces) == 2:
        data = b""
    elif type(body) is Chunk:
        data = body.data
    else:
        return None
    start, closes = _head_bytes(200, head.reason, head.headers)
    return None if closes else b"%bContent-Length: %d\r\n\r\n%b" % (start, len(data), data)


class Answer:
    """The answer to one request, written in as many calls as it takes."""

    __slots__ = ("_framing", "_http_1_0", "_without_body", "finished", "keep_alive")

    def __init__(self, incoming: Incoming) -> None:
        self._framing = _BEFORE
        self._http_1_0 = incoming.http_1_0
        self._without_body = incoming.request.method == "HEAD"
        self.keep_alive = incoming.keep_alive
        """Another request may follow on this connection."""
        self.finished = False

    @property
    def chunking(self) -> bool:
        """The Head has left, and each Chunk leaves in its chunked form."""
        return self._framing == _CHUNKED and not self.finished

    def send(self, pieces: Sequence[Piece]) -> bytes:
        """The bytes of these pieces. Raises LocalProtocolError, changing nothing, when they make no answer."""
        self._check(pieces)
        output: list[bytes] = []
        for index, piece in enumerate(pieces):
            if isinstance(piece, Head):
                output.append(self._begin(piece, pieces[index + 1 :]))
            elif isinstance(piece, Chunk):
                if self._framing == _CHUNKED:
                    output.append(piece.chunked)
                elif self._framing != _EMPTY:
                    output.append(piece.data)
            else:
                if self._framing == _CHUNKED:
                    output.append(b"0\r\n\r\n")
                self.finished = True
        return b"".join(output)

    def _check(self, pieces: Sequence[Piece]) -> None:
        begun = self._framing != _BEFORE
        ended = self.finished
        for piece in pieces:
            if ended:
                raise LocalProtocolError("the answer has ended; nothing can follow its End")
            if isinstance(piece, Head):
                if begun:
                    raise LocalProtocolError("an answer has one Head, and it comes first")
                if piece.status == 101 or not 100 <= piece.status <= 999:
                    raise LocalProtocolError(f"status {piece.status} does not answer this request")
                _head_bytes(piece.status, piece.reason, piece.headers)
                begun = piece.status >= 200
            elif isinstance(piece, (Chunk, End)):
                if not begun:
                    raise LocalProtocolError("an answer begins with a Head")
                ended = isinstance(piece, End)
            else:
                raise LocalProtocolError(f"{type(piece).__name__} is no piece of an HTTP answer")

    def _begin(self, head: Head, rest: Sequence[Piece]) -> bytes:
        start, closes = _head_bytes(head.status, head.reason, head.headers)
        if head.status < 200:
            return b"" if self._http_1_0 else start + b"\r\n"
        self.keep_alive = self.keep_alive and not closes
        if head.status in _WITHOUT_BODY:
            self._framing = _EMPTY
            framing = b""
        elif rest and isinstance(rest[-1], End):
            size = sum([len(piece.data) for piece in rest if isinstance(piece, Chunk)])
            self._framing = _SIZED
            framing = b"Content-Length: %d\r\n" % size
        elif self._http_1_0:
            self._framing = _UNTIL_CLOSE
            self.keep_alive = False
            framing = b""
        else:
            self._framing = _CHUNKED
            framing = b"Transfer-Encoding: chunked\r\n"
        if self._without_body:
            self._framing = _EMPTY
        if not self.keep_alive:
            return start + framing + b"Connection: close\r\n\r\n"
        if self._http_1_0:
            return start + framing + b"Connection: keep-alive\r\n\r\n"
        return start + framing + b"\r\n"


@lru_cache(maxsize=256)
def _head_bytes(status: int, reason: str, headers: RawHeaders) -> tuple[bytes, bool]:
    """Status line and headers without those that frame the body, and whether they ask to close.

    Most answers share a handful of Heads, so the bytes are remembered.
    Raises LocalProtocolError for anything that would break out of its line (response splitting).
    """
    if not _REASON.fullmatch(reason):
        raise LocalProtocolError(f"the reason {reason!r} holds what a status line cannot")
    lines = [b"HTTP/1.1 %d %b" % (status, (reason or _PHRASES.get(status, "")).encode("ascii"))]
    closes = False
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise LocalProtocolError(f"the header {name!r} holds what a header line cannot")
        key = name.lower()
        if key in _FRAMED_HERE:
            raise LocalProtocolError(f"leave {name.decode()} out: how the body is framed is decided here")
        if key == b"connection":
            closes = closes or b"close" in value.lower()
            continue
        lines.append(name + b": " + value)
    return b"\r\n".join(lines) + b"\r\n", closes


def refusal(status: int, message: str, headers: RawHeaders = ()) -> bytes:
    """A whole answer of one sentence after which the connection is closed."""
    start, _ = _head_bytes(status, "", (*headers, (b"Content-Type", b"text/plain; charset=utf-8")))
    body = message.encode()
    return start + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


def accept_websocket(head: Head, key: bytes) -> bytes:
    """The answer that opens a WebSocket (RFC 6455 §4.2.2). The Head may add headers, a subprotocol for one."""
    for name, _ in head.headers:
        if name.lower() in (b"connection", b"upgrade", b"sec-websocket-accept", b"sec-websocket-extensions"):
            raise LocalProtocolError(f"leave {name.decode('latin-1')} out: the handshake is made here")
    start, _ = _head_bytes(101, head.reason, head.headers)
    return (
        start + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept_token(key) + b"\r\n\r\n"
    )
