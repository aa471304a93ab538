"""What tests of both formats share: messages in a form that can be compared, and values to send."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import UNSET

from persistconn.hubs.messages import HubProtocol, Message

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
IDS = TEXT.filter(bool)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
SEQUENCE_IDS = st.integers(-(2**63), 2**63 - 1)

SPEECH = st.one_of(
    st.tuples(
        st.just("invocation"),
        st.fixed_dictionaries(
            {"target": IDS, "arguments": st.lists(VALUES, max_size=3)},
            optional={"id": IDS, "stream_ids": st.lists(TEXT, max_size=2)},
        ),
    ),
    st.tuples(
        st.just("invocation"),
        st.fixed_dictionaries({"target": IDS, "arguments": st.just([]), "id": IDS, "is_stream": st.just(True)}),
    ),
    st.tuples(st.just("stream_item"), st.fixed_dictionaries({"id": IDS, "item": VALUES})),
    st.tuples(st.just("completion"), st.fixed_dictionaries({"id": IDS}, optional={"result": VALUES})),
    st.tuples(st.just("completion"), st.fixed_dictionaries({"id": IDS, "error": TEXT})),
    st.tuples(st.just("cancel"), st.fixed_dictionaries({"id": IDS})),
    st.tuples(st.just("ping"), st.just({})),
    st.tuples(st.just("close"), st.fixed_dictionaries({}, optional={"error": TEXT, "allow_reconnect": st.booleans()})),
    st.tuples(st.just("ack"), st.fixed_dictionaries({"sequence": SEQUENCE_IDS})),
    st.tuples(st.just("sequence"), st.fixed_dictionaries({"sequence": SEQUENCE_IDS})),
)
"""A writer and what it is given."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "invocation": {"id": None, "stream_ids": (), "is_stream": False, "headers": None},
    "completion": {"result": UNSET, "error": None},
    "close": {"error": None, "allow_reconnect": False},
}


def write(protocol: HubProtocol, what: str, given: dict[str, Any]) -> bytes:
    written: bytes = getattr(protocol, what)(**given)
    return written


def expected(what: str, given: dict[str, Any]) -> dict[str, Any]:
    """The fields of the message that comes out at the other end."""
    fields = {**DEFAULTS.get(what, {}), **given}
    return {key: tuple(one) if key == "stream_ids" else one for key, one in fields.items()}


def plain(message: Message | None, protocol: HubProtocol) -> dict[str, Any]:
    """The fields of a message, with what is raw decoded."""
    decode = msgspec.json.decode if protocol.format == "text" else msgspec.msgpack.decode

    def read(one: Any) -> Any:
        if isinstance(one, list):
            return [read(each) for each in one]
        return decode(one) if isinstance(one, msgspec.Raw) else one

    assert message is not None
    return {field: read(getattr(message, field)) for field in message.__struct_fields__}


def take_all(protocol: HubProtocol, pieces: list[bytes], limit: int | None = None) -> list[bytes]:
    """The records in a stream that arrives in pieces."""
    found: list[bytes] = []
    rest: bytes | bytearray = b""
    for piece in pieces:
        records, rest = protocol.split(bytes(rest) + piece, limit)
        found += records
    assert rest == b""
    return found
