"""Waiting for what has not come yet, with a message that says what came instead, and the error it may be due to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.lowlevel

__all__ = ["Eavesdropper", "News", "settle"]

T = TypeVar("T")
_ROUNDS = 30
"""Of the event loop, in which all happens that waits for nothing: far more than any path through the server takes."""


class News:
    """Wakes everyone who waits for a change."""

    def __init__(self) -> None:
        self._event: anyio.Event | None = None
        self.cause: BaseException | None = None
        """The newest error that the server has logged: what does not come may be due to it."""

    def tell(self) -> None:
        """Something has changed."""
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def until(self, look: Callable[[], T | None], timeout: float, complaint: Callable[[], str]) -> T:
        """What `look` finds, as soon as it finds something. Raises TimeoutError with the complaint."""
        with anyio.move_on_after(timeout):
            while True:
                found = look()
                if found is not None:
                    return found
                if self._event is None:
                    self._event = anyio.Event()
                await self._event.wait()
        found = look()
        if found is None:
            raise TimeoutError(complaint()) from self.cause
        return found


class Eavesdropper(logging.Handler):
    """Hears what a server logs of an app that fails, which its clients are never told, while its block lasts."""

    def __init__(self, news: News) -> None:
        super().__init__(logging.ERROR)
        self._news = news

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        if record.exc_info and record.exc_info[1] is not None:
            self._news.cause = record.exc_info[1]

    def __enter__(self) -> None:
        logging.getLogger("persistconn").addHandler(self)

    def __exit__(self, *error: object) -> None:
        logging.getLogger("persistconn").removeHandler(self)


async def settle() -> None:
    """Let everything happen that waits for nothing but its turn."""
    for _ in range(_ROUNDS):
        await anyio.lowlevel.checkpoint()
