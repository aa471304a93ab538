"""A WebSocket that gives out what comes as it comes: nothing is kept, nothing is lost, and no rule is forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persistconn.protocol.websocket import Closed, Pong, SocketEvent, WebSocket
from persistconn.protocol.websocket_parts import PartsSocket
from persistconn.settings import Settings
from persistconn.wire.http import End
from tests.protocol.frames import (
    BINARY,
    CONTROL,
    CUTS,
    GENEROUS,
    GOOD,
    MESSAGE_IN_PARTS,
    MORE,
    PING,
    PONG,
    STREAMS,
    TEXT,
    close,
    frame,
)


@pytest.fixture
def socket() -> PartsSocket:
    return PartsSocket(Settings(max_message_size=4, max_fragments=2, max_control_frames=3))


def test_a_whole_message_is_one_part(socket: PartsSocket) -> None:
    assert socket.receive(frame(TEXT, "grüß".encode())) == ["grüß"]
    assert socket.receive(frame(TEXT, b"one") + frame(BINARY, b"two")) == ["one", b"two"]
    assert socket._engine is None


@pytest.mark.parametrize("size", [5, 125, 126, 65_535, 65_536, 1_000_000])
def test_a_message_may_be_as_large_as_it_likes(socket: PartsSocket, size: int) -> None:
    data = frame(BINARY, b"x" * size)
    assert socket.receive(data) == [b"x" * size]
    assert socket.receive(data[:-1]) == [b"x" * (size - 1)]
    assert socket.receive(data[-1:]) == [b"x"]
    assert not socket.odd


def test_parts_are_given_out_as_they_come(socket: PartsSocket) -> None:
    data = frame(BINARY, b"abc")
    assert [socket.receive(data[at : at + 1]) for at in range(len(data))] == [[]] * 6 + [[b"a"], [b"b"], [b"c"]]
    assert socket.receive(frame(TEXT, b"a", fin=False) + frame(MORE, b"b", fin=False)) == ["a", "b"]
    assert socket.receive(frame(MORE, b"c", fin=False) * 10) == ["c"] * 10
    assert socket.receive(frame(MORE, b"d") + frame(TEXT, b"next")) == ["d", "next"]
    assert socket._engine is None


def test_a_character_is_not_cut(socket: PartsSocket) -> None:
    data = frame(TEXT, "ä€".encode())
    assert [socket.receive(part) for part in (data[:7], data[7:9], data[9:])] == [[], ["ä"], ["€"]]


def test_only_an_empty_message_is_an_empty_part(socket: PartsSocket) -> None:
    assert socket.receive(frame(TEXT)) == [""]
    assert socket.receive(frame(BINARY) + frame(TEXT, b"", fin=False) + frame(MORE)) == [b""]
    assert socket.receive(frame(TEXT, b"x")) == ["x"]


def test_control_frames_come_between_parts_and_are_limited(socket: PartsSocket) -> None:
    assert socket.receive(frame(TEXT, b"a", fin=False) + frame(PING, b"?") + frame(PONG)) == ["a", Pong()]
    assert socket.odd
    assert socket.data_to_send() == b"\x8a\x01?"
    *parts, closed = socket.receive(frame(MORE, b"b") + frame(PING) * 4)
    assert parts == ["b"]
    assert closed == Closed(1008, "More than 3 control frames without a message (max_control_frames).", by_peer=False)


def test_what_came_before_a_broken_rule_has_been_given_out(socket: PartsSocket) -> None:
    bad = frame(TEXT, b"good \xff")
    assert socket.receive(bad[:11]) == ["good "]
    [closed] = socket.receive(bad[11:])
    assert isinstance(closed, Closed)
    assert (closed.code, closed.by_peer) == (1007, False)
    assert socket.receive(frame(TEXT, b"more") + close(1007)) == []
    assert socket.closed


# The same as a WebSocket that waits for whole messages ----------------------------------------------


def flow(events: Iterable[SocketEvent]) -> list[str | bytes]:
    """All text and all bytes, joined where they stand side by side."""
    data = [event for event in events if isinstance(event, (str, bytes)) and event]
    return [kind().join(run) for kind, run in groupby(data, type)]


def heard(socket: WebSocket, data: bytes, cuts: list[int]) -> tuple[list[SocketEvent], bytes]:
    marks = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    events = [event for begin, end in pairwise(marks) for event in socket.receive(data[begin:end])]
    return events, socket.data_to_send()


BYTES = st.builds(frame, st.just(BINARY), st.binary(max_size=300))


@settings(max_examples=300)
@given(st.lists(st.one_of(GOOD, BYTES, CONTROL, MESSAGE_IN_PARTS), max_size=8).map(b"".join), CUTS)
def test_all_parts_together_are_the_messages_wherever_they_were_cut(data: bytes, cuts: list[int]) -> None:
    parts, answer = heard(PartsSocket(GENEROUS), data, cuts)
    messages, same_answer = heard(WebSocket(GENEROUS), data, [])
    assert flow(parts) == flow(messages)
    assert answer == same_answer


@settings(max_examples=300)
@given(st.one_of(STREAMS, st.tuples(STREAMS, st.binary(max_size=50)).map(b"".join)), CUTS)
def test_garbage_never_raises_and_is_judged_by_the_same_rules(data: bytes, cuts: list[int]) -> None:
    parts, answer = heard(PartsSocket(GENEROUS), data, cuts)
    messages, same_answer = heard(WebSocket(GENEROUS), data, cuts)
    assert answer == same_answer
    for kind in (Pong, Closed):
        assert [event for event in parts if type(event) is kind] == [event for event in messages if type(event) is kind]
    for given_out, whole in zip(flow(parts), flow(messages), strict=False):
        assert given_out.startswith(whole)  # type: ignore[arg-type]  # they are of one type


@given(st.lists(st.binary(max_size=30), max_size=20), st.booleans())
def test_garbage_never_raises_under_tight_limits_or_after_our_end(parts: list[bytes], ended: bool) -> None:
    socket = PartsSocket(Settings(max_message_size=5, max_fragments=2, max_control_frames=2))
    if ended:
        socket.send((End(),))
    for part in parts:
        socket.receive(part)
        assert len(socket._partial) <= 140
