"""What surrounds a hub while it serves a call: the way to its clients, the caller, the caller's state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any, Protocol

from persistconn import Connection, Payload, PersistentConnection

from .calls import ClientCall
from .clients import CallerClients, HubGroups, Nothing
from .described import DescribedHub
from .hub import HubContext
from .state import State

__all__ = ["CallScene", "HubStage", "Wires"]


class Wires(Protocol):
    """What the clients of a mount speak, all of them; the dispatcher knows."""

    def write(self, call: ClientCall) -> Payload:
        """A call of a client's function, in every form that is spoken. Raises TypeError for what has no form."""
        ...

    def uses(self, connection_id: str, hub: DescribedHub) -> bool:
        """A connection named this hub: a page throws at a call of a hub that it has no proxy for."""
        ...

    def ask(self, hub: DescribedHub, id: str, call: ClientCall, returns: Any, timeout: float | None) -> Any:
        """See Audience; awaitable."""
        ...

    async def abort(self, connection: Connection) -> None:
        """End a connection for good, as its wire says goodbye."""


class HubStage:
    """Brings calls to the clients of one hub; an `Audience`."""

    def __init__(self, owner: PersistentConnection, hub: DescribedHub, wires: Wires) -> None:
        self.hub = hub
        self.wires = wires
        self._owner = owner

    def _call(self, method: str, arguments: tuple[Any, ...], state: dict[str, Any] | None = None) -> Payload:
        return self.wires.write(ClientCall(self.hub.name, method, arguments, state))

    def to_all(self, method: str, arguments: tuple[Any, ...], exclude: Collection[str]) -> Nothing:
        """See Audience."""
        return self._owner.topics[self.hub.name].send(self._call(method, arguments), exclude=exclude)

    def to_group(self, name: str, method: str, arguments: tuple[Any, ...], exclude: Collection[str]) -> Nothing:
        """See Audience."""
        return self._owner.groups[f"{self.hub.name}.{name}"].send(self._call(method, arguments), exclude=exclude)

    def to_user(self, name: str, method: str, arguments: tuple[Any, ...]) -> Nothing:
        """See Audience."""
        return self._owner.topics[f"{self.hub.name}.{name}"].send(self._call(method, arguments))

    def to_clients(self, ids: Collection[str], method: str, arguments: tuple[Any, ...]) -> Nothing:
        """See Audience."""
        uses = self.wires.uses
        return self._owner.send([id for id in ids if uses(id, self.hub)], self._call(method, arguments))

    def to_caller(self, id: str, method: str, arguments: tuple[Any, ...], state: dict[str, Any] | None) -> Nothing:
        """To the one who has made a call, with what is new in its state."""
        return self._owner.send(id, self._call(method, arguments, state))

    def ask(
        self, id: str, method: str, arguments: tuple[Any, ...], returns: Any, timeout: float | None
    ) -> Coroutine[Any, Any, Any]:
        """See Audience."""
        call = ClientCall(self.hub.name, method, arguments)
        asked: Coroutine[Any, Any, Any] = self.wires.ask(self.hub, id, call, returns, timeout)
        return asked

    def join(self, connection_id: str, name: str) -> Nothing:
        """See Audience. A client that did not name this hub hears nothing of its groups either."""
        if not self.wires.uses(connection_id, self.hub):
            return _nothing()
        return self._owner.groups.join(connection_id, f"{self.hub.name}.{name}")

    def leave(self, connection_id: str, name: str) -> Nothing:
        """See Audience."""
        return self._owner.groups.leave(connection_id, f"{self.hub.name}.{name}")


async def _nothing() -> None:
    pass


def _may_ask() -> None:
    pass


class CallScene:
    """The `Scene` of one call; what the hub does not ask for is not made."""

    __slots__ = ("_asking", "_clients", "_context", "_state", "connection", "stage")

    def __init__(
        self,
        stage: HubStage,
        connection: Connection,
        state: State | None = None,
        asking: Callable[[], None] = _may_ask,
    ) -> None:
        self.stage = stage
        self.connection = connection
        self._state = state
        self._asking = asking
        """Told before a client is asked for a result."""
        self._context: HubContext | None = None
        self._clients: CallerClients[Any] | None = None

    @property
    def clients(self) -> CallerClients[Any]:
        """Whom the hub may call."""
        if self._clients is None:
            self._clients = CallerClients(self.stage, self.connection.id, self._call_caller, self._asking)
        return self._clients

    @property
    def groups(self) -> HubGroups:
        """The hub's groups."""
        return HubGroups(self.stage)

    @property
    def context(self) -> HubContext:
        """Who calls."""
        if self._context is None:
            state = State() if self._state is None else self._state
            self._context = HubContext(self.connection, state, partial(self.stage.wires.abort, self.connection))
        return self._context

    def changes(self) -> dict[str, Any] | None:
        """What the call has changed of the caller's state."""
        return None if self._context is None else self._context.state.changes()

    def _call_caller(self, method: str, arguments: tuple[Any, ...]) -> Nothing:
        return self.stage.to_caller(self.connection.id, method, arguments, self.changes())
