"""What rings of a given size must still hold, by arithmetic over running sums."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Holdings", "Limits", "Report"]

_COUNTABLE_RINGS = 8
"""So many rings back, a loss is to be reported with its exact size."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The least that is kept: messages and bytes of a topic, seconds, bytes of all topics.

    `overhead` is the most that a post may cost beside its payload.
    """

    messages: int
    bytes: int
    age: float
    total_bytes: int
    overhead: int = 256


@dataclass(slots=True)
class Report:
    """The application was told that something was lost; `head` was then the newest publication."""

    head: int
    missed: int | None
    left: int | None
    """How many of `missed` have not been noticed yet; None: any number."""
    time: float
    totals: dict[str, tuple[int, int]]
    """Publications and bytes of each topic so far."""
    bytes: int
    exact: bool = True
    """Else it may count more than the client missed."""


@dataclass(slots=True, frozen=True)
class _Publication:
    topic: str
    count: int
    topic_bytes: int
    """Of its topic, from the beginning up to the one before it."""
    bytes: int
    """The same of all topics."""
    time: float


class Holdings:
    """Every publication there was."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._publications: list[_Publication] = []
        self._totals: dict[str, tuple[int, int]] = {}
        self._bytes = 0

    @property
    def head(self) -> int:
        """The newest publication."""
        return len(self._publications)

    def published(self, topic: str, size: int, now: float) -> int:
        """One more; its number."""
        size += self._limits.overhead
        count, bytes_ = self._totals.get(topic, (0, 0))
        self._totals[topic] = (count + 1, bytes_ + size)
        self._bytes += size
        self._publications.append(_Publication(topic, count + 1, bytes_, self._bytes - size, now))
        return len(self._publications)

    def topic_of(self, number: int) -> str:
        """Where it went."""
        return self._publications[number - 1].topic if number <= self.head else "nobody"

    def report(self, missed: int | None, now: float) -> Report:
        """A report as of now."""
        return Report(self.head, missed, missed, now, dict(self._totals), self._bytes)

    def may_have_dropped(self, number: int, report: Report) -> bool:
        """When `report` was made, some limit allowed that this publication was gone."""
        limits = self._limits
        publication = self._publications[number - 1]
        count, topic_bytes = report.totals[publication.topic]
        return (
            count - publication.count >= limits.messages
            or report.time - publication.time >= limits.age
            or topic_bytes - publication.topic_bytes >= limits.bytes
            or report.bytes - publication.bytes >= limits.total_bytes
        )

    def is_countable(self, number: int, report: Report) -> bool:
        """When `report` was made, this publication was so recent that its loss had to be counted."""
        limits = self._limits
        publication = self._publications[number - 1]
        count, _ = report.totals[publication.topic]
        return (
            count - publication.count < limits.messages * _COUNTABLE_RINGS
            and report.time - publication.time < limits.age
            and report.bytes - publication.bytes < limits.total_bytes
        )
