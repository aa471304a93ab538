"""What users subclass, `PersistentConnection`, and what they are given: `Connection`, `Groups`, `Group`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import Any, Final, NoReturn, Protocol, TypeAlias

from .bus.post import Encoded, Payload, encode
from .bus.topic import everyone, group
from .errors import PersistconnError
from .protocol.outputs import DisconnectReason
from .wire.http import Request

__all__ = [
    "Connection",
    "Group",
    "Groups",
    "Memberships",
    "Outlet",
    "PersistentConnection",
    "Redirect",
    "Refusal",
]

Nothing: TypeAlias = Coroutine[Any, Any, None]
Who: TypeAlias = "Iterable[str | Connection]"

_TRANSPORTS: Final = {name.lower(): name for name in ("webSockets", "serverSentEvents", "longPolling", "foreverFrame")}


@dataclass(frozen=True, slots=True)
class Redirect:
    """The client negotiates again at `url`; it sends `access_token` along as a bearer token.

    >>> Redirect("https://other.example/echo").url
    'https://other.example/echo'
    """

    url: str
    access_token: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The client's start fails with `message`.

    >>> Refusal("quota exceeded").message
    'quota exceeded'
    """

    message: str


class Outlet(Protocol):
    """The way out for what users send; the host provides it.

    Each method complains at once when it is called in a thread without the event loop: there a coroutine
    would be made and dropped in silence.
    """

    thread: int | None
    """The thread of the event loop; None when the app is not running."""

    def send(self, ids: Sequence[str], payload: Payload) -> Nothing:
        """Post to connections; to a single one, wait while it is too far behind. Unknown ids are no error."""
        ...

    def publish(self, topic: str, payload: Payload, exclude: frozenset[str]) -> Nothing:
        """Post to a topic; waits for nobody."""
        ...

    def join(self, connection_id: str, name: str) -> Nothing:
        """Put a connection into a group of its route."""
        ...

    def leave(self, connection_id: str, name: str) -> Nothing:
        """Take it out."""
        ...

    def close(self, connection_id: str, reason: str, allow_reconnect: bool) -> Nothing:
        """End a connection, or only its transport."""
        ...

    async def send_to(self, connection_id: str, payload: Encoded) -> None:
        """Like `send`, for callers who know that they are in the right `thread`; ConnectionClosed when it has ended."""
        ...

    def complain(self, what: str) -> NoReturn:
        """Say why `what` cannot be sent from here."""
        ...

    def start_soon(self, connection: Connection, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a task that ends with the connection."""


class _Unmounted:
    """The outlet of a PersistentConnection that no running App serves."""

    def __getattr__(self, name: str) -> Any:
        raise PersistconnError(
            "nothing can be sent: this PersistentConnection is not being served. "
            "Mount it with app.add_connection(path, it) and serve the app first"
        )


def _payload(data: Any) -> Payload:
    return data if isinstance(data, Payload) else Payload(data)


def _ids(who: Who) -> frozenset[str]:
    if isinstance(who, str | Connection):
        who = (who,)
    return frozenset(one.id if isinstance(one, Connection) else one for one in who)


class Memberships:
    """The groups of one connection."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def join(self, name: str) -> Nothing:
        """From now on the connection gets what is sent to this group. Twice is once.

        Groups need not be declared, and end with their last member. Membership survives reconnects.
        """
        return self._connection._outlet.join(self._connection.id, name)

    def leave(self, name: str) -> Nothing:
        """From now on the connection gets nothing more from this group."""
        return self._connection._outlet.leave(self._connection.id, name)


class Connection:
    """One client, as long as it stays connected; it may change its transport many times."""

    __slots__ = ("__weakref__", "_items", "_outlet", "id", "missed", "recovered", "request", "text")

    def __init__(self, id: str, request: Request, outlet: Outlet) -> None:
        self.id = id
        """Names it everywhere. Not secret: knowing it allows nothing."""
        self.request = request
        """The request of its newest transport (at first of its start): `query`, `headers`, `client` address."""
        self.recovered = True
        """Nothing was lost in the newest reconnect or gap."""
        self.missed: int | None = 0
        """How many messages were; None when nobody can know."""
        self.text = ""
        """What `on_received` was given, as the client wrote it."""
        self._outlet = outlet
        self._items: dict[Any, Any] | None = None

    @property
    def user(self) -> str | None:
        """The name of the authenticated user."""
        return self.request.user

    @property
    def transport(self) -> str:
        """`webSockets`, `serverSentEvents`, `longPolling` or `foreverFrame`."""
        return _TRANSPORTS.get(self.request.query.get("transport", "").lower(), "")

    @property
    def dialect(self) -> str:
        """The protocol family of the client: `classic`."""
        return "classic"

    @property
    def items(self) -> dict[Any, Any]:
        """A place for whatever belongs to this connection; lives as long as it does."""
        if self._items is None:
            self._items = {}
        return self._items

    @property
    def groups(self) -> Memberships:
        """Join and leave groups."""
        return Memberships(self)

    def send(self, data: Any) -> Nothing:
        """Send to this connection: anything msgspec can turn into JSON, or a `Payload`.

        Waits while the client is more than `send_high_water` messages behind, so a fast sender does not
        overrun it. Raises ConnectionClosed when it has ended, TypeError for what has no JSON form.
        """
        outlet = self._outlet
        if get_ident() != outlet.thread:
            outlet.complain("connection.send")
        if type(data) is Payload:
            return outlet.send_to(self.id, data)
        json = encode(data)
        return outlet.send_to(self.id, Encoded(data, json) if json.isascii() else Payload(data))

    def close(self, reason: str = "", *, allow_reconnect: bool = False) -> Nothing:
        """End the connection: `on_disconnected(aborted)` follows, and clients of 2.4 on see `reason`.

        With `allow_reconnect` only the transport ends: the client comes back and nothing is lost.
        """
        return self._outlet.close(self.id, reason, allow_reconnect)

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run `function(*args)` in a task of this connection: cancelled when it ends; its error is logged."""
        self._outlet.start_soon(self, function, *args)

    def __repr__(self) -> str:
        return f"<Connection {self.id} {self.transport}>"


class Group:
    """All connections that joined under one name."""

    __slots__ = ("_name", "_owner")

    def __init__(self, owner: PersistentConnection, name: str) -> None:
        self._owner = owner
        self._name = name

    def send(self, data: Any, *, exclude: Who = ()) -> Nothing:
        """Send to every member, except to those in `exclude` (ids or connections). Waits for nobody."""
        owner = self._owner
        return owner._outlet.publish(group(owner._route, self._name), _payload(data), _ids(exclude))


class Groups:
    """The groups of a PersistentConnection, by name."""

    __slots__ = ("_owner",)

    def __init__(self, owner: PersistentConnection) -> None:
        self._owner = owner

    def __getitem__(self, name: str) -> Group:
        return Group(self._owner, name)

    def join(self, connection_id: str, name: str) -> Nothing:
        """Put a connection into a group, from anywhere. An unknown id is no error."""
        return self._owner._outlet.join(connection_id, name)

    def leave(self, connection_id: str, name: str) -> Nothing:
        """Take a connection out of a group, from anywhere."""
        return self._owner._outlet.leave(connection_id, name)


class PersistentConnection:
    """Override the callbacks you need; mount one instance per path: its attributes are the shared state.

    Callbacks of one connection come in order and never overlap. Each may be `async def`, or plain `def`:
    then it runs in a worker thread and sends with `app.from_thread.run(connection.send, data)`. What a
    callback raises is logged once and ends nothing, except that a failing `on_connected` refuses the client.

    >>> from persistconn import App, PersistentConnection
    >>> class Echo(PersistentConnection):
    ...     async def on_received(self, connection, data):
    ...         await connection.send(data)
    >>> app = App(secret_keys=[b"0123456789abcdef"])
    >>> app.add_connection("/echo", Echo())
    """

    raw_text: bool = False
    """Give `on_received` always the text; else the JSON value where the whole text is one. (The wire cannot
    tell the text `"123"` from the number 123.)"""

    _outlet: Outlet = _Unmounted()  # pyright: ignore[reportAssignmentType]  # says what to do, whatever is asked of it
    _route: str = ""

    # Override these -----------------------------------------------------------------------------

    async def authorize(self, request: Request) -> bool:
        """Override to decide who may come in; called for every request. False: 401 without a user, 403 with one."""
        return True

    async def on_negotiate(self, request: Request) -> Redirect | Refusal | None:
        """Override to send newcomers elsewhere or away. Only clients of protocol 2.0 and later understand it."""
        return None

    async def on_connected(self, connection: Connection) -> None:
        """Override to greet a connection. Comes once, before everything else; what it sends arrives."""

    async def on_received(self, connection: Connection, data: Any) -> None:
        """Override to handle a message."""

    async def on_reconnected(self, connection: Connection) -> None:
        """Override to learn that a client came back on a new transport: `connection.recovered`, `.missed`."""

    async def on_gap(self, connection: Connection) -> None:
        """Override to learn that `connection.missed` messages are lost to a client that stays.

        It was slow and `slow_policy` is `skip`, or more was sent before its `on_connected` than the rings hold.
        """

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        """Override to say goodbye. Comes exactly once for every connection that was connected."""

    async def on_rejoining_groups(self, connection: Connection, groups: Sequence[str]) -> Sequence[str]:
        """Override to decide which groups a client keeps that comes from another process or before a restart."""
        return groups

    # Use these ----------------------------------------------------------------------------------

    @property
    def groups(self) -> Groups:
        """The groups of this route: `self.groups["lobby"].send(data)`."""
        return Groups(self)

    def broadcast(self, data: Any, *, exclude: Who = ()) -> Nothing:
        """Send to every connection of this route, except to those in `exclude`. Waits for nobody."""
        return self._outlet.publish(everyone(self._route), _payload(data), _ids(exclude))

    def send(self, to: str | Connection | Iterable[str | Connection], data: Any) -> Nothing:
        """Send to one connection or several, by id. Unknown ids are no error.

        To one, it waits as `connection.send` does; several are sent to without waiting for any.
        """
        many = [to] if isinstance(to, str | Connection) else list(to)
        return self._outlet.send([one.id if isinstance(one, Connection) else one for one in many], _payload(data))
