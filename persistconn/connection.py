"""What users subclass, `PersistentConnection`, and what they are given: `Connection`, `Groups`, `Group`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import Any, Final, TypeAlias

from .bus.post import Encoded, Payload, encode
from .bus.topic import everyone, group, named
from .errors import PersistconnError, RemoteProtocolError
from .outlet import Nothing, Outlet, Unmounted
from .protocol.outputs import DisconnectReason, Received
from .wire.http import Request

__all__ = [
    "Connection",
    "Group",
    "Groups",
    "Memberships",
    "PersistentConnection",
    "Redirect",
    "Refusal",
    "Reply",
]

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


def _payload(data: Any) -> Payload:
    return data if isinstance(data, Payload) else Payload(data)


def _ids(who: Who) -> frozenset[str]:
    if isinstance(who, str | Connection):
        who = (who,)
    return frozenset(one.id if isinstance(one, Connection) else one for one in who)


class Reply:
    """The answer to one message, sent when it is ready: see `Connection.take_reply`."""

    __slots__ = ("_message", "_outlet")

    def __init__(self, outlet: Outlet, message: Received) -> None:
        self._outlet = outlet
        self._message = message

    @property
    def has_body(self) -> bool:
        """The client waits for the answer to a request of its own; else it is one more WebSocket message."""
        return not self._message.exchange.duplex

    def send(self, data: Any) -> Nothing:
        """Answer with `data`: anything msgspec can turn into JSON, or a `Payload`.

        Waits while more than `send_high_water` answers wait for the client. One that has gone gets nothing.
        """
        return self._outlet.reply(self._message, _payload(data))

    def refuse(self, error: RemoteProtocolError) -> None:
        """Answer a request with the status and the text of `error`; on a WebSocket there is nobody to tell."""
        self._outlet.refuse(self._message, error)


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

    # fmt: off
    __slots__ = (
        "__weakref__", "_items", "_message", "_outlet", "ended", "id", "missed", "recovered", "request", "text",
    )
    # fmt: on

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
        self.ended = False
        """It is over: what is sent to it raises ConnectionClosed."""
        self._outlet = outlet
        self._items: dict[Any, Any] | None = None
        self._message: Received | None = None
        """What `on_received` is dealing with, until its reply is taken."""

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
    def topics(self) -> Sequence[str]:
        """What `subscriptions` chose for it when it came; its later requests may name others, and change nothing."""
        return self._outlet.topics_of(self.id)

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

    def take_reply(self) -> Reply:
        """Answer the message that `on_received` is dealing with yourself, now or after the callback has returned.

        The answer travels apart from what is sent: as a message of its own on a WebSocket, as the body of its `/send`
        elsewhere, which stays open until then. Clients of hubs expect results so. A callback that fails has answered;
        when the connection ends first, `refuse` it yourself.
        """
        message, self._message = self._message, None
        if message is None:
            raise PersistconnError("there is no reply to take: call take_reply() once, within on_received")
        return Reply(self._outlet, message)

    def count_reaction(self, limit: str) -> None:
        """Count in `App.statistics().reactions` that this client met a limit, by the name of its setting."""
        self._outlet.react(limit)

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
    """All connections that joined under one name, or that were subscribed to one topic."""

    __slots__ = ("_name", "_owner", "_topic")

    def __init__(self, owner: PersistentConnection, name: str, topic: Callable[[str, str], str] = group) -> None:
        self._owner = owner
        self._name = name
        self._topic = topic

    def send(self, data: Any, *, exclude: Who = ()) -> Nothing:
        """Send to every member, except to those in `exclude` (ids or connections). Waits for nobody."""
        owner = self._owner
        return owner._outlet.publish(self._topic(owner._route, self._name), _payload(data), _ids(exclude))


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


class Topics:
    """The topics of a PersistentConnection, by name: see `PersistentConnection.subscriptions`."""

    __slots__ = ("_owner",)

    def __init__(self, owner: PersistentConnection) -> None:
        self._owner = owner

    def __getitem__(self, name: str) -> Group:
        return Group(self._owner, name, named)


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

    cancels_received: bool = False
    """Cancel an `on_received` that waits when its connection ends. Else it goes on to its end."""
    raw_text: bool = False
    """Give `on_received` always the text; else the JSON value where the whole text is one. (The wire cannot
    tell the text `"123"` from the number 123.)"""

    _outlet: Outlet = Unmounted()  # pyright: ignore[reportAssignmentType]  # says what to do, whatever is asked of it
    _route: str = ""

    # Override these -----------------------------------------------------------------------------

    async def authorize(self, request: Request) -> bool:
        """Override to decide who may come in; called for every request. False: 401 without a user, 403 with one."""
        return True

    def subscriptions(self, request: Request) -> Sequence[str] | Awaitable[Sequence[str]]:
        """Override to choose the topics that whoever makes this request will read, from the first moment on.

        What is sent to `self.topics[name]` arrives at all connections that were subscribed when they came. Unlike
        groups, the server alone decides, no token speaks of them, and nothing can be missed between the connection
        and a join. Called for every request, so it should be quick; what counts is the request that brings a
        connection into this process. RemoteProtocolError refuses the request with its status and text.
        An `async def` is awaited, which costs every request a task.
        """
        return ()

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

    @property
    def topics(self) -> Topics:
        """The topics of this route: `self.topics["red"].send(data)`."""
        return Topics(self)

    def broadcast(self, data: Any, *, exclude: Who = ()) -> Nothing:
        """Send to every connection of this route, except to those in `exclude`. Waits for nobody."""
        return self._outlet.publish(everyone(self._route), _payload(data), _ids(exclude))

    def send(self, to: str | Connection | Iterable[str | Connection], data: Any) -> Nothing:
        """Send to one connection or several, by id. Unknown ids are no error.

        To one, it waits as `connection.send` does; several are sent to without waiting for any.
        """
        many = [to] if isinstance(to, str | Connection) else list(to)
        return self._outlet.send([one.id if isinstance(one, Connection) else one for one in many], _payload(data))
