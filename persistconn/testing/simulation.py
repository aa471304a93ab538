"""A whole world in one process under a seed: a server, clients, a bad network, a virtual clock, an oracle."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from random import Random
from typing import Any

from ..protocol import ServerEndpoint
from ..settings import Settings
from ..wire.http import Request
from .links import CALM, Line, Packet, Weather
from .oracle import Oracle
from .peers import TRANSPORTS, Peer
from .process import GROUPS, Process
from .report import PromiseBroken, SimulationReport
from .rings import Limits
from .stories import Broken, Phase
from .world import draw_settings

__all__ = ["Simulation"]

_SPELL = 900
"""Steps between two times of calm, in which everything is audited."""
_TRACE = 30


class Simulation:
    """Runs a server endpoint in a bad world and checks the promise after every step.

    The same seed gives the same run. `endpoint` makes the endpoint (with the arguments of `ServerEndpoint`),
    so that a changed one can be tried; `settings` overrides what the seed would draw.

    >>> report = Simulation(7).run(steps=300)
    >>> report.steps >= 300 and report.trace_hash == Simulation(7).run(steps=300).trace_hash
    True
    """

    def __init__(
        self,
        seed: int,
        *,
        peers: int | None = None,
        settings: Settings | None = None,
        weather: Weather | None = None,
        endpoint: Callable[..., ServerEndpoint] = ServerEndpoint,
    ) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.make_endpoint = endpoint
        self.settings = draw_settings(self.rng) if settings is None else settings
        self._rough = Weather(latency=self.rng.choice((0.005, 0.03, 0.1))) if weather is None else weather
        self.weather = self._rough
        self.now = 0.0
        self.wall = 1_700_000_000.0
        self.steps = 0
        self.jumps = 0
        self.restarts = 0
        self.epoch = 0
        self.is_calm = False
        self._calm_until = 0.0
        self.is_closing = False
        self.is_down = False
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = 0
        self._lines = 0
        self.lines: dict[int, Line] = {}
        """Those that have reached the server, by number."""
        self._requests: dict[int, Line] = {}
        self._trace: deque[str] = deque(maxlen=_TRACE)
        self._hash = blake2b(digest_size=16)
        self._transports: Counter[str] = Counter()
        settings = self.settings
        self.oracle = Oracle(
            Limits(settings.ring_messages, settings.ring_bytes, settings.ring_age, settings.total_ring_bytes),
            disconnect_timeout=settings.disconnect_timeout,
            disconnect_threshold=settings.disconnect_threshold,
        )
        self.process = Process(self)
        self.peers = [Peer(self, f"p{number}") for number in range(peers or self.rng.randrange(3, 9))]

    # Running ------------------------------------------------------------------------------------

    def run(self, steps: int = 2_000) -> SimulationReport:
        """Run for at least so many steps and until all have gone. Raises PromiseBroken."""
        try:
            for peer in self.peers:
                self.after(self.rng.random() * 3.0, peer.begin)
                self.after(self.rng.random() * 3.0, self._whim, peer)
            self.after(0.1, self._act)
            while self.steps < steps:
                until = min(steps, self.steps + _SPELL)
                while self.steps < until:
                    self._step()
                self._calm()
            self._close()
        except Exception as error:
            raise PromiseBroken(self.seed, self.steps, error, list(self._trace)) from error
        oracle = self.oracle
        return SimulationReport(
            seed=self.seed,
            steps=self.steps,
            seconds=self.now,
            deliveries=oracle.deliveries,
            reconnects=oracle.reconnects,
            gaps=oracle.gaps,
            lost=oracle.lost,
            restarts=self.restarts,
            transports=dict(self._transports),
            trace_hash=self._hash.hexdigest(),
        )

    def _step(self) -> None:
        when, _, act, arguments = heapq.heappop(self._heap)
        if when > self.now:
            self.now = when
            self.oracle.now = when
        self.steps += 1
        self.note(act.__name__, *arguments)
        act(*arguments)
        if self.steps % 64 == 0:
            self._check_bounds()

    def note(self, *what: object) -> None:
        """Write a line of the trace."""
        line = f"{self.now:.3f} {' '.join(map(str, what))}"
        self._trace.append(line)
        self._hash.update(line.encode())

    def at(self, when: float, act: Callable[..., None], *arguments: Any) -> None:
        """Do something at that time."""
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, act, arguments))

    def after(self, delay: float, act: Callable[..., None], *arguments: Any) -> None:
        """Do something so many seconds from now."""
        self.at(self.now + delay, act, *arguments)

    def clock(self) -> float:
        """What a careless caller takes for now: sometimes a little in the past (rule 4)."""
        return self.now if self.rng.random() < 0.98 else self.now - self.rng.random()

    def next_number(self) -> int:
        """The number of the next line."""
        self._lines += 1
        return self._lines

    def seen_of(self, id: str) -> int:
        """How many publications a client has seen."""
        story = self.oracle.stories.get(id)
        return 0 if story is None else story.seen

    def line_of(self, request: Request) -> Line:
        """The line of a request that the endpoint names in an event."""
        return self._requests[id(request)]

    # The network --------------------------------------------------------------------------------

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
            self._transports[line.transport] += 1
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

    def say(self, line: Line, text: str) -> None:
        """Carry a message of the client on a WebSocket."""
        self.after(line.delay, self._said, line, text)

    def _said(self, line: Line, text: str) -> None:
        if not line.cut:
            self.process.hear(line, text)

    # What people do -----------------------------------------------------------------------------

    def rest(self, peer: Peer) -> None:
        """A client is away for a while."""
        self.after(self.rng.random() * 4.0, self._begin, peer)

    def _begin(self, peer: Peer) -> None:
        if self.is_calm:
            self.at(self._calm_until, self._begin, peer)
        else:
            peer.begin()

    def _whim(self, peer: Peer) -> None:
        rng = self.rng
        if self.is_closing:
            return
        if not self.is_calm:
            draw = rng.random()
            if draw < 0.85:
                peer.speak()
            elif draw < 0.89:
                peer.stop()
            elif draw < 0.92:
                peer.vanish()
            elif draw < 0.97:
                peer.hop(rng.choice(TRANSPORTS))
        self.at(max(self._calm_until, self.now) + rng.expovariate(0.7), self._whim, peer)

    def _act(self) -> None:
        if self.is_closing:
            return
        if not self.is_calm and not self.is_down:
            self._act_now(self.rng.random())
        self.at(max(self._calm_until, self.now) + self.rng.expovariate(5.0), self._act)

    def _act_now(self, draw: float) -> None:
        rng, process = self.rng, self.process
        ids = [peer.id for peer in self.peers if peer.id in self.oracle.stories]
        if draw < 0.4:
            process.publish("*", exclude=rng.sample(ids, min(len(ids), 2)) if rng.random() < 0.3 else ())
        elif draw < 0.6:
            process.publish("#" + rng.choice(GROUPS), exclude=ids[:1] if rng.random() < 0.3 else ())
        elif draw < 0.62:
            self._burst(rng.choice(("*", "#" + GROUPS[0], *("@" + id for id in ids[:1]))))
        elif draw < 0.626:
            self._restart(rng.random() * 2.0)
        elif draw < 0.629:
            process.drain()
            self.after(1.0 + rng.random(), self._restart, 0.5)
        elif draw < 0.634:
            self.jumps += 1
            self.now += rng.expovariate(0.2)
            self.oracle.now = self.now
        elif ids:
            id = rng.choice(ids)
            if draw < 0.85:
                process.send(id)
            elif draw < 0.92:
                process.join(id, rng.choice(GROUPS))
            elif draw < 0.99:
                process.leave(id, rng.choice(GROUPS))
            else:
                process.close(id, allow_reconnect=rng.random() < 0.5)

    def _burst(self, to: str) -> None:
        for _ in range(self.rng.randrange(10, 3 * self.settings.ring_messages)):
            if to[0] == "@":
                self.process.send(to[1:])
            else:
                self.process.publish(to)

    def _restart(self, down: float) -> None:
        """The process dies with all it knew, and comes back with the same keys."""
        if self.is_down:
            return
        self.is_down = True
        self.restarts += 1
        self.oracle.restarted()
        for line in self.lines.values():
            if line.wanted and not line.cut:
                line.cut = True
                line.unhurt = False
                self.after(self.rng.random() * 2.0, line.peer.broken, line)
        self.process.die()
        self.after(down, self._come_back)

    def _come_back(self) -> None:
        self.epoch += 1
        self.is_down = False
        self.process = Process(self)

    # Auditing -----------------------------------------------------------------------------------

    def _check_bounds(self) -> None:
        if self.is_down:
            return
        if self._heap and self._heap[0][0] >= self.now:
            self.oracle.check_overdue()
        statistics = self.process.endpoint.statistics()
        most = self.settings.total_ring_bytes + self.settings.ring_bytes // 40 + 256
        if statistics.rings.bytes > most:
            raise Broken("memory", f"the rings hold {statistics.rings.bytes} bytes of {most}")
        known = sum(story.is_known for story in self.oracle.stories.values())
        if statistics.connections > known + sum(story.running is not None for story in self.oracle.stories.values()):
            raise Broken("memory", f"{statistics.connections} sessions of {known} connections")

    def _calm(self) -> None:
        """Let everything settle, then see that each connected client has seen all, and is in its groups."""
        settings = self.settings
        self.is_calm = True
        self.weather = replace(CALM, latency=self._rough.latency)
        horizon = self.now + 2 * settings.disconnect_timeout + settings.disconnect_threshold + 35.0
        self._calm_until = horizon
        while self._heap[0][0] < horizon:
            self._step()
        for peer in self.peers:
            if peer.state == "connected":
                self.oracle.audit(peer.id, peer.groups_token, settings.groups_lifetime)
            elif peer.state != "away":
                raise Broken("liveness", f"all is calm, but {peer.name} is still {peer.state}")
        for id in self.process.waits:
            raise Broken("drained", f"{id} has caught up or ended, but its sender still waits")
        self.weather = self._rough
        self.is_calm = False

    def _close(self) -> None:
        """Everybody leaves; nothing must be left of them."""
        self.is_closing = True
        settings = self.settings
        for peer in self.peers:
            if self.rng.random() < 0.5:
                peer.stop()
            else:
                peer.vanish()
        horizon = self.now + settings.disconnect_timeout + settings.disconnect_threshold + settings.ring_age + 30.0
        while self._heap and self._heap[0][0] < horizon:
            self._step()
        self.now = horizon
        for story in self.oracle.stories.values():
            if story.phase is Phase.CONNECTED:
                raise Broken("timed out", f"{story.id} has gone, and nobody was told")
        self._check_empty()

    def _check_empty(self) -> None:
        self.process.expire()
        left = self.process.endpoint.statistics()
        rings = left.rings
        if left.connections or left.attached or rings.bytes or rings.posts or rings.topics:
            raise Broken("memory", f"all have gone, but there is left: {left}")
