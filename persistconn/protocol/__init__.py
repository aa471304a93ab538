"""The sans-IO core: what embedders import. No I/O, no clock, no chance.

`ServerEndpoint` has all connections of a process and the five rules of driving it; `Http1Server` turns the
bytes of one socket into requests and messages, and answers into bytes.
"""

from __future__ import annotations

from ..bus.post import Payload
from ..bus.topic import everyone, group
from ..wire.format import RAW_BINARY, RAW_TEXT, Format
from ..wire.http import Chunk, End, Head, Message, Piece, Ping, Request
from .admission import ADMITTED, Admission
from .exchange import Exchange
from .http1 import Closed, Http1Server, Phase, Pong
from .outputs import (
    Abandon,
    Alarm,
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
from .reception import Route
from .replay import Replay
from .server import ServerEndpoint
from .statistics import EndpointStatistics
from .terms import Terms

__all__ = [
    "ADMITTED",
    "RAW_BINARY",
    "RAW_TEXT",
    "Abandon",
    "Admission",
    "Alarm",
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
    "Format",
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
    "Replay",
    "Request",
    "Resume",
    "Route",
    "ServerEndpoint",
    "Terms",
    "Transmit",
    "Wait",
    "everyone",
    "group",
]
