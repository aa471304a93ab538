"""A request as the core sees it, and the pieces an answer is made of.

The pieces say *what* is answered; `protocol.http1`, an ASGI host or an embedder's own server says how
that looks in bytes. Pieces are shared by all exchanges that get the same bytes, and must not be changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, unquote_to_bytes

import msgspec
from msgspec.structs import replace

__all__ = [
    "Chunk",
    "End",
    "Head",
    "Headers",
    "Message",
    "Piece",
    "Ping",
    "Query",
    "RawHeaders",
    "Request",
    "read_query",
    "text_message",
]

RawHeaders: TypeAlias = tuple[tuple[bytes, bytes], ...]


class Headers(Mapping[str, str]):
    """The headers of a request; names in any case, repeated ones joined by a comma (RFC 9110 §5.3).

    Made of pairs, or of header lines as they came, each with its line end, that have been found to be well formed.
    They are kept as they are and searched when somebody asks: most requests are asked for one or two headers, and
    a connection keeps those of its newest request as long as it lives.

    >>> Headers(((b"Host", b"example.org"),))["HOST"], Headers(b"Host: example.org\\r\\n").raw
    ('example.org', ((b'host', b'example.org'),))
    """

    __slots__ = ("_found", "_given")

    def __init__(
        self, given: RawHeaders | bytes = (), found: Mapping[bytes, str | None] = MappingProxyType({})
    ) -> None:
        self._given = given
        self._found = found
        """What is known already by whoever has read them."""

    @property
    def raw(self) -> RawHeaders:
        """Names and values as bytes, in order; names are in lower case where they came as lines."""
        given = self._given
        if isinstance(given, bytes):
            pairs = [line.partition(b":") for line in given.split(b"\r\n")[:-1]]
            return tuple([(name.lower(), value.lstrip(b" \t")) for name, _, value in pairs])
        return given

    def find(self, name: bytes) -> str | None:
        """The value of the header with this lower-case name."""
        if name in self._found:
            return self._found[name]
        given = self._given
        if not isinstance(given, bytes):
            found = [value for key, value in given if key.lower() == name]
            return b", ".join(found).decode("latin-1") if found else None
        lines = b"\n" + given.lower()  # as long as what was given, and one more
        key = b"\n%b:" % name
        at = lines.find(key)
        if at < 0:
            return None
        values: list[bytes] = []
        while at >= 0:
            start = at + len(key) - 1
            values.append(given[start : given.index(b"\r\n", start)].lstrip(b" \t"))
            at = lines.find(key, at + 1)
        return b", ".join(values).decode("latin-1")

    def __getitem__(self, name: str) -> str:
        value = self.find(name.lower().encode("latin-1", "replace"))
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([name.decode("latin-1").lower() for name, _ in self.raw]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return f"<Headers {', '.join(self)}>"  # names only: values may be secret


class Query(Mapping[str, str]):
    """The parameters of a URL or a form: each name gives its first value, `getlist` gives all.

    `+` is a space (application/x-www-form-urlencoded, WHATWG URL §5); bytes that are not UTF-8 become U+FFFD.
    A value is decoded when somebody asks for it.

    >>> Query("a=1&a=2&b=x+y").getlist("a"), Query("b=x+y")["b"]
    (['1', '2'], 'x y')
    """

    __slots__ = ("_first", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        first: dict[str, str] = {}
        for field in text.split("&"):
            name, _, value = field.partition("=")
            if "%" in name or "+" in name:
                name = _decoded(name)
            if field and name not in first:
                first[name] = value
        self._first = first

    def __getitem__(self, name: str) -> str:
        value = self._first[name]
        return _decoded(value) if "%" in value or "+" in value else value

    def find(self, name: str) -> str | None:
        """The first value of `name`, or None."""
        value = self._first.get(name)
        return _decoded(value) if value is not None and ("%" in value or "+" in value) else value

    def find_in_any_case(self, name: str) -> str | None:
        """The first value of `name` as it is spelled, else of one that differs in case only, or None.

        >>> Query("negotiateversion=1").find_in_any_case("negotiateVersion")
        '1'
        """
        if name not in self._first:
            lower = name.lower()
            name = next((other for other in self._first if other.lower() == lower), name)
        return self.find(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def getlist(self, name: str) -> list[str]:
        """All values of `name`, in order; an empty list when there is none."""
        pairs = [field.partition("=") for field in self._text.split("&") if field]
        return [_decoded(value) for key, _, value in pairs if _decoded(key) == name]

    def __repr__(self) -> str:
        return f"<Query {', '.join(self)}>"  # names only: values hold tokens


def _decoded(text: str) -> str:
    return unquote(text.replace("+", " "), errors="replace")


_LONGEST_REMEMBERED: Final = 1_024
_MOST_FIELDS_REMEMBERED: Final = 16
_remembered: Final = lru_cache(maxsize=512)(Query)


def read_query(text: str) -> Query:
    """The parameters of a query string.

    A client sends the same one again and again; what is remembered of that is bounded in number and in size.
    """
    if len(text) > _LONGEST_REMEMBERED or text.count("&") >= _MOST_FIELDS_REMEMBERED:
        return Query(text)
    return _remembered(text)


_NO_SCOPE: Final[Mapping[str, Any]] = MappingProxyType({})


class Request(msgspec.Struct, eq=False, gc=False):
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
    headers: Headers = Headers()
    """By name in any case; `headers.raw` are the pairs."""
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
    dialect: str = "classic"
    """What its client speaks: `classic` or `aspnetcore`."""
    scope: Mapping[str, Any] = _NO_SCOPE
    """What an ASGI server and what stands in front of us there know of the request: `scope["session"]`,
    `scope["user"]`. Empty on a server that is no ASGI server. Keep no request in there: it would never be freed."""

    @property
    def state(self) -> Mapping[str, Any]:
        """What the lifespan of an ASGI application made for its requests; empty where nothing did.

        >>> Request("GET", "/chat", scope={"state": {"database": "db"}}).state["database"]
        'db'
        """
        state: Mapping[str, Any] = self.scope.get("state", _NO_SCOPE)
        return state

    @property
    def token(self) -> str | None:
        """The client's access token: of `Authorization: Bearer`, or `access_token` in the URL, where browsers have to
        put it for WebSockets and event streams.

        >>> Request("GET", "/chat", "id=1&access_token=t0ken").token
        't0ken'
        """
        scheme, _, credentials = (self.headers.find(b"authorization") or "").strip().partition(" ")
        if scheme.lower() == "bearer" and credentials:
            return credentials.strip()
        return self.query.find_in_any_case("access_token") or None

    @property
    def query(self) -> Query:
        """The parameters of the URL. They are not kept: a connection holds on to its request, and has the text."""
        return read_query(self.query_string)

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


class Head(msgspec.Struct, frozen=True, gc=False):
    """Begins an answer: status and headers. Status 101 accepts a WebSocket.

    The body's length need not be told: whoever writes it knows whether it all came in one piece.
    """

    status: int
    headers: RawHeaders = ()
    reason: str = ""


class Chunk(msgspec.Struct, eq=False, gc=False):
    """Some bytes of a body, to be flushed at once. `chunked` is its HTTP/1.1 form, made once.

    >>> Chunk(b"hello").chunked
    b'5\\r\\nhello\\r\\n'
    """

    data: bytes
    wire: bytes | None = None
    """What `to_wire` has made."""

    @property
    def chunked(self) -> bytes:
        """RFC 9112 §7.1: length in hex, the bytes, an end of line each."""
        return self.wire or self.to_wire()

    def to_wire(self) -> bytes:
        """See `chunked`: what leaves for this piece where nothing else has to be decided."""
        if self.wire is None:
            self.wire = b"%x\r\n%b\r\n" % (len(self.data), self.data) if self.data else b""
        return self.wire

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chunk) and other.data == self.data

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Chunk({self.data!r})"


_TEXT_HEADS: Final = tuple([bytes((0x81, size)) for size in range(126)])
_BINARY_HEADS: Final = tuple([bytes((0x82, size)) for size in range(126)])


class Message(msgspec.Struct, eq=False, gc=False):
    """One WebSocket message: `str` goes as text, `bytes` as binary, `text` may give UTF-8 that is ready.

    `frame` is the server's frame (RFC 6455 §5.2: one, final, unmasked), made once however many read it.

    >>> Message("hi").frame
    b'\\x81\\x02hi'
    """

    data: str | bytes
    text: bool = False
    wire: bytes | None = None
    """What `to_wire` has made."""

    @property
    def frame(self) -> bytes:
        """The whole frame, as a server sends it."""
        return self.wire or self.to_wire()

    def to_wire(self) -> bytes:
        """See `frame`: what leaves for this piece where nothing else has to be decided."""
        wire = self.wire
        if wire is None:
            data = self.data
            is_text = self.text
            if isinstance(data, str):
                data = data.encode()
                is_text = True
            size = len(data)
            if size < 126:
                wire = (_TEXT_HEADS if is_text else _BINARY_HEADS)[size] + data
            elif size < 65_536:
                wire = b"%c\x7e%c%c%b" % (0x81 if is_text else 0x82, size >> 8, size & 0xFF, data)
            else:
                wire = b"%c\x7f%b%b" % (0x81 if is_text else 0x82, size.to_bytes(8, "big"), data)
            self.wire = wire
        return wire

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and other.frame == self.frame

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Message({self.data.decode() if self.text and isinstance(self.data, bytes) else self.data!r})"


def text_message(data: bytes) -> Message:
    """A message of UTF-8 that is ready, with its frame if that is soon made.

    >>> text_message(b"hi")
    Message('hi')
    """
    size = len(data)
    return Message(data, True, _TEXT_HEADS[size] + data) if size < 126 else Message(data, True)


class Ping(msgspec.Struct, frozen=True, gc=False):
    """A WebSocket ping; the pong is told to the core by `pong()`. Servers that cannot send one leave it out."""

    data: bytes = b""


class End(msgspec.Struct, frozen=True, gc=False):
    """Ends the exchange: the body is complete, or the WebSocket is closed with this code and reason."""

    code: int = 1000
    reason: str = ""


Piece: TypeAlias = Head | Chunk | Message | Ping | End
