"""One check of a driver: starts it, lets clients talk to it, and says in a sentence what to mend."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from .callers import CALLERS, Caller
from .trial import BriefSettings, Trial
from .wire import Wire

__all__ = ["SENT", "Check", "ContractBroken", "Served", "Stand", "Start"]


SENT: Final = "Call sent(exchanges, now) when a Transmit is written: until then nothing more leaves on its exchanges"


class ContractBroken(AssertionError):
    """A driver does not do what the core needs of it. The message begins with what to do."""


@dataclass(frozen=True)
class Served:
    """A driver that runs.

    `where` is the host and port it listens on, or a function that gives a connected socket: one end of a
    `socket.socketpair()` of which the driver has the other. `drain` makes it shut down: the endpoint is told to
    `drain`, and what it says is done; it may return before clients have noticed.
    """

    where: tuple[str, int] | Callable[[], socket.socket]
    drain: Callable[[], object] | None = None

    def connect(self) -> socket.socket:
        """A socket to it."""
        if not isinstance(self.where, tuple):
            return self.where()
        sock = socket.socket()
        # Small, so that a reader which does not read is noticed soon.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        sock.connect(self.where)
        return sock


Start: TypeAlias = Callable[[Trial], AbstractContextManager[Served | tuple[str, int]]]


class Stand:
    """A driver that runs, and who talks to it."""

    def __init__(self, trial: Trial, served: Served, patience: float) -> None:
        self.trial = trial
        self.served = served
        self.patience = patience
        self._sockets: list[socket.socket] = []

    def caller(self, kind: type[Caller], transport: str) -> Caller:
        """A client that has connected."""
        with self.duty(
            "Let each client connect: open() every request, and write what each Transmit says to each of its exchanges",
            f"{kind.dialect} {transport}",
        ):
            return kind(self.trial, self.connect, transport, self.patience)

    def everybody(self) -> list[Caller]:
        """A client of each dialect on each transport."""
        return [self.caller(kind, transport) for kind, transport in CALLERS]

    def wire(self) -> Wire:
        """A socket, for whoever does not keep to the protocol."""
        return Wire(self.connect(), self.patience)

    def connect(self) -> socket.socket:
        """A socket to the driver, closed in the end."""
        sock = self.served.connect()
        self._sockets.append(sock)
        return sock

    @contextmanager
    def duty(self, sentence: str, about: object = "") -> Iterator[None]:
        """What goes wrong in this block is mended by doing what the sentence says."""
        try:
            yield
        except ContractBroken:
            raise
        except (OSError, AssertionError, LookupError, ValueError) as error:  # time-outs are OSErrors
            self.judge()
            if self.trial.told.unsent:
                sentence = SENT
            where = f"{about.name if isinstance(about, Caller) else about}: ".lstrip(": ")
            raise ContractBroken(f"{sentence}. ({where}{error or type(error).__name__})") from error

    def judge(self) -> None:
        """What the endpoint saw is nearer to the cause than what clients saw."""
        if self.trial.told.complaints:
            raise ContractBroken(self.trial.told.complaints[0])

    def close(self) -> None:
        """Nobody talks any more."""
        for sock in self._sockets:
            sock.close()


@dataclass(frozen=True)
class Check:
    """Called with a function that starts a driver, it returns, or raises ContractBroken.

    `patience` is how long it waits for something that does not happen, in seconds.
    """

    name: str
    about: str
    """What is checked, for people."""
    run: Callable[[Stand], None] = field(repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    dwell: float = field(default=0.0, repr=False)

    def __call__(self, start: Start, *, patience: float = 10.0) -> None:
        """Start the driver, and look."""
        trial = Trial(BriefSettings(**self.settings), dwell=self.dwell)
        with start(trial) as given:
            served = given if isinstance(given, Served) else Served(given)
            stand = Stand(trial, served, patience)
            try:
                self.run(stand)
                stand.judge()
            finally:
                stand.close()

    def __str__(self) -> str:
        return self.name
