"""What users subclass: `Hub`, and what it knows about the call it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from persistconn import Connection, DisconnectReason, PersistconnError, Request

from .clients import CallerClients, HubGroups, PageT
from .state import State

__all__ = ["Hub", "HubContext", "HubError", "Scene", "hub_name", "method_name", "name_given_to"]

_NAME = "__persistconn_name__"
Named = TypeVar("Named", bound=Callable[..., Any])
NamedHub = TypeVar("NamedHub", bound="type[Hub[Any]]")


class HubError(Exception):
    """Raise it in a hub's method to tell the caller what is wrong; the text of other exceptions stays here.

    `data` is anything that has a JSON form; jquery.signalR gives both to `.fail(function (error) {…})`, as
    `error.message` and `error.data`.

    >>> HubError("no such room", data={"room": "blue"}).data
    {'room': 'blue'}
    """

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.data = data


class HubContext:
    """Who has made the call, and how: `self.context`."""

    __slots__ = ("_abort", "_connection", "state")

    def __init__(self, connection: Connection, state: State, abort: Callable[[], Awaitable[None]]) -> None:
        self._connection = connection
        self._abort = abort
        self.state = state
        """What the client keeps for this hub, as a dictionary; what is changed here is changed over there."""

    @property
    def connection_id(self) -> str:
        """Names the caller's connection."""
        return self._connection.id

    @property
    def user(self) -> str | None:
        """The name of the authenticated user."""
        return self._connection.user

    @property
    def request(self) -> Request:
        """The request of the caller's newest transport."""
        return self._connection.request

    @property
    def items(self) -> dict[Any, Any]:
        """A place for whatever belongs to this connection; shared by its hubs, lives as long as it does."""
        return self._connection.items

    @property
    def transport(self) -> str:
        """`webSockets`, `serverSentEvents`, `longPolling` or `foreverFrame`."""
        return self._connection.transport

    @property
    def connection(self) -> Connection:
        """The caller's connection: `recovered` and `missed` in `on_reconnected`, `start_soon` for work beside calls."""
        return self._connection

    async def abort(self) -> None:
        """End the caller's connection; it does not come back by itself."""
        await self._abort()


class Scene(Protocol):
    """What one instance of a hub is made for: a call, or a moment in the life of a connection."""

    @property
    def clients(self) -> CallerClients[Any]:
        """Whom it may call."""
        ...

    @property
    def groups(self) -> HubGroups:
        """Its groups."""
        ...

    @property
    def context(self) -> HubContext:
        """Who calls."""
        ...


class Hub(Generic[PageT]):
    """Methods that pages call. One instance per call: keep what is shared in class attributes, in an object given by
    `add_hubs(..., factory=...)`, or in `self.context.items`.

    Public methods can be called, with snake_case names in camelCase too; arguments are converted to the types of the
    parameters. Plain `def` methods run in a worker thread.

    >>> from persistconn import App
    >>> from persistconn.hubs import Hub
    >>> class Calculator(Hub):
    ...     async def increment(self, value: int) -> int:
    ...         return value + 1
    >>> app = App(secret_keys=["a secret of 16 or more"])
    >>> app.add_hubs("/signalr", Calculator)
    """

    _scene: Scene | None = None

    @property
    def clients(self) -> CallerClients[PageT]:
        """Whom to call: `all`, `caller`, `others`, `group(name)`, `user(name)` and more."""
        return self._staged().clients

    @property
    def groups(self) -> HubGroups:
        """Put connections into groups of this hub: `await self.groups.join(self.context.connection_id, "room")`."""
        return self._staged().groups

    @property
    def context(self) -> HubContext:
        """Who has made this call."""
        return self._staged().context

    def _staged(self) -> Scene:
        if self._scene is None:
            raise PersistconnError(
                f"this {type(self).__name__} serves no call: clients, groups and context are there in its methods, not "
                "when it is made. From outside use app.clients(…) and app.hub_groups(…)"
            )
        return self._scene

    async def on_connected(self) -> None:
        """Override to greet a connection that named this hub.

        A client may call a hub that it has not named: who may call is for `@authorize` to say.
        """

    async def on_reconnected(self) -> None:
        """Override to learn that a client came back: see `recovered` and `missed` of `self.context.connection`."""

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        """Override to say goodbye. Comes exactly once for every connection that was connected."""

    async def on_rejoining_groups(self, groups: Sequence[str]) -> Sequence[str]:
        """Override to decide which groups of this hub a client keeps that comes from another process or a restart."""
        return groups


def hub_name(name: str) -> Callable[[NamedHub], NamedHub]:
    """Call a hub exactly so, instead of by its class's name.

    >>> from persistconn.hubs import Hub, hub_name
    >>> @hub_name("board")
    ... class BoardHub(Hub): ...
    """

    def give(hub: NamedHub) -> NamedHub:
        setattr(hub, _NAME, name)
        return hub

    return give


def method_name(name: str) -> Callable[[Named], Named]:
    """Call a method exactly so. Two methods may share a name if they take different numbers of arguments.

    >>> from persistconn.hubs import Hub, method_name
    >>> class Chat(Hub):
    ...     @method_name("say")
    ...     async def say_to_all(self, text: str) -> None: ...
    ...     @method_name("say")
    ...     async def say_to_room(self, room: str, text: str) -> None: ...
    """

    def give(method: Named) -> Named:
        setattr(method, _NAME, name)
        return method

    return give


def name_given_to(named: Any) -> str | None:
    """The name that `hub_name` or `method_name` gave; a class does not inherit it."""
    given: str | None = vars(named).get(_NAME)
    return given
