"""Calls as they come in, kept in order, and taken by whoever waits for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .waiting import News

__all__ = ["Call", "CallLog"]


@dataclass(frozen=True)
class Call:
    """A function that was called: on a client by its server, or on a fake server by a client.

    >>> from persistconn.testing import Call
    >>> Call("chat", "message", ["ann", "hi"])
    chat.message('ann', 'hi')
    """

    hub: str
    method: str
    arguments: list[Any]
    connection_id: str = ""
    """Of the client."""

    def __repr__(self) -> str:
        return f"{self.hub}.{self.method}({', '.join(map(repr, self.arguments))})"


class CallLog:
    """Every call, and those that nobody has taken yet."""

    def __init__(self, news: News) -> None:
        self.all: list[Call] = []
        self.untaken: list[Call] = []
        self._news = news

    def add(self, call: Call) -> None:
        """It has come."""
        self.all.append(call)
        self.untaken.append(call)
        self._news.tell()

    async def take(
        self, hub: str | None, name: str, timeout: float, ended: Callable[[], Exception | None] = lambda: None
    ) -> list[Any]:
        """Wait for the next call of this name, in any case: its arguments.

        Raises what `ended` says, when there will be none, or TimeoutError with what came instead.
        """

        def look() -> Call | Exception | None:
            for call in self.untaken:
                if call.method.lower() == name.lower() and (hub is None or call.hub.lower() == hub.lower()):
                    self.untaken.remove(call)
                    return call
            return ended()

        def complain() -> str:
            others = "but " + ", ".join(map(repr, self.untaken)) if self.untaken else "nor has anything else"
            if self.all and not self.untaken:
                others = f"and what has been is taken already: {', '.join(map(repr, self.all[-3:]))}"
            return f"{name} has not been called within {timeout:g} s, {others}"

        found: Call | Exception = await self._news.until(look, timeout, complain)
        if isinstance(found, Call):
            return found.arguments
        raise found
