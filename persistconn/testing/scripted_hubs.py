"""Hubs without classes: made while clients are there already, of functions that a test gives."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, get_type_hints

from .. import App, Request, Settings
from ..hubs import Hub, HubClients, HubError, HubGroups, hub_name
from ..hubs.conversation import Conversation
from ..hubs.described import DescribedHub, DescribedMethod, HubTable
from ..hubs.dispatcher import Dispatcher
from ..hubs.filters import HubCall, Proceed
from ..hubs.scene import HubStage

__all__ = ["Script", "ScriptedHub", "ScriptedHubs"]


class Script(Protocol):
    """What the hubs tell a fake server, and ask of it."""

    async def _called(self, hub: str, call: HubCall) -> None:
        """A client calls; the answer waits for this."""

    def _came(self, connection_id: str) -> None:
        """A client of a hub is connected."""

    def _went(self, connection_id: str) -> None:
        """It is not any more."""

    async def _admit(self, request: Request) -> None:
        """A request comes. Raises RemoteProtocolError with the answer, if it is refused."""


class ScriptedHub(DescribedHub):
    """One hub. It has a method of every name; one that nobody has given fails, and says what to do."""

    def __init__(self, name: str, script: Script) -> None:
        class Scripted(Hub):
            async def on_connected(self) -> None:
                script._came(self.context.connection_id)

            async def on_disconnected(self, reason: object) -> None:
                script._went(self.context.connection_id)

        super().__init__(hub_name(name)(Scripted))

    def give(self, name: str, function: Callable[..., Any]) -> None:
        """From now on, calls of `name` run `function`."""
        method = DescribedMethod(self.hub, name, _method(function))
        for spelling in method.spellings:
            self.methods[spelling] = [method]

    def named(self, name: str) -> Sequence[DescribedMethod]:
        """See DescribedHub."""
        return super().named(name) or [DescribedMethod(self.hub, name, self._missing(name))]

    def _missing(self, name: str) -> Callable[..., Awaitable[None]]:
        async def missing(self_: Hub, *arguments: Any) -> None:
            raise HubError(f'the fake server has nothing for {name}: server.hub("{self.name}").on("{name}", …)')

        return missing


class _Table(HubTable):
    def __init__(self) -> None:
        self.hubs = {}


class _Names(frozenset[str]):
    """The names of all hubs, at any time."""

    table: _Table

    def __contains__(self, name: object) -> bool:
        return name in self.table.hubs or (name == "" and len(self.table.hubs) == 1)


class ScriptedHubs(Dispatcher):
    """All hubs of a fake server."""

    def __init__(self, script: Script, settings: Settings) -> None:
        self._script = script
        self._table = _Table()
        super().__init__(self._table, settings, filters=[self._record])
        self._stages: dict[DescribedHub, HubStage] = {}
        self._backstage.stages = self._stages

    def mount(self, app: App, path: str) -> None:
        """Before the app runs."""
        app.add_connection(path, self)
        names = _Names()
        names.table = self._table
        self.route = app._routes[-1]
        object.__setattr__(self.route, "names", names)  # of hubs that are still to be made

    def offer(self, transports: Iterable[str]) -> None:
        """From now on these are the transports that there are."""
        object.__setattr__(self.route, "transports", tuple(transports))

    def hub(self, name: str) -> ScriptedHub:
        """The hub of this name, in any case; a new one if there is none."""
        found = self.table.hubs.get(name.lower())
        if found is None:
            found = ScriptedHub(name, self._script)
            self.table.hubs[name.lower()] = found
            self._stages[found] = HubStage(self, found, self)
        assert isinstance(found, ScriptedHub)
        return found

    def clients_of(self, name: str) -> HubClients[Any]:
        """The clients of a hub."""
        return HubClients(self.stage(self.hub(name)))

    def groups_of(self, name: str) -> HubGroups:
        """The groups of a hub."""
        return HubGroups(self.stage(self.hub(name)))

    async def end(self, connection_id: str, error: str, *, allow_reconnect: bool) -> None:
        """End a connection, as its dialect says goodbye."""
        talk = self._members.get(connection_id)
        if isinstance(talk, Conversation):
            await self._reading.abort(talk, error or None, allow_reconnect=allow_reconnect)

    async def authorize(self, request: Request) -> bool:
        """See PersistentConnection."""
        await self._script._admit(request)
        return True

    async def _record(self, call: HubCall, proceed: Proceed) -> object:
        hub = next(one for one in self.table.hubs.values() if one.hub is type(call.hub))
        await self._script._called(hub.name, call)
        return await proceed()


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as a method of a hub: with a `self`, asynchronous, and with the types that it has."""
    if inspect.isasyncgenfunction(function):

        async def streaming(self: Hub, *arguments: Any) -> Any:
            async for item in function(*arguments):
                yield item

        method: Callable[..., Any] = streaming
    else:

        async def answering(self: Hub, *arguments: Any) -> Any:
            result = function(*arguments)
            return await result if inspect.isawaitable(result) else result

        method = answering
    try:
        parameters = list(inspect.signature(function).parameters.values())
        hints = get_type_hints(function)
    except (TypeError, ValueError, NameError):  # of something built in, or out of reach: it takes what comes
        return method
    itself = inspect.Parameter("the_hub_itself", inspect.Parameter.POSITIONAL_ONLY)
    positional = [one.replace(kind=_kind_of(one)) for one in parameters]
    setattr(method, "__signature__", inspect.Signature([itself, *positional]))  # noqa: B010
    method.__annotations__ = hints
    return method


def _kind_of(parameter: inspect.Parameter) -> Any:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Parameter.POSITIONAL_ONLY if parameter.kind in positional else parameter.kind
