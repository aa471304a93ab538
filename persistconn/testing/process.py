"""The server of a simulated world: pumps an endpoint, holds it to its five rules, and runs an application."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..protocol import (
    ADMITTED,
    Abandon,
    Admission,
    AppEvent,
    Drained,
    Exchange,
    Resume,
    Route,
    Transmit,
    Wait,
)
from .application import ROUTE, Application
from .hub_side import ALL, HUB_PATH
from .ledger import numbers_of
from .links import Line, Packet, pings
from .stories import Broken

if TYPE_CHECKING:
    from .simulation import Simulation

__all__ = ["Process"]

_ALL_READERS = Admission(topics=(ALL,))


class Process(Application):
    """One life of a server process. What is scheduled for a dead one does nothing."""

    def __init__(self, world: Simulation) -> None:
        route = Route(ROUTE, frozenset(world.dialects), frozenset({"", HUB_PATH[1:]}), takes_parts=True, resumable=True)
        endpoint = world.make_endpoint(
            [route],
            world.settings,
            secret_keys=[b"the same key in every life"],
            entropy=world.rng.randbytes,
            wall=world.wall,
        )
        super().__init__(world, endpoint)
        self._alarm: float | None = None
        self._pumping = False
        self._unasked: Line | None = None
        """It was lost before the endpoint was asked what to answer."""

    def die(self) -> None:
        """Killed, with all it knew."""
        self.is_dead = True

    # What happens to it -------------------------------------------------------------------------

    def accept(self, line: Line) -> None:
        """A request has arrived."""
        world, oracle = self.world, self.world.oracle
        if not self.endpoint.is_connected(line.id):
            oracle.never_began(line.id)
        is_reader = world.has_hubs and not self._is_hub(line)
        exchange = self.endpoint.open(
            line.request,
            world.clock(),
            admission=_ALL_READERS if is_reader else ADMITTED,
            context=line,
            pings=world.rng.random() < 0.7,
        )
        line.exchange = exchange
        self._opened(line, exchange)
        if line.was_left and world.rng.random() < 0.5:
            self._unasked = line  # its end is read together with it
            self.lose(line)
            self._unasked = None
            return
        self.pump()
        if line.was_left:
            world.after(0.001, self.lose, line)

    def _opened(self, line: Line, exchange: Exchange) -> None:
        oracle = self.world.oracle
        if line.dialect == "aspnetcore":
            self._opened_aspnetcore(line, exchange)
            return
        if line.is_receiving and exchange.connection_id is not None:
            oracle.opening(line.id, line.number, line.seen, connect=line.action == "connect")
        elif line.action in ("start", "send") and self.endpoint.is_connected(line.id):
            oracle.opening(line.id, None, line.seen)
        if line.action == "send":
            oracle.arrived(line.id, line.number, line.text)
        elif line.action == "abort":
            oracle.ending(line.id)

    def _opened_aspnetcore(self, line: Line, exchange: Exchange) -> None:
        oracle = self.world.oracle
        if line.is_receiving and exchange.connection_id is not None:
            if not line.id:  # without negotiation
                line.id = exchange.connection_id
                oracle.negotiated(line.id, is_hub=self._is_hub(line))
            oracle.attached(line.id, line.number, line.seen, is_stream=line.is_stream)
        elif line.action == "connect":
            oracle.polled(line.id)
        elif line.action == "send":
            for text in line.texts:
                oracle.arrived(line.id, line.number, text)
        elif line.action == "abort":
            oracle.ending(line.id)

    def _is_hub(self, line: Line) -> bool:
        return line.request.path.startswith(ROUTE + HUB_PATH)

    def hear(self, line: Line, data: str | bytes, text: str = "") -> None:
        """A WebSocket message has arrived, or a part of one. `text`: what it says, when it is whole with this."""
        exchange = line.exchange
        if self.is_dead or exchange is None or line.lost or line.ended:
            return
        if exchange.paused:
            line.held.append((data, text))
            return
        if line.dialect == "classic":
            assert isinstance(data, str)
            text = data
        if text:
            self.world.oracle.arrived(line.id, line.number, text, needs_attachment=True)
        self.endpoint.receive(exchange, data, self.world.clock())
        self.pump()

    def lose(self, line: Line, *, graceful: bool = False) -> None:
        """The socket of a line is gone; `graceful`: the client said so on it."""
        if self.is_dead or line.lost:
            return
        if line.exchange is None:
            line.was_left = True
            return
        oracle = self.world.oracle
        if line.dialect == "aspnetcore" and self.endpoint.is_connected(line.id):
            uncertain = line.in_flight is not None and line.has_answer
            oracle.gone(line.id, line.number, is_stream=line.is_stream, graceful=graceful, uncertain=uncertain)
        line.lost = True
        line.in_flight = None
        oracle.arrival_may_vanish(line.id, line.number)
        if not line.ended:
            oracle.detached(line.id, line.number)
        self.endpoint.lost(line.exchange, self.world.clock(), graceful=graceful)
        self.pump()

    def written(self, line: Line) -> None:
        """A stalled write is through."""
        if self.is_dead or line.lost or line.in_flight is None:
            return
        line.in_flight = None
        line.stalled_until = 0.0
        assert line.exchange is not None
        self.endpoint.sent([line.exchange], self.world.clock())
        self.pump()

    def pong(self, line: Line) -> None:
        """The answer to a ping has arrived."""
        if not (self.is_dead or line.lost or line.ended or line.cut):
            assert line.exchange is not None
            self.endpoint.pong(line.exchange, self.world.clock())
            self.pump()

    def wake(self, when: float) -> None:
        """The time of a Wait has come."""
        if self.is_dead or self._alarm != when:
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
        if self._pumping or self.is_dead:
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
                    self.may_drain[output.connection_id] -= 1
                    if self.may_drain[output.connection_id] < 0:
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
            if line is self._unasked:
                continue
            packet = line.check(pieces)
            if packet.status is not None and packet.status >= 400:
                self._refused(line, packet.status)
            if b'"G":' in packet.data or (packet.messages and b'"G":' in packet.messages[0]):
                self._note_token(line, packet)
            if packet.ended:
                line.ended = True
                if line.is_receiving:
                    world.oracle.detached(line.id, line.number)
                if line.dialect == "aspnetcore":
                    self._answered(line, packet)
            if world.carry(line, packet):
                written.append(exchange)
            if has_ping and not line.cut:
                world.after(line.delay * 2, self.pong, line)
        if written:
            self.endpoint.sent(written, world.now)

    def _answered(self, line: Line, packet: Packet) -> None:
        """To an ASP.NET Core client, with all there is to this answer."""
        oracle = self.world.oracle
        if line.action == "negotiate" and packet.status == 200:
            oracle.negotiated(json.loads(packet.data)["connectionId"], is_hub=self._is_hub(line))
        elif line.action == "poll" and packet.data and packet.status == 200:
            line.has_answer = True
            oracle.committed(line.id, numbers_of(packet.data), line)
        elif line.action == "poll" and packet.status == 204:
            oracle.told_over(line.id)
        elif line.action == "poll" and packet.status == 404:
            oracle.unknown_poll(line.id)

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
            self.abandoned = line.id
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
        for data, text in held:
            self.hear(line, data, text)
