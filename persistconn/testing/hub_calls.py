"""Calls between a client of hubs and its server, both ways, whichever dialect they are written in."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from ..errors import ConnectionClosed
from ..hubs import HubError
from ..tasks import Tasks
from .call_log import Call, CallLog
from .dialing import Wire
from .waiting import News

__all__ = ["Answer", "HubSpeech", "Pending", "is_upload"]

WireT = TypeVar("WireT", bound=Wire)
Answer: TypeAlias = Callable[[Any, "str | None"], Awaitable[None]]
"""Gives a result, or an error, to a server that asked for one."""


@dataclass(eq=False)
class Pending:
    """A call that is under way: what has come for it."""

    method: str
    items: list[Any] = field(default_factory=list)
    """Of a stream, not yet taken."""
    done: bool = False
    result: Any = None
    error: Exception | None = None
    progress: Callable[[Any], object] | None = None


class HubSpeech(ABC, Generic[WireT]):
    """The client's side of all hubs of a connection."""

    def __init__(self, tasks: Tasks, news: News) -> None:
        self.tasks = tasks
        self.news = news
        self.log = CallLog(news)
        """What the server has called."""
        self.functions: dict[tuple[str, str], Callable[..., Any]] = {}
        """What the server may call, by hub and name in lower case."""
        self.failures: list[Exception] = []
        """What such functions have raised."""
        self.pending: dict[str, Pending] = {}
        self._count = 0

    wire: WireT

    @abstractmethod
    async def start(self) -> None:
        """Connect, and whatever has to be said first."""

    @abstractmethod
    async def come_back(self) -> None:
        """Connect again."""

    @abstractmethod
    async def leave(self) -> None:
        """End the connection, and say so."""

    @abstractmethod
    async def write(
        self, hub: str, method: str, arguments: Sequence[Any], id: str | None, *, is_stream: bool = False
    ) -> None:
        """Call a method."""

    @abstractmethod
    async def cancel(self, id: str) -> None:
        """The items of a stream are not wanted any more."""

    def begin(self, method: str, progress: Callable[[Any], object] | None = None) -> str:
        """A call that will be answered begins: its id."""
        id = str(self._count)
        self._count += 1
        self.pending[id] = Pending(method, progress=progress)
        return id

    def lose(self, error: Exception) -> None:
        """The connection has ended: nothing that is under way will be answered."""
        for pending in self.pending.values():
            pending.error = pending.error or ConnectionClosed(f"{pending.method} was not answered: {error}")
            pending.done = True
        self.news.tell()

    def finish(self, id: str, result: Any, error: HubError | None) -> None:
        """A call is answered."""
        pending = self.pending.get(id)
        if pending is not None:
            pending.result, pending.error, pending.done = result, error, True
            self.news.tell()

    def called(self, call: Call, answer: Answer | None) -> None:
        """The server calls; it waits for an answer if there is a way to give one."""
        self.log.add(call)
        function = self.functions.get((call.hub.lower(), call.method.lower()))
        if function is not None or answer is not None:
            self._run(call, function, answer)

    def _run(self, call: Call, function: Callable[..., Any] | None, answer: Answer | None) -> None:
        result, error = None, None
        if function is None:
            error = "Client didn't provide a result."
        else:
            try:
                result = function(*call.arguments)
            except Exception as problem:
                error = self._failed(problem, answer)
        if inspect.isawaitable(result):
            self.tasks.spawn(self._run_on, result, answer)
        elif answer is not None:
            self.tasks.spawn(answer, result, error)

    async def _run_on(self, work: Awaitable[Any], answer: Answer | None) -> None:
        result, error = None, None
        try:
            result = await work
        except Exception as problem:
            error = self._failed(problem, answer)
        if answer is not None:
            await answer(result, error)

    def _failed(self, problem: Exception, answer: Answer | None) -> str:
        if answer is None:  # nobody else would ever hear of it
            self.failures.append(problem)
        return str(problem)


def is_upload(argument: object) -> bool:
    """It is a stream, to be sent item by item."""
    return isinstance(argument, AsyncIterator)
