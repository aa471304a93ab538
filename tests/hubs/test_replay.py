"""Numbers without a wire: what is kept, what is forgotten, what came before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from persistconn.hubs.replay import REPLAY_BYTES, Replay


def test_frames_wait_for_their_ack() -> None:
    replay = Replay()
    assert [replay.keep(frame) for frame in (b"a", b"bb", b"ccc")] == [1, 2, 3]
    assert (replay.buffered, replay.resume()) == (6, (1, (b"a", b"bb", b"ccc")))
    replay.acknowledge(2)
    assert (replay.buffered, replay.resume()) == (3, (3, (b"ccc",)))
    replay.acknowledge(1)
    replay.acknowledge(-5)
    assert replay.resume() == (3, (b"ccc",))
    replay.acknowledge(9)
    assert (replay.buffered, replay.resume()) == (0, (4, ()))


def test_what_goes_over_the_limit_is_still_kept() -> None:
    replay = Replay()
    replay.keep(bytes(REPLAY_BYTES))
    assert not replay.is_full
    replay.keep(b"x")
    assert replay.is_full
    replay.acknowledge(1)
    assert not replay.is_full


def test_what_came_before_is_told_apart() -> None:
    replay = Replay()
    assert [replay.take() for _ in range(3)] == [True] * 3
    assert replay.owes_ack and replay.tell() == 3
    assert not replay.owes_ack
    assert replay.resynchronize(2)
    assert replay.take() is False
    assert replay.owes_ack  # it would not come again, had the Ack arrived
    assert [replay.take(), replay.take()] == [False, True]
    assert replay.resynchronize(5)
    assert not replay.resynchronize(6)
    assert replay.resynchronize(-1) and not replay.take()


@given(st.lists(st.integers(-3, 12)))
def test_acks_in_any_order(acks: list[int]) -> None:
    replay = Replay()
    for _ in range(8):
        replay.keep(b"x")
    for ack in acks:
        replay.acknowledge(ack)
    highest = min(8, max([0, *acks]))
    assert replay.resume() == (highest + 1, (b"x",) * (8 - highest))
    assert replay.buffered == 8 - highest
