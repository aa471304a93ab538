"""The sans-IO core: what embedders import. No I/O, no clock, no chance.

`ServerEndpoint` has all connections of a process and the five rules of driving it; `Http1Server` turns the
bytes of one socket into requests and messages, and answers into bytes.
"""

from __future__ import annotations

from ..bus.post import Payload
from ..bus.topic import everyone, group
from ..wire.http import Chunk, End, Head, Message, Piece, Ping, Request
from .exchange import Exchange
from .http1 import Closed, Http1Server, Phase, Pong
from .outputs import (
    Abandon,
    AppEvent,
    Connected,
    Deserted,
    Disconnected,
    DisconnectReason,
    Drained,
    Gap,
    Output,
    Received,
    Reconnected,
    Rejoining,
    Resume,
    Transmit,
    Wait,
)
from .reception import ADMITTED, Admission, Route
from .server import ServerEndpoint
from .statistics import EndpointStatistics

__all__ = [
    "ADMITTED",
    "Abandon",
    "Admission",
    "AppEvent",
    "Chunk",
    "Closed",
    "Connected",
    "Deserted",
    "DisconnectReason",
    "Disconnected",
    "Drained",
    "End",
    "EndpointStatistics",
    "Exchange",
    "Gap",
    "Head",
    "Http1Server",
    "Message",
    "Output",
    "Payload",
    "Phase",
    "Piece",
    "Ping",
    "Pong",
    "Received",
    "Reconnected",
    "Rejoining",
    "Request",
    "Resume",
    "Route",
    "ServerEndpoint",
    "Transmit",
    "Wait",
    "everyone",
    "group",
]
