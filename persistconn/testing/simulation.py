"""A whole world in one process under a seed: a server, clients, a bad network, a virtual clock, an oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from ..protocol import ServerEndpoint
from ..settings import Settings
from .application import GROUPS
from .aspnetcore_peers import AspNetCorePeer
from .links import CALM, Weather
from .network import Network
from .oracle import Oracle
from .peers import Peer
from .process import Process
from .report import PromiseBroken, SimulationReport
from .rings import Limits
from .stories import Broken, Phase
from .world import draw_settings

__all__ = ["Simulation"]

_SPELL = 900
"""Steps between two times of calm, in which everything is audited."""
_WORLDS = (("classic",), ("aspnetcore",), ("classic", "aspnetcore"))
"""What the clients of a world speak."""


class Simulation(Network):
    """Runs a server endpoint in a bad world and checks the promise after every step.

    The same seed gives the same run. `endpoint` makes the endpoint (with the arguments of `ServerEndpoint`),
    so that a changed one can be tried; `settings` and `dialects` override what the seed would draw.

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
        dialects: Sequence[str] | None = None,
        endpoint: Callable[..., ServerEndpoint] = ServerEndpoint,
    ) -> None:
        self.seed = seed
        rng = Random(seed)
        self.dialects = rng.choice(_WORLDS) if dialects is None else tuple(dialects)
        self.has_hubs = "aspnetcore" in self.dialects and rng.random() < 0.8
        """Some clients speak the hub protocol, so everybody reads a topic that they can subscribe to."""
        self.make_endpoint = endpoint
        self.settings = settings = draw_settings(rng) if settings is None else settings
        self._rough = Weather(latency=rng.choice((0.005, 0.03, 0.1))) if weather is None else weather
        oracle = Oracle(
            Limits(settings.ring_messages, settings.ring_bytes, settings.ring_age, settings.total_ring_bytes),
            disconnect_timeout=settings.disconnect_timeout,
            disconnect_threshold=settings.disconnect_threshold,
        )
        super().__init__(rng, self._rough, oracle)
        self.wall = 1_700_000_000.0
        self.jumps = 0
        self.restarts = 0
        self.epoch = 0
        self._calm_until = 0.0
        self.is_closing = False
        self.process = Process(self)
        self.peers = [self._make_peer(f"p{number}") for number in range(peers or rng.randrange(3, 9))]

    def _make_peer(self, name: str) -> Peer | AspNetCorePeer:
        return Peer(self, name) if self.rng.choice(self.dialects) == "classic" else AspNetCorePeer(self, name)

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
            raise PromiseBroken(self.seed, self.steps, error, list(self.trace)) from error
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
            transports=dict(self.transports),
            trace_hash=self.trace_hash,
        )

    def _step(self) -> None:
        self.step()
        if self.steps % 64 == 0:
            self._check_bounds()

    @property
    def patience(self) -> float:
        """So long an ASP.NET Core client waits for a sign of life."""
        return 2 * self.settings.ping_interval + 0.5

    def seen_of(self, id: str) -> int:
        """How many publications a client has seen."""
        story = self.oracle.stories.get(id)
        return 0 if story is None else story.seen

    # What people do -----------------------------------------------------------------------------

    def rest(self, peer: Peer | AspNetCorePeer) -> None:
        """A client is away for a while."""
        self.after(self.rng.random() * 4.0, self._begin, peer)

    def _begin(self, peer: Peer | AspNetCorePeer) -> None:
        if self.is_calm:
            self.at(self._calm_until, self._begin, peer)
        else:
            peer.begin()

    def _whim(self, peer: Peer | AspNetCorePeer) -> None:
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
                peer.hop()
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
        if self.heap and self.heap[0][0] >= self.now:
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
        while self.heap[0][0] < horizon:
            self._step()
        for peer in self.peers:
            if peer.state == "connected":
                self.oracle.audit(peer.id, peer.groups_token, settings.groups_lifetime)
                self.process.audit(peer.id)
                if isinstance(peer, AspNetCorePeer) and peer.ledger is not None and peer.ledger.waiting:
                    raise Broken("ack", f"{peer.ledger.waiting} frames of {peer.name} are not acknowledged")
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
        while self.heap and self.heap[0][0] < horizon:
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
