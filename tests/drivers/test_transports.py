"""Channels over transports: what goes past the transport, and when nothing may any more."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from persistconn.drivers.state import ServerState
from persistconn.drivers.streams.asyncio import AsyncioChannel, asyncio_streams
from tests.conftest import BACKENDS
from tests.drivers.fake_host import FakeHost


@pytest.fixture(params=[backend for backend in BACKENDS if backend.id != "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


async def connect(state: ServerState, sock: socket.socket) -> AsyncioChannel:
    """A channel over `sock`, once its transport is there."""
    channel = AsyncioChannel(state, sock=sock)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: channel, sock)
    return channel


@pytest.mark.parametrize("how", ["cut", "finish"])
async def test_what_is_written_after_the_end_reaches_nobody(how: str) -> None:
    state = ServerState(FakeHost())
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        descriptor = ours.fileno()
        channel = await connect(state, ours)
        assert channel.write(b"in time") is True
        channel.cut() if how == "cut" else channel.finish(linger=False)
        while ours.fileno() != -1:  # each loop makes the object forget its descriptor when it closes that
            assert channel.write(b"too late") is True
            await anyio.lowlevel.checkpoint()
        successor, other = socket.socketpair()
        with successor, other:
            assert descriptor in (successor.fileno(), other.fileno())
            channel.write(b"much too late")
            for end in (successor, other):
                end.setblocking(False)
                with pytest.raises(BlockingIOError):
                    end.recv(100)
        assert theirs.recv(100) == b"in time" if how == "finish" else True


class Failing:
    """A socket that fails once and would then go on as if nothing had happened."""

    def __init__(self) -> None:
        self.results: list[Any] = [OSError(errno.ENOBUFS, "no room")]
        self.sent = b""

    def send(self, data: bytes) -> int:
        for result in self.results:
            self.results.remove(result)
            raise result
        self.sent += data
        return len(data)


class Broken:
    """A transport that finds its socket broken when it writes, as the loops' own do."""

    def __init__(self) -> None:
        self.closing = False

    def set_write_buffer_limits(self, *, high: int) -> None:
        assert high == 0

    def write(self, data: bytes) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


def test_nothing_follows_what_a_broken_transport_has_dropped() -> None:
    sock: Any = Failing()
    transport: Any = Broken()
    channel = AsyncioChannel(ServerState(FakeHost()), sock=sock)
    channel.connection_made(transport)
    channel.write(b"one")
    channel.write(b"two")
    assert sock.sent == b""


async def test_a_short_write_is_finished_by_the_transport_in_order() -> None:
    state = ServerState(FakeHost())
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    async with asyncio_streams(state):
        channel = await connect(state, ours)
        state.channels.add(channel)
        data = bytes(range(256)) * 8192
        assert channel.write(data) is False
        assert channel.write(b"behind") is False
        assert 0 < channel.unwritten() < len(data) + 6
        expected = data + b"behind"
        got = b""
        while len(got) < len(expected):
            try:
                got += theirs.recv(1_000_000)
            except BlockingIOError:
                await anyio.lowlevel.checkpoint()
        assert got == expected
        while channel.unwritten():
            await anyio.lowlevel.checkpoint()
        assert channel.write(b"directly again") is True
        assert theirs.recv(100) == b"directly again"
    theirs.close()
