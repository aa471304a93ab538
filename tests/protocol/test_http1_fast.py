"""The fast reader accepts less than the careful one, and what it accepts it reads the same."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from persistconn.protocol.http1_fast import read_plain_head
from persistconn.protocol.http1_policy import Incoming, Refused, read_head
from persistconn.settings import Settings

LIMITS = Settings(max_headers=6, max_body_size=65_566)


def head(first: str, *lines: str) -> bytes:
    return "\r\n".join((first, *lines, "", "")).encode("latin-1")


VERSION = "Sec-WebSocket-Version: 13"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="

BROWSER = head(
    "POST /echo/send?transport=longPolling&connectionToken=a%2Bb HTTP/1.1",
    "Host: [::1]:8000",
    "Connection: Keep-Alive",
    "Content-Length: 64",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) \tChrome/120",
    "X-Empty:",
    "Cookie:a=\xe4",
)


def test_a_plain_request_is_read() -> None:
    incoming = read_plain_head(BROWSER, LIMITS, ("192.0.2.1", 5), "https")
    assert incoming is not None
    request = incoming.request
    assert (request.method, request.path, request.client, request.scheme) == (
        "POST",
        "/echo/send",
        ("192.0.2.1", 5),
        "https",
    )
    assert request.query["connectionToken"] == "a+b"
    assert dict(request.headers.raw) == {
        b"host": b"[::1]:8000",
        b"connection": b"Keep-Alive",
        b"content-length": b"64",
        b"user-agent": b"Mozilla/5.0 (X11; Linux x86_64) \tChrome/120",
        b"x-empty": b"",
        b"cookie": b"a=\xe4",
    }
    assert (incoming.length, incoming.keep_alive, request.upgrade) == (64, True, False)


@pytest.mark.parametrize("connection", ["Upgrade", "upgrade", "keep-alive, Upgrade"])
@pytest.mark.parametrize("key", [KEY, KEY.replace("Sec-WebSocket-Key", "sec-websocket-key")])
def test_a_plain_request_for_a_websocket_is_read(connection: str, key: str) -> None:
    data = head("GET /a?b HTTP/1.1", "Host: x", "Upgrade: WebSocket", key, f"Connection: {connection}", VERSION)
    incoming = read_plain_head(data, LIMITS)
    assert incoming is not None
    assert (incoming.request.upgrade, incoming.websocket_key) == (True, b"dGhlIHNhbXBsZSBub25jZQ==")
    assert incoming.request.headers["sec-websocket-key"] == "dGhlIHNhbXBsZSBub25jZQ=="
    assert_same(incoming, read_head(data, LIMITS, None, "http"))


@pytest.mark.parametrize("name", ["Content-Length", "content-length"])
def test_the_length_of_a_body_may_stand_anywhere(name: str) -> None:
    lines = ["Host: x", "Origin: http://x", "A:1"]
    for at in range(4):
        data = head("POST /a HTTP/1.1", *lines[:at], f"{name}: 5", *lines[at:])
        incoming = read_plain_head(data, LIMITS)
        assert incoming is not None
        assert incoming.length == 5
        assert (incoming.request.headers["host"], incoming.request.headers["origin"]) == ("x", "http://x")
        assert_same(incoming, read_head(data, LIMITS, None, "http"))


def test_what_is_too_long_to_be_remembered_is_read_as_well() -> None:
    path = "/" + 200 * "a"
    incoming = read_plain_head(head(f"GET {path} HTTP/1.1", "Host: x", "Cookie: " + 3000 * "a"), LIMITS)
    assert incoming is not None
    assert (incoming.request.path, len(incoming.request.headers["cookie"])) == (path, 3000)


@pytest.mark.parametrize(
    "data",
    [
        head("GET / HTTP/1.0", "Host: x"),
        head("GET http://x/ HTTP/1.1", "Host: x"),
        head("CONNECT /x HTTP/1.1", "Host: x"),
        head("GET / HTTP/1.1"),
        head("GET / HTTP/1.1", "Host:"),
        head("GET / HTTP/1.1", "Host: a_b"),
        head("GET / HTTP/1.1", "Host: x", "Connection: close"),
        head("GET / HTTP/1.1", "Host: x", "Connection: keep-alive, x"),
        head("GET / HTTP/1.1", "Host: x", "Upgrade: websocket"),
        head("GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: upgrade", KEY),
        head("GET / HTTP/1.1", "Host: x", "Connection: upgrade", VERSION, KEY),
        head("GET / HTTP/1.1", "Host: x", "Upgrade: h2c", "Connection: upgrade", VERSION, KEY),
        head("GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: upgrade", VERSION),
        head("GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: upgrade", VERSION, KEY + "="),
        head("GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: upgrade", VERSION, KEY, KEY),
        head("GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: upgrade", VERSION, KEY, KEY.lower()),
        head("GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: upgrade, close", VERSION, KEY),
        head("GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: keep-alive", VERSION, KEY),
        head("POST / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: upgrade", VERSION, KEY),
        head("GET / HTTP/1.1", "Host: x", KEY),
        head("GET / HTTP/1.1", "Host: x", "Content-Length: 0"),
        head("GET /#f HTTP/1.1", "Host: x"),
        head("POST / HTTP/1.1", "Host: x", "Content-Length: 1", "Content-Length: 1"),
        head("POST / HTTP/1.1", "Host: x", "Content-Length: 1", "content-length: 1"),
        head("POST / HTTP/1.1", "Host: x", "Content-Length: 1", " 2"),
        head("POST / HTTP/1.1", "Host: x", "Content-length: 1"),
        head("POST / HTTP/1.1", "Host: x", "Content-Length: 1, 1"),
        head("POST / HTTP/1.1", "Host: x", "Content-Length: 1", *(f"A{n}: 1" for n in range(5))),
        head("GET / HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"),
        head("GET / HTTP/1.1", "Host: x", "Expect: 100-continue"),
        head("GET / HTTP/1.1", "Host: x", "A: 1", "a: 2"),
        head("GET / HTTP/1.1", "Host: x", "A: 1 "),
        head("GET / HTTP/1.1", "Host: x", "A: 1\t"),
        head("GET / HTTP/1.1", "Host: x", "A: \x00"),
        head("GET / HTTP/1.1", "Host: x", "A: 1", " 2"),
        head("GET / HTTP/1.1", "Host: x", "A b: 1"),
        head("GET / HTTP/1.1", "Host: x", *(f"A{n}: 1" for n in range(6))),
        head("POST / HTTP/1.1", "Host: x", "Content-Length: x"),
        head("POST / HTTP/1.1", "Host: x", "Content-Length: " + "1" * 19),
        head("POST / HTTP/1.1", "Host: x", "Content-Length: 1000000"),
        b"GET / HTTP/1.1\r\nHost: x\nA: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\rA: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r2\n3\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\n\r: 1\r\n\r\n",
    ],
    ids=repr,
)
def test_anything_special_goes_the_long_way(data: bytes) -> None:
    assert read_plain_head(data, LIMITS) is None


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        (Settings(), 1_048_576),
        (Settings(max_message_size=1_000_000), 3_065_536),
        (Settings(max_body_size=10), 10),
        (Settings(max_message_size=None), None),
    ],
    ids=["default", "large messages", "given", "unlimited"],
)
def test_a_body_within_the_limit_is_plain(settings: Settings, most: int | None) -> None:
    def post(length: int) -> bytes:
        return head("POST / HTTP/1.1", "Host: x", f"Content-Length: {length}")

    incoming = read_plain_head(post(most or 10_000_000), settings)
    assert incoming is not None
    assert incoming.length == (most or 10_000_000)
    if most is not None:
        assert read_plain_head(post(most + 1), settings) is None


# The same as the careful reader, and as h11 alone ----------------------------------------------------

NAMES = st.sampled_from(
    [
        "Host",
        "host",
        "Connection",
        "Content-Length",
        "Transfer-Encoding",
        "Expect",
        "Upgrade",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "content-length",
        "Origin",
        "A",
        "a",
        "B!",
        "A b",
        "",
    ]
)
VALUES = st.one_of(
    st.sampled_from(["x", "keep-alive", "close", "Keep-Alive", "chunked", "7", "70000", "+7", "", "websocket", "a\nb"]),
    st.sampled_from(["13", "dGhlIHNhbXBsZSBub25jZQ==", "Upgrade", "http://x"]),
    st.text(st.characters(max_codepoint=255), max_size=6),
)
LINES = st.builds(
    lambda name, gap, value, after: f"{name}{gap}{value}{after}",
    NAMES,
    st.sampled_from([": ", ": ", ": ", ":", ":\t ", " : ", " "]),
    VALUES,
    st.sampled_from(["", "", "", " ", "\t"]),
)
FIRST = st.builds(
    lambda method, target, version: f"{method} {target} {version}",
    st.sampled_from(["GET", "POST", "get", "G-T", "CONNECT", "OPTIONS"]),
    st.one_of(
        st.sampled_from(["/", "/a%20b?c=%c3", "//x", "/#f", "*", "http://x/", "x:1"]),
        st.text(st.characters(max_codepoint=255), max_size=5).map("/".__add__),
    ),
    st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]),
)
HEADS = st.builds(
    lambda first, lines, end: "\r\n".join((first, *lines)).encode("latin-1") + end,
    FIRST,
    st.one_of(st.lists(LINES, max_size=4).map(lambda lines: ["Host: x", *lines]), st.lists(LINES, max_size=7)),
    st.just(b"\r\n\r\n"),
)
UPGRADE_LINES = ["Host: x", "Upgrade: websocket", "Connection: Upgrade", VERSION, KEY]
UPGRADES = st.builds(
    lambda method, lines, more: head(f"{method} /a HTTP/1.1", *lines, *more),
    st.sampled_from(["GET", "GET", "GET", "POST"]),
    st.permutations(UPGRADE_LINES).flatmap(lambda lines: st.sampled_from([lines, lines, lines, lines[1:]])),
    st.lists(LINES, max_size=1),
)


def assert_same(quick: Incoming, slow: Incoming) -> None:
    ours, theirs = quick.request, slow.request
    assert repr(ours.headers.raw) == repr(theirs.headers.raw)
    assert dict(ours.headers) == dict(theirs.headers)
    for name in ("method", "path", "query_string", "upgrade", "scheme", "client"):
        assert getattr(ours, name) == getattr(theirs, name)
    for name in ("length", "keep_alive", "http_1_0", "expects_continue", "websocket_key", "chunks"):
        assert getattr(quick, name) == getattr(slow, name)


@settings(max_examples=400)
@given(HEADS | UPGRADES)
@example(BROWSER)
def test_what_the_fast_reader_accepts_the_careful_one_and_h11_read_the_same(data: bytes) -> None:
    quick = read_plain_head(data, LIMITS)
    if quick is None:
        return
    assert_same(quick, read_head(data, LIMITS, None, "http"))
    ours = quick.request
    alone = h11.Connection(h11.SERVER)
    alone.receive_data(data)
    event = alone.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method.decode(), tuple(event.headers)) == (ours.method, ours.headers.raw)


@settings(max_examples=200)
@given(HEADS | UPGRADES)
def test_what_the_careful_reader_refuses_the_fast_one_does_not_accept(data: bytes) -> None:
    try:
        read_head(data, LIMITS, None, "http")
    except Refused:
        assert read_plain_head(data, LIMITS) is None
