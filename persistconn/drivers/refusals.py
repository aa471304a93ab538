"""Sockets over the limit: each is told 503 and when to come back, and closed a little later."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Final

import anyio

__all__ = ["Refusals"]

ANSWER: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 36\r\nConnection: close\r\n\r\nThis server has too many connections"
)
WAITING: Final = 64
"""Refused sockets that are kept for a moment; with more, the oldest goes."""


class Refusals:
    """Answers and keeps refused sockets until the peer has had time to read.

    To close at once would reset the connection, as the request was not read, and a reset can overtake the answer.
    """

    def __init__(self, clock: Callable[[], float], *, lifetime: float) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._waiting: deque[tuple[float, socket.socket]] = deque()

    def refuse(self, sock: socket.socket, *, tls: bool) -> None:
        """Answer `sock` (under TLS there is no room for a handshake: just close) and own it from now on."""
        if tls:
            sock.close()
            return
        try:
            sock.send(ANSWER)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            sock.close()
            return
        self._waiting.append((self._clock() + self._lifetime, sock))
        if len(self._waiting) > WAITING:
            self._waiting.popleft()[1].close()

    async def expire_forever(self) -> None:
        """Close those that have waited long enough, until cancelled."""
        while True:
            await anyio.sleep(self._lifetime / 2)
            now = self._clock()
            while self._waiting and self._waiting[0][0] <= now:
                self._waiting.popleft()[1].close()

    def close(self) -> None:
        """Close all."""
        while self._waiting:
            self._waiting.popleft()[1].close()
