"""Memberships and known losses, against sets of positions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from persistconn.bus.intervals import Spans, overlaps, visible, with_span

positions = st.integers(0, 30)
intervals = st.lists(positions, unique=True, max_size=6).map(lambda found: tuple(sorted(found)))


def members(of: tuple[int, ...]) -> set[int]:
    """The positions at which a reader with these intervals was a member."""
    bounds = [*of, 99] if len(of) % 2 else list(of)
    return {p for i in range(0, len(bounds), 2) for p in range(bounds[i] + 1, bounds[i + 1] + 1)}


@given(intervals, positions)
def test_a_post_is_visible_to_those_who_were_members(of: tuple[int, ...], position: int) -> None:
    assert visible(position, None, of, "ann") == (position in members(of))


def test_a_post_is_not_visible_to_the_excluded() -> None:
    but_ann = frozenset({"ann"})
    assert (visible(5, but_ann, (0,), "ann"), visible(5, but_ann, (0,), "bob")) == (False, True)


@given(intervals, positions, positions)
def test_overlap_is_being_a_member_somewhere(of: tuple[int, ...], after: int, until: int) -> None:
    assert overlaps(of, after, until) == bool(members(of) & set(range(after + 1, until + 1)))


@given(st.lists(st.tuples(positions, positions), max_size=8), positions)
def test_spans_know_what_was_reported_and_may_still_be_counted(reports: list[tuple[int, int]], forgotten: int) -> None:
    spans: Spans = ()
    told: set[int] = set()
    ends = sorted(end for _, end in reports)  # a ring only moves on
    for (start, _), end in zip(reports, ends, strict=True):
        spans = with_span(spans, start, end, forgotten)
        told |= set(range(start + 1, end + 1))
    known = {p for start, end in spans for p in range(start + 1, end + 1)}
    assert {p for p in known if p > forgotten} == {p for p in told if p > forgotten}
    assert len(spans) <= len(reports)
