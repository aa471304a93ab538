"""What is measured: every name, unit and attribute, and where in the statistics it stands.

Names and attributes that begin with `signalr.` mean what they mean in ASP.NET Core
(meter `Microsoft.AspNetCore.Http.Connections`), so what watches a server there can watch this one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from ..app import App
from ..errors import PersistconnError
from ..protocol.statistics import Ended, TransportStatistics
from ..statistics import Statistics

__all__ = ["BUCKETS", "DURATION", "INSTRUMENTS", "Instrument", "Look", "attributes_of", "snake"]

Attributes: TypeAlias = Mapping[str, str]
Values: TypeAlias = Iterable[tuple[Attributes, int]]


class Instrument(Struct, frozen=True):
    """One thing that is measured."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    """A counter only grows, until the app starts anew."""
    unit: str
    """As UCUM has it, in braces what is only counted."""
    attributes: tuple[str, ...]
    description: str
    values: Callable[[Statistics], Values]


def snake(name: str) -> str:
    """A name of ours as .NET spells values.

    >>> snake("webSockets"), snake("serverSentEvents")
    ('web_sockets', 'server_sent_events')
    """
    return "".join([f"_{letter.lower()}" if letter.isupper() else letter for letter in name])


_TRANSPORT: Final = ("signalr.transport", "persistconn.dialect")
_STATUS: Final = {"timed_out": "timeout", "shutdown": "app_shutdown"}
"""All other reasons are a `normal_closure` to .NET, too."""


def _of(one: TransportStatistics) -> dict[str, str]:
    return {"signalr.transport": snake(one.transport), "persistconn.dialect": one.dialect}


def _per_transport(number: str) -> Callable[[Statistics], Values]:
    return lambda statistics: [(_of(one), getattr(one, number)) for one in statistics.transports]


def _single(number: str) -> Callable[[Statistics], Values]:
    return lambda statistics: [({}, getattr(statistics, number))]


def _ring(number: str) -> Callable[[Statistics], Values]:
    return lambda statistics: [({}, getattr(statistics.rings, number))]


def _calls(number: str) -> Callable[[Statistics], Values]:
    return lambda statistics: [
        ({"persistconn.hub": hub}, getattr(calls, number)) for hub, calls in statistics.calls.items()
    ]


def _ended(statistics: Statistics) -> Values:
    for one in statistics.transports:
        for reason, count in one.ended.items():
            yield {**_of(one), "persistconn.reason": reason}, count


def _reactions(statistics: Statistics) -> Values:
    return [({"persistconn.limit": limit}, count) for limit, count in statistics.reactions.items()]


def _dropped(statistics: Statistics) -> Values:
    rings = statistics.rings
    yield {"persistconn.limit": "ring_messages"}, rings.dropped_ring_messages
    yield {"persistconn.limit": "ring_bytes"}, rings.dropped_ring_bytes
    yield {"persistconn.limit": "total_ring_bytes"}, rings.dropped_total_ring_bytes
    yield {"persistconn.limit": "ring_age"}, rings.expired


def _nothing(statistics: Statistics) -> Values:
    return ()


_FRESH: Final = 0.05
"""Seconds: one collection asks for each instrument on its own."""
BUCKETS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds, as .NET advises."""
DURATION: Final = Instrument(
    *("signalr.server.connection.duration", "histogram", "s", ("signalr.connection.status", *_TRANSPORT)),
    description="How long connections lasted, from their first transport on.",
    values=_nothing,
)
INSTRUMENTS: Final = (
    Instrument(
        *("signalr.server.active_connections", "gauge", "{connection}", _TRANSPORT),
        description="Connections by their newest transport.",
        values=_per_transport("active"),
    ),
    Instrument(
        *("persistconn.connections", "gauge", "{connection}", ()),
        description="All connections, also those that have negotiated only.",
        values=_single("connections"),
    ),
    Instrument(
        *("persistconn.connections.attached", "gauge", "{connection}", ()),
        description="Those that have a transport at this moment; the others are between two polls, or away.",
        values=_single("attached"),
    ),
    Instrument(
        *("persistconn.connections.started", "counter", "{connection}", _TRANSPORT),
        description="Connections that began.",
        values=_per_transport("started"),
    ),
    Instrument(
        *("persistconn.connections.ended", "counter", "{connection}", (*_TRANSPORT, "persistconn.reason")),
        description="Connections that ended, by `DisconnectReason`.",
        values=_ended,
    ),
    Instrument(
        *("persistconn.messages.received", "counter", "{message}", _TRANSPORT),
        description="Messages of clients; of ASP.NET Core hubs, pieces as they come.",
        values=_per_transport("messages_in"),
    ),
    Instrument(
        *("persistconn.messages.sent", "counter", "{message}", _TRANSPORT),
        description="Messages handed to a transport: a broadcast counts once per reader.",
        values=_per_transport("messages_out"),
    ),
    Instrument(
        *("persistconn.transport.sent", "counter", "By", _TRANSPORT),
        description="Bytes of what carried them, without the heads of HTTP and of frames.",
        values=_per_transport("bytes_out"),
    ),
    Instrument(
        *("persistconn.limit.reactions", "counter", "{reaction}", ("persistconn.limit",)),
        description="How often a limit was met, by the name of its setting.",
        values=_reactions,
    ),
    Instrument(
        *("persistconn.ring.topics", "gauge", "{topic}", ()),
        description="Topics that are read or kept.",
        values=_ring("topics"),
    ),
    Instrument(
        *("persistconn.ring.messages", "gauge", "{message}", ()),
        description="Messages that are kept for those who come back.",
        values=_ring("posts"),
    ),
    Instrument(
        *("persistconn.ring.size", "gauge", "By", ()),
        description="What they take of `total_ring_bytes`.",
        values=_ring("bytes"),
    ),
    Instrument(
        *("persistconn.ring.published", "counter", "{message}", ()),
        description="Messages that were sent to anybody: a broadcast counts once.",
        values=_ring("published"),
    ),
    Instrument(
        *("persistconn.ring.dropped", "counter", "{message}", ("persistconn.limit",)),
        description="Messages that are kept no longer, by the setting that said so.",
        values=_dropped,
    ),
    Instrument(
        *("persistconn.hub.calls", "counter", "{call}", ("persistconn.hub",)),
        description="Calls of hubs' methods, by mount and hub: `/signalr/chat`.",
        values=_calls("count"),
    ),
    Instrument(
        *("persistconn.hub.calls.failed", "counter", "{call}", ("persistconn.hub",)),
        description="Those that were refused, or raised.",
        values=_calls("failed"),
    ),
    Instrument(
        *("persistconn.tasks", "gauge", "{task}", ()),
        description="Tasks of the app: one per callback that waits, and those of connections.",
        values=_single("tasks"),
    ),
)
"""All but the one histogram, `DURATION`."""


class Look:
    """The statistics of an app, from any thread; those who ask one after the other share one look."""

    def __init__(self, app: App, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._last: tuple[float, Statistics] | None = None

    def __call__(self) -> Statistics | None:
        """None while it does not run."""
        now = self._clock()
        if self._last is None or now - self._last[0] > _FRESH or self._app.health()["status"] == "stopped":
            try:
                self._last = (now, self._app.statistics())
            except PersistconnError:
                self._last = None
        return None if self._last is None else self._last[1]


def attributes_of(ended: Ended) -> dict[str, str]:
    """Of `DURATION`, for a connection that has ended."""
    return {
        "signalr.connection.status": _STATUS.get(ended.reason.value, "normal_closure"),
        "signalr.transport": snake(ended.transport),
        "persistconn.dialect": ended.dialect,
    }
