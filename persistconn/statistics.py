"""What an app can say of itself: its endpoint, the calls of its hubs, its tasks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields

from .protocol.statistics import Ended, EndpointStatistics, OnEnded

__all__ = ["CallStatistics", "Endings", "Statistics", "statistics_of"]

_logger = logging.getLogger("persistconn.app")


@dataclass(frozen=True, slots=True)
class CallStatistics:
    """The calls of one hub since it was mounted."""

    count: int
    """Those that named this hub, whatever became of them. What a limit turned away may be among the reactions only."""
    failed: int
    """Those that were refused, or whose method raised: also a HubError, which was meant to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics(EndpointStatistics):
    """A moment of an app, from `App.statistics()`."""

    calls: Mapping[str, CallStatistics]
    """By the path of the mount and the name of the hub: `/signalr/chat`."""
    tasks: int
    """Tasks that run: one for the clock, one for big broadcasts, one per callback that waits, those of connections."""


def statistics_of(
    endpoint: EndpointStatistics, hubs: Mapping[str, Mapping[str, tuple[int, int]]], tasks: int
) -> Statistics:
    """All of it together; `hubs` says of each mount how many calls of each hub there were, and how many failed."""
    own = {field.name: getattr(endpoint, field.name) for field in fields(endpoint)}
    calls = {f"{path}/{name}": CallStatistics(*counts) for path, all in hubs.items() for name, counts in all.items()}
    return Statistics(**own, calls=calls, tasks=tasks)


class Endings:
    """Tells everybody who wants to know of each connection that has ended."""

    def __init__(self) -> None:
        self.functions: list[OnEnded] = []

    def __call__(self, ended: Ended) -> None:
        for function in self.functions:
            try:
                function(ended)
            except Exception:
                extra = {"connection_id": ended.connection_id, "transport": ended.transport, "route": ended.route}
                _logger.exception("%r failed, told of the end of a connection", function, extra=extra)
