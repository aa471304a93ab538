"""What is measured: each scenario says how one contender does it once."""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from .contenders import Contender
from .dial import Asking, attend, connect
from .measure import Figures, Generator, Server

__all__ = ["SCENARIOS", "Beside", "Collections", "Connect", "Fan", "Http", "Idle", "Scenario"]

WARM_UP = 0.1
"""Seconds of load before each measurement."""
GROUP = 5
"""Members of a group."""
PORTION = 200
"""Idle connections that wake up at the same time."""


@dataclass(frozen=True)
class Run:
    """What one measurement has to work with."""

    contender: Contender
    server: Server
    generator: Generator
    seconds: float

    @contextmanager
    def clients(self, rooms: Sequence[str], *, apart: bool = False) -> Iterator[list[socket.socket]]:
        """A connection into each room; `apart`: each negotiates on a connection of its own, as real clients do."""
        with ExitStack() as stack:
            dialled: list[socket.socket] = []
            asking = stack.enter_context(closing(Asking(self.server.port)))
            for room in rooms:
                wire = self.contender.wires[room.partition("/")[0]]
                dial = wire.trigger if wire.trigger is not None and not dialled else wire.dial
                if apart:
                    asking.close()
                    asking = stack.enter_context(closing(Asking(self.server.port)))
                dialled.append(stack.enter_context(dial(self.server.port, room, asking)))
            yield dialled

    def load(self, sockets: Sequence[socket.socket], room: str, bytes: int, **how: int) -> Figures:
        """Messages of `bytes`, ten of which are the marker."""
        wire = self.contender.wires[room]
        around, filler = (wire.prefix, wire.suffix), "x" * max(0, bytes - 10)
        how = {"burst": 1, "size": 1, "rounds": 0, **how}
        generator, server = self.generator, self.server
        seconds = self.seconds if not how["rounds"] else 60.0
        return generator.websockets(server, sockets, seconds=seconds, around=around, filler=filler, **how)


@dataclass(frozen=True)
class Scenario(ABC):
    """One table of the report."""

    name: str
    connections: int
    only: tuple[str, ...] = ()
    """Contenders whose names begin with one of these; empty: all who can do it."""

    unit = "CPU µs per message"
    figure = "cpu_us"
    """The main figure, of which ratios are made."""

    @property
    def fresh(self) -> bool:
        """Start the server anew for each measurement, so that nothing is left of the one before."""
        return True

    @property
    def repeats(self) -> int:
        """At most."""
        return 1_000

    def can(self, contender: Contender) -> bool:
        """The contender can take part."""
        return self.can_say(contender) and (not self.only or contender.name.startswith(self.only))

    def can_say(self, contender: Contender) -> bool:
        """It has the wire for it."""
        return "echo" in contender.wires

    @abstractmethod
    def run(self, run: Run) -> Figures:
        """Measure once."""


@dataclass(frozen=True)
class Fan(Scenario):
    """WebSockets (or event streams): what one member of a group sends comes to all of it."""

    room: str = "echo"
    bytes: int = 64
    burst: int = 1
    size: int = 1
    window: int = 0
    """Groups that are busy at a time; 0: all."""

    @property
    def fresh(self) -> bool:
        """Echoes leave nothing behind."""
        return self.room != "echo"

    @property
    def repeats(self) -> int:
        """Thousands of connections take longer to make than to measure."""
        return 3 if self.connections > 1_000 else 1_000

    def can_say(self, contender: Contender) -> bool:
        """See Scenario."""
        return self.room in contender.wires

    def run(self, run: Run) -> Figures:
        """See Scenario."""
        numbers = range(self.connections)
        rooms = [f"group/{n // self.size}" if self.room == "group" else self.room for n in numbers]
        window = self.window or self.connections // self.size
        how = {"burst": self.burst, "size": self.size, "window": window}
        with run.clients(rooms) as sockets:
            warm = Run(run.contender, run.server, run.generator, WARM_UP)
            warm.load(sockets, self.room, self.bytes, **how)
            return run.load(sockets, self.room, self.bytes, **how)


@dataclass(frozen=True)
class Beside(Scenario):
    """A group of five gets messages while there are others: `connections` of them, each in two groups."""

    def can_say(self, contender: Contender) -> bool:
        """See Scenario."""
        return "group" in contender.wires

    def run(self, run: Run) -> Figures:
        """See Scenario."""
        rooms = ["group/ours"] * GROUP + [f"group/{n}?others=1" for n in range(self.connections)]
        with run.clients(rooms) as sockets:
            members = sockets[:GROUP]
            warm = Run(run.contender, run.server, run.generator, WARM_UP)
            warm.load(members, "group", 128, size=GROUP, window=1)
            return run.load(members, "group", 128, size=GROUP, window=1)


@dataclass(frozen=True)
class Collections(Scenario):
    """Full garbage collections that 100 broadcasts cause."""

    unit = "full collections"
    figure = "full"
    repeats = 1

    def can_say(self, contender: Contender) -> bool:
        """Only our server tells."""
        return contender.command[0] == "ours" and {"echo", "group"} <= contender.wires.keys()

    def run(self, run: Run) -> Figures:
        """See Scenario."""
        with run.clients(["broadcast"] * self.connections) as sockets:
            run.load(sockets, "broadcast", 128, size=self.connections, window=1, rounds=2)
            before = self._full(run)
            figures = run.load(sockets, "broadcast", 128, size=self.connections, window=1, rounds=100)
            return {"full": self._full(run) - before, **figures}

    def _full(self, run: Run) -> int:
        with closing(Asking(run.server.port)) as asking:
            wire = run.contender.wires["echo"]
            with wire.dial(run.server.port, "collections", asking) as sock:
                sock.sendall(b"\x81\x81\x00\x00\x00\x001")
                told = b""
                while b'"full":' not in told or b"}" not in told.partition(b'"full":')[2]:
                    told += sock.recv(4096)
                return int(told.partition(b'"full":')[2].partition(b"}")[0])


@dataclass(frozen=True)
class Connect(Scenario):
    """Connecting, and a first message that comes back."""

    unit = "CPU µs per connection"

    def run(self, run: Run) -> Figures:
        """See Scenario."""
        with run.clients(["echo"] * 20, apart=True) as sockets:  # warm
            run.load(sockets, "echo", 64, window=20, rounds=20)
        before, began = run.server.cpu_ns(), time.perf_counter()
        with run.clients(["echo"] * self.connections, apart=True) as sockets:
            run.load(sockets, "echo", 64, window=10, rounds=self.connections)
            used = run.server.cpu_ns() - before
            took = time.perf_counter() - began
        return {"cpu_us": used / 1e3 / self.connections, "rate": self.connections / took}


@dataclass(frozen=True)
class Idle(Scenario):
    """Connections that are just there: memory and CPU."""

    watched: float = 20.0
    """Seconds: two keep-alives by our defaults."""

    unit = "KiB per connection"
    figure = "idle_kib"
    repeats = 2

    def run(self, run: Run) -> Figures:
        """See Scenario."""
        empty = run.server.rss()
        count = self.connections

        def kib() -> float:
            return (run.server.rss() - empty) / 1024 / count

        with run.clients(["echo"] * count) as sockets:
            attend(sockets, 0.5)  # what connecting left to do
            figures = {"idle_kib": kib()}
            before, began = run.server.cpu_ns(), time.perf_counter()
            attend(sockets, self.watched)
            used, took = run.server.cpu_ns() - before, time.perf_counter() - began
            figures["idle_cpu_percent"] = used / 1e7 / took
            # The load answers no pings, and some peers cut off who is silent for 20 seconds. So it is short: a fifth of
            # the connections has bursts, and what that adds is taken times five.
            for start in range(0, count, PORTION):
                run.load(sockets[start : start + PORTION], "echo", 64, window=PORTION, rounds=PORTION)
            figures["after_message_kib"] = kib()
            for start in range(0, count // 5, PORTION):
                some = sockets[start : start + PORTION]
                run.load(some, "echo", 64, burst=16, window=PORTION, rounds=PORTION)
            figures["after_bursts_kib"] = figures["after_message_kib"] + (kib() - figures["after_message_kib"]) * 5
        return figures


@dataclass(frozen=True)
class Http(Scenario):
    """Plain HTTP requests over kept-alive connections."""

    mode: str = "send"
    """`send`: messages that are taken; `poll`: each comes back as the answer of a held poll (two requests)."""
    bytes: int = 64

    unit = "CPU µs per request"

    def can_say(self, contender: Contender) -> bool:
        """See Scenario."""
        return contender.talk is not None

    def run(self, run: Run) -> Figures:
        """See Scenario."""
        assert run.contender.talk is not None
        filler = "x" * (self.bytes - 10)
        with ExitStack() as stack:
            asking = stack.enter_context(closing(Asking(run.server.port)))
            sockets, requests = [], []
            for _ in range(self.connections):
                client = run.contender.talk(run.server.port, "sink" if self.mode == "send" else "echo", filler, asking)
                for request in [client.send] if self.mode == "send" else [client.poll, client.send]:
                    sockets.append(stack.enter_context(connect(run.server.port)))
                    requests.append(request)
            mode = "http" if self.mode == "send" else "poll"
            return run.generator.http(
                run.server, sockets, seconds=run.seconds, mode=mode, requests=requests, filler=filler
            )


def _broadcast(readers: int, *only: str) -> Fan:
    return Fan(f"broadcast to {readers:,}", readers, only, room="broadcast", bytes=128, size=readers, window=1)


_COMPARED = ("persistconn", "raw")

SCENARIOS: tuple[Scenario, ...] = (
    *(
        Fan(f"echo, {count} connection{'s' * (count > 1)}, {size}", count, bytes=bytes)
        for size, bytes in (("64 B", 64), ("1 KiB", 1024))
        for count in (1, 10, 100)
    ),
    *(
        Fan(f"echo, bursts of 16, {count} connection{'s' * (count > 1)}, 64 B", count, bytes=64, burst=16)
        for count in (1, 10)
    ),
    Fan("groups: 1,000 of 5", 5_000, room="group", bytes=128, size=GROUP, window=10),
    _broadcast(100),
    _broadcast(500, *_COMPARED),
    _broadcast(1_000),
    _broadcast(2_000, *_COMPARED),
    _broadcast(5_000),
    *(Beside(f"a group of 5 beside {others:,} other groups", others // 2, _COMPARED) for others in (0, 1_000, 10_000)),
    Http("send, 10 clients", 10, mode="send"),
    Http("held poll and send, 10 clients", 10, mode="poll"),
    Connect("connect and first message", 500),
    Idle("5,000 idle connections", 5_000),
    Collections("garbage collector, 100 broadcasts to 5,000", 5_000),
)
