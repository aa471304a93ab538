"""What an endpoint can say of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..bus.topics import TopicStatistics

__all__ = ["EndpointStatistics"]


@dataclass(frozen=True, slots=True)
class EndpointStatistics:
    """A moment of an endpoint."""

    connections: int
    """Sessions, whatever their state."""
    attached: int
    """Those with a transport."""
    ended: Mapping[str, int]
    """Connections that ended, by reason."""
    reactions: Mapping[str, int]
    """How often each limit was met, by the name of its setting."""
    rings: TopicStatistics
