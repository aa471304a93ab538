"""What lies between clients and server: delays, stalls, splits, cuts, and the virtual clock that drives it all."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING, Any

from ..wire.http import Request
from .links import Line, Packet, Weather
from .oracle import Oracle

if TYPE_CHECKING:
    from .process import Process

__all__ = ["Network"]

_TRACE = 30


class Network:
    """A clock, a heap of what happens next, and lines with their weather."""

    process: Process

    def __init__(self, rng: Random, weather: Weather, oracle: Oracle) -> None:
        self.rng = rng
        self.weather = weather
        self.oracle = oracle
        self.now = 0.0
        self.steps = 0
        self.is_calm = False
        self.is_down = False
        self.heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.trace: deque[str] = deque(maxlen=_TRACE)
        self.transports: Counter[str] = Counter()
        self.lines: dict[int, Line] = {}
        """Those that have reached the server, by number."""
        self._serial = 0
        self._numbers = 0
        self._requests: dict[int, Line] = {}
        self._hash = blake2b(digest_size=16)

    # The clock ----------------------------------------------------------------------------------

    def step(self) -> None:
        """Let happen what comes next."""
        when, _, act, arguments = heapq.heappop(self.heap)
        if when > self.now:
            self.now = when
            self.oracle.now = when
        self.steps += 1
        self.note(act.__name__, *arguments)
        act(*arguments)

    def note(self, *what: object) -> None:
        """Write a line of the trace."""
        line = f"{self.now:.3f} {' '.join(map(str, what))}"
        self.trace.append(line)
        self._hash.update(line.encode())

    @property
    def trace_hash(self) -> str:
        """Of everything that has happened, in order."""
        return self._hash.hexdigest()

    def at(self, when: float, act: Callable[..., None], *arguments: Any) -> None:
        """Do something at that time."""
        self._serial += 1
        heapq.heappush(self.heap, (when, self._serial, act, arguments))

    def after(self, delay: float, act: Callable[..., None], *arguments: Any) -> None:
        """Do something so many seconds from now."""
        self.at(self.now + delay, act, *arguments)

    def clock(self) -> float:
        """What a careless caller takes for now: sometimes a little in the past (rule 4)."""
        return self.now if self.rng.random() < 0.98 else self.now - self.rng.random()

    def next_number(self) -> int:
        """The number of the next line."""
        self._numbers += 1
        return self._numbers

    def line_of(self, request: Request) -> Line:
        """The line of a request that the endpoint names in an event."""
        return self._requests[id(request)]

    # Lines --------------------------------------------------------------------------------------

    def dial(self, line: Line) -> None:
        """Carry a request to the server, or not."""
        rng, weather = self.rng, self.weather
        line.delay = rng.expovariate(1.0 / weather.latency)
        draw = rng.random()
        if self.is_down or draw < weather.refused:
            self.after(line.delay, line.peer.broken, line)
        elif draw < weather.refused + weather.swallowed:
            line.cut = True
        else:
            self.after(line.delay, self._arrive, line)
            if line.is_receiving and rng.random() < weather.cut:
                self.after(rng.expovariate(1.0 / weather.lifetime), self._cut, line)

    def _arrive(self, line: Line) -> None:
        if self.is_down:
            self.after(line.delay, line.peer.broken, line)
            return
        self.lines[line.number] = self._requests[id(line.request)] = line
        if line.is_receiving:
            self.transports[line.transport if line.dialect == "classic" else f"{line.dialect} {line.transport}"] += 1
        self.process.accept(line)

    def carry(self, line: Line, packet: Packet) -> bool:
        """Bring to the client what the server writes. True: written at once; else `written` comes later."""
        rng, weather, now = self.rng, self.weather, self.now
        when = line.stalled_until
        if when <= now:
            when = now
            if rng.random() < weather.slow:
                line.stalled_until = when = now + rng.expovariate(1.0 / weather.stall)
                line.unhurt = False
        if packet.ended and rng.random() < weather.answer_lost:
            self._cut(line)
        if not line.cut:
            split = len(packet.data) > 1 and rng.random() < weather.split
            for part in line.split(packet, rng) if split else (packet,):
                line.arrives = max(line.arrives, when + line.delay)
                self.at(line.arrives, self._deliver, line, part)
        if when > now:
            line.in_flight = now
            self.at(when, self.process.written, line)
            return False
        return True

    def _deliver(self, line: Line, packet: Packet) -> None:
        if not line.cut:
            line.peer.hear(line, packet)

    def _cut(self, line: Line) -> None:
        """The line breaks. Each side notices in its own time, the client perhaps never."""
        if line.cut or self.is_calm:
            return
        rng = self.rng
        line.cut = True
        line.unhurt = False
        if rng.random() < 0.8:
            self.after(rng.random() * 2.0, line.peer.broken, line)
        self._server_notices(line)

    def _server_notices(self, line: Line) -> None:
        draw = self.rng.random()
        exchange = line.exchange
        if draw < 0.1 and exchange is not None and exchange.pings and line.transport == "webSockets":
            return  # never: the endpoint has to find out by its pings
        self.after(draw * 1.5 if draw < 0.7 else draw * 15.0, self.process.lose, line)

    def hang_up(self, line: Line) -> None:
        """The client closes its end."""
        if not line.cut:
            line.cut = True
            self.after(line.delay, self.process.lose, line)

    def fall_silent(self, line: Line) -> None:
        """The client is gone without closing anything."""
        if not line.cut:
            line.cut = True
            self._server_notices(line)

    def say(self, line: Line, data: str | bytes, text: str = "") -> None:
        """Carry a message of the client on a WebSocket; one of ASP.NET Core is cut anywhere. `text`: what it says."""
        parts: list[str | bytes] = [data]
        if isinstance(data, bytes) and len(data) > 1 and self.rng.random() < self.weather.split:
            place = self.rng.randrange(1, len(data))
            parts = [data[:place], data[place:]]
        for number, part in enumerate(parts, 1):
            line.said_at = max(line.said_at, self.now + line.delay * (1 if len(parts) == 1 else 1 + self.rng.random()))
            self.at(line.said_at, self._said, line, part, text if number == len(parts) else "")

    def _said(self, line: Line, data: str | bytes, text: str) -> None:
        if not line.cut:
            self.process.hear(line, data, text)

    def say_goodbye(self, line: Line) -> None:
        """The client closes its WebSocket in due form, behind all that it said."""
        line.said_at = max(line.said_at, self.now + line.delay)
        self.at(line.said_at, self._goodbye, line)

    def _goodbye(self, line: Line) -> None:
        if not line.cut:
            line.cut = True
            self.process.lose(line, graceful=True)
