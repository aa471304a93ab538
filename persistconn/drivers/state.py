"""What all channels of one server share, and the one task that watches their deadlines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from ..protocol.http1 import Phase
from ..settings import Settings
from .access import AccessLog

if TYPE_CHECKING:
    from ..protocol.exchange import Exchange
    from ..wire.http import Request
    from .channel import Channel

__all__ = ["Gateway", "ServerState", "Spawn"]

CLEAN_UP: Final = 1.0
"""The endpoint knows what is to become of a connection's slow reader, and says so between one `write_deadline` and
two, because it looks when it sends keep-alives. Drivers clean up this many seconds after that."""


class Gateway(Protocol):
    """What a driver asks of the host: `persistconn.host.Host` is one, tests have another."""

    settings: Settings

    def open_nowait(self, request: Request, link: Channel, *, pings: bool = False) -> Exchange | None:
        """Begin an exchange now, its answer comes with `pump`; None when the application has to be awaited first: then
        use `open`."""
        ...

    async def open(self, request: Request, link: Channel, *, pings: bool = False) -> Exchange:
        """Begin an exchange; its answer comes through `link.transmit`, perhaps before this returns."""
        ...

    def receive(self, exchange: Exchange, messages: Sequence[str | bytes]) -> None:
        """WebSocket messages came, one after the other."""

    def pong(self, exchange: Exchange) -> None:
        """A WebSocket pong came."""

    def sent(self, exchange: Exchange) -> None:
        """What `transmit` returned False for has been written."""

    def lost(self, exchange: Exchange, *, graceful: bool = False) -> None:
        """The peer or the socket is gone; `graceful`: after the close frame of a WebSocket. Idempotent."""

    def pump(self) -> object:
        """Do what has become due; writes happen in here, through `transmit`."""
        ...

    def serve(self) -> object:
        """The same at the end of a callback of the event loop: code of the user may run in here, too."""
        ...

    def announce(self) -> None:
        """Health says from now on that the end is near."""

    def drain(self) -> None:
        """Tell every client to come back later, and take no new ones."""

    async def drained(self) -> None:
        """Wait until no connection is left."""


class Spawn(Protocol):
    """Starts a task that the server owns; its errors are logged, and it is cancelled when the server ends."""

    def __call__(self, call: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run `call(*args)` in a task of its own."""


class ServerState:
    """The host, the settings, the log and the open channels of one server."""

    __slots__ = (
        "channels",
        "clock",
        "connecting",
        "draining",
        "emptied",
        "host",
        "log",
        "root_path",
        "settings",
        "spawn",
        "timeouts",
        "write_patience",
    )

    def __init__(
        self,
        host: Gateway,
        *,
        root_path: str = "",
        log: AccessLog | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.host = host
        self.settings = host.settings
        self.log = log if log is not None else AccessLog()
        self.clock = clock
        self.root_path = root_path
        """What a proxy has taken off every path."""
        self.channels: set[Channel] = set()
        self.connecting = 0
        """Sockets in a TLS handshake that no channel counts yet."""
        self.draining = False
        """No request is taken on any more; a channel without one hangs up."""
        self.emptied = anyio.Event()
        """Set when the last channel goes while draining."""
        self.spawn: Spawn = _no_streams
        """Given by the streams that run the channels."""
        settings = self.settings
        self.write_patience = 2 * settings.write_deadline + CLEAN_UP
        self.timeouts = {
            Phase.IDLE: settings.idle_timeout,
            Phase.HEAD: settings.head_timeout,
            Phase.BODY: settings.body_timeout,
            Phase.ANSWERING: inf,  # the application's time, and the endpoint has its own limits
            Phase.WEBSOCKET: inf,  # a silent client is no error; the endpoint pings
            Phase.CLOSING: settings.close_timeout,
            Phase.CLOSED: settings.close_timeout,
        }

    def put_back_root(self, request: Request) -> None:
        """Give the path of a request as its client knows it."""
        request.root_path = self.root_path
        request.path = self.root_path + request.path

    def forget(self, channel: Channel) -> None:
        """`channel` is gone."""
        self.channels.discard(channel)
        if self.draining and not self.channels:
            self.emptied.set()

    def start_draining(self) -> None:
        """From now on every channel ends with its exchange; those without one end at once."""
        self.draining = True
        for channel in tuple(self.channels):
            channel.drain()
        if not self.channels:
            self.emptied.set()

    def cut_all(self) -> None:
        """Abort everything that is still open."""
        for channel in tuple(self.channels):
            channel.cut()

    async def watch(self) -> None:
        """Tell each channel whose deadline has passed. A sweep for all: no timer, no task per connection.

        A sweep costs about 60 ns per open socket and comes at most twice a second, so a deadline can be late by
        half a second, or by a quarter of the shortest time-out if that is less.
        """
        shortest = min(self.settings.write_deadline, *self.timeouts.values())
        interval = min(0.5, shortest / 4)
        while True:
            await anyio.sleep(interval)
            now = self.clock()
            for channel in [channel for channel in self.channels if channel.deadline <= now]:
                channel.expire(now)


def _no_streams(call: Callable[..., Awaitable[Any]], *args: Any) -> None:
    raise RuntimeError("no streams are running")
