"""The server of a simulated world: pumps an endpoint, holds it to its five rules, and runs an application."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..protocol import (
    Abandon,
    AppEvent,
    Connected,
    Disconnected,
    Drained,
    Exchange,
    Gap,
    Payload,
    Received,
    Reconnected,
    Rejoining,
    Resume,
    Route,
    ServerEndpoint,
    Transmit,
    Wait,
    everyone,
    group,
)
from .links import Line, Packet, pings
from .stories import Broken

if TYPE_CHECKING:
    from .simulation import Simulation

__all__ = ["GROUPS", "Process"]

GROUPS = ("red", "green & blue", "gr\u00fcn", "4/4")
_ROUTE = "/echo"


class Process:
    """One life of a server process. What is scheduled for a dead one does nothing."""

    def __init__(self, world: Simulation) -> None:
        self.world = world
        self.epoch = world.epoch
        self.endpoint: ServerEndpoint = world.make_endpoint(
            [Route(_ROUTE, frozenset({"classic"}))],
            world.settings,
            secret_keys=[b"the same key in every life"],
            entropy=world.rng.randbytes,
            wall=world.wall,
        )
        self.is_draining = False
        self.waits: set[str] = set()
        """Connections of which `send` said False and no Drained has come."""
        self._alarm: float | None = None
        self._position = 0
        self._pumping = False
        self._is_dead = False
        self._abandoned = ""
        """The connection that was cut last because it took nothing."""

    def die(self) -> None:
        """Killed, with all it knew."""
        self._is_dead = True

    # What happens to it -------------------------------------------------------------------------

    def accept(self, line: Line) -> None:
        """A request has arrived."""
        world, oracle = self.world, self.world.oracle
        if not self.endpoint.is_connected(line.id):
            oracle.never_began(line.id)
        exchange = self.endpoint.open(line.request, world.clock(), context=line, pings=world.rng.random() < 0.7)
        line.exchange = exchange
        if line.is_receiving and exchange.connection_id is not None:
            oracle.opening(line.id, line.number, line.seen, connect=line.action == "connect")
        elif line.action in ("start", "send") and self.endpoint.is_connected(line.id):
            oracle.opening(line.id, None, line.seen)
        if line.action == "send":
            oracle.arrived(line.id, line.number, line.text)
        elif line.action == "abort":
            oracle.ending(line.id)
        self.pump()
        if line.was_left:
            self.world.after(0.001, self.lose, line)

    def hear(self, line: Line, text: str) -> None:
        """A WebSocket message has arrived."""
        exchange = line.exchange
        if self._is_dead or exchange is None or line.lost or line.ended:
            return
        if exchange.paused:
            line.held.append(text)
            return
        self.world.oracle.arrived(line.id, line.number, text, needs_attachment=True)
        self.endpoint.receive(exchange, text, self.world.clock())
        self.pump()

    def lose(self, line: Line) -> None:
        """The socket of a line is gone."""
        if self._is_dead or line.lost:
            return
        if line.exchange is None:
            line.was_left = True
            return
        line.lost = True
        line.in_flight = None
        self.world.oracle.arrival_may_vanish(line.id, line.number)
        if not line.ended:
            self.world.oracle.detached(line.id, line.number)
        self.endpoint.lost(line.exchange, self.world.clock())
        self.pump()

    def written(self, line: Line) -> None:
        """A stalled write is through."""
        if self._is_dead or line.lost or line.in_flight is None:
            return
        line.in_flight = None
        line.stalled_until = 0.0
        assert line.exchange is not None
        self.endpoint.sent([line.exchange], self.world.clock())
        self.pump()

    def pong(self, line: Line) -> None:
        """The answer to a ping has arrived."""
        if not (self._is_dead or line.lost or line.ended or line.cut):
            assert line.exchange is not None
            self.endpoint.pong(line.exchange, self.world.clock())
            self.pump()

    def wake(self, when: float) -> None:
        """The time of a Wait has come."""
        if self._is_dead or self._alarm != when:
            return
        self._alarm = None
        self.endpoint.tick(self.world.now)
        self.pump()

    def expire(self) -> None:
        """Some time has passed without anything."""
        self.endpoint.tick(self.world.now)
        self.pump()

    # What it does -------------------------------------------------------------------------------

    def pump(self) -> None:
        """Do all that the endpoint says."""
        if self._pumping or self._is_dead:
            return
        self._pumping = True
        try:
            while True:
                output = self.endpoint.poll()
                if type(output) is Transmit:
                    self._transmit(output)
                elif type(output) is Wait:
                    self._wait(output.until)
                    return
                elif isinstance(output, AppEvent):
                    self._tell(output)
                elif type(output) is Abandon:
                    self._abandon(output.exchange)
                elif type(output) is Resume:
                    self._resume(output.exchange)
                elif type(output) is Drained:
                    if output.connection_id not in self.waits:
                        raise Broken("drained", f"nobody waits for {output.connection_id}")
                    self.waits.discard(output.connection_id)
        finally:
            self._pumping = False

    def _wait(self, until: float | None) -> None:
        world = self.world
        if until is not None and (self._alarm is None or until < self._alarm):
            self._alarm = max(until, world.now)
            world.at(self._alarm, self.wake, self._alarm)

    def _transmit(self, output: Transmit) -> None:
        world = self.world
        written: list[Exchange] = []
        pieces = output.pieces
        has_ping = pings(pieces)
        for exchange in output.exchanges:
            line: Line = exchange.context
            packet = line.check(pieces)
            if packet.status is not None and packet.status >= 400:
                self._refused(line, packet.status)
            if b'"G":' in packet.data or (packet.messages and b'"G":' in packet.messages[0]):
                self._note_token(line, packet)
            if packet.ended:
                line.ended = True
                if line.is_receiving:
                    world.oracle.detached(line.id, line.number)
            if world.carry(line, packet):
                written.append(exchange)
            if has_ping and not line.cut:
                world.after(line.delay * 2, self.pong, line)
        if written:
            self.endpoint.sent(written, world.now)

    def _refused(self, line: Line, status: int) -> None:
        oracle = self.world.oracle
        if line.is_receiving:
            oracle.refused(line.id, status, excused=self.is_draining)
        elif line.action == "send":
            oracle.arrival_may_vanish(line.id, line.number)

    def _note_token(self, line: Line, packet: Packet) -> None:
        text = packet.data or packet.messages[0]
        at = text.index(b'"G":')
        token, _ = json.JSONDecoder().raw_decode(text[at + 4 :].decode("ascii"))
        self.world.oracle.token_issued(line.id, token)

    def _abandon(self, exchange: Exchange) -> None:
        line: Line = exchange.context
        world = self.world
        if line.in_flight is not None and world.now - line.in_flight >= world.settings.write_deadline:
            self._abandoned = line.id
        if line.lost or (line.ended and line.in_flight is None):
            raise Broken("rule 2", f"Abandon for {line}, which is over")
        line.in_flight = None
        self.world.oracle.arrival_may_vanish(line.id, line.number)
        self.world.oracle.detached(line.id, line.number)
        line.ended = line.lost = line.cut = True
        self.world.after(line.delay, line.peer.broken, line)

    def _resume(self, exchange: Exchange) -> None:
        line: Line = exchange.context
        held, line.held = line.held, []
        for text in held:
            self.hear(line, text)

    # What the application does --------------------------------------------------------------------

    def _tell(self, event: AppEvent) -> None:
        world, oracle, id = self.world, self.world.oracle, event.connection_id
        world.note("event", event)
        if isinstance(event, Received):
            oracle.told_received(id, str(event.data))
        elif isinstance(event, Connected):
            oracle.told_connected(id)
        elif isinstance(event, Reconnected):
            line = world.line_of(event.request)
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

    def _is_stalled(self, id: str) -> bool:
        """A write to this connection has been in flight for the write deadline."""
        world = self.world
        story = world.oracle.stories.get(id)
        line = world.lines.get(story.attached_line or 0) if story is not None else None
        if line is None or line.in_flight is None:
            return self._abandoned == id
        return world.now - line.in_flight >= world.settings.write_deadline

    def _finish(self, event: AppEvent) -> None:
        world, rng, id = self.world, self.world.rng, event.connection_id
        if self._is_dead:
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
        elif draw < 0.92:
            return ValueError("the callback failed")
        return None

    def publish(self, to: str, *, exclude: Sequence[str] = ()) -> None:
        """Send something to everyone ('*') or a group ('#name')."""
        world = self.world
        payload = self._payload(to, exclude)
        topic = everyone(_ROUTE) if to == "*" else group(_ROUTE, to[1:])
        position = self.endpoint.publish(topic, payload, world.now, exclude=exclude)
        if position <= self._position:
            raise Broken("position", f"{position} after {self._position}")
        self._position = position
        self.pump()

    def send(self, id: str) -> None:
        """Send something to one connection."""
        payload = self._payload("@" + id, ())
        if self.endpoint.send(id, payload, self.world.now) is False:
            self.waits.add(id)
        self.pump()

    def _payload(self, to: str, exclude: Sequence[str]) -> Payload:
        world = self.world
        size = 8 if world.rng.random() < 0.9 else world.rng.randrange(10, world.settings.ring_bytes // 40)
        number = world.oracle.published(to, size, exclude)
        json_text = b"%d" % number if size == 8 else b'[%d,"%b"]' % (number, b"x" * (size - 8))
        return Payload.of_json(json_text)

    def join(self, id: str, group: str) -> None:
        """Put a connection into a group."""
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
        if allow_reconnect:
            self.world.oracle.detached(id, None)
        else:
            self.world.oracle.ending(id)
        self.endpoint.close(id, self.world.now, reason="enough", allow_reconnect=allow_reconnect)
        self.pump()

    def drain(self) -> None:
        """Prepare to go away."""
        self.is_draining = True
        self.endpoint.drain(self.world.now)
        self.pump()
