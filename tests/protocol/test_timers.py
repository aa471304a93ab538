"""Named deadlines: the earliest first, re-armed ones once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from persistconn.protocol.timers import Timers


def test_a_timer_that_is_armed_again_goes_off_once_at_its_new_time() -> None:
    timers: Timers[str] = Timers()
    timers.arm("ann", "poll", 5.0)
    timers.arm("ann", "poll", 9.0)
    assert (timers.next(), list(timers.due(8.0))) == (9.0, [])
    assert list(timers.due(9.0)) == [("ann", "poll")]
    assert list(timers.due(99.0)) == []


def test_a_disarmed_timer_does_not_go_off() -> None:
    timers: Timers[str] = Timers()
    timers.arm("ann", "poll", 5.0)
    timers.disarm("ann", "poll")
    timers.disarm("ann", "poll")
    assert (timers.next(), list(timers.due(9.0)), len(timers)) == (None, [], 0)


def test_what_was_armed_again_and_again_takes_no_room() -> None:
    timers: Timers[str] = Timers()
    for moment in range(10_000):
        timers.arm("ann", "pulse", float(moment))
    assert len(timers._heap) <= 65
    assert timers.next() == 9_999.0


def test_what_was_disarmed_takes_no_room() -> None:
    timers: Timers[int] = Timers()
    timers.arm(-1, "pulse", 99_999.0)
    for owner in range(10_000):
        timers.arm(owner, "poll", float(owner))
        timers.disarm(owner, "poll", "pulse")
    assert len(timers._heap) <= 65
    assert len(timers._queued) <= 65
    assert timers.next() == 99_999.0


def test_a_timer_may_be_moved_back_and_forth() -> None:
    timers: Timers[str] = Timers()
    for deadline in (9.0, 5.0, 9.0, 7.0):
        timers.arm("ann", "poll", deadline)
    assert timers.next() == 7.0
    assert list(timers.due(6.0)) == []
    assert list(timers.due(20.0)) == [("ann", "poll")]
    assert timers.next() is None


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.none() | st.floats(0, 100))), st.floats(0, 100)
)
def test_like_a_dictionary_of_deadlines(moves: list[tuple[str, str, float | None]], now: float) -> None:
    timers: Timers[str] = Timers()
    model: dict[tuple[str, str], float] = {}
    for owner, name, deadline in moves:
        if deadline is None:
            timers.disarm(owner, name)
            model.pop((owner, name), None)
        else:
            timers.arm(owner, name, deadline)
            model[owner, name] = deadline
    assert timers.next() == min(model.values(), default=None)
    due = list(timers.due(now))
    assert sorted(due) == sorted(key for key, deadline in model.items() if deadline <= now)
    assert [model[key] for key in due] == sorted(model[key] for key in due)
