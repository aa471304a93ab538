"""Both formats say the same things; whatever way their bytes are cut, the same messages come out."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from persistconn import RemoteProtocolError
from persistconn.hubs.aspnetcore_json import JsonProtocol
from persistconn.hubs.aspnetcore_messagepack import MessagePackProtocol
from persistconn.hubs.messages import TRACKED, Ack, Cancel, Close, Completion, HubProtocol, Invocation, Ping
from tests.hubs.said import SPEECH, expected, plain, take_all, write

JSON, MESSAGEPACK = JsonProtocol(), MessagePackProtocol()
PROTOCOLS: list[HubProtocol] = [JSON, MESSAGEPACK]
both = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)


def test_a_protocol_says_what_it_is() -> None:
    assert [(one.name, one.format) for one in PROTOCOLS] == [("json", "text"), ("messagepack", "binary")]


@both
@given(SPEECH)
def test_what_is_written_reads_back(protocol: HubProtocol, speech: tuple[str, dict[str, Any]]) -> None:
    records, rest = protocol.split(write(protocol, *speech), None)
    assert rest == b""
    (message,) = [protocol.read(one) for one in records]
    assert plain(message, protocol) == expected(*speech)


@both
@given(st.lists(SPEECH, max_size=4), st.data())
def test_where_a_stream_is_cut_makes_no_difference(
    protocol: HubProtocol, speeches: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    stream = b"".join(write(protocol, *speech) for speech in speeches)
    cuts = sorted({0, *data.draw(st.lists(st.integers(0, len(stream)))), len(stream)})
    pieces = [stream[start:end] for start, end in pairwise(cuts)]
    messages = [plain(protocol.read(record), protocol) for record in take_all(protocol, pieces)]
    assert messages == [expected(*speech) for speech in speeches]


@both
def test_a_stream_may_be_cut_at_every_byte(protocol: HubProtocol) -> None:
    stream = protocol.ping() + protocol.invocation("Sum", ["x" * 300], "7") + protocol.close()
    whole = take_all(protocol, [stream])
    assert len(whole) == 3
    for cut in range(len(stream) + 1):
        assert take_all(protocol, [stream[:cut], stream[cut:]]) == whole
    assert take_all(protocol, [stream[at : at + 1] for at in range(len(stream))]) == whole


@both
@given(st.binary(max_size=40), st.none() | st.integers(1, 50))
@example(b"\xff\xff\xff\xff\x07", None)
def test_garbage_raises_nothing_but_the_protocol_error(
    protocol: HubProtocol, garbage: bytes, limit: int | None
) -> None:
    records = [garbage]
    try:
        records += protocol.split(garbage, limit)[0]
    except RemoteProtocolError:
        pass
    for record in records:
        try:
            protocol.read(record)
        except RemoteProtocolError:
            pass


@both
@given(SPEECH, st.data())
def test_a_spoiled_message_raises_nothing_but_the_protocol_error(
    protocol: HubProtocol, speech: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    spoiled = bytearray(write(protocol, *speech))
    spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    try:
        for record in protocol.split(spoiled, None)[0]:
            protocol.read(record)
    except RemoteProtocolError:
        pass


# Size -------------------------------------------------------------------------------------------


@both
def test_a_message_of_exactly_the_limit_passes(protocol: HubProtocol) -> None:
    frame = protocol.invocation("Say", ["x" * 200])
    assert len(protocol.split(frame, len(frame))[0]) == 1
    with pytest.raises(RemoteProtocolError, match=f"The maximum message size of {len(frame) - 1}B was exceeded"):
        protocol.split(frame, len(frame) - 1)


@both
def test_a_message_that_is_too_large_is_noticed_before_it_is_there(protocol: HubProtocol) -> None:
    begun = protocol.invocation("Say", ["x" * 200])[:101]
    with pytest.raises(RemoteProtocolError, match="100B"):
        protocol.split(begun, 100)


@both
def test_what_comes_before_a_message_that_is_too_large_counts(protocol: HubProtocol) -> None:
    ping, large = protocol.ping(), protocol.invocation("Say", ["x" * 200])
    records, rest = protocol.split(ping + ping + large + ping, 100)
    assert (len(records), rest) == (2, large + ping)
    with pytest.raises(RemoteProtocolError, match="100B"):
        protocol.split(rest, 100)


@both
def test_nothing_is_copied_while_a_message_is_not_whole(protocol: HubProtocol) -> None:
    begun = bytearray(protocol.invocation("Say", ["hi"])[:-1])
    records, rest = protocol.split(begun, None)
    assert (records, rest) == ([], begun)
    assert rest is begun


# Kinds ------------------------------------------------------------------------------------------


def test_what_stateful_reconnect_numbers() -> None:
    assert isinstance(Invocation("t", []), TRACKED) and isinstance(Completion("1"), TRACKED)
    assert isinstance(Cancel("1"), TRACKED)
    assert not isinstance(Ping(), TRACKED) and not isinstance(Close(), TRACKED) and not isinstance(Ack(1), TRACKED)


# The way that a single call takes -----------------------------------------------------------------

TEXT_BYTES = st.binary(max_size=40)


def as_read(protocol: HubProtocol, data: bytes, limit: int | None) -> Any:
    """The only message in `data`, read the long way; None if there is none, or more, or nonsense."""
    try:
        records, rest = protocol.split(data, limit)
        return protocol.read(*records) if len(records) == 1 and not rest else None
    except RemoteProtocolError:
        return None


@both
@given(st.lists(SPEECH, max_size=2), TEXT_BYTES, st.none() | st.integers(1, 200))
def test_the_short_way_of_a_call_says_the_same_as_the_long_one_or_nothing(
    protocol: HubProtocol, speeches: list[tuple[str, dict[str, Any]]], noise: bytes, limit: int | None
) -> None:
    stream = b"".join(write(protocol, *speech) for speech in speeches)
    for data in (stream, stream[:-1], stream + noise, noise):
        short = protocol.plain_call(data, limit)
        long = as_read(protocol, data, limit)
        if short is not None:
            assert plain(short, protocol) == plain(long, protocol)
        elif isinstance(long, Invocation):
            assert long.is_stream or long.stream_ids


@both
def test_the_short_way_is_for_one_plain_call(protocol: HubProtocol) -> None:
    call = protocol.invocation("Sum", [1, 2], "7")
    assert protocol.plain_call(call, len(call)) is not None
    others = [
        protocol.invocation("Sum", [], "7", stream_ids=["8"]),
        protocol.invocation("Sum", [], "7", is_stream=True),
        protocol.ping(),
        call + call,
        call[:-1],
        b"",
        "",
    ]
    assert [protocol.plain_call(data, None) for data in others] == [None] * len(others)
    assert protocol.plain_call(call, len(call) - 1) is None


def test_the_short_way_reads_text_and_leaves_what_is_odd_to_the_long_one() -> None:
    assert JSON.plain_call('{"type":1,"target":"Hé","arguments":[]}\x1e', None) == Invocation("Hé", [])
    for odd in ('{"type":1,"target":"Hi","arguments":[]}\x1e\ud800', "[" * 70 + "]" * 70 + "\x1e", "{\x1e"):
        assert JSON.plain_call(odd, None) is None
    assert MESSAGEPACK.plain_call(b"\x02\x91\xc1", None) is None
    assert MESSAGEPACK.plain_call("text", None) is None
