"""One epoll object for all sockets: nobody starves, and what happens to one connection stays with it."""

from __future__ import annotations

import errno
import logging
import select
import socket
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from persistconn.drivers.state import ServerState
from persistconn.drivers.streams import streams_for
from persistconn.drivers.streams.epoll import READ, EpollChannel, Poller
from tests.drivers.fake_host import FakeHost
from tests.drivers.peer import connected, serving

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="platform: no epoll")


class Insatiable:
    """Always has something to read, because it never reads all there is."""

    turns = 0

    def __init__(self, poller: Poller, descriptor: int) -> None:
        self.poller = poller
        self.descriptor = descriptor

    def readable(self) -> None:
        self.turns += 1
        self.poller.again(self.descriptor)


async def test_others_have_their_turn_although_there_is_always_more_to_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        async with streams_for(ServerState(FakeHost())) as streams:
            poller: Poller = streams._poller  # type: ignore[attr-defined]
            channel: Any = Insatiable(poller, ours.fileno())
            poller.add(channel, ours.fileno())
            while channel.turns < 100:
                await anyio.lowlevel.checkpoint()
            poller.remove(ours.fileno())
            turns = channel.turns
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            assert channel.turns == turns


async def test_who_is_new_is_read_at_once_and_without_being_told_to() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poller = Poller()
        channel: Any = Insatiable(poller, ours.fileno())
        poller.add(channel, ours.fileno())
        poller.greet(channel)
        poller.serve_ready()
        poller.serve_ready()
        assert channel.turns == 1
        poller.remove(ours.fileno())
        poller.close()


@pytest.mark.parametrize("size", [READ - 1, READ, READ + 1, 3 * READ])
async def test_what_comes_at_once_is_read_to_its_end(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = bytearray()
    monkeypatch.setattr(EpollChannel, "hear", lambda channel, data: heard.extend(data))
    ours, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * READ)
    with theirs:
        poller = Poller()
        channel = EpollChannel(ServerState(FakeHost()), poller, ours)
        assert theirs.send(bytes(size)) == size
        for _ in range(size // READ + 1):
            poller.serve_ready()
        assert len(heard) == size
        channel.cut()
        poller.close()


async def test_an_end_that_came_with_the_last_bytes_is_heard() -> None:
    state = ServerState(FakeHost())
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    poller = Poller()
    EpollChannel(state, poller, ours)
    theirs.send(b"GET /hel")
    theirs.close()
    poller.serve_ready()
    assert state.channels
    poller.serve_ready()
    poller.close()
    assert not state.channels


async def test_an_error_of_ours_costs_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    host = FakeHost()

    def receive(exchange: Any, messages: Any) -> None:
        raise RuntimeError("a fault in the host")

    async with serving(host) as server, connected(server) as unlucky, connected(server) as other:
        await unlucky.upgrade()
        host.receive = receive  # type: ignore[method-assign]
        await unlucky.say("boom")
        assert await unlucky.rest() == b""
        await host.heard("lost", "/ws")
        assert await other.get("/hello") == (200, b"hello")
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


async def test_an_error_about_a_lost_connection_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    host = FakeHost()
    lost = host.lost
    failures = iter([RuntimeError("a fault in the host")])

    def fail_once(exchange: Any, *, graceful: bool = False) -> None:
        lost(exchange, graceful=graceful)
        for failure in failures:
            raise failure

    host.lost = fail_once  # type: ignore[method-assign]
    async with serving(host) as server:
        for _ in range(2):
            async with connected(server) as peer:
                await peer.upgrade()
            await host.heard("lost", "/ws")
            host.told.clear()
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


async def test_a_socket_that_cannot_be_watched_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def add(poller: Poller, channel: EpollChannel, descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no room in epoll")

    state = ServerState(FakeHost())
    ours, theirs = socket.socketpair()
    with theirs:
        poller = Poller()
        with monkeypatch.context() as patch:
            patch.setattr(Poller, "add", add)
            EpollChannel(state, poller, ours)
        assert theirs.recv(100) == b""
        assert len(state.channels) == 1  # it is told later, not from inside
        poller.close()
        assert not state.channels


async def test_what_is_written_to_a_closed_channel_reaches_nobody() -> None:
    state = ServerState(FakeHost())
    ours, theirs = socket.socketpair()
    with theirs:
        poller = Poller()
        channel = EpollChannel(state, poller, ours)
        descriptor = ours.fileno()
        channel.cut()
        successor, other = socket.socketpair()  # the system gives the lowest free number
        with successor, other:
            assert successor.fileno() == descriptor
            channel.write(b"too late")
            channel.resume_reading()
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.recv(100)
        poller.close()
        assert not state.channels
