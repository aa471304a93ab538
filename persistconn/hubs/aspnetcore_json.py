"""Hub messages of ASP.NET Core as JSON: one object, and the byte 1E after it (hub protocol §4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from persistconn import RemoteProtocolError

from . import failures, messages
from .calls import encode, encode_foreign
from .json_text import is_too_deep, without_lone_surrogates
from .messages import Int64, Message

__all__ = ["DEPTH", "RECORD_SEPARATOR", "JsonProtocol", "write_json"]

RECORD_SEPARATOR: Final = b"\x1e"
"""Ends every message. It cannot occur within JSON."""
DEPTH: Final = 64
"""Levels of lists and objects in one message; deeper is a protocol error (§4.1)."""


class _Said(msgspec.Struct, gc=False):
    """Any message. null is as good as absent, except where a value belongs."""

    type: int | None = None
    invocationId: str | None = None
    target: str | None = None
    arguments: list[Raw] | None = None
    streamIds: list[str] | None = None
    headers: dict[str, str] | None = None
    item: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: str | None = None
    allowReconnect: bool | None = None
    sequenceId: Int64 | None = None


class _Type(msgspec.Struct, gc=False):
    type: int


_decode: Final = msgspec.json.Decoder(_Said).decode
_decode_type: Final = msgspec.json.Decoder(_Type).decode


class JsonProtocol:
    r"""The hub protocol `json`, versions 0 to 2. It has no state: one serves all connections.

    Values are written as msgspec does: dates in ISO 8601, bytes in base64, enums by value, non-ASCII as it is.

    >>> json = JsonProtocol()
    >>> json.invocation("notify", ["disk full", 93])
    b'{"type":1,"target":"notify","arguments":["disk full",93]}\x1e'
    >>> json.split(b'{"type":6}\x1e{"type":', 32_768)
    ([b'{"type":6}'], b'{"type":')
    >>> json.read(b'{"error":"boom","type":3,"invocationId":"7"}')
    Completion(id='7', result=UNSET, error='boom')
    """

    __slots__ = ()

    @property
    def name(self) -> Literal["json"]:
        """What the handshake calls it."""
        return "json"

    @property
    def format(self) -> Literal["text"]:
        """What a transport has to carry."""
        return "text"

    # Reading ------------------------------------------------------------------------------------

    def split(self, buffer: bytes | bytearray, limit: int | None) -> tuple[list[bytes], bytes | bytearray]:
        """The whole records that come first in `buffer`, without the byte 1E, and the rest of it.

        Raises RemoteProtocolError if the first message has more than `limit` bytes. One that comes later ends the list
        before it, so split the rest again until there are no more records.
        """
        if RECORD_SEPARATOR not in buffer:
            if limit is not None and len(buffer) >= limit:
                raise RemoteProtocolError(failures.too_large(limit))
            return [], buffer
        *records, rest = buffer.split(RECORD_SEPARATOR)
        whole: list[bytes] = []
        for record in records:
            if limit is not None and len(record) >= limit:
                if not whole:
                    raise RemoteProtocolError(failures.too_large(limit))
                return whole, buffer[sum(map(len, whole)) + len(whole) :]
            whole.append(bytes(record))
        return whole, rest

    def read(self, record: bytes) -> Message | None:
        """The message in a record; None if its type is unknown. Properties may come in any order.

        Raises RemoteProtocolError with the reason: bad JSON, a property that is missing or of the wrong type, both
        `error` and `result`, more than 64 levels.
        """
        try:
            said = _decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._read_again(record, error)
        if is_too_deep(record, DEPTH):
            raise RemoteProtocolError(f"Error reading JSON: it is nested deeper than {DEPTH} levels.")
        if said.type is None:
            raise _missing("type")
        make = _MAKERS.get(said.type)
        return None if make is None else make(said)

    def plain_call(self, data: bytes | str, limit: int | None) -> messages.Invocation | None:
        """See HubProtocol."""
        try:
            record = data.encode() if isinstance(data, str) else data
            last = len(record) - 1
            if last < 0 or record.find(RECORD_SEPARATOR) != last or (limit is not None and last >= limit):
                return None
            if record.count(b"[") + record.count(b"{") > DEPTH:
                return None
            said = _decode(record[:-1])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None
        if said.type != 1 or not said.target or said.arguments is None or said.streamIds:
            return None
        return messages.Invocation(said.target, said.arguments, said.invocationId or None, (), False, said.headers)

    def _read_again(self, record: bytes, error: Exception) -> Message | None:
        whole = without_lone_surrogates(record)
        if whole != record:
            return self.read(whole)
        if isinstance(error, msgspec.ValidationError):
            try:
                if _decode_type(record).type not in _MAKERS:  # whose properties mean something else, perhaps
                    return None
            except (
                msgspec.DecodeError,
                UnicodeDecodeError,
                RecursionError,
            ):  # the fault that was found is not the only one
                pass
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise RemoteProtocolError(f"Error reading JSON: {reason}.") from None

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
        """A call, to be answered if it has an id. Raises TypeError for an argument without a JSON form.

        The last two are for clients: the ids of what is uploaded, and whether a stream is expected.
        """
        call = _WrittenInvocation if not is_stream else _WrittenStreamInvocation
        return _framed(call(id or UNSET, target, arguments, stream_ids or UNSET))

    def stream_item(self, id: str, item: Any) -> bytes:
        """The next item of a stream. Raises TypeError for an item without a JSON form."""
        return _framed(_WrittenItem(id, item))

    def completion(self, id: str, *, result: Any = UNSET, error: str | None = None) -> bytes:
        r"""The end of a call or a stream. Raises TypeError for a result without a JSON form.

        >>> JsonProtocol().completion("0", result=42), JsonProtocol().completion("0")
        (b'{"type":3,"invocationId":"0","result":42}\x1e', b'{"type":3,"invocationId":"0"}\x1e')
        """
        said = _WrittenCompletion(id, result) if error is None else _WrittenCompletion(id, UNSET, error)
        return write_json(said) + RECORD_SEPARATOR

    def cancel(self, id: str) -> bytes:
        """A client wants no more items of a stream. Servers never send this."""
        return _framed(_WrittenCancel(id))

    def ping(self) -> bytes:
        """A sign of life."""
        return b'{"type":6}\x1e'

    def close(self, error: str | None = None, allow_reconnect: bool = False) -> bytes:
        r"""The last message.

        >>> JsonProtocol().close(), JsonProtocol().close("Bye.", allow_reconnect=True)
        (b'{"type":7}\x1e', b'{"type":7,"error":"Bye.","allowReconnect":true}\x1e')
        """
        return _framed(_WrittenClose(UNSET if error is None else error, allow_reconnect or UNSET))

    def ack(self, sequence: int) -> bytes:
        """Everything up to this number has come."""
        return b'{"type":8,"sequenceId":%d}\x1e' % sequence

    def sequence(self, sequence: int) -> bytes:
        """The next tracked message has this number."""
        return b'{"type":9,"sequenceId":%d}\x1e' % sequence


# From what is said to messages ------------------------------------------------------------------


def _missing(name: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"Missing required property '{name}'.")


def _id(said: _Said) -> str:
    if not said.invocationId:
        raise _missing("invocationId")
    return said.invocationId


def _invocation(said: _Said) -> Message:
    if not said.target:
        raise _missing("target")
    if said.arguments is None:
        raise _missing("arguments")
    streams = tuple(said.streamIds) if said.streamIds else ()
    is_stream = said.type == 4
    id = _id(said) if is_stream else said.invocationId or None
    return messages.Invocation(said.target, said.arguments, id, streams, is_stream, said.headers)


def _stream_item(said: _Said) -> Message:
    if said.item is UNSET:
        raise _missing("item")
    return messages.StreamItem(_id(said), said.item)


def _completion(said: _Said) -> Message:
    if said.error is None:
        return messages.Completion(_id(said), said.result)
    if said.result is not UNSET and bytes(said.result) != b"null":
        raise RemoteProtocolError("The 'error' and 'result' properties are mutually exclusive.")
    return messages.Completion(_id(said), UNSET, said.error)


def _sequence_id(said: _Said) -> int:
    if said.sequenceId is None:
        raise _missing("sequenceId")
    return said.sequenceId


_PING: Final = messages.Ping()
_MAKERS: Final[dict[int, Callable[[_Said], Message]]] = {
    1: _invocation,
    2: _stream_item,
    3: _completion,
    4: _invocation,
    5: lambda said: messages.Cancel(_id(said)),
    6: lambda said: _PING,
    7: lambda said: messages.Close(said.error, said.allowReconnect or False),
    8: lambda said: messages.Ack(_sequence_id(said)),
    9: lambda said: messages.Sequence(_sequence_id(said)),
}


# What is written; UNSET leaves no trace, and there is never a null but for values (§4.1) ---------


class _WrittenInvocation(msgspec.Struct, tag_field="type", tag=1, gc=False):
    invocationId: str | UnsetType
    target: str
    arguments: Sequence[Any]
    streamIds: Sequence[str] | UnsetType


class _WrittenStreamInvocation(_WrittenInvocation, tag=4, gc=False):
    pass


class _WrittenItem(msgspec.Struct, tag_field="type", tag=2, gc=False):
    invocationId: str
    item: Any


class _WrittenCompletion(msgspec.Struct, tag_field="type", tag=3, gc=False):
    invocationId: str
    result: Any
    error: str | UnsetType = UNSET


class _WrittenCancel(msgspec.Struct, tag_field="type", tag=5, gc=False):
    invocationId: str


class _WrittenClose(msgspec.Struct, tag_field="type", tag=7, gc=False):
    error: str | UnsetType
    allowReconnect: bool | UnsetType


def _framed(message: msgspec.Struct) -> bytes:
    return write_json(message) + RECORD_SEPARATOR


def write_json(value: Any) -> bytes:
    """A value as JSON. Raises TypeError for what has none: also numbers that are not finite, and half a character.

    >>> write_json({"price": 5.0, "of": None})
    b'{"price":5.0,"of":null}'
    >>> write_json([float("nan")])
    Traceback (most recent call last):
    TypeError: nan has no JSON form
    """
    try:
        written = encode(value)
    except (NotImplementedError, ArithmeticError, ValueError, RecursionError) as error:
        raise TypeError(f"A value has no JSON form: {error}") from error
    if b"null" in written:  # msgspec writes numbers that are not finite as null
        _refuse_what_is_not_finite(msgspec.to_builtins(value, enc_hook=_without_raw))
    return written


def _without_raw(value: Any) -> Any:
    return None if isinstance(value, Raw) else encode_foreign(value)


def _refuse_what_is_not_finite(value: Any) -> None:
    waiting = [value]
    while waiting:
        match waiting.pop():
            case float(number) if not isfinite(number):
                raise TypeError(f"{number} has no JSON form")
            case list(items):
                waiting += items
            case dict(items):
                waiting += items.values()
