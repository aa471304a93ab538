"""What is said on the hub protocol of ASP.NET Core, and what each of its formats can do.

Sections (§) are those of the ASP.NET Core hub protocol. Arguments, items and results stay raw here: only the method
that is called knows their types, and what does not fit them fails the call, never the connection (§4.5).
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from typing import Annotated, Any, Literal, Protocol, TypeAlias

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

__all__ = [
    "TRACKED",
    "Ack",
    "Cancel",
    "Close",
    "Completion",
    "HubProtocol",
    "Int64",
    "Invocation",
    "Message",
    "Ping",
    "Sequence",
    "StreamItem",
]

Int64: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""Sequence numbers have this range on the wire."""


class Invocation(Struct, frozen=True, gc=False):
    """A method is called: types 1 and 4 (§4.2)."""

    target: str
    """As the caller spells it."""
    arguments: list[Raw]
    """Each in the format of the connection."""
    id: str | None = None
    """Names the answer; None: the caller wants none, not even of a failure."""
    stream_ids: tuple[str, ...] = ()
    """The streams that the caller uploads, in the order of the parameters."""
    is_stream: bool = False
    """Type 4: the caller expects a stream of items."""
    headers: dict[str, str] | None = None
    """What clients add: trace context, or all their HTTP headers, so they belong in no log."""


class StreamItem(Struct, frozen=True, gc=False):
    """The next item of a stream: type 2 (§4.2)."""

    id: str
    item: Raw


class Completion(Struct, frozen=True, gc=False):
    """A call or a stream has come to its end: type 3 (§4.2)."""

    id: str
    result: Raw | UnsetType = UNSET
    """UNSET: there is none, which is not the same as null."""
    error: str | None = None


class Cancel(Struct, frozen=True, gc=False):
    """The caller wants no more items of a stream: type 5 (§4.2)."""

    id: str


class Ping(Struct, frozen=True, gc=False):
    """A sign of life: type 6 (§4.2). It is never answered."""


class Close(Struct, frozen=True, gc=False):
    """The last message of a side: type 7 (§4.2)."""

    error: str | None = None
    allow_reconnect: bool = False
    """The client may come back by itself, as a new connection."""


class Ack(Struct, frozen=True, gc=False):
    """Everything up to this number has come: type 8 (§6.3), in stateful reconnect only."""

    sequence: int


class Sequence(Struct, frozen=True, gc=False):
    """The next tracked message has this number: type 9 (§6.6), the first message on a new socket."""

    sequence: int


Message: TypeAlias = Invocation | StreamItem | Completion | Cancel | Ping | Close | Ack | Sequence

TRACKED = (Invocation, StreamItem, Completion, Cancel)
"""The messages that stateful reconnect numbers (§6.2)."""


class HubProtocol(Protocol):
    """A format of hub messages: how they are cut out of a stream of bytes, read and written.

    `JsonProtocol` and `MessagePackProtocol` are the two there are. Readers raise RemoteProtocolError, whose message is
    the reason that detailed errors tell. Writers give whole messages, framing included, and raise TypeError for a
    value that has no form.
    """

    @property
    def name(self) -> Literal["json", "messagepack"]:
        """What the handshake calls it."""
        ...

    @property
    def format(self) -> Literal["text", "binary"]:
        """What a transport has to carry: the kind of a WebSocket message."""
        ...

    def split(self, buffer: bytes | bytearray, limit: int | None) -> tuple[list[bytes], bytes | bytearray]:
        """The whole records that come first in `buffer`, without their framing, and the rest of it.

        A message of more than `limit` bytes, framing included, raises RemoteProtocolError, as early as it can be seen,
        but not before the records in front of it have been given: split the rest again until there are no more.
        """
        ...

    def read(self, record: bytes) -> Message | None:
        """The message in a record; None for one of a type that this version does not know (§4.1)."""
        ...

    def plain_call(self, data: bytes | str, limit: int | None) -> Invocation | None:
        """What comes most of all: the one call in `data`, if that is one whole message, a call without streams, and
        nothing else. None: it may be anything; `split` and `read` will see.
        """
        ...

    def invocation(
        self,
        target: str,
        arguments: Several[Any],
        id: str | None = None,
        *,
        stream_ids: Several[str] = (),
        is_stream: bool = False,
    ) -> bytes:
        """A call, to be answered if it has an id. Servers use neither `stream_ids` nor `is_stream`."""
        ...

    def stream_item(self, id: str, item: Any) -> bytes:
        """The next item of a stream."""
        ...

    def completion(self, id: str, *, result: Any = UNSET, error: str | None = None) -> bytes:
        """The end of a call or a stream: with a result, with an error, or with neither. An error wins."""
        ...

    def cancel(self, id: str) -> bytes:
        """A client wants no more items of a stream. Servers never send this."""
        ...

    def ping(self) -> bytes:
        """A sign of life."""
        ...

    def close(self, error: str | None = None, allow_reconnect: bool = False) -> bytes:
        """The last message."""
        ...

    def ack(self, sequence: int) -> bytes:
        """Everything up to this number has come."""
        ...

    def sequence(self, sequence: int) -> bytes:
        """The next tracked message has this number."""
        ...
