"""Which request heads are refused, with what status, and what is read from the others."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.protocol.http1_policy import CHUNKED, Incoming, Refused, body_limit, head_end, read_head
from persistconn.settings import Settings

HOST = "Host: example.org"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}")


def head(first: str, *lines: str) -> bytes:
    return "\r\n".join((first, *lines, "", "")).encode("latin-1")


def read(data: bytes, settings: Settings = Settings()) -> Incoming:
    return read_head(data, settings, ("192.0.2.1", 5), "https")


def refused(data: bytes, settings: Settings = Settings()) -> Refused:
    with pytest.raises(Refused) as caught:
        read(data, settings)
    return caught.value


# What is read -------------------------------------------------------------------------------------


def test_a_request_is_read() -> None:
    incoming = read(head("POST /echo%20it?a=%20b HTTP/1.1", HOST, "X-Twice: a", "X-Twice:\tb ", "Content-Length: 3"))
    request = incoming.request
    assert (request.method, request.path, request.query_string) == ("POST", "/echo it", "a=%20b")
    assert request.headers.raw == (
        (b"host", b"example.org"),
        (b"x-twice", b"a"),
        (b"x-twice", b"b"),
        (b"content-length", b"3"),
    )
    assert (request.client, request.scheme, request.upgrade) == (("192.0.2.1", 5), "https", False)
    assert (incoming.length, incoming.keep_alive, incoming.http_1_0) == (3, True, False)
    assert not incoming.expects_continue


def test_a_body_in_chunks_keeps_its_reader() -> None:
    incoming = read(head("POST / HTTP/1.1", HOST, "Transfer-Encoding: Chunked"))
    assert incoming.length == CHUNKED
    assert incoming.chunks is not None


@pytest.mark.parametrize(
    ("first", "lines", "stays"),
    [
        ("GET / HTTP/1.1", [], True),
        ("GET / HTTP/1.1", ["Connection: keep-alive"], True),
        ("GET / HTTP/1.1", ["Connection: Close"], False),
        ("GET / HTTP/1.1", ["Connection: x , close,"], False),
        ("GET / HTTP/1.0", [], False),
        ("GET / HTTP/1.0", ["Connection: Keep-Alive"], True),
        ("GET / HTTP/1.0", ["Connection: keep-alive", "Connection: close"], False),
    ],
)
def test_the_connection_stays_when_both_sides_can(first: str, lines: list[str], stays: bool) -> None:
    assert read(head(first, HOST, *lines)).keep_alive is stays


def test_http_1_0_needs_no_host() -> None:
    assert read(head("GET / HTTP/1.0")).http_1_0


def test_an_absolute_target_brings_its_own_host() -> None:
    request = read(head("GET http://real.example:81/p?q HTTP/1.1", "A: b", "Host: other")).request
    assert (request.path, request.query_string) == ("/p", "q")
    assert request.headers.raw == ((b"host", b"real.example:81"), (b"a", b"b"))
    assert read(head("GET HTTPS://real.example HTTP/1.1", HOST)).request.path == "/"
    request = read(head("GET http://real.example?q HTTP/1.1", HOST)).request
    assert (request.path, request.query_string) == ("/", "q")


def test_an_asterisk_is_a_target_of_options_only() -> None:
    assert read(head("OPTIONS * HTTP/1.1", HOST)).request.path == "*"
    assert refused(head("GET * HTTP/1.1", HOST)).status == 400


def test_100_continue_is_noted_but_not_in_http_1_0() -> None:
    lines = (HOST, "Content-Length: 3", "Expect: 100-Continue")
    assert read(head("POST / HTTP/1.1", *lines)).expects_continue
    assert not read(head("POST / HTTP/1.0", *lines)).expects_continue


# WebSockets ---------------------------------------------------------------------------------------


def test_a_proper_request_for_a_websocket_is_recognised() -> None:
    incoming = read(head("GET /chat HTTP/1.1", HOST, *UPGRADE, "Connection: keep-alive"))
    assert incoming.request.upgrade
    assert incoming.websocket_key == KEY.encode()


@pytest.mark.parametrize(
    ("first", "lines"),
    [
        ("GET / HTTP/1.1", ["Upgrade: h2c", "Connection: Upgrade"]),
        ("GET / HTTP/1.1", ["Upgrade: websocket", "Connection: keep-alive"]),
        ("POST / HTTP/1.1", UPGRADE),
        ("GET / HTTP/1.0", UPGRADE),
    ],
)
def test_what_does_not_ask_for_a_websocket_is_an_ordinary_request(first: str, lines: list[str]) -> None:
    incoming = read(head(first, HOST, *lines))
    assert not incoming.request.upgrade
    assert incoming.websocket_key is None


def test_another_version_is_told_the_right_one() -> None:
    answer = refused(head("GET / HTTP/1.1", HOST, *(line.replace("13", "8") for line in UPGRADE)))
    assert answer.status == 426
    assert (b"Sec-WebSocket-Version", b"13") in answer.headers
    assert refused(head("GET / HTTP/1.1", HOST, *UPGRADE[:2])).status == 426


@pytest.mark.parametrize(
    "lines",
    [
        UPGRADE[:3],
        (*UPGRADE, UPGRADE[3]),
        (*UPGRADE[:3], "Sec-WebSocket-Key: c2hvcnQ="),
        (*UPGRADE[:3], "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=!"),
        (*UPGRADE[:3], "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ+=A"),
        (*UPGRADE, "Content-Length: 1"),
        (*UPGRADE, "Transfer-Encoding: chunked"),
    ],
    ids=repr,
)
def test_a_broken_handshake_is_refused(lines: tuple[str, ...]) -> None:
    assert refused(head("GET / HTTP/1.1", HOST, *lines)).status == 400


# What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "data"),
    [
        # Framing that two readers may understand differently (RFC 9112 §11.2).
        (400, head("POST / HTTP/1.1", HOST, "Content-Length: 3", "Transfer-Encoding: chunked")),
        (400, head("POST / HTTP/1.1", HOST, "Content-Length: 3", "Content-Length: 3")),
        (400, head("POST / HTTP/1.1", HOST, "Content-Length: 3", "Content-Length: 4")),
        (400, head("POST / HTTP/1.1", HOST, "Content-Length: 3, 3")),
        (400, head("POST / HTTP/1.1", HOST, "Content-Length: +3")),
        (400, head("POST / HTTP/1.1", HOST, "Content-Length:")),
        (400, head("POST / HTTP/1.1", HOST, "Content-Length: 123456789012345678901")),
        (413, head("POST / HTTP/1.1", HOST, "Content-Length: 1234567890123456789")),
        (413, head("POST / HTTP/1.1", HOST, "Content-Length: 1048577", "Expect: 100-continue")),
        (400, head("POST / HTTP/1.0", HOST, "Transfer-Encoding: chunked")),
        (501, head("POST / HTTP/1.1", HOST, "Transfer-Encoding: gzip, chunked")),
        (501, head("POST / HTTP/1.1", HOST, "Transfer-Encoding: identity")),
        (501, head("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked")),
        (501, head("POST / HTTP/1.1", HOST, "Transfer-Encoding: \x0bchunked").replace(b"\x0b", b"x")),
        # Lines.
        (400, b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\nHost: x\r\n\r\n"),
        (400, head("GET / HTTP/1.1", HOST, "A: b", " folded")),
        (400, head("GET / HTTP/1.1", HOST, "\tfolded")),
        (400, head("GET / HTTP/1.1", HOST, "A : b")),
        (400, head("GET / HTTP/1.1", HOST, "no colon")),
        (400, head("GET / HTTP/1.1", HOST, ": no name")),
        (400, head("GET / HTTP/1.1", HOST, "A\x01: b")),
        (400, head("GET / HTTP/1.1", HOST, "A: b\x00")),
        (400, head("GET / HTTP/1.1", HOST, "A: b\x7f")),
        (400, head("GET / HTTP/1.1", HOST, "A: b\x0bc")),
        # Host.
        (400, head("GET / HTTP/1.1")),
        (400, head("GET / HTTP/1.1", HOST, HOST)),
        (400, head("GET / HTTP/1.0", HOST, HOST)),
        (400, head("GET / HTTP/1.1", "Host: a b")),
        (400, head("GET / HTTP/1.1", "Host: a/b")),
        (400, head("GET / HTTP/1.1", "Host: user@host")),
        (400, head("GET http://user@host/ HTTP/1.1", HOST)),
        # The request line.
        (400, head("get / HTTP/1.1", HOST)),
        (400, head("GET  / HTTP/1.1", HOST)),
        (400, head("GET / HTTP/1.1 ", HOST)),
        (400, head("GET /", HOST)),
        (400, head("GET / http/1.1", HOST)),
        (400, head("GET /\xe4 HTTP/1.1", HOST)),
        (400, head("GET /\x01 HTTP/1.1", HOST)),
        (400, head("GET path HTTP/1.1", HOST)),
        (400, head("GET ftp://x/ HTTP/1.1", HOST)),
        (400, head("GET example.org:80 HTTP/1.1", HOST)),
        (501, head("CONNECT example.org:80 HTTP/1.1", HOST)),
        (505, head("PRI * HTTP/2.0")),
        (505, head("GET / HTTP/1.2", HOST)),
        (505, head("GET / HTTP/0.9", HOST)),
        (417, head("POST / HTTP/1.1", HOST, "Expect: miracles")),
    ],
    ids=repr,
)
def test_dangerous_and_malformed_heads_are_refused(status: int, data: bytes) -> None:
    answer = refused(data)
    assert answer.status == status
    assert answer.limit
    # One sentence that quotes nothing of what came.
    assert str(answer).endswith((".", "(max_body_size)."))
    assert "\r" not in str(answer)


def test_the_number_of_header_lines_is_limited() -> None:
    settings = Settings(max_headers=3)
    assert read(head("GET / HTTP/1.1", HOST, "A: 1", "B: 2"), settings)
    answer = refused(head("GET / HTTP/1.1", HOST, "A: 1", "B: 2", "C: 3"), settings)
    assert (answer.status, answer.limit) == (431, "max_headers")
    assert "max_headers" in str(answer)


def test_a_body_may_hold_an_encoded_message_and_a_groups_token_or_many_messages() -> None:
    assert body_limit(Settings(max_message_size=1_000)) == 1_048_576
    assert body_limit(Settings(max_message_size=1_000_000)) == 3_065_536
    assert body_limit(Settings(max_message_size=None)) is None
    assert body_limit(Settings(max_body_size=10)) == 10
    assert body_limit(Settings(max_body_size=10, max_message_size=None)) == 10


@pytest.mark.parametrize("limit", [1_048_576, 10])
def test_a_body_over_the_limit_is_refused_by_its_length(limit: int) -> None:
    settings = Settings() if limit == 1_048_576 else Settings(max_body_size=limit)
    assert read(head("POST / HTTP/1.1", HOST, f"Content-Length: {limit}"), settings).length == limit
    answer = refused(head("POST / HTTP/1.1", HOST, f"Content-Length: {limit + 1}"), settings)
    assert (answer.status, answer.limit) == (413, "max_body_size")
    assert str(answer) == f"The body is larger than {limit} bytes (max_body_size)."
    unlimited = Settings(max_message_size=None)
    assert read(head("POST / HTTP/1.1", HOST, f"Content-Length: {limit + 1}"), unlimited).length == limit + 1


# Where a head ends --------------------------------------------------------------------------------


def test_the_end_of_the_head_is_found_wherever_it_was_cut() -> None:
    data = head("GET / HTTP/1.1", HOST)
    for cut in range(1, len(data)):
        assert head_end(data[:cut], 0, Settings()) == -1
        assert head_end(data + b"more", cut, Settings()) == len(data)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\nHost", b"GET / HTTP/1.1\rHost", b"\x16\x03\x01", b" GET", b"\nGET"])
def test_what_cannot_become_a_head_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        head_end(data, 0, Settings())
    assert caught.value.status == 400


def test_a_head_has_a_limited_size() -> None:
    settings = Settings(max_head_size=100)
    fits = head("GET / HTTP/1.1", "A: ".ljust(80, "x"))
    assert len(fits) == 100
    assert head_end(fits, 0, settings) == 100
    for data, status in (
        (b"A" * 101, 414),
        (b"GET /" + b"a" * 100 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A" * 100, 431),
        (head("GET / HTTP/1.1", "A: ".ljust(81, "x")), 431),
    ):
        with pytest.raises(Refused) as caught:
            head_end(data, 0, settings)
        assert (caught.value.status, caught.value.limit) == (status, "max_head_size")


@given(st.binary(max_size=100))
def test_garbage_is_read_or_refused(data: bytes) -> None:
    for candidate in (data + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n" + data + b"\r\n\r\n"):
        with contextlib.suppress(Refused):
            assert isinstance(read(candidate), Incoming)
