"""How long a TCP connection lasts: the deadline of each phase, the pace of a slow reader, and an orderly end."""

from __future__ import annotations

from abc import abstractmethod
from math import inf
from typing import TYPE_CHECKING, Final

from ..protocol.http1 import Http1Server, Phase
from .stream import Stream

if TYPE_CHECKING:
    from ..protocol.exchange import Exchange
    from ..protocol.websocket import WebSocket
    from .state import ServerState

__all__ = ["GONE", "LEAVING", "OPEN", "Lifetime"]

PACE: Final = 16_384
"""In each `write_deadline` a peer takes at least this much of a backlog, or all of it, or it is cut."""

# How far the end of a channel has come.
OPEN: Final = 0
LEAVING: Final = 1
"""Our half is closed, or will be when the backlog has left; what the peer still says is thrown away. Closing the
whole socket at once would reset it, and a reset can overtake the answer (RFC 9112 §9.6)."""
GONE: Final = 2

UNFINISHED: Final = (Phase.IDLE, Phase.HEAD, Phase.BODY)


class Lifetime(Stream):
    """What a `Channel` knows of its time and its end."""

    # fmt: off
    __slots__ = (
        "_eof", "_exchange", "_frames", "_mark", "_phase", "_stage", "_state", "_unsent", "client", "deadline", "http",
    )
    # fmt: on

    def __init__(self, state: ServerState, client: tuple[str, int] | None, scheme: str) -> None:
        self.client = client
        self.http = Http1Server(state.settings, client=client, scheme=scheme, clock=state.clock)
        self.deadline = inf
        """On the server's clock; `expire` is called soon after. Infinity: none."""
        self._state = state
        self._stage: int = OPEN
        self._phase: Phase | None = None
        self._exchange: Exchange | None = None
        self._unsent: Exchange | None = None
        """The exchange of which `transmit` returned False: `sent` is due."""
        self._mark = 0
        """The backlog when its deadline was set."""
        self._eof = False
        self._frames: WebSocket | None = None
        """What bytes go to without a way round: the WebSocket, while it is open and nothing waits before it."""

    @abstractmethod
    def _steer(self) -> None:
        """Read, or let the peer wait."""

    def expire(self, now: float) -> None:
        """The deadline has passed: what follows depends on what was waited for."""
        left = self.unwritten()
        if left:
            taken = self._mark - left
            if taken >= PACE:
                self._mark = left
                self.deadline = now + self._write_time()
            else:
                self.deadline = inf
                self.cut()
        elif self._stage != OPEN or self._phase not in UNFINISHED:
            self.deadline = inf
            self.cut()
        else:
            answer = self.http.time_out()
            if answer:
                self.write(answer)
            self._hang_up()

    def drain(self) -> None:
        """Take no further request: close now, or with the answer that is being made."""
        if self._stage == OPEN:
            self.http.drain()
            if self.http.closing and not self._mark:
                self._hang_up()

    def _hang_up(self) -> None:
        if self.http.refused is not None:
            self._state.log.refused(self.client, self.http.refused)
        self._leave()
        self.finish(linger=not self._eof)

    def _leave(self) -> None:
        if self._stage == OPEN:
            self._stage = LEAVING
            self._frames = None
            self._steer()
            self._mark = self.unwritten()
            time = self._write_time() if self._mark else self._state.settings.close_timeout
            self.deadline = self._state.clock() + time

    def _watch(self) -> None:
        """A phase of HTTP has begun, and its time."""
        self._phase = self.http.phase
        if not self._mark:
            patience = self._state.timeouts[self._phase]
            self.deadline = inf if patience == inf else self._state.clock() + patience

    def _stall(self, exchange: Exchange | None) -> None:
        if exchange is not None:
            self._unsent = exchange
        if self._stage == OPEN and not self._mark:
            self._mark = max(1, self.unwritten())
            self.deadline = self._state.clock() + self._write_time()

    def _write_time(self) -> float:
        """How long a backlog may stand still; with connections the endpoint decides first."""
        state = self._state
        connected = self._exchange is not None and self._exchange.connection_id is not None
        return state.write_patience if connected else state.settings.write_deadline
