"""Server-sent events: one line per envelope, and a reader for streams cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.errors import RemoteProtocolError
from persistconn.wire.http import Chunk
from persistconn.wire.transports import EVENT_STREAM, EventStreamReader


def test_an_envelope_is_an_event() -> None:
    assert EVENT_STREAM.name == "serverSentEvents"
    assert EVENT_STREAM.streaming
    assert not EVENT_STREAM.duplex
    assert (b"Content-Type", b"text/event-stream") in EVENT_STREAM.head.headers
    assert EVENT_STREAM.opening == (Chunk(b"retry: 10000\n\ndata: initialized\n\n"),)
    assert EVENT_STREAM.frame(b'{"C":"e-0","S":1,"M":[]}') == Chunk(b'data: {"C":"e-0","S":1,"M":[]}\n\n')
    assert EVENT_STREAM.keep_alive == Chunk(b"data: {}\n\n")


def read_whole(stream: bytes) -> list[str]:
    return EventStreamReader().feed(stream)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\n\ndata: two\n\n", ["one", "two"]),
        (b"data: one\r\n\r\ndata: two\r\n\r\n", ["one", "two"]),
        (b"data: one\r\rdata: two\r\r", ["one", "two"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data\n\ndata\ndata\n\ndata:\n\n", ["", "\n", ""]),
        (b"data:test\n\ndata: test\n\ndata:  test\n\n", ["test", "test", " test"]),
        (b": comment\n\n:\n\n", []),
        (b"event: add\nid: 7\nretry: 10000\nnonsense\ndata: x\n\n", ["x"]),
        (b"data: unfinished", []),
        (b"data: unfinished\n", []),
        (b"\xef\xbb\xbfdata: after a BOM\n\n", ["after a BOM"]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: two\n\ndata: x\n\n", ["x"]),
        (b"\n\ndata: x\n\n\n\n", ["x"]),
        (b"dataset: x\n\n Data: x\n\n", []),
        (b"data: \xff\xc3\xa4\n\n", ["�ä"]),
        (b"data: a:b\n\n", ["a:b"]),
    ],
)
def test_streams_are_read_as_browsers_do(stream: bytes, events: list[str]) -> None:
    assert read_whole(stream) == events
    reader = EventStreamReader()
    assert [event for at in range(len(stream)) for event in reader.feed(stream[at : at + 1])] == events


lines = st.sampled_from(
    [b"data: x", b"data:y z", b"data", b"", b"", b": c", b"id: 1", b"data: \xc3\xa4", b"\xef\xbb\xbfdata: b"]
)
ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
streams = st.lists(st.builds(bytes.__add__, lines, ends), max_size=12).map(b"".join) | st.binary(max_size=60)


@given(streams, st.lists(st.integers(0, 100), max_size=8))
def test_it_does_not_matter_where_a_stream_is_cut(stream: bytes, cuts: list[int]) -> None:
    reader = EventStreamReader()
    events: list[str] = []
    last = 0
    for cut in [*sorted(cut for cut in cuts if cut <= len(stream)), len(stream)]:
        events += reader.feed(stream[last:cut])
        last = cut
    assert events == read_whole(stream)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), max_size=6))
def test_what_is_framed_is_read(texts: list[str]) -> None:
    pieces = [EVENT_STREAM.frame(text.encode()) for text in texts]
    assert read_whole(b"".join(piece.data for piece in pieces if isinstance(piece, Chunk))) == texts


def test_an_event_may_not_outgrow_the_limit() -> None:
    with pytest.raises(RemoteProtocolError, match="An event is larger than 20 bytes"):
        EventStreamReader(limit=20).feed(b"data: " + b"x" * 20)


def test_many_lines_are_counted_together() -> None:
    reader = EventStreamReader(limit=20)
    assert reader.feed(b"data: xxxxx\ndata: xxxxx\n") == []
    with pytest.raises(RemoteProtocolError):
        reader.feed(b"data: x\n")


def test_many_small_events_are_no_large_one() -> None:
    assert EventStreamReader(limit=20).feed(b"data: xxxxxx\n\n" * 100) == ["xxxxxx"] * 100
