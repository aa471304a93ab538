"""Signs of life: to every connection that has a transport, and who gives none back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..bus.topics import Topics
from ..settings import Settings
from ..wire.http import Ping
from .delivery import Delivery
from .exchange import Exchange
from .outputs import Transmit
from .session import Link, Session
from .timers import Timers

__all__ = ["Heartbeat"]

_PING: Final = Ping()
_PORTIONS: Final = 10
"""Connections get their signs of life in so many portions a period."""


class Heartbeat:
    """The pulse of all sessions of an endpoint."""

    def __init__(self, settings: Settings, topics: Topics, delivery: Delivery, timers: Timers[Session | None]) -> None:
        self._settings = settings
        self._topics = topics
        self._delivery = delivery
        self._timers = timers
        keep_alive, deadline = settings.keep_alive, settings.write_deadline
        self._period = deadline if keep_alive is None else min(keep_alive, deadline)
        self._period_of_hubs = min(settings.ping_interval, deadline)

    def arm(self, session: Session) -> None:
        """Its first pulse comes a little early, with that of all who are due in the same tenth of a period.

        What is sent to thousands of sleeping peers one by one wakes each of them up for a single message.
        """
        period = self._period_of_hubs if session.traits.remembers_negotiation else self._period
        apart = period / _PORTIONS
        self._timers.arm(session, "pulse", (self._delivery.now + period) // apart * apart)

    def beat(self, sessions: Iterable[Session]) -> list[Exchange]:
        """The pulse of these is due. Gives the exchanges whose peers have answered no ping."""
        alive: list[Exchange] = []
        lost: list[Exchange] = []
        for session in sessions:
            exchange = session.exchange
            if exchange is None or session.link is not Link.ATTACHED:
                continue
            self.arm(session)
            self._topics.trim(session)
            if exchange.in_flight:
                if exchange.in_flight == 1:
                    exchange.in_flight = 2
                    self._timers.arm(session, "write", self._delivery.now + self._settings.write_deadline)
            elif exchange.unanswered >= 3:  # two pings went out
                lost.append(exchange)
            else:
                alive.append(exchange)
        self._keep_alive(alive)
        return lost

    def _keep_alive(self, exchanges: Iterable[Exchange]) -> None:
        """A sign of life on each, shared where it looks the same."""
        outputs = self._delivery.outputs
        lanes: dict[tuple[int, ...], list[Exchange]] = {}
        for exchange in exchanges:
            framing = exchange.framing
            assert framing is not None
            piece = framing.keep_alive
            if piece is None or (framing.format is None and self._settings.keep_alive is None):
                continue
            pieces = (*self._delivery.head_of(exchange), piece)
            if exchange.pings and not exchange.paused:  # nobody reads the pongs of a paused one
                exchange.unanswered += 1
                if exchange.unanswered in (2, 3):  # the pulse is for the client, the ping for us: half as often
                    pieces = (*pieces, _PING)
            exchange.behind = not exchange.idle
            exchange.idle = False
            exchange.in_flight = 1
            if framing.streaming and len(pieces) <= 2:
                key = tuple(map(id, pieces))
                if key not in lanes:
                    lanes[key] = []
                    outputs.append(Transmit(lanes[key], pieces))
                lanes[key].append(exchange)
            else:
                outputs.append(Transmit([exchange], pieces))
