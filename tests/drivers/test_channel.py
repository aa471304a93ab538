"""A channel over nothing, on a clock that the test sets."""

from __future__ import annotations

import pytest

from persistconn import Settings
from persistconn.drivers.state import ServerState
from tests.drivers.fake_host import FakeHost
from tests.line import UPGRADE, Line, frame, http

CLOSE = b"\x88\x80" + bytes(4)


class Conversation:
    """One line to a host that has accepted a WebSocket at 100 o'clock."""

    def __init__(self, settings: Settings) -> None:
        self.now = 100.0
        self.host = FakeHost(settings)
        self.line = Line(ServerState(self.host, clock=lambda: self.now))
        self.line.data_received(http("/ws", *UPGRADE))
        assert self.line.take().startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    "more",
    [frame("too late"), frame(bytes(100_000)), frame(bytes(100_000))[:-1], b"\x89\x80" + bytes(4), b"\x01\x81abcdx"],
    ids=["a message", "a large one", "a part of it", "a ping", "a fragment"],
)
def test_after_our_close_the_peer_has_its_time_to_close_whatever_else_it_says(more: bytes) -> None:
    talk = Conversation(Settings(close_timeout=2.0))
    line, host = talk.line, talk.host
    line.data_received(frame("close"))
    assert line.take() == b"\x88\x05\x03\xe8bye"
    told = list(host.told)
    for _ in range(10):
        talk.now += 0.1
        line.data_received(more)
    assert line.deadline == 102.0  # what else is said wins it no time
    assert (line.take(), host.told) == (b"", told)
    assert line.http.frames is not None
    assert line.http.frames.closing
    talk.now = 102.0
    line.expire(talk.now)
    assert line.deadline == float("inf")
    assert host.told == told  # the exchange had ended


def test_the_peers_close_after_ours_ends_the_waiting() -> None:
    talk = Conversation(Settings())
    talk.line.data_received(frame("close"))
    talk.line.data_received(frame("too late") + CLOSE)
    assert talk.line.take() == b"\x88\x05\x03\xe8bye"
    assert talk.line.http.closing
    assert not {"lost", "left"} & {word for word, _ in talk.host.told}


def test_a_goodbye_behind_messages_is_one() -> None:
    talk = Conversation(Settings())
    talk.line.data_received(frame("last") + CLOSE)
    assert [word for word, _ in talk.host.told] == ["opened", "received", "left"]
    assert talk.line.take().endswith(b"\x88\x02\x03\xe8")


def test_a_goodbye_and_the_end_behind_it_are_one_loss() -> None:
    talk = Conversation(Settings())
    talk.line.data_received(CLOSE)
    talk.line.eof_received()
    talk.line.connection_lost()
    assert [word for word, _ in talk.host.told] == ["opened", "left"]


@pytest.mark.parametrize("end", ["eof_received", "connection_lost"])
def test_an_end_without_a_goodbye_is_none(end: str) -> None:
    talk = Conversation(Settings())
    getattr(talk.line, end)()
    assert [word for word, _ in talk.host.told] == ["opened", "lost"]
