"""An answer in bytes: framed by what the request allows and by what is known of the body."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.errors import LocalProtocolError
from persistconn.protocol.http1_answer import Answer, accept_websocket, plain_answer, refusal
from persistconn.protocol.http1_policy import Incoming
from persistconn.wire.http import Chunk, End, Head, Message, Piece, Ping, Request

TEXT = ((b"Content-Type", b"text/plain"),)


def answer(method: str = "GET", *, http_1_0: bool = False, keep_alive: bool = True) -> Answer:
    return Answer(Incoming(Request(method, "/"), http_1_0=http_1_0, keep_alive=keep_alive))


# Framing ------------------------------------------------------------------------------------------


def test_an_answer_in_one_call_has_a_length() -> None:
    it = answer()
    assert it.send((Head(200, TEXT), Chunk(b"hello"), End())) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
    )
    assert it.finished
    assert it.keep_alive


def test_several_chunks_or_none_have_one_length_too() -> None:
    assert answer().send((Head(404), Chunk(b"not "), Chunk(b"here"), End())) == (
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\n\r\nnot here"
    )
    assert answer().send((Head(200), End())) == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert answer().send((Head(418, (), "Teapot"), Chunk(b"x"), End())).startswith(b"HTTP/1.1 418 Teapot\r\n")
    assert answer().send((Head(299), Chunk(b""), End())) == b"HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"


def test_an_answer_in_several_calls_goes_in_chunks() -> None:
    it = answer()
    assert it.send((Head(200, TEXT), Chunk(b"hi"))) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
    )
    assert it.send((Chunk(b""),)) == b""
    assert it.send((Chunk(b"0123456789abcdef"),)) == b"10\r\n0123456789abcdef\r\n"
    assert not it.finished
    assert it.send((Chunk(b"."), End())) == b"1\r\n.\r\n0\r\n\r\n"
    assert it.finished


def test_http_1_0_gets_a_length_or_the_end_of_the_connection() -> None:
    it = answer(http_1_0=True)
    assert it.send((Head(200), Chunk(b"hi"), End())) == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi"
    )
    assert it.keep_alive
    it = answer(http_1_0=True)
    assert it.send((Head(200),)) == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    assert it.send((Chunk(b"hi"), End())) == b"hi"
    assert not it.keep_alive


def test_when_the_client_will_close_so_do_we_and_say_so() -> None:
    it = answer(keep_alive=False)
    assert it.send((Head(200), Chunk(b"hi"), End())) == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    )


@pytest.mark.parametrize("status", [200, 503])
def test_an_answer_may_ask_to_close(status: int) -> None:
    it = answer()
    data = it.send((Head(status, ((b"Connection", b"Close"),)), Chunk(b""), End()))
    assert data.count(b"onnection: close\r\n") == 1
    assert not it.keep_alive


def test_head_gets_the_headers_of_get_without_the_body() -> None:
    assert answer("HEAD").send((Head(200), Chunk(b"hello"), End())) == (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    it = answer("HEAD")
    assert it.send((Head(200), Chunk(b"hello"))) == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert it.send((Chunk(b"hello"), End())) == b""
    assert it.finished


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(status: int) -> None:
    it = answer()
    data = it.send((Head(status), Chunk(b"lost"), End()))
    assert data.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in data
    assert it.finished
    it = answer()
    assert it.send((Head(status),)).count(b"\r\n") == 2  # nor a Transfer-Encoding, though the end is not known yet
    assert it.send((End(),)) == b""
    assert it.keep_alive


def test_an_informational_head_comes_before_the_answer() -> None:
    it = answer()
    assert it.send((Head(103, ((b"Link", b"</x>"),)),)) == b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    assert it.send((Head(200), Chunk(b"x"), End())).startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n")
    assert answer(http_1_0=True).send((Head(103),)) == b""


# The short way ------------------------------------------------------------------------------------


@given(
    st.sampled_from(["GET", "POST", "HEAD"]),
    st.booleans(),
    st.booleans(),
    st.lists(
        st.sampled_from(
            [
                *(Head(200), Head(200, TEXT), Head(200, ((b"Connection", b"close"),)), Head(404), Head(103)),
                *(Chunk(b""), Chunk(b"hello"), End(), Message("x")),
            ]
        ),
        max_size=4,
    ),
)
def test_a_plain_answer_is_what_the_long_way_makes(
    method: str, http_1_0: bool, keep_alive: bool, pieces: list[Piece]
) -> None:
    incoming = Incoming(Request(method, "/"), http_1_0=http_1_0, keep_alive=keep_alive)
    quick = plain_answer(incoming, pieces)
    if quick is not None:
        it = Answer(incoming)
        assert it.send(pieces) == quick
        assert (it.finished, it.keep_alive) == (True, True)


def test_what_is_no_answer_is_not_plain() -> None:
    head = Head(200)
    for pieces in (
        (head, head, End()),
        (Head(200), Head(200), End()),
        (Head(200), Message("x"), End()),
        (Chunk(b"x"), End()),
    ):
        assert plain_answer(Incoming(Request("POST", "/")), pieces) is None


def test_what_nearly_all_answers_are_is_plain() -> None:
    for pieces in ((Head(200), End()), (Head(200, TEXT), Chunk(b"hello"), End())):
        assert plain_answer(Incoming(Request("POST", "/")), pieces) is not None


# Misuse -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        (Chunk(b"x"),),
        (End(),),
        (Head(200), Head(200)),
        (Head(101),),
        (Head(99),),
        (Head(1000),),
        (Message("x"),),
        (Head(200), Ping(), End()),
        (Head(200), End(), Chunk(b"x")),
        (Head(200, ((b"A", b"b\r\nC: d"),)), Chunk(b"x"), End()),
        (Head(200, ((b"A", b"b\nC: d"),)), End()),
        (Head(200, ((b"A\r", b"b"),)), End()),
        (Head(200, ((b"A b", b"b"),)), End()),
        (Head(200, ((b"A", b"\x00"),)), End()),
        (Head(200, ((b"Content-Length", b"1"),)), Chunk(b"x"), End()),
        (Head(200, ((b"transfer-encoding", b"chunked"),)), Chunk(b"x")),
        (Head(200, (), "O\r\nK"), Chunk(b"x"), End()),
        (Head(200, (), "\xe4"), Chunk(b"x"), End()),
    ],
    ids=repr,
)
def test_pieces_that_make_no_answer_raise_and_change_nothing(pieces: tuple[Piece, ...]) -> None:
    it = answer()
    with pytest.raises(LocalProtocolError):
        it.send(pieces)
    assert it.send((Head(200), Chunk(b"x"), End())) == b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
    with pytest.raises(LocalProtocolError, match="ended"):
        it.send((Chunk(b"more"),))


# Refusals and upgrades ----------------------------------------------------------------------------


def test_a_refusal_is_one_sentence_and_the_end_of_the_connection() -> None:
    assert refusal(426, "No.", ((b"Sec-WebSocket-Version", b"13"),)) == (
        b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 3\r\nConnection: close\r\n\r\nNo."
    )


def test_a_websocket_is_accepted_as_in_the_rfc() -> None:
    assert accept_websocket(Head(101, ((b"Sec-WebSocket-Protocol", b"chat"),)), b"dGhlIHNhbXBsZSBub25jZQ==") == (
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Protocol: chat\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


@pytest.mark.parametrize("name", [b"Connection", b"upgrade", b"Sec-WebSocket-Accept", b"Sec-WebSocket-Extensions"])
def test_the_handshake_is_not_the_embedders_to_write(name: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="handshake"):
        accept_websocket(Head(101, ((name, b"x"),)), b"")


# h11 as a client understands every answer -----------------------------------------------------------


@given(
    st.sampled_from(["GET", "POST", "HEAD"]),
    st.booleans(),
    st.sampled_from([200, 204, 304, 404, 500]),
    st.lists(st.binary(max_size=20), max_size=4),
    st.integers(0, 6),
    st.booleans(),
)
def test_a_client_reads_what_was_meant(
    method: str, keep_alive: bool, status: int, parts: list[bytes], cut: int, split: bool
) -> None:
    it = answer(method, keep_alive=keep_alive)
    pieces: list[Piece] = [Head(status, TEXT), *(Chunk(part) for part in parts), End()]
    calls = [pieces[:cut], pieces[cut:]] if split else [pieces]
    data = b"".join(it.send(tuple(call)) for call in calls)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    assert response.status_code == status
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert body == (b"" if method == "HEAD" or status in (204, 304) else b"".join(parts))
    assert (client.our_state is h11.MUST_CLOSE) is not it.keep_alive
    assert client.trailing_data == (b"", False)
