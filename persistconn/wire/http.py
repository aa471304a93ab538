"""A request as the core sees it, and the pieces an answer is made of.

The pieces say *what* is answered; `protocol.http1`, an ASGI host or an embedder's own server says how
that looks in bytes. Pieces are shared by all exchanges that get the same bytes, and must not be changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote_to_bytes

__all__ = ["Chunk", "End", "Head", "Headers", "Message", "Piece", "Ping", "Query", "RawHeaders", "Request"]

RawHeaders: TypeAlias = tuple[tuple[bytes, bytes], ...]


class Headers(Mapping[str, str]):
    """The headers of a request; names in any case, repeated ones joined by a comma (RFC 9110 §5.3).

    >>> Headers(((b"Host", b"example.org"),))["HOST"]
    'example.org'
    """

    __slots__ = ("_values",)

    def __init__(self, raw: RawHeaders) -> None:
        values: dict[str, str] = {}
        for name, value in raw:
            key = name.decode("latin-1").lower()
            text = value.decode("latin-1")
            values[key] = f"{values[key]}, {text}" if key in values else text
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Headers {', '.join(self._values)}>"  # names only: values may be secret


class Query(Mapping[str, str]):
    """The parameters of a URL or a form: each name gives its first value, `getlist` gives all.

    `+` is a space (application/x-www-form-urlencoded, WHATWG URL §5); bytes that are not UTF-8 become U+FFFD.

    >>> Query("a=1&a=2&b=x+y").getlist("a"), Query("b=x+y")["b"]
    (['1', '2'], 'x y')
    """

    __slots__ = ("_values",)

    def __init__(self, text: str) -> None:
        values: dict[str, list[str]] = {}
        for name, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
            values.setdefault(name, []).append(value)
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def getlist(self, name: str) -> list[str]:
        """All values of `name`, in order; an empty list when there is none."""
        return list(self._values.get(name, ()))

    def __repr__(self) -> str:
        return f"<Query {', '.join(self._values)}>"  # names only: values hold tokens


@dataclass(slots=True, eq=False)
class Request:
    """One HTTP request, body included, or the request that asks for a WebSocket.

    >>> request = Request("GET", "/echo/negotiate", "clientProtocol=2.1")
    >>> request.query["clientProtocol"]
    '2.1'
    """

    method: str
    """In capitals."""
    path: str
    """Decoded, as seen from outside: it begins with `root_path`."""
    query_string: str = ""
    """As it came, without the `?`."""
    raw_headers: RawHeaders = ()
    body: bytes = b""
    client: tuple[str, int] | None = None
    """Address and port of the peer, when the transport has them."""
    scheme: str = "http"
    """`http` or `https`, also for a WebSocket."""
    root_path: str = ""
    """What a server in front of us has already taken off (ASGI's word for a mount point)."""
    upgrade: bool = False
    """It asks for a WebSocket."""
    user: str | None = None
    """The name of the authenticated user."""
    _headers: Headers | None = field(default=None, repr=False)
    _query: Query | None = field(default=None, repr=False)

    @property
    def headers(self) -> Headers:
        """The headers, by name in any case."""
        if self._headers is None:
            self._headers = Headers(self.raw_headers)
        return self._headers

    @property
    def query(self) -> Query:
        """The parameters of the URL."""
        if self._query is None:
            self._query = Query(self.query_string)
        return self._query

    def with_user(self, user: str | None) -> Request:
        """The same request, made by `user`."""
        return replace(self, user=user)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"  # no query: it holds tokens


def split_target(target: str) -> tuple[str, str]:
    """The decoded path and the raw query string of a request target (RFC 9112 §3.2), any form of it.

    >>> split_target("/a%20b?x=1"), split_target("http://host/p?q")
    (('/a b', 'x=1'), ('/p', 'q'))
    """
    path, _, query = target.partition("#")[0].partition("?")
    if not path.startswith("/") and "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    return unquote_to_bytes(path).decode("utf-8", "replace"), query


@dataclass(frozen=True, slots=True)
class Head:
    """Begins an answer: status and headers. Status 101 accepts a WebSocket.

    The body's length need not be told: whoever writes it knows whether it all came in one piece.
    """

    status: int
    headers: RawHeaders = ()
    reason: str = ""


class Chunk:
    """Some bytes of a body, to be flushed at once. `chunked` is its HTTP/1.1 form, made once.

    >>> Chunk(b"hello").chunked
    b'5\\r\\nhello\\r\\n'
    """

    __slots__ = ("_chunked", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._chunked: bytes | None = None

    @property
    def chunked(self) -> bytes:
        """RFC 9112 §7.1: length in hex, the bytes, an end of line each."""
        if self._chunked is None:
            self._chunked = b"%x\r\n%b\r\n" % (len(self.data), self.data) if self.data else b""
        return self._chunked

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chunk) and other.data == self.data

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Chunk({self.data!r})"


class Message:
    """One WebSocket message: `str` goes as text, `bytes` as binary, `text` may give UTF-8 that is ready.

    `frame` is the server's frame (RFC 6455 §5.2: one, final, unmasked), made once however many read it.

    >>> Message("hi").frame
    b'\\x81\\x02hi'
    """

    __slots__ = ("_frame", "data", "is_text")

    def __init__(self, data: str | bytes, *, text: bool = False) -> None:
        self.is_text = text or isinstance(data, str)
        self.data = data.encode() if isinstance(data, str) else data
        self._frame: bytes | None = None

    @property
    def frame(self) -> bytes:
        """The whole frame, as a server sends it."""
        if self._frame is None:
            size = len(self.data)
            first = 0x81 if self.is_text else 0x82
            if size < 126:
                head = bytes((first, size))
            elif size < 65_536:
                head = b"%c\x7e%b" % (first, size.to_bytes(2, "big"))
            else:
                head = b"%c\x7f%b" % (first, size.to_bytes(8, "big"))
            self._frame = head + self.data
        return self._frame

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and (other.data, other.is_text) == (self.data, self.is_text)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Message({self.data.decode() if self.is_text else self.data!r})"


@dataclass(frozen=True, slots=True)
class Ping:
    """A WebSocket ping; the pong is told to the core by `pong()`. Servers that cannot send one leave it out."""

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class End:
    """Ends the exchange: the body is complete, or the WebSocket is closed with this code and reason."""

    code: int = 1000
    reason: str = ""


Piece: TypeAlias = Head | Chunk | Message | Ping | End
