"""One set of conversations that every stream driver must hold in the same way, on every event loop."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio.streams.stapled import StapledObjectStream
from wsproto.events import CloseConnection, Ping, Pong, TextMessage

from persistconn import Settings
from persistconn.drivers.streams import StreamDriver, reset_on_close
from persistconn.drivers.streams.anyio import serve_stream
from persistconn.wire.http import Chunk, End, Message
from tests.drivers.fake_host import FakeHost
from tests.drivers.peer import UPGRADE, Peer, connected, serving

NAMELESS_CLOSE = b"\x88\x80" + bytes(4)
"""A close frame without a code."""

LARGE = 8 * 1024 * 1024
"""More than the kernel's buffers of both ends hold."""


@pytest.fixture(params=[None, "asyncio", "anyio"], ids=["native", "transport", "anyio-stream"])
def driver(request: pytest.FixtureRequest, anyio_backend_name: str) -> StreamDriver | None:
    chosen: StreamDriver | None = request.param
    if chosen == "asyncio" and anyio_backend_name != "asyncio":
        pytest.skip("platform: trio has no transports")
    return chosen


async def test_one_connection_carries_many_requests(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        assert await peer.get("/hello") == (200, b"hello")
        await peer.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        await peer.send(b"cd")
        assert await peer.response() == (200, b"abcd")
        assert await peer.get("/hello") == (200, b"hello")
        assert server.sockets == 1
    assert host.told.count(("ended", "/hello")) == 2
    assert not [word for word, _ in host.told if word == "lost"]


@pytest.mark.parametrize("eager", [False, True])
async def test_pipelined_requests_are_answered_in_order(driver: StreamDriver | None, eager: bool) -> None:
    host = FakeHost(eager=eager)
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        host.gate.set()
        request = "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{}"
        await peer.send(
            "".join(request.format("/later" if i % 3 == 1 else "/echo", i % 10) for i in range(30)).encode()
        )
        for i in range(30):
            assert await peer.response() == (200, b"hello" if i % 3 == 1 else b"%d" % (i % 10))


async def test_a_request_that_has_to_be_awaited_is_answered_later(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer, connected(server) as other:
        await peer.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await other.get("/hello") == (200, b"hello")  # nobody else waits for it
        host.gate.set()
        assert await peer.response() == (200, b"hello")
        assert await peer.get("/hello") == (200, b"hello")


async def test_a_closed_half_does_not_lose_the_answer_that_is_being_decided(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        await peer.stream.send_eof()
        host.gate.set()
        assert await peer.response() == (200, b"hello")
        assert await peer.rest() == b""


async def test_a_closed_half_gets_what_it_asked_for_before(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        await peer.stream.send_eof()
        assert await peer.response() == (200, b"hello")
        assert await peer.response() == (200, b"hello")
        assert await peer.rest() == b""


async def test_a_client_that_leaves_loses_its_held_request(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.send(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        await host.heard("opened", "/hold")
        await peer.stream.aclose()
        await host.heard("lost", "/hold")


async def test_a_reset_loses_the_exchange(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.upgrade()
        await peer.reset()
        await host.heard("lost", "/ws")


async def test_a_reset_may_be_seen_by_who_writes(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server:
        peer = socket.create_connection(server.addresses[0])  # type: ignore[arg-type]  # it has no Unix socket
        peer.send(UPGRADE % b"/ws")
        exchange = await host.heard_exchange()
        assert peer.recv(1000).startswith(b"HTTP/1.1 101 ")
        reset_on_close(peer)
        peer.close()
        for _ in range(3):  # nobody has told the server yet
            host.put(exchange, Message("anybody?"))
            host.pump()
        await host.heard("lost", "/ws")


async def test_a_reset_while_the_application_decides_loses_the_exchange(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        await peer.reset()
        async with connected(server) as other:
            while server.sockets > 1:  # the reset has not arrived yet
                await other.get("/hello")
            host.gate.set()
            await host.heard("lost", "/later")


async def test_a_stream_sends_as_it_goes(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"transfer-encoding: chunked" in (await peer.until(b"\r\n\r\n")).lower()
        assert await peer.until(b"first\r\n") == b"5\r\nfirst\r\n"
        exchange = host.the_exchange()
        host.put(exchange, Chunk(b"second"))
        host.pump()
        assert await peer.until(b"second\r\n") == b"6\r\nsecond\r\n"
        host.put(exchange, Chunk(b"third"), End())
        host.pump()
        assert await peer.until(b"0\r\n\r\n") == b"5\r\nthird\r\n0\r\n\r\n"
        assert await peer.get("/hello") == (200, b"hello")


async def test_a_websocket_echoes_whatever_the_bursts(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.upgrade()
        await peer.say("one")
        assert await peer.hear() == "one"
        await peer.say("two", b"three", "four")
        assert [await peer.hear() for _ in range(3)] == ["two", b"three", "four"]
        frame = peer.frame(Ping(b"?")) + peer.frame(Pong(b"!"))
        for at in range(len(frame)):
            await peer.send(frame[at : at + 1])
        assert await peer.hear() == Pong(b"?")
        await host.heard("pong")


@pytest.mark.parametrize("eager", [False, True])
async def test_a_websocket_may_take_what_comes_in_parts(driver: StreamDriver | None, eager: bool) -> None:
    host = FakeHost(Settings(max_message_size=4), eager=eager)
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        early = peer.frame(TextMessage("one part", message_finished=False))
        await peer.send(UPGRADE % b"/parts" + early)
        assert (await peer.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await peer.hear() == "one part"
        rest = peer.frame(TextMessage(" and another"))
        await peer.send(rest[:-5])
        assert await peer.hear() == " and an"
        await peer.send(rest[-5:])
        assert await peer.hear() == "other"
        await peer.say(b"a whole one")
        assert await peer.hear() == b"a whole one"


@pytest.mark.parametrize("eager", [False, True])
async def test_messages_behind_the_upgrade_request_wait_for_the_answer(
    driver: StreamDriver | None, eager: bool
) -> None:
    host = FakeHost(eager=eager)
    async with serving(host, stream_driver=driver) as server:
        for path in (b"/ws", b"/later"):
            async with connected(server) as impatient:
                await impatient.send(UPGRADE % path)
                await impatient.say("too early")
                host.gate.set()
                assert (await impatient.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
                assert await impatient.hear() == "too early"


@pytest.mark.parametrize(("said", "answer"), [(1000, 1000), (None, 1000), (1001, 1001), (4321, 4321)])
async def test_a_peer_that_closes_its_websocket_says_goodbye(
    driver: StreamDriver | None, said: int | None, answer: int
) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.upgrade()
        await peer.send(NAMELESS_CLOSE if said is None else peer.frame(CloseConnection(said)))
        assert (await peer.hear()).code == answer
        await host.heard("left", "/ws")
        assert await peer.rest() == b""
    assert ("lost", "/ws") not in host.told


async def test_a_websocket_of_which_the_peer_closed_its_half_is_lost(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.upgrade()
        await peer.stream.send_eof()
        await host.heard("lost", "/ws")
        assert await peer.rest() == b""
    assert ("left", "/ws") not in host.told


async def test_the_application_closes_a_websocket(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.upgrade()
        await peer.say("close")
        assert await peer.hear() == CloseConnection(1000, "bye")
        await peer.send(peer.frame(CloseConnection(1000)))
        assert await peer.rest() == b""
    assert ("lost", "/ws") not in host.told  # it had ended


async def test_a_websocket_may_be_refused(driver: StreamDriver | None) -> None:
    async with serving(FakeHost(), stream_driver=driver) as server, connected(server) as peer:
        await peer.send(UPGRADE % b"/forbidden")
        assert await peer.response() == (403, b"hello")
        assert await peer.rest() == b""


async def test_a_broken_frame_ends_the_websocket(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.upgrade()
        await peer.send(b"\x81\x02hi")  # a client must mask
        assert (await peer.hear()).code == 1002
        await host.heard("lost", "/ws")
        assert await peer.rest() == b""


@pytest.mark.parametrize("eager", [False, True])
async def test_malformed_requests_are_told_so(driver: StreamDriver | None, eager: bool) -> None:
    async with serving(FakeHost(eager=eager), stream_driver=driver) as server, connected(server) as peer:
        await peer.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\nNONSENSE\r\n\r\n")
        assert await peer.response() == (200, b"hello")
        status, text = await peer.response()
        assert status == 400
        assert text
        assert await peer.rest() == b""


async def test_a_refusal_arrives_although_the_rest_is_not_read(driver: StreamDriver | None) -> None:
    settings = Settings(max_body_size=1_000)
    async with serving(FakeHost(settings), stream_driver=driver) as server, connected(server) as peer:
        await peer.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(100_000))
        assert (await peer.response())[0] == 413
        assert await peer.rest() == b""


async def test_a_large_answer_arrives_whole(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.send(b"GET /big?%d HTTP/1.1\r\nHost: x\r\n\r\n" % LARGE)
        await peer.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        await host.heard("opened", "/big")
        assert ("opened", "/hello") not in host.told  # not before the first answer has left
        status, body = await peer.response()
        assert (status, len(body)) == (200, LARGE)
        assert await peer.response() == (200, b"hello")
        await host.heard("sent", "/big")


async def test_a_slow_reader_gets_one_batch_when_it_is_free_again(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.upgrade()
        await peer.say(f"flood {LARGE}", "a", "b")
        assert len(await peer.hear()) == LARGE
        assert [await peer.hear(), await peer.hear()] == ["a", "b"]
        await host.heard("sent", "/ws")


async def test_a_reader_that_takes_nothing_is_cut(driver: StreamDriver | None) -> None:
    host = FakeHost(Settings(write_deadline=0.2))
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.upgrade()
        await peer.say(f"flood {LARGE}")
        await host.heard("lost", "/ws")
        assert len(await peer.rest()) < LARGE


async def test_a_closing_connection_that_takes_nothing_is_cut(driver: StreamDriver | None) -> None:
    host = FakeHost(Settings(write_deadline=0.2))
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.send(b"GET /big?%d HTTP/1.1\r\nHost: x\r\n\r\n" % LARGE)
        await peer.stream.send_eof()
        await host.heard("lost", "/big")
        assert len(await peer.rest()) < LARGE


async def test_a_paused_exchange_is_not_read(driver: StreamDriver | None) -> None:
    host = FakeHost()
    host.pause_after = 1
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.upgrade()
        await peer.say("one")
        assert await peer.hear() == "one"
        await peer.say("two")
        async with connected(server) as other:
            assert await other.get("/hello") == (200, b"hello")
        assert ("received", "two") not in host.told
        host.pause_after = None
        host.resuming.append(host.the_exchange())
        host.pump()
        assert await peer.hear() == "two"


async def test_an_abandoned_exchange_is_cut_without_a_word(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.upgrade()
        exchange = host.the_exchange()
        exchange.context.abandon()
        assert await peer.rest() == b""
        assert exchange.context.transmit(exchange, (Message("late"),)) is True
    assert ("lost", "/ws") not in host.told


async def test_sending_to_a_socket_that_has_gone_is_no_error(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.upgrade()
        exchange = host.the_exchange()
        await peer.reset()
        for _ in range(10):  # the first may still be taken by the system
            host.put(exchange, Message("anybody?"))
            host.pump()
        await host.heard("lost", "/ws")


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET /hello HTTP/1.1\r\nHost:", b"HTTP/1.1 408 "),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab", b"HTTP/1.1 408 "),
    ],
    ids=["idle", "head", "body"],
)
async def test_a_request_that_never_comes_whole_is_ended(
    driver: StreamDriver | None, sent: bytes, answer: bytes
) -> None:
    settings = Settings(head_timeout=0.2, body_timeout=0.2, idle_timeout=0.2)
    async with serving(FakeHost(settings), stream_driver=driver) as server, connected(server) as peer:
        if sent:
            await peer.send(sent)
        got = await peer.rest()
        assert got.startswith(answer) if answer else got == b""


async def test_bytes_that_trickle_do_not_prolong_a_head(driver: StreamDriver | None) -> None:
    settings = Settings(head_timeout=0.2)
    async with serving(FakeHost(settings), stream_driver=driver) as server, connected(server) as peer:
        await peer.send(b"GET /hello HTTP/1.1\r\n")
        answer = b""
        while not answer:
            await peer.send(b"A: b\r\n")
            with anyio.move_on_after(0.02):
                answer = await peer.until(b"\r\n")
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_websocket_that_does_not_answer_our_close_is_cut(driver: StreamDriver | None) -> None:
    host = FakeHost(Settings(close_timeout=0.2))
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.upgrade()
        await peer.say("close")
        assert isinstance(await peer.hear(), CloseConnection)
        assert await peer.rest() == b""


async def test_a_peer_that_makes_us_answer_and_reads_nothing_is_cut(driver: StreamDriver | None) -> None:
    host = FakeHost(Settings(max_control_frames=1_000_000))
    async with serving(host, stream_driver=driver) as server, connected(server) as peer:
        await peer.upgrade()
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        pings = peer.frame(Ping(b"x" * 125)) * 1_000
        with suppress(anyio.BrokenResourceError):
            while True:
                await peer.send(pings)
        await host.heard("lost", "/ws")


async def test_leaving_cuts_what_is_open(driver: StreamDriver | None) -> None:
    host = FakeHost()
    async with (
        serving(host, stream_driver=driver) as server,
        connected(server) as waiting,
        connected(server) as idle,
        connected(server) as deciding,
    ):
        await waiting.upgrade()
        await idle.get("/hello")
        await deciding.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        server.shutdown()
        server.shutdown()
        for peer in (idle, waiting, deciding):
            await peer.rest()
    assert not host.exchanges


async def test_a_stream_in_memory_is_served_too() -> None:
    host = FakeHost()
    to_server, from_client = anyio.create_memory_object_stream[bytes](10)
    to_client, from_server = anyio.create_memory_object_stream[bytes](10)
    ours: Any = StapledObjectStream(to_client, from_client)
    theirs: Any = StapledObjectStream(to_server, from_server)
    async with serving(host) as server:
        server.state.spawn(serve_stream, server.state, ours)
        peer = Peer(theirs)
        assert await peer.get("/hello") == (200, b"hello")
        await peer.upgrade()
        await peer.say("in memory")
        assert await peer.hear() == "in memory"
        await peer.say("close")
        assert await peer.hear() == CloseConnection(1000, "bye")
        await peer.send(peer.frame(CloseConnection(1000)))
        assert await peer.rest() == b""
        await theirs.aclose()
    await ours.aclose()
