"""Who is measured: a program to start, and how its clients connect."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field

from .dial import Wire, classic, classic_stream, plain, socketio

__all__ = ["CONTENDERS", "FLOORS", "Contender", "installed"]

_PLAIN = {"echo": Wire(plain), "broadcast": Wire(plain)}
_CLASSIC = {
    "echo": Wire(classic, '"', '"'),
    "broadcast": Wire(classic, '"', '"'),
}


@dataclass(frozen=True)
class Contender:
    """One server in its natural best set-up."""

    name: str
    command: tuple[str, ...]
    wires: dict[str, Wire] = field(default_factory=lambda: dict(_PLAIN))
    needs: tuple[str, ...] = ()
    """Packages without which it is left out."""


CONTENDERS = (
    Contender("raw-asyncio", ("raw", "asyncio")),
    Contender("raw-uvloop", ("raw", "uvloop"), needs=("uvloop",)),
    Contender("persistconn-asyncio", ("ours", "asyncio"), _CLASSIC),
    Contender("persistconn-uvloop", ("ours", "uvloop"), _CLASSIC, needs=("uvloop",)),
    Contender("persistconn-trio", ("ours", "trio"), _CLASSIC, needs=("trio",)),
    Contender(
        "persistconn-sse-uvloop",
        ("ours", "uvloop"),
        {"broadcast": Wire(classic_stream, '"', '"', trigger=classic)},
        needs=("uvloop",),
    ),
    Contender("picows-uvloop", ("picows",), needs=("picows", "uvloop")),
    Contender("aiohttp-uvloop", ("aiohttp", "uvloop"), needs=("aiohttp", "uvloop")),
    Contender("websockets-uvloop", ("websockets", "uvloop"), needs=("websockets", "uvloop")),
    Contender("starlette-uvicorn", ("starlette",), needs=("starlette", "uvicorn", "uvloop")),
    Contender(
        "socketio-uvicorn",
        ("socketio",),
        {"echo": Wire(socketio, '42["echo","', '"]'), "broadcast": Wire(socketio, '42["broadcast","', '"]')},
        needs=("socketio", "uvicorn", "uvloop"),
    ),
)

FLOORS = {
    "persistconn-asyncio": "raw-asyncio",
}
"""A contender's floor is the raw loop on its own event loop; uvloop's for all others."""


def installed(contender: Contender) -> bool:
    """Everything it needs can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in contender.needs)
