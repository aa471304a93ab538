"""Sockets over the limit."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest

from persistconn.drivers import refusals
from persistconn.drivers.refusals import Refusals
from tests.drivers.peer import PATIENCE


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def refused(clock: Clock) -> Iterator[Refusals]:
    made = Refusals(clock, lifetime=0.05)
    yield made
    made.close()


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(PATIENCE)
    return ours, theirs


def test_the_answer_is_whole(refused: Refusals) -> None:
    ours, theirs = pair()
    with theirs:
        refused.refuse(ours, tls=False)
        head, _, body = theirs.recv(1000).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n")
        assert b"Content-Length: %d" % len(body) in head
        assert theirs.recv(1) == b""
        assert ours.fileno() != -1  # kept, so that no reset overtakes the answer


def test_with_tls_there_is_no_answer(refused: Refusals) -> None:
    ours, theirs = pair()
    with theirs:
        refused.refuse(ours, tls=True)
        assert theirs.recv(1) == b""
        assert ours.fileno() == -1


def test_a_peer_that_is_gone_gets_no_answer(refused: Refusals) -> None:
    ours, theirs = pair()
    theirs.close()
    refused.refuse(ours, tls=False)
    assert ours.fileno() == -1


def test_many_are_not_kept(refused: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "WAITING", 1)
    (first, one), (second, two) = pair(), pair()
    with one, two:
        refused.refuse(first, tls=False)
        refused.refuse(second, tls=False)
        assert (first.fileno(), second.fileno() != -1) == (-1, True)


async def test_they_are_closed_in_the_end(refused: Refusals, clock: Clock) -> None:
    ours, theirs = pair()
    with theirs, anyio.fail_after(PATIENCE):
        refused.refuse(ours, tls=False)
        clock.now = 1.0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refused.expire_forever)
            while ours.fileno() != -1:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
