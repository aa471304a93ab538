"""What surrounds a hub while it serves a call: the way to its clients, the caller, the caller's state."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from persistconn import Connection, Payload, PersistentConnection

from .calls import ClientCall
from .classic import write_client_call
from .clients import CallerClients, HubGroups, Nothing
from .described import DescribedHub
from .hub import HubContext
from .state import State

__all__ = ["CallScene", "HubStage"]


class HubStage:
    """Brings calls to the clients of one hub; an `Audience`."""

    def __init__(
        self,
        owner: PersistentConnection,
        hub: DescribedHub,
        uses: Callable[[str, DescribedHub], bool],
    ) -> None:
        self.hub = hub
        self._owner = owner
        self._uses = uses
        """Whether a connection named this hub: a page throws at a call of a hub that it has no proxy for."""

    def _call(self, method: str, arguments: tuple[Any, ...], state: dict[str, Any] | None = None) -> Payload:
        call = ClientCall(self.hub.name, method, arguments, state)
        return Payload.of_json(write_client_call(call), call)

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
        return self._owner.send([id for id in ids if self._uses(id, self.hub)], self._call(method, arguments))

    def to_caller(self, id: str, method: str, arguments: tuple[Any, ...], state: dict[str, Any] | None) -> Nothing:
        """To the one who has made a call, with what is new in its state."""
        return self._owner.send(id, self._call(method, arguments, state))

    def join(self, connection_id: str, name: str) -> Nothing:
        """See Audience. A client that did not name this hub hears nothing of its groups either."""
        if not self._uses(connection_id, self.hub):
            return _nothing()
        return self._owner.groups.join(connection_id, f"{self.hub.name}.{name}")

    def leave(self, connection_id: str, name: str) -> Nothing:
        """See Audience."""
        return self._owner.groups.leave(connection_id, f"{self.hub.name}.{name}")


async def _nothing() -> None:
    pass


class CallScene:
    """The `Scene` of one call; what the hub does not ask for is not made."""

    __slots__ = ("_clients", "_context", "_state", "connection", "stage")

    def __init__(self, stage: HubStage, connection: Connection, state: State | None = None) -> None:
        self.stage = stage
        self.connection = connection
        self._state = state
        self._context: HubContext | None = None
        self._clients: CallerClients[Any] | None = None

    @property
    def clients(self) -> CallerClients[Any]:
        """Whom the hub may call."""
        if self._clients is None:
            self._clients = CallerClients(self.stage, self.connection.id, self._call_caller)
        return self._clients

    @property
    def groups(self) -> HubGroups:
        """The hub's groups."""
        return HubGroups(self.stage)

    @property
    def context(self) -> HubContext:
        """Who calls."""
        if self._context is None:
            self._context = HubContext(self.connection, State() if self._state is None else self._state)
        return self._context

    def changes(self) -> dict[str, Any] | None:
        """What the call has changed of the caller's state."""
        return None if self._context is None else self._context.state.changes()

    def _call_caller(self, method: str, arguments: tuple[Any, ...]) -> Nothing:
        return self.stage.to_caller(self.connection.id, method, arguments, self.changes())
