"""Judges the head of a request: which are refused, with what answer, and how its body is framed.

h11 parses what passes here. It is generous where a server behind a proxy must not be (RFC 9112 §11.2,
request smuggling), so everything two readers could understand differently is refused before it.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

import h11
import msgspec

from ..errors import RemoteProtocolError
from ..settings import Settings
from ..wire.http import Headers, RawHeaders, Request, split_target

__all__ = [
    "CHUNKED",
    "FITS_BY_DEFAULT",
    "HTTP_1_0",
    "HTTP_1_1",
    "Incoming",
    "Refused",
    "body_limit",
    "head_end",
    "is_key",
    "read_head",
    "too_large",
]

CHUNKED: Final = -1
"""`Incoming.length` of a body that tells its end by itself."""

FITS_BY_DEFAULT: Final = 1_048_576
"""Bytes that any body may have where `max_body_size` is not given: ASP.NET Core clients send all that waits as one."""

HTTP_1_0: Final = b"1.0"
HTTP_1_1: Final = b"1.1"

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Z]+) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_HEADER_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_AUTHORITY = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+;=%:\[\]]*")
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)(.*)", re.IGNORECASE)
_BARE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
_MOST_LENGTH_DIGITS: Final = 18


class Refused(RemoteProtocolError):
    """This request is answered with `status` and the message, then the connection is closed.

    `limit` names the setting that was exceeded, or the rule that was broken: a metric counts it.
    """

    def __init__(self, status: int, limit: str, message: str, headers: RawHeaders = ()) -> None:
        super().__init__(message, status=status)
        self.limit = limit
        self.headers = headers


class Incoming(msgspec.Struct):
    """A request whose head has been read."""

    request: Request
    length: int = 0
    """Bytes of its body, or CHUNKED."""
    http_1_0: bool = False
    keep_alive: bool = True
    """The connection may be used again after the answer."""
    expects_continue: bool = False
    """The client waits for `100 Continue` before it sends the body."""
    websocket_key: bytes | None = None
    """Sec-WebSocket-Key of a proper request for a WebSocket."""
    chunks: h11.Connection | None = None
    """Reads a body that is CHUNKED."""


def body_limit(settings: Settings) -> int | None:
    """Most bytes of a body, or None.

    A classic message comes urlencoded, which makes up to three bytes of one, and beside it there may be a groups
    token. The size of each message itself is judged once it is decoded.
    """
    if settings.max_body_size is not None or settings.max_message_size is None:
        return settings.max_body_size
    return max(3 * settings.max_message_size + 65_536, FITS_BY_DEFAULT)


def too_large(settings: Settings) -> Refused:
    """What is answered to a body over `body_limit`."""
    limit = body_limit(settings)
    return Refused(413, "max_body_size", f"The body is larger than {limit} bytes (max_body_size).")


def head_end(buffer: bytes | bytearray, searched: int, settings: Settings) -> int:
    """Where the head ends, the blank line included, or -1 when more of it is to come.

    Bytes before `searched` have been looked at. Raises Refused when no head can come of this any more.
    """
    end = buffer.find(b"\r\n\r\n", max(0, searched - 3))
    size = len(buffer) if end < 0 else end + 4
    most = settings.max_head_size
    if size > most:
        if buffer.find(b"\r\n", 0, most) < 0:
            raise Refused(414, "max_head_size", f"The request line is longer than {most} bytes (max_head_size).")
        raise Refused(431, "max_head_size", f"The headers are larger than {most} bytes (max_head_size).")
    if end >= 0:
        return end + 4
    # A client that ends lines otherwise would never come to an end; say so instead of waiting.
    if buffer[:1] < b"!" or _BARE_LINE_END.search(buffer, max(0, searched - 1)):
        raise _bad("Lines must end in CR LF, and the first must be a request line.")
    return -1


def read_head(head: bytes, settings: Settings, client: tuple[str, int] | None, scheme: str) -> Incoming:
    """The request that this complete head begins; raises Refused."""
    lines = head[:-4].split(b"\r\n")
    if _BARE_LINE_END.search(head):
        raise _bad("Lines must end in CR LF.")
    target, minor = _check_request_line(lines[0])
    if len(lines) - 1 > settings.max_headers:
        most = settings.max_headers
        raise Refused(431, "max_headers", f"There are more than {most} header lines (max_headers).")
    for line in lines[1:]:
        if _HEADER_LINE.fullmatch(line) is None:
            raise _bad("A header line is malformed.")
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=settings.max_head_size)
    reader.receive_data(head)
    try:
        parsed = reader.next_event()
    except h11.RemoteProtocolError as error:
        # What it still finds (no Host or two, an unknown transfer coding) it says without quoting the peer.
        raise Refused(error.error_status_hint, "bad_request", f"{error}.") from None
    assert isinstance(parsed, h11.Request)  # the head is complete
    # h11 joins a repeated Content-Length, so it is judged by the lines as they came.
    lengths = [line[15:].strip(b" \t") for line in lines[1:] if line[:15].lower() == b"content-length:"]
    fields = _Fields(list(parsed.headers))
    target = _check_host(target, fields)
    incoming = Incoming(_request(parsed.method, target, fields.items, client, scheme), http_1_0=minor == 0)
    _read_framing(incoming, fields, lengths, settings)
    _read_connection(incoming, fields)
    if incoming.length == CHUNKED:
        incoming.chunks = reader
    return incoming


class _Fields:
    """The header lines of one request, by lower-case name."""

    def __init__(self, items: list[tuple[bytes, bytes]]) -> None:
        self.items = items

    def all(self, name: bytes) -> list[bytes]:
        return [value for found, value in self.items if found == name]

    def tokens(self, name: bytes) -> set[bytes]:
        """The members of a comma-separated list in lower case (RFC 9110 §5.6.1)."""
        return {
            token for value in self.all(name) for part in value.lower().split(b",") if (token := part.strip(b" \t"))
        }


def _bad(message: str) -> Refused:
    return Refused(400, "bad_request", message)


def _request(
    method: bytes, target: bytes, fields: list[tuple[bytes, bytes]], client: tuple[str, int] | None, scheme: str
) -> Request:
    path, query = split_target(target.decode("ascii"))
    headers = Headers(b"".join([b"%b: %b\r\n" % field for field in fields]))
    return Request(method.decode("ascii"), path, query, headers, client=client, scheme=scheme)


def _check_request_line(line: bytes) -> tuple[bytes, int]:
    """The target and the minor version."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _bad("The request line is malformed.")
    method, target, major, minor = match.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        raise Refused(505, "http_version", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    if method == b"CONNECT":
        raise Refused(501, "bad_request", "This is no proxy.")
    if target[:1] != b"/" and not _ABSOLUTE.fullmatch(target) and not (target == b"*" and method == b"OPTIONS"):
        raise _bad("The request target must be a path or an http URL.")
    return target, int(minor)


def _check_host(target: bytes, fields: _Fields) -> bytes:
    """The target as a path; the authority of an absolute one takes the place of Host (RFC 9112 §3.2.2)."""
    hosts = fields.all(b"host")
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        hosts = [absolute[1]]
        fields.items = [(name, value) for name, value in fields.items if name != b"host"]
        fields.items.insert(0, (b"host", absolute[1]))
        target = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    if hosts and not _AUTHORITY.fullmatch(hosts[0]):
        raise _bad("The Host header is malformed.")
    return target


def _read_framing(incoming: Incoming, fields: _Fields, lengths: list[bytes], settings: Settings) -> None:
    """How long the body is (RFC 9112 §6.3), refusing whatever another reader might see differently."""
    encodings = fields.all(b"transfer-encoding")
    if encodings:
        if incoming.http_1_0 or lengths:
            raise _bad("Transfer-Encoding must come alone, and in HTTP/1.1.")
        incoming.length = CHUNKED
    elif lengths:
        value = lengths[0]
        if len(lengths) > 1 or not value.isdigit():
            raise _bad("There must be one Content-Length of digits.")
        limit = body_limit(settings)
        if len(value) > _MOST_LENGTH_DIGITS or (limit is not None and int(value) > limit):
            raise too_large(settings)
        incoming.length = int(value)
    expectations = fields.tokens(b"expect")
    if expectations and not incoming.http_1_0:
        if expectations != {b"100-continue"}:
            raise Refused(417, "bad_request", "No expectation but 100-continue can be met.")
        incoming.expects_continue = True


def _read_connection(incoming: Incoming, fields: _Fields) -> None:
    """Whether the connection stays (RFC 9112 §9.3) and whether it is to become a WebSocket (RFC 6455 §4.2.1)."""
    tokens = fields.tokens(b"connection")
    incoming.keep_alive = b"close" not in tokens and (not incoming.http_1_0 or b"keep-alive" in tokens)
    request = incoming.request
    asks = b"upgrade" in tokens and b"websocket" in fields.tokens(b"upgrade")
    if not asks or incoming.http_1_0 or request.method != "GET":
        return  # RFC 9110 §7.8: an Upgrade may be ignored
    if incoming.length:
        raise _bad("A request for a WebSocket has no body.")
    if fields.all(b"sec-websocket-version") != [b"13"]:
        versions = ((b"Sec-WebSocket-Version", b"13"),)
        raise Refused(426, "bad_request", "Only version 13 of the WebSocket protocol is spoken here.", versions)
    keys = fields.all(b"sec-websocket-key")
    if len(keys) != 1 or not is_key(keys[0]):
        raise _bad("There must be one Sec-WebSocket-Key of 16 bytes in base64.")
    request.upgrade = True
    incoming.websocket_key = keys[0]


def is_key(value: bytes) -> bool:
    """Whether this is a Sec-WebSocket-Key: 16 bytes in base64."""
    try:
        return len(value) == 24 and len(binascii.a2b_base64(value, strict_mode=True)) == 16
    except binascii.Error:
        return False
