"""One hub, as a client of it sees it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .call_log import Call
from .classic_speech import ClassicSpeech
from .hub_calls import HubSpeech
from .waiting import settle

if TYPE_CHECKING:
    from .client import Client

__all__ = ["ClientHub"]

R = TypeVar("R")


class ClientHub:
    """One hub: `client.hub("chat")`. Names are as the page spells them: `alertMessage`."""

    def __init__(self, client: Client, speech: HubSpeech[Any], name: str) -> None:
        self.name = name
        self._client = client
        self._speech = speech

    async def send(self, method: str, /, *arguments: Any) -> None:
        """Call a method, and want no answer. An asynchronous iterator among the arguments is uploaded."""
        self._client._check_open()
        await self._speech.write(self.name, method, arguments, None)
        await settle()

    async def invoke(
        self,
        method: str,
        /,
        *arguments: Any,
        returns: type[R] | Any = Any,
        progress: Callable[[Any], object] | None = None,
    ) -> Any:
        """Call a method, and wait for its result, read as `returns`; `progress` is told how far it has come (classic).

        Raises HubError with the server's text when it fails, and `data` if that gave some. An asynchronous iterator
        among the arguments is uploaded (ASP.NET Core).
        """
        client, speech = self._client, self._speech
        client._check_open()
        id = speech.begin(method, progress)
        pending = speech.pending[id]
        try:
            await speech.write(self.name, method, arguments, id)
            await client._news.until(lambda: pending.done or None, client.timeout, lambda: self._late(method))
            if progress is not None:
                await settle()  # on most transports reports come on another way than answers
        finally:
            del speech.pending[id]
        if pending.error is not None:
            raise pending.error
        return pending.result if returns is Any else msgspec.convert(pending.result, returns)

    def _late(self, method: str) -> str:
        calls = ", ".join(map(repr, self._speech.log.untaken))
        came = f"; it has called {calls}" if calls else ""
        return f"{self.name}.{method} has not been answered within {self._client.timeout:g} s{came}"

    async def stream(self, method: str, /, *arguments: Any, returns: type[R] | Any = Any) -> AsyncGenerator[Any, None]:
        """The items of a method, as they come, each read as `returns` (ASP.NET Core).

        Whoever takes no more closes it: `async with contextlib.aclosing(client.stream("count", 3)) as items:`.
        """
        client, speech = self._client, self._speech
        client._check_open()
        id = speech.begin(method)
        pending = speech.pending[id]
        try:
            await speech.write(self.name, method, arguments, id, is_stream=True)
            while True:
                await client._news.until(
                    lambda: pending.items or pending.done or None, client.timeout, lambda: self._late(method)
                )
                while pending.items:
                    item = pending.items.pop(0)
                    yield item if returns is Any else msgspec.convert(item, returns)
                if pending.done:
                    if pending.error is not None:
                        raise pending.error
                    return
        finally:
            del speech.pending[id]
            if not pending.done:
                await speech.cancel(id)

    def on(self, name: str, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Let the server call `function`, plain or `async def`; without one it decorates.

        What it returns is the result that `clients.client(id).invoke` waits for; what it raises is its error. What it
        raises in any other call is raised at the end of the client's block.
        """
        if function is None:
            return lambda given: self.on(name, given)
        self._speech.functions[self.name.lower(), name.lower()] = function
        return function

    async def called(self, name: str) -> list[Any]:
        """Wait until the server calls `name`, and take the call: its arguments."""
        client = self._client
        return await self._speech.log.take(self.name, name, client.timeout, client._why_it_ended)

    @property
    def calls(self) -> list[Call]:
        """All that the server has called of this hub, in order."""
        return [call for call in self._speech.log.all if call.hub.lower() == self.name.lower()]

    @property
    def state(self) -> dict[str, Any]:
        """What the client keeps for this hub and sends with every call (classic): change it as you like."""
        if not isinstance(self._speech, ClassicSpeech):
            return {}
        return self._speech.states.setdefault(self.name.lower(), {})

    def __repr__(self) -> str:
        return f"<ClientHub {self.name}>"
