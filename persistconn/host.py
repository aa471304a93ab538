"""Pumps one endpoint, on anyio: what drivers tell goes in, what it says is carried out.

The endpoint decides, links carry out, `Callbacks` runs what users wrote. While callbacks run, what they send
gathers; it leaves when one waits for something or all that have something to do have run, so that a burst of
messages is answered in one write.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import anyio
import anyio.lowlevel

from .connection import PersistentConnection
from .page import Page, page_for
from .protocol.admission import ADMITTED, Admission
from .protocol.exchange import Exchange
from .protocol.outputs import Abandon, Deserted, Drained, Resume, Transmit, Wait
from .protocol.server import ServerEndpoint
from .sending import Sending
from .settings import Settings
from .tasks import Parking, Tasks, open_tasks
from .wire.http import Piece, Request

__all__ = ["Host", "Link"]

_logger = logging.getLogger("persistconn.host")
_app_logger = logging.getLogger("persistconn.app")
_MOST_STRANGERS = 10
"""Foreign origins that are named in the log: it is for who set up the server, not for who attacks it."""

_READERS_AT_ONCE: Final = 128
"""A broadcast lets others run after so many readers."""
_REST: Final = 0.05
"""Seconds between two looks at the clock: the timers of many connections that are due one after the other share one
wake-up. No deadline here is counted in less than seconds."""


class Link(Protocol):
    """What a driver provides per exchange, as its `context`."""

    def transmit(self, exchange: Exchange, pieces: tuple[Piece, ...]) -> bool:
        """Write without waiting. True: the system has it all. False: `host.sent` will be called."""
        ...

    def abandon(self) -> None:
        """Cut now."""

    def resume(self) -> None:
        """Read on."""


class Host(Sending):
    """One endpoint, its routes, its tasks. Made by `App`.

    `admit_nowait` says what the application thinks of a request, or None where `admit` has to be awaited for that;
    where it is None itself, the application has nothing to say about any.
    """

    def __init__(
        self,
        endpoint: ServerEndpoint,
        routes: Mapping[str, PersistentConnection],
        admit: Callable[[Request], Awaitable[tuple[Request, Admission]]],
        admit_nowait: Callable[[Request], Admission | None] | None,
        pages: Mapping[str, Page],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(endpoint, routes, clock)
        self.settings: Settings = endpoint.settings
        self._admit = admit
        self._admit_nowait = admit_nowait
        self._pages = pages
        self._pumping = False
        self._ends = self._drains = False
        self._tasks: Tasks | None = None
        self._wake_at: float | None = None
        self._alarm = anyio.Event()
        self._spreading: Parking | None = None
        self._strangers: set[tuple[str, str]] = set()
        self._rest: deque[tuple[Sequence[Exchange], tuple[Piece, ...]]] = deque()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Own the tasks: callbacks of connections and the timekeeper."""
        self.thread = threading.get_ident()
        async with open_tasks() as tasks:
            self._tasks = tasks
            self._callbacks.open(tasks)
            tasks.spawn(self._keep_time)
            self._spreading = tasks.parking()
            tasks.spawn(self._spread, self._spreading)
            try:
                yield
            finally:
                self.thread = self._spreading = self._tasks = None
                self._callbacks.close()
                for waiter in [one for waiters in self._waiters.values() for one in waiters]:
                    waiter.set()

    # What drivers tell --------------------------------------------------------------------------

    def open_nowait(self, request: Request, link: Link, *, pings: bool = False) -> Exchange | None:
        """Take a request for which no code of the user has to be awaited; None: use `open` in a task.

        `pump` follows after the last of those that came together.
        """
        admission = ADMITTED if self._admit_nowait is None else self._admit_nowait(request)
        return None if admission is None else self._open(request, link, admission, pings)

    async def open(self, request: Request, link: Link, *, pings: bool = False) -> Exchange:
        """Take a request: who makes it, may they, what does the endpoint say."""
        request, admission = await self._admit(request)
        exchange = self._open(request, link, admission, pings)
        self.pump()
        return exchange

    def _open(self, request: Request, link: Link, admission: Admission, pings: bool) -> Exchange:
        page = page_for(request, self._pages) if self._pages else None
        if page is not None:
            exchange = Exchange(request, link)
            exchange.ended = True
            link.transmit(exchange, page.answer(request))
            return exchange
        exchange = self.endpoint.open(request, self.clock(), admission=admission, context=link, pings=pings)
        if exchange.foreign:
            self._warn_of_page(request)
        return exchange

    def _warn_of_page(self, request: Request) -> None:
        """Browsers hide our answer from the page, and from who looks for its mistake."""
        stranger = origin, host = request.headers.find(b"origin") or "", request.headers.find(b"host") or ""
        if len(self._strangers) < _MOST_STRANGERS and stranger not in self._strangers:
            self._strangers.add(stranger)
            _app_logger.warning(
                "a page of %.100r may not talk to %.100r: App(allowed_origins=[…]) has to name its origin", origin, host
            )

    def receive(self, exchange: Exchange, messages: Sequence[str | bytes]) -> None:
        """WebSocket messages came together; `pump` follows after the last of a batch."""
        self.endpoint.receive_all(exchange, messages, self.clock())

    def pong(self, exchange: Exchange) -> None:
        """A WebSocket pong came."""
        self.endpoint.pong(exchange, self.clock())

    def lost(self, exchange: Exchange, *, graceful: bool = False) -> None:
        """The peer or its socket is gone; `graceful`: it said goodbye, with the close frame of a WebSocket."""
        self.endpoint.lost(exchange, self.clock(), graceful=graceful)
        self.pump()

    def sent(self, exchange: Exchange) -> None:
        """What `transmit` could not write at once is written."""
        self.endpoint.sent((exchange,), self.clock())
        self.pump()

    def announce(self) -> None:
        """Health says from now on that the end is near."""
        self._ends = True

    def drain(self) -> None:
        """Shut down: clients are told to come back, `on_disconnected(shutdown)` runs."""
        self._ends = self._drains = True
        self.endpoint.drain(self.clock())
        self.pump()

    async def drained(self) -> None:
        """Wait until every callback of `drain` has run."""
        if self._drains:
            await self._callbacks.ended()

    @property
    def draining(self) -> bool:
        """It is going to end."""
        return self._ends

    @property
    def tasks(self) -> int:
        """How many run."""
        return 0 if self._tasks is None else self._tasks.count

    # The pump -----------------------------------------------------------------------------------

    def pump(self) -> None:
        """See that everything the endpoint has to say is dealt with: first its events, then what leaves."""
        if not self.endpoint.events:
            self.flush()
        elif not self._callbacks.running:
            self._callbacks.summon()  # who deals with them flushes

    def serve(self) -> None:
        """The same for a caller who has nothing else under way: callbacks may run before this returns."""
        if not self.endpoint.events:
            self.flush()
        elif not self._callbacks.running:
            self._callbacks.summon(at_once=True)

    def flush(self) -> None:
        """Do what the endpoint says for the network, until it has no more to say."""
        if self._pumping:
            return  # whoever pumps sees it all
        self._pumping = True
        endpoint = self.endpoint
        outputs, poll = endpoint.outputs, endpoint.poll_network
        done: list[Exchange] = []
        try:
            while True:
                if outputs:
                    output = outputs.popleft()
                else:
                    if done:
                        endpoint.sent(done, self.clock())
                        done = []
                    output = poll()
                if type(output) is Transmit:
                    self._transmit(output.exchanges, output.pieces, done)
                elif type(output) is Wait:
                    until = output.until
                    if until is not None and (self._wake_at is None or until < self._wake_at):
                        self._wait(until)
                    break
                elif isinstance(output, Resume):
                    output.exchange.context.resume()
                elif isinstance(output, Abandon):
                    output.exchange.context.abandon()
                elif isinstance(output, Deserted):
                    self._callbacks.desert(output.connection_id)
                else:
                    assert isinstance(output, Drained)
                    for waiter in self._waiters.pop(output.connection_id, ()):
                        waiter.set()
        finally:
            self._pumping = False
        if endpoint.events and not self._callbacks.running:
            self._callbacks.summon()

    def _transmit(self, exchanges: Sequence[Exchange], pieces: tuple[Piece, ...], done: list[Exchange]) -> None:
        if len(exchanges) > _READERS_AT_ONCE and self._spreading is not None:
            self._rest.append((exchanges, pieces))
            self._spreading.wake()
            exchanges = exchanges[:_READERS_AT_ONCE]
        for exchange in exchanges:
            try:
                if exchange.context.transmit(exchange, pieces) and not exchange.ended:
                    done.append(exchange)
            except Exception:  # a fault of a driver costs one exchange, not the clock or the rest of a broadcast
                _logger.exception("writing to %r failed", exchange, extra=exchange.log_extra)
                self.endpoint.lost(exchange, self.clock())

    async def _spread(self, parking: Parking) -> None:
        """The rest of big broadcasts, some readers at a time."""
        while True:
            while not self._rest:
                await parking.wait()
            exchanges, pieces = self._rest.popleft()
            for start in range(_READERS_AT_ONCE, len(exchanges), _READERS_AT_ONCE):
                some = exchanges[start : start + _READERS_AT_ONCE]
                done: list[Exchange] = []
                self._transmit([exchange for exchange in some if not exchange.ended], pieces, done)
                self.endpoint.sent(done, self.clock())
                self.pump()
                await anyio.lowlevel.checkpoint()

    # Time ---------------------------------------------------------------------------------------

    def _wait(self, until: float) -> None:
        self._wake_at = until
        self._alarm.set()

    async def _keep_time(self) -> None:
        while True:
            self._alarm = anyio.Event()
            delay = None if self._wake_at is None else max(0.0, self._wake_at - self.clock())
            with anyio.move_on_after(delay):
                await self._alarm.wait()
            now = self.clock()
            if self._wake_at is not None and now >= self._wake_at:
                self._wake_at = None
                self.endpoint.tick(now)
                self.pump()
                await anyio.sleep(_REST)
