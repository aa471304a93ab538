"""A client of hubs as jquery.signalR makes them: calls with their answers, progress, and the state of each hub."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import PersistconnError
from ..hubs import HubError
from ..hubs.calls import encode
from ..tasks import Tasks
from .call_log import Call
from .classic_wire import ClassicWire
from .hub_calls import HubSpeech, is_upload
from .waiting import News

__all__ = ["ClassicSpeech"]


class ClassicSpeech(HubSpeech[ClassicWire]):
    """What is said on a `ClassicWire`; give the wire `hear` and `hear_answer`."""

    def __init__(self, tasks: Tasks, news: News) -> None:
        super().__init__(tasks, news)
        self.states: dict[str, dict[str, Any]] = {}
        """What the client keeps for each hub, by its name in lower case."""
        self._asked: dict[str, str] = {}
        """Whom a call is of, by its id."""

    async def start(self) -> None:
        """See HubSpeech."""
        await self.wire.start()

    async def come_back(self) -> None:
        """See HubSpeech."""
        await self.wire.come_back()

    async def leave(self) -> None:
        """See HubSpeech."""
        await self.wire.leave()

    async def write(
        self, hub: str, method: str, arguments: Sequence[Any], id: str | None, *, is_stream: bool = False
    ) -> None:
        """See HubSpeech."""
        if is_stream or any(map(is_upload, arguments)):
            raise PersistconnError(f"{method}: there are no streams on this wire; use dialect='aspnetcore'")
        said: dict[str, Any] = {"H": hub, "M": method, "A": list(arguments)}
        if id is not None:
            said["I"] = int(id)
            self._asked[id] = hub.lower()
        state = self.states.get(hub.lower())
        if state:
            said["S"] = state
        await self.wire.say(encode(said).decode())

    async def cancel(self, id: str) -> None:
        """See HubSpeech: there are no streams."""

    def hear(self, message: Any) -> None:
        """A message has come: the call of a function."""
        if isinstance(message, dict) and "H" in message:
            self._keep(message["H"], message.get("S"))
            self.called(Call(message["H"], message["M"], message.get("A", []), self.wire.id), None)
        elif isinstance(message, dict):
            self.hear_answer(message)

    def hear_answer(self, said: dict[str, Any]) -> None:
        """An answer has come, or how far a call has got."""
        if "P" in said:
            pending = self.pending.get(str(said["P"]["I"]))
            if pending is not None and pending.progress is not None:
                self._report(pending.progress, said["P"].get("D"))
            return
        id = str(said.get("I", ""))
        self._keep(self._asked.pop(id, ""), said.get("S"))
        error = HubError(said["E"], data=said.get("D")) if "E" in said else None
        self.finish(id, said.get("R"), error)

    def _report(self, progress: Callable[[Any], object], value: Any) -> None:
        try:
            progress(value)
        except Exception as error:
            self.failures.append(error)

    def _keep(self, hub: str, state: dict[str, Any] | None) -> None:
        if state:
            self.states.setdefault(hub.lower(), {}).update(json.loads(json.dumps(state)))
