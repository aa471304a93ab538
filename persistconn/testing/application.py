"""The application of a simulated server: it answers, joins, leaves and publishes as chance will have it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..bus.topic import named
from ..protocol import (
    Alarm,
    AppEvent,
    Connected,
    Disconnected,
    Gap,
    Payload,
    Received,
    Reconnected,
    Rejoining,
    ServerEndpoint,
    everyone,
    group,
)
from .hub_side import ALL, HUB_PATH, HubSide, payload_of
from .stories import Broken

if TYPE_CHECKING:
    from .simulation import Simulation

__all__ = ["GROUPS", "ROUTE", "Application"]

GROUPS = ("red", "green & blue", "gr\u00fcn", "4/4")
ROUTE = "/echo"


class Application(ABC):
    """What is told of connections and sends to them. What is scheduled for a dead one does nothing."""

    def __init__(self, world: Simulation, endpoint: ServerEndpoint) -> None:
        self.world = world
        self.epoch = world.epoch
        self.endpoint = endpoint
        self.waits: set[str] = set()
        """Connections of which `send` said False and no Drained has come."""
        self.may_drain: Counter[str] = Counter()
        """How often a Drained may come: at most once for each False."""
        self.is_draining = False
        self.is_dead = False
        self.abandoned = ""
        """The connection that was cut last because it took nothing."""
        self.sides: dict[str, HubSide] = {}
        """Of connections of ASP.NET Core clients."""
        self._position = 0

    @abstractmethod
    def pump(self) -> None:
        """Do all that the endpoint says."""

    def _tell(self, event: AppEvent) -> None:
        world, oracle, id = self.world, self.world.oracle, event.connection_id
        world.note("event", event)
        side = self.sides.get(id)
        if isinstance(event, Received):
            if side is None:
                oracle.told_received(id, str(event.data))
            else:
                self._hear(event, side)
        elif isinstance(event, Connected):
            oracle.told_connected(id)
            if event.request.dialect == "aspnetcore":
                is_hub = event.request.path.startswith(ROUTE + HUB_PATH)
                most = world.rng.choice((300, 2_000, 100_000))
                self.sides[id] = HubSide(self.endpoint, id, is_hub, most, lambda: world.now, self.must_wait)
        elif isinstance(event, Alarm):
            oracle.told_alarm(id)
            if side is None:
                raise Broken("alarm", f"{id} is of classic")
            side.alarm(world.now)
            self._judge(side)
        elif isinstance(event, Reconnected):
            line = world.line_of(event.request)
            if side is not None:
                side.is_back(world.now)
            oracle.told_reconnected(
                id,
                line.number if line.is_receiving else None,
                recovered=event.recovered,
                missed=event.missed,
                adopted=event.adopted,
                known=line.epoch == self.epoch,
            )
        elif isinstance(event, Rejoining):
            token = world.line_of(event.request).groups_token
            oracle.told_rejoining(id, event.groups, token, world.settings.groups_lifetime)
        elif isinstance(event, Gap):
            oracle.told_gap(id, event.missed)
        elif isinstance(event, Disconnected):
            oracle.told_disconnected(id, event.reason.value, stalled=self._is_stalled(id))
        if world.rng.random() < world.weather.busy:
            world.after(world.rng.expovariate(2.0), self._finish, event)
        else:
            self._finish(event)

    def _hear(self, event: Received, side: HubSide) -> None:
        """Data of an ASP.NET Core client, cut anywhere."""
        oracle, now = self.world.oracle, self.world.now
        oracle.told_data(side.id)
        was_open = side.is_open
        for text in side.receive(event.data, now):
            oracle.heard(side.id, text)
        if side.is_open and not was_open:
            oracle.agreed(side.id, stateful=side.is_stateful)
        self._judge(side)

    def must_wait(self, id: str) -> None:
        """`send` said False."""
        self.waits.add(id)
        self.may_drain[id] += 1

    def _judge(self, side: HubSide) -> None:
        """The hub protocol may have come to its end."""
        if side.has_closed:
            self.world.oracle.ending(side.id)
            self.endpoint.close(side.id, self.world.now)

    def _is_stalled(self, id: str) -> bool:
        """A write to this connection has been in flight for the write deadline."""
        world = self.world
        story = world.oracle.stories.get(id)
        line = world.lines.get(story.attached_line or 0) if story is not None else None
        if line is None or line.in_flight is None:
            return self.abandoned == id
        return world.now - line.in_flight >= world.settings.write_deadline

    def _finish(self, event: AppEvent) -> None:
        world, rng, id = self.world, self.world.rng, event.connection_id
        if self.is_dead:
            return
        answer: Sequence[str] | None = None
        error: Exception | None = None
        if isinstance(event, Connected):
            if rng.random() < 0.5:
                self.join(id, rng.choice(GROUPS))
            if rng.random() < 0.5:
                self.send(id)
        elif isinstance(event, Received):
            error = self._received(id)
        elif isinstance(event, Rejoining):
            answer = [group for group in event.groups if rng.random() < 0.95]
            world.oracle.joined(id, *answer)
        elif isinstance(event, Disconnected):
            self.sides.pop(id, None)
        world.oracle.completed(id)
        self.endpoint.complete(event, world.now, answer=answer, error=error)
        self.pump()

    def _received(self, id: str) -> Exception | None:
        draw = self.world.rng.random()
        rng = self.world.rng
        if draw < 0.55:
            self.send(id)
        elif draw < 0.7:
            self.join(id, rng.choice(GROUPS))
        elif draw < 0.78:
            self.leave(id, rng.choice(GROUPS))
        elif draw < 0.9:
            self.publish("#" + rng.choice(GROUPS), exclude=[id])
        elif draw < 0.91 and id in self.sides:
            self.send(id)  # which has to arrive, whatever follows
            self.close(id, allow_reconnect=False)
        elif draw < 0.92:
            return ValueError("the callback failed")
        return None

    def publish(self, to: str, *, exclude: Sequence[str] = ()) -> None:
        """Send something to everyone ('*') or a group ('#name')."""
        world = self.world
        payload = self._payload(to, exclude)
        everybody = named(ROUTE, ALL) if world.has_hubs else everyone(ROUTE)
        topic = everybody if to == "*" else group(ROUTE, to[1:])
        position = self.endpoint.publish(topic, payload, world.now, exclude=exclude)
        if position <= self._position:
            raise Broken("position", f"{position} after {self._position}")
        self._position = position
        self.pump()

    def send(self, id: str) -> None:
        """Send something to one connection."""
        if self.world.oracle.is_deaf(id):
            return
        payload = self._payload("@" + id, ())
        if self.endpoint.send(id, payload, self.world.now) is False:
            self.must_wait(id)
        self.pump()

    def _payload(self, to: str, exclude: Sequence[str]) -> Payload:
        world = self.world
        size = 8 if world.rng.random() < 0.9 else world.rng.randrange(10, world.settings.ring_bytes // 40)
        number = world.oracle.published(to, size, exclude)
        json_text = b"%d" % number if size == 8 else b'[%d,"%b"]' % (number, b"x" * (size - 8))
        return payload_of(json_text)

    def join(self, id: str, group: str) -> None:
        """Put a connection into a group."""
        if self.world.oracle.is_deaf(id):
            return
        self.endpoint.join(id, group, self.world.now)
        self.world.oracle.joined(id, group)
        self.pump()

    def leave(self, id: str, group: str) -> None:
        """Take a connection out of a group."""
        self.endpoint.leave(id, group, self.world.now)
        self.world.oracle.left(id, group)
        self.pump()

    def close(self, id: str, *, allow_reconnect: bool) -> None:
        """End a connection."""
        if id in self.sides:
            self.world.oracle.closing(id)
        elif allow_reconnect:
            self.world.oracle.detached(id, None)
        else:
            self.world.oracle.ending(id)
        self.endpoint.close(id, self.world.now, reason="enough", allow_reconnect=allow_reconnect)
        self.pump()

    def audit(self, id: str) -> None:
        """All is calm: its client has acknowledged everything."""
        side = self.sides.get(id)
        if side is not None and side.is_stateful and side.unacknowledged:
            raise Broken("ack", f"{side.unacknowledged} bytes for {id} are not acknowledged")

    def drain(self) -> None:
        """Prepare to go away."""
        self.is_draining = True
        for id in self.sides:
            self.world.oracle.closing(id)
        self.endpoint.drain(self.world.now)
        self.pump()
