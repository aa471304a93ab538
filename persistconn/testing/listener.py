"""What a client of ASP.NET Core makes of the frames it is sent, in the hub protocol or without."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from .ledger import Ledger, frames_of, number_of
from .links import Line
from .stories import Broken

if TYPE_CHECKING:
    from .simulation import Simulation

__all__ = ["Listener"]

_ACK_INTERVAL = 1.0
_PING = b'{"type":6}\x1e'


class Listener(ABC):
    """The half of a client that reads."""

    world: Simulation
    id: str
    state: str
    transport: str
    line: Line | None
    """What it receives on."""
    is_hub: bool
    ledger: Ledger | None
    """Stateful reconnect was agreed on, and this keeps the books."""
    in_step: bool
    """Numbers count: false from a reconnect to the server's Sequence."""
    acks_due: bool

    @abstractmethod
    def write(self, frame: bytes, text: str) -> None:
        """Send a frame; `text` is what is said by it."""

    def take(self, line: Line, unit: bytes) -> None:
        """A message, an event, or the answer to a poll."""
        if line is not self.line:
            return
        try:
            frames = frames_of(unit)
        except ValueError as error:
            raise Broken("frame", f"{line}: {error}") from None
        numbers: list[int] = []
        for frame in frames:
            if self.is_hub:
                self._take_message(line, frame, numbers)
            elif isinstance(frame, dict):
                if frame not in ({}, {"over": True}):
                    raise Broken("frame", f"{line}: {frame}")
            else:
                numbers.append(number_of(frame))
        if numbers:
            self.world.oracle.delivered(self.id, numbers)

    def _take_message(self, line: Line, frame: Any, numbers: list[int]) -> None:
        if self.state == "shaking hands":
            if frame != {}:
                raise Broken("handshake", f"{line}: {frame} comes before its answer")
            self.state = "connected"
            if self.transport != "longPolling":
                self.write(_PING, "")
            return
        kind = frame["type"] if isinstance(frame, dict) else None
        ledger = self.ledger
        if ledger is None:
            if kind == 1:
                numbers.append(number_of(frame["arguments"][0]))
            elif kind not in (6, 7):
                raise Broken("frame", f"{line}: {frame}")
        elif kind == 9:
            if not ledger.resynchronize(frame["sequenceId"]):
                raise Broken("sequence", f"{line}: {frame} after {ledger.latest}")
            self.in_step = True
        elif not self.in_step:
            raise Broken("sequence", f"{line}: {frame} comes before the Sequence")
        elif kind == 8:
            ledger.acknowledge(frame["sequenceId"])
        elif kind == 1:
            if ledger.take():
                numbers.append(number_of(frame["arguments"][0]))
            self._owe_ack()
        elif kind not in (6, 7):
            raise Broken("frame", f"{line}: {frame}")

    def _owe_ack(self) -> None:
        if not self.acks_due:
            self.acks_due = True
            self.world.after(_ACK_INTERVAL, self._ack, self.ledger)

    def _ack(self, ledger: Ledger) -> None:
        if ledger is self.ledger:
            self.acks_due = False
            if self.state == "connected" and self.line is not None:
                self.world.say(self.line, b'{"type":8,"sequenceId":%d}\x1e' % ledger.latest)
