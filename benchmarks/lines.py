"""What has to be reached: each line compares what was measured in one run with a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from .contenders import LOOPS

__all__ = ["LINES", "Line", "Point", "Verdict"]


@dataclass(frozen=True)
class Point:
    """One figure of one contender in one scenario."""

    scenario: str
    contender: str
    figure: str = "cpu_us"


@dataclass(frozen=True)
class Verdict:
    """A line, and whether it was met."""

    text: str
    wanted: str
    seen: str
    met: bool


@dataclass(frozen=True)
class Line:
    """`what`, its ratio to `to` or its excess over `over` is at most `most`; or `to` costs `cheaper` times as much."""

    text: str
    what: Point
    most: float = 0.0
    to: Point | None = None
    over: Point | None = None
    cheaper: float = 0.0
    unit: str = "×"

    def judge(self, measured: Callable[[Point], Sequence[float]]) -> Verdict | None:
        """None: something was not measured. Ratios are medians of the ratios of each repeat."""
        found = measured(self.what)
        other = self.to or self.over
        if other is not None:
            pairs = list(zip(found, measured(other), strict=False))
            if self.over is not None:
                found = [mine - theirs for mine, theirs in pairs]
            elif self.cheaper:
                found = [theirs / mine for mine, theirs in pairs]
            else:
                found = [mine / theirs for mine, theirs in pairs]
        if not found:
            return None
        seen = median(found)
        if self.cheaper:
            return Verdict(self.text, f"≥ {self.cheaper:g} ×", f"{seen:.2f} ×", seen >= self.cheaper)
        return Verdict(self.text, f"≤ {self.most:g} {self.unit}", f"{seen:.2f} {self.unit}", seen <= self.most)


ECHOES = tuple(f"echo, {count} connections, 64 B" for count in (10, 100))
BURSTS = ("echo, bursts of 16, 1 connection, 64 B", "echo, bursts of 16, 10 connections, 64 B")
IDLE = "5,000 idle connections"
PEERS = ("aiohttp-uvloop", "websockets-uvloop", "starlette-uvicorn", "socketio-uvicorn", "aiosignalr-uvloop")


def _floor(loop: str) -> str:
    return "raw-asyncio" if loop == "asyncio" else "raw-uvloop"


def _lines() -> Iterator[Line]:
    for loop in LOOPS:
        yield from _broadcasts(loop, f"persistconn-{loop}")
        yield from _echoes(loop, f"persistconn-{loop}")
        yield from _hubs(loop, f"persistconn-{loop}", f"persistconn-hubs-{loop}")
        yield from _aspnetcore(loop, f"persistconn-hubs-{loop}", f"persistconn-aspnetcore-{loop}")
        yield from _resources(loop, f"persistconn-{loop}")
        yield from _requests(loop, f"persistconn-longpolling-{loop}")
    yield from _under_uvicorn("persistconn-uvicorn")


def _broadcasts(loop: str, ours: str) -> Iterator[Line]:
    for readers, times in (("1,000", 5), ("5,000", 15)):
        scenario = f"broadcast to {readers}"
        mine = Point(scenario, ours)
        yield Line(f"{scenario}, {loop}, to the floor", mine, 1.15, Point(scenario, _floor(loop)))
        socketio, websockets = Point(scenario, "socketio-uvicorn"), Point(scenario, "websockets-uvloop")
        yield Line(f"{scenario}, {loop}, cheaper than socketio", mine, to=socketio, cheaper=times)
        yield Line(f"{scenario}, {loop}, cheaper than websockets", mine, to=websockets, cheaper=1)
    stream = Point("broadcast to 1,000", f"persistconn-sse-{loop}")
    yield Line(f"SSE broadcast to 1,000, {loop}, to WebSocket", stream, 1.3, Point("broadcast to 1,000", ours))
    collected = Point("garbage collector, 100 broadcasts to 5,000", ours, "full")
    yield Line(f"full collections by 100 broadcasts to 5,000, {loop}", collected, 0, unit="")
    large, small = Point("broadcast to 5,000", ours), Point("broadcast to 500", ours)
    yield Line(f"growth: broadcast to 5,000, {loop}, to 500", large, 1.15, small)
    alone = Point("a group of 5 beside 0 other groups", ours)
    for others in ("1,000", "10,000"):
        beside = Point(f"a group of 5 beside {others} other groups", ours)
        yield Line(f"growth: a group beside {others} others, {loop}, to alone", beside, 1.15, alone)


def _under_uvicorn(ours: str) -> Iterator[Line]:
    scenario = "broadcast to 1,000"
    mine = Point(scenario, ours)
    yield Line(f"{scenario}, on uvicorn, to a loop of Starlette", mine, 1.15, Point(scenario, "starlette-uvicorn"))
    socketio = Point(scenario, "socketio-uvicorn")
    yield Line(f"{scenario}, on uvicorn, cheaper than socketio", mine, to=socketio, cheaper=2)


def _hubs(loop: str, ours: str, hubs: str) -> Iterator[Line]:
    for scenario in ECHOES:
        yield Line(f"{scenario}, {loop}, a hub's to ours", Point(scenario, hubs), 1.6, Point(scenario, ours))
    scenario = "broadcast to 1,000"
    yield Line(f"{scenario}, {loop}, a hub's to ours", Point(scenario, hubs), 1.05, Point(scenario, ours))


def _aspnetcore(loop: str, classic: str, hubs: str) -> Iterator[Line]:
    scenario = "broadcast to 1,000"
    mine = Point(scenario, hubs)
    yield Line(f"{scenario}, {loop}, a hub's to ASP.NET Core clients to classic", mine, 1.1, Point(scenario, classic))
    for scenario in ECHOES:
        for peer in ("aiosignalr-uvloop", "socketio-uvicorn"):
            text = f"{scenario}, {loop}, a call from an ASP.NET Core client cheaper than {peer}"
            yield Line(text, Point(scenario, hubs), to=Point(scenario, peer), cheaper=3)


def _echoes(loop: str, ours: str) -> Iterator[Line]:
    for scenario in ECHOES:
        most = 2.0 if loop == "trio" else 1.5
        yield Line(f"{scenario}, {loop}, to the floor", Point(scenario, ours), most, Point(scenario, _floor(loop)))
        for peer in PEERS:
            text = f"{scenario}, {loop}, cheaper than {peer}"
            yield Line(text, Point(scenario, ours), to=Point(scenario, peer), cheaper=1)
    for scenario in BURSTS:
        mine = Point(scenario, ours)
        yield Line(f"{scenario}, {loop}, to the floor", mine, 2.0, Point(scenario, _floor(loop)))
        yield Line(f"{scenario}, {loop}, cheaper than picows", mine, to=Point(scenario, "picows-uvloop"), cheaper=2)
        other = Point(scenario, "websockets-uvloop")
        yield Line(f"{scenario}, {loop}, cheaper than websockets", mine, to=other, cheaper=4)


def _resources(loop: str, ours: str) -> Iterator[Line]:
    idle = Point(IDLE, ours, "idle_kib")
    yield Line(f"memory of an idle connection, {loop}", idle, 10 if loop == "trio" else 8, unit="KiB")
    for moment, figure in (("a message each way", "after_message_kib"), ("bursts", "after_bursts_kib")):
        yield Line(f"more memory after {moment}, {loop}", Point(IDLE, ours, figure), 2, over=idle, unit="KiB")
    yield Line(f"idle CPU of 5,000, {loop}", Point(IDLE, ours, "idle_cpu_percent"), 0.5, unit="%")
    scenario = "connect and first message"
    socketio = Point(scenario, "socketio-uvicorn")
    yield Line(f"connect, {loop}, cheaper than socketio", Point(scenario, ours), to=socketio, cheaper=4)


def _requests(loop: str, ours: str) -> Iterator[Line]:
    for scenario in ("send, 10 clients", "held poll and send, 10 clients"):
        mine, engineio = Point(scenario, ours), Point(scenario, "engineio-polling-uvicorn")
        yield Line(f"{scenario}, {loop}, to raw HTTP", mine, 3.0, Point(scenario, _floor(loop)))
        yield Line(f"{scenario}, {loop}, cheaper than engineio", mine, to=engineio, cheaper=4)


LINES: Sequence[Line] = tuple(_lines())
"""All of them; a run judges those it has measured."""
