"""A WebSocket peer and our reader: what it says, what is heard, and what goes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as WsPing
from wsproto.events import Pong as WsPong

from persistconn.errors import LocalProtocolError
from persistconn.protocol import websocket
from persistconn.protocol.websocket import Closed, Pong, WebSocket, accept_token
from persistconn.protocol.websocket_mask import mask_in_c, unmask
from persistconn.settings import Settings
from persistconn.wire.http import Chunk, End, Message, Ping
from tests.protocol.frames import BINARY, CLOSE, CUTS, GENEROUS, KEY, MORE, PING, PONG, STREAMS, TEXT, close, frame


def sent_close(data: bytes) -> tuple[int, str]:
    """Code and reason of the close frame these bytes are."""
    assert data[0] == 0x88
    assert data[1] == len(data) - 2
    return int.from_bytes(data[2:4], "big"), data[4:].decode()


@pytest.fixture(params=["python", "c"], autouse=True, scope="module")
def masking(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything holds with and without the library that undoes masking in C (a stand-in where it is missing)."""
    with pytest.MonkeyPatch.context() as patch:
        in_c = mask_in_c or (lambda payload, key: unmask(key + payload))
        patch.setattr(websocket, "mask_in_c", in_c if request.param == "c" else None)
        yield


@pytest.fixture
def socket() -> WebSocket:
    return WebSocket(Settings())


# Messages -----------------------------------------------------------------------------------------


def test_text_is_heard_as_str_and_binary_as_bytes(socket: WebSocket) -> None:
    assert socket.receive(frame(TEXT, "grüß".encode()) + frame(BINARY, b"\x00\xff")) == ["grüß", b"\x00\xff"]
    assert socket.data_to_send() == b""


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 256, 257, 1_536, 1_537, 65_535, 65_536])
def test_messages_of_any_size_come_whole_or_cut(size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    data = frame(BINARY, payload) + frame(TEXT, b"x" * size)
    whole, cut = WebSocket(Settings()), WebSocket(Settings())
    assert whole.receive(data) == [payload, "x" * size]
    assert cut.receive(data[: size // 2]) + cut.receive(data[size // 2 :]) == [payload, "x" * size]


def test_a_message_may_arrive_byte_by_byte(socket: WebSocket) -> None:
    data = frame(TEXT, b"one") + frame(BINARY, b"t" * 200) + frame(PING, b"?") + frame(TEXT, b"", fin=False)
    data += frame(MORE, "drüben".encode())
    events = [event for byte in data for event in socket.receive(bytes([byte]))]
    assert events == ["one", b"t" * 200, "drüben"]
    assert socket.data_to_send() == b"\x8a\x01?"


def test_fragments_make_one_message_and_control_frames_may_come_between(socket: WebSocket) -> None:
    assert socket.receive(frame(TEXT, "ä".encode()[:1], fin=False)) == []
    assert socket.receive(frame(PING, b"still there?")) == []
    assert socket.data_to_send() == b"\x8a\x0cstill there?"
    assert socket.receive(frame(PONG, b"yes") + frame(MORE, "ä".encode()[1:], fin=False)) == [Pong(b"yes")]
    assert socket.receive(frame(MORE, b"!") + frame(TEXT, b"next")) == ["ä!", "next"]


def test_nothing_of_wsproto_is_kept_between_messages(socket: WebSocket) -> None:
    socket.receive(frame(TEXT, b"a", fin=False))
    assert socket._engine is not None
    socket.receive(frame(MORE, b"b"))
    assert socket._engine is None


def test_the_accept_token_is_that_of_the_rfc() -> None:
    assert accept_token(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


# Closing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "heard", "answer"),
    [
        (close(), Closed(1005, ""), 1000),
        (close(1000), Closed(1000, ""), 1000),
        (close(1001, b"bye"), Closed(1001, "bye"), 1001),
        (close(4999, "später".encode()), Closed(4999, "später"), 4999),
    ],
)
def test_the_peers_close_is_answered_and_ends_everything(
    socket: WebSocket, said: bytes, heard: Closed, answer: int
) -> None:
    assert socket.receive(frame(TEXT, b"last") + said + frame(TEXT, b"too late")) == ["last", heard]
    assert sent_close(socket.data_to_send()) == (answer, "")
    assert socket.closed
    assert not socket.closing
    assert socket.receive(frame(TEXT, b"much too late")) == []
    assert socket.send((Message("hello?"),)) == b""


def test_after_our_end_everything_is_ignored_but_the_peers_close(socket: WebSocket) -> None:
    assert sent_close(socket.send((Message("x"), End(1001, "shutdown"), Message("y")))[3:]) == (1001, "shutdown")
    assert socket.closing
    assert socket.receive(frame(TEXT, b"a") + frame(PING) + frame(BINARY, b"b" * 300)[:200]) == []
    assert socket.receive(b"b" * 108 + frame(MORE, b"odd", rsv=7) + close(1001)[:1]) == []
    assert socket.closing
    assert socket.receive(close(1001)[1:]) == []
    assert socket.closed
    assert socket.data_to_send() == b""


def test_a_message_that_was_under_way_is_dropped_by_our_end(socket: WebSocket) -> None:
    socket.receive(frame(BINARY, b"b" * 300)[:100])
    socket.send((End(),))
    assert socket.receive(frame(BINARY, b"b" * 300)[100:] + close()) == []
    assert socket.closed


def test_a_long_reason_is_cut_between_two_characters(socket: WebSocket) -> None:
    code, reason = sent_close(socket.send((End(3000, "ä" * 100),)))
    assert (code, reason) == (3000, "ä" * 61)


@pytest.mark.parametrize("code", [999, 1004, 1005, 1006, 1015, 5000])
def test_a_code_that_may_not_be_sent_is_our_mistake(socket: WebSocket, code: int) -> None:
    with pytest.raises(LocalProtocolError, match=str(code)):
        socket.send((End(code),))
    assert socket.receive(frame(TEXT, b"open as before")) == ["open as before"]


# Sending ------------------------------------------------------------------------------------------


def test_messages_and_pings_are_sent_as_frames(socket: WebSocket) -> None:
    assert socket.send((Message("hi"), Message(b"\x00"), Ping(b"?"))) == b"\x81\x02hi\x82\x01\x00\x89\x01?"


def test_what_is_no_frame_cannot_be_sent(socket: WebSocket) -> None:
    with pytest.raises(LocalProtocolError, match="Chunk"):
        socket.send((Chunk(b"body"),))
    with pytest.raises(LocalProtocolError, match="125"):
        socket.send((Ping(b"x" * 126),))


# Broken rules -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        frame(TEXT, b"x", masked=False),
        frame(PING, masked=False),
        frame(TEXT, b"x", rsv=4),
        frame(PING, b"x", rsv=1),
        frame(3, b"x"),
        frame(11, b"x"),
        frame(MORE, b"x"),
        frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
        frame(PING, b"x", fin=False),
        frame(PING, b"x" * 126),
        frame(PING, b"x" * 126)[:20],
        frame(PING, b"x", width=2),
        frame(TEXT, b"x" * 125, width=2),
        frame(TEXT, b"x" * 300, width=8),
        b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" + KEY + b"x",
        frame(CLOSE, b"\x03"),
        close(999),
        close(1005),
        close(2000),
        close(5000),
    ],
    ids=repr,
)
def test_a_broken_frame_ends_the_connection_with_1002(said: bytes) -> None:
    socket = WebSocket(GENEROUS)
    [event] = socket.receive(said)
    assert isinstance(event, Closed)
    assert (event.code, event.by_peer) == (1002, False)
    assert sent_close(socket.data_to_send()) == (1002, event.reason)
    assert socket.closed


@pytest.mark.parametrize(
    "said",
    [
        frame(TEXT, b"\xff"),
        frame(TEXT, b"\xc3"),
        frame(TEXT, b"good \xed\xa0\x80"),
        frame(TEXT, b"a", fin=False) + frame(MORE, b"\xff", fin=False),
        frame(TEXT, b"\xff" * 1_000)[:20],
    ],
    ids=repr,
)
def test_bad_utf8_is_refused_with_1007_as_soon_as_it_is_seen(socket: WebSocket, said: bytes) -> None:
    [event] = socket.receive(said)
    assert isinstance(event, Closed)
    assert (event.code, event.by_peer) == (1007, False)
    assert sent_close(socket.data_to_send()) == (1007, event.reason)
    assert socket.closing


def test_a_close_frame_with_bad_utf8_is_the_peers_last_frame(socket: WebSocket) -> None:
    [event] = socket.receive(close(1000, b"\xff"))
    assert isinstance(event, Closed)
    assert (event.code, event.by_peer) == (1007, False)
    assert sent_close(socket.data_to_send()) == (1007, event.reason)
    assert socket.closed


def test_bad_utf8_leaves_the_rest_unread_until_the_peer_closes(socket: WebSocket) -> None:
    bad = frame(TEXT, b"\xff" * 100)
    assert len(socket.receive(bad + frame(TEXT, b"more"))) == 1
    assert socket.receive(frame(TEXT, b"more") + close(1007)) == []
    assert socket.closed
    slow = WebSocket(Settings())
    assert len(slow.receive(bad[:20])) == 1
    assert slow.receive(bad[20:] + close(1007)) == []
    assert slow.closed


# Limits -------------------------------------------------------------------------------------------


def test_a_message_over_the_limit_is_refused_by_its_header(socket: WebSocket) -> None:
    assert socket.receive(frame(BINARY, b"x" * 65_536)) == [b"x" * 65_536]
    [event] = socket.receive(frame(BINARY, b"x" * 65_537)[:14])
    assert event == Closed(1009, "The message is larger than 65536 bytes (max_message_size).", by_peer=False)
    assert sent_close(socket.data_to_send()) == (1009, event.reason)
    assert socket.refused == "max_message_size"
    # The peer may be in the middle of it: it can still read why, because we read on.
    assert socket.closing
    assert socket.receive(b"x" * 65_537) == []
    assert socket.receive(close(1009)) == []
    assert socket.closed


def test_small_messages_have_the_same_limit() -> None:
    socket = WebSocket(Settings(max_message_size=10))
    assert socket.receive(frame(TEXT, b"x" * 10)) == ["x" * 10]
    [event] = socket.receive(frame(TEXT, b"x" * 11) + close())
    assert isinstance(event, Closed)
    assert event.code == 1009
    assert socket.closed


def test_fragments_count_together() -> None:
    socket = WebSocket(Settings(max_message_size=10))
    assert socket.receive(frame(TEXT, b"12345", fin=False) + frame(MORE, b"67890")) == ["1234567890"]
    assert socket.receive(frame(TEXT, b"12345", fin=False)) == []
    [event] = socket.receive(frame(MORE, b"678901", fin=False))
    assert event == Closed(1009, "The message is larger than 10 bytes (max_message_size).", by_peer=False)


def test_a_message_has_a_limited_number_of_fragments() -> None:
    socket = WebSocket(Settings(max_fragments=3))
    three = frame(TEXT, b"a", fin=False) + frame(MORE, b"b", fin=False) + frame(MORE, b"c")
    assert socket.receive(three + three) == ["abc", "abc"]
    [event] = socket.receive(frame(TEXT, b"", fin=False) + frame(MORE, b"", fin=False) * 3)
    assert event == Closed(1008, "The message has more than 3 fragments (max_fragments).", by_peer=False)
    assert socket.refused == "max_fragments"


def test_control_frames_are_limited_between_two_messages() -> None:
    socket = WebSocket(Settings(max_control_frames=3))
    assert socket.receive((frame(PING) * 3 + frame(TEXT, b"x")) * 2) == ["x", "x"]
    assert socket.receive(frame(PONG) * 3 + frame(TEXT, b"x", fin=False) + frame(PING) * 3) == [Pong()] * 3
    socket.data_to_send()
    [event] = socket.receive(frame(PING))
    assert event == Closed(1008, "More than 3 control frames without a message (max_control_frames).", by_peer=False)
    assert sent_close(socket.data_to_send())[0] == 1008
    assert socket.refused == "max_control_frames"


def test_pongs_that_we_asked_for_do_not_add_up() -> None:
    socket = WebSocket(Settings(max_control_frames=2))
    for _ in range(10):
        socket.send((Ping(),))
        assert socket.receive(frame(PONG)) == [Pong()]


@pytest.mark.parametrize(("keep_alive", "period"), [(5.0, 5.0), (None, 10.0)])
def test_with_a_clock_the_limit_holds_for_one_keep_alive_period(keep_alive: float | None, period: float) -> None:
    now = 100.0
    socket = WebSocket(Settings(max_control_frames=2, keep_alive=keep_alive), lambda: now)
    assert socket.receive(frame(PONG) * 2) == [Pong(), Pong()]
    now += period
    assert socket.receive(frame(PONG) * 2) == [Pong(), Pong()]
    now += period / 2
    assert isinstance(socket.receive(frame(PONG))[0], Closed)


def test_many_fragments_and_big_messages_take_linear_time() -> None:
    socket = WebSocket(GENEROUS)
    fragments = 4_096
    parts = frame(BINARY, b"", fin=False) + frame(MORE, b"x" * 64, fin=False) * fragments + frame(MORE, b"")
    assert socket.receive(parts) == [b"x" * 64 * fragments]
    data = frame(TEXT, b"y" * 1_048_576)
    events = [event for at in range(0, len(data), 4_096) for event in socket.receive(data[at : at + 4_096])]
    assert events == ["y" * 1_048_576]


# The same as wsproto alone ------------------------------------------------------------------------


@dataclass
class Heard:
    """What one side made of a stream: messages and pongs in order, pings answered, the code it ended with."""

    events: list[object] = field(default_factory=list)
    pings: list[bytes] = field(default_factory=list)
    code: int | None = None
    by_peer: bool = False


def heard_by_wsproto(data: bytes) -> Heard:
    connection = Connection(ConnectionType.SERVER)
    connection.receive_data(data)
    heard = Heard()
    message: list[str | bytes] = []
    for event in connection.events():
        if isinstance(event, (TextMessage, BytesMessage)):
            message.append(event.data if isinstance(event.data, str) else bytes(event.data))
            if event.message_finished:
                heard.events.append(type(message[0])().join(message))  # type: ignore[arg-type]
                message.clear()
        elif isinstance(event, WsPing):
            heard.pings.append(bytes(event.payload))
        elif isinstance(event, WsPong):
            heard.events.append(Pong(bytes(event.payload)))
        elif isinstance(event, CloseConnection):
            heard.code = int(event.code)
            heard.by_peer = connection.state is ConnectionState.REMOTE_CLOSING
    return heard


def heard_by_us(data: bytes, cuts: list[int]) -> Heard:
    socket = WebSocket(GENEROUS)
    heard = Heard()
    output = b""
    marks = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    for begin, end in pairwise(marks):
        for event in socket.receive(data[begin:end]):
            if isinstance(event, Closed):
                assert heard.code is None
                heard.code = event.code
            else:
                heard.events.append(event)
        output += socket.data_to_send()
    while output:
        size = output[1]
        if output[0] == 0x88:
            code = int.from_bytes(output[2:4], "big")
            assert code == {1005: 1000}.get(heard.code or 0, heard.code)
            heard.by_peer = size == 2  # to the peer's close we say no reason
            assert len(output) == 2 + size
        else:
            assert output[0] == 0x8A
            heard.pings.append(output[2 : 2 + size])
        output = output[2 + size :]
    return heard


@settings(max_examples=400)
@given(STREAMS, CUTS)
def test_any_sequence_of_frames_cut_anywhere_is_heard_as_wsproto_hears_it(data: bytes, cuts: list[int]) -> None:
    assert heard_by_us(data, cuts) == heard_by_wsproto(data)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), st.tuples(STREAMS, st.binary(max_size=50)).map(b"".join)), CUTS)
def test_garbage_never_raises_and_is_never_heard_as_more_than_wsproto_hears(data: bytes, cuts: list[int]) -> None:
    ours, theirs = heard_by_us(data, cuts), heard_by_wsproto(data)
    assert theirs.events[: len(ours.events)] == ours.events
    if ours.code is not None:
        assert ours == theirs


@given(st.lists(st.binary(max_size=30), max_size=20), st.booleans())
def test_garbage_never_raises_under_tight_limits_or_after_our_end(parts: list[bytes], ended: bool) -> None:
    socket = WebSocket(Settings(max_message_size=5, max_fragments=2, max_control_frames=2))
    if ended:
        socket.send((End(),))
    for part in parts:
        socket.receive(part)
        assert len(socket._partial) <= 140
