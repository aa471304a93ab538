"""A WebSocket on which a message has no end that matters: its data is given out as it comes, cut anywhere.

For those who find the messages in it by themselves, as hubs of ASP.NET Core do: there one WebSocket message may hold
many of a hub, or a part of one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from wsproto.events import BytesMessage, TextMessage

from ..settings import Settings
from .websocket import SocketEvent, WebSocket

__all__ = ["PartsSocket"]


class PartsSocket(WebSocket):
    """Gives out parts of messages, text in whole characters. Only a whole message that is empty is an empty part.

    Nothing of a message is kept, so neither its size nor the number of its fragments has a limit here.
    """

    __slots__ = ()

    def __init__(self, settings: Settings, clock: Callable[[], float] | None = None) -> None:
        super().__init__(settings, clock)
        self._limit = inf

    def _data_allowed(self, size: int, events: list[SocketEvent]) -> bool:
        self._controls = 0
        return True

    def _take(self, event: TextMessage | BytesMessage, events: list[SocketEvent]) -> None:
        data = event.data
        if data:
            events.append(data if isinstance(data, str) else bytes(data))
        if event.message_finished:
            self._forget_message()
