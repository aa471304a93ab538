"""One server connection as its client sees it: requests, answers, refusals, and the way to a WebSocket."""

from __future__ import annotations

from itertools import pairwise
from unittest import mock

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, TextMessage
from wsproto.events import Request as WsRequest

from persistconn.errors import LocalProtocolError
from persistconn.protocol import http1
from persistconn.protocol.http1 import Closed, Http1Server, HttpEvent, Phase, Pong
from persistconn.settings import Settings
from persistconn.wire.http import Chunk, End, Head, Message, Piece, Ping, Request

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /send HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /send HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
HELLO = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
OK: tuple[Piece, ...] = (Head(200), Chunk(b"ok"), End())
OK_BYTES = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def request(events: list[HttpEvent]) -> Request:
    [event] = events
    assert isinstance(event, Request)
    return event


def open_websocket(settings: Settings = Settings()) -> Http1Server:
    http = Http1Server(settings)
    assert request(http.receive(UPGRADE)).upgrade
    assert http.send((Head(101),)) == ACCEPTED
    return http


def refusal_status(http: Http1Server) -> int:
    """The status of the refusal that is due, which must be the last thing sent."""
    answer = http.data_to_send()
    assert b"\r\nConnection: close\r\n" in answer
    assert http.closing
    assert http.phase is Phase.CLOSED
    assert not http.wants_data
    assert http.receive(GET) == []
    assert http.data_to_send() == b""
    return int(answer.split(b" ")[1])


# Requests -----------------------------------------------------------------------------------------


def test_a_request_is_given_out_and_answered() -> None:
    http = Http1Server(client=("192.0.2.1", 5), scheme="https")
    assert http.phase is Phase.IDLE
    it = request(http.receive(GET))
    assert (it.method, it.path, it.query_string, it.body) == ("GET", "/a", "b=c", b"")
    assert (it.client, it.scheme, it.upgrade) == (("192.0.2.1", 5), "https", False)
    assert http.phase is Phase.ANSWERING
    assert http.send(OK) == OK_BYTES
    assert http.phase is Phase.IDLE
    assert not http.closing
    assert request(http.receive(GET)).path == "/a"


@pytest.mark.parametrize("data", [POST, CHUNKED])
def test_a_request_is_only_given_out_whole(data: bytes) -> None:
    http = Http1Server()
    phases = []
    for at in range(len(data) - 1):
        assert http.receive(data[at : at + 1]) == []
        phases.append(http.phase)
        assert http.wants_data
    assert [phase for phase, after in pairwise(phases) if phase is not after] == [Phase.HEAD]
    assert phases[-1] is Phase.BODY
    assert request(http.receive(data[-1:])).body == b"hello"


@pytest.mark.parametrize("long_way", [False, True], ids=["fast", "h11"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT"])
@pytest.mark.parametrize("body", [None, b"", b"hello"])
@pytest.mark.parametrize(
    ("status", "framing"),
    [
        (200, b"Content-Length: 0\r\n"),
        (202, b"Content-Length: 0\r\n"),
        (204, b""),
        (304, b""),
        (405, b"Content-Length: 0\r\n"),
    ],
)
def test_any_method_with_or_without_a_body_may_get_an_empty_answer_and_go_on(
    long_way: bool, method: str, body: bytes | None, status: int, framing: bytes
) -> None:
    http = Http1Server()
    length = "" if body is None else f"Content-Length: {len(body)}\r\n"
    special = "X:  y \r\n" if long_way else ""  # white space that the fast reader leaves to h11
    data = f"{method} /hub?id=1 HTTP/1.1\r\nHost: x\r\n{length}{special}\r\n".encode() + (body or b"")
    with mock.patch.object(http1, "read_head", wraps=http1.read_head) as read_head:
        for _ in range(2):
            it = request(http.receive(data))
            assert (it.method, it.body) == (method, body or b"")
            start, _, rest = http.send((Head(status), End())).partition(b"\r\n")
            assert start.startswith(b"HTTP/1.1 %d " % status)
            assert rest == framing + b"\r\n"
            assert http.phase is Phase.IDLE
    assert read_head.called is (long_way or (method == "GET" and body is not None))


def test_pipelined_requests_wait_for_their_turn() -> None:
    http = Http1Server()
    assert request(http.receive(GET + POST + GET[:10])).method == "GET"
    assert http.receive(GET[10:]) == []
    assert not http.pending
    assert http.send(OK) == OK_BYTES
    assert http.pending
    assert request(http.receive(b"")).body == b"hello"
    http.send(OK)
    assert request(http.receive(b"")).method == "GET"
    http.send(OK)
    assert not http.pending
    assert http.receive(b"") == []
    assert http.phase is Phase.IDLE


def test_a_request_behind_chunks_waits_too() -> None:
    http = Http1Server()
    assert request(http.receive(CHUNKED + CHUNKED)).body == b"hello"
    http.send(OK)
    assert request(http.receive(b"")).body == b"hello"


def test_only_so_much_may_come_ahead() -> None:
    http = Http1Server()
    http.receive(GET)
    assert http.receive(b"x" * 65_535) == []
    assert http.wants_data
    http.receive(b"x")
    assert not http.wants_data
    http.receive(b"x" * 1_048_576)
    assert http.refused == "pipelining"
    assert http.send(OK).endswith(b"Connection: close\r\n\r\nok")
    assert http.closing


def test_empty_lines_before_a_request_are_ignored() -> None:
    http = Http1Server()
    assert http.receive(b"\r\n\r\n\r") == []
    assert http.phase is Phase.IDLE
    assert request(http.receive(b"\n" + GET)).path == "/a"


def test_an_answer_can_be_streamed() -> None:
    http = Http1Server()
    http.receive(GET)
    assert not http.chunking
    assert http.send((Head(200),)) == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert http.chunking  # so this is what each Chunk comes to:
    assert http.send([Chunk(b"data")]) == b"4\r\ndata\r\n"
    assert http.phase is Phase.ANSWERING
    assert http.send(iter((End(),))) == b"0\r\n\r\n"
    assert not http.chunking
    assert http.phase is Phase.IDLE


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
    ],
)
def test_a_client_that_will_not_go_on_is_closed_after_the_answer(data: bytes) -> None:
    http = Http1Server()
    http.receive(data + GET)
    assert b"Connection: close\r\n" in http.send(OK)
    assert http.closing
    assert http.phase is Phase.CLOSED
    assert not http.pending
    assert http.receive(GET) == []


def test_100_continue_is_sent_when_the_body_is_awaited() -> None:
    data = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    http = Http1Server()
    assert http.receive(data) == []
    assert http.data_to_send() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert http.data_to_send() == b""
    assert request(http.receive(b"hi")).body == b"hi"
    http.send(OK)
    assert request(http.receive(data + b"hi")).body == b"hi"
    assert http.data_to_send() == b""


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "limit", "data"),
    [
        (400, "bad_request", b"GET / HTTP/1.1\r\n\r\n"),
        (400, "bad_request", b"\x16\x03\x01"),
        (400, "bad_request", CHUNKED.replace(b"llo", b"llox")),
        (400, "bad_request", POST.replace(b"5", b"5\r\nContent-Length: 5")),
        (413, "max_body_size", POST.replace(b"5", b"5000000")),
        (413, "max_chunks", CHUNKED.replace(b"2\r\nhe\r\n", b"1\r\nh\r\n" * 1_025)),
        (414, "max_head_size", b"GET /" + b"a" * 70_000),
        (431, "max_head_size", GET[:-2] + b"A: " + b"a" * 70_000),
        (431, "max_headers", GET[:-2] + b"A: b\r\n" * 100 + b"\r\n"),
        (501, "bad_request", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"),
        (505, "http_version", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ],
)
def test_what_is_not_allowed_is_refused_and_the_connection_closed(status: int, limit: str, data: bytes) -> None:
    http = Http1Server()
    assert http.receive(data) == []
    assert http.refused == limit
    assert refusal_status(http) == status
    with pytest.raises(LocalProtocolError, match="no request"):
        http.send(OK)


def test_a_head_that_never_ends_is_not_kept() -> None:
    http = Http1Server(Settings(max_head_size=1_000))
    for _ in range(20):
        http.receive(b"A" * 100)
        assert len(http._buffer) <= 1_000
    assert refusal_status(http) == 414


@pytest.mark.parametrize(("data", "name"), [(GET[:-1], "head_timeout"), (POST[:-1], "body_timeout")])
def test_a_request_that_takes_too_long_is_answered_408(data: bytes, name: str) -> None:
    http = Http1Server()
    http.receive(data)
    assert http.time_out().startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert http.refused == name
    assert http.closing


def test_nothing_else_times_out_here() -> None:
    http = Http1Server()
    assert http.time_out() == b""
    http.receive(GET)
    assert http.time_out() == b""
    assert not http.closing


# Draining -----------------------------------------------------------------------------------------


def test_draining_closes_an_idle_connection_now() -> None:
    http = Http1Server()
    http.drain()
    assert http.closing
    assert http.data_to_send() == b""


@pytest.mark.parametrize("before", [GET, GET[:5], POST[:-1]])
def test_draining_lets_a_request_be_answered_first(before: bytes) -> None:
    http = Http1Server()
    http.receive(before)
    http.drain()
    assert not http.closing
    if http.phase is not Phase.ANSWERING:
        http.receive((GET if before == GET[:5] else POST)[len(before) :])
    assert b"Connection: close\r\n" in http.send(OK)
    assert http.closing


def test_draining_lets_an_answer_that_has_begun_come_to_its_end() -> None:
    http = Http1Server()
    http.receive(GET)
    http.send((Head(200), Chunk(b"hi")))
    http.drain()
    assert not http.closing
    assert http.send((End(),)) == b"0\r\n\r\n"
    assert http.closing


def test_draining_leaves_a_websocket_to_its_end() -> None:
    http = open_websocket()
    http.drain()
    assert not http.closing
    assert http.receive(HELLO) == ["Hello"]


# WebSockets ---------------------------------------------------------------------------------------


def test_a_websocket_is_opened_and_used() -> None:
    http = Http1Server()
    assert request(http.receive(UPGRADE)).upgrade
    assert not http.websocket
    assert http.send((Head(101), Message("welcome"))) == ACCEPTED + b"\x81\x07welcome"
    assert http.websocket
    assert http.phase is Phase.WEBSOCKET
    assert http.wants_data
    assert http.receive(HELLO) == ["Hello"]
    assert http.send((Message("hi"), Ping(b"?"))) == b"\x81\x02hi\x89\x01?"
    assert http.receive(b"\x8a\x80\0\0\0\0\x89\x81\0\0\0\0!") == [Pong()]
    assert http.data_to_send() == b"\x8a\x01!"


def test_wsproto_as_a_client_agrees() -> None:
    client = WSConnection(ConnectionType.CLIENT)
    http = Http1Server()
    it = request(http.receive(client.send(WsRequest(host="example.org", target="/chat?x", subprotocols=["a", "b"]))))
    assert (it.path, it.query_string, it.upgrade) == ("/chat", "x", True)
    client.receive_data(http.send((Head(101, ((b"Sec-WebSocket-Protocol", b"b"),)), Message("hi"))))
    accepted, message = client.events()
    assert isinstance(accepted, AcceptConnection)
    assert (accepted.subprotocol, accepted.extensions) == ("b", [])
    assert isinstance(message, TextMessage)
    assert http.receive(client.send(TextMessage("ho"))) == ["ho"]
    client.receive_data(http.send((End(1001, "bye"),)))
    [closed] = client.events()
    assert isinstance(closed, CloseConnection)
    assert (closed.code, closed.reason) == (1001, "bye")
    assert http.receive(client.send(closed.response())) == []
    assert http.closing


def test_frames_behind_the_upgrade_wait_until_it_is_accepted() -> None:
    http = Http1Server()
    http.receive(UPGRADE + HELLO[:3])
    assert http.receive(HELLO[3:]) == []
    assert not http.pending
    http.send((Head(101),))
    assert http.pending
    assert http.receive(b"") == ["Hello"]
    assert not http.pending


def test_a_driver_may_read_frames_without_a_way_round() -> None:
    http = Http1Server()
    http.receive(UPGRADE + HELLO)
    assert http.frames is None
    http.send((Head(101),))
    assert http.frames is None  # first what has come before
    assert http.receive(b"") == ["Hello"]
    frames = http.frames
    assert frames is not None
    assert frames.receive(HELLO * 2) == ["Hello", "Hello"]
    assert not frames.odd
    frames.receive(b"\x89\x80\x00\x00\x00\x00\x88\x80\x00\x00\x00\x00")
    assert frames.odd
    http.take_over(frames)
    assert not frames.odd
    assert http.data_to_send() == b"\x8a\x00\x88\x02\x03\xe8"
    assert http.phase is Phase.CLOSED


def test_too_many_frames_behind_the_upgrade_close_it() -> None:
    http = Http1Server()
    http.receive(UPGRADE + b"x")
    http.receive(b"x" * 1_048_576)
    data = http.send((Head(101), Message("hi")))
    assert data.startswith(ACCEPTED + b"\x81\x02hi\x88")
    assert http.phase is Phase.CLOSING
    assert http.refused == "pipelining"


def test_a_refused_websocket_is_the_end_of_the_connection() -> None:
    http = Http1Server()
    http.receive(UPGRADE + HELLO)
    assert http.send((Head(403), Chunk(b"no"), End())) == (
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    )
    assert http.closing


def test_an_ordinary_request_cannot_be_upgraded() -> None:
    http = Http1Server()
    http.receive(GET)
    with pytest.raises(LocalProtocolError, match="WebSocket"):
        http.send((Head(101),))
    assert http.send(OK) == OK_BYTES


def test_a_bad_first_frame_leaves_the_handshake_undone() -> None:
    http = Http1Server()
    http.receive(UPGRADE)
    with pytest.raises(LocalProtocolError, match="Chunk"):
        http.send((Head(101), Chunk(b"x")))
    assert http.send((Head(101),)) == ACCEPTED


def test_the_peer_closes_a_websocket() -> None:
    http = open_websocket()
    assert http.receive(b"\x88\x80\0\0\0\0") == [Closed(1005)]
    assert http.data_to_send() == b"\x88\x02\x03\xe8"
    assert http.closing
    assert http.phase is Phase.CLOSED
    assert http.send((Message("too late"), End())) == b""
    assert http.receive(HELLO) == []


def test_we_close_a_websocket_and_wait_for_the_peer() -> None:
    http = open_websocket()
    assert http.send((End(1000),)) == b"\x88\x02\x03\xe8"
    assert not http.closing
    assert http.phase is Phase.CLOSING
    assert http.wants_data
    assert http.receive(HELLO + b"\x88\x80\0\0\0\0") == []
    assert http.closing
    assert http.data_to_send() == b""


def test_a_websocket_may_be_accepted_only_to_be_closed() -> None:
    http = Http1Server()
    http.receive(UPGRADE)
    assert http.send((Head(101), End(4000, "no"))) == ACCEPTED + b"\x88\x04\x0f\xa0no"
    assert http.phase is Phase.CLOSING


def test_a_websocket_may_take_parts() -> None:
    http = Http1Server(Settings(max_message_size=4))
    http.receive(UPGRADE + HELLO[:8])
    http.send((Head(101),))
    http.take_parts()
    assert http.receive(b"") == ["He"]
    assert http.receive(HELLO[8:] + b"\x88\x80\0\0\0\0") == ["llo", Closed(1005)]
    assert http.phase is Phase.CLOSED


def test_a_websocket_that_was_closed_at_once_takes_no_parts() -> None:
    http = Http1Server()
    http.receive(UPGRADE)
    http.send((Head(101), End()))
    http.take_parts()
    assert http.receive(HELLO) == []
    assert http.phase is Phase.CLOSING


def test_a_limit_of_the_websocket_is_named() -> None:
    http = open_websocket(Settings(max_message_size=4))
    [closed] = http.receive(HELLO)
    assert isinstance(closed, Closed)
    assert closed.code == 1009
    assert http.refused == "max_message_size"
    assert http.phase is Phase.CLOSING
    assert not http.closing


# The same however it was cut, and whichever reader reads it -------------------------------------------

PLAIN = st.sampled_from([GET, POST, GET.replace(b"/a", b"/\xc3"), GET.replace(b"Host", b"Host "), b"\r\n" + GET])
BODIES = st.binary(min_size=1, max_size=12)
SIZED = b"PUT /x HTTP/1.1\r\nHost: h:80\r\nContent-Length: %d\r\nA: b\r\n\r\n%b"
IN_CHUNKS = b"PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nA: b\r\n\r\n"
REQUESTS = st.one_of(
    PLAIN,
    st.sampled_from(
        [
            CHUNKED,
            GET.replace(b"1.1", b"1.0"),
            POST.replace(b"Host: x", b"Host: x\r\nConnection: keep-alive\r\nX: y "),
            POST.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"),
            GET.replace(b"x\r\n", b"x\n"),
            CHUNKED.replace(b"Host", b"Content-Length: 3\r\nHost"),
        ]
    ),
    st.builds(lambda body: SIZED % (len(body), body), BODIES),
    st.builds(lambda body: IN_CHUNKS % (len(body), body), BODIES),
    st.binary(max_size=30),
)
STREAMS = st.lists(REQUESTS, min_size=1, max_size=5).map(b"".join)
CUTS = st.lists(st.integers(0, 400), max_size=8)


def serve(data: bytes, cuts: list[int]) -> tuple[list[tuple[object, ...]], str | None, bytes]:
    """All requests of this stream, how it was refused, and with what answer."""
    http = Http1Server()
    seen = []
    sent = b""
    marks = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in pairwise(marks):
        events = http.receive(data[begin:end])
        while events:
            it = request(events)
            seen.append((it.method, it.path, it.query_string, it.headers.raw, it.body, it.upgrade))
            assert http.send(OK).endswith(b"\r\n\r\nok")
            events = http.receive(b"") if http.pending else []
        sent += http.data_to_send()
    return seen, http.refused, sent.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")


@settings(max_examples=300)
@given(STREAMS, CUTS)
def test_a_stream_is_read_alike_however_it_is_cut_and_by_either_reader(data: bytes, cuts: list[int]) -> None:
    whole = serve(data, [])
    if whole[1] is None:
        assert serve(data, cuts) == whole
    else:  # it may be refused sooner, and then for what was seen so far
        seen, refused, _ = serve(data, cuts)
        assert (seen, refused is None) == (whole[0], False)
    with mock.patch.object(http1, "read_plain_head", return_value=None):
        assert serve(data, []) == whole


@settings(max_examples=200)
@given(STREAMS)
def test_h11_alone_reads_every_request_that_we_read_the_same(data: bytes) -> None:
    seen, _, _ = serve(data, [])
    alone = h11.Connection(h11.SERVER)
    alone.receive_data(data[len(data) - len(data.lstrip(b"\r\n")) :])
    for method, _, _, headers, body, _ in seen[:1]:
        event = alone.next_event()
        assert isinstance(event, h11.Request)
        assert (event.method.decode(), tuple(event.headers)) == (method, headers)
        theirs = b""
        while isinstance(event := alone.next_event(), h11.Data):
            theirs += event.data
        assert isinstance(event, h11.EndOfMessage)
        assert theirs == body


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_garbage_never_raises(parts: list[bytes]) -> None:
    http = Http1Server(Settings(max_head_size=100))
    for part in parts:
        http.receive(part)
        assert len(http._buffer) <= 200


def test_who_pipelines_a_lot_waits_and_is_not_cut() -> None:
    server = Http1Server(Settings())
    one = b"GET /echo/ping HTTP/1.1\r\nHost: a\r\n\r\n"
    server.receive(one)
    for answered in range(100):
        while server.wants_data and server.refused is None:
            server.receive(one * (65_536 // len(one)))
        assert server.refused is None, answered
        server.send((Head(200), End()))
        server.receive(b"")
