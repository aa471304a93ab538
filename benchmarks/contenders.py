"""Who is measured: a program to start, and how its clients connect."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .dial import (
    Dial,
    Talk,
    Wire,
    aiosignalr,
    aspnetcore,
    classic,
    classic_http,
    classic_stream,
    engineio_http,
    hubs,
    plain,
    raw_http,
    socketio,
)

__all__ = ["CONTENDERS", "FLOORS", "LOOPS", "Contender", "choose", "missing"]

LOOPS = ("asyncio", "uvloop", "trio")


def _everywhere(dial: Dial, prefix: str = "", suffix: str = "") -> Mapping[str, Wire]:
    return {room: Wire(dial, prefix.replace("ROOM", room), suffix) for room in ("echo", "broadcast", "group")}


_PLAIN = _everywhere(plain)
_CLASSIC = _everywhere(classic, '"', '"')
_SOCKETIO = {
    **_everywhere(socketio, '42["ROOM","', '"]'),
    "echo": Wire(socketio, '421["echo","', '"]'),  # with an acknowledgement, the answer
}


def _aspnetcore(dial: Dial) -> Mapping[str, Wire]:
    return {
        **_everywhere(dial, '{"type":1,"target":"ROOM","arguments":["', '"]}\x1e'),
        "echo": Wire(dial, '{"type":1,"invocationId":"1","target":"echo","arguments":["', '"]}\x1e'),
    }


_HUBS = {
    "echo": Wire(hubs, '{"H":"bench","M":"echo","A":["', '"],"I":1}'),
    "broadcast": Wire(hubs, '{"H":"bench","M":"broadcast","A":["', '"]}'),
}


@dataclass(frozen=True)
class Contender:
    """One server in its natural best set-up."""

    name: str
    command: tuple[str, ...]
    wires: Mapping[str, Wire] = field(default_factory=lambda: dict(_PLAIN))
    talk: Talk | None = None
    """How its HTTP clients talk."""
    needs: tuple[str, ...] = ()
    """Packages without which it is left out."""
    extra: str = ""
    """What to install then: `persistconn[EXTRA]`."""


def _ours(loop: str) -> Iterable[Contender]:
    needs = () if loop == "asyncio" else (loop,)
    stream = {"broadcast": Wire(classic_stream, '"', '"', trigger=classic)}
    yield Contender(f"persistconn-{loop}", ("ours", loop), _CLASSIC, needs=needs, extra=loop)
    yield Contender(f"persistconn-hubs-{loop}", ("ours", loop), _HUBS, needs=needs, extra=loop)
    yield Contender(f"persistconn-aspnetcore-{loop}", ("ours", loop), _aspnetcore(aspnetcore), needs=needs, extra=loop)
    yield Contender(f"persistconn-sse-{loop}", ("ours", loop), stream, needs=needs, extra=loop)
    yield Contender(f"persistconn-longpolling-{loop}", ("ours", loop), {}, classic_http, needs=needs, extra=loop)


def _peer(name: str, server: str, *more: str, wires: Mapping[str, Wire] = _PLAIN, needs: str = "") -> Contender:
    packages = tuple((needs or server).split())
    return Contender(name, (server, *more), wires, needs=(*packages, "uvloop"), extra=f"bench-{server}")


CONTENDERS = (
    Contender("raw-asyncio", ("raw", "asyncio"), talk=raw_http),
    Contender("raw-uvloop", ("raw", "uvloop"), talk=raw_http, needs=("uvloop",), extra="uvloop"),
    *(contender for loop in LOOPS for contender in _ours(loop)),
    _peer("picows-uvloop", "picows"),
    _peer("aiohttp-uvloop", "aiohttp", "uvloop"),
    _peer("websockets-uvloop", "websockets", "uvloop"),
    _peer("starlette-uvicorn", "starlette", needs="starlette uvicorn websockets httptools"),
    Contender(
        "persistconn-uvicorn",
        ("ours", "uvicorn"),
        _CLASSIC,
        needs=("uvicorn", "websockets", "httptools", "uvloop"),
        extra="bench-starlette",
    ),
    _peer("hypercorn-uvloop", "hypercorn"),
    _peer("granian", "granian"),
    _peer("socketio-uvicorn", "socketio", wires=_SOCKETIO, needs="socketio uvicorn websockets httptools"),
    _peer("aiosignalr-uvloop", "aiosignalr", wires=_aspnetcore(aiosignalr), needs="aiosignalr aiohttp"),
    Contender(
        "engineio-polling-uvicorn",
        ("engineio",),
        {},
        engineio_http,
        needs=("engineio", "uvicorn", "httptools", "uvloop"),
        extra="bench-socketio",
    ),
)

FLOORS = {one.name: "raw-asyncio" if one.name.endswith("-asyncio") else "raw-uvloop" for one in CONTENDERS}
"""A contender's floor is the raw loop on its own event loop; uvloop's for all others."""


def missing(contender: Contender) -> list[str]:
    """What it needs and is not installed."""
    return [name for name in contender.needs if importlib.util.find_spec(name) is None]


def choose(names: str) -> list[Contender]:
    """Those whose names begin with one of `names` (comma-separated; all if empty) and that are installed.

    Says in one line who is left out.
    """
    wanted = tuple(name for name in names.split(",") if name)
    chosen = [one for one in CONTENDERS if not wanted or one.name.startswith(wanted)]
    for one in chosen:
        if lacking := missing(one):
            print(f"{one.name} is left out: {', '.join(lacking)} missing; pip install 'persistconn[{one.extra}]'")
    return [one for one in chosen if not missing(one)]
