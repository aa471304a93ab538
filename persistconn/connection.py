"""What users subclass, `PersistentConnection`, and what they are given: `Connection`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import Any, Final

from .bus.post import Encoded, Payload, encode
from .bus.topic import everyone
from .errors import PersistconnError, RemoteProtocolError
from .groups import Group, Groups, Memberships, Topics, Who, ids_of, payload_of
from .outlet import Nothing, Outlet, Unmounted
from .protocol.outputs import DisconnectReason, Received
from .protocol.replay import Replay
from .wire.aspnetcore import transport_of
from .wire.format import RAW_BINARY, RAW_TEXT, Format
from .wire.http import Request

__all__ = [
    "Connection",
    "Group",
    "Groups",
    "Identity",
    "PersistentConnection",
    "Redirect",
    "Refusal",
    "Reply",
]

_TRANSPORTS: Final = {name.lower(): name for name in ("webSockets", "serverSentEvents", "longPolling", "foreverFrame")}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes a request, and for how many seconds more that is sure: what `App(authenticate=…)` may give back.

    A connection ends when the credentials of its newest transport expire; its client comes back with newer ones, if
    it can. Clients of ASP.NET Core that know how send them in time (`POST …/refresh`), and stay.

    >>> Identity("ann", expires_in=3_600).name
    'ann'
    """

    name: str | None
    expires_in: float | None = None


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


class Reply:
    """The answer to one message, sent when it is ready: see `Connection.take_reply`."""

    __slots__ = ("_message", "_outlet")

    def __init__(self, outlet: Outlet, message: Received) -> None:
        self._outlet = outlet
        self._message = message

    @property
    def has_body(self) -> bool:
        """The client waits for the answer to a request of its own; else it is one more WebSocket message."""
        exchange = self._message.exchange
        return not exchange.duplex and exchange.request.dialect == "classic"  # else it has been answered

    def send(self, data: Any) -> Nothing:
        """Answer with `data`: anything msgspec can turn into JSON, or a `Payload`.

        Waits while more than `send_high_water` answers wait for the client. One that has gone gets nothing.
        """
        return self._outlet.reply(self._message, payload_of(data))

    def refuse(self, error: RemoteProtocolError) -> None:
        """Answer a request with the status and the text of `error`; on a WebSocket there is nobody to tell."""
        self._outlet.refuse(self._message, error)


class Connection:
    """One client, as long as it stays connected; it may change its transport many times."""

    # fmt: off
    __slots__ = (
        "__weakref__", "_items", "_message", "_outlet", "_route",
        "ended", "id", "missed", "recovered", "request", "text",
    )
    # fmt: on

    def __init__(self, id: str, request: Request, outlet: Outlet, route: str = "") -> None:
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
        self._route = route
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
        if self.request.dialect == "aspnetcore":
            return transport_of(self.request)
        return _TRANSPORTS.get(self.request.query.get("transport", "").lower(), "")

    @property
    def dialect(self) -> str:
        """The protocol family of the client: `classic` (ASP.NET SignalR) or `aspnetcore` (ASP.NET Core SignalR)."""
        return self.request.dialect

    @property
    def format(self) -> str:
        """What an ASP.NET Core connection carries: `text`, as it begins, or `binary`. It says how WebSocket messages
        are marked, and whether what comes by POST is text where it can be. Set it to change that."""
        format = self._outlet.terms.format_of(self.id)
        return "binary" if format is not None and format.binary else "text"

    @format.setter
    def format(self, format: str) -> None:
        if format not in ("text", "binary"):
            raise ValueError(f"format is {format!r}: it is text or binary")
        self.speak(RAW_BINARY if format == "binary" else RAW_TEXT)

    @property
    def items(self) -> dict[Any, Any]:
        """A place for whatever belongs to this connection; lives as long as it does."""
        if self._items is None:
            self._items = {}
        return self._items

    @property
    def topics(self) -> Sequence[str]:
        """What `subscriptions` chose for it when it came, and what it was subscribed to since; its later requests may
        name others, and change nothing."""
        return self._outlet.terms.topics_of(self.id)

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
        if isinstance(data, Encoded):
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

    @property
    def log_extra(self) -> dict[str, str]:
        """For the log, as `extra=`: `connection_id`, `transport` and `route`, which is the path it is mounted at.

        `logger.info("a move", extra=connection.log_extra)`; what persistconn logs about a connection has them, too.
        """
        return {"connection_id": self.id, "transport": self.transport, "route": self._route}

    def count_reaction(self, limit: str) -> None:
        """Count in `App.statistics().reactions` that this client met a limit, by the name of its setting."""
        self._outlet.terms.react(limit)

    def let_next(self) -> None:
        """Within `on_received`: the next message may come while this callback goes on.

        For layers that have an order of their own. When the connection ends, `on_disconnected` does not wait for
        callbacks that went on so; with `cancels_received` they are cancelled first.
        """
        message, self._message = self._message, None
        if message is None:
            raise PersistconnError("nothing to let go: call let_next() once, within on_received")
        self._outlet.let_next(message)

    # For layers: a protocol on top of a connection -------------------------------------------------

    def speak(self, format: Format) -> None:
        """From now on this ASP.NET Core connection is sent one form of every payload, as `format` says.

        As on .NET that goes for what waits to be written, too.
        """
        self._outlet.speak(self.id, format)

    def subscribe(self, topic: str) -> Nothing:
        """From now on the connection gets what is sent to `topics[topic]` of its PersistentConnection."""
        return self._outlet.subscribe(self.id, topic)

    def alarm(self, seconds: float | None) -> None:
        """Let `on_alarm` come after this time, once, instead of an alarm set before; None: not at all."""
        self._outlet.alarm(self.id, seconds)

    @property
    def resumable(self) -> bool:
        """The client negotiated stateful reconnect, and is there on a WebSocket: see `resume_with`."""
        return self._outlet.terms.is_resumable(self.id)

    def resume_with(self, replay: Replay) -> None:
        """From now on the connection outlives its socket: what was on the way is kept in `replay`, and repeated."""
        self._outlet.resume_with(self.id, replay)

    def interject(self, frame: bytes) -> None:
        """Send a frame out of turn, and without a number, on a WebSocket; where there is none, it is dropped."""
        self._outlet.interject(self.id, frame)

    def go_on_sending(self) -> None:
        """`must_wait` of its replay has become False."""
        self._outlet.go_on_sending(self.id)

    # Ends ---------------------------------------------------------------------------------------

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
    names: Collection[str] = ("",)
    """For ASP.NET Core clients: what may stand behind the path it is mounted at, in lower case; `""` is the path
    itself."""
    takes_parts: bool = False
    """Give `on_received` what an ASP.NET Core client sends as it comes, cut anywhere and without a limit on messages:
    for layers that find the messages themselves. `connection.request.path` tells them apart."""
    resumable: bool = False
    """Clients may negotiate stateful reconnect, if `Settings.allow_stateful_reconnect` says so too."""
    raw_text: bool = False
    """Give `on_received` always the text; else, of classic clients, the JSON value where it is one. (The wire cannot
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
        """Override to learn that a client came back on a new transport: `connection.recovered`, and what was lost."""

    async def on_gap(self, connection: Connection) -> None:
        """Override to learn that `connection.missed` messages are lost to a client that stays.

        It was slow and `slow_policy` is `skip`, or more was sent before its `on_connected` than the rings hold.
        """

    async def on_alarm(self, connection: Connection) -> None:
        """Override to learn that the time has come which `connection.alarm` was given."""

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
        return self._outlet.publish(everyone(self._route), payload_of(data), ids_of(exclude))

    def send(self, to: str | Connection | Iterable[str | Connection], data: Any) -> Nothing:
        """Send to one connection or several, by id. Unknown ids are no error.

        To one, it waits as `connection.send` does; several are sent to without waiting for any.
        """
        many = [to] if isinstance(to, str | Connection) else list(to)
        return self._outlet.send([one.id if isinstance(one, Connection) else one for one in many], payload_of(data))
