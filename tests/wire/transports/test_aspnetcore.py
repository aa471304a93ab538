"""ASP.NET Core's transports: the same frames as messages, as events and as the answers of polls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.wire.format import RAW_BINARY, RAW_TEXT, Format
from persistconn.wire.http import Chunk, Head, Message
from persistconn.wire.transports import EventStreamReader, Framing
from persistconn.wire.transports.aspnetcore import framing

TEXT = Format("json", keep_alive=b'{"type":6}\x1e')
BINARY = Format("messagepack", binary=True, keep_alive=b"\x02\x91\x06")
TRANSPORTS = ["webSockets", "serverSentEvents", "longPolling"]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("format", [TEXT, BINARY, RAW_TEXT, RAW_BINARY])
def test_a_transport_and_a_format_have_one_framing(transport: str, format: Format) -> None:
    how = framing(transport, format)
    assert how is framing(transport, format)
    assert (how.name, how.format) == (transport, format)
    assert how is not framing(transport, Format(format.name, format.binary))  # it looks alike and is another


def test_what_goes_both_ways_and_what_goes_on() -> None:
    def traits(transport: str) -> tuple[bool, bool]:
        how = framing(transport, TEXT)
        return how.duplex, how.streaming

    assert [traits(transport) for transport in TRANSPORTS] == [(True, True), (False, True), (False, False)]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_raw_connections_show_no_sign_of_life(transport: str) -> None:
    assert framing(transport, RAW_TEXT).keep_alive is None


# WebSockets (§2.4) ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "unit", "message"),
    [
        (TEXT, b"{}\x1e", Message("{}\x1e")),
        (BINARY, b"\x02\x91\x06", Message(b"\x02\x91\x06")),
        (RAW_TEXT, "é".encode(), Message("é")),
        (RAW_TEXT, b"\xff", Message(b"\xff")),
        (RAW_TEXT, b"\xed\xa0\x80", Message(b"\xed\xa0\x80")),
        (RAW_BINARY, "é".encode(), Message("é".encode())),
    ],
)
def test_the_format_says_whether_a_message_is_text(format: Format, unit: bytes, message: Message) -> None:
    assert framing("webSockets", format).frame(unit) == message


def test_a_websocket_is_accepted_and_has_signs_of_life() -> None:
    assert framing("webSockets", TEXT).head == Head(101)
    assert framing("webSockets", TEXT).opening == ()
    assert framing("webSockets", TEXT).keep_alive == Message('{"type":6}\x1e')
    assert framing("webSockets", BINARY).keep_alive == Message(b"\x02\x91\x06")


# Server-sent events (§2.5) ----------------------------------------------------------------------

EVENTS = framing("serverSentEvents", TEXT)


def test_a_stream_of_events_is_not_guessed_kept_held_back_or_compressed() -> None:
    assert EVENTS.head == Head(
        200,
        (
            (b"Content-Type", b"text/event-stream"),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Cache-Control", b"no-cache, no-store"),
            (b"X-Accel-Buffering", b"no"),
            (b"Pragma", b"no-cache"),
            (b"Content-Encoding", b"identity"),
        ),
    )
    assert EVENTS.opening == (Chunk(b":\r\n"),)
    assert EVENTS.keep_alive == Chunk(b'data: {"type":6}\x1e\r\n\r\n')


@pytest.mark.parametrize(
    ("unit", "event"),
    [
        (b"{}\x1e", b"data: {}\x1e\r\n\r\n"),
        (b"", b"\r\n"),
        (b"a\nb", b"data: a\r\ndata: b\r\n\r\n"),
        (b"a\r\nb", b"data: a\r\ndata: b\r\n\r\n"),
        (b"a\n\nb\n", b"data: a\r\ndata: \r\ndata: b\r\ndata: \r\n\r\n"),
        (b"\n", b"data: \r\ndata: \r\n\r\n"),
        (b"a\rid: 1", b"data: a\r\ndata: id: 1\r\n\r\n"),
        (b"a\r\r\nb", b"data: a\r\ndata: \r\ndata: b\r\n\r\n"),
    ],
)
def test_an_event_has_lines_of_data_that_end_in_crlf(unit: bytes, event: bytes) -> None:
    assert EVENTS.frame(unit) == Chunk(event)


def stream(how: Framing, units: list[bytes]) -> bytes:
    pieces = [*how.opening, *map(how.frame, units)]
    return b"".join(piece.data for piece in pieces if isinstance(piece, Chunk))


@given(st.lists(st.text(st.sampled_from("ab:\r\n") | st.characters(codec="utf-8"), min_size=1), max_size=6))
def test_what_is_framed_is_read_but_for_the_kind_of_line_ends(texts: list[str]) -> None:
    written = stream(EVENTS, [text.encode() for text in texts])
    assert EventStreamReader().feed(written) == [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    assert all(line in (b"", b":") or line.startswith(b"data: ") for line in written.split(b"\r\n"))


# Long polling (§2.6) ----------------------------------------------------------------------------


def test_a_poll_is_answered_with_the_frames_themselves() -> None:
    how = framing("longPolling", BINARY)
    assert how.frame(b"\x02\x91\x06") == Chunk(b"\x02\x91\x06")
    assert (how.opening, how.keep_alive) == ((), None)
    assert how.head == Head(
        200,
        (
            (b"Content-Type", b"application/octet-stream"),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Cache-Control", b"no-cache, no-store"),
            (b"Pragma", b"no-cache"),
            (b"Expires", b"Thu, 01 Jan 1970 00:00:00 GMT"),
        ),
    )
