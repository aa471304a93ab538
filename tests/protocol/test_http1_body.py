"""Bodies by length and by chunks, whole and cut, within limits."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.protocol.http1_body import ChunkedBody, SizedBody
from persistconn.protocol.http1_policy import Refused, read_head
from persistconn.settings import Settings

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(settings: Settings = Settings()) -> ChunkedBody:
    reader = read_head(HEAD, settings, None, "http").chunks
    assert isinstance(reader, h11.Connection)
    return ChunkedBody(reader, settings)


def test_a_sized_body_ends_at_its_length() -> None:
    body = SizedBody(5)
    assert body.feed(b"") is None
    assert body.feed(b"hel") is None
    assert body.feed(b"lo") == b""
    assert body.data == b"hello"
    assert SizedBody(5).feed(b"helloGET") == b"GET"


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.lists(st.integers(0, 200), max_size=5))
def test_chunks_are_joined_wherever_they_were_cut(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(b"%X;note=1\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\nnext"
    body = chunked()
    marks = [0, *sorted(min(cut, len(data) - 5) for cut in cuts), len(data)]
    rests = [body.feed(data[begin:end]) for begin, end in pairwise(marks)]
    assert body.data == b"".join(parts)
    assert b"".join(rest or b"" for rest in rests) == b"next"
    assert [rest for rest in rests if rest is not None]


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"-1\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd",
        b"3\r\nabc\n0\r\n\r\n",
        b"0\r\n\n",
        b"0\r\nA: b\n\n",
        b"0\r\nbroken trailer\r\n\r\n",
    ],
)
def test_broken_chunks_are_refused(data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        chunked().feed(data)
    assert caught.value.status == 400


def test_chunks_are_counted() -> None:
    settings = Settings(max_chunks=3)
    assert chunked(settings).feed(b"1\r\na\r\n" * 3 + b"0\r\n\r\n") == b""
    body = chunked(settings)
    # The parts of one chunk are one chunk.
    assert [body.feed(part) for part in (b"4\r\na", b"b", b"c", b"d\r\n", b"1\r\ne\r\n1\r\nf\r\n")] == [None] * 5
    with pytest.raises(Refused) as caught:
        body.feed(b"1\r\ng\r\n")
    assert (caught.value.status, caught.value.limit) == (413, "max_chunks")


def test_the_data_of_all_chunks_is_limited() -> None:
    limit = 65_539
    settings = Settings(max_body_size=limit)
    assert chunked(settings).feed(b"%x\r\n%b\r\n0\r\n\r\n" % (limit, b"a" * limit)) == b""
    body = chunked(settings)
    assert body.feed(b"fffffff\r\n" + b"a" * limit) is None
    with pytest.raises(Refused) as caught:
        body.feed(b"a")
    assert (caught.value.status, caught.value.limit) == (413, "max_body_size")
    assert chunked(Settings(max_message_size=None)).feed(b"fffffff\r\n" + b"a" * 1_000_000) is None


@pytest.mark.parametrize("part", [b"1;" + b"e" * 100 + b"\r\na\r\n", b"0\r\n" + b"A: b\r\n" * 20, b"1;" + b"e" * 300])
def test_extensions_and_trailers_are_limited(part: bytes) -> None:
    # A peer that sends no data may not send for ever either.
    body = chunked(Settings(max_head_size=100, max_chunks=2))
    with pytest.raises(Refused) as caught:
        body.feed(part * 100)
    assert caught.value.limit in ("bad_request", "max_chunks", "max_head_size")
    assert len(body.data) <= 2


def test_framing_is_limited_also_when_it_comes_slowly() -> None:
    body = chunked(Settings(max_head_size=100, max_chunks=2))
    assert body.feed(b"1;" + b"e" * 90 + b"\r\na\r\n") is None
    assert body.feed(b"1;" + b"e" * 60) is None
    with pytest.raises(Refused) as caught:
        body.feed(b"e" * 20)
    assert (caught.value.status, caught.value.limit) == (431, "max_head_size")
