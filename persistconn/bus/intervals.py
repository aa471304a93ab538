"""When a reader was a member, and which of its losses it knows of: both as intervals of positions."""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["Intervals", "Spans", "overlaps", "visible", "with_span"]

Spans: TypeAlias = tuple[tuple[int, int], ...]
"""Losses that were reported: those after the first position of a pair and up to its second."""

Intervals: TypeAlias = tuple[int, ...]
"""joined, left, joined, left, … in positions; an odd length means: is a member now."""


def visible(position: int, exclude: frozenset[str] | None, intervals: Intervals, reader_id: str) -> bool:
    """The reader was a member when the post at `position` was made, and is not excluded from it."""
    if exclude is not None and reader_id in exclude:
        return False
    last = len(intervals) - 1
    for i in range(0, len(intervals), 2):
        if intervals[i] < position and (i == last or position <= intervals[i + 1]):
            return True
    return False


def with_span(spans: Spans, start: int, end: int, forgotten: int) -> Spans:
    """`spans` and one more up to `end`; those that touch become one, and those that nobody can count any more go."""
    apart: list[tuple[int, int]] = []
    for earlier, until in spans:
        if until < start:
            if until > forgotten:
                apart.append((earlier, until))
        else:
            start = min(start, earlier)
    return (*apart, (start, max(start, end)))


def overlaps(intervals: Intervals, after: int, until: int) -> bool:
    """The reader was a member somewhere in the positions after `after`, up to `until`."""
    last = len(intervals) - 1
    for i in range(0, len(intervals), 2):
        left = until if i == last else min(until, intervals[i + 1])
        if max(intervals[i], after) < left:
            return True
    return False
