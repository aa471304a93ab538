"""The beginning and the end of an app on somebody else's server: clients hear of the end before the server acts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

import anyio
import anyio.lowlevel

from ..errors import PersistconnError
from ..tasks import open_tasks, when_this_task_has_ended
from .asgi_signals import Signals, word_of_parent

if TYPE_CHECKING:
    from ..host import Host
    from ..settings import Settings
    from .asgi_requests import Receive, Send

__all__ = ["Application", "Line", "Lines", "Stay"]

_logger = logging.getLogger("persistconn.asgi")

_LOOKS: Final = 0.1
"""Seconds between two looks at what another process says; hypercorn itself looks as often."""


class Application(Protocol):
    """What is served: `persistconn.App`."""

    settings: Settings

    @property
    def authenticates(self) -> bool:
        """It finds out by itself who makes a request."""
        ...

    def running(self) -> AbstractAsyncContextManager[Host]:
        """Run the application's host until the block is left."""
        ...

    def here(self) -> Host | None:
        """The host, when it runs on this event loop."""
        ...

    async def at_home(self) -> Host:
        """The host of this event loop, started if need be."""
        ...


class Line(Protocol):
    """One exchange."""

    def abandon(self) -> None:
        """Cut now."""


class Lines:
    """Those that are open."""

    def __init__(self) -> None:
        self._open: set[Line] = set()
        self._emptied = anyio.Event()

    def add(self, line: Line) -> None:
        """One begins."""
        self._open.add(line)

    def discard(self, line: Line) -> None:
        """It has ended."""
        self._open.discard(line)
        if not self._open:
            self._emptied.set()

    async def ended(self) -> None:
        """All have."""
        while self._open:
            self._emptied = anyio.Event()
            await self._emptied.wait()

    def cut(self) -> int:
        """Those that are left. How many?"""
        for line in list(self._open):
            line.abandon()
        return len(self._open)


class _Word:
    """That the process is to end: said once, and once more when there is no time."""

    def __init__(self) -> None:
        self.asked, self.hurried = anyio.Event(), anyio.Event()

    def hear(self) -> None:
        (self.hurried if self.asked.is_set() else self.asked).set()

    async def look(self, is_told: Callable[[], bool]) -> None:
        while not is_told():  # noqa: ASYNC110  # it is another process that says so
            await anyio.sleep(_LOOKS)
        self.asked.set()


class Stay:
    """An app on a server, from its beginning to its end."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self.lines = Lines()
        self._left: object = None
        """The event loop whose host has gone."""
        self._end: tuple[Host, anyio.Event] | None = None
        """Whose has begun, and whether it is reached."""

    @property
    def over(self) -> bool:
        """The app has ended on this event loop, and no host is there to answer."""
        return self._left is not None and self._left == anyio.lowlevel.current_token()

    @property
    def ending(self) -> bool:
        """Clients are told, or have been, and the server ends soon."""
        return self.over or (self._end is not None and self._end[0] is self._app.here())

    async def lifespan(self, receive: Receive, send: Send) -> None:
        """Serve a lifespan scope."""
        await receive()
        try:
            host = self._app.here()
            if host is not None:  # somebody else runs the app, and ends it
                await self._live(host, receive, send)
            else:
                async with self._app.running() as host:
                    await self._live(host, receive, send)
        except PersistconnError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})

    async def _live(self, host: Host, receive: Receive, send: Send) -> None:
        async with self.until_told(host):
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self.end(host)
            self._left = anyio.lowlevel.current_token()

    @asynccontextmanager
    async def until_told(self, host: Host, leave: Callable[[], object] | None = None) -> AsyncIterator[None]:
        """Within the block the app ends by itself when the process is told to.

        With `leave` the block has to be left then, and the server hears of it when this task has ended. An event loop
        that only stops leaves tasks as they are, and anyio's threads, which end with a task, would keep the process.
        """
        self._left = None
        if not self._app.settings.drain_on_signal:
            yield
            return
        word = _Word()
        async with open_tasks() as tasks:
            signals = Signals(word.hear)
            tasks.spawn(self._obey, host, signals, word, leave)
            is_told = word_of_parent()
            if is_told is not None:
                tasks.spawn(word.look, is_told)
            signals.listen()
            try:
                yield
            finally:
                if leave is None:
                    signals.stop()
                else:
                    when_this_task_has_ended(signals.stop)

    async def _obey(self, host: Host, signals: Signals, word: _Word, leave: Callable[[], object] | None) -> None:
        await word.asked.wait()
        notice = self._app.settings.drain_notice
        if notice and signals.holds:
            host.announce()
            _logger.info("shutting down in %g s", notice)
            with anyio.move_on_after(notice):
                await word.hurried.wait()
        await self.end(host)
        if leave is None:
            signals.hand_on()
        else:
            self._left = anyio.lowlevel.current_token()
            leave()

    async def end(self, host: Host) -> None:
        """Every client is told, every callback has run, every answer is written; or `drain_timeout` is over.

        Who asks while it ends already waits for that.
        """
        if self._end is not None and self._end[0] is host:
            await self._end[1].wait()
            return
        ended = anyio.Event()
        self._end = (host, ended)
        settings = self._app.settings
        try:
            with anyio.move_on_after(settings.drain_timeout):
                host.drain()
                await host.drained()
                await self.lines.ended()
                return
            left = self.lines.cut()
            if left:
                _logger.warning("%d requests did not end in time and are cut", left)
            with anyio.move_on_after(settings.close_timeout):
                await self.lines.ended()
        finally:
            ended.set()
