"""Hub messages of ASP.NET Core as MessagePack: a length, then one array (hub protocol §5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Raw

from persistconn import RemoteProtocolError

from . import failures, messages
from .messagepack_values import PYTHON, Conventions, write_messagepack
from .messages import Int64, Message

__all__ = ["MessagePackProtocol"]

_LENGTHS: Final = [bytes((length,)) for length in range(128)]


# The arrays; msgspec skips what follows the last element it knows (§5.2) -------------------------

_Headers: TypeAlias = dict[str, str]


class _Array(msgspec.Struct, array_like=True, gc=False):
    pass


class _Invocation(_Array, tag=1):
    headers: _Headers
    id: str | None
    target: str
    arguments: list[Raw]
    stream_ids: list[str] | None = None


class _StreamItem(_Array, tag=2):
    headers: _Headers
    id: str
    item: Raw


class _Completion(_Array, tag=3):
    headers: _Headers
    id: str
    kind: int
    value: Raw | msgspec.UnsetType = UNSET


class _StreamInvocation(_Invocation, tag=4):
    pass


class _Cancel(_Array, tag=5):
    headers: _Headers
    id: str


class _Ping(_Array, tag=6):
    pass


class _Close(_Array, tag=7):
    error: str | None
    allow_reconnect: bool | None = None


class _Ack(_Array, tag=8):
    sequence: Int64


class _Sequence(_Array, tag=9):
    sequence: Int64


class _Type(_Array):
    type: int


_Known: TypeAlias = (
    _Invocation | _StreamItem | _Completion | _StreamInvocation | _Cancel | _Ping | _Close | _Ack | _Sequence
)
_decode: Final[Callable[[bytes], _Known]] = msgspec.msgpack.Decoder(_Known).decode
_decode_type: Final = msgspec.msgpack.Decoder(_Type).decode
_decode_error: Final = msgspec.msgpack.Decoder(str).decode


class MessagePackProtocol:
    r"""The hub protocol `messagepack`, versions 0 to 2. It has no state: one serves all connections.

    `conventions` says how values are written; see `Conventions` for what .NET clients expect.

    >>> messagepack = MessagePackProtocol()
    >>> messagepack.invocation("Log", ["hi"]).hex(" ")
    '0d 96 01 80 c0 a3 4c 6f 67 91 a2 68 69 90'
    >>> messagepack.split(b"\x02\x91\x06\x05\x93", 32_768)
    ([b'\x91\x06'], b'\x05\x93')
    >>> messagepack.read(b"\x95\x03\x80\xa17\x01\xa4boom")
    Completion(id='7', result=UNSET, error='boom')
    """

    __slots__ = ("_conventions",)

    def __init__(self, conventions: Conventions = PYTHON) -> None:
        self._conventions = conventions

    @property
    def name(self) -> Literal["messagepack"]:
        """What the handshake calls it."""
        return "messagepack"

    @property
    def format(self) -> Literal["binary"]:
        """What a transport has to carry."""
        return "binary"

    # Reading ------------------------------------------------------------------------------------

    def split(self, buffer: bytes | bytearray, limit: int | None) -> tuple[list[bytes], bytes | bytearray]:
        """The whole arrays that come first in `buffer`, without their lengths, and the rest of it.

        Raises RemoteProtocolError if the first message is announced with more than `limit` bytes, its length included,
        or with more than 2 GB. One that comes later ends the list before it, so split the rest again until there are
        no more records.
        """
        whole: list[bytes] = []
        begin, size = 0, len(buffer)
        while begin < size:
            try:
                start, end = _find(buffer, begin, limit)
            except RemoteProtocolError:
                if not whole:
                    raise
                break
            if end > size:
                break
            whole.append(bytes(buffer[start:end]))
            begin = end
        return whole, buffer[begin:] if begin else buffer

    def read(self, record: bytes) -> Message | None:
        """The message in an array; None if its type is unknown.

        Raises RemoteProtocolError with the reason: bad MessagePack, or an element that is missing or of the wrong type.
        """
        try:
            said = _decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _read_again(record, error)
        return _MAKERS[type(said)](said)

    def plain_call(self, data: bytes | str, limit: int | None) -> messages.Invocation | None:
        """See HubProtocol."""
        if isinstance(data, str) or not data:
            return None
        try:
            start, end = _find(data, 0, limit)
            if end != len(data):
                return None
            said = _decode(data[start:])
        except (RemoteProtocolError, msgspec.DecodeError, UnicodeError, RecursionError):
            return None
        if type(said) is not _Invocation or not said.target or said.stream_ids:
            return None
        return messages.Invocation(said.target, said.arguments, said.id or None, (), False, said.headers or None)

    # Writing ------------------------------------------------------------------------------------

    def invocation(
        self,
        target: str,
        arguments: Sequence[Any],
        id: str | None = None,
        *,
        stream_ids: Sequence[str] = (),
        is_stream: bool = False,
    ) -> bytes:
        """A call, to be answered if it has an id. Raises TypeError for an argument without a form in MessagePack.

        The last two are for clients: the ids of what is uploaded, and whether a stream is expected.
        """
        return self._framed(4 if is_stream else 1, {}, id or None, target, list(arguments), list(stream_ids))

    def stream_item(self, id: str, item: Any) -> bytes:
        """The next item of a stream. Raises TypeError for an item without a form in MessagePack."""
        return self._framed(2, {}, id, item)

    def completion(self, id: str, *, result: Any = UNSET, error: str | None = None) -> bytes:
        """The end of a call or a stream. Raises TypeError for a result without a form in MessagePack.

        >>> MessagePackProtocol().completion("7", result=7).hex(" "), MessagePackProtocol().completion("7").hex(" ")
        ('07 95 03 80 a1 37 03 07', '06 94 03 80 a1 37 02')
        """
        if error is not None:
            return self._framed(3, {}, id, 1, error)
        return self._framed(3, {}, id, 2) if result is UNSET else self._framed(3, {}, id, 3, result)

    def cancel(self, id: str) -> bytes:
        """A client wants no more items of a stream. Servers never send this."""
        return self._framed(5, {}, id)

    def ping(self) -> bytes:
        """A sign of life."""
        return b"\x02\x91\x06"

    def close(self, error: str | None = None, allow_reconnect: bool = False) -> bytes:
        """The last message.

        >>> MessagePackProtocol().close("bye", allow_reconnect=True).hex(" ")
        '07 93 07 a3 62 79 65 c3'
        """
        return self._framed(7, error, allow_reconnect)

    def ack(self, sequence: int) -> bytes:
        """Everything up to this number has come."""
        return self._framed(8, sequence)

    def sequence(self, sequence: int) -> bytes:
        """The next tracked message has this number."""
        return self._framed(9, sequence)

    def _framed(self, *elements: Any) -> bytes:
        body = write_messagepack(elements, self._conventions)
        length = len(body)
        if length < 128:
            return _LENGTHS[length] + body
        prefix = bytearray()
        while length >= 128:
            prefix.append(length & 127 | 128)
            length >>= 7
        prefix.append(length)
        return bytes(prefix + body)


def _find(buffer: bytes | bytearray, begin: int, limit: int | None) -> tuple[int, int]:
    """Where the message whose length stands at `begin` starts and ends: the end lies beyond the buffer's if the length
    is not complete. RemoteProtocolError if it is too large.
    """
    length = place = 0
    byte = 128
    while byte > 127:
        if begin + place >= len(buffer):
            return begin, len(buffer) + 1
        byte = buffer[begin + place]
        if place == 4 and byte > 7:
            raise RemoteProtocolError(failures.OVER_2GB)
        length |= (byte & 127) << 7 * place
        place += 1
    if limit is not None and place + length > limit:
        raise RemoteProtocolError(failures.too_large(limit))
    return begin + place, begin + place + length


# From arrays to messages ------------------------------------------------------------------------


def _read_again(record: bytes, error: Exception) -> Message | None:
    """None for a type that is not known; else a RemoteProtocolError, which says what is wrong."""
    if isinstance(error, msgspec.ValidationError):
        try:
            if not 1 <= _decode_type(record).type <= 9:
                return None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
    raise RemoteProtocolError(f"Error reading MessagePack: {reason}.") from None


def _not_empty(text: str, what: str) -> str:
    if not text:
        raise RemoteProtocolError(f"Null or empty {what}.")
    return text


def _check(headers: _Headers) -> _Headers | None:
    if not headers:
        return None
    if "" in headers or "" in headers.values():
        raise RemoteProtocolError("Null or empty header.")
    return headers


def _invocation(said: _Invocation) -> Message:
    target = _not_empty(said.target, "target for Invocation message")
    streams = tuple(said.stream_ids) if said.stream_ids else ()
    return messages.Invocation(target, said.arguments, said.id or None, streams, False, _check(said.headers))


def _stream_invocation(said: _StreamInvocation) -> Message:
    target = _not_empty(said.target, "target for StreamInvocation message")
    id = _not_empty(said.id or "", "invocation ID for StreamInvocation message")
    streams = tuple(said.stream_ids) if said.stream_ids else ()
    return messages.Invocation(target, said.arguments, id, streams, True, _check(said.headers))


def _stream_item(said: _StreamItem) -> Message:
    _check(said.headers)
    return messages.StreamItem(_not_empty(said.id, "invocation ID for StreamItem message"), said.item)


def _completion(said: _Completion) -> Message:
    _check(said.headers)
    id = _not_empty(said.id, "invocation ID for Completion message")
    if said.kind == 2:
        return messages.Completion(id)
    if said.kind not in (1, 3) or said.value is UNSET:
        raise RemoteProtocolError("Invalid invocation result kind.")
    if said.kind == 3:
        return messages.Completion(id, said.value)
    try:
        return messages.Completion(id, error=_decode_error(said.value))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RemoteProtocolError("Reading 'error' as String failed.") from None


def _cancel(said: _Cancel) -> Message:
    _check(said.headers)
    return messages.Cancel(_not_empty(said.id, "invocation ID for CancelInvocation message"))


_PING: Final = messages.Ping()
_MAKERS: Final[dict[type[_Array], Callable[[Any], Message]]] = {
    _Invocation: _invocation,
    _StreamItem: _stream_item,
    _Completion: _completion,
    _StreamInvocation: _stream_invocation,
    _Cancel: _cancel,
    _Ping: lambda said: _PING,
    _Close: lambda said: messages.Close(said.error, said.allow_reconnect or False),
    _Ack: lambda said: messages.Ack(said.sequence),
    _Sequence: lambda said: messages.Sequence(said.sequence),
}
